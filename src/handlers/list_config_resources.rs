//! ListConfigResources v0–1 (KIP-714, KIP-1142: other types than client metrics from v1).
//!
//! Needs DescribeConfigs on the cluster, else CLUSTER_AUTHORIZATION_FAILED. No type means all; one that is not known is
//! UNSUPPORTED_VERSION.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::list_config_resources_request::ListConfigResourcesRequest;
use crate::protocol::messages::list_config_resources_response::{ConfigResource, ListConfigResourcesResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::ListConfigResources, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;
const TYPES: [i8; 5] = [TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP];

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = ListConfigResourcesRequest::decode(&mut Reader::new(body), version)?;
    let response = match list(context, &request, version).await {
        Ok(config_resources) => ListConfigResourcesResponse { config_resources, ..Default::default() },
        Err(code) => ListConfigResourcesResponse { error_code: code.code(), ..Default::default() },
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn list(
    context: &RequestContext<'_>,
    request: &ListConfigResourcesRequest,
    version: i16,
) -> Result<Vec<ConfigResource>, ErrorCode> {
    if !context.is_allowed(Action::cluster(AclOperation::DescribeConfigs)).await {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    let types: BTreeSet<i8> = match request.resource_types.as_slice() {
        _ if version == 0 => [CLIENT_METRICS].into(),
        [] => TYPES.into(),
        some => some.iter().copied().collect(),
    };
    if types.iter().any(|wanted| !TYPES.contains(wanted)) {
        return Err(ErrorCode::UnsupportedVersion);
    }
    let mut found = Vec::new();
    for resource_type in types {
        let names: Vec<String> = match resource_type {
            TOPIC => context.topic_names_for_configs(),
            BROKER | BROKER_LOGGER => context.brokers(true).iter().map(|broker| broker.id.to_string()).collect(),
            other => context.configured_names(other),
        };
        let of = |name: String| ConfigResource { resource_name: name.into(), resource_type };
        found.extend(names.into_iter().map(of));
    }
    Ok(found)
}
