//! LeaveGroup v0–5 (several members KIP-345 from v3, reasons KIP-800 from v5).
//!
//! Needs Read on the group, else GROUP_AUTHORIZATION_FAILED. Old versions have one member and one code for it.

use bytes::Bytes;

use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::leave_group_response::LeaveGroupResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::LeaveGroup, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// Several members from this version on.
const MEMBERS_FROM: i16 = 3;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let mut request = LeaveGroupRequest::decode(&mut Reader::new(body), version)?;
    let responder = context.responder();
    let permit = match context.admit_group::<op::Read>(&request.group_id).await {
        Ok(permit) => permit,
        Err(code) => return Ok(Reply::Now(responder.respond(&failed(code)))),
    };
    if request.group_id.is_empty() {
        return Ok(Reply::Now(responder.respond(&failed(ErrorCode::InvalidGroupId))));
    }
    if version < MEMBERS_FROM {
        request.members = vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }];
    }
    let left = context.broker.groups.submit(GroupRequest::Leave { permit, request });
    Ok(Reply::Later(Box::pin(async move {
        let response = match left.await {
            Ok(GroupResponse::Leave(response)) if version < MEMBERS_FROM => of_one(&response),
            Ok(GroupResponse::Leave(response)) => response,
            Ok(_) => failed(ErrorCode::UnknownServerError),
            Err(code) => failed(code),
        };
        LaterReply::Respond(responder.respond(&response))
    })))
}

/// The only member's error is the answer's.
fn of_one(response: &LeaveGroupResponse) -> LeaveGroupResponse {
    let error_code = response.members.first().map_or(response.error_code, |member| member.error_code);
    LeaveGroupResponse { error_code, ..Default::default() }
}

fn failed(code: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: code.code(), ..Default::default() }
}
