//! ElectLeaders v0–2 (KIP-183 preferred, KIP-460 unclean from v1).
//!
//! Needs Alter on the cluster, else CLUSTER_AUTHORIZATION_FAILED for everything. Partitions that are as they should be are
//! ELECTION_NOT_NEEDED, and left out where all were asked for.

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ControllerRequest, ControllerResponse, ElectLeaders, Elected, ElectionType};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::elect_leaders_request::ElectLeadersRequest;
use crate::protocol::messages::elect_leaders_response::{ElectLeadersResponse, PartitionResult, ReplicaElectionResult};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::ElectLeaders, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = ElectLeadersRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let response = match elect(context, &request).await {
        Ok(elected) => ElectLeadersResponse {
            replica_election_results: elected.into_iter().map(result).collect(),
            ..Default::default()
        },
        Err(error) => refused(&request, &error),
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn elect(context: &RequestContext<'_>, request: &ElectLeadersRequest) -> Result<Vec<Elected>, ApiError> {
    let permit = context.admit_one::<op::Alter>(Resource::Cluster).await.map_err(ApiError::of)?;
    let election = match request.election_type {
        0 => ElectionType::Preferred,
        1 => ElectionType::Unclean,
        other => return Err(ApiError::new(ErrorCode::InvalidRequest, format!("Unknown election type {other}"))),
    };
    let partitions = request
        .topic_partitions
        .as_ref()
        .map(|topics| topics.iter().map(|topic| (topic.topic.to_string(), topic.partitions.clone())).collect());
    let elect = ElectLeaders { permit, election, partitions };
    match context.broker.controller.submit(ControllerRequest::ElectLeaders(elect)).await {
        Ok(ControllerResponse::ElectLeaders(elected)) => Ok(elected),
        Ok(_) => Err(ApiError::of(ErrorCode::UnknownServerError)),
        Err(error) => Err(ApiError::of(error.code())),
    }
}

fn result((topic, partitions): Elected) -> ReplicaElectionResult {
    let partition = |(partition_id, result): (i32, Result<(), ApiError>)| {
        let error = result.err();
        PartitionResult {
            partition_id,
            error_code: error.as_ref().map_or(ErrorCode::None, ApiError::code).code(),
            error_message: error.as_ref().and_then(ApiError::message).map(Into::into),
        }
    };
    ReplicaElectionResult { topic: topic.into(), partition_result: partitions.into_iter().map(partition).collect() }
}

/// The same for every partition that was named, and for the request.
fn refused(request: &ElectLeadersRequest, error: &ApiError) -> ElectLeadersResponse {
    let topics = request.topic_partitions.iter().flatten().map(|topic| {
        let refused = topic.partitions.iter().map(|index| (*index, Err(error.clone()))).collect();
        result((topic.topic.to_string(), refused))
    });
    ElectLeadersResponse {
        error_code: error.code().code(),
        replica_election_results: topics.collect(),
        ..Default::default()
    }
}
