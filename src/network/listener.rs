//! Listeners: bound sockets, and the loop that accepts, counts and hands connections to the least loaded thread.
//!
//! Precedent: Kafka's `Acceptor`. It survives running out of file descriptors, waits (without accepting more) while a
//! limit is reached, and closes what an address has too many of.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::handlers::Listener;
use crate::model::listener::{ListenerName, SecurityProtocol};
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;
use crate::network::connection::FrameLimits;
use crate::network::processor::{Arrival, ProcessorHandle};
use crate::network::service::Service;
use crate::quota::connections::{BrokerLimits, ConnectionQuotas, ListenerLimits, TooManyConnections};
use crate::telemetry::once_per::OncePer;

/// How long accept rests when the process has no descriptor left.
const EXHAUSTED_REST: Duration = Duration::from_millis(100);
/// The least backlog, whatever the key says: Kafka's fifty overflow under a crowd of connections, and whoever is dropped
/// there, a good login too, is tried again by its own kernel only a second later. The system caps it.
const LEAST_BACKLOG: u32 = 1024;
const LINE_INTERVAL: Duration = Duration::from_secs(60);
const REMEMBERED_ADDRESSES: usize = 4096;

/// Whom a certificate chain (leaf first, empty if the client sent none) speaks for.
pub type PrincipalOf = Arc<dyn Fn(&[CertificateDer<'_>]) -> KafkaPrincipal + Send + Sync>;

/// A listener as it is asked for.
pub struct ListenerSpec {
    pub listener: Arc<Listener>,
    /// `host` of `listeners`; empty: every address.
    pub host: String,
    /// 0: any free one.
    pub port: u16,
    /// For SSL and SASL_SSL. New connections use what is in it when they come.
    pub tls: Option<Arc<ArcSwap<ServerConfig>>>,
    pub principal_of: PrincipalOf,
    pub frame_limits: FrameLimits,
    /// `connections.max.idle.ms`
    pub max_idle: Duration,
    /// `socket.send.buffer.bytes`; none: the system's own.
    pub send_buffer_bytes: Option<u32>,
    /// `socket.receive.buffer.bytes`; none: the system's own.
    pub receive_buffer_bytes: Option<u32>,
    /// `socket.listen.backlog.size`; never less than [`LEAST_BACKLOG`] is asked for.
    pub backlog: u32,
    /// Set when it is bound.
    pub bound: OnceLock<SocketAddr>,
}

/// A listener that is bound.
#[derive(Clone, Debug)]
pub struct BoundListener {
    pub name: ListenerName,
    pub protocol: SecurityProtocol,
    pub address: SocketAddr,
}

/// A listener can't be opened.
#[derive(Debug, thiserror::Error)]
#[error("listener {name}: can't listen on {address}: {source}")]
pub struct BindError {
    pub name: ListenerName,
    pub address: String,
    pub source: io::Error,
}

impl ListenerSpec {
    /// The port it is bound to, or else asks for.
    pub fn port(&self) -> u16 {
        self.bound.get().map_or(self.port, SocketAddr::port)
    }

    /// What was bound, once it is.
    pub fn bound_listener(&self) -> Option<BoundListener> {
        let address = *self.bound.get()?;
        Some(BoundListener { name: self.listener.name.clone(), protocol: self.listener.protocol, address })
    }

    /// Binds it. Needs a runtime.
    ///
    /// # Errors
    /// The address is unknown, taken, or not ours.
    pub async fn bind(&self) -> Result<TcpListener, BindError> {
        let bound = self.try_bind().await.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = bound.map_err(|source| BindError {
            name: self.listener.name.clone(),
            address: format!("{}:{}", self.shown_host(), self.port),
            source,
        })?;
        let _ = self.bound.set(address);
        info!(
            target: "kafka.network.DataPlaneAcceptor",
            "Awaiting socket connections on {}:{}.", self.shown_host(), address.port()
        );
        Ok(listener)
    }

    async fn try_bind(&self) -> io::Result<TcpListener> {
        if self.host.is_empty() {
            // Both families, as Java does; a system without IPv6 has the other.
            let everywhere = [IpAddr::from([0_u16; 8]), IpAddr::from([0_u8; 4])];
            let [six, four] = everywhere.map(|ip| SocketAddr::new(ip, self.port));
            return self.listen(six).or_else(|_| self.listen(four));
        }
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in tokio::net::lookup_host((self.host.as_str(), self.port)).await? {
            match self.listen(address) {
                Ok(listener) => return Ok(listener),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
        // Accepted sockets inherit these.
        socket.set_reuseaddr(true)?;
        socket.set_keepalive(true)?;
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(address)?;
        socket.listen(self.backlog.max(LEAST_BACKLOG))
    }

    /// As Kafka prints it: every address is `0.0.0.0`.
    fn shown_host(&self) -> &str {
        if self.host.is_empty() { "0.0.0.0" } else { &self.host }
    }
}

impl fmt::Debug for ListenerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerSpec")
            .field("listener", &self.listener)
            .field("host", &self.host)
            .field("port", &self.port())
            .finish_non_exhaustive()
    }
}

/// The counts of all listeners, and who waits for them to fall.
#[derive(Debug)]
pub struct Slots {
    quotas: Mutex<ConnectionQuotas>,
    released: Notify,
}

/// One counted connection; gives its place back when dropped.
pub struct ConnectionSlot {
    slots: Arc<Slots>,
    listener: ListenerName,
    address: IpAddr,
}

impl Slots {
    pub fn new(quotas: ConnectionQuotas) -> Arc<Self> {
        Arc::new(Self { quotas: Mutex::new(quotas), released: Notify::new() })
    }

    /// Other limits from here on, for those who wait too.
    pub fn set_limits(&self, limits: BrokerLimits, listeners: Vec<ListenerLimits>) {
        self.quotas.lock().set_limits(limits, listeners);
        self.released.notify_waiters();
    }

    /// Connections open now.
    pub fn total(&self) -> usize {
        self.quotas.lock().total()
    }

    /// Counts one more connection, as soon as the limits let it in.
    ///
    /// # Errors
    /// Its address has as many as it may.
    async fn take(
        self: &Arc<Self>,
        listener: &ListenerName,
        address: IpAddr,
        now: Mono,
    ) -> Result<ConnectionSlot, TooManyConnections> {
        let throttle = self.quotas.lock().charge(listener, now);
        if !throttle.is_zero() {
            tokio::time::sleep(throttle).await;
        }
        loop {
            let mut released = pin!(self.released.notified());
            released.as_mut().enable();
            if let Some(counted) = self.try_count(listener, address) {
                return counted.map(|()| ConnectionSlot {
                    slots: Arc::clone(self),
                    listener: listener.clone(),
                    address,
                });
            }
            released.await;
        }
    }

    fn try_count(&self, listener: &ListenerName, address: IpAddr) -> Option<Result<(), TooManyConnections>> {
        let mut quotas = self.quotas.lock();
        quotas.slot_available(listener).then(|| quotas.count(listener, address))
    }
}

impl Drop for ConnectionSlot {
    fn drop(&mut self) {
        self.slots.quotas.lock().release(&self.listener, self.address);
        self.slots.released.notify_waiters();
    }
}

impl fmt::Debug for ConnectionSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnectionSlot({} {})", self.listener, self.address)
    }
}

