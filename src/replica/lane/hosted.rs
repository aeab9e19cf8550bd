//! One partition inside its lane: the log, the role, and the writes on their way.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::log_dir::StorageError;
use crate::log::producer_state::Owner;
use crate::log::producer_state::{AppendOrigin, ProducerEntry};
use crate::log::unified_log::{AppendError, AppendInfo, LeaderAppend, UnifiedLog};
use crate::log::validator::{Origin, ValidatedBatch};
use crate::model::broker::BrokerId;
use crate::model::time::{Mono, Wall};
use crate::replica::access::AccessError;
use crate::replica::delayed_produce::{Appended, ProduceSlot};
use crate::replica::doorbell::Wakes;
use crate::replica::partition::assignment::Assignment;
use crate::replica::partition::follower::Follower;
use crate::replica::partition::leader::{Committed, Leader};
use crate::replica::partition::settings::PartitionSettings;
use crate::replica::partition::{Partition, PartitionState, Status};
use crate::replica::produce_error::ProduceError;
use crate::replica::watchers::Advance;

use super::LaneSettings;
use super::command::{Acks, RecordsError};

/// A partition whose log this lane owns.
pub(super) struct Hosted {
    pub(super) partition: Arc<Partition>,
    pub(super) log: Box<UnifiedLog>,
    role: Role,
    settings: PartitionSettings,
    /// *strict* and one replica.
    commits_in_group: bool,
    /// Checked, and to be written with the rest of the drain.
    staged: Vec<Staged>,
    /// Written, and to be answered when the drain's syncs are done.
    written: Vec<Written>,
    /// `acks=all`, in the order of their offsets. Bounded by the requests in flight.
    waiting: VecDeque<Written>,
    /// The ends that readers were told of.
    told: Told,
    /// Bytes past the high watermark that readers were told of.
    unseen_bytes: u64,
    unflushed_since: Option<Mono>,
}

/// The role, which consumes itself.
#[derive(Debug)]
enum Role {
    Unassigned,
    Leader(Leader),
    Follower(Follower),
}

#[derive(Debug)]
pub(super) struct Staged {
    pub(super) batch: ValidatedBatch,
    pub(super) origin: Origin,
    pub(super) owner: Owner,
    pub(super) acks: Acks,
    pub(super) slot: ProduceSlot,
}

/// What the log says to the batches of one call.
pub(super) type AppendResults = Vec<Result<AppendInfo, AppendError>>;

impl Staged {
    fn append(&self) -> LeaderAppend<'_> {
        LeaderAppend { batch: &self.batch, origin: append_origin(self.origin), owner: self.owner }
    }
}

#[derive(Debug)]
struct Written {
    info: AppendInfo,
    acks: Acks,
    slot: ProduceSlot,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Told {
    log_end: i64,
    high_watermark: i64,
    last_stable: i64,
    log_start: i64,
}

impl Told {
    fn of(log: &UnifiedLog) -> Self {
        let ends = log.ends();
        Self {
            log_end: ends.log_end.offset,
            high_watermark: ends.high_watermark.offset,
            last_stable: ends.last_stable.offset,
            log_start: ends.log_start,
        }
    }
}

impl Hosted {
    pub(super) fn new(partition: Arc<Partition>, log: Box<UnifiedLog>) -> Self {
        let settings = PartitionSettings::clone(&partition.settings());
        Self {
            told: Told::of(&log),
            partition,
            log,
            role: Role::Unassigned,
            settings,
            commits_in_group: false,
            staged: Vec::new(),
            written: Vec::new(),
            waiting: VecDeque::new(),
            unseen_bytes: 0,
            unflushed_since: None,
        }
    }

    /// May something with these acks be appended now?
    pub(super) fn check(&self, acks: Acks) -> Result<(), ProduceError> {
        let Role::Leader(leader) = &self.role else { return Err(AccessError::NotLeader.into()) };
        if acks == Acks::All {
            leader.isr().check(self.settings.min_insync_replicas()).map_err(ProduceError::TooFewInSync)?;
        }
        Ok(())
    }

    pub(super) fn is_idle(&self) -> bool {
        self.staged.is_empty() && self.written.is_empty()
    }

    pub(super) fn stage(&mut self, staged: Staged) {
        self.staged.push(staged);
    }

