//! Who waits for a partition to move: fetch sessions and long polls (Kafka's `DelayedFetch` purgatory, turned around).
//!
//! A fetch does not look at its thousand partitions again when one of them moves. Each partition keeps [`Watchers`]; each
//! session or waiting fetch owns [`Marks`], the list of its entries that may have changed. The lane publishes the
//! partition's new ends and *then* marks; the fetch takes the marks and *then* reads the ends. Both pass the same lock, so
//! whichever comes second sees the other: no wake-up is lost.

use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;

use super::doorbell::{Sleeper, Wakes};

/// What of a partition decides whether an entry's answer would differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Interest {
    /// A follower reads to the log end.
    LogEnd,
    /// A consumer with `read_uncommitted`.
    HighWatermark,
    /// A consumer with `read_committed`.
    LastStable,
}

/// Bytes by which each end of a partition has moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Advance {
    pub log_end: Option<u64>,
    pub high_watermark: Option<u64>,
    pub last_stable: Option<u64>,
}

impl Advance {
    fn bytes(self, interest: Interest) -> Option<u64> {
        match interest {
            // A follower is told of a new high watermark too, though no data comes with it.
            Interest::LogEnd => self.log_end.or(self.high_watermark.map(|_| 0)),
            Interest::HighWatermark => self.high_watermark,
            Interest::LastStable => self.last_stable.or(self.high_watermark.map(|_| 0)),
        }
    }
}

/// The entries of one fetch that may have changed since it last looked.
#[derive(Debug, Default)]
pub struct Marks(Mutex<Marked>);

#[derive(Debug, Default)]
struct Marked {
    /// By slot: already in `slots`. Bounded, as `slots` is, by the entries of the fetch.
    is_marked: Vec<bool>,
    slots: Vec<u32>,
    /// Everything changed at once: rights did.
    all: bool,
    /// Something other than data: answer at once, however few the bytes.
    urgent: bool,
    /// Bytes that have come since the marks were last taken.
    bytes: u64,
    /// Bytes that make waking worth while.
    needed: u64,
    sleeper: Option<Sleeper>,
}

/// What [`Marks::take`] found.
#[derive(Debug, Default)]
pub struct Taken {
    pub slots: Vec<u32>,
    /// Every entry may have changed.
    pub all: bool,
}

impl Marks {
    /// `slot` got `bytes` more to read. Wakes the fetch once it has what it waits for.
    pub fn mark(&self, slot: u32, bytes: u64, wakes: &mut Wakes) {
        self.mark_with(Some(slot), bytes, false, wakes);
    }

    /// `slot` lost its leader, was deleted, went offline ...: wakes the fetch at once.
    pub fn mark_urgent(&self, slot: u32, wakes: &mut Wakes) {
        self.mark_with(Some(slot), 0, true, wakes);
    }

    /// The rights of everybody may have changed: wakes the fetch at once.
    pub fn mark_all(&self, wakes: &mut Wakes) {
        self.mark_with(None, 0, true, wakes);
    }

    fn mark_with(&self, slot: Option<u32>, bytes: u64, urgent: bool, wakes: &mut Wakes) {
        let mut marked = self.0.lock();
        match slot {
            Some(slot) => marked.insert(slot),
            None => marked.all = true,
        }
        marked.bytes = marked.bytes.saturating_add(bytes);
        marked.urgent |= urgent;
        if marked.is_enough() {
            wakes.extend(marked.sleeper.take());
        }
    }

    /// Takes the marks; what is published after this call marks again.
    pub fn take(&self) -> Taken {
        let mut marked = self.0.lock();
        let slots = std::mem::take(&mut marked.slots);
        for slot in &slots {
            if let Some(flag) = usize::try_from(*slot).ok().and_then(|at| marked.is_marked.get_mut(at)) {
                *flag = false;
            }
        }
        marked.bytes = 0;
        marked.urgent = false;
        Taken { slots, all: std::mem::take(&mut marked.all) }
    }

    /// Ready when at least `needed` bytes have come since the last [`Self::take`], or something urgent has.
    pub fn poll_marked(&self, needed: u64, context: &Context<'_>) -> Poll<()> {
        let mut marked = self.0.lock();
        marked.needed = needed;
        if marked.is_enough() {
            marked.sleeper = None;
            return Poll::Ready(());
        }
        marked.sleeper = Some(Sleeper::new(context));
        Poll::Pending
    }
}

impl Marked {
    fn insert(&mut self, slot: u32) {
        let Ok(at) = usize::try_from(slot) else { return };
        if self.is_marked.len() <= at {
            self.is_marked.resize(at + 1, false);
        }
        if let Some(flag) = self.is_marked.get_mut(at)
            && !std::mem::replace(flag, true)
        {
            self.slots.push(slot);
        }
    }

    fn is_enough(&self) -> bool {
        self.urgent || (self.bytes >= self.needed.max(1))
    }
}

/// The fetches that watch one partition.
#[derive(Debug, Default)]
pub struct Watchers(Mutex<Vec<Watch>>);

/// One entry of one fetch. A partition has at most one for each fetch session and each waiting request that names it.
#[derive(Debug)]
struct Watch {
    marks: Arc<Marks>,
    slot: u32,
    interest: Interest,
}

