//! What a lane does with its commands. Owned by whoever is the lane at the moment.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::log::log_dir::{LogDir, StorageError};
use crate::log::unified_log::RemovalJob;
use crate::log::validator::{Scratch, validate};
use crate::model::time::{Clock, WallWatch};
use crate::model::topic::TopicIdPartition;
use crate::replica::access::AccessError;
use crate::replica::doorbell::Wakes;
use crate::replica::partition::PartitionState;
use crate::replica::produce_error::ProduceError;

use super::LaneSettings;
use super::command::{Append, Command, Incoming};
use super::hosted::{AppendResults, Hosted, Staged};

pub(super) struct LaneCore {
    settings: LaneSettings,
    /// Ordered, so that what is done to all of them is done in the same order every time.
    partitions: BTreeMap<TopicIdPartition, Hosted>,
    /// One fixed buffer for whatever must be decompressed.
    scratch: Scratch,
    /// Partitions with something staged, written or heard in this drain.
    touched: Vec<TopicIdPartition>,
    removals: Vec<RemovalJob>,
    wall_watch: WallWatch,
    /// Kept from drain to drain for their memory.
    buffer: Vec<Command>,
    wakes: Wakes,
    results: AppendResults,
}

impl LaneCore {
    pub(super) fn new(settings: LaneSettings) -> Self {
        Self {
            settings,
            partitions: BTreeMap::new(),
            scratch: Scratch::default(),
            touched: Vec::new(),
            removals: Vec::new(),
            wall_watch: WallWatch::default(),
            buffer: Vec::new(),
            wakes: Wakes::default(),
            results: Vec::new(),
        }
    }

