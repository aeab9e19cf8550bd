//! SaslAuthenticate v0–2 (KIP-152; v1 KIP-368 session lifetime; v2 flexible), and the raw tokens of SaslHandshake v0.
//!
//! Feeds the mechanism, lets the verifier judge what it claims, and moves the connection's state: nobody else makes a
//! connection authenticated by SASL. What is slow (argon2) runs on the blocking pool behind the verifier's gate. A refusal
//! is SASL_AUTHENTICATION_FAILED with Kafka's constant text, sent after a delay, then the connection is closed; the
//! operator's line names the user, the cause and the fix. On an authenticated connection ILLEGAL_SASL_STATE, and it stays
//! open. When too many checks wait, the connection is closed without a word: clients take that for a lost connection and
//! try again, where a 58 would end them.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};

use super::connection::Identity;
use super::{AuthState, Broker, CloseReason, Connection, Order, Reply, RequestContext, Response, Spec};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use crate::protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::one_line::OneLine;
use crate::security::sasl::cause::{Cause, Reason};
use crate::security::sasl::{SaslMechanism, SaslServer, Step, VerifyRequest};
use crate::security::verifier::{self, PendingCheck, Verdict};

pub(super) const SPEC: Spec = Spec {
    on_controller_listeners: true,
    before_authentication: true,
    ..Spec::new(ApiKey::SaslAuthenticate, Order::Barrier, |context, body| Box::pin(handle(context, body)))
};

/// How long a password check may wait for its turn.
const CHECK_DEADLINE: Duration = Duration::from_secs(20);
/// Kafka's logger of failed logins: the lines people alert on.
const FAILED_TARGET: &str = "org.apache.kafka.common.network.Selector";
const AFTER_SUCCESS: &str = "SaslAuthenticate request received after successful authentication";

/// One exchange under way on a connection.
#[derive(Debug)]
pub struct SaslExchange {
    pub(super) server: SaslServer,
    /// Who the connection spoke for so far, if this is a new login on it (KIP-368).
    pub(super) previous: Option<Identity>,
}

/// What a token led to. The connection's state has moved already.
enum Outcome {
    /// The exchange goes on.
    Challenge(Vec<u8>),
    /// Logged in, for so long (zero: for ever).
    Done { last_message: Vec<u8>, lifetime: Duration },
    /// Closed after the delay, without an answer if there is no text.
    Refused { text: Option<String>, delay: Duration },
    /// Close without an answer.
    Dropped(CloseReason),
}

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = SaslAuthenticateRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let responder = context.responder();
    let answer = |code: ErrorCode, text: &str, bytes: Vec<u8>, lifetime: Duration| {
        responder.respond(&SaslAuthenticateResponse {
            error_code: code.code(),
            // Kafka sends an empty text, never null, when all is well.
            error_message: Some(text.into()),
            auth_bytes: bytes.into(),
            session_lifetime_ms: i64::try_from(lifetime.as_millis()).unwrap_or(i64::MAX),
        })
    };
    if matches!(&*context.connection.auth.borrow(), AuthState::Authenticated(_)) {
        let response = answer(ErrorCode::IllegalSaslState, AFTER_SUCCESS, Vec::new(), Duration::ZERO);
        return Ok(Reply::Now(response));
    }
    Ok(match advance(context.broker, context.connection, &request.auth_bytes).await {
        Outcome::Challenge(bytes) => Reply::Now(answer(ErrorCode::None, "", bytes, Duration::ZERO)),
        Outcome::Done { last_message, lifetime } => Reply::Now(answer(ErrorCode::None, "", last_message, lifetime)),
        Outcome::Refused { text, delay } => {
            let response = match text {
                Some(text) => answer(ErrorCode::SaslAuthenticationFailed, &text, Vec::new(), Duration::ZERO),
                None => Response::nothing(),
            };
            Reply::CloseAfterFlush { response, delay }
        }
        Outcome::Dropped(reason) => Reply::Close(reason),
    })
}