    /// Writes what is staged with one call, and answers what is refused.
    pub(super) fn write(&mut self, now: Wall, results: &mut AppendResults, wakes: &mut Wakes) {
        if self.staged.is_empty() {
            return;
        }
        // Taken for the loop below, and given back for its memory.
        let mut staged = std::mem::take(&mut self.staged);
        let Role::Leader(leader) = &self.role else {
            staged.into_iter().for_each(|staged| staged.slot.finish(Err(AccessError::NotLeader.into()), wakes));
            return;
        };
        let log_start_offset = self.log.log_start_offset();
        results.clear();
        match &*staged {
            [one] => self.log.append_many(&[one.append()], leader.epoch(), now, results),
            many => {
                let appends: Vec<LeaderAppend<'_>> = many.iter().map(Staged::append).collect();
                self.log.append_many(&appends, leader.epoch(), now, results);
            }
        }
        for (staged, result) in staged.drain(..).zip(results.drain(..)) {
            match result {
                Ok(info) => {
                    if !info.duplicate {
                        let bytes = u64::try_from(staged.batch.size_in_bytes()).unwrap_or(u64::MAX);
                        self.unseen_bytes = self.unseen_bytes.saturating_add(bytes);
                    }
                    self.written.push(Written { info, acks: staged.acks, slot: staged.slot });
                }
                Err(error) => staged.slot.finish(Err(ProduceError::Append { error, log_start_offset }), wakes),
            }
            // The batch, and with it the request's memory, is given back here.
        }
        self.staged = staged;
    }

    /// Must what was written be synced before it is answered?
    pub(super) fn wants_sync(&self) -> bool {
        let somebody_waits = self.written.iter().any(|written| written.acks != Acks::None);
        (self.commits_in_group && somebody_waits) || self.log.should_flush()
    }

    pub(super) fn sync(&mut self) -> Result<(), StorageError> {
        self.unflushed_since = None;
        self.log.flush().map(|_| ())
    }

    /// Has something waited for a sync longer than `flush.ms`?
    pub(super) fn is_overdue(&mut self, now: Mono) -> bool {
        let Some(flush_ms) = self.settings.log.flush_ms else { return false };
        if self.log.unflushed_records() == 0 {
            self.unflushed_since = None;
            return false;
        }
        let since = *self.unflushed_since.get_or_insert(now);
        now.since(since).as_millis() >= u128::try_from(flush_ms).unwrap_or(0)
    }

    /// What is written and, where need be, synced becomes visible and is answered as far as it is committed.
    pub(super) fn settle(&mut self, wakes: &mut Wakes) -> Result<(), StorageError> {
        let min_insync_replicas = self.settings.min_insync_replicas();
        if let Role::Leader(leader) = &mut self.role {
            leader.appended(self.log.log_end_offset());
            self.log.raise_high_watermark(leader.advance(min_insync_replicas))?;
        }
        self.tell(wakes);
        self.answer_waiting(min_insync_replicas, wakes);
        let mut written = std::mem::take(&mut self.written);
        for written in written.drain(..) {
            if let Some(written) = self.answer(written, min_insync_replicas, wakes) {
                written.slot.appended(wakes);
                self.waiting.push_back(written);
            }
        }
        self.written = written;
        Ok(())
    }

    /// Answers what a moved high watermark or in-sync set decides. A duplicate may stand behind later offsets: all are
    /// looked at, and they are few.
    fn answer_waiting(&mut self, min_insync_replicas: usize, wakes: &mut Wakes) {
        for _ in 0..self.waiting.len() {
            let Some(written) = self.waiting.pop_front() else { return };
            if let Some(written) = self.answer(written, min_insync_replicas, wakes) {
                self.waiting.push_back(written);
            }
        }
    }

    /// Gives a write back that must go on waiting.
    fn answer(&self, written: Written, min_insync_replicas: usize, wakes: &mut Wakes) -> Option<Written> {
        let Role::Leader(leader) = &self.role else { return Some(written) };
        if written.acks != Acks::All {
            written.finish(wakes);
            return None;
        }
        match leader.committed(written.info.last_offset.saturating_add(1), min_insync_replicas) {
            Committed::NotYet => return Some(written),
            Committed::Yes => written.finish(wakes),
            Committed::TooFewInSync(too_few) => {
                written.slot.finish(Err(ProduceError::TooFewInSyncAfterAppend(too_few)), wakes);
            }
        }
        None
    }

    /// Marks those who watch, if an end has moved. The ends are published already.
    pub(super) fn tell(&mut self, wakes: &mut Wakes) {
        let now = Told::of(&self.log);
        let told = std::mem::replace(&mut self.told, now);
        if now == told {
            return;
        }
        let unseen = self.unseen_bytes;
        let moved = |is_moved: bool| is_moved.then_some(unseen);
        if now.high_watermark == now.log_end {
            self.unseen_bytes = 0;
        }
        let mut advance = Advance {
            log_end: moved(now.log_end != told.log_end),
            high_watermark: moved(now.high_watermark != told.high_watermark),
            last_stable: moved(now.last_stable != told.last_stable),
        };
        if now.log_start != told.log_start {
            // Nothing to read, but the next answer tells it.
            advance.log_end = advance.log_end.or(Some(0));
            advance.high_watermark = advance.high_watermark.or(Some(0));
        }
        self.partition.watchers().advanced(advance, wakes);
    }