/// The accept loop of one listener.
pub struct Acceptor<S> {
    pub spec: Arc<ListenerSpec>,
    pub slots: Arc<Slots>,
    pub processors: Arc<[ProcessorHandle]>,
    pub service: S,
    pub stopping: watch::Receiver<Option<Duration>>,
}

impl<S: Service> Acceptor<S> {
    /// Accepts until the broker stops.
    pub async fn run(self, listener: TcpListener) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = self.accept_all(&listener) => {}
            _ = stopping.wait_for(Option::is_some) => {}
        }
    }

    async fn accept_all(&self, listener: &TcpListener) {
        let mut lines = OncePer::new(LINE_INTERVAL, REMEMBERED_ADDRESSES);
        let mut exhausted_lines = OncePer::new(LINE_INTERVAL, 1);
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_the_peer(&error) => continue,
                Err(error) => {
                    // No descriptor or no memory: what waits in the backlog waits on, and who leaves makes room.
                    if exhausted_lines.permit((), self.service.mono()).is_some() {
                        warn!(target: "schloss.network", "listener {}: accept: {error}", self.spec.listener.name);
                    }
                    tokio::time::sleep(EXHAUSTED_REST).await;
                    continue;
                }
            };
            let name = &self.spec.listener.name;
            match self.slots.take(name, peer.ip(), self.service.mono()).await {
                Ok(slot) => self.hand_over(stream, peer, slot).await,
                Err(error) => {
                    if lines.permit(peer.ip(), self.service.mono()).is_some() {
                        let ip = peer.ip();
                        info!(target: "schloss.network", "listener {name}: rejected connection from {ip}: {error}");
                    }
                }
            }
        }
    }

    async fn hand_over(&self, stream: tokio::net::TcpStream, peer: SocketAddr, slot: ConnectionSlot) {
        let stream = stream.set_nodelay(true).and_then(|()| stream.into_std());
        let (Ok(stream), Some(processor)) = (stream, self.processors.iter().min_by_key(|p| p.load.connections()))
        else {
            return;
        };
        let arrival = Arrival { stream, peer, spec: Arc::clone(&self.spec), slot, pinned: processor.load.pin() };
        // A thread that has ended takes nothing: the broker is stopping.
        let _ = processor.arrivals.send(arrival).await;
    }
}

impl<S> fmt::Debug for Acceptor<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("spec", &self.spec).finish_non_exhaustive()
    }
}

/// The connection was gone before it was accepted.
fn is_of_the_peer(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
