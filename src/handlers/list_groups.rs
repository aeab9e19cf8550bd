//! ListGroups v0–5 (states KIP-518 from v4, types KIP-848 from v5).
//!
//! Whoever may Describe the cluster sees all groups, others those that they may Describe; the rest is left out without a
//! word.

use bytes::Bytes;

use super::asker::Asker;
use super::context::GroupListing;
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::model::acl::AclOperation;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::list_groups_request::ListGroupsRequest;
use crate::protocol::messages::list_groups_response::{ListGroupsResponse, ListedGroup};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::ListGroups, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = ListGroupsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let responder = context.responder();
    let texts = |filter: Vec<bytestring::ByteString>| filter.iter().map(ToString::to_string).collect();
    let listing = GroupListing { states: texts(request.states_filter), types: texts(request.types_filter) };
    let listed = context.broker.groups.list(listing);
    let asker = Asker::new(context);
    Ok(Reply::Later(Box::pin(async move {
        let response = match listed.await {
            Ok(groups) => ListGroupsResponse { groups: visible(&asker.context(), groups).await, ..Default::default() },
            Err(code) => ListGroupsResponse { error_code: code.code(), ..Default::default() },
        };
        LaterReply::Respond(responder.respond(&response))
    })))
}

async fn visible(context: &RequestContext<'_>, groups: Vec<ListedGroup>) -> Vec<ListedGroup> {
    let of_cluster = Action::cluster(AclOperation::Describe).quiet_if_denied();
    if context.is_allowed(of_cluster).await {
        return groups;
    }
    let names: Vec<&str> = groups.iter().map(|group| &*group.group_id).collect();
    let permits = context.admit_groups::<op::Describe>(&names, false).await;
    let seen = groups.iter().zip(permits).filter(|(_, permit)| permit.is_some());
    seen.map(|(group, _)| group.clone()).collect()
}
