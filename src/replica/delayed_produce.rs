//! A produce request on its way: one slot a partition, filled by lanes, awaited by the connection (`DelayedProduce`).
//!
//! With `acks=all` a partition's slot passes through *appended*, when the leader has it, to *done*, when all in sync do.
//! The request's timeout ends only the second wait: what no lane has appended yet can't be answered "timed out", because
//! it may be appended a moment later.

use std::sync::Arc;
use std::task::{Context, Poll};

use parking_lot::Mutex;

use crate::replica::doorbell::{Sleeper, Wakes};

use super::produce_error::ProduceError;

/// Where a partition's records are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    pub base_offset: i64,
    /// Milliseconds; -1 where the records carry the producer's time.
    pub log_append_time: i64,
    pub log_start_offset: i64,
}

/// What became of one partition of a request.
pub type PartitionOutcome = Result<Appended, ProduceError>;

#[derive(Debug)]
struct Shared(Mutex<State>);

#[derive(Debug)]
struct State {
    /// One a partition of the request.
    slots: Vec<Slot>,
    queued: usize,
    unfinished: usize,
    sleeper: Option<Sleeper>,
}

#[derive(Debug)]
enum Slot {
    Queued,
    Appended,
    Done(PartitionOutcome),
}

/// The waiting side of a request.
#[derive(Debug)]
pub struct ProduceWait(Arc<Shared>);

/// The lane's side of one partition. Dropped unfinished, it answers that the storage failed.
#[derive(Debug)]
pub struct ProduceSlot {
    shared: Option<Arc<Shared>>,
    at: usize,
}

impl ProduceWait {
    /// A wait for `partitions` slots.
    pub fn new(partitions: usize) -> (Self, impl Iterator<Item = ProduceSlot>) {
        let slots = (0..partitions).map(|_| Slot::Queued).collect();
        let state = State { slots, queued: partitions, unfinished: partitions, sleeper: None };
        let shared = Arc::new(Shared(Mutex::new(state)));
        let lanes_side = Arc::clone(&shared);
        let sides = (0..partitions).map(move |at| ProduceSlot { shared: Some(Arc::clone(&lanes_side)), at });
        (Self(shared), sides)
    }

    /// Ready when every partition is done.
    pub fn poll_done(&self, context: &Context<'_>) -> Poll<()> {
        self.poll(context, |state| state.unfinished == 0)
    }

    /// Ready when no partition is still on its way to its log.
    pub fn poll_appended(&self, context: &Context<'_>) -> Poll<()> {
        self.poll(context, |state| state.queued == 0)
    }

    /// The outcomes in the order of the slots. What is appended but not committed has timed out.
    pub fn finish(self) -> Vec<PartitionOutcome> {
        let slots = std::mem::take(&mut self.0.0.lock().slots);
        let outcome = |slot| match slot {
            Slot::Done(outcome) => outcome,
            Slot::Queued | Slot::Appended => Err(ProduceError::TimedOut),
        };
        slots.into_iter().map(outcome).collect()
    }

    fn poll(&self, context: &Context<'_>, is_ready: impl FnOnce(&State) -> bool) -> Poll<()> {
        let mut state = self.0.0.lock();
        if is_ready(&state) {
            return Poll::Ready(());
        }
        state.sleeper = Some(Sleeper::new(context));
        Poll::Pending
    }
}

impl ProduceSlot {
    /// The leader has it; now the others must.
    pub fn appended(&self, wakes: &mut Wakes) {
        let Some(shared) = &self.shared else { return };
        let mut state = shared.0.lock();
        if let Some(slot @ Slot::Queued) = state.slots.get_mut(self.at) {
            *slot = Slot::Appended;
            state.queued -= 1;
            if state.queued == 0 {
                wakes.extend(state.sleeper.take());
            }
        }
    }

    pub fn finish(mut self, outcome: PartitionOutcome, wakes: &mut Wakes) {
        self.settle(outcome, wakes);
    }

    fn settle(&mut self, outcome: PartitionOutcome, wakes: &mut Wakes) {
        let Some(shared) = self.shared.take() else { return };
        let mut state = shared.0.lock();
        // After a timeout the slots are gone: nobody waits.
        let Some(slot) = state.slots.get_mut(self.at) else { return };
        let was = std::mem::replace(slot, Slot::Done(outcome));
        state.queued -= usize::from(matches!(was, Slot::Queued));
        state.unfinished -= usize::from(!matches!(was, Slot::Done(_)));
        if state.unfinished == 0 || (state.queued == 0 && matches!(was, Slot::Queued)) {
            wakes.extend(state.sleeper.take());
        }
    }
}

impl Drop for ProduceSlot {
    fn drop(&mut self) {
        if self.shared.is_some() {
            self.settle(Err(ProduceError::STORAGE), &mut Wakes::default());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::replica::access::AccessError;

    const AT_7: PartitionOutcome = Ok(Appended { base_offset: 7, log_append_time: -1, log_start_offset: 0 });

    fn is_done(wait: &ProduceWait) -> bool {
        wait.poll_done(&Context::from_waker(Waker::noop())).is_ready()
    }

    fn is_appended(wait: &ProduceWait) -> bool {
        wait.poll_appended(&Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn done_when_every_partition_is() {
        let (wait, mut slots) = ProduceWait::new(2);
        let (first, second) = (slots.next().unwrap(), slots.next().unwrap());
        first.finish(AT_7, &mut Wakes::default());
        assert!(!is_done(&wait));
        second.finish(Err(ProduceError::Access(AccessError::NotLeader)), &mut Wakes::default());
        assert!(is_done(&wait));
        let outcomes = wait.finish();
        assert_eq!(outcomes[0].as_ref().unwrap().base_offset, 7);
        assert!(matches!(outcomes[1], Err(ProduceError::Access(AccessError::NotLeader))));
    }

    #[test]
    fn a_timeout_spares_what_is_done() {
        let (wait, mut slots) = ProduceWait::new(2);
        let (first, second) = (slots.next().unwrap(), slots.next().unwrap());
        first.finish(AT_7, &mut Wakes::default());
        assert!(!is_appended(&wait));
        second.appended(&mut Wakes::default());
        assert!(is_appended(&wait) && !is_done(&wait));
        let outcomes = wait.finish();
        assert!(outcomes[0].is_ok());
        assert!(matches!(outcomes[1], Err(ProduceError::TimedOut)));
        second.finish(AT_7, &mut Wakes::default());
    }

    #[test]
    fn a_dropped_slot_is_a_failed_storage() {
        let (wait, slots) = ProduceWait::new(1);
        slots.for_each(drop);
        assert!(is_done(&wait));
        assert!(matches!(wait.finish()[0], Err(ProduceError::Access(AccessError::StorageFailed))));
    }
}
