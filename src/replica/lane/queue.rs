//! The bounded queue in front of a lane.
//!
//! Pushing never blocks: a full queue hands the command back, and the pusher awaits space where it can. Every push has a
//! number; whoever wants to read what it wrote waits until the lane is past that number. No lock of this file is held
//! across a system call, except the futex that wakes a sleeping lane.

use std::collections::VecDeque;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::replica::doorbell::{Sleeper, Wakes};

/// Commands on their way to one lane.
#[derive(Debug)]
pub struct LaneQueue<C> {
    limit: usize,
    inside: Mutex<Inside<C>>,
    filled: Condvar,
}

#[derive(Debug)]
struct Inside<C> {
    commands: VecDeque<C>,
    /// Commands that were ever accepted, and how many of them are done.
    pushed: u64,
    done: u64,
    is_closed: bool,
    /// The lane's thread waits in [`LaneQueue::wait`].
    is_asleep: bool,
    /// How often the thread had to be woken.
    wakes: u64,
    /// Tasks that wait for space: at most one a connection.
    for_space: Vec<Sleeper>,
    /// Tasks that wait for a command to be done: at most one a request in flight.
    for_done: Vec<(u64, Sleeper)>,
}

impl<C> Inside<C> {
    fn is_done(&self, ticket: Ticket) -> bool {
        self.done >= ticket.0 || (self.is_closed && self.commands.is_empty())
    }
}

/// The position of a command in its lane: see [`LaneQueue::poll_done`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Ticket(pub u64);

/// Why a command was not taken; it is handed back.
#[derive(Debug)]
pub enum PushError<C> {
    /// Wait for [`LaneQueue::poll_space`] and push again.
    Full(C),
    /// The lane is shutting down.
    Closed(C),
}

