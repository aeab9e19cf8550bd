//! DescribeCluster v0–2 (KIP-700; endpoint types KIP-919 from v1; fenced brokers KIP-1073 from v2).
//!
//! Needs nothing on a broker, as in Kafka; the operations' bits are 0 without Describe on the cluster.

use bytes::Bytes;

use super::metadata::cluster_operations;
use super::{Order, Reply, RequestContext, Spec};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_cluster_request::DescribeClusterRequest;
use crate::protocol::messages::describe_cluster_response::{DescribeClusterBroker, DescribeClusterResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeCluster, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// `EndpointType.BROKER`
const BROKER_ENDPOINTS: i8 = 1;
/// `EndpointType.CONTROLLER`
const CONTROLLER_ENDPOINTS: i8 = 2;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeClusterRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let response = match request.endpoint_type {
        BROKER_ENDPOINTS => describe(context, &request).await,
        CONTROLLER_ENDPOINTS => failed(
            ErrorCode::MismatchedEndpointType,
            "The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER",
        ),
        other => failed(ErrorCode::UnsupportedEndpointType, &format!("Unsupported endpoint type {other}")),
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn describe(context: &RequestContext<'_>, request: &DescribeClusterRequest) -> DescribeClusterResponse {
    let brokers = context.brokers(request.include_fenced_brokers);
    let cluster_authorized_operations =
        if request.include_cluster_authorized_operations { cluster_operations(context).await } else { i32::MIN };
    DescribeClusterResponse {
        cluster_id: (&*context.broker.cluster_id).into(),
        controller_id: brokers.iter().find(|broker| !broker.is_fenced).map_or(-1, |broker| broker.id),
        brokers: brokers
            .into_iter()
            .map(|broker| DescribeClusterBroker {
                broker_id: broker.id,
                host: (&*broker.host).into(),
                port: broker.port,
                rack: broker.rack.map(|rack| (&*rack).into()),
                is_fenced: broker.is_fenced,
            })
            .collect(),
        cluster_authorized_operations,
        ..Default::default()
    }
}

fn failed(code: ErrorCode, message: &str) -> DescribeClusterResponse {
    DescribeClusterResponse { error_code: code.code(), error_message: Some(message.into()), ..Default::default() }
}
