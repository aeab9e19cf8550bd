//! Sockets: listeners, TLS, frames, the state of a connection and the task that serves it.
//!
//! Every byte enters here and becomes a principal before a handler sees it. Kept contracts: *A connection* (three stages
//! in order, answers in order, caps, one deadline before a login, the API key before the body) and *Memory* (nothing for
//! what was only declared, a frame moves once, answers are read from their files and dropped if the socket is full).
//! Each connection lives on one thread, with a runtime of its own, from accept to end.
//!
//! Precedent: Kafka's `SocketServer`, `Acceptor`, `Processor`, `Selector`. Must not know what a request means: that is
//! `handlers/`; nor what a topic, a partition or a group is.

pub mod connection;
pub mod frame;
pub mod listener;
pub mod outbound;
pub mod outbox;
pub mod pool;
pub mod processor;
pub mod responses;
pub mod scratch;
pub mod service;
pub mod session;
pub mod spoken;
pub mod tls;
pub mod transport;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use self::listener::{Acceptor, BindError, BoundListener, ListenerSpec, Slots};
use self::processor::Facilities;
use self::service::Service;
use crate::quota::memory::Budget;

/// What all listeners share.
#[derive(Debug)]
pub struct Options {
    /// Threads that serve connections: `num.network.threads`, at most one a core.
    pub threads: usize,
    /// `queued.max.request.bytes`
    pub budget: Arc<Budget>,
    pub slots: Arc<Slots>,
}

/// The open listeners and the threads behind them.
pub struct Network {
    bound: Vec<BoundListener>,
    slots: Arc<Slots>,
    stopping: watch::Sender<Option<Duration>>,
    threads: Vec<JoinHandle<()>>,
}

/// The network can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("network thread: {0}")]
    Thread(#[from] io::Error),
}

impl Network {
    /// Binds every listener. Blocks meanwhile. Whoever connects waits in the backlog until [`Bound::serve`].
    ///
    /// # Errors
    /// A listener can't be bound; then none is.
    pub fn bind(specs: Vec<ListenerSpec>) -> Result<Bound, StartError> {
        let specs: Vec<_> = specs.into_iter().map(Arc::new).collect();
        let sockets = bind_all(&specs)?;
        let bound = specs.iter().filter_map(|spec| spec.bound_listener()).collect();
        Ok(Bound { specs, sockets, bound })
    }

    /// The listeners, in the order they were asked for.
    pub fn bound(&self) -> &[BoundListener] {
        &self.bound
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.slots.total()
    }

    /// Accepts and reads nothing more, finishes what is in flight for at most `grace`, and ends the threads. Blocks.
    pub fn shutdown(mut self, grace: Duration) {
        self.stopping.send_replace(Some(grace));
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Listeners that are bound and not served yet.
#[derive(Debug)]
pub struct Bound {
    specs: Vec<Arc<ListenerSpec>>,
    sockets: Vec<std::net::TcpListener>,
    bound: Vec<BoundListener>,
}

impl Bound {
    /// The listeners, in the order they were asked for.
    pub fn listeners(&self) -> &[BoundListener] {
        &self.bound
    }

    /// Starts the threads that accept and serve.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn serve<S: Service>(self, service: &S, options: Options) -> Result<Network, StartError> {
        let Self { specs, sockets, bound } = self;
        let facilities = Arc::new(Facilities::new(options.budget));
        let _ = facilities.bound.set(bound.clone());
        let slots = options.slots;
        let (stopping, stop) = watch::channel(None);
        let (handles, receivers): (Vec<_>, Vec<_>) = (0..options.threads.max(1)).map(|_| processor::channel()).unzip();
        let handles: Arc<[_]> = handles.into();
        let mut acceptors: Vec<Vec<_>> = receivers.iter().map(|_| Vec::new()).collect();
        let places = acceptors.len();
        for (i, (spec, listener)) in specs.into_iter().zip(sockets).enumerate() {
            let acceptor = Acceptor {
                spec,
                slots: Arc::clone(&slots),
                processors: Arc::clone(&handles),
                service: service.clone(),
                stopping: stop.clone(),
            };
            if let Some(place) = acceptors.get_mut(i % places) {
                place.push((acceptor, listener));
            }
        }
        let mut network = Network { bound, slots, stopping, threads: Vec::new() };
        for (i, (arrivals, acceptors)) in receivers.into_iter().zip(acceptors).enumerate() {
            let (service, facilities, stop) = (service.clone(), Arc::clone(&facilities), stop.clone());
            let thread = std::thread::Builder::new().name(format!("schloss-network-{i}"));
            let run = move || {
                if let Err(error) = processor::run(service, facilities, arrivals, acceptors, stop) {
                    tracing::error!(target: "schloss.network", "network thread: {error}");
                }
            };
            network.threads.push(thread.spawn(run)?);
        }
        Ok(network)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.stopping.send_replace(Some(Duration::ZERO));
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// Binds on a thread of its own, for the caller may stand in a runtime.
fn bind_all(specs: &[Arc<ListenerSpec>]) -> Result<Vec<std::net::TcpListener>, StartError> {
    let specs = specs.to_vec();
    let bind = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut listeners = Vec::new();
            for spec in &specs {
                listeners.push(spec.bind().await?.into_std()?);
            }
            Ok(listeners)
        })
    };
    let bound = std::thread::Builder::new().name("schloss-bind".to_owned()).spawn(bind)?.join();
    bound.unwrap_or_else(|_| Err(io::Error::other("the thread that binds has panicked").into()))
}

#[cfg(test)]
mod tests;
