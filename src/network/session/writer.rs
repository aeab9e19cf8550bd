//! The writing half: answers in order, files from where they lie, the last words of a connection.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Reading, Session};
use crate::handlers::Response;
use crate::log::segment::FileRange;
use crate::network::outbox::FileBytes as _;
use crate::network::service::Service;
use crate::network::transport::Sent;

/// What the writer does next.
enum Work {
    Send,
    /// Everything before it has left.
    Last(Response, Duration),
    /// Nothing will follow.
    Finished,
}

impl<S: Service> Session<S> {
    /// Writes until nothing will follow.
    pub(super) async fn write(&self) -> io::Result<()> {
        loop {
            match poll_fn(|cx| self.work(cx)).await {
                Work::Send => self.send().await?,
                Work::Last(response, delay) => {
                    tokio::time::sleep(delay).await;
                    self.responses.borrow_mut().outbox().push_response(response);
                }
                Work::Finished => return Ok(()),
            }
        }
    }

    fn work(&self, cx: &mut Context<'_>) -> Poll<Work> {
        let mut responses = self.responses.borrow_mut();
        let settled = responses.settle(cx);
        self.mute(settled.mute);
        if (self.progress.take() || settled.any) && self.reading.get() == Reading::Writer {
            cx.waker().wake_by_ref();
        }
        if !responses.outbox().is_empty() || self.transport.has_outgoing() {
            return Poll::Ready(Work::Send);
        }
        if responses.closed().is_some() {
            return Poll::Ready(Work::Finished);
        }
        if self.reading.get() == Reading::Done && responses.all_answered() {
            return Poll::Ready(match self.last.take() {
                Some((response, delay)) => Work::Last(response, delay),
                None => Work::Finished,
            });
        }
        Poll::Pending
    }

    /// Sends one piece, or waits until one can be sent.
    async fn send(&self) -> io::Result<()> {
        let sent = self.transport.try_send(self.responses.borrow_mut().outbox());
        match sent {
            Ok(Sent::Answers(complete)) => {
                self.progress.set(true);
                self.deadlines.active(self.now());
                let front = self.responses.borrow_mut().outbox().front();
                if complete > 0 || front.is_some_and(|answer| answer.from_files) {
                    self.deadlines.write_resumes();
                }
                tokio::task::coop::consume_budget().await;
                Ok(())
            }
            Ok(Sent::All) => {
                self.deadlines.write_resumes();
                Ok(())
            }
            Ok(Sent::Cold { range, at, length }) => self.warm(range, at, length).await,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let front = self.responses.borrow_mut().outbox().front();
                self.deadlines.write_stalls(self.now(), front, self.spec.max_idle);
                self.transport.writable().await
            }
            Err(error) => Err(error),
        }
    }

    /// Reads from the disk, on a thread that may wait for it.
    async fn warm(&self, range: FileRange, at: usize, length: usize) -> io::Result<()> {
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; length];
            range.read_exactly(at, &mut bytes).map(|()| bytes)
        });
        let bytes = read.await.map_err(io::Error::other)??;
        self.responses.borrow_mut().outbox().warm(bytes.into());
        Ok(())
    }

    /// Stops reading for a while (KIP-219).
    pub(super) fn mute(&self, mute: Option<Duration>) {
        if let Some(mute) = mute {
            self.muted_until.set(self.muted_until.get().max(self.now().plus(mute)));
        }
    }
}