    /// Another role, or the same with other replicas.
    pub(super) fn assign(
        &mut self,
        assignment: &Assignment,
        lane: &LaneSettings,
        wakes: &mut Wakes,
    ) -> Result<(), StorageError> {
        let local = lane.node_id;
        self.commits_in_group = lane.strict && assignment.replicas.len() <= 1;
        self.role = match std::mem::replace(&mut self.role, Role::Unassigned) {
            Role::Leader(leader) if is_stale(assignment, leader.epoch(), leader.partition_epoch()) => {
                Role::Leader(leader)
            }
            Role::Leader(leader) if assignment.leader == local && assignment.leader_epoch == leader.epoch() => {
                Role::Leader(leader.reassigned(local, assignment))
            }
            Role::Follower(follower) if assignment.leader_epoch < follower.epoch => Role::Follower(follower),
            _ if assignment.leader == local => {
                if self.commits_in_group {
                    // What a crash left unsynced is read and acknowledged from here on.
                    self.sync()?;
                }
                self.log.assign_epoch(assignment.leader_epoch)?;
                let (log_end, high_watermark) = (self.log.log_end_offset(), self.log.high_watermark());
                Role::Leader(Leader::new(local, assignment, log_end, high_watermark))
            }
            _ => Role::Follower(Follower::new(assignment)),
        };
        self.publish_status(local, assignment);
        if matches!(self.role, Role::Follower(_)) {
            self.refuse(&|| AccessError::NotLeader.into(), wakes);
        }
        self.settle(wakes)?;
        self.partition.watchers().changed(wakes);
        Ok(())
    }

    fn publish_status(&self, local: BrokerId, assignment: &Assignment) {
        let (state, leader_epoch, epoch_start) = match &self.role {
            Role::Unassigned => (PartitionState::Unassigned, -1, 0),
            Role::Leader(leader) => (PartitionState::Leader, leader.epoch(), leader.epoch_start()),
            Role::Follower(follower) => (PartitionState::Follower, follower.epoch, 0),
        };
        let followers = assignment.replicas.iter().copied().filter(|replica| *replica != local).collect();
        let commits_in_group = self.commits_in_group;
        self.partition.publish(Status { state, leader_epoch, epoch_start, followers, commits_in_group });
    }

    /// The leader's log starts later. Who reads is told.
    pub(super) fn delete_records(&mut self, offset: i64, wakes: &mut Wakes) -> Result<i64, RecordsError> {
        if !matches!(self.role, Role::Leader(_)) {
            return Err(AccessError::NotLeader.into());
        }
        if !self.settings.log.cleanup_policy.delete {
            return Err(RecordsError::Policy);
        }
        let low_watermark = self.log.delete_records(offset)?;
        self.tell(wakes);
        Ok(low_watermark)
    }

    /// What the leader remembers of producers.
    pub(super) fn producers(&self) -> Result<Vec<ProducerEntry>, AccessError> {
        match self.role {
            Role::Leader(_) => Ok(self.log.producers().entries().copied().collect()),
            Role::Unassigned | Role::Follower(_) => Err(AccessError::NotLeader),
        }
    }

    pub(super) fn configure(&mut self, settings: PartitionSettings) {
        self.log.set_config(Arc::clone(&settings.log));
        self.partition.configure(settings.clone());
        self.settings = settings;
    }

    /// A follower has everything before `log_end`. A broker that is no replica changes nothing.
    pub(super) fn followed(&mut self, replica: BrokerId, log_start: i64, log_end: i64, now: Mono) {
        if let Role::Leader(leader) = &mut self.role
            && let Err(unknown) = leader.fetched(replica, log_start, log_end, now)
        {
            tracing::debug!(partition = %self.partition.name(), %unknown, "a fetch in the name of no follower");
        }
    }

    /// Ends every write on its way.
    pub(super) fn refuse(&mut self, error: &dyn Fn() -> ProduceError, wakes: &mut Wakes) {
        for staged in self.staged.drain(..) {
            staged.slot.finish(Err(error()), wakes);
        }
        for written in self.written.drain(..).chain(self.waiting.drain(..)) {
            written.slot.finish(Err(error()), wakes);
        }
    }

    /// The partition is no longer served by this lane.
    pub(super) fn retire(&mut self, state: PartitionState, error: &dyn Fn() -> ProduceError, wakes: &mut Wakes) {
        let status = self.partition.status();
        self.partition.publish(Status { state, ..Status::clone(&status) });
        self.refuse(error, wakes);
        self.partition.watchers().changed(wakes);
    }
}

impl Written {
    fn finish(self, wakes: &mut Wakes) {
        let info = self.info;
        let appended = Appended {
            base_offset: info.base_offset,
            log_append_time: info.log_append_time,
            log_start_offset: info.log_start_offset,
        };
        self.slot.finish(Ok(appended), wakes);
    }
}

/// Older than what this leader has already heard.
fn is_stale(assignment: &Assignment, leader_epoch: i32, partition_epoch: i32) -> bool {
    assignment.leader_epoch < leader_epoch
        || (assignment.leader_epoch == leader_epoch && assignment.partition_epoch < partition_epoch)
}

fn append_origin(origin: Origin) -> AppendOrigin {
    match origin {
        Origin::Client => AppendOrigin::Client,
        Origin::Coordinator => AppendOrigin::Coordinator,
    }
}
