//! ListOffsets v1–11 (isolation KIP-98 from v2; leader epochs KIP-320 from v4; largest timestamp KIP-734 from v7; tiered
//! storage KIP-405 from v8, KIP-1005 from v9 and KIP-1023 from v11; timeout KIP-1075 from v10).
//!
//! Needs Describe on each topic. A special timestamp in a version that does not know it is UNSUPPORTED_VERSION. There is no
//! tiered storage: "earliest local" is the earliest, and what only tiered storage has is offset -1 without an error. A
//! partition that is named twice is INVALID_REQUEST, once.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::asker::{after_writes, writes_before};
use super::context::{TopicAdmission, TopicRef, TopicView};
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicIdPartition, TopicName};
use crate::protocol::api::ApiKey;
use crate::protocol::compression::Decompressor;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest};
use crate::protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::replica::partition::{IsolationLevel, OffsetQuery, Partition};
use crate::replica::reader::TopicDescriber;
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::ListOffsets, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// `ListOffsetsRequest.CONSUMER_REPLICA_ID`
const CONSUMER: i32 = -1;
/// OFFSET_NOT_AVAILABLE is known from this version on (KIP-207).
const OFFSET_NOT_AVAILABLE_FROM: i16 = 5;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = ListOffsetsRequest::decode(&mut Reader::new(body), version)?;
    let isolation = match (request.replica_id, request.isolation_level) {
        (CONSUMER, 0) => Some(IsolationLevel::ReadUncommitted),
        (CONSUMER, 1) => Some(IsolationLevel::ReadCommitted),
        (CONSUMER, _) => None,
        // Replicas and debugging tools see all there is.
        _ => Some(IsolationLevel::LogEnd),
    };
    let named: Vec<TopicRef<'_>> = request.topics.iter().map(|topic| TopicRef::Name(&topic.name)).collect();
    let admissions = context.admit_topics::<op::Describe>(&named).await;
    let mut answers = Vec::with_capacity(admissions.len());
    for (topic, admission) in request.topics.iter().zip(admissions) {
        let error = admission.error(TopicRef::Name(&topic.name));
        let partitions = match admission {
            TopicAdmission::Granted(permit, view) => {
                let describer = Arc::new(context.broker.replicas.describer(permit));
                questions(context, version, isolation, &topic.partitions, &view, &describer)
            }
            TopicAdmission::Denied | TopicAdmission::Unknown => {
                let code = error.unwrap_or(ErrorCode::UnknownServerError);
                topic.partitions.iter().map(|p| Question::Answered(failed(p.partition_index, code))).collect()
            }
        };
        answers.push((TopicName::from(&*topic.name), partitions));
    }
    let responder = context.responder();
    let writes = writes_before(context);
    if writes.is_empty() && !answers.iter().flat_map(|(_, questions)| questions).any(Question::searches) {
        return Ok(Reply::Now(responder.respond(&answer(version, answers))));
    }
    Ok(Reply::Later(Box::pin(async move {
        after_writes(writes).await;
        let searched = tokio::task::spawn_blocking(move || answer(version, answers)).await;
        // A search that panicked was reported by its thread.
        LaterReply::Respond(responder.respond(&searched.unwrap_or_default()))
    })))
}

/// One partition, to be asked or answered already.
enum Question {
    Answered(ListOffsetsPartitionResponse),
    Ask {
        partition: Arc<Partition>,
        describer: Arc<TopicDescriber>,
        query: OffsetQuery,
        isolation: IsolationLevel,
        current_leader_epoch: i32,
    },
}

impl Question {
    fn searches(&self) -> bool {
        matches!(self, Self::Ask { query, .. } if query.searches())
    }
}

