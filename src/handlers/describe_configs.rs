//! DescribeConfigs v1–4 (KIP-133; synonyms KIP-226 from v1; types and documentation KIP-569 from v3).
//!
//! Needs DescribeConfigs on the topic (else TOPIC_AUTHORIZATION_FAILED), on the cluster for brokers, loggers and client
//! metrics (else CLUSTER_AUTHORIZATION_FAILED), on the group for groups (else GROUP_AUTHORIZATION_FAILED). A secret's value
//! is null. A topic that may be described and is not there is UNKNOWN_TOPIC_OR_PARTITION.

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
    for resource in &request.resources {
        let described = describe(context, resource).await;
        results.push(result(&request, resource, described));
    }
    let response = DescribeConfigsResponse { results, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn describe(context: &RequestContext<'_>, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refusal> {
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => describe_topic(context, name).await,
        BROKER | BROKER_LOGGER | CLIENT_METRICS => {
            let allowed = context.is_allowed(Action::cluster(AclOperation::DescribeConfigs)).await;
            if !allowed {
                return Err(plain(ErrorCode::ClusterAuthorizationFailed));
            }
            describe_cluster_resource(context, resource.resource_type, name)
        }
        GROUP => {
            let action = Action::new(AclOperation::DescribeConfigs, ResourceType::Group, name);
            if context.is_allowed(action).await {
                Ok(Vec::new())
            } else {
                Err(plain(ErrorCode::GroupAuthorizationFailed))
            }
        }
        other => Err((ErrorCode::InvalidRequest, format!("Unsupported resource type: {other}"))),
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

fn describe_cluster_resource(
    context: &RequestContext<'_>,
    resource_type: i8,
    name: &str,
) -> Result<Vec<Described>, Refusal> {
    let own = context.broker.node_id.0;
    match resource_type {
        BROKER if name.is_empty() => Ok(context.broker_configs(None)),
        BROKER | BROKER_LOGGER => match name.parse::<i32>() {
            Err(_) => {
                let text = format!("Broker id must be an integer, but it is: {name}");
                Err((ErrorCode::InvalidRequest, text))
            }
            Ok(id) if id != own => {
                let text = format!("Unexpected broker id, expected {own} or empty string, but received {id}");
                Err((ErrorCode::InvalidRequest, text))
            }
            Ok(id) if resource_type == BROKER => Ok(context.broker_configs(Some(id))),
            // Levels of loggers can't be changed at run time yet, so none are listed.
            Ok(_) => Ok(Vec::new()),
        },
        _ => Ok(Vec::new()),
    }
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
        // Kafka sends its text for "no error", which is empty, and not null.
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
