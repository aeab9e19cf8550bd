//! DeleteGroups v0–2 (KIP-229).
//!
//! Needs Delete on each group, else GROUP_AUTHORIZATION_FAILED for it; those come last in the answer. Only groups without
//! members go (NON_EMPTY_GROUP), with all that they committed.

use bytes::Bytes;
use futures_util::future::join_all;

use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::delete_groups_request::DeleteGroupsRequest;
use crate::protocol::messages::delete_groups_response::{DeletableGroupResult, DeleteGroupsResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DeleteGroups, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DeleteGroupsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let responder = context.responder();
    let mut names = request.groups_names;
    let mut seen = std::collections::HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    let asked: Vec<&str> = names.iter().map(|name| &**name).collect();
    let permits = context.admit_groups::<op::Delete>(&asked, true).await;
    let (mut deleting, mut refused) = (Vec::new(), Vec::new());
    for (name, permit) in names.into_iter().zip(permits) {
        match permit {
            None => refused.push(result(&name, ErrorCode::GroupAuthorizationFailed)),
            Some(permit) => {
                let deleted = context.broker.groups.submit(GroupRequest::Delete { permit });
                deleting.push(async move {
                    match deleted.await {
                        Ok(GroupResponse::Code(code)) | Err(code) => result(&name, code),
                        Ok(_) => result(&name, ErrorCode::UnknownServerError),
                    }
                });
            }
        }
    }
    Ok(Reply::Later(Box::pin(async move {
        let mut results = join_all(deleting).await;
        results.extend(refused);
        LaterReply::Respond(responder.respond(&DeleteGroupsResponse { results, ..Default::default() }))
    })))
}

fn result(name: &str, code: ErrorCode) -> DeletableGroupResult {
    DeletableGroupResult { group_id: name.into(), error_code: code.code() }
}
