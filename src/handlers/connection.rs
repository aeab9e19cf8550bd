//! A connection as handlers see it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::sasl_authenticate::SaslExchange;
use crate::model::listener::{ListenerName, SecurityProtocol};
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;
use crate::replica::writer::PendingWrites;

/// What is fixed for all connections of one listener.
#[derive(Debug, Clone)]
pub struct Listener {
    pub name: ListenerName,
    pub protocol: SecurityProtocol,
    /// `controller.listener.names` holds it: other APIs, no data.
    pub is_controller: bool,
    /// Enabled mechanisms in the order of `sasl.enabled.mechanisms`.
    pub sasl_mechanisms: Vec<Arc<str>>,
    /// `connections.max.reauth.ms` by mechanism; those that are not in it have sessions that never end.
    pub max_reauth: BTreeMap<Arc<str>, Duration>,
    /// `connection.failed.authentication.delay.ms`
    pub failed_authentication_delay: Duration,
}

impl Listener {
    /// How long a login by this mechanism lasts; zero: for ever.
    pub fn max_reauth(&self, mechanism: &str) -> Duration {
        self.max_reauth.get(mechanism).copied().unwrap_or_default()
    }
}

/// How far a connection has come in saying who it is.
#[derive(Debug)]
pub enum AuthState {
    /// SASL listener: only ApiVersions and SaslHandshake pass.
    Hello,
    /// A mechanism is chosen; only its tokens pass. `raw`: they come without Kafka's headers (SaslHandshake v0).
    Sasl { mechanism: Arc<str>, raw: bool },
    /// Everything passes, as this principal.
    Authenticated(Identity),
    /// Nothing passes any more.
    Failed,
}

/// Who a connection speaks for, and how that is known.
#[derive(Debug, Clone)]
pub struct Identity {
    pub principal: KafkaPrincipal,
    /// The SASL mechanism; `None` for a certificate or ANONYMOUS.
    pub mechanism: Option<Arc<str>>,
    /// When the session ends unless the client logs in again (KIP-368).
    pub expires: Option<Mono>,
}

/// `ClientSoftwareName` and `-Version` of ApiVersions v3 and newer (KIP-511), checked there.
#[derive(Debug, Clone, Default)]
pub struct ClientSoftware {
    pub name: Arc<str>,
    pub version: Arc<str>,
}

/// Lives on its runtime's thread.
#[derive(Debug)]
pub struct Connection {
    /// Never used twice by one process.
    pub id: u64,
    pub listener: Arc<Listener>,
    pub peer: SocketAddr,
    /// The peer's address as Java prints it: what ACL hosts are compared with.
    pub host: Arc<str>,
    pub auth: RefCell<AuthState>,
    /// The mechanism's side of [`AuthState::Sasl`].
    pub sasl: RefCell<Option<SaslExchange>>,
    /// When the last login began that renewed a session.
    pub renewed: Cell<Option<Mono>>,
    pub software: RefCell<ClientSoftware>,
    /// ApiVersions was answered before SaslHandshake: a second one closes.
    pub greeted: Cell<bool>,
    /// What this connection wrote: its reads wait until it is in the log.
    pub writes: RefCell<PendingWrites>,
}

impl Connection {
    /// The principal once there is one.
    pub fn principal(&self) -> Option<KafkaPrincipal> {
        match &*self.auth.borrow() {
            AuthState::Authenticated(identity) => Some(identity.principal.clone()),
            _ => None,
        }
    }
}
