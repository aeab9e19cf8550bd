//! Answers leave in the order of their requests, whatever order they are ready in.
//!
//! A request takes its place when it is admitted. The answer at the front moves to the outbox as soon as it is there;
//! those behind it wait in their futures, so that a slow reader fills no memory. Precedent: Kafka answers one request of
//! a connection at a time; the order is what clients see of that.

use std::collections::VecDeque;
use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::LocalBoxFuture;

use crate::handlers::reply::LaterReply;
use crate::handlers::{CloseReason, Response};
use crate::network::outbox::Outbox;

/// Requests of one connection that are admitted and not answered; past it the socket is not read.
pub const IN_FLIGHT_REQUESTS: usize = 1000;
/// Bytes of answers in memory that wait to leave; past it the socket is not read and no answer is asked for. The
/// overshoot is one answer.
pub const WAITING_BYTES: usize = 1024 * 1024;

/// The answers of one connection.
#[derive(Default)]
pub struct Responses {
    waiting: VecDeque<Waiting>,
    /// Bytes of the answers in `waiting` that are there already.
    ready_bytes: usize,
    outbox: Outbox,
    closed: Option<CloseReason>,
    discarding: bool,
}

enum Waiting {
    Ready(Response),
    Later { future: LocalBoxFuture<'static, LaterReply>, started: bool },
}

/// What [`Responses::settle`] changed.
#[derive(Debug, Default)]
pub struct Settled {
    /// Some request was answered.
    pub any: bool,
    /// The longest time for which an answer asks that nothing be read.
    pub mute: Option<Duration>,
}

impl Responses {
    /// The next request's answer is there.
    pub fn push_now(&mut self, response: Response) {
        let bytes = response.bytes.len();
        if self.push(Waiting::Ready(response)) {
            self.ready_bytes += bytes;
        }
    }

    /// The next request's answer follows.
    pub fn push_later(&mut self, future: LocalBoxFuture<'static, LaterReply>) {
        self.push(Waiting::Later { future, started: false });
    }

    /// Moves what is ready to the outbox. Every future is polled once when it is new, and again when it is at the front.
    pub fn settle(&mut self, cx: &mut Context<'_>) -> Settled {
        let mut settled = Settled::default();
        while self.closed.is_none() && self.outbox.memory_bytes() < WAITING_BYTES {
            let reply = match self.waiting.pop_front() {
                None => break,
                Some(Waiting::Ready(response)) => {
                    self.ready_bytes -= response.bytes.len();
                    LaterReply::Respond(response)
                }
                Some(Waiting::Later { mut future, .. }) => match future.as_mut().poll(cx) {
                    Poll::Ready(reply) => reply,
                    Poll::Pending => {
                        self.waiting.push_front(Waiting::Later { future, started: true });
                        break;
                    }
                },
            };
            settled.any = true;
            match reply {
                LaterReply::Respond(response) => {
                    settled.mute = settled.mute.max(response.mute);
                    self.outbox.push_response(response);
                }
                LaterReply::None => {}
                LaterReply::Close(reason) => self.close(reason),
            }
        }
        self.start_new(cx);
        settled
    }

    /// Polls each future that was never polled: its waiting begins now, not when its turn comes.
    fn start_new(&mut self, cx: &mut Context<'_>) {
        let new = self.waiting.iter_mut().rev().take_while(|w| !matches!(w, Waiting::Later { started: true, .. }));
        for waiting in new {
            if let Waiting::Later { future, started } = waiting {
                *started = true;
                if let Poll::Ready(reply) = future.as_mut().poll(cx) {
                    *waiting = match reply {
                        LaterReply::Respond(response) => {
                            self.ready_bytes += response.bytes.len();
                            Waiting::Ready(response)
                        }
                        reply => Waiting::Later { future: Box::pin(std::future::ready(reply)), started: true },
                    };
                }
            }
        }
    }

    /// Requests that are admitted and whose answer has not left.
    pub fn in_flight(&self) -> usize {
        self.waiting.len() + self.outbox.len()
    }

    /// Every request is answered, if not sent.
    pub fn all_answered(&self) -> bool {
        self.waiting.is_empty()
    }

    /// One more request may be read.
    pub fn has_room(&self) -> bool {
        self.in_flight() < IN_FLIGHT_REQUESTS && self.outbox.memory_bytes() + self.ready_bytes < WAITING_BYTES
    }

    pub fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// A request ended so that the connection is to be closed when what was answered before it has left.
    pub fn closed(&self) -> Option<&CloseReason> {
        self.closed.as_ref()
    }

