//! The door: what a connection may ask, by how far it has come in saying who it is.
//!
//! Precedent: Kafka's `SaslServerAuthenticator` (its `SaslState`), tightened where no client can notice: the API key is
//! looked at before the body is parsed, in every state. Pure: the session asks, the handlers move the state.
//!
//! ```text
//!  TCP ─┬─ SSL, SASL_SSL: TLS handshake ─┐
//!       └────────────────────────────────┤
//!                                        ├─ PLAINTEXT, SSL ──────────────────────────────▶ Authenticated
//!                                        ▼                                                (ANONYMOUS, certificate)
//!                 ┌────────────────── Hello ──────────────────┐
//!                 │  ApiVersions answered with 0              │ SaslHandshake, mechanism enabled
//!                 ▼                                           ▼
//!              Greeted ─── SaslHandshake, mechanism enabled ─▶ Sasl ── our verifier says yes ──▶ Authenticated
//!                 │                                           │
//!                 └── anything else ──▶ Failed ◀── a no, 33, 34, or anything else
//! ```
//!
//! | state | ApiVersions (18) | SaslHandshake (17) | SaslAuthenticate (36) | any other key |
//! |---|---|---|---|---|
//! | Hello | answered | answered | close | close |
//! | Greeted | close | answered | close | close |
//! | Sasl, v1 | answered with 34, close | answered with 34, close | answered | close |
//! | Sasl, v0 | every frame is a token of the mechanism, without a header ||||
//! | Authenticated | answered | answered (34, or a new login) | answered (34, or a new login) | answered |
//! | expired | close | answered | close until a handshake began | close |
//! | Failed | close ||||

use bytes::{Buf as _, Bytes};

use crate::handlers::{AuthState, Connection};
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;
use crate::protocol::api::ApiKey;

/// What the session does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is a request: decode its header and dispatch it.
    Request,
    /// It is a token of the SASL mechanism, without Kafka's headers.
    Token,
    /// Close without an answer.
    Close(Refused),
}

/// Why a frame does not pass. Printed for the operator, never sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    #[error("the frame is too short for a request header")]
    NoHeader,
    #[error("api key {0} before authentication")]
    BeforeAuthentication(i16),
    #[error("ApiVersions a second time before authentication")]
    GreetedTwice,
    #[error("api key {0} during SASL authentication")]
    DuringAuthentication(i16),
    #[error("the session has expired and no new login was begun")]
    Expired,
    #[error("a request after a failed login")]
    AfterFailure,
}

/// Judges a frame by its first two bytes.
pub fn judge(connection: &Connection, frame: &Bytes, now: Mono) -> Verdict {
    let auth = connection.auth.borrow();
    if let AuthState::Sasl { raw: true, .. } = *auth {
        return Verdict::Token;
    }
    let Ok(key) = frame.clone().try_get_i16() else { return Verdict::Close(Refused::NoHeader) };
    let api = ApiKey::from_number(key);
    match (&*auth, api) {
        (AuthState::Failed, _) => Verdict::Close(Refused::AfterFailure),
        (AuthState::Hello, Some(ApiKey::ApiVersions)) if connection.greeted.get() => {
            Verdict::Close(Refused::GreetedTwice)
        }
        (AuthState::Hello, Some(ApiKey::ApiVersions | ApiKey::SaslHandshake)) => Verdict::Request,
        (AuthState::Hello, _) => Verdict::Close(Refused::BeforeAuthentication(key)),
        // The handlers of the first two answer 34 in this state.
        (AuthState::Sasl { .. }, Some(ApiKey::ApiVersions | ApiKey::SaslHandshake | ApiKey::SaslAuthenticate)) => {
            Verdict::Request
        }
        (AuthState::Sasl { .. }, _) => Verdict::Close(Refused::DuringAuthentication(key)),
        (AuthState::Authenticated(identity), api) => match identity.expires {
            Some(expires) if expires <= now && api != Some(ApiKey::SaslHandshake) => Verdict::Close(Refused::Expired),
            _ => Verdict::Request,
        },
    }
}

