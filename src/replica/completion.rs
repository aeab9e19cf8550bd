//! A value that one thread makes and a task on another waits for: one allocation, no runtime.
//!
//! The making side says what is to be woken and leaves the waking to its caller ([`Wakes`]), so that a lane wakes each
//! runtime once a drain.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;

use super::doorbell::{Sleeper, Wakes};

/// The waiting side: a future.
#[derive(Debug)]
pub struct Completion<T>(Arc<Mutex<State<T>>>);

/// The making side. Dropping it ends the wait with [`Abandoned`].
#[derive(Debug)]
pub struct Completer<T>(Option<Arc<Mutex<State<T>>>>);

/// Nobody will make the value: what should have made it has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the work was given up before it was done")]
pub struct Abandoned;

#[derive(Debug)]
enum State<T> {
    Waiting(Option<Sleeper>),
    Ready(Result<T, Abandoned>),
    Taken,
}

/// Both sides of one value.
pub fn completion<T>() -> (Completer<T>, Completion<T>) {
    let shared = Arc::new(Mutex::new(State::Waiting(None)));
    (Completer(Some(Arc::clone(&shared))), Completion(shared))
}

impl<T> Completer<T> {
    /// Hands the value over; who waits for it is woken with the rest of `wakes`.
    pub fn complete(mut self, value: T, wakes: &mut Wakes) {
        if let Some(shared) = self.0.take() {
            wakes.extend(finish(&shared, Ok(value)));
        }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        if let Some(sleeper) = self.0.take().and_then(|shared| finish(&shared, Err(Abandoned))) {
            sleeper.wake();
        }
    }
}

fn finish<T>(shared: &Mutex<State<T>>, value: Result<T, Abandoned>) -> Option<Sleeper> {
    match std::mem::replace(&mut *shared.lock(), State::Ready(value)) {
        State::Waiting(sleeper) => sleeper,
        State::Ready(_) | State::Taken => None,
    }
}

impl<T> Future for Completion<T> {
    type Output = Result<T, Abandoned>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.0.lock();
        match &mut *state {
            State::Waiting(sleeper) => {
                *sleeper = Some(Sleeper::new(context));
                Poll::Pending
            }
            State::Ready(_) => match std::mem::replace(&mut *state, State::Taken) {
                State::Ready(value) => Poll::Ready(value),
                State::Waiting(_) | State::Taken => Poll::Ready(Err(Abandoned)),
            },
            State::Taken => Poll::Ready(Err(Abandoned)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn poll<T>(completion: &mut Completion<T>) -> Poll<Result<T, Abandoned>> {
        Pin::new(completion).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_value_arrives_once() {
        let (completer, mut waiting) = completion();
        assert!(poll(&mut waiting).is_pending());
        completer.complete(7, &mut Wakes::default());
        assert_eq!(poll(&mut waiting), Poll::Ready(Ok(7)));
    }

    #[test]
    fn a_dropped_maker_ends_the_wait() {
        let (completer, mut waiting) = completion::<()>();
        assert!(poll(&mut waiting).is_pending());
        drop(completer);
        assert_eq!(poll(&mut waiting), Poll::Ready(Err(Abandoned)));
    }
}
