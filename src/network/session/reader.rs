//! The reading half: handshake, frames, the door, admit and enqueue.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;

use super::{Ended, Reading, Session};
use crate::handlers::connection::Identity;
use crate::handlers::{AuthState, Order, Reply};
use crate::model::listener::SecurityProtocol;
use crate::network::connection::{Refused, Verdict, illegal_sasl_state, judge, note_answer};
use crate::network::frame::Next;
use crate::network::service::Service;
use crate::network::spoken::{Spoken, TELLING_BYTES};
use crate::network::transport::Filled;
use crate::protocol::api::ApiKey;
use crate::protocol::header::RequestHeader;
use crate::protocol::wire::Reader;
use crate::quota::memory::{Reservation, SMALL_FRAME_BYTES, Urgency};

/// Frames served in one turn before the answers get theirs.
const FRAMES_A_TURN: usize = 64;
/// Bytes that tell what a peer speaks.
const FIRST_BYTES: usize = 4;

impl<S: Service> Session<S> {
    /// Reads and serves until nothing more is to be read.
    pub(super) async fn read(&self) -> Ended {
        match self.read_to_end().await {
            Ok(()) => Ended::Eof,
            Err(ended) => ended,
        }
    }

    async fn read_to_end(&self) -> Result<(), Ended> {
        self.handshake().await?;
        let mut served = 0;
        while let Some(frame) = self.next_frame().await? {
            self.reading.set(Reading::Request);
            self.serve(frame).await?;
            served += 1;
            if served % FRAMES_A_TURN == 0 {
                yield_turn().await;
            }
        }
        Ok(())
    }

    async fn handshake(&self) -> Result<(), Ended> {
        if !self.connection.listener.protocol.is_tls() {
            return Ok(());
        }
        // The handshake goes on in any case: its alert is what the peer is told.
        let spoken = Box::pin(self.spoken_on_tls()).await.map_err(Ended::Handshake)?;
        let done = self.complete_handshake().await;
        match spoken {
            Some(spoken) => Err(Ended::Spoken(spoken)),
            None => done.map_err(Ended::Handshake),
        }
    }

