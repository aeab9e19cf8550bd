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

use crate::handlers::{AuthState, Connection, Response};
use crate::model::error_code::ErrorCode;
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;
use crate::protocol::api::ApiKey;
use crate::protocol::header::RequestHeader;
use crate::protocol::messages::api_versions_response::ApiVersionsResponse;
use crate::protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use crate::protocol::wire::{Message as _, Writer};

/// Where an answer to ApiVersions has its error code: behind length and correlation id, in every version.
const ERROR_CODE: std::ops::Range<usize> = 8..10;
/// Room for an answer without entries.
const ANSWER_BYTES: usize = 32;

/// What the session does with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It is a request: decode its header and dispatch it.
    Request,
    /// It is a token of the SASL mechanism, without Kafka's headers.
    Token,
    /// Answer 34 ([`illegal_sasl_state`]), then close.
    IllegalSaslState,
    /// Close without an answer.
    Close(Refused),
    /// The session has ended, and this does not renew it: close without an answer.
    Expired,
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
        (AuthState::Sasl { .. }, Some(ApiKey::SaslAuthenticate)) => Verdict::Request,
        (AuthState::Sasl { .. }, Some(ApiKey::ApiVersions | ApiKey::SaslHandshake)) => Verdict::IllegalSaslState,
        (AuthState::Sasl { .. }, _) => Verdict::Close(Refused::DuringAuthentication(key)),
        (AuthState::Authenticated(identity), api) => match identity.expires {
            Some(expires) if expires <= now && api != Some(ApiKey::SaslHandshake) => Verdict::Expired,
            _ => Verdict::Request,
        },
    }
}

/// Takes note of an answer that a handler has given: ApiVersions without an error is the greeting, and there is one.
pub fn note_answer(connection: &Connection, key: ApiKey, response: &Response) {
    let no_error = response.bytes.get(ERROR_CODE) == Some(&[0, 0]);
    if key == ApiKey::ApiVersions && no_error && matches!(*connection.auth.borrow(), AuthState::Hello) {
        connection.greeted.set(true);
    }
}

/// Kafka's answer to a request that has no place during SASL authentication. None for a version that Kafka can't parse;
/// ApiVersions is answered in any version.
pub fn illegal_sasl_state(header: &RequestHeader) -> Option<Response> {
    let error_code = ErrorCode::IllegalSaslState.code();
    let (key, version) = (header.api_key, header.api_version);
    let is_served = key.versions().contains(version);
    let mut w = Writer::framed(ANSWER_BYTES);
    header.response().encode(&mut w);
    match key {
        ApiKey::ApiVersions => {
            let version = if is_served { version } else { 0 };
            ApiVersionsResponse { error_code, ..Default::default() }.encode(&mut w, version);
        }
        ApiKey::SaslHandshake if is_served => {
            SaslHandshakeResponse { error_code, ..Default::default() }.encode(&mut w, version);
        }
        _ => return None,
    }
    Some(Response { bytes: w.finish().bytes, files: Vec::new(), mute: None })
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
    use std::collections::BTreeMap;
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
            max_reauth: BTreeMap::new(),
            failed_authentication_delay: Duration::ZERO,
        };
        Connection {
            id: 1,
            listener: Arc::new(listener),
            peer: "127.0.0.1:5000".parse().unwrap(),
            host: "127.0.0.1".into(),
            auth: RefCell::new(auth),
            sasl: RefCell::default(),
            renewed: Cell::default(),
            software: RefCell::default(),
            greeted: Cell::new(false),
            writes: RefCell::default(),
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
                Verdict::Close(_) | Verdict::Expired => {}
                Verdict::IllegalSaslState => assert!(matches!(key, 17 | 18), "{key} is closed without an answer"),
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
        assert_eq!(passing(&sasl), [36]);
        for key in [17_i16, 18] {
            let frame = Bytes::copy_from_slice(&key.to_be_bytes());
            assert_eq!(judge(&sasl, &frame, NOW), Verdict::IllegalSaslState);
        }
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

    fn header(api_key: ApiKey, api_version: i16) -> RequestHeader {
        RequestHeader { api_key, api_version, correlation_id: 7, client_id: None }
    }

    #[test]
    fn illegal_state_is_answered_in_the_shape_of_the_request() {
        let handshake = illegal_sasl_state(&header(ApiKey::SaslHandshake, 1)).unwrap();
        assert_eq!(&handshake.bytes[..], b"\0\0\0\x0a\0\0\0\x07\0\x22\0\0\0\0");
        let versions = illegal_sasl_state(&header(ApiKey::ApiVersions, 99)).unwrap();
        assert_eq!(&versions.bytes[..], b"\0\0\0\x0a\0\0\0\x07\0\x22\0\0\0\0");
        assert!(illegal_sasl_state(&header(ApiKey::SaslHandshake, 7)).is_none());
        assert!(illegal_sasl_state(&header(ApiKey::Metadata, 9)).is_none());
    }

    #[test]
    fn only_an_answer_without_an_error_is_the_greeting() {
        let answer = |code: &[u8; 2]| Response {
            bytes: Bytes::copy_from_slice(&[&[0, 0, 0, 6, 0, 0, 0, 1][..], &code[..]].concat()),
            files: Vec::new(),
            mute: None,
        };
        let hello = connection(AuthState::Hello);
        note_answer(&hello, ApiKey::ApiVersions, &answer(&[0, 35]));
        note_answer(&hello, ApiKey::SaslHandshake, &answer(&[0, 0]));
        assert!(!hello.greeted.get());
        note_answer(&hello, ApiKey::ApiVersions, &answer(&[0, 0]));
        assert!(hello.greeted.get());
    }

    #[test]
    fn limits_by_who_speaks() {
        let limits = FrameLimits { unauthenticated: 1, anonymous: 2, authenticated: 3 };
        assert_eq!(limits.limit(None), 1);
        assert_eq!(limits.limit(Some(&KafkaPrincipal::anonymous())), 2);
        assert_eq!(limits.limit(Some(&KafkaPrincipal::user("a"))), 3);
    }
}