impl Watchers {
    /// From now on `slot` is marked when the partition moves. Look at the partition *after* this call.
    pub fn watch(&self, marks: &Arc<Marks>, slot: u32, interest: Interest) {
        self.0.lock().push(Watch { marks: Arc::clone(marks), slot, interest });
    }

    pub fn unwatch(&self, marks: &Arc<Marks>, slot: u32) {
        let mut watches = self.0.lock();
        if let Some(at) = watches.iter().position(|watch| watch.slot == slot && Arc::ptr_eq(&watch.marks, marks)) {
            watches.swap_remove(at);
        }
    }

    /// The ends have moved and are published.
    pub fn advanced(&self, advance: Advance, wakes: &mut Wakes) {
        for watch in &*self.0.lock() {
            if let Some(bytes) = advance.bytes(watch.interest) {
                watch.marks.mark(watch.slot, bytes, wakes);
            }
        }
    }

    /// The partition is no longer what it was: another leader or epoch, deleted, offline.
    pub fn changed(&self, wakes: &mut Wakes) {
        for watch in &*self.0.lock() {
            watch.marks.mark_urgent(watch.slot, wakes);
        }
    }

    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::task::{Wake, Waker};
    use std::thread::Thread;

    use super::*;

    fn data(bytes: u64) -> Advance {
        Advance { log_end: Some(bytes), high_watermark: Some(bytes), last_stable: Some(bytes) }
    }

    fn is_ready(marks: &Marks, needed: u64) -> bool {
        marks.poll_marked(needed, &Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn a_slot_is_marked_once_and_bytes_add_up() {
        let (watchers, marks) = (Watchers::default(), Arc::new(Marks::default()));
        watchers.watch(&marks, 3, Interest::HighWatermark);
        watchers.advanced(data(40), &mut Wakes::default());
        assert!(!is_ready(&marks, 100));
        watchers.advanced(data(60), &mut Wakes::default());
        assert!(is_ready(&marks, 100));
        assert_eq!(marks.take().slots, [3]);
        assert!(!is_ready(&marks, 1), "taken marks are gone");
        watchers.advanced(data(1), &mut Wakes::default());
        assert_eq!(marks.take().slots, [3]);
    }

    #[test]
    fn what_is_not_data_is_urgent() {
        let (watchers, marks) = (Watchers::default(), Arc::new(Marks::default()));
        watchers.watch(&marks, 0, Interest::LastStable);
        watchers.changed(&mut Wakes::default());
        assert!(is_ready(&marks, u64::MAX));
        assert_eq!(marks.take().slots, [0]);
        marks.mark_all(&mut Wakes::default());
        assert!(is_ready(&marks, u64::MAX));
        assert!(marks.take().all);
    }

    #[test]
    fn each_reader_watches_its_own_end() {
        let watchers = Watchers::default();
        let (follower, consumer) = (Arc::new(Marks::default()), Arc::new(Marks::default()));
        watchers.watch(&follower, 0, Interest::LogEnd);
        watchers.watch(&consumer, 0, Interest::HighWatermark);
        watchers.advanced(Advance { log_end: Some(10), ..Advance::default() }, &mut Wakes::default());
        assert!(is_ready(&follower, 1));
        assert!(!is_ready(&consumer, 1));
        watchers.unwatch(&consumer, 0);
        assert_eq!(watchers.len(), 1);
    }

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    /// Publishers count up and mark; the fetch waits, takes, reads. With a wake-up lost it would sleep for ever: the
    /// test's own bound is the number of rounds, and a watchdog turns a hang into a failure.
    #[test]
    fn no_wake_up_is_lost() {
        const PUBLISHERS: u32 = 3;
        const ROUNDS: u64 = 20_000;
        let marks = Arc::new(Marks::default());
        let partitions: Vec<_> = (0..PUBLISHERS)
            .map(|slot| {
                let partition = Arc::new((AtomicU64::new(0), Watchers::default()));
                partition.1.watch(&marks, slot, Interest::HighWatermark);
                partition
            })
            .collect();
        let threads: Vec<_> = partitions
            .iter()
            .map(|partition| {
                let partition = Arc::clone(partition);
                std::thread::spawn(move || {
                    let mut wakes = Wakes::default();
                    for round in 1..=ROUNDS {
                        partition.0.store(round, Ordering::Relaxed);
                        partition.1.advanced(data(1), &mut wakes);
                        wakes.flush();
                        if round % 64 == 0 {
                            std::thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        let reader = std::thread::spawn(move || {
            let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
            let mut seen = [0; PUBLISHERS as usize];
            while seen.iter().any(|end| *end < ROUNDS) {
                let mut wait = pin!(poll_fn(|context| marks.poll_marked(1, context)));
                while wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                    std::thread::park();
                }
                for slot in marks.take().slots {
                    seen[slot as usize] = partitions[slot as usize].0.load(Ordering::Relaxed);
                }
            }
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        for _ in 0..1_000 {
            if reader.is_finished() {
                return reader.join().unwrap();
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("the reader sleeps although everything is published");
    }
}
