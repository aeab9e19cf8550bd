//! The deadlines of one connection, and the future that ends it when one has passed.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use super::{Ended, Reading, Session};
use crate::model::time::Mono;
use crate::network::frame::transfer_deadline;
use crate::network::outbox::Answer;
use crate::network::service::Service;

/// From accept to the end of the TLS handshake or the login.
pub(super) const LOGIN: Duration = Duration::from_secs(30);
/// After the last frame: what was read is answered within this time, or the answers are dropped.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// Points in time, each set while its reason lasts.
#[derive(Debug)]
pub(super) struct Deadlines {
    active_at: Cell<Mono>,
    login: Cell<Option<Mono>>,
    frame: Cell<Option<Mono>>,
    write: Cell<Option<Mono>>,
    last_answers: Cell<Option<Mono>>,
}

impl Deadlines {
    pub(super) fn new(now: Mono) -> Self {
        Self {
            active_at: Cell::new(now),
            login: Cell::new(Some(now.plus(LOGIN))),
            frame: Cell::new(None),
            write: Cell::new(None),
            last_answers: Cell::new(None),
        }
    }

    /// Bytes came or left.
    pub(super) fn active(&self, now: Mono) {
        self.active_at.set(now);
    }

    pub(super) fn logged_in(&self) {
        self.login.set(None);
    }

    /// The rest of a frame of `length` bytes is due; without a length, the length itself is.
    pub(super) fn frame_begins(&self, now: Mono, length: usize) {
        self.frame.set(Some(now.plus(transfer_deadline(length))));
    }

    pub(super) fn frame_ends(&self) {
        self.frame.set(None);
    }

    pub(super) fn in_frame(&self) -> bool {
        self.frame.get().is_some()
    }

    /// The socket takes nothing more. A reader of memory is given the time its answer's size allows; a reader of files,
    /// who holds none, as long as an idle connection (Kafka's consumers may leave an answer unread between two polls).
    pub(super) fn write_stalls(&self, now: Mono, answer: Option<Answer>, idle: Duration) {
        if self.write.get().is_none() {
            let patience = match answer {
                Some(Answer { from_files: true, left }) => idle.max(transfer_deadline(left)),
                Some(Answer { left, .. }) => transfer_deadline(left),
                None => transfer_deadline(0),
            };
            self.write.set(Some(now.plus(patience)));
        }
    }

    pub(super) fn write_resumes(&self) {
        self.write.set(None);
    }

    pub(super) fn reading_ended(&self, now: Mono) {
        self.frame.set(None);
        self.last_answers.set(Some(now.plus(LAST_ANSWERS)));
    }

    /// The next one, and what it ends with. `idle`: the time after which a connection that may be idle is.
    fn next(&self, idle: Option<Duration>) -> Option<(Mono, Ended)> {
        let due = [
            (self.login.get(), Ended::Login),
            (self.frame.get(), Ended::SlowFrame),
            (self.write.get(), Ended::SlowReader),
            (self.last_answers.get(), Ended::Eof),
            (idle.map(|idle| self.active_at.get().plus(idle)), Ended::Idle),
        ];
        due.into_iter().filter_map(|(at, ended)| Some((at?, ended))).min_by_key(|(at, _)| *at)
    }
}

impl<S: Service> Session<S> {
    /// Ends when a deadline has passed. Polled last in every turn; it sleeps until the earliest deadline it has seen, and
    /// looks again then, so that deadlines that move away cost nothing.
    pub(super) async fn watch(&self) -> Ended {
        let mut sleep = pin!(tokio::time::sleep(Duration::ZERO));
        let mut armed: Option<Mono> = None;
        poll_fn(|cx| {
            loop {
                let may_be_idle = self.reading.get() == Reading::Bytes && self.responses.borrow().in_flight() == 0;
                let Some((due, ended)) = self.deadlines.next(may_be_idle.then_some(self.spec.max_idle)) else {
                    return Poll::Pending;
                };
                if armed.is_none_or(|armed| due < armed) {
                    let now = self.now();
                    if due <= now {
                        return Poll::Ready(ended);
                    }
                    sleep.set(tokio::time::sleep(due.since(now)));
                    armed = Some(due);
                }
                if sleep.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                armed = None;
            }
        })
        .await
    }
}