    async fn complete_handshake(&self) -> io::Result<()> {
        loop {
            let step = self.transport.try_handshake(&mut self.frames.borrow_mut());
            match step {
                Ok(true) => break,
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.transport.has_outgoing() {
                        self.transport.writable().await?;
                    } else {
                        self.transport.readable().await?;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        self.deadlines.active(self.now());
        if self.connection.listener.protocol == SecurityProtocol::Ssl {
            let principal = (self.spec.principal_of)(&self.transport.peer_certificates());
            let identity = Identity { principal, mechanism: None, expires: None };
            *self.connection.auth.borrow_mut() = AuthState::Authenticated(identity);
            self.note_identity();
        }
        Ok(())
    }

    async fn spoken_on_tls(&self) -> io::Result<Option<Spoken>> {
        let mut first = [0; TELLING_BYTES];
        let count = self.transport.peek(&mut first).await?;
        Ok(Spoken::on_tls(first.get(..count).unwrap_or_default()))
    }

    /// The next frame; none at the end.
    async fn next_frame(&self) -> Result<Option<Bytes>, Ended> {
        self.room().await;
        loop {
            let next = self.frames.borrow_mut().step()?;
            match next {
                Next::Frame(frame) => {
                    self.deadlines.frame_ends();
                    return Ok(Some(frame));
                }
                Next::Admission { length, api_key } => {
                    self.deadlines.frame_ends();
                    let reservation = self.reserve(length, api_key).await;
                    self.deadlines.frame_begins(self.now(), length);
                    self.frames.borrow_mut().admit(length, reservation);
                }
                Next::Bytes => {
                    self.reading.set(Reading::Bytes);
                    if !self.fill().await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits until one more request may be read.
    async fn room(&self) {
        self.wait_for_writer(|session| session.responses.borrow().has_room()).await;
        loop {
            let muted = self.muted_until.get().since(self.now());
            if muted.is_zero() || self.broken.get() {
                return;
            }
            self.reading.set(Reading::Request);
            tokio::time::sleep(muted).await;
        }
    }

    /// Waits until every request is answered, if not sent.
    async fn answered(&self) {
        self.wait_for_writer(|session| session.responses.borrow().all_answered()).await;
    }

    async fn wait_for_writer(&self, done: impl Fn(&Self) -> bool) {
        poll_fn(|_| {
            if done(self) || self.broken.get() {
                return Poll::Ready(());
            }
            self.reading.set(Reading::Writer);
            Poll::Pending
        })
        .await;
    }

    /// Waits for the memory of a frame. Before a login nothing is reserved: its frames are small.
    async fn reserve(&self, length: usize, api_key: Option<i16>) -> Option<Reservation> {
        let account = self.account.borrow().clone()?;
        let bytes = u64::try_from(length).unwrap_or(u64::MAX);
        let urgent = bytes <= SMALL_FRAME_BYTES
            || self.connection.listener.is_controller
            || api_key.and_then(ApiKey::from_number).is_some_and(is_coordination);
        let urgency = if urgent { Urgency::Urgent } else { Urgency::Ordinary };
        self.reading.set(Reading::Request);
        Some(account.reserve(bytes, urgency).await)
    }

    /// Reads what is there, or waits for it; `false` at the end.
    async fn fill(&self) -> Result<bool, Ended> {
        loop {
            if self.broken.get() {
                return Ok(false);
            }
            let filled = self.transport.try_fill(&mut self.frames.borrow_mut());
            match filled {
                Ok(Filled::Bytes) => {
                    let now = self.now();
                    self.deadlines.active(now);
                    if !self.deadlines.in_frame() {
                        self.deadlines.frame_begins(now, 0);
                    }
                    return self.check_first_bytes().map(|()| true);
                }
                Ok(Filled::Eof) => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.frames.borrow_mut().park();
                    self.readable().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for the socket, for the writer to fail, or for the broker to stop.
    async fn readable(&self) -> Result<(), Ended> {
        let mut readable = pin!(self.transport.readable());
        poll_fn(|cx| {
            if self.broken.get() {
                return Poll::Ready(Ok(()));
            }
            if self.processor.stopping.get() && !self.frames.borrow().in_frame() {
                return Poll::Ready(Err(Ended::Stopping));
            }
            readable.as_mut().poll(cx).map_err(Ended::Io)
        })
        .await
    }

    /// A peer that speaks something else is told apart before its first bytes are taken for a length.
    fn check_first_bytes(&self) -> Result<(), Ended> {
        if self.first_seen.get() || self.connection.listener.protocol.is_tls() {
            return Ok(());
        }
        let frames = self.frames.borrow();
        let first = frames.pending();
        self.first_seen.set(first.len() >= FIRST_BYTES);
        Spoken::on_plaintext(first).map_or(Ok(()), |spoken| Err(Ended::Spoken(spoken)))
    }

    /// Takes one frame through the door, and its request through admit and enqueue.
    async fn serve(&self, frame: Bytes) -> Result<(), Ended> {
        let verdict = judge(&self.connection, &frame, self.now());
        let (reply, order) = match verdict {
            Verdict::Close(refused) => return Err(refused.into()),
            Verdict::Expired => return Err(Ended::Expired),
            Verdict::Token => {
                self.answered().await;
                (self.processor.service.token(&self.connection, frame).await, Order::Barrier)
            }
            Verdict::IllegalSaslState => (self.illegal_sasl_state(frame)?, Order::Barrier),
            Verdict::Request => self.dispatch(frame).await?,
        };
        match reply {
            Reply::Now(response) => {
                self.mute(response.mute);
                self.responses.borrow_mut().push_now(response);
            }
            Reply::Later(future) => self.responses.borrow_mut().push_later(future),
            Reply::None => {}
            Reply::CloseAfterFlush { response, delay } => {
                *self.last.borrow_mut() = Some((response, delay));
                return Err(Ended::AfterFlush);
            }
            Reply::Close(reason) => return Err(Ended::Request(reason)),
        }
        if order == Order::Barrier {
            self.answered().await;
        }
        self.note_identity();
        Ok(())
    }

    async fn dispatch(&self, frame: Bytes) -> Result<(Reply, Order), Ended> {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader)?;
        let order = self.processor.service.order(&self.connection, header.api_key);
        if order == Order::Barrier {
            self.answered().await;
            self.reading.set(Reading::Request);
        }
        let reply = self.processor.service.dispatch(&self.connection, &header, reader.into_rest()).await;
        if let Reply::Now(response) = &reply {
            note_answer(&self.connection, header.api_key, response);
        }
        Ok((reply, order))
    }

    fn illegal_sasl_state(&self, frame: Bytes) -> Result<Reply, Ended> {
        let header = RequestHeader::decode(&mut Reader::new(frame))?;
        *self.connection.auth.borrow_mut() = AuthState::Failed;
        let response = illegal_sasl_state(&header).ok_or(Refused::DuringAuthentication(header.api_key.number()))?;
        Ok(Reply::CloseAfterFlush { response, delay: self.connection.listener.failed_authentication_delay })
    }
}

/// The APIs that keep groups and the cluster together: their frames may draw on the reserve, whatever their size.
fn is_coordination(key: ApiKey) -> bool {
    matches!(
        key,
        ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::FindCoordinator
            | ApiKey::ConsumerGroupHeartbeat
            | ApiKey::WriteTxnMarkers
            | ApiKey::AddPartitionsToTxn
    )
}

/// Lets the writer, and then other connections, have a turn.
async fn yield_turn() {
    let mut yielded = false;
    poll_fn(|cx| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
