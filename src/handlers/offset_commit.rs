//! OffsetCommit v2–10 (leader epochs from v6, static members KIP-345 from v7, topic ids KIP-848 from v10).
//!
//! Needs Read on the group (else GROUP_AUTHORIZATION_FAILED for every partition) and on each topic
//! (TOPIC_AUTHORIZATION_FAILED before it is told whether there is one). An id that nobody knows is UNKNOWN_TOPIC_ID,
//! a topic or partition that does not exist UNKNOWN_TOPIC_OR_PARTITION. The rest is committed, whatever became of these.

use bytes::Bytes;

use super::context::{TopicAdmission, TopicRef};
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicId;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::offset_commit_request::{OffsetCommitRequest, OffsetCommitRequestTopic};
use crate::protocol::messages::offset_commit_response::{
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::OffsetCommit, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// Topics are named by id from this version on.
const TOPIC_IDS_FROM: i16 = 10;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let mut request = OffsetCommitRequest::decode(&mut Reader::new(body), version)?;
    let responder = context.responder();
    let permit = match context.admit_group::<op::Read>(&request.group_id).await {
        Ok(permit) => permit,
        Err(code) => return Ok(Reply::Now(responder.respond(&refused(&request.topics, code)))),
    };
    let asked = std::mem::take(&mut request.topics);
    let (refusals, allowed) = sort_out(context, asked, version).await;
    if allowed.is_empty() {
        return Ok(Reply::Now(responder.respond(&refusals)));
    }
    request.topics = allowed.clone();
    let committed = context.broker.groups.submit(GroupRequest::CommitOffsets { permit, version, request });
    Ok(Reply::Later(Box::pin(async move {
        let answer = match committed.await {
            Ok(GroupResponse::CommitOffsets(response)) => response,
            Ok(_) => refused(&allowed, ErrorCode::UnknownServerError),
            Err(code) => refused(&allowed, code),
        };
        LaterReply::Respond(responder.respond(&merged(refusals, answer)))
    })))
}

/// What is refused here, and what the coordinator is to commit.
async fn sort_out(
    context: &RequestContext<'_>,
    asked: Vec<OffsetCommitRequestTopic>,
    version: i16,
) -> (OffsetCommitResponse, Vec<OffsetCommitRequestTopic>) {
    let by_id = version >= TOPIC_IDS_FROM;
    let named: Vec<TopicRef<'_>> =
        asked.iter().map(|t| if by_id { TopicRef::Id(TopicId(t.topic_id)) } else { TopicRef::Name(&t.name) }).collect();
    let admissions = context.admit_topics::<op::Read>(&named).await;
    let errors: Vec<_> = admissions.iter().zip(&named).map(|(admission, named)| admission.error(*named)).collect();
    let mut refusals = OffsetCommitResponse::default();
    let mut allowed = Vec::new();
    for ((mut topic, admission), error) in asked.into_iter().zip(admissions).zip(errors) {
        match (admission, error) {
            (TopicAdmission::Granted(_, view), _) => {
                let (known, unknown) = topic.partitions.drain(..).partition(|p| view.has_partition(p.partition_index));
                topic.name = view.name().as_str().into();
                let missing = OffsetCommitRequestTopic { partitions: unknown, ..topic.clone() };
                if !missing.partitions.is_empty() {
                    refusals.topics.push(refused_topic(&missing, ErrorCode::UnknownTopicOrPartition));
                }
                topic.partitions = known;
                if !topic.partitions.is_empty() {
                    allowed.push(topic);
                }
            }
            (_, error) => {
                refusals.topics.push(refused_topic(&topic, error.unwrap_or(ErrorCode::UnknownServerError)));
            }
        }
    }
    (refusals, allowed)
}

/// Both answers as one: a topic of both is there once.
fn merged(mut refusals: OffsetCommitResponse, answer: OffsetCommitResponse) -> OffsetCommitResponse {
    for topic in answer.topics {
        let same =
            refusals.topics.iter_mut().find(|known| known.name == topic.name && known.topic_id == topic.topic_id);
        match same {
            Some(known) => known.partitions.extend(topic.partitions),
            None => refusals.topics.push(topic),
        }
    }
    refusals
}

fn refused(topics: &[OffsetCommitRequestTopic], code: ErrorCode) -> OffsetCommitResponse {
    let topics = topics.iter().map(|topic| refused_topic(topic, code)).collect();
    OffsetCommitResponse { topics, ..Default::default() }
}

fn refused_topic(topic: &OffsetCommitRequestTopic, code: ErrorCode) -> OffsetCommitResponseTopic {
    let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
        partition_index: partition.partition_index,
        error_code: code.code(),
    });
    OffsetCommitResponseTopic { name: topic.name.clone(), topic_id: topic.topic_id, partitions: partitions.collect() }
}
