//! OffsetForLeaderEpoch v2–4 (KIP-101; for clients KIP-320): where the records of a leader epoch end, which shows a client
//! that what it read was truncated.
//!
//! Needs ClusterAction on the cluster, else Describe on each topic. An epoch that is not known is answered -1 and -1.

use bytes::Bytes;

use super::asker::{after_writes, writes_before};
use super::context::{TopicAdmission, TopicRef};
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicId, TopicIdPartition};
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
use crate::security::authorizer::Action;
use crate::security::authorizer::permit::{Resource, op};

use std::sync::Arc;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::OffsetForLeaderEpoch, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = OffsetForLeaderEpochRequest::decode(&mut Reader::new(body), version)?;
    let opened = open(context, &request).await;
    let topics: Vec<_> = request
        .topics
        .iter()
        .zip(opened)
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
    let cluster = Action::cluster(AclOperation::ClusterAction).quiet_if_denied();
    if context.is_allowed(cluster).await
        && let Ok(permit) = context.admit_one::<op::ClusterAction>(Resource::Cluster).await
    {
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
        if usize::try_from(index).is_ok_and(|at| at < opened.partitions) {
            let id = TopicIdPartition { topic_id: opened.id, partition: index };
            let partition = context.broker.replicas.find(id).ok_or(ErrorCode::NotLeaderOrFollower)?;
            Ok((partition, Arc::clone(&opened.describer)))
        } else {
            Err(ErrorCode::UnknownTopicOrPartition)
        }
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
