//! One network thread: its runtime and the connections pinned to it. Precedent: Kafka's `Processor`.

use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::mem::{Discriminant, discriminant};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{debug, info};

use crate::handlers::connection::Identity;
use crate::handlers::{AuthState, Connection};
use crate::model::listener::{ListenerName, SecurityProtocol};
use crate::model::principal::KafkaPrincipal;
use crate::network::connection::Refused;
use crate::network::listener::{Acceptor, BoundListener, ConnectionSlot, ListenerSpec};
use crate::network::service::Service;
use crate::network::session::{Ended, Session};
use crate::network::spoken::Spoken;
use crate::network::transport::Transport;
use crate::quota::memory::Budget;
use crate::replica::doorbell::Doorbell;
use crate::security::authorizer::host::java_host_text;
use crate::security::one_line::OneLine;
use crate::telemetry::once_per::OncePer;

/// Accepted connections that wait for a thread to take them.
const ARRIVALS: usize = 256;
/// Threads of one runtime that may wait for the disk.
const BLOCKING_THREADS: usize = 16;
/// Peers about which lines are remembered.
const REMEMBERED_PEERS: usize = 4096;
/// One line about a peer and listener in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(60);

static NEXT_CONNECTION_ID: AtomicU64 = AtomicU64::new(1);

/// A connection on its way to its thread.
#[derive(Debug)]
pub struct Arrival {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    pub spec: Arc<ListenerSpec>,
    pub slot: ConnectionSlot,
    pub pinned: Pinned,
}

/// What all network threads share.
#[derive(Debug)]
pub struct Facilities {
    pub budget: Arc<Budget>,
    /// By listener, address and kind of ending: one mishap must not hide another of the same peer.
    lines: Mutex<OncePer<(ListenerName, IpAddr, Discriminant<Ended>)>>,
    pub bound: OnceLock<Vec<BoundListener>>,
}

impl Facilities {
    pub fn new(budget: Arc<Budget>) -> Self {
        Self { budget, lines: Mutex::new(OncePer::new(LINE_INTERVAL, REMEMBERED_PEERS)), bound: OnceLock::new() }
    }
}

/// A thread's handle for the acceptors.
#[derive(Debug, Clone)]
pub struct ProcessorHandle {
    pub arrivals: mpsc::Sender<Arrival>,
    pub load: Load,
}

/// How many connections are pinned to a thread.
#[derive(Debug, Clone, Default)]
pub struct Load(Arc<AtomicUsize>);

/// One connection of a [`Load`], as long as it lives.
#[derive(Debug)]
pub struct Pinned(Load);

