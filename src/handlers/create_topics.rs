//! CreateTopics v2–7 (KIP-4; defaults KIP-464 from v4; returned configs KIP-525 from v5; ids KIP-516 from v7).
//!
//! Needs Create on the cluster, or on each topic: else TOPIC_AUTHORIZATION_FAILED for that topic. The new topic's configs
//! are returned to those who may DescribeConfigs it, others see TOPIC_AUTHORIZATION_FAILED in `topic_config_error_code`.
//! Answered when the topic is committed and this broker has its partitions.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::config::topic::Described;
use crate::controller::{
    ApiError, ControllerRequest, ControllerResponse, CreateTopic, CreateTopics, CreatedTopic, TopicCreation,
};
use crate::model::acl::AclOperation;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;
use crate::model::topic::TopicName;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use crate::protocol::messages::create_topics_response::{
    CreatableTopicConfigs, CreatableTopicResult, CreateTopicsResponse,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Permit, op};
use crate::security::authorizer::{Action, Decision};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::CreateTopics, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = CreateTopicsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let (asked, mut results) = distinct(&request);
    let names: Vec<&str> = asked.iter().map(|topic| &*topic.name).collect();
    let permits = context.admit_creation(&names).await;
    let describable = describable(context, &names).await;
    let mut topics = Vec::new();
    for ((topic, permit), describe) in asked.into_iter().zip(permits).zip(describable) {
        match permit {
            Some(permit) => topics.push(wanted(topic, permit, describe)),
            None => {
                let error = ApiError::new(ErrorCode::TopicAuthorizationFailed, "Authorization failed.");
                results.push(refused(&topic.name, &error));
            }
        }
    }
    if !topics.is_empty() {
        let asked: Vec<String> = topics.iter().map(|topic| topic.name.clone()).collect();
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        let create = CreateTopics {
            topics,
            validate_only: request.validate_only,
            deadline: Some(context.broker.clock.mono().plus(timeout)),
        };
        match context.broker.controller.submit(ControllerRequest::CreateTopics(create)).await {
            Ok(ControllerResponse::CreateTopics(created)) => {
                results.splice(0..0, created.into_iter().map(result));
            }
            Ok(_) => results.extend(all_refused(&asked, ErrorCode::UnknownServerError)),
            Err(error) => results.extend(all_refused(&asked, error.code())),
        }
    }
    let response = CreateTopicsResponse { topics: results, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// What may be asked for at all, whoever asks (`ControllerApis.createTopics`), and refusals for the rest.
fn distinct(request: &CreateTopicsRequest) -> (Vec<&CreatableTopic>, Vec<CreatableTopicResult>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let refusal = |name: &str, count: usize| {
        let text = match name {
            _ if count > 1 => "Duplicate topic name.".to_owned(),
            TopicName::CLUSTER_METADATA => format!("Creation of internal topic {name} is prohibited."),
            _ => return None,
        };
        Some(refused(name, &ApiError::new(ErrorCode::InvalidRequest, text)))
    };
    let refusals = counts.iter().filter_map(|(name, count)| refusal(name, *count)).collect();
    let is_fine = |name: &str| counts.get(name).is_some_and(|count| refusal(name, *count).is_none());
    (request.topics.iter().filter(|topic| is_fine(&topic.name)).collect(), refusals)
}

async fn describable(context: &RequestContext<'_>, names: &[&str]) -> Vec<bool> {
    let actions: Vec<Action<'_>> = names
        .iter()
        .map(|name| Action::new(AclOperation::DescribeConfigs, ResourceType::Topic, name).quiet_if_denied())
        .collect();
    context.authorize(&actions).await.iter().map(Decision::is_allowed).collect()
}

fn wanted(topic: &CreatableTopic, permit: Permit<op::Create>, describe: bool) -> CreateTopic {
    CreateTopic {
        permit,
        name: topic.name.to_string(),
        num_partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignments: topic
            .assignments
            .iter()
            .map(|a| (a.partition_index, a.broker_ids.iter().map(|id| BrokerId(*id)).collect()))
            .collect(),
        configs: topic
            .configs
            .iter()
            .map(|config| ((&*config.name).into(), config.value.as_deref().map(Into::into)))
            .collect(),
        describe,
    }
}

fn result(created: CreatedTopic) -> CreatableTopicResult {
    match created.result {
        Ok(creation) => made(&created.name, creation),
        Err(error) => refused(&created.name, &error),
    }
}

fn made(name: &str, creation: TopicCreation) -> CreatableTopicResult {
    let base =
        CreatableTopicResult { name: name.into(), topic_id: creation.id.0, error_message: None, ..Default::default() };
    match creation.configs {
        Some(configs) => CreatableTopicResult {
            num_partitions: creation.num_partitions,
            replication_factor: creation.replication_factor,
            configs: Some(configs.into_iter().map(described).collect()),
            ..base
        },
        None => CreatableTopicResult { topic_config_error_code: ErrorCode::TopicAuthorizationFailed.code(), ..base },
    }
}

fn described(config: Described) -> CreatableTopicConfigs {
    CreatableTopicConfigs {
        name: (&*config.name).into(),
        value: config.value.map(Into::into),
        read_only: config.read_only,
        config_source: config.source.wire_id(),
        is_sensitive: config.sensitive,
    }
}

fn all_refused(names: &[String], code: ErrorCode) -> impl Iterator<Item = CreatableTopicResult> {
    names.iter().map(move |name| refused(name, &ApiError::of(code)))
}

fn refused(name: &str, error: &ApiError) -> CreatableTopicResult {
    CreatableTopicResult {
        name: name.into(),
        error_code: error.code().code(),
        error_message: error.message().map(Into::into),
        ..Default::default()
    }
}
