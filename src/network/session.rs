//! The task that serves one connection: reads, admits in order, writes in order, keeps the deadlines.
//!
//! Three futures in one task, polled in this order, share the connection's state: the *reader* (handshake, frames, the
//! door, admit and enqueue), the *writer* (answers) and the *watch* (deadlines). What one changes, the next sees in the
//! same turn; only the writer has to wake the reader. Nothing here holds an effect: when the task is dropped, answers are
//! lost and nothing else. Precedent: Kafka's `Processor`, which mutes a channel while one of its requests is under way.

mod deadlines;
mod reader;
mod writer;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use self::deadlines::Deadlines;
use crate::handlers::{AuthState, CloseReason, Connection, Response};
use crate::model::time::Mono;
use crate::network::connection::Refused;
use crate::network::frame::{FrameError, FrameReader};
use crate::network::listener::ListenerSpec;
use crate::network::processor::Processor;
use crate::network::responses::Responses;
use crate::network::service::Service;
use crate::network::spoken::Spoken;
use crate::network::transport::Transport;
use crate::protocol::wire::DecodeError;
use crate::quota::memory::Account;

/// How long a connection that ends with an answer waits for the peer to take it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    #[error("the peer has closed the connection")]
    Eof,
    #[error("the broker is shutting down")]
    Stopping,
    #[error("the last answer is sent")]
    AfterFlush,
    #[error("{0}")]
    Refused(#[from] Refused),
    #[error("the session has expired and the client did not log in again")]
    Expired,
    #[error("{0}")]
    Frame(#[from] FrameError),
    #[error("request header: {0}")]
    Header(#[from] DecodeError),
    #[error("{0}")]
    Request(CloseReason),
    #[error("speaks {0}")]
    Spoken(Spoken),
    #[error("TLS handshake: {0}")]
    Handshake(io::Error),
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("nothing was heard for connections.max.idle.ms")]
    Idle,
    #[error("not logged in within {} s", deadlines::LOGIN.as_secs())]
    Login,
    #[error("the rest of a frame did not come in time")]
    SlowFrame,
    #[error("answers are read too slowly")]
    SlowReader,
}

/// One connection.
pub struct Session<S> {
    processor: Rc<Processor<S>>,
    spec: Arc<ListenerSpec>,
    connection: Rc<Connection>,
    transport: Transport,
    frames: RefCell<FrameReader>,
    responses: RefCell<Responses>,
    /// The connection's account with the memory budget, once it speaks for somebody.
    account: RefCell<Option<Arc<Account>>>,
    /// The answer after which the connection is closed, and how long it is held back.
    last: RefCell<Option<(Response, Duration)>>,
    reading: Cell<Reading>,
    /// The writer made progress that the reader may be waiting for.
    progress: Cell<bool>,
    /// Nobody takes answers any more: what was read is still served, nothing more is read.
    broken: Cell<bool>,
    /// What the peer speaks was told by its first bytes.
    first_seen: Cell<bool>,
    muted_until: Cell<Mono>,
    deadlines: Deadlines,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reading {
    /// Waits for bytes: the connection may be idle.
    Bytes,
    /// Serves a request, or waits for memory.
    Request,
    /// Waits for the writer: for an answer or for room.
    Writer,
    /// Nothing more is read.
    Done,
}

impl<S: Service> Session<S> {
    /// `connection.auth` says what the listener asks for: a login, or nothing.
    pub fn new(
        processor: Rc<Processor<S>>,
        spec: Arc<ListenerSpec>,
        connection: Connection,
        transport: Transport,
    ) -> Self {
        let now = processor.service.mono();
        let frames = FrameReader::new(spec.frame_limits.unauthenticated);
        let session = Self {
            processor,
            spec,
            connection: Rc::new(connection),
            transport,
            frames: RefCell::new(frames),
            responses: RefCell::default(),
            account: RefCell::default(),
            last: RefCell::default(),
            reading: Cell::new(Reading::Bytes),
            progress: Cell::new(false),
            broken: Cell::new(false),
            first_seen: Cell::new(false),
            muted_until: Cell::new(now),
            deadlines: Deadlines::new(now),
        };
        session.note_identity();
        session
    }

    /// Serves the connection until it ends.
    pub async fn run(self) {
        let ended = {
            let mut reader = pin!(self.read());
            let mut writer = pin!(self.write());
            let mut watch = pin!(self.watch());
            let mut stop = pin!(self.processor.stop.notified());
            let mut read_ended = None;
            let mut write_error = None;
            poll_fn(|cx| {
                // Wakes this task when the broker stops; the reader sees it between two frames.
                let _ = stop.as_mut().poll(cx);
                if self.processor.stopping.get() && self.account.borrow().is_none() {
                    return Poll::Ready(Ended::Stopping);
                }
                if read_ended.is_none()
                    && let Poll::Ready(ended) = reader.as_mut().poll(cx)
                {
                    self.reading.set(Reading::Done);
                    self.deadlines.reading_ended(self.now());
                    read_ended = Some(ended);
                }
                if write_error.is_none() {
                    match writer.as_mut().poll(cx) {
                        Poll::Ready(Ok(())) => {
                            let closed = self.responses.borrow().closed().cloned().map(Ended::Request);
                            return Poll::Ready(closed.or(read_ended.take()).unwrap_or(Ended::Eof));
                        }
                        Poll::Ready(Err(error)) => {
                            write_error = Some(error);
                            self.break_off(cx);
                        }
                        Poll::Pending => {}
                    }
                }
                if read_ended.is_some()
                    && let Some(error) = write_error.take()
                {
                    return Poll::Ready(Ended::Io(error));
                }
                watch.as_mut().poll(cx)
            })
            .await
        };
        self.processor.report(&self.spec, &self.connection, &ended);
        self.close(ended).await;
    }

    /// The peer is gone: drops the answers and lets the reader serve what it has.
    fn break_off(&self, cx: &Context<'_>) {
        self.responses.borrow_mut().discard();
        self.broken.set(true);
        self.deadlines.reading_ended(self.now());
        cx.waker().wake_by_ref();
    }

    async fn close(self, ended: Ended) {
        let logged_in = self.account.borrow().is_some();
        let delay = self.connection.listener.failed_authentication_delay;
        match ended {
            // As Kafka: what fails before a login is told no sooner than a wrong password.
            Ended::Refused(_) | Ended::Frame(_) | Ended::Header(_) | Ended::Request(_)
                if !logged_in && self.connection.listener.protocol.is_sasl() =>
            {
                tokio::time::sleep(delay).await;
            }
            Ended::AfterFlush | Ended::Stopping | Ended::Handshake(_) | Ended::Spoken(_) => {
                let _ = tokio::time::timeout(LAST_WORDS, self.transport.close_gently()).await;
            }
            _ => {}
        }
    }

    /// Follows a change of who the connection speaks for.
    fn note_identity(&self) {
        if self.account.borrow().is_some() {
            return;
        }
        let AuthState::Authenticated(identity) = &*self.connection.auth.borrow() else { return };
        let limit = self.spec.frame_limits.limit(Some(&identity.principal));
        self.frames.borrow_mut().set_limit(limit);
        *self.account.borrow_mut() = Some(self.processor.budget.account(&identity.principal));
        self.deadlines.logged_in();
    }

    fn now(&self) -> Mono {
        self.processor.service.mono()
    }
}

impl<S> fmt::Debug for Session<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("connection", &self.connection).finish_non_exhaustive()
    }
}