    /// Nobody reads any more: answers are dropped, here and from now on.
    pub fn discard(&mut self) {
        self.discarding = true;
        self.waiting.clear();
        self.ready_bytes = 0;
        self.outbox = Outbox::default();
    }

    fn close(&mut self, reason: CloseReason) {
        self.waiting.clear();
        self.ready_bytes = 0;
        self.closed = Some(reason);
    }

    /// `false`: nobody will be answered any more.
    fn push(&mut self, waiting: Waiting) -> bool {
        let wanted = !self.discarding && self.closed.is_none();
        if wanted {
            self.waiting.push_back(waiting);
        }
        wanted
    }
}

impl fmt::Debug for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responses").field("waiting", &self.waiting.len()).field("outbox", &self.outbox).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::future::poll_fn;
    use std::rc::Rc;
    use std::task::Waker;

    use super::*;

    fn response(length: usize) -> Response {
        Response { bytes: vec![0; length].into(), files: Vec::new(), mute: None }
    }

    fn settle(responses: &mut Responses) -> Settled {
        responses.settle(&mut Context::from_waker(Waker::noop()))
    }

    /// A future that is ready once its switch is on.
    fn later(switch: &Rc<Cell<bool>>, polled: &Rc<Cell<usize>>) -> LocalBoxFuture<'static, LaterReply> {
        let (switch, polled) = (Rc::clone(switch), Rc::clone(polled));
        Box::pin(poll_fn(move |_| {
            polled.set(polled.get() + 1);
            if switch.get() { Poll::Ready(LaterReply::Respond(response(10))) } else { Poll::Pending }
        }))
    }

    #[test]
    fn an_answer_waits_for_those_before_it() {
        let (switch, polled) = (Rc::new(Cell::new(false)), Rc::default());
        let mut responses = Responses::default();
        responses.push_later(later(&switch, &polled));
        responses.push_now(response(5));
        assert!(!settle(&mut responses).any);
        assert!(responses.outbox().is_empty());
        assert!(!responses.all_answered());
        switch.set(true);
        assert!(settle(&mut responses).any);
        assert!(responses.all_answered());
        assert_eq!(responses.in_flight(), 2);
        assert_eq!(responses.outbox().memory_bytes(), 15);
    }

    #[test]
    fn a_future_behind_another_starts_at_once_and_rests_until_its_turn() {
        let first = Rc::new(Cell::new(false));
        let polled: Rc<Cell<usize>> = Rc::default();
        let mut responses = Responses::default();
        responses.push_later(later(&first, &Rc::default()));
        responses.push_later(later(&Rc::new(Cell::new(false)), &polled));
        for _ in 0..3 {
            settle(&mut responses);
        }
        assert_eq!(polled.get(), 1);
        first.set(true);
        settle(&mut responses);
        assert_eq!(polled.get(), 2);
    }

    #[test]
    fn no_answer_is_asked_for_while_too_much_waits() {
        let mut responses = Responses::default();
        for _ in 0..4 {
            responses.push_now(response(WAITING_BYTES));
        }
        settle(&mut responses);
        assert_eq!(responses.outbox().memory_bytes(), WAITING_BYTES);
        assert!(!responses.has_room());
        responses.outbox().advance(WAITING_BYTES);
        assert!(!responses.has_room(), "what is ready behind it counts too");
        settle(&mut responses);
        responses.outbox().advance(1);
        settle(&mut responses);
        assert_eq!(responses.outbox().memory_bytes(), 2 * WAITING_BYTES - 1, "the overshoot is one answer");
    }

    #[test]
    fn a_close_drops_what_follows_and_keeps_what_came_before() {
        let mut responses = Responses::default();
        responses.push_now(response(5));
        responses.push_later(Box::pin(async { LaterReply::Close(CloseReason::Protocol("acks=0")) }));
        responses.push_now(response(5));
        settle(&mut responses);
        assert!(responses.closed().is_some() && responses.all_answered());
        assert_eq!(responses.outbox().memory_bytes(), 5);
    }

    #[test]
    fn the_cap_on_requests_in_flight_counts_those_without_an_answer() {
        let mut responses = Responses::default();
        for _ in 0..IN_FLIGHT_REQUESTS {
            assert!(responses.has_room());
            responses.push_later(Box::pin(std::future::pending()));
        }
        assert!(!responses.has_room());
        responses.discard();
        assert!(responses.all_answered());
    }
}
