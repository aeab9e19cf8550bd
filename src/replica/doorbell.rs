//! One wake of a runtime for everything a lane has finished.
//!
//! A task of a current-thread runtime that is woken from another thread costs a write to that runtime's event descriptor,
//! each time. A lane finishes many appends in one drain, so it does not wake tasks: it collects their wakers by runtime in
//! [`Wakes`] and rings each runtime's [`Doorbell`] once. A task on the runtime ([`Doorbell::serve`]) then wakes the others
//! where waking is only a push to a local queue.
//!
//! [`Belled`] does the same for a future whose waker somebody else keeps: whoever completes it, and many others with it,
//! wakes its runtime once.
//!
//! Knows no runtime: it speaks `std::task`. A thread without a doorbell is woken directly.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// How often a runtime of this process had to be woken by another thread.
static RINGS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    static CURRENT: RefCell<Option<Arc<Doorbell>>> = const { RefCell::new(None) };
}

/// The place where other threads leave the wakers of one runtime's tasks.
#[derive(Debug, Default)]
pub struct Doorbell {
    inside: Mutex<Inside>,
    rings: AtomicU64,
}

#[derive(Debug, Default)]
struct Inside {
    /// Bounded by what the tasks of the runtime wait for: one waker for each, so for each request in flight at most.
    left: Vec<Waker>,
    server: Option<Waker>,
    /// Where [`Self::left`] goes while it is woken: both keep their memory.
    emptied: Vec<Waker>,
}

impl Doorbell {
    /// Makes the doorbell of the calling thread. The runtime of this thread must run [`Self::serve`] for as long as it lives.
    pub fn install() -> Arc<Self> {
        let bell = Arc::new(Self::default());
        CURRENT.with(|current| *current.borrow_mut() = Some(Arc::clone(&bell)));
        bell
    }

    /// The doorbell of the calling thread, if it has one.
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.with(|current| current.borrow().clone())
    }

    /// Wakes, on the runtime's own thread, the tasks whose wakers were left. Never ends.
    pub async fn serve(self: Arc<Self>) -> Infallible {
        poll_fn(|context| self.poll_serve(context)).await
    }

    /// How often any runtime of this process had to be woken by another thread: for the gate on wakes.
    pub fn rings_in_process() -> u64 {
        RINGS.load(Ordering::Relaxed)
    }

    /// How often another thread had to wake this runtime.
    pub fn rings(&self) -> u64 {
        self.rings.load(Ordering::Relaxed)
    }

    fn poll_serve(&self, context: &mut Context<'_>) -> Poll<Infallible> {
        let mut left = {
            let mut inside = self.inside.lock();
            if !inside.server.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                inside.server = Some(context.waker().clone());
            }
            let emptied = std::mem::take(&mut inside.emptied);
            std::mem::replace(&mut inside.left, emptied)
        };
        left.drain(..).for_each(Waker::wake);
        self.inside.lock().emptied = left;
        Poll::Pending
    }

    fn ring(&self, wakers: impl IntoIterator<Item = Waker>) {
        let here = CURRENT.with(|current| current.borrow().as_ref().is_some_and(|bell| std::ptr::eq(&**bell, self)));
        if here {
            wakers.into_iter().for_each(Waker::wake);
            return;
        }
        let server = {
            let mut inside = self.inside.lock();
            inside.left.extend(wakers);
            // Taken: a second ring before the first is answered finds none, and needs none.
            inside.server.take()
        };
        if let Some(server) = server {
            self.rings.fetch_add(1, Ordering::Relaxed);
            RINGS.fetch_add(1, Ordering::Relaxed);
            server.wake();
        }
    }
}

/// A task that waits: its waker and the doorbell of the runtime it runs on.
#[derive(Clone, Debug)]
pub struct Sleeper {
    waker: Waker,
    bell: Option<Arc<Doorbell>>,
}

impl Sleeper {
    /// Called where the task runs, in its `poll`.
    pub fn new(context: &Context<'_>) -> Self {
        Self { waker: context.waker().clone(), bell: Doorbell::current() }
    }

    pub fn wake(self) {
        match self.bell {
            Some(bell) => bell.ring([self.waker]),
            None => self.waker.wake(),
        }
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        (*self).clone().wake();
    }
}

/// A future that is completed by another thread: that thread rings this one's doorbell.
#[derive(Debug)]
pub struct Belled<F> {
    inner: F,
    /// The task that polled last, and what wakes it through the doorbell.
    asleep: Option<(Waker, Waker)>,
}

impl<F> Belled<F> {
    pub const fn new(inner: F) -> Self {
        Self { inner, asleep: None }
    }
}

