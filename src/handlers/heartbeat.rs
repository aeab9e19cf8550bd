//! Heartbeat v0–4 (static members KIP-345 from v3).
//!
//! Needs Read on the group, else GROUP_AUTHORIZATION_FAILED. While the group is being loaded every heartbeat is good: no
//! member is made to leave because its coordinator is young.

use bytes::Bytes;

use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::heartbeat_request::HeartbeatRequest;
use crate::protocol::messages::heartbeat_response::HeartbeatResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::Heartbeat, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = HeartbeatRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let responder = context.responder();
    let permit = match context.admit_group::<op::Read>(&request.group_id).await {
        Ok(permit) => permit,
        Err(code) => return Ok(Reply::Now(responder.respond(&answer(code)))),
    };
    let heard = context.broker.groups.submit(GroupRequest::Heartbeat { permit, request });
    Ok(Reply::Later(Box::pin(async move {
        let code = match heard.await {
            Ok(GroupResponse::Code(code)) | Err(code) => code,
            Ok(_) => ErrorCode::UnknownServerError,
        };
        LaterReply::Respond(responder.respond(&answer(code)))
    })))
}

fn answer(code: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: code.code(), ..Default::default() }
}
