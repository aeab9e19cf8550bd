//! AlterClientQuotas v0–1 (KIP-546): quotas are stored and listed. Nothing is throttled by them yet, and every change tells
//! the operator so.
//!
//! Needs AlterConfigs on the cluster, else CLUSTER_AUTHORIZATION_FAILED for every entity.

use std::sync::Arc;

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{AlterClientQuotas, AlterQuotaEntity, ApiError, ControllerRequest, ControllerResponse};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::alter_client_quotas_request::{self, AlterClientQuotasRequest};
use crate::protocol::messages::alter_client_quotas_response::{AlterClientQuotasResponse, EntityData, EntryData};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Resource, op};
use crate::telemetry::printable::Printable;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::AlterClientQuotas, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = AlterClientQuotasRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let results = alter(context, &request).await;
    let entries = request.entries.iter().zip(results).map(|(entry, result)| {
        let error = result.err();
        EntryData {
            error_code: error.as_ref().map_or(ErrorCode::None, ApiError::code).code(),
            error_message: error.as_ref().and_then(ApiError::message).map(Into::into),
            entity: entry
                .entity
                .iter()
                .map(|part| EntityData { entity_type: part.entity_type.clone(), entity_name: part.entity_name.clone() })
                .collect(),
        }
    });
    let response = AlterClientQuotasResponse { entries: entries.collect(), ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn alter(context: &RequestContext<'_>, request: &AlterClientQuotasRequest) -> Vec<Result<(), ApiError>> {
    let all = |code: ErrorCode| request.entries.iter().map(|_| Err(ApiError::of(code))).collect();
    let permit = match context.admit_one::<op::AlterConfigs>(Resource::Cluster).await {
        Ok(permit) => permit,
        Err(code) => return all(code),
    };
    let validate_only = request.validate_only;
    let alter = AlterClientQuotas { permit, entries: request.entries.iter().map(entity).collect(), validate_only };
    match context.broker.controller.submit(ControllerRequest::AlterClientQuotas(alter)).await {
        Ok(ControllerResponse::AlterClientQuotas(results)) => {
            if !validate_only {
                tell_that_nothing_is_throttled(request, &results);
            }
            results
        }
        Ok(_) => all(ErrorCode::UnknownServerError),
        Err(error) => all(error.code()),
    }
}

fn entity(entry: &alter_client_quotas_request::EntryData) -> AlterQuotaEntity {
    let name = |name: &Option<bytestring::ByteString>| name.as_deref().map(Arc::from);
    AlterQuotaEntity {
        entity: entry.entity.iter().map(|part| ((&*part.entity_type).into(), name(&part.entity_name))).collect(),
        values: entry.ops.iter().map(|op| ((&*op.key).into(), (!op.remove).then_some(op.value))).collect(),
    }
}

/// A limit that is set and does not limit must not be believed in.
fn tell_that_nothing_is_throttled(request: &AlterClientQuotasRequest, results: &[Result<(), ApiError>]) {
    let set = request.entries.iter().zip(results).filter(|(_, result)| result.is_ok());
    for (entry, _) in set.filter(|(entry, _)| entry.ops.iter().any(|op| !op.remove)) {
        let of = entry.entity.iter().map(|part| {
            let name = part.entity_name.as_deref().map_or("<default>".to_owned(), |n| Printable::new(n).to_string());
            format!("{} {name}", Printable::new(&part.entity_type))
        });
        tracing::warn!(
            target: "schloss.quota",
            "a quota of {} was stored; it throttles nobody: quotas are not enforced yet",
            of.collect::<Vec<_>>().join(", ")
        );
    }
}