    pub(super) fn take_buffer(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.buffer)
    }

    pub(super) fn keep_buffer(&mut self, buffer: Vec<Command>) {
        self.buffer = buffer;
    }

    pub(super) fn take_wakes(&mut self) -> Wakes {
        std::mem::take(&mut self.wakes)
    }

    pub(super) fn keep_wakes(&mut self, wakes: Wakes) {
        self.wakes = wakes;
    }

    pub(super) fn take_removals(&mut self) -> Vec<RemovalJob> {
        std::mem::take(&mut self.removals)
    }

    /// Carries out the commands in their order. Returns how long the slowest write took.
    pub(super) fn run(
        &mut self,
        commands: &mut Vec<Command>,
        log_dir: &LogDir,
        clock: &dyn Clock,
        wakes: &mut Wakes,
    ) -> Duration {
        let mut slowest = Duration::ZERO;
        for command in commands.drain(..) {
            match command {
                Command::Append(append) => self.stage(append, log_dir, wakes),
                Command::Followed { partition, replica, log_start, log_end } => {
                    if let Some(hosted) = self.partitions.get_mut(&partition) {
                        hosted.followed(replica, log_start, log_end, clock.mono());
                        self.touched.push(partition);
                    }
                }
                // Everything else finds the logs as the commands before it left them.
                other => {
                    slowest = slowest.max(self.write_touched(clock, wakes));
                    self.carry_out(other, clock, wakes);
                }
            }
        }
        slowest = slowest.max(self.write_touched(clock, wakes));
        if !log_dir.is_online() {
            self.go_offline(wakes);
        }
        slowest
    }

    fn stage(&mut self, append: Append, log_dir: &LogDir, wakes: &mut Wakes) {
        let Append { partition, records, origin, owner, acks, slot } = append;
        let Some(hosted) = self.partitions.get_mut(&partition) else {
            let error = if log_dir.is_online() { AccessError::UnknownPartition } else { AccessError::StorageFailed };
            slot.finish(Err(error.into()), wakes);
            return;
        };
        if let Err(error) = hosted.check(acks) {
            slot.finish(Err(error), wakes);
            return;
        }
        let batch = match records {
            Incoming::Validated(batch) => batch,
            Incoming::Raw { bytes, rules } => match validate(bytes, &rules, &mut self.scratch) {
                Ok(batch) => batch,
                Err(error) => {
                    let log_start_offset = hosted.log.log_start_offset();
                    slot.finish(Err(ProduceError::Records { error, log_start_offset }), wakes);
                    return;
                }
            },
        };
        if hosted.is_idle() {
            self.touched.push(partition);
        }
        hosted.stage(Staged { batch, origin, owner, acks, slot });
    }

    /// Writes, syncs and settles every partition that was touched. Returns how long the slowest write took.
    fn write_touched(&mut self, clock: &dyn Clock, wakes: &mut Wakes) -> Duration {
        let mut slowest = Duration::ZERO;
        for id in &self.touched {
            let Some(hosted) = self.partitions.get_mut(id) else { continue };
            let began = clock.mono();
            hosted.write(clock.wall(), &mut self.results, wakes);
            slowest = slowest.max(clock.mono().since(began));
        }
        // All writes first, then the syncs: one for all of a partition's producers.
        for id in &self.touched {
            let Some(hosted) = self.partitions.get_mut(id) else { continue };
            if hosted.wants_sync() && hosted.sync().is_err() {
                hosted.refuse(&|| ProduceError::STORAGE, wakes);
            }
        }
        for id in self.touched.drain(..) {
            let Some(hosted) = self.partitions.get_mut(&id) else { continue };
            if hosted.settle(wakes).is_err() {
                hosted.refuse(&|| ProduceError::STORAGE, wakes);
            }
        }
        slowest
    }

    fn carry_out(&mut self, command: Command, clock: &dyn Clock, wakes: &mut Wakes) {
        match command {
            Command::Host { partition, log } => {
                self.partitions.insert(partition.id(), Hosted::new(partition, log));
            }
            Command::Assign { partition, assignment } => {
                if let Some(hosted) = self.partitions.get_mut(&partition)
                    && let Err(error) = hosted.assign(&assignment, &self.settings, wakes)
                {
                    tracing::error!(partition = %hosted.partition.name(), %error, "a new role could not be taken");
                }
            }
            Command::Configure { partition, settings } => {
                if let Some(hosted) = self.partitions.get_mut(&partition) {
                    hosted.configure(settings);
                }
            }
            Command::Release { partition, released } => {
                let log = self.partitions.remove(&partition).map(|mut hosted| {
                    hosted.retire(PartitionState::Removed, &|| AccessError::UnknownPartition.into(), wakes);
                    hosted.log
                });
                released.complete(log, wakes);
            }
            Command::DeleteRecords { partition, offset, done } => {
                let deleted = match self.partitions.get_mut(&partition) {
                    Some(hosted) => hosted.delete_records(offset, wakes),
                    None => Err(AccessError::UnknownPartition.into()),
                };
                done.complete(deleted, wakes);
            }
            Command::DescribeProducers { partition, done } => {
                let hosted = self.partitions.get(&partition).ok_or(AccessError::UnknownPartition);
                let producers = hosted.and_then(Hosted::producers);
                done.complete(producers, wakes);
            }
            Command::BeginCompaction { partition, checkpoint, done } => {
                let begun = self.partitions.get(&partition).map(|hosted| {
                    // A failure has taken the directory offline, which `run` sees.
                    hosted.log.begin_compaction(checkpoint, clock.wall()).ok().flatten()
                });
                done.complete(begun.flatten(), wakes);
            }
            Command::PutInPlace { partition, cleaned, done } => {
                let placed = self.partitions.get_mut(&partition).map(|hosted| hosted.log.put_in_place(&cleaned));
                done.complete(matches!(placed, Some(Ok(true))), wakes);
            }
            Command::Maintain => self.maintain(clock, wakes),
            Command::FlushOverdue => {
                let now = clock.mono();
                self.sync_where(|hosted| hosted.is_overdue(now));
            }
            Command::Settle { done } => done.complete((), wakes),
            Command::DirectoryFailed => self.go_offline(wakes),
            Command::Close { done } => {
                let is_clean = self.close_all(wakes);
                done.complete(is_clean, wakes);
            }
            // Carried out by `run`.
            Command::Append(_) | Command::Followed { .. } => {}
        }
    }

    fn sync_where(&mut self, wants: impl Fn(&mut Hosted) -> bool) {
        for hosted in self.partitions.values_mut() {
            // A failure has taken the directory offline, which `run` sees.
            if wants(hosted) && hosted.sync().is_err() {
                break;
            }
        }
    }

    fn maintain(&mut self, clock: &dyn Clock, wakes: &mut Wakes) {
        let (wall, mono) = (clock.wall(), clock.mono());
        if let Some(jump_ms) = self.wall_watch.jump(clock) {
            tracing::warn!(
                target: "schloss.log",
                "the machine's clock was set by {jump_ms} ms: nothing is removed by its age before the next check"
            );
            return;
        }
        for hosted in self.partitions.values_mut() {
            let kept: Result<usize, StorageError> = hosted.log.retention(wall);
            match kept {
                Ok(0) => {}
                Ok(removed) => {
                    let (partition, start) = (hosted.partition.name(), hosted.log.log_start_offset());
                    tracing::info!(%partition, removed, log_start_offset = start, "segments removed by retention");
                }
                Err(_) => break,
            }
            hosted.log.remove_expired_producers(wall);
            self.removals.extend(hosted.log.take_doomed(mono));
            hosted.tell(wakes);
        }
    }

    fn close_all(&mut self, wakes: &mut Wakes) -> bool {
        let mut is_clean = true;
        for (_, mut hosted) in std::mem::take(&mut self.partitions) {
            hosted.retire(PartitionState::Removed, &|| AccessError::NotLeader.into(), wakes);
            let partition = hosted.partition.name().clone();
            if let Err(error) = hosted.log.close() {
                tracing::error!(%partition, %error, "the log could not be closed in order");
                is_clean = false;
            }
        }
        is_clean
    }

    fn go_offline(&mut self, wakes: &mut Wakes) {
        for (_, mut hosted) in std::mem::take(&mut self.partitions) {
            hosted.retire(PartitionState::Offline, &|| ProduceError::STORAGE, wakes);
        }
    }
}
