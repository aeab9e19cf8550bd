//! A replica that takes writes and decides what is committed.

use std::collections::BTreeMap;

use crate::model::broker::BrokerId;
use crate::model::time::Mono;

use super::assignment::Assignment;
use super::high_watermark::high_watermark;
use super::isr::{Isr, TooFewInSync};

/// Leads in `epoch`. Holds no log: it is told where the log ends and says where the high watermark is.
#[derive(Debug)]
pub struct Leader {
    epoch: i32,
    partition_epoch: i32,
    /// Where the log ended when this epoch began: until the high watermark passes it, a new leader does not yet know what
    /// is committed (KIP-207).
    epoch_start: i64,
    isr: Isr,
    /// The other replicas.
    followers: BTreeMap<BrokerId, Progress>,
    log_end: i64,
    high_watermark: i64,
}

/// How far another replica has copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Its log end; -1 until its first fetch in this epoch.
    pub log_end: i64,
    pub log_start: i64,
    /// When it last had everything the leader had.
    pub caught_up: Mono,
}

impl Progress {
    const UNKNOWN: Self = Self { log_end: -1, log_start: -1, caught_up: Mono(0) };
}

/// Is a write of `acks=all` committed?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    NotYet,
    Yes,
    /// Appended, but the in-sync set shrank below the minimum meanwhile.
    TooFewInSync(TooFewInSync),
}

/// A fetch in the name of a broker that holds no replica of this partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("broker {0} is not a replica")]
pub struct UnknownReplica(pub BrokerId);

impl Leader {
    /// Leadership begins with the log as it is: `log_end` and the last known `high_watermark`.
    pub fn new(local: BrokerId, assignment: &Assignment, log_end: i64, high_watermark: i64) -> Self {
        let others = assignment.replicas.iter().copied().filter(|replica| *replica != local);
        Self {
            epoch: assignment.leader_epoch,
            partition_epoch: assignment.partition_epoch,
            epoch_start: log_end,
            isr: Isr::new(assignment.isr.iter().copied(), assignment.replicas.len()),
            followers: others.map(|replica| (replica, Progress::UNKNOWN)).collect(),
            log_end,
            high_watermark,
        }
    }

    /// The same leader and epoch, other in-sync replicas or another assignment: what is known of followers is kept.
    pub fn reassigned(mut self, local: BrokerId, assignment: &Assignment) -> Self {
        let known = std::mem::take(&mut self.followers);
        let others = assignment.replicas.iter().copied().filter(|replica| *replica != local);
        self.followers =
            others.map(|replica| (replica, known.get(&replica).copied().unwrap_or(Progress::UNKNOWN))).collect();
        self.partition_epoch = assignment.partition_epoch;
        self.isr = Isr::new(assignment.isr.iter().copied(), assignment.replicas.len());
        self
    }

    pub fn epoch(&self) -> i32 {
        self.epoch
    }

    pub fn partition_epoch(&self) -> i32 {
        self.partition_epoch
    }

    pub fn epoch_start(&self) -> i64 {
        self.epoch_start
    }

    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    pub fn isr(&self) -> &Isr {
        &self.isr
    }

    /// The log now ends at `log_end`.
    pub fn appended(&mut self, log_end: i64) {
        self.log_end = log_end;
    }

    /// A follower fetched from `log_end` on, which says that it has everything before.
    ///
    /// # Errors
    /// [`UnknownReplica`]: nothing has changed.
    pub fn fetched(
        &mut self,
        replica: BrokerId,
        log_start: i64,
        log_end: i64,
        now: Mono,
    ) -> Result<(), UnknownReplica> {
        let progress = self.followers.get_mut(&replica).ok_or(UnknownReplica(replica))?;
        progress.log_end = log_end;
        progress.log_start = log_start;
        if log_end >= self.log_end {
            progress.caught_up = now;
        }
        Ok(())
    }

    /// Moves the high watermark to where the in-sync replicas allow, and says where it now is. While fewer than the minimum
    /// are in sync it stays (KIP-966).
    pub fn advance(&mut self, min_insync_replicas: usize) -> i64 {
        if self.isr.check(min_insync_replicas).is_ok() {
            let ends = self.followers.iter().filter(|(id, _)| self.isr.contains(**id)).map(|(_, at)| at.log_end);
            self.high_watermark = high_watermark(self.high_watermark, self.log_end, ends);
        }
        self.high_watermark
    }

    /// `Partition.checkEnoughReplicasReachOffset`: has everything below `required` reached all that are in sync?
    pub fn committed(&self, required: i64, min_insync_replicas: usize) -> Committed {
        if self.high_watermark < required {
            return Committed::NotYet;
        }
        match self.isr.check(min_insync_replicas) {
            Ok(()) => Committed::Yes,
            Err(too_few) => Committed::TooFewInSync(too_few),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assignment(replicas: &[i32], isr: &[i32]) -> Assignment {
        Assignment {
            leader: BrokerId(1),
            leader_epoch: 4,
            partition_epoch: 2,
            replicas: replicas.iter().copied().map(BrokerId).collect(),
            isr: isr.iter().copied().map(BrokerId).collect(),
        }
    }

    #[test]
    fn alone_everything_appended_is_committed() {
        let mut leader = Leader::new(BrokerId(1), &assignment(&[1], &[1]), 5, 5);
        leader.appended(9);
        assert_eq!(leader.committed(9, 1), Committed::NotYet);
        assert_eq!(leader.advance(1), 9);
        assert_eq!(leader.committed(9, 1), Committed::Yes);
    }

    #[test]
    fn waits_for_those_in_sync_only() {
        let mut leader = Leader::new(BrokerId(1), &assignment(&[1, 2, 3], &[1, 2]), 5, 5);
        leader.appended(9);
        assert_eq!(leader.advance(2), 5);
        leader.fetched(BrokerId(2), 0, 7, Mono(1)).unwrap();
        assert_eq!(leader.advance(2), 7);
        assert_eq!(leader.committed(9, 2), Committed::NotYet);
        leader.fetched(BrokerId(2), 0, 9, Mono(2)).unwrap();
        assert_eq!(leader.advance(2), 9);
        assert_eq!(leader.fetched(BrokerId(4), 0, 9, Mono(2)), Err(UnknownReplica(BrokerId(4))));
    }

    #[test]
    fn holds_the_mark_while_too_few_are_in_sync() {
        let mut leader = Leader::new(BrokerId(1), &assignment(&[1, 2, 3], &[1, 2]), 5, 5);
        leader.appended(9);
        leader.fetched(BrokerId(2), 0, 9, Mono(1)).unwrap();
        leader.advance(2);
        let mut leader = leader.reassigned(BrokerId(1), &assignment(&[1, 2, 3], &[1]));
        assert_eq!(leader.committed(9, 2), Committed::TooFewInSync(TooFewInSync { in_sync: 1, min: 2 }));
        leader.appended(12);
        assert_eq!(leader.advance(2), 9);
    }
}
