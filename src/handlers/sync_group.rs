//! SyncGroup v0–5 (static members KIP-345 from v3, the protocol's type and name KIP-559 from v5).
//!
//! Needs Read on the group, else GROUP_AUTHORIZATION_FAILED. Members wait for the leader's assignment, and nothing behind
//! them on their connection is looked at before.

use bytes::Bytes;

use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::sync_group_request::SyncGroupRequest;
use crate::protocol::messages::sync_group_response::SyncGroupResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::SyncGroup, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// Type and name of the protocol must be given from this version on.
const PROTOCOL_FROM: i16 = 5;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = SyncGroupRequest::decode(&mut Reader::new(body), version)?;
    let responder = context.responder();
    if version >= PROTOCOL_FROM && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
        return Ok(Reply::Now(responder.respond(&failed(ErrorCode::InconsistentGroupProtocol))));
    }
    let permit = match context.admit_group::<op::Read>(&request.group_id).await {
        Ok(permit) => permit,
        Err(code) => return Ok(Reply::Now(responder.respond(&failed(code)))),
    };
    if request.group_id.is_empty() {
        return Ok(Reply::Now(responder.respond(&failed(ErrorCode::InvalidGroupId))));
    }
    let synced = context.broker.groups.submit(GroupRequest::Sync { permit, request });
    Ok(Reply::Later(Box::pin(async move {
        let response = match synced.await {
            Ok(GroupResponse::Sync(response)) => response,
            Ok(_) => failed(ErrorCode::UnknownServerError),
            Err(code) => failed(code),
        };
        LaterReply::Respond(responder.respond(&response))
    })))
}

fn failed(code: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: code.code(), ..Default::default() }
}
