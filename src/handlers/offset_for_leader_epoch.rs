//! OffsetForLeaderEpoch v2–4 (KIP-101, KIP-320): where the records of a leader epoch end, so that a client sees whether the
//! log it read from was truncated.
//!
//! Brokers need ClusterAction on the cluster, everybody else Describe on each topic. Only the leader answers; an epoch that
//! it does not know is -1 with offset -1, which is no error. Topics that are refused come last, as from Kafka.

use bytes::Bytes;

use super::context::{TopicAdmission, TopicRef, TopicView};
use super::{Order, Reply, RequestContext, Spec};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderEpochRequest, OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use crate::protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::replica::reader::TopicDescriber;
use crate::security::authorizer::permit::{Admission, Resource, Wanted, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::OffsetForLeaderEpoch, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = OffsetForLeaderEpochRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let topics = match for_broker(context, &request.topics).await {
        Some(topics) => topics,
        None => for_client(context, &request.topics).await,
    };
    let response = OffsetForLeaderEpochResponse { topics, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// `None` for somebody who is no broker.
async fn for_broker(
    context: &RequestContext<'_>,
    topics: &[OffsetForLeaderTopic],
) -> Option<Vec<OffsetForLeaderTopicResult>> {
    let cluster = Wanted { resource: Resource::Cluster, references: 1, log_if_denied: false };
    let permit = context.admit::<op::ClusterAction>(vec![cluster]).await.pop().and_then(Admission::granted)?;
    let names: Vec<&str> = topics.iter().map(|topic| &*topic.topic).collect();
    let views = context.topics_for_broker(&permit, &names);
    let describer = context.broker.replicas.replica_describer(permit);
    let ends = |topic, view: Option<&TopicView>| match view {
        Some(view) => ends(context, topic, view, &describer),
        None => failed(topic, ErrorCode::UnknownTopicOrPartition),
    };
    Some(topics.iter().zip(&views).map(|(topic, view)| ends(topic, view.as_ref())).collect())
}

async fn for_client(context: &RequestContext<'_>, topics: &[OffsetForLeaderTopic]) -> Vec<OffsetForLeaderTopicResult> {
    let named: Vec<TopicRef<'_>> = topics.iter().map(|topic| TopicRef::Name(&topic.topic)).collect();
    let admissions = context.admit_topics::<op::Describe>(&named).await;
    let (mut results, mut denied) = (Vec::with_capacity(topics.len()), Vec::new());
    for (topic, admission) in topics.iter().zip(admissions) {
        match admission {
            TopicAdmission::Granted(permit, view) => {
                results.push(ends(context, topic, &view, &context.broker.replicas.describer(permit)));
            }
            TopicAdmission::Unknown => results.push(failed(topic, ErrorCode::UnknownTopicOrPartition)),
            TopicAdmission::Denied => denied.push(failed(topic, ErrorCode::TopicAuthorizationFailed)),
        }
    }
    results.append(&mut denied);
    results
}

fn ends(
    context: &RequestContext<'_>,
    topic: &OffsetForLeaderTopic,
    view: &TopicView,
    describer: &TopicDescriber,
) -> OffsetForLeaderTopicResult {
    let end = |asked: &OffsetForLeaderPartition| {
        let partition = context.hosted(view, asked.partition)?;
        describer.end_of_epoch(&partition, asked.current_leader_epoch, asked.leader_epoch).map_err(|error| error.code())
    };
    let partitions = topic.partitions.iter().map(|asked| match end(asked) {
        Ok(end) => EpochEndOffset {
            partition: asked.partition,
            leader_epoch: end.epoch,
            end_offset: end.end_offset,
            ..Default::default()
        },
        Err(code) => error(asked, code),
    });
    OffsetForLeaderTopicResult { topic: topic.topic.clone(), partitions: partitions.collect() }
}

fn failed(topic: &OffsetForLeaderTopic, code: ErrorCode) -> OffsetForLeaderTopicResult {
    let partitions = topic.partitions.iter().map(|asked| error(asked, code)).collect();
    OffsetForLeaderTopicResult { topic: topic.topic.clone(), partitions }
}

fn error(asked: &OffsetForLeaderPartition, code: ErrorCode) -> EpochEndOffset {
    EpochEndOffset { error_code: code.code(), partition: asked.partition, ..Default::default() }
}
