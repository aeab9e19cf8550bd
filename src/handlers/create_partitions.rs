//! CreatePartitions v0–3 (KIP-195; quotas KIP-599 from v2).
//!
//! Needs Alter on each topic: TOPIC_AUTHORIZATION_FAILED comes before whether it exists. A topic named twice is refused.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::context::{TopicAdmission, TopicRef};
use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ControllerRequest, ControllerResponse, CreatePartitions, GrowTopic};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use crate::protocol::messages::create_partitions_response::{CreatePartitionsResponse, CreatePartitionsTopicResult};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Permit, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::CreatePartitions, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = CreatePartitionsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let (asked, mut results) = distinct(&request);
    let named: Vec<TopicRef<'_>> = asked.iter().map(|topic| TopicRef::Name(&topic.name)).collect();
    let mut topics = Vec::new();
    for (topic, admission) in asked.iter().zip(context.admit_topics::<op::Alter>(&named).await) {
        match admission {
            TopicAdmission::Granted(permit, _) => topics.push((*topic, permit)),
            TopicAdmission::Unknown => {
                results.push(refused(&topic.name, &ApiError::bare(ErrorCode::UnknownTopicOrPartition)));
            }
            TopicAdmission::Denied => {
                results.push(refused(&topic.name, &ApiError::bare(ErrorCode::TopicAuthorizationFailed)));
            }
        }
    }
    results.extend(grow(context, &request, topics).await);
    let response = CreatePartitionsResponse { results, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// Topics that are named once, and refusals for the others.
fn distinct(request: &CreatePartitionsRequest) -> (Vec<&CreatePartitionsTopic>, Vec<CreatePartitionsTopicResult>) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &request.topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let twice = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
    let refusals = counts.iter().filter(|(_, count)| **count > 1).map(|(name, _)| refused(name, &twice)).collect();
    let is_single = |topic: &&CreatePartitionsTopic| counts.get(&*topic.name) == Some(&1);
    (request.topics.iter().filter(is_single).collect(), refusals)
}

async fn grow(
    context: &RequestContext<'_>,
    request: &CreatePartitionsRequest,
    topics: Vec<(&CreatePartitionsTopic, Permit<op::Alter>)>,
) -> Vec<CreatePartitionsTopicResult> {
    if topics.is_empty() {
        return Vec::new();
    }
    let names: Vec<String> = topics.iter().map(|(topic, _)| topic.name.to_string()).collect();
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let of = |(topic, permit): (&CreatePartitionsTopic, Permit<op::Alter>)| {
        let ids = |ids: &[i32]| ids.iter().map(|id| BrokerId(*id)).collect();
        let assignments = topic.assignments.as_ref().map(|all| all.iter().map(|one| ids(&one.broker_ids)).collect());
        GrowTopic { permit, count: topic.count, assignments }
    };
    let grow = CreatePartitions {
        topics: topics.into_iter().map(of).collect(),
        validate_only: request.validate_only,
        deadline: Some(context.broker.clock.mono().plus(timeout)),
    };
    let results = match context.broker.controller.submit(ControllerRequest::CreatePartitions(grow)).await {
        Ok(ControllerResponse::CreatePartitions(results)) => results,
        Ok(_) => names.iter().map(|_| Err(ApiError::of(ErrorCode::UnknownServerError))).collect(),
        Err(error) => names.iter().map(|_| Err(ApiError::of(error.code()))).collect(),
    };
    names
        .iter()
        .zip(results)
        .map(|(name, result)| match result {
            Ok(()) => CreatePartitionsTopicResult { name: name.as_str().into(), ..Default::default() },
            Err(error) => refused(name, &error),
        })
        .collect()
}

fn refused(name: &str, error: &ApiError) -> CreatePartitionsTopicResult {
    CreatePartitionsTopicResult {
        name: name.into(),
        error_code: error.code().code(),
        error_message: error.message().map(Into::into),
    }
}
