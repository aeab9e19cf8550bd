//! DescribeGroups v0–6 (authorized operations KIP-430 from v3, static members from v4, an error for a group that does not
//! exist KIP-1043 from v6).
//!
//! Needs Describe on each group, else GROUP_AUTHORIZATION_FAILED for it; those come first in the answer.

use bytes::Bytes;
use futures_util::future::join_all;

use super::asker::Asker;
use super::{LaterReply, Order, Reply, RequestContext, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_groups_request::DescribeGroupsRequest;
use crate::protocol::messages::describe_groups_response::{DescribeGroupsResponse, DescribedGroup};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeGroups, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = DescribeGroupsRequest::decode(&mut Reader::new(body), version)?;
    let responder = context.responder();
    let names: Vec<&str> = request.groups.iter().map(|group| &**group).collect();
    let permits = context.admit_groups::<op::Describe>(&names, true).await;
    let (mut groups, mut asked) = (Vec::new(), Vec::new());
    for (name, permit) in request.groups.iter().zip(permits) {
        match permit {
            None => groups.push(failed(name, ErrorCode::GroupAuthorizationFailed)),

            Some(permit) => {
                let described = context.broker.groups.submit(GroupRequest::Describe { permit, version });
                let name = name.clone();
                asked.push(async move {
                    match described.await {
                        Ok(GroupResponse::Describe(group)) => group,
                        Ok(_) => failed(&name, ErrorCode::UnknownServerError),
                        Err(code) => failed(&name, code),
                    }
                });
            }
        }
    }
    let asker = Asker::new(context);
    let with_operations = request.include_authorized_operations;
    Ok(Reply::Later(Box::pin(async move {
        groups.extend(join_all(asked).await);
        if with_operations {
            tell_operations(&asker.context(), &mut groups).await;
        }
        LaterReply::Respond(responder.respond(&DescribeGroupsResponse { groups, ..Default::default() }))
    })))
}

async fn tell_operations(context: &RequestContext<'_>, groups: &mut [DescribedGroup]) {
    for group in groups.iter_mut().filter(|group| group.error_code == ErrorCode::None.code()) {
        group.authorized_operations = context.authorized_operations(ResourceType::Group, &group.group_id).await;
    }
}

fn failed(name: &str, code: ErrorCode) -> DescribedGroup {
    DescribedGroup { group_id: name.into(), error_code: code.code(), ..Default::default() }
}
