//! FindCoordinator v0–6 (types of key from v1, several keys from v4, KIP-699; v5 and v6 add error codes and share groups).
//!
//! Needs Describe on the group (GROUP_AUTHORIZATION_FAILED) or transactional id. The first question makes
//! `__consumer_offsets`, also where topics are not made by themselves, and is answered COORDINATOR_NOT_AVAILABLE: clients
//! ask again. There are no transactions yet, so a transactional id gets TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients
//! take for final. The share of a group, `group:topic-id:partition`, needs ClusterAction on the cluster and has no
//! coordinator here, as on a Kafka that could not make the topic for it.

use bytes::Bytes;

use super::context::BrokerView;
use super::{Order, Reply, RequestContext, Spec};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;
use crate::model::uuid::Uuid;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use crate::protocol::messages::find_coordinator_response::{Coordinator, FindCoordinatorResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;
use crate::security::authorizer::permit::{Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::FindCoordinator, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// Several keys in one request from this version on.
const BATCHED_FROM: i16 = 4;
/// `CoordinatorType`
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;
/// Shares of groups are asked for from this version on.
const SHARES_FROM: i16 = 6;

/// Why there is no coordinator to name.
struct Missing {
    code: ErrorCode,
    /// Instead of the code's own text, which only old versions are told.
    text: Option<&'static str>,
}

impl From<ErrorCode> for Missing {
    fn from(code: ErrorCode) -> Self {
        Self { code, text: None }
    }
}

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = FindCoordinatorRequest::decode(&mut Reader::new(body), version)?;
    let response = if version < BATCHED_FROM {
        single(find(context, request.key_type, &request.key).await)
    } else {
        let mut coordinators = Vec::with_capacity(request.coordinator_keys.len());
        for key in &request.coordinator_keys {
            coordinators.push(one_of_many(key, find(context, request.key_type, key).await));
        }
        FindCoordinatorResponse { coordinators, ..Default::default() }
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn find(context: &RequestContext<'_>, key_type: i8, key: &str) -> Result<BrokerView, Missing> {
    match key_type {
        GROUP => {
            context.admit_group::<op::Describe>(key).await?;
            Ok(context.group_coordinator(key)?)
        }
        TRANSACTION => {
            if context.is_allowed(Action::new(AclOperation::Describe, ResourceType::TransactionalId, key)).await {
                context.report_transactions_unavailable(key);
            }
            let text = Some("transactions are not available yet");
            Err(Missing { code: ErrorCode::TransactionalIdAuthorizationFailed, text })
        }
        SHARE if context.header.api_version >= SHARES_FROM => {
            if let Err(code) = context.admit_one::<op::ClusterAction>(Resource::Cluster).await {
                return Err(Missing { code, text: Some(code.message()) });
            }
            Err(if is_share(key) { ErrorCode::CoordinatorNotAvailable } else { ErrorCode::InvalidRequest }.into())
        }
        SHARE => Err(ErrorCode::InvalidRequest.into()),
        _ => {
            let code = ErrorCode::InvalidRequest;
            Err(Missing { code, text: Some(code.message()) })
        }
    }
}

/// `SharePartitionKey.getInstance`
fn is_share(key: &str) -> bool {
    let mut parts = key.rsplitn(3, ':');
    let partition = parts.next().is_some_and(|part| part.parse::<i32>().is_ok());
    let topic = parts.next().is_some_and(|part| part.parse::<Uuid>().is_ok());
    partition && topic && parts.next().is_some_and(|group| !group.is_empty())
}

fn single(found: Result<BrokerView, Missing>) -> FindCoordinatorResponse {
    match found {
        Ok(broker) => FindCoordinatorResponse {
            error_message: Some(ErrorCode::None.message().into()),
            node_id: broker.id,
            host: (&*broker.host).into(),
            port: broker.port,
            ..Default::default()
        },
        Err(missing) => FindCoordinatorResponse {
            error_code: missing.code.code(),
            error_message: Some(missing.text.unwrap_or(missing.code.message()).into()),
            node_id: -1,
            port: -1,
            ..Default::default()
        },
    }
}

fn one_of_many(key: &str, found: Result<BrokerView, Missing>) -> Coordinator {
    match found {
        Ok(broker) => Coordinator {
            key: key.into(),
            node_id: broker.id,
            host: (&*broker.host).into(),
            port: broker.port,
            ..Default::default()
        },
        Err(missing) => Coordinator {
            key: key.into(),
            node_id: -1,
            port: -1,
            error_code: missing.code.code(),
            error_message: Some(missing.text.unwrap_or_default().into()),
            ..Default::default()
        },
    }
}
