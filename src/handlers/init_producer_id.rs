//! InitProducerId v0–5: ids for idempotent producers (KIP-98; v3 with an id to follow, KIP-360).
//!
//! Needs IdempotentWrite on the cluster or Write on any topic, else CLUSTER_AUTHORIZATION_FAILED. A producer that names the
//! id it had gets a new one, as from Kafka: only transactional producers keep theirs. Transactional ids are refused with
//! TRANSACTIONAL_ID_AUTHORIZATION_FAILED, which clients take for final. While no block of ids is there the answer is
//! COORDINATOR_LOAD_IN_PROGRESS, and clients ask again (`RPCProducerIdManager`).

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::model::producer::ProducerId;
use crate::model::resource::ResourceType;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::init_producer_id_request::InitProducerIdRequest;
use crate::protocol::messages::init_producer_id_response::InitProducerIdResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::InitProducerId, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = InitProducerIdRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let response = match init(context, &request).await {
        Ok(producer_id) => {
            InitProducerIdResponse { producer_id: producer_id.0, producer_epoch: 0, ..Default::default() }
        }
        Err(code) => InitProducerIdResponse {
            error_code: code.code(),
            producer_id: ProducerId::NONE.0,
            producer_epoch: -1,
            ..Default::default()
        },
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn init(context: &RequestContext<'_>, request: &InitProducerIdRequest) -> Result<ProducerId, ErrorCode> {
    match &request.transactional_id {
        Some(id) => {
            if !context.is_allowed(Action::new(AclOperation::Write, ResourceType::TransactionalId, id)).await {
                return Err(ErrorCode::TransactionalIdAuthorizationFailed);
            }
        }
        None => {
            let for_cluster = Action::cluster(AclOperation::IdempotentWrite).quiet_if_denied();
            if !context.is_allowed(for_cluster).await
                && !context.is_allowed_on_any(AclOperation::Write, ResourceType::Topic).await
            {
                return Err(ErrorCode::ClusterAuthorizationFailed);
            }
        }
    }
    check_predecessor(request)?;
    match &request.transactional_id {
        None => context.broker.producer_ids.next().ok_or(ErrorCode::CoordinatorLoadInProgress),
        Some(id) if id.is_empty() => Err(ErrorCode::InvalidRequest),
        Some(id) => {
            context.report_transactions_unavailable(id);
            Err(ErrorCode::TransactionalIdAuthorizationFailed)
        }
    }
}

/// An id and an epoch that the producer had before come together or not at all.
fn check_predecessor(request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    if (request.producer_id == -1) == (request.producer_epoch == -1) { Ok(()) } else { Err(ErrorCode::InvalidRequest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_predecessor_is_refused() {
        let check = |producer_id, producer_epoch| {
            check_predecessor(&InitProducerIdRequest { producer_id, producer_epoch, ..Default::default() })
        };
        assert_eq!(check(-1, -1), Ok(()));
        assert_eq!(check(7, 3), Ok(()));
        assert_eq!(check(7, -1), Err(ErrorCode::InvalidRequest));
        assert_eq!(check(-1, 3), Err(ErrorCode::InvalidRequest));
    }
}