impl Load {
    pub fn connections(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub fn pin(&self) -> Pinned {
        self.0.fetch_add(1, Ordering::Relaxed);
        Pinned(self.clone())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What the connections of one thread share.
pub struct Processor<S> {
    pub service: S,
    pub budget: Arc<Budget>,
    pub stop: Notify,
    pub stopping: Cell<bool>,
    facilities: Arc<Facilities>,
    sessions: Cell<usize>,
    drained: Notify,
}

/// Counts one session as long as it lives.
struct Counted<S>(Rc<Processor<S>>);

/// Makes the thread's channel; [`run`] is its other end.
pub fn channel() -> (ProcessorHandle, mpsc::Receiver<Arrival>) {
    let (arrivals, receiver) = mpsc::channel(ARRIVALS);
    (ProcessorHandle { arrivals, load: Load::default() }, receiver)
}

/// Runs the thread: the acceptors it was given and every connection that arrives, until `stopping` says so; then what is
/// in flight is finished, for at most as long as it says.
///
/// # Errors
/// The runtime can't be built.
pub fn run<S: Service>(
    service: S,
    facilities: Arc<Facilities>,
    arrivals: mpsc::Receiver<Arrival>,
    acceptors: Vec<(Acceptor<S>, std::net::TcpListener)>,
    mut stopping: watch::Receiver<Option<Duration>>,
) -> io::Result<()> {
    let mut builder = Builder::new_current_thread();
    builder.enable_all().max_blocking_threads(BLOCKING_THREADS).thread_name("schloss-disk");
    let runtime = builder.build_local(LocalOptions::default())?;
    runtime.block_on(async move {
        let processor = Rc::new(Processor::new(service, facilities));
        // Lanes wake this thread once a drain, through it.
        tokio::task::spawn_local(Doorbell::install().serve());
        for (acceptor, listener) in acceptors {
            let listener = TcpListener::from_std(listener)?;
            tokio::task::spawn_local(acceptor.run(listener));
        }
        let grace = tokio::select! {
            never = processor.take_arrivals(arrivals) => match never {},
            grace = asked_to_stop(&mut stopping) => grace,
        };
        let _ = tokio::time::timeout(grace, processor.drain()).await;
        Ok::<_, io::Error>(())
    })?;
    // Threads that wait for a disk are not waited for.
    runtime.shutdown_background();
    Ok(())
}

async fn asked_to_stop(stopping: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match stopping.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        Err(_) => Duration::ZERO,
    }
}

impl<S: Service> Processor<S> {
    pub(super) fn new(service: S, facilities: Arc<Facilities>) -> Self {
        Self {
            service,
            budget: Arc::clone(&facilities.budget),
            stop: Notify::new(),
            stopping: Cell::new(false),
            facilities,
            sessions: Cell::new(0),
            drained: Notify::new(),
        }
    }

    async fn take_arrivals(self: &Rc<Self>, mut arrivals: mpsc::Receiver<Arrival>) -> Infallible {
        while let Some(arrival) = arrivals.recv().await {
            self.open(arrival);
        }
        // The acceptors are gone: the order to stop is under way.
        std::future::pending().await
    }

    fn open(self: &Rc<Self>, arrival: Arrival) {
        let Arrival { stream, peer, spec, slot, pinned } = arrival;
        let counted = Counted::new(self);
        let transport = match self.transport(stream, &spec) {
            Ok(transport) => transport,
            Err(error) => {
                debug!(target: "schloss.network", "listener {}: {peer}: {error}", spec.listener.name);
                return;
            }
        };
        let connection = self.connection(peer, &spec);
        let session = Session::new(Rc::clone(self), spec, connection, transport);
        tokio::task::spawn_local(async move {
            session.run().await;
            drop((slot, pinned, counted));
        });
    }

    pub(super) fn transport(&self, stream: TcpStream, spec: &ListenerSpec) -> io::Result<Transport> {
        let stream = tokio::net::TcpStream::from_std(stream)?;
        match &spec.tls {
            Some(config) => Transport::tls(stream, config.load_full()).map_err(io::Error::other),
            None => Ok(Transport::plain(stream)),
        }
    }

    pub(super) fn connection(&self, peer: SocketAddr, spec: &ListenerSpec) -> Connection {
        let auth = match spec.listener.protocol {
            SecurityProtocol::Plaintext => AuthState::Authenticated(Identity {
                principal: KafkaPrincipal::anonymous(),
                mechanism: None,
                expires: None,
            }),
            _ => AuthState::Hello,
        };
        Connection {
            id: NEXT_CONNECTION_ID.fetch_add(1, Ordering::Relaxed),
            listener: Arc::clone(&spec.listener),
            peer,
            host: java_host_text(peer.ip()).into(),
            auth: RefCell::new(auth),
            sasl: RefCell::default(),
            renewed: Cell::default(),
            software: RefCell::default(),
            greeted: Cell::new(false),
            writes: RefCell::default(),
        }
    }

    /// Waits until every connection has finished what it has read.
    async fn drain(&self) {
        self.stopping.set(true);
        self.stop.notify_waiters();
        while self.sessions.get() > 0 {
            self.drained.notified().await;
        }
    }

    /// Tells the operator why a connection ended, if that is of interest: at most one line of a kind about a peer in a minute.
    pub fn report(&self, spec: &ListenerSpec, connection: &Connection, ended: &Ended) {
        let (name, port, host) = (&spec.listener.name, spec.port(), &connection.host);
        if !is_of_interest(ended) {
            debug!(target: "schloss.network", "listener {name} {port}: {host}: {ended}");
            return;
        }
        let key = (name.clone(), connection.peer.ip(), discriminant(ended));
        let Some(held_back) = self.facilities.lines.lock().permit(key, self.service.mono()) else { return };
        let more = if held_back > 0 { format!(" ({held_back} more like it)") } else { String::new() };
        let what = match ended {
            Ended::Expired => expired(connection),
            _ => self.explain(spec, ended),
        };
        match ended {
            Ended::Spoken(_) => info!(target: "schloss.network", "listener {name} {port}: {host} {what}{more}"),
            Ended::Refused(_) | Ended::Handshake(_) | Ended::Login => {
                info!(target: "schloss.network", "Failed authentication with /{host} ({what}) on listener {name} {port}{more}");
            }
            _ => {
                info!(target: "schloss.network", "listener {name} {port}: closed the connection of {host}: {what}{more}")
            }
        }
    }

    fn explain(&self, spec: &ListenerSpec, ended: &Ended) -> String {
        let protocol = spec.listener.protocol;
        match ended {
            Ended::Spoken(Spoken::Tls) => {
                let other = self.listener_with_tls(spec);
                let other = other.map(|o| format!(", or use port {} ({})", o.address.port(), o.protocol));
                format!(
                    "speaks TLS, this listener is {protocol}: set security.protocol={protocol}{}",
                    other.unwrap_or_default()
                )
            }
            Ended::Spoken(spoken @ Spoken::Http(_)) => format!("speaks {spoken}, this listener speaks Kafka"),
            Ended::Spoken(spoken @ Spoken::PlaintextKafka { .. }) => {
                format!("speaks {spoken} to a TLS listener: set security.protocol={protocol}")
            }
            Ended::Refused(refused @ Refused::BeforeAuthentication(_)) => {
                format!("{refused}: this listener is {protocol}, set security.protocol={protocol} and sasl.mechanism")
            }
            _ => ended.to_string(),
        }
    }

    fn listener_with_tls(&self, spec: &ListenerSpec) -> Option<&BoundListener> {
        let sasl = spec.listener.protocol.is_sasl();
        let bound = self.facilities.bound.get()?;
        bound.iter().find(|other| other.protocol.is_tls() && other.protocol.is_sasl() == sasl)
    }
}

/// What the operator has to know of a session that was not renewed.
fn expired(connection: &Connection) -> String {
    let auth = connection.auth.borrow();
    let AuthState::Authenticated(identity) = &*auth else { return Ended::Expired.to_string() };
    let mechanism = identity.mechanism.as_deref().unwrap_or_default();
    let lasts_ms = connection.listener.max_reauth(mechanism).as_millis();
    let software = connection.software.borrow();
    let client = format!("{} {}", software.name, software.version);
    let client = if client.trim().is_empty() { String::new() } else { format!(" ({})", OneLine(client.trim())) };
    format!(
        "the session of user={}{client} by {mechanism} has expired after connections.max.reauth.ms={lasts_ms} and the \
         client did not log in again; fix: use a client that does (KIP-368), or give it more time by \
         {}{}.connections.max.reauth.ms",
        OneLine(identity.principal.name()),
        connection.listener.name.config_prefix(),
        mechanism.to_lowercase(),
    )
}

/// Whether a line about it helps the operator: a peer's mistake, not a peer's leaving.
fn is_of_interest(ended: &Ended) -> bool {
    match ended {
        Ended::Eof | Ended::Stopping | Ended::AfterFlush | Ended::Idle | Ended::Io(_) => false,
        Ended::Handshake(error) => error.kind() == io::ErrorKind::InvalidData,
        _ => true,
    }
}

impl<S> Counted<S> {
    fn new(processor: &Rc<Processor<S>>) -> Self {
        processor.sessions.set(processor.sessions.get() + 1);
        Self(Rc::clone(processor))
    }
}

impl<S> Drop for Counted<S> {
    fn drop(&mut self) {
        self.0.sessions.set(self.0.sessions.get() - 1);
        self.0.drained.notify_one();
    }
}

impl<S> fmt::Debug for Processor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Processor").field("sessions", &self.sessions).finish_non_exhaustive()
    }
}
