//! OffsetDelete v0 (KIP-496).
//!
//! Needs Delete on the group (else GROUP_AUTHORIZATION_FAILED for the request) and Read on each topic
//! (TOPIC_AUTHORIZATION_FAILED before it is told whether there is one). Positions of topics that the group reads now stay:
//! GROUP_SUBSCRIBED_TO_TOPIC.

use bytes::Bytes;

use super::context::{TopicAdmission, TopicRef};
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::offset_delete_request::{OffsetDeleteRequest, OffsetDeleteRequestTopic};
use crate::protocol::messages::offset_delete_response::{
    OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::OffsetDelete, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = OffsetDeleteRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let responder = context.responder();
    let permit = match context.admit_group::<op::Delete>(&request.group_id).await {
        Ok(permit) => permit,
        Err(code) => return Ok(Reply::Now(responder.respond(&failed(code)))),
    };
    if request.group_id.is_empty() {
        return Ok(Reply::Now(responder.respond(&failed(ErrorCode::InvalidGroupId))));
    }
    let (refusals, topics) = sort_out(context, request.topics).await;

    let deleted = context.broker.groups.submit(GroupRequest::DeleteOffsets { permit, topics });
    Ok(Reply::Later(Box::pin(async move {
        let response = match deleted.await {
            Ok(GroupResponse::DeleteOffsets(response)) => merged(refusals, response),
            Ok(_) => failed(ErrorCode::UnknownServerError),
            Err(code) => failed(code),
        };
        LaterReply::Respond(responder.respond(&response))
    })))
}

/// What is refused here, and what the coordinator is to delete.
async fn sort_out(
    context: &RequestContext<'_>,
    asked: Vec<OffsetDeleteRequestTopic>,
) -> (Vec<OffsetDeleteResponseTopic>, Vec<OffsetDeleteRequestTopic>) {
    let named: Vec<TopicRef<'_>> = asked.iter().map(|topic| TopicRef::Name(&topic.name)).collect();
    let admissions = context.admit_topics::<op::Read>(&named).await;
    let (mut refusals, mut allowed) = (Vec::new(), Vec::new());
    for (mut topic, admission) in asked.into_iter().zip(admissions) {
        match admission {
            TopicAdmission::Granted(_, view) => {
                let (known, unknown): (Vec<_>, Vec<_>) =
                    topic.partitions.drain(..).partition(|partition| view.has_partition(partition.partition_index));
                if !unknown.is_empty() {
                    let missing = OffsetDeleteRequestTopic { name: topic.name.clone(), partitions: unknown };
                    refusals.push(refused_topic(&missing, ErrorCode::UnknownTopicOrPartition));
                }
                topic.partitions = known;
                if !topic.partitions.is_empty() {
                    allowed.push(topic);
                }
            }
            TopicAdmission::Unknown => refusals.push(refused_topic(&topic, ErrorCode::UnknownTopicOrPartition)),
            TopicAdmission::Denied => refusals.push(refused_topic(&topic, ErrorCode::TopicAuthorizationFailed)),
        }
    }
    (refusals, allowed)
}

fn refused_topic(topic: &OffsetDeleteRequestTopic, code: ErrorCode) -> OffsetDeleteResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| OffsetDeleteResponsePartition {
        partition_index: partition.partition_index,
        error_code: code.code(),
    });
    OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}

/// An error of the whole request stands alone.
fn merged(refusals: Vec<OffsetDeleteResponseTopic>, response: OffsetDeleteResponse) -> OffsetDeleteResponse {
    if response.error_code != ErrorCode::None.code() {
        return response;
    }
    let mut topics = refusals;
    for topic in response.topics {
        match topics.iter_mut().find(|known| known.name == topic.name) {
            Some(known) => known.partitions.extend(topic.partitions),
            None => topics.push(topic),
        }
    }
    OffsetDeleteResponse { topics, ..Default::default() }
}

fn failed(code: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse { error_code: code.code(), ..Default::default() }
}
