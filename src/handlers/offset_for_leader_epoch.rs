//! OffsetForLeaderEpoch v2–4 (KIP-101; for clients KIP-320): where the records of a leader epoch end, which shows a client
//! that what it read was truncated.
//!
//! Brokers need ClusterAction on the cluster, everybody else Describe on each topic. Only the leader answers; an epoch that
//! it does not know is -1 with offset -1, which is no error. Topics that are refused come last, as from Kafka.

use std::sync::Arc;

use bytes::Bytes;

use super::asker::{after_writes, writes_before};
use super::context::{TopicAdmission, TopicRef};
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicId;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition,
};
use crate::protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::replica::partition::Partition;
use crate::replica::reader::TopicDescriber;
use crate::security::authorizer::permit::{Admission, Resource, Wanted, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::OffsetForLeaderEpoch, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = OffsetForLeaderEpochRequest::decode(&mut Reader::new(body), version)?;
    let opened = open(context, &request).await;
    let (denied, answered): (Vec<_>, Vec<_>) = request
        .topics
        .iter()
        .zip(opened)
        .partition(|(_, opened)| matches!(opened, Err(ErrorCode::TopicAuthorizationFailed)));
    let topics: Vec<_> = answered
        .into_iter()
        .chain(denied)
        .map(|(topic, opened)| (topic.topic.to_string(), questions(context, &topic.partitions, opened)))
        .collect();
    let responder = context.responder();
    let writes = writes_before(context);
    if writes.is_empty() {
        return Ok(Reply::Now(responder.respond(&answer(topics))));
    }
    Ok(Reply::Later(Box::pin(async move {
        after_writes(writes).await;
        LaterReply::Respond(responder.respond(&answer(topics)))
    })))
}

/// A topic that may be asked about.
struct Opened {
    describer: Arc<TopicDescriber>,
    id: TopicId,
    partitions: usize,
}

/// A broker may ask about everything; anybody else about what he may describe.
async fn open(context: &RequestContext<'_>, request: &OffsetForLeaderEpochRequest) -> Vec<Result<Opened, ErrorCode>> {
    let named: Vec<TopicRef<'_>> = request.topics.iter().map(|topic| TopicRef::Name(&topic.topic)).collect();
    let cluster = Wanted { resource: Resource::Cluster, references: 1, log_if_denied: false };
    if let Some(permit) = context.admit::<op::ClusterAction>(vec![cluster]).await.pop().and_then(Admission::granted) {
        let known = context.topics_for_replica(&permit, &named);
        let describer = Arc::new(context.broker.replicas.replica_describer(permit));
        let opened = known.into_iter().map(|topic| {
            let topic = topic.ok_or(ErrorCode::UnknownTopicOrPartition)?;
            Ok(Opened { describer: Arc::clone(&describer), id: topic.id, partitions: topic.partitions })
        });
        return opened.collect();
    }
    let admissions = context.admit_topics::<op::Describe>(&named).await;
    let opened = admissions.into_iter().zip(&named).map(|(admission, named)| {
        let error = admission.error(*named);
        match admission {
            TopicAdmission::Granted(permit, view) => Ok(Opened {
                describer: Arc::new(context.broker.replicas.describer(permit)),
                id: view.id(),
                partitions: view.partition_count(),
            }),
            TopicAdmission::Denied | TopicAdmission::Unknown => Err(error.unwrap_or(ErrorCode::UnknownServerError)),
        }
    });
    opened.collect()
}

struct Question {
    asked: OffsetForLeaderPartition,
    target: Result<(Arc<Partition>, Arc<TopicDescriber>), ErrorCode>,
}

fn questions(
    context: &RequestContext<'_>,
    partitions: &[OffsetForLeaderPartition],
    opened: Result<Opened, ErrorCode>,
) -> Vec<Question> {
    let target = |index: i32| {
        let opened = opened.as_ref().map_err(|code| *code)?;
        let partition = context.hosted(opened.id, opened.partitions, index)?;
        Ok((partition, Arc::clone(&opened.describer)))
    };
    partitions.iter().map(|asked| Question { asked: asked.clone(), target: target(asked.partition) }).collect()
}

fn answer(topics: Vec<(String, Vec<Question>)>) -> OffsetForLeaderEpochResponse {
    let topics = topics
        .into_iter()
        .map(|(topic, questions)| OffsetForLeaderTopicResult {
            topic: topic.into(),
            partitions: questions.into_iter().map(ask).collect(),
        })
        .collect();
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

fn ask(question: Question) -> EpochEndOffset {
    let Question { asked, target } = question;
    let found = target.and_then(|(partition, describer)| {
        describer.end_of_epoch(&partition, asked.current_leader_epoch, asked.leader_epoch).map_err(|error| error.code())
    });
    let (code, leader_epoch, end_offset) = match found {
        Ok(end) => (ErrorCode::None, end.epoch, end.end_offset),
        Err(code) => (code, -1, -1),
    };
    EpochEndOffset { error_code: code.code(), partition: asked.partition, leader_epoch, end_offset }
}
