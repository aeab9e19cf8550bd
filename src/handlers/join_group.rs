//! JoinGroup v0–9 (ids first KIP-394 from v4, static members KIP-345 from v5, the protocol's type in the answer from v7,
//! reasons KIP-800 from v8, skipped assignments KIP-814 from v9).
//!
//! Needs Read on the group, else GROUP_AUTHORIZATION_FAILED. The answer may take as long as a rebalance; nothing behind it
//! on its connection is looked at before. The right is looked at once more when the answer is there: a member whose right
//! is gone leaves instead.

use bytes::Bytes;

use super::asker::Asker;
use super::{LaterReply, Order, Reply, RequestContext, Responder, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::join_group_request::JoinGroupRequest;
use crate::protocol::messages::join_group_response::JoinGroupResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Permit, Reason, Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::JoinGroup, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// From this version on a refused request names no protocol.
const NO_PROTOCOL_FROM: i16 = 7;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = JoinGroupRequest::decode(&mut Reader::new(body), version)?;
    let group = request.group_id.to_string();
    let responder = context.responder();
    let permit = match context.admit_group::<op::Read>(&group).await {
        Ok(permit) => permit,
        Err(code) => return Ok(Reply::Now(responder.respond(&refused(code, version)))),
    };
    let judged_by = permit.generation();
    let caller = context.caller();
    let joined = context.broker.groups.submit(GroupRequest::Join { permit, caller, request });
    let asker = Asker::new(context);
    Ok(Reply::Later(Box::pin(async move { complete(&asker, &responder, group, judged_by, joined.await).await })))
}

async fn complete(
    asker: &Asker,
    responder: &Responder,
    group: String,
    judged_by: Option<u64>,
    joined: Result<GroupResponse, ErrorCode>,
) -> LaterReply {
    let response = match joined {
        Ok(GroupResponse::Join(mut response)) => {
            if response.error_code != ErrorCode::None.code() {
                response.protocol_name = no_protocol(responder.version());
            }
            response
        }
        Ok(_) => refused(ErrorCode::UnknownServerError, responder.version()),
        Err(code) => refused(code, responder.version()),
    };
    let context = asker.context();
    let is_judged_anew = judged_by.is_some_and(|generation| generation != context.broker.authorizer.generation());
    if is_judged_anew && let Err(code) = context.admit_group::<op::Read>(&group).await {
        evict(&context, &group, &response);
        return LaterReply::Respond(responder.respond(&refused(code, responder.version())));
    }
    LaterReply::Respond(responder.respond(&response))
}

/// The member goes as if it had left; nobody waits for it.
fn evict(context: &RequestContext<'_>, group: &str, response: &JoinGroupResponse) {
    let permit = Permit::internal(Reason::GroupCoordinator, Resource::Group(group.into()));
    let member_id = response.member_id.to_string();
    drop(context.broker.groups.submit(GroupRequest::Evict { permit, member_id }));
}

fn refused(code: ErrorCode, version: i16) -> JoinGroupResponse {
    JoinGroupResponse { error_code: code.code(), protocol_name: no_protocol(version), ..Default::default() }
}

fn no_protocol(version: i16) -> Option<bytestring::ByteString> {
    (version < NO_PROTOCOL_FROM).then(Default::default)
}
