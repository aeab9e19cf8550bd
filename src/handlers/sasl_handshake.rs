//! SaslHandshake v0–1 (KIP-43; KIP-152: v1 wraps the tokens that follow in SaslAuthenticate).
//!
//! Picks the mechanism. After v0 the tokens come raw, without Kafka's headers. A mechanism that the listener does not
//! offer is answered with UNSUPPORTED_SASL_MECHANISM and the list of those it does, then the connection is closed at once.
//! On an authenticated connection ILLEGAL_SASL_STATE without a list, and the connection stays open; unless its session
//! ends one day (`connections.max.reauth.ms`): then it begins the login that renews it (KIP-368), at most once a second.
//! There a mechanism that is not offered closes the connection without an answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::reply::Responder;
use super::sasl_authenticate::SaslExchange;
use super::{AuthState, CloseReason, Order, Reply, RequestContext, Response, Spec};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::sasl_handshake_request::SaslHandshakeRequest;
use crate::protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::one_line::OneLine;

pub(super) const SPEC: Spec = Spec {
    on_controller_listeners: true,
    before_authentication: true,
    ..Spec::new(ApiKey::SaslHandshake, Order::Barrier, |context, body| Box::pin(handle(context, body)))
};

/// A client that renews its session twice within this time is told that it is out of order, as in Kafka.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = SaslHandshakeRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let (connection, responder) = (context.connection, context.responder());
    let previous = match &*connection.auth.borrow() {
        AuthState::Hello => None,
        AuthState::Authenticated(identity) if identity.expires.is_some() && may_renew(context) => {
            Some(identity.clone())
        }
        AuthState::Authenticated(identity)
            if identity.expires.is_some_and(|end| end <= context.broker.clock.mono()) =>
        {
            return Ok(Reply::Close(CloseReason::Protocol(
                "the session has expired, and it was to be renewed only a moment after the last time",
            )));
        }
        AuthState::Authenticated(_) => return Ok(Reply::Now(refusal(responder, ErrorCode::IllegalSaslState, vec![]))),
        AuthState::Sasl { .. } | AuthState::Failed => {
            let response = refusal(responder, ErrorCode::IllegalSaslState, vec![]);
            return Ok(Reply::CloseAfterFlush { response, delay: Duration::ZERO });
        }
    };
    let offered: Vec<_> = connection.listener.sasl_mechanisms.iter().map(|name| (&**name).into()).collect();
    let Some(server) = context.broker.logins.start(&connection.listener.name, &request.mechanism) else {
        tracing::info!(
            "SASL mechanism '{}' requested by client /{} on listener {} is not supported; fix: set the client's \
             sasl.mechanism to one of {}, or add it to sasl.enabled.mechanisms",
            OneLine(&request.mechanism),
            connection.host,
            connection.listener.name,
            connection.listener.sasl_mechanisms.join(", "),
        );
        *connection.auth.borrow_mut() = AuthState::Failed;
        let response = match previous {
            None => refusal(responder, ErrorCode::UnsupportedSaslMechanism, offered),
            // As Kafka, which has no answer here when a session is to be renewed.
            Some(_) => Response::nothing(),
        };
        return Ok(Reply::CloseAfterFlush { response, delay: Duration::ZERO });
    };
    let mechanism: Arc<str> = server.mechanism().name().into();
    let raw = context.header.api_version == 0;
    *connection.sasl.borrow_mut() = Some(SaslExchange { server, previous });
    *connection.auth.borrow_mut() = AuthState::Sasl { mechanism, raw };
    Ok(Reply::Now(refusal(responder, ErrorCode::None, offered)))
}

/// Not a moment after it was renewed. The first time may follow the login at once.
fn may_renew(context: &RequestContext<'_>) -> bool {
    let (now, renewed) = (context.broker.clock.mono(), &context.connection.renewed);
    if renewed.get().is_some_and(|began| now.since(began) < MIN_INTERVAL) {
        return false;
    }
    renewed.set(Some(now));
    true
}

fn refusal(responder: Responder, code: ErrorCode, mechanisms: Vec<bytestring::ByteString>) -> Response {
    let response = SaslHandshakeResponse { error_code: code.code(), mechanisms };
    responder.respond(&response)
}