/// Bytes of the largest frame that a connection may send.
#[derive(Clone, Copy, Debug)]
pub struct FrameLimits {
    /// Before a SASL login: 64 KiB (*strict*) or `sasl.server.max.receive.size` (*compat*).
    pub unauthenticated: usize,
    /// From ANONYMOUS: 16 MiB (*strict*) or `socket.request.max.bytes` (*compat*).
    pub anonymous: usize,
    /// From anybody else: `socket.request.max.bytes`.
    pub authenticated: usize,
}

impl FrameLimits {
    /// The limit for a connection as it stands.
    pub fn limit(&self, principal: Option<&KafkaPrincipal>) -> usize {
        match principal {
            None => self.unauthenticated,
            Some(principal) if principal.is_anonymous() => self.anonymous.min(self.authenticated),
            Some(_) => self.authenticated,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::handlers::Listener;
    use crate::handlers::connection::Identity;
    use crate::model::listener::{ListenerName, SecurityProtocol};

    const NOW: Mono = Mono(1_000_000);

    fn connection(auth: AuthState) -> Connection {
        let listener = Listener {
            name: ListenerName::new("CLIENT"),
            protocol: SecurityProtocol::SaslPlaintext,
            is_controller: false,
            sasl_mechanisms: vec!["PLAIN".into()],
            max_reauth: Duration::ZERO,
            failed_authentication_delay: Duration::ZERO,
        };
        Connection {
            id: 1,
            listener: Arc::new(listener),
            peer: "127.0.0.1:5000".parse().unwrap(),
            host: "127.0.0.1".into(),
            auth: RefCell::new(auth),
            software: RefCell::default(),
            greeted: Cell::new(false),
        }
    }

    fn authenticated(expires: Option<Mono>) -> AuthState {
        AuthState::Authenticated(Identity { principal: KafkaPrincipal::user("a"), mechanism: None, expires })
    }

    /// The keys that pass, of all that there can be; every other one closes.
    fn passing(connection: &Connection) -> Vec<i16> {
        let mut passing = Vec::new();
        for key in i16::MIN..=i16::MAX {
            let frame = Bytes::copy_from_slice(&[&key.to_be_bytes()[..], &[0; 8]].concat());
            match judge(connection, &frame, NOW) {
                Verdict::Request => passing.push(key),
                Verdict::Close(_) => {}
                Verdict::Token => panic!("{key} is no token"),
            }
        }
        passing
    }

    #[test]
    fn every_state_and_every_key() {
        let hello = connection(AuthState::Hello);
        assert_eq!(passing(&hello), [17, 18]);
        hello.greeted.set(true);
        assert_eq!(passing(&hello), [17]);
        let sasl = connection(AuthState::Sasl { mechanism: "PLAIN".into(), raw: false });
        assert_eq!(passing(&sasl), [17, 18, 36]);
        assert_eq!(passing(&connection(AuthState::Failed)), Vec::<i16>::new());
        assert_eq!(passing(&connection(authenticated(None))).len(), 1 << 16);
        assert_eq!(passing(&connection(authenticated(Some(NOW)))), [17]);
        assert_eq!(passing(&connection(authenticated(Some(Mono(NOW.0 + 1))))).len(), 1 << 16);
    }

    #[test]
    fn a_frame_without_a_key_closes_and_a_raw_token_may_be_anything() {
        let empty = Bytes::from_static(b"\x00");
        assert_eq!(judge(&connection(AuthState::Hello), &empty, NOW), Verdict::Close(Refused::NoHeader));
        assert_eq!(judge(&connection(authenticated(None)), &empty, NOW), Verdict::Close(Refused::NoHeader));
        let raw = connection(AuthState::Sasl { mechanism: "PLAIN".into(), raw: true });
        for token in [&b""[..], b"\x00", b"\x00\x03\x00\x09", b"\x00alice\x00secret"] {
            assert_eq!(judge(&raw, &Bytes::copy_from_slice(token), NOW), Verdict::Token);
        }
    }

    #[test]
    fn limits_by_who_speaks() {
        let limits = FrameLimits { unauthenticated: 1, anonymous: 2, authenticated: 3 };
        assert_eq!(limits.limit(None), 1);
        assert_eq!(limits.limit(Some(&KafkaPrincipal::anonymous())), 2);
        assert_eq!(limits.limit(Some(&KafkaPrincipal::user("a"))), 3);
    }
}