impl<C> LaneQueue<C> {
    /// A queue of at most `limit` commands. (What the commands hold is bounded by the memory budget of the requests.)
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            inside: Mutex::new(Inside {
                commands: VecDeque::new(),
                pushed: 0,
                done: 0,
                is_closed: false,
                is_asleep: false,
                wakes: 0,
                for_space: Vec::new(),
                for_done: Vec::new(),
            }),
            filled: Condvar::new(),
        }
    }

    /// # Errors
    /// [`PushError`] with the command.
    pub fn push(&self, command: C) -> Result<Ticket, PushError<C>> {
        let inside = self.inside.lock();
        if inside.is_closed {
            return Err(PushError::Closed(command));
        }
        if inside.commands.len() >= self.limit {
            return Err(PushError::Full(command));
        }
        Ok(self.accept(inside, command))
    }

    /// Pushes however full the queue is: for the few commands that come from the metadata log, which can't wait for space.
    /// A closed queue drops the command.
    pub fn push_control(&self, command: C) -> Ticket {
        let inside = self.inside.lock();
        if inside.is_closed {
            return Ticket(inside.pushed);
        }
        self.accept(inside, command)
    }

    fn accept(&self, mut inside: parking_lot::MutexGuard<'_, Inside<C>>, command: C) -> Ticket {
        inside.commands.push_back(command);
        inside.pushed += 1;
        let ticket = Ticket(inside.pushed);
        let wake = std::mem::take(&mut inside.is_asleep);
        inside.wakes += u64::from(wake);
        drop(inside);
        if wake {
            self.filled.notify_one();
        }
        ticket
    }

    /// Ready when a push may succeed. Others may be faster: push again and, if need be, wait again.
    pub fn poll_space(&self, context: &Context<'_>) -> Poll<()> {
        let mut inside = self.inside.lock();
        if inside.is_closed || inside.commands.len() < self.limit {
            return Poll::Ready(());
        }
        inside.for_space.push(Sleeper::new(context));
        Poll::Pending
    }

    /// Ready when the command of `ticket` and all before it are done.
    pub fn poll_done(&self, ticket: Ticket, context: &Context<'_>) -> Poll<()> {
        let mut inside = self.inside.lock();
        if inside.is_done(ticket) {
            return Poll::Ready(());
        }
        inside.for_done.push((ticket.0, Sleeper::new(context)));
        Poll::Pending
    }

    pub fn is_empty(&self) -> bool {
        self.inside.lock().commands.is_empty()
    }

    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.inside.lock().is_done(ticket)
    }

    /// Moves everything into `into`; who waited for space is woken with `wakes`.
    pub fn drain(&self, into: &mut Vec<C>, wakes: &mut Wakes) {
        let mut inside = self.inside.lock();
        into.extend(inside.commands.drain(..));
        wakes.extend(inside.for_space.drain(..));
    }

    /// If nothing stands in the queue: the number of a command that its bringer carries out itself, as if it had.
    pub fn try_count_inline(&self) -> Option<Ticket> {
        let mut inside = self.inside.lock();
        if inside.is_closed || !inside.commands.is_empty() {
            return None;
        }
        inside.pushed += 1;
        Some(Ticket(inside.pushed))
    }

    /// `count` more commands are done.
    pub fn done(&self, count: usize, wakes: &mut Wakes) {
        let mut inside = self.inside.lock();
        inside.done = inside.done.saturating_add(u64::try_from(count).unwrap_or(u64::MAX)).min(inside.pushed);
        let done = inside.done;
        let (ready, waiting) = std::mem::take(&mut inside.for_done).into_iter().partition(|(at, _)| *at <= done);
        inside.for_done = waiting;
        drop(inside);
        let ready: Vec<(u64, Sleeper)> = ready;
        wakes.extend(ready.into_iter().map(|(_, sleeper)| sleeper));
    }

    /// Sleeps until there is a command, the queue is closed or `at_most` has passed. For the lane's own thread.
    pub fn wait(&self, at_most: Duration) {
        let mut inside = self.inside.lock();
        if inside.commands.is_empty() && !inside.is_closed {
            inside.is_asleep = true;
            self.filled.wait_for(&mut inside, at_most);
            inside.is_asleep = false;
        }
    }

    /// No command is accepted from here on.
    pub fn close(&self) {
        let mut inside = self.inside.lock();
        inside.is_closed = true;
        let mut wakes = Wakes::default();
        wakes.extend(inside.for_space.drain(..));
        drop(inside);
        self.filled.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.inside.lock().is_closed
    }

    /// How often another thread had to wake the lane.
    pub fn wake_count(&self) -> u64 {
        self.inside.lock().wakes
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, poll_fn};
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Wake, Waker};
    use std::thread::Thread;

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(value) => return value,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    #[test]
    fn full_hands_back_and_space_is_announced() {
        let queue = LaneQueue::new(2);
        queue.push(1).unwrap();
        queue.push(2).unwrap();
        assert!(matches!(queue.push(3), Err(PushError::Full(3))));
        assert!(queue.poll_space(&Context::from_waker(Waker::noop())).is_pending());
        let mut drained = Vec::new();
        queue.drain(&mut drained, &mut Wakes::default());
        assert_eq!(drained, [1, 2]);
        assert!(queue.poll_space(&Context::from_waker(Waker::noop())).is_ready());
        queue.close();
        assert!(matches!(queue.push(3), Err(PushError::Closed(3))));
    }

    #[test]
    fn who_reads_what_it_wrote_waits_for_its_number() {
        let queue = LaneQueue::new(10);
        let first = queue.push(()).unwrap();
        let second = queue.push(()).unwrap();
        queue.done(1, &mut Wakes::default());
        let context = Context::from_waker(Waker::noop());
        assert!(queue.poll_done(first, &context).is_ready());
        assert!(queue.poll_done(second, &context).is_pending());
        assert_eq!(queue.try_count_inline(), None, "what stands in the queue came first");
        queue.drain(&mut Vec::new(), &mut Wakes::default());
        let inline = queue.try_count_inline().unwrap();
        queue.done(1, &mut Wakes::default());
        assert!(queue.poll_done(second, &context).is_ready());
        assert!(queue.poll_done(inline, &context).is_pending());
    }

    /// Three pushers against a small queue and a lane that sleeps whenever it can: everything arrives, in each pusher's
    /// order, and nobody sleeps for ever.
    #[test]
    fn nothing_is_lost_between_pushers_and_a_sleepy_lane() {
        const EACH: u32 = 20_000;
        let queue = Arc::new(LaneQueue::new(7));
        let pushers: Vec<_> = (0..3)
            .map(|who| {
                let queue = Arc::clone(&queue);
                std::thread::spawn(move || {
                    for n in 0..EACH {
                        let mut command = (who, n);
                        let ticket = loop {
                            match queue.push(command) {
                                Ok(ticket) => break ticket,
                                Err(PushError::Full(back)) => {
                                    command = back;
                                    block_on(poll_fn(|context| queue.poll_space(context)));
                                }
                                Err(PushError::Closed(_)) => panic!("closed"),
                            }
                        };
                        if n % 1000 == 999 {
                            block_on(poll_fn(|context| queue.poll_done(ticket, context)));
                        }
                    }
                })
            })
            .collect();
        let mut next = [0; 3];
        let mut drained = Vec::new();
        let mut idle = 0;
        while next != [EACH; 3] {
            let mut wakes = Wakes::default();
            queue.wait(Duration::from_millis(500));
            queue.drain(&mut drained, &mut wakes);
            idle = if drained.is_empty() { idle + 1 } else { 0 };
            assert!(idle < 20, "the pushers sleep although there is space: {next:?}");
            queue.done(drained.len(), &mut wakes);
            for (who, n) in drained.drain(..) {
                assert_eq!(n, next[who], "out of order");
                next[who] += 1;
            }
        }
        pushers.into_iter().for_each(|thread| thread.join().unwrap());
    }
}
