//! DeleteAcls v1–3 (KIP-140; v1 pattern types, KIP-290; v3 user resources, KIP-373).
//!
//! Needs Alter on the cluster, else CLUSTER_AUTHORIZATION_FAILED for each filter; without an authorizer
//! SECURITY_DISABLED. Answered when the rules are gone on this broker.

use bytes::Bytes;

use super::create_acls::{NO_AUTHORIZER, keeps_acls};
use super::{CloseReason, Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ControllerRequest, ControllerResponse, DeleteAcls};
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::error_code::ErrorCode;
use crate::model::resource::{PatternType, ResourceType};
use crate::protocol::api::ApiKey;
use crate::protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use crate::protocol::messages::delete_acls_response::{
    DeleteAclsFilterResult, DeleteAclsMatchingAcl, DeleteAclsResponse,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::filter::AclFilter;
use crate::security::authorizer::permit::{Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DeleteAcls, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DeleteAclsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    if request.filters.iter().any(is_unknown) {
        // `DeleteAclsRequest` does not parse it: Kafka closes before it asks for rights.
        return Ok(Reply::Close(CloseReason::Protocol("a filter of ACLs has an element UNKNOWN")));
    }
    let filter_results = match context.admit_one::<op::Alter>(Resource::Cluster).await {
        Err(code) => all(&request, &ApiError::of(code)),
        Ok(_) if !keeps_acls(context) => all(&request, &ApiError::new(ErrorCode::SecurityDisabled, NO_AUTHORIZER)),
        Ok(permit) => {
            let delete = DeleteAcls { permit, filters: request.filters.iter().map(filter).collect() };
            match context.broker.controller.submit(ControllerRequest::DeleteAcls(delete)).await {
                Ok(ControllerResponse::DeleteAcls(results)) => results.into_iter().map(result).collect(),
                Ok(_) => all(&request, &ApiError::of(ErrorCode::UnknownServerError)),
                Err(error) => all(&request, &ApiError::of(error.code())),
            }
        }
    };
    let response = DeleteAclsResponse { filter_results, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

fn filter(filter: &DeleteAclsFilter) -> AclFilter {
    AclFilter {
        resource_type: ResourceType::from_code(filter.resource_type_filter),
        name: filter.resource_name_filter.as_deref().map(Into::into),
        pattern_type: PatternType::from_code(filter.pattern_type_filter),
        principal: filter.principal_filter.as_deref().map(Into::into),
        host: filter.host_filter.as_deref().map(Into::into),
        operation: AclOperation::from_code(filter.operation),
        permission: AclPermission::from_code(filter.permission_type),
    }
}

/// Does the filter hold the word UNKNOWN itself? Codes that nobody knows are answered.
fn is_unknown(filter: &DeleteAclsFilter) -> bool {
    [filter.resource_type_filter, filter.pattern_type_filter, filter.operation, filter.permission_type].contains(&0)
}

fn all(request: &DeleteAclsRequest, error: &ApiError) -> Vec<DeleteAclsFilterResult> {
    request.filters.iter().map(|_| result(Err(error.clone()))).collect()
}

fn result(removed: Result<Vec<AclBinding>, ApiError>) -> DeleteAclsFilterResult {
    match removed {
        Ok(bindings) => DeleteAclsFilterResult {
            matching_acls: bindings.iter().map(matching).collect(),
            error_message: None,
            ..Default::default()
        },
        Err(error) => DeleteAclsFilterResult {
            error_code: error.code().code(),
            error_message: error.message().map(Into::into),
            ..Default::default()
        },
    }
}

fn matching(binding: &AclBinding) -> DeleteAclsMatchingAcl {
    DeleteAclsMatchingAcl {
        error_code: ErrorCode::None.code(),
        error_message: None,
        resource_type: binding.pattern.resource_type.code(),
        resource_name: (&*binding.pattern.name).into(),
        pattern_type: binding.pattern.pattern_type.code(),
        principal: (&*binding.principal).into(),
        host: (&*binding.host).into(),
        operation: binding.operation.code(),
        permission_type: binding.permission.code(),
    }
}