fn questions(
    context: &RequestContext<'_>,
    version: i16,
    isolation: Option<IsolationLevel>,
    partitions: &[ListOffsetsPartition],
    view: &TopicView,
    describer: &Arc<TopicDescriber>,
) -> Vec<Question> {
    let mut times_named: BTreeMap<i32, usize> = BTreeMap::new();
    for partition in partitions {
        *times_named.entry(partition.partition_index).or_default() += 1;
    }
    let ask = |asked: &ListOffsetsPartition| -> Result<Question, ErrorCode> {
        let index = asked.partition_index;
        if times_named.get(&index).is_some_and(|times| *times > 1) {
            return Err(ErrorCode::InvalidRequest);
        }
        if !view.has_partition(index) {
            return Err(ErrorCode::UnknownTopicOrPartition);
        }
        let query = query(asked.timestamp, version).ok_or(ErrorCode::UnsupportedVersion)?;
        let id = TopicIdPartition { topic_id: view.id(), partition: index };
        // In the metadata, but not here: another broker's, or about to come.
        let partition = context.broker.replicas.find(id).ok_or(ErrorCode::NotLeaderOrFollower)?;
        Ok(Question::Ask {
            partition,
            describer: Arc::clone(describer),
            query,
            isolation: isolation.ok_or(ErrorCode::UnknownServerError)?,
            current_leader_epoch: asked.current_leader_epoch,
        })
    };
    let mut answered = Vec::with_capacity(partitions.len());
    let mut is_told = Vec::new();
    for partition in partitions {
        let index = partition.partition_index;
        match ask(partition) {
            Err(ErrorCode::InvalidRequest) if is_told.contains(&index) => {}
            Err(code) => {
                if code == ErrorCode::InvalidRequest {
                    is_told.push(index);
                }
                answered.push(Question::Answered(failed(index, code)));
            }
            Ok(question) => answered.push(question),
        }
    }
    answered
}

/// What a timestamp asks for, in this version; `None` where it has no meaning.
fn query(timestamp: i64, version: i16) -> Option<OffsetQuery> {
    match (timestamp, version) {
        (0.., _) => Some(OffsetQuery::Timestamp(timestamp)),
        (-1, _) => Some(OffsetQuery::Latest),
        (-2, _) | (-4, 8..) => Some(OffsetQuery::Earliest),
        (-3, 7..) => Some(OffsetQuery::MaxTimestamp),
        (-5, 9..) | (-6, 11..) => Some(OffsetQuery::Tiered),
        _ => None,
    }
}

/// May wait for the disk where a question searches.
fn answer(version: i16, topics: Vec<(TopicName, Vec<Question>)>) -> ListOffsetsResponse {
    let mut decompressor = Decompressor::default();
    let topics = topics
        .into_iter()
        .map(|(name, questions)| ListOffsetsTopicResponse {
            name: name.as_str().into(),
            partitions: questions.into_iter().map(|question| ask(question, version, &mut decompressor)).collect(),
        })
        .collect();
    ListOffsetsResponse { topics, ..Default::default() }
}

fn ask(question: Question, version: i16, decompressor: &mut Decompressor) -> ListOffsetsPartitionResponse {
    let (partition, describer, query, isolation, current_leader_epoch) = match question {
        Question::Answered(answer) => return answer,
        Question::Ask { partition, describer, query, isolation, current_leader_epoch } => {
            (partition, describer, query, isolation, current_leader_epoch)
        }
    };
    let index = partition.id().partition;
    match describer.offset(&partition, query, isolation, current_leader_epoch, decompressor) {
        Ok(Some(found)) => ListOffsetsPartitionResponse {
            partition_index: index,
            timestamp: found.timestamp,
            offset: found.offset,
            leader_epoch: found.leader_epoch.unwrap_or(-1),
            ..Default::default()
        },
        Ok(None) => failed(index, ErrorCode::None),
        Err(error) => match error.code() {
            ErrorCode::OffsetNotAvailable if version < OFFSET_NOT_AVAILABLE_FROM => {
                failed(index, ErrorCode::LeaderNotAvailable)
            }
            code => failed(index, code),
        },
    }
}

fn failed(partition_index: i32, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse {
        partition_index,
        error_code: code.code(),
        timestamp: -1,
        offset: -1,
        leader_epoch: -1,
    }
}
