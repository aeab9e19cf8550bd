//! DescribeProducers v0 (KIP-664).
//!
//! Needs Read on each topic: TOPIC_AUTHORIZATION_FAILED comes before whether it exists, a name that no topic can have
//! (INVALID_TOPIC_EXCEPTION) before both.

use bytes::Bytes;
use futures_util::future::join_all;

use super::context::{TopicAdmission, TopicRef};
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::log::producer_state::ProducerEntry;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_producers_request::DescribeProducersRequest;
use crate::protocol::messages::describe_producers_response::{
    DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeProducers, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeProducersRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let named: Vec<TopicRef<'_>> = request.topics.iter().map(|topic| TopicRef::Name(&topic.name)).collect();
    let admissions = context.admit_topics::<op::Read>(&named).await;
    let mut topics = Vec::with_capacity(request.topics.len());
    for ((topic, admission), named) in request.topics.iter().zip(admissions).zip(&named) {
        let error = admission.error(*named);
        let invalid = TopicName::check_new(&topic.name).err().map(|error| error.sentence(&topic.name));
        let partitions = topic.partition_indexes.iter().map(|index| {
            let index = *index;
            let asked = match &admission {
                _ if invalid.is_some() => Err(PartitionResponse {
                    partition_index: index,
                    error_code: ErrorCode::InvalidTopicException.code(),
                    error_message: invalid.as_deref().map(Into::into),
                    ..Default::default()
                }),
                TopicAdmission::Granted(permit, view) if view.has_partition(index) => {
                    Ok(context.broker.replicas.describe_producers(permit, index))
                }
                TopicAdmission::Granted(..) => Err(failed(index, ErrorCode::UnknownTopicOrPartition, false)),
                TopicAdmission::Denied | TopicAdmission::Unknown => {
                    Err(failed(index, error.unwrap_or(ErrorCode::UnknownServerError), true))
                }
            };
            async move {
                match asked {
                    Ok(answer) => match answer.await {
                        Ok(Ok(producers)) => described(index, producers),
                        Ok(Err(error)) => failed(index, error.code(), true),
                        Err(_) => failed(index, ErrorCode::KafkaStorageError, true),
                    },
                    Err(failed) => failed,
                }
            }
        });
        topics.push((topic.name.to_string(), partitions.collect::<Vec<_>>()));
    }
    let responder = context.responder();
    Ok(Reply::Later(Box::pin(async move {
        let mut results = Vec::with_capacity(topics.len());
        for (name, partitions) in topics {
            results.push(TopicResponse { name: name.into(), partitions: join_all(partitions).await });
        }
        LaterReply::Respond(responder.respond(&DescribeProducersResponse { topics: results, ..Default::default() }))
    })))
}

fn described(index: i32, producers: Vec<ProducerEntry>) -> PartitionResponse {
    let active = producers.into_iter().map(|producer| ProducerState {
        producer_id: producer.producer_id,
        producer_epoch: producer.producer_epoch.into(),
        last_sequence: producer.last_sequence(),
        last_timestamp: producer.last_timestamp,
        coordinator_epoch: producer.coordinator_epoch,
        current_txn_start_offset: producer.current_txn_first_offset.unwrap_or(-1),
    });
    PartitionResponse { partition_index: index, active_producers: active.collect(), ..Default::default() }
}

/// Kafka has no text for a partition that is missing from a topic that is there.
fn failed(index: i32, code: ErrorCode, has_text: bool) -> PartitionResponse {
    PartitionResponse {
        partition_index: index,
        error_code: code.code(),
        error_message: has_text.then(|| code.message().into()),
        ..Default::default()
    }
}