/// Takes one token that comes without Kafka's headers. A refusal has no body: the connection is closed after the delay.
pub async fn raw_token(broker: &Arc<Broker>, connection: &Rc<Connection>, token: Bytes) -> Reply {
    match advance(broker, connection, &token).await {
        Outcome::Challenge(bytes) | Outcome::Done { last_message: bytes, .. } => match framed(&bytes) {
            Some(response) => Reply::Now(response),
            None => Reply::Close(CloseReason::Protocol("the answering SASL token is too long")),
        },
        Outcome::Refused { delay, .. } => Reply::CloseAfterFlush { response: Response::nothing(), delay },
        Outcome::Dropped(reason) => Reply::Close(reason),
    }
}

fn framed(token: &[u8]) -> Option<Response> {
    let mut bytes = BytesMut::with_capacity(token.len().saturating_add(4));
    bytes.put_i32(i32::try_from(token.len()).ok()?);
    bytes.put_slice(token);
    Some(Response { bytes: bytes.freeze(), files: Vec::new(), mute: None })
}

/// One step of the exchange. The exchange is out of the connection while a check runs, so nothing else can step it.
async fn advance(broker: &Broker, connection: &Connection, token: &[u8]) -> Outcome {
    let exchange = connection.sasl.borrow_mut().take();
    let Some(mut exchange) = exchange else {
        return Outcome::Dropped(CloseReason::Protocol("SASL token without a handshake"));
    };
    let mechanism = exchange.server.mechanism();
    if let Some(text) = other_mechanism(&exchange, mechanism) {
        // Kafka judges this when the handshake is answered already, and has nothing to say here.
        let cause = Cause::new(Reason::Malformed("another mechanism in a new login on the same connection"), None);
        return Outcome::Refused { text: None, delay: failed(broker, connection, mechanism, &cause, &text) };
    }
    match exchange.server.step(token) {
        Step::Challenge(bytes) => {
            *connection.sasl.borrow_mut() = Some(exchange);
            Outcome::Challenge(bytes)
        }
        Step::Fail(cause) => refused(broker, connection, mechanism, cause, None),
        Step::Verify(request) => match verify(broker, connection, request).await {
            Ok(identity) => accepted(broker, connection, mechanism, exchange.previous, identity),
            Err(cause) if cause.reason == Reason::Overloaded => {
                *connection.auth.borrow_mut() = AuthState::Failed;
                log_failure(broker, connection, mechanism, &cause, "connection closed");
                Outcome::Dropped(CloseReason::Protocol("too many password checks waiting"))
            }
            Err(cause) => refused(broker, connection, mechanism, cause, None),
        },
    }
}

async fn verify(broker: &Broker, connection: &Connection, request: VerifyRequest) -> Result<verifier::Identity, Cause> {
    let verdict = match broker.logins.verify(&connection.listener.name, request) {
        Verdict::Check(pending) => run_check(broker, connection, pending).await?,
        other => other,
    };
    match verdict {
        Verdict::Accepted(identity) => Ok(identity),
        Verdict::Refused(cause) => Err(cause),
        Verdict::Check(_) => Err(Cause::new(Reason::Internal, None)),
    }
}

/// Waits for a turn at the gate, then hashes where blocking is allowed.
async fn run_check(broker: &Broker, connection: &Connection, pending: PendingCheck) -> Result<Verdict, Cause> {
    let verifier = &broker.logins.verifier;
    let overloaded = || Cause::new(Reason::Overloaded, Some(pending.user()));
    let turn = verifier.gate().enter(connection.peer.ip());
    let permit = match tokio::time::timeout(CHECK_DEADLINE, turn).await {
        Ok(Ok(permit)) => permit,
        Ok(Err(_)) | Err(_) => return Err(overloaded()),
    };
    let check = Arc::clone(&pending.check);
    let run = tokio::task::spawn_blocking(move || {
        let right = check.run();
        drop(permit);
        right
    });
    match run.await {
        Ok(right) => Ok(verifier.conclude(pending, right)),
        // The pool is going down with the broker.
        Err(_) => Err(overloaded()),
    }
}

