//! InitProducerId v0–5 (KIP-98; producer's own id and epoch KIP-360 from v3), for idempotent producers.
//!
//! Needs IdempotentWrite on the cluster or Write on any topic: CLUSTER_AUTHORIZATION_FAILED otherwise. Whatever id and
//! epoch a producer without transactions brings along, it gets a new id with epoch 0, as in Kafka. A transactional id is
//! answered TRANSACTIONAL_ID_AUTHORIZATION_FAILED: there are no transactions yet, and any other code is tried again for
//! ever.

use bytes::Bytes;

use super::{LaterReply, Order, Reply, RequestContext, Spec, produce};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
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
    let responder = context.responder();
    if let Err(code) = check(context, &request).await {
        return Ok(Reply::Now(responder.respond(&failed(code))));
    }
    let next = context.next_producer_id();
    Ok(Reply::Later(Box::pin(async move {
        let response = match next.await {
            Ok(producer_id) => InitProducerIdResponse { producer_id, producer_epoch: 0, ..Default::default() },
            Err(code) => failed(code),
        };
        LaterReply::Respond(responder.respond(&response))
    })))
}

async fn check(context: &RequestContext<'_>, request: &InitProducerIdRequest) -> Result<(), ErrorCode> {
    match &request.transactional_id {
        Some(id) if id.is_empty() => return Err(ErrorCode::InvalidRequest),
        Some(_) => {
            produce::tell_of_transactions();
            return Err(ErrorCode::TransactionalIdAuthorizationFailed);
        }
        None => {}
    }
    let idempotent = Action::cluster(AclOperation::IdempotentWrite).quiet_if_denied();
    if !context.is_allowed(idempotent).await && !context.is_allowed_any(AclOperation::Write, ResourceType::Topic).await
    {
        return Err(ErrorCode::ClusterAuthorizationFailed);
    }
    // Both or neither.
    if (request.producer_id == -1) != (request.producer_epoch == -1) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

fn failed(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: code.code(), producer_id: -1, producer_epoch: -1, ..Default::default() }
}