impl<F: Future + Unpin> Future for Belled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let Self { inner, asleep } = &mut *self;
        let (_, through_bell) = match asleep {
            Some((task, _)) if !task.will_wake(context.waker()) => {
                asleep.insert((context.waker().clone(), Arc::new(Sleeper::new(context)).into()))
            }
            asleep => asleep.get_or_insert_with(|| (context.waker().clone(), Arc::new(Sleeper::new(context)).into())),
        };
        Pin::new(inner).poll(&mut Context::from_waker(through_bell))
    }
}

/// Tasks to wake when a drain is done, by runtime.
#[derive(Debug, Default)]
pub struct Wakes {
    /// One entry a runtime: as many as the machine has cores.
    bells: Vec<(Arc<Doorbell>, Vec<Waker>)>,
    direct: Vec<Waker>,
}

impl Wakes {
    pub fn push(&mut self, sleeper: Sleeper) {
        let Sleeper { waker, bell } = sleeper;
        let Some(bell) = bell else {
            self.direct.push(waker);
            return;
        };
        match self.bells.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &bell)) {
            Some((_, wakers)) => wakers.push(waker),
            None => self.bells.push((bell, vec![waker])),
        }
    }

    pub fn extend(&mut self, sleepers: impl IntoIterator<Item = Sleeper>) {
        sleepers.into_iter().for_each(|sleeper| self.push(sleeper));
    }

    /// Rings each runtime once. Keeps its memory for the next drain.
    pub fn flush(&mut self) {
        for (bell, wakers) in &mut self.bells {
            if !wakers.is_empty() {
                bell.ring(wakers.drain(..));
            }
        }
        self.direct.drain(..).for_each(Waker::wake);
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn sleeper(bell: &Arc<Doorbell>, task: &Arc<Count>) -> Sleeper {
        Sleeper { waker: Arc::clone(task).into(), bell: Some(Arc::clone(bell)) }
    }

    #[test]
    fn many_sleepers_of_a_runtime_are_one_ring() {
        let bell = Arc::new(Doorbell::default());
        let (server, task) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let server_waker = Waker::from(Arc::clone(&server));
        assert!(bell.poll_serve(&mut Context::from_waker(&server_waker)).is_pending());

        let mut wakes = Wakes::default();
        for _ in 0..10 {
            wakes.push(sleeper(&bell, &task));
        }
        wakes.flush();
        wakes.push(sleeper(&bell, &task));
        wakes.flush();
        assert_eq!(server.0.load(Ordering::SeqCst), 1, "the second ring finds the first unanswered");
        assert_eq!(bell.rings(), 1);
        assert_eq!(task.0.load(Ordering::SeqCst), 0, "tasks are woken on their own thread");

        assert!(bell.poll_serve(&mut Context::from_waker(&server_waker)).is_pending());
        assert_eq!(task.0.load(Ordering::SeqCst), 11);
        wakes.push(sleeper(&bell, &task));
        wakes.flush();
        assert_eq!(bell.rings(), 2);
    }

    #[test]
    fn futures_that_others_complete_are_one_ring() {
        std::thread::spawn(|| {
            let bell = Doorbell::install();
            let (server, task) = (Arc::new(Count::default()), Arc::new(Count::default()));
            let server_waker = Waker::from(server);
            assert!(bell.poll_serve(&mut Context::from_waker(&server_waker)).is_pending());
            let task_waker = Waker::from(Arc::clone(&task));
            let mut context = Context::from_waker(&task_waker);
            let (senders, mut waiting): (Vec<_>, Vec<_>) = (0..10)
                .map(|number| {
                    let (sender, receiver) = tokio::sync::oneshot::channel();
                    ((number, sender), Belled::new(receiver))
                })
                .unzip();
            for future in &mut waiting {
                assert!(Pin::new(future).poll(&mut context).is_pending());
            }
            let others =
                std::thread::spawn(|| senders.into_iter().for_each(|(number, sender)| sender.send(number).unwrap()));
            others.join().unwrap();
            assert_eq!((bell.rings(), task.0.load(Ordering::SeqCst)), (1, 0));
            assert!(bell.poll_serve(&mut Context::from_waker(&server_waker)).is_pending());
            assert_eq!(task.0.load(Ordering::SeqCst), 10);
            for (number, future) in waiting.iter_mut().enumerate() {
                assert_eq!(Pin::new(future).poll(&mut context), Poll::Ready(Ok(number)));
            }
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_ring_from_the_own_thread_is_direct() {
        std::thread::spawn(|| {
            let bell = Doorbell::install();
            let task = Arc::new(Count::default());
            Sleeper { waker: Arc::clone(&task).into(), bell: Doorbell::current() }.wake();
            assert_eq!(task.0.load(Ordering::SeqCst), 1);
            assert_eq!(bell.rings(), 0);
        })
        .join()
        .unwrap();
    }
}