fn accepted(
    broker: &Broker,
    connection: &Connection,
    mechanism: SaslMechanism,
    previous: Option<Identity>,
    identity: verifier::Identity,
) -> Outcome {
    let principal = identity.principal();
    let again = if previous.is_some() { "re-" } else { "" };
    if let Some(previous) = previous.filter(|p| p.principal != principal) {
        let (old, new) = (&previous.principal, &principal);
        let text = format!(
            "Cannot change principals during re-authentication from {}.{}: {}.{}",
            old.kind(),
            old.name(),
            new.kind(),
            new.name()
        );
        let cause =
            Cause::new(Reason::Malformed("another user in a new login on the same connection"), Some(new.name()));
        return refused(broker, connection, mechanism, cause, Some(text));
    }
    let verifier = &broker.logins.verifier;
    verifier.succeeded(connection.peer.ip(), principal.name());
    if identity.doubled_nonce {
        let software = connection.software.borrow();
        let client = format!("{} {}", software.name, software.version);
        if verifier.line_about_client(connection.peer.ip(), &client) {
            tracing::warn!(
                "client /{} ({}) repeats its nonce in SCRAM, as librdkafka does before 2.6.1; accepted, but update it: \
                 Apache Kafka 4 refuses such a login",
                connection.host,
                OneLine(client.trim()),
            );
        }
    }
    tracing::debug!(
        target: FAILED_TARGET,
        "Successfully {again}authenticated with /{} (channelId={}): user={} listener={} mechanism={}",
        connection.host,
        connection.id,
        OneLine(principal.name()),
        connection.listener.name,
        mechanism.name(),
    );
    let lifetime = connection.listener.max_reauth(mechanism.name());
    let expires = (!lifetime.is_zero()).then(|| broker.clock.mono().plus(lifetime));
    let mechanism = Some(mechanism.name().into());
    *connection.auth.borrow_mut() = AuthState::Authenticated(Identity { principal, mechanism, expires });
    Outcome::Done { last_message: identity.final_message, lifetime }
}

/// `text`: told to the peer instead of the cause's own.
fn refused(
    broker: &Broker,
    connection: &Connection,
    mechanism: SaslMechanism,
    cause: Cause,
    text: Option<String>,
) -> Outcome {
    let text = text.unwrap_or_else(|| cause.outward(mechanism));
    let delay = failed(broker, connection, mechanism, &cause, &text);
    Outcome::Refused { text: Some(text), delay }
}

/// Nothing passes any more, and the operator knows why. How long the peer waits for it.
fn failed(broker: &Broker, connection: &Connection, mechanism: SaslMechanism, cause: &Cause, told: &str) -> Duration {
    *connection.auth.borrow_mut() = AuthState::Failed;
    log_failure(broker, connection, mechanism, cause, told);
    let now = broker.clock.mono();
    broker.logins.verifier.failed(connection.peer.ip(), cause.user.as_deref(), now)
}

fn other_mechanism(exchange: &SaslExchange, mechanism: SaslMechanism) -> Option<String> {
    let previous = exchange.previous.as_ref()?.mechanism.as_deref()?;
    (previous != mechanism.name()).then(|| {
        format!(
            "SASL mechanism '{}' requested by client is not supported for re-authentication of mechanism '{previous}'",
            mechanism.name()
        )
    })
}

/// One line: Kafka's beginning, then what an operator needs. Never a secret; the peer's text escaped.
fn log_failure(broker: &Broker, connection: &Connection, mechanism: SaslMechanism, cause: &Cause, told: &str) {
    let Some(suppressed) = broker.logins.verifier.line_about_failure(broker.clock.mono()) else { return };
    let more = if suppressed == 0 { String::new() } else { format!(" ({suppressed} such lines were left out)") };
    tracing::info!(
        target: FAILED_TARGET,
        "Failed authentication with /{} (channelId={}) ({}) user={} listener={} mechanism={} cause: {cause}; fix: {}{more}",
        connection.host,
        connection.id,
        OneLine(told),
        OneLine(cause.user.as_deref().unwrap_or("(not given)")),
        connection.listener.name,
        mechanism.name(),
        cause.fix(),
    );
}

#[cfg(test)]
mod tests;
