//! DescribeConfigs v1–4 (KIP-133; synonyms KIP-226 from v1; types and documentation KIP-569 from v3).
//!
//! Needs DescribeConfigs on the topic (else TOPIC_AUTHORIZATION_FAILED), on the cluster for brokers, loggers and client
//! metrics (else CLUSTER_AUTHORIZATION_FAILED), on the group for groups (else GROUP_AUTHORIZATION_FAILED). A secret's value
//! is null. A topic that may be described and is not there is UNKNOWN_TOPIC_OR_PARTITION. Groups (KIP-848) and client
//! metrics (KIP-714) need not exist. The levels of this broker's loggers are no configs here: INVALID_REQUEST.

use std::collections::HashSet;

use bytes::Bytes;

use super::context::{TopicAdmission, TopicRef};
use super::{Order, Reply, RequestContext, Spec};
use crate::config::topic::Described;
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;
use crate::model::topic::TopicName;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use crate::protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResponse, DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeConfigs, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// Why a resource is not described.
type Refusal = (ErrorCode, String);

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeConfigsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let mut results = Vec::with_capacity(request.resources.len());
    let is_known = |resource: &DescribeConfigsResource| {
        matches!(resource.resource_type, TOPIC | BROKER | BROKER_LOGGER | CLIENT_METRICS | GROUP)
    };
    let all_known = request.resources.iter().all(is_known);
    for resource in &request.resources {
        // One resource of an unknown type spoils the request, as in Kafka.
        let described =
            if all_known { describe(context, resource).await } else { Err(plain(ErrorCode::InvalidRequest)) };
        results.push(result(&request, resource, described));
    }
    let response = DescribeConfigsResponse { results, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn describe(context: &RequestContext<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refusal> {
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => describe_topic(context, name).await,
        GROUP => {
            let action = Action::new(AclOperation::DescribeConfigs, ResourceType::Group, name);
            match context.is_allowed(action).await {
                true if name.is_empty() => Err(invalid("Group name must not be empty")),
                true => Ok(context.group_configs(name)),
                false => Err(plain(ErrorCode::GroupAuthorizationFailed)),
            }
        }
        _ if !context.is_allowed(Action::cluster(AclOperation::DescribeConfigs)).await => {
            Err(plain(ErrorCode::ClusterAuthorizationFailed))
        }
        BROKER => describe_broker(context, name),
        BROKER_LOGGER => describe_broker_logger(context, name),
        _ if name.is_empty() => Err(invalid("Client metrics subscription name must not be empty")),
        _ => Ok(context.client_metrics_configs(name)),
    }
}

async fn describe_topic(context: &RequestContext<'_>, name: &str) -> Result<Vec<Described>, Refusal> {
    let admissions = context.admit_topics::<op::DescribeConfigs>(&[TopicRef::Name(name)]).await;
    match admissions.into_iter().next() {
        Some(TopicAdmission::Granted(_, view)) => Ok(context.topic_configs(&view)),
        Some(TopicAdmission::Unknown) => match TopicName::check_new(name) {
            Ok(()) => Err((ErrorCode::UnknownTopicOrPartition, String::new())),
            Err(error) => Err((ErrorCode::InvalidTopicException, error.sentence(name))),
        },
        _ => Err(plain(ErrorCode::TopicAuthorizationFailed)),
    }
}

fn describe_broker(context: &RequestContext<'_>, name: &str) -> Result<Vec<Described>, Refusal> {
    let own = context.broker.node_id.0;
    if name.is_empty() {
        return Ok(context.broker_configs(None));
    }
    match broker_id(name)? {
        id if id == own => Ok(context.broker_configs(Some(id))),
        id => Err(invalid(&format!("Unexpected broker id, expected {own} or empty string, but received {id}"))),
    }
}

/// Kafka lists the levels of its loggers; ours are no configs.
fn describe_broker_logger(context: &RequestContext<'_>, name: &str) -> Result<Vec<Described>, Refusal> {
    let own = context.broker.node_id.0;
    if name.is_empty() {
        return Err(invalid("Broker id must not be empty"));
    }
    match broker_id(name)? {
        id if id == own => Err(invalid("The levels of this broker's loggers can't be seen or changed while it runs")),
        id => Err(invalid(&format!("Unexpected broker id, expected {own} but received {id}"))),
    }
}

fn broker_id(name: &str) -> Result<i32, Refusal> {
    name.parse().map_err(|_| invalid(&format!("Broker id must be an integer, but it is: {name}")))
}

fn invalid(text: &str) -> Refusal {
    (ErrorCode::InvalidRequest, text.to_owned())
}

fn plain(code: ErrorCode) -> Refusal {
    (code, code.message().to_owned())
}

fn result(
    request: &DescribeConfigsRequest,
    resource: &DescribeConfigsResource,
    described: Result<Vec<Described>, Refusal>,
) -> DescribeConfigsResult {
    let base = DescribeConfigsResult {
        resource_type: resource.resource_type,
        resource_name: resource.resource_name.clone(),
        // Kafka leaves its own default here, where others have null.
        error_message: Some("".into()),
        ..Default::default()
    };
    match described {
        Ok(configs) => {
            let wanted: Option<HashSet<&str>> =
                resource.configuration_keys.as_ref().map(|keys| keys.iter().map(|key| &**key).collect());
            // An empty list asks for everything, as null does.
            let wanted = wanted.filter(|keys| !keys.is_empty());
            let configs = configs.into_iter().filter(|c| wanted.as_ref().is_none_or(|keys| keys.contains(&*c.name)));
            DescribeConfigsResult { configs: configs.map(|config| entry(request, config)).collect(), ..base }
        }
        Err((code, message)) => {
            DescribeConfigsResult { error_code: code.code(), error_message: Some(message.into()), ..base }
        }
    }
}

fn entry(request: &DescribeConfigsRequest, config: Described) -> DescribeConfigsResourceResult {
    let synonyms = if request.include_synonyms { config.synonyms } else { Vec::new() };
    let documentation = config.key.filter(|_| request.include_documentation).map(|key| key.doc.into());
    DescribeConfigsResourceResult {
        name: (&*config.name).into(),
        value: config.value.map(Into::into),
        read_only: config.read_only,
        config_source: config.source.wire_id(),
        is_sensitive: config.sensitive,
        synonyms: synonyms
            .into_iter()
            .map(|synonym| DescribeConfigsSynonym {
                name: (&*synonym.name).into(),
                value: synonym.value.map(Into::into),
                source: synonym.source.wire_id(),
            })
            .collect(),
        config_type: config.key.map_or(0, |key| key.kind.wire_id()),
        documentation,
    }
}
