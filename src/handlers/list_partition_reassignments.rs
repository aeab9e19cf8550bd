//! ListPartitionReassignments v0 (KIP-455): what is being moved. Partitions that are not, or do not exist, are left out.
//!
//! Needs Describe on the cluster, else CLUSTER_AUTHORIZATION_FAILED and what was asked for, as if nothing moved.

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ControllerRequest, ControllerResponse, ListReassignments, Reassignment};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::list_partition_reassignments_request::{
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsTopics,
};
use crate::protocol::messages::list_partition_reassignments_response::{
    ListPartitionReassignmentsResponse, OngoingPartitionReassignment, OngoingTopicReassignment,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::ListPartitionReassignments, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = ListPartitionReassignmentsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let asked = request.topics.clone().unwrap_or_default();
    let response = match list(context, request).await {
        Ok(topics) => ListPartitionReassignmentsResponse {
            error_message: None,
            topics: topics.into_iter().map(topic).collect(),
            ..Default::default()
        },
        Err(code) => ListPartitionReassignmentsResponse {
            error_code: code.code(),
            error_message: Some(code.message().into()),
            topics: asked.into_iter().map(unmoved).collect(),
            ..Default::default()
        },
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn list(
    context: &RequestContext<'_>,
    request: ListPartitionReassignmentsRequest,
) -> Result<Vec<(String, Vec<Reassignment>)>, ErrorCode> {
    let permit = context.admit_one::<op::Describe>(Resource::Cluster).await?;
    let partitions = request
        .topics
        .map(|topics| topics.into_iter().map(|topic| (topic.name.to_string(), topic.partition_indexes)).collect());
    let list = ListReassignments { permit, partitions };
    match context.broker.controller.submit(ControllerRequest::ListReassignments(list)).await {
        Ok(ControllerResponse::ListReassignments(found)) => Ok(found),
        Ok(_) => Err(ErrorCode::UnknownServerError),
        Err(error) => Err(error.code()),
    }
}

fn unmoved(asked: ListPartitionReassignmentsTopics) -> OngoingTopicReassignment {
    let partition =
        |partition_index| OngoingPartitionReassignment { partition_index, ..OngoingPartitionReassignment::default() };
    OngoingTopicReassignment {
        name: asked.name,
        partitions: asked.partition_indexes.into_iter().map(partition).collect(),
    }
}

fn topic((name, partitions): (String, Vec<Reassignment>)) -> OngoingTopicReassignment {
    let ids = |ids: Vec<BrokerId>| ids.into_iter().map(|id| id.0).collect();
    let partition = |reassignment: Reassignment| OngoingPartitionReassignment {
        partition_index: reassignment.partition,
        replicas: ids(reassignment.replicas),
        adding_replicas: ids(reassignment.adding),
        removing_replicas: ids(reassignment.removing),
    };
    OngoingTopicReassignment { name: name.into(), partitions: partitions.into_iter().map(partition).collect() }
}
