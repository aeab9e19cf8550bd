//! DeleteRecords v0–2 (KIP-107).
//!
//! Needs Delete on each topic: TOPIC_AUTHORIZATION_FAILED comes before whether it exists. Internal topics are refused
//! (INVALID_TOPIC_EXCEPTION) whatever the rights; topics that are only compacted too (POLICY_VIOLATION). Offset -1 is the
//! high watermark; what lies past it can't be deleted (OFFSET_OUT_OF_RANGE). The answer is where the log starts.

use bytes::Bytes;
use futures_util::future::join_all;

use super::asker::{after_writes, writes_before};
use super::context::{TopicAdmission, TopicRef};
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::delete_records_request::DeleteRecordsRequest;
use crate::protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DeleteRecords, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// `DeleteRecordsResponse.INVALID_LOW_WATERMARK`
const NO_LOW_WATERMARK: i64 = -1;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DeleteRecordsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    // What this connection wrote before may be what it deletes.
    after_writes(writes_before(context)).await;
    let named: Vec<TopicRef<'_>> = request.topics.iter().map(|topic| TopicRef::Name(&topic.name)).collect();
    let admissions = context.admit_topics::<op::Delete>(&named).await;
    let mut topics = Vec::with_capacity(request.topics.len());
    for ((topic, admission), named) in request.topics.iter().zip(admissions).zip(&named) {
        let error = admission.error(*named);
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let deleting = match &admission {
                TopicAdmission::Granted(_, view) if !view.has_partition(index) => {
                    Err(ErrorCode::UnknownTopicOrPartition)
                }
                TopicAdmission::Granted(_, view) if view.name().is_internal() => Err(ErrorCode::InvalidTopicException),
                TopicAdmission::Granted(permit, _) => {
                    Ok(context.broker.replicas.delete_records(permit, index, partition.offset))
                }
                TopicAdmission::Denied | TopicAdmission::Unknown => Err(error.unwrap_or(ErrorCode::UnknownServerError)),
            };
            async move {
                let deleted = match deleting {
                    Ok(answer) => match answer.await {
                        Ok(deleted) => deleted.map_err(|error| error.code()),
                        Err(_) => Err(ErrorCode::KafkaStorageError),
                    },
                    Err(code) => Err(code),
                };
                DeleteRecordsPartitionResult {
                    partition_index: index,
                    low_watermark: deleted.unwrap_or(NO_LOW_WATERMARK),
                    error_code: deleted.err().unwrap_or(ErrorCode::None).code(),
                }
            }
        });
        topics.push((topic.name.to_string(), partitions.collect::<Vec<_>>()));
    }
    let responder = context.responder();
    Ok(Reply::Later(Box::pin(async move {
        let mut results = Vec::with_capacity(topics.len());
        for (name, partitions) in topics {
            results.push(DeleteRecordsTopicResult { name: name.into(), partitions: join_all(partitions).await });
        }
        LaterReply::Respond(responder.respond(&DeleteRecordsResponse { topics: results, ..Default::default() }))
    })))
}
