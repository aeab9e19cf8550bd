//! CreateAcls v1–3 (KIP-140; v1 pattern types, KIP-290; v3 user resources, KIP-373).
//!
//! Needs Alter on the cluster, else CLUSTER_AUTHORIZATION_FAILED for each; without an authorizer SECURITY_DISABLED. A
//! binding that can't be is INVALID_REQUEST by itself. Answered when the rules are in force on this broker.

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ControllerRequest, ControllerResponse, CreateAcls};
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::error_code::ErrorCode;
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};
use crate::protocol::api::ApiKey;
use crate::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use crate::protocol::messages::create_acls_response::{AclCreationResult, CreateAclsResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::filter::AclFilter;
use crate::security::authorizer::permit::{Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::CreateAcls, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// What Kafka says where no authorizer keeps ACLs.
pub(super) const NO_AUTHORIZER: &str = "No Authorizer is configured.";

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = CreateAclsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let results = match context.admit_one::<op::Alter>(Resource::Cluster).await {
        Err(code) => all(&request, &ApiError::of(code)),
        Ok(_) if !keeps_acls(context) => all(&request, &ApiError::new(ErrorCode::SecurityDisabled, NO_AUTHORIZER)),
        Ok(permit) => {
            let create = CreateAcls { permit, bindings: request.creations.iter().map(binding).collect() };
            match context.broker.controller.submit(ControllerRequest::CreateAcls(create)).await {
                Ok(ControllerResponse::CreateAcls(results)) => {
                    results.into_iter().map(|result| outcome(result.err().as_ref())).collect()
                }
                Ok(_) => all(&request, &ApiError::of(ErrorCode::UnknownServerError)),
                Err(error) => all(&request, &ApiError::of(error.code())),
            }
        }
    };
    let response = CreateAclsResponse { results, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// Is there an engine that keeps ACLs?
pub(super) fn keeps_acls(context: &RequestContext<'_>) -> bool {
    let nothing = AclFilter { principal: Some("".into()), ..AclFilter::ANY };
    context.broker.authorizer.acls(&nothing).is_some()
}

fn binding(creation: &AclCreation) -> AclBinding {
    AclBinding {
        pattern: ResourcePattern {
            resource_type: ResourceType::from_code(creation.resource_type),
            name: (&*creation.resource_name).into(),
            pattern_type: PatternType::from_code(creation.resource_pattern_type),
        },
        principal: (&*creation.principal).into(),
        host: (&*creation.host).into(),
        operation: AclOperation::from_code(creation.operation),
        permission: AclPermission::from_code(creation.permission_type),
    }
}

fn all(request: &CreateAclsRequest, error: &ApiError) -> Vec<AclCreationResult> {
    request.creations.iter().map(|_| outcome(Some(error))).collect()
}

fn outcome(error: Option<&ApiError>) -> AclCreationResult {
    AclCreationResult {
        error_code: error.map_or(ErrorCode::None, ApiError::code).code(),
        // Success has an empty text, not none.
        error_message: error.map_or(Some(""), ApiError::message).map(Into::into),
    }
}
