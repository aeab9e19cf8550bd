//! DescribeAcls v1–3 (KIP-140; v1 pattern types, KIP-290; v3 user resources, KIP-48).
//!
//! Needs Describe on the cluster, else CLUSTER_AUTHORIZATION_FAILED; without an authorizer SECURITY_DISABLED.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{CloseReason, Order, Reply, RequestContext, Spec};
use crate::model::acl::{AclOperation, AclPermission};
use crate::model::error_code::ErrorCode;
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_acls_request::DescribeAclsRequest;
use crate::protocol::messages::describe_acls_response::{AclDescription, DescribeAclsResource, DescribeAclsResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;
use crate::security::authorizer::filter::AclFilter;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeAcls, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeAclsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    if is_unknown(&request) {
        // `DescribeAclsRequest` does not parse it: Kafka closes before it asks for rights.
        return Ok(Reply::Close(CloseReason::Protocol("a filter of ACLs has an element UNKNOWN")));
    }
    let response = if context.is_allowed(Action::cluster(AclOperation::Describe)).await {
        describe(context, &filter(&request))
    } else {
        failed(ErrorCode::ClusterAuthorizationFailed, None)
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

fn filter(request: &DescribeAclsRequest) -> AclFilter {
    AclFilter {
        resource_type: ResourceType::from_code(request.resource_type_filter),
        name: request.resource_name_filter.as_deref().map(Into::into),
        pattern_type: PatternType::from_code(request.pattern_type_filter),
        principal: request.principal_filter.as_deref().map(Into::into),
        host: request.host_filter.as_deref().map(Into::into),
        operation: AclOperation::from_code(request.operation),
        permission: AclPermission::from_code(request.permission_type),
    }
}

/// Does the filter hold the word UNKNOWN itself? Codes that nobody knows merely match nothing.
fn is_unknown(request: &DescribeAclsRequest) -> bool {
    [request.resource_type_filter, request.pattern_type_filter, request.operation, request.permission_type].contains(&0)
}

fn describe(context: &RequestContext<'_>, filter: &AclFilter) -> DescribeAclsResponse {
    let Some(bindings) = context.broker.authorizer.acls(filter) else {
        return failed(ErrorCode::SecurityDisabled, Some("No Authorizer is configured on the broker"));
    };
    let mut by_pattern: BTreeMap<ResourcePattern, Vec<AclDescription>> = BTreeMap::new();
    for binding in bindings {
        by_pattern.entry(binding.pattern).or_default().push(AclDescription {
            principal: (&*binding.principal).into(),
            host: (&*binding.host).into(),
            operation: binding.operation.code(),
            permission_type: binding.permission.code(),
        });
    }
    let resources = by_pattern.into_iter().map(|(pattern, acls)| DescribeAclsResource {
        resource_type: pattern.resource_type.code(),
        resource_name: (&*pattern.name).into(),
        pattern_type: pattern.pattern_type.code(),
        acls,
    });
    DescribeAclsResponse { resources: resources.collect(), ..Default::default() }
}

fn failed(code: ErrorCode, message: Option<&str>) -> DescribeAclsResponse {
    DescribeAclsResponse {
        error_code: code.code(),
        error_message: Some(message.unwrap_or(code.message()).into()),
        ..Default::default()
    }
}
