//! What a partition remembers of its idempotent and transactional producers (`ProducerStateManager`, KIP-98).
//!
//! Of each producer the last five batches: a batch sent again is answered with the offsets it got, one that leaves a gap
//! is refused, and so is one of an older epoch. Open transactions hold back the last stable offset. The state is a
//! function of the log; snapshots only save reading it again. Checking and applying are two calls, so that a batch that
//! is refused changes nothing. It must not know how a batch got here, nor what else is in it.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::error_code::ErrorCode;
use crate::model::time::Wall;
use crate::protocol::control::EndTxnMarker;
use crate::protocol::record_batch::BatchHeader;

use super::cleaner::LastBatch;
use super::storage::Disk;

mod owners;
mod snapshot;
#[cfg(test)]
mod tests;

use owners::Owners;
use snapshot::Snapshots;

pub use owners::Owner;

/// Batches remembered of a producer; the client keeps as many unanswered (`max.in.flight.requests.per.connection`).
pub const BATCHES_RETAINED: usize = 5;
/// When the table is full this part of it is forgotten at once, so that looking for the oldest is rare.
const EVICTED_SHARE: usize = 16;
/// One principal has at most this part of the table: beyond it, its new producers replace its own.
const OWNER_SHARE: usize = 2;

/// Who appends (`AppendOrigin`): clients are held to their sequence, what is copied from a leader is taken as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendOrigin {
    Client,
    Coordinator,
    Replication,
    RaftLeader,
}

/// Why a producer's batch is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProducerError {
    #[error("producer {producer_id} sent sequence {found}, the last one was {last}")]
    OutOfOrderSequence { producer_id: i64, found: i32, last: i32 },
    #[error("producer {producer_id} began its new epoch {epoch} with sequence {found}, not 0")]
    NewEpochSequence { producer_id: i64, epoch: i16, found: i32 },
    #[error("epoch {found} of producer {producer_id} is older than {current}")]
    InvalidProducerEpoch { producer_id: i64, found: i16, current: i16 },
    #[error("producer {producer_id} has an open transaction and wrote outside of it")]
    InvalidTxnState { producer_id: i64 },
    #[error("a marker for producer {producer_id} has coordinator epoch {found}, older than {current}")]
    CoordinatorFenced { producer_id: i64, found: i32, current: i32 },
}

impl ProducerError {
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OutOfOrderSequence { .. } | Self::NewEpochSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
            Self::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            Self::InvalidTxnState { .. } => ErrorCode::InvalidTxnState,
            Self::CoordinatorFenced { .. } => ErrorCode::TransactionCoordinatorFenced,
        }
    }
}

/// What of a batch matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerBatch {
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub max_timestamp: i64,
    pub first_offset: i64,
    pub last_offset: i64,
    pub is_transactional: bool,
    pub is_control: bool,
    /// Of a control batch that ends a transaction.
    pub marker: Option<EndTxnMarker>,
    pub owner: Owner,
}

impl ProducerBatch {
    /// Takes the facts of a batch that will lie at `first_offset`; `None` without an idempotent producer.
    pub fn new(header: &BatchHeader, first_offset: i64, marker: Option<EndTxnMarker>) -> Option<Self> {
        header.has_producer_id().then(|| Self {
            producer_id: header.producer_id,
            producer_epoch: header.producer_epoch,
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            max_timestamp: header.max_timestamp,
            first_offset,
            last_offset: first_offset.saturating_add(i64::from(header.last_offset_delta)),
            is_transactional: header.is_transactional(),
            is_control: header.is_control(),
            marker,
            owner: Owner::NOBODY,
        })
    }
}

/// A batch that was appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchMetadata {
    pub last_sequence: i32,
    pub last_offset: i64,
    /// Records in the batch, less one.
    pub offset_delta: i32,
    pub timestamp: i64,
}

impl BatchMetadata {
    pub const fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }

    pub fn first_offset(&self) -> i64 {
        self.last_offset.saturating_sub(i64::from(self.offset_delta))
    }
}

/// What is remembered of one producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProducerEntry {
    pub producer_id: i64,
    pub producer_epoch: i16,
    /// Of the last marker; -1 without one.
    pub coordinator_epoch: i32,
    pub last_timestamp: i64,
    pub current_txn_first_offset: Option<i64>,
    batches: [Option<BatchMetadata>; BATCHES_RETAINED],
}

impl ProducerEntry {
    const fn new(producer_id: i64, producer_epoch: i16) -> Self {
        Self {
            producer_id,
            producer_epoch,
            coordinator_epoch: -1,
            last_timestamp: -1,
            current_txn_first_offset: None,
            batches: [None; BATCHES_RETAINED],
        }
    }

    /// The newest batch.
    pub fn last_batch(&self) -> Option<&BatchMetadata> {
        self.batches.iter().flatten().next_back()
    }

    /// -1 without a batch in this epoch.
    pub fn last_sequence(&self) -> i32 {
        self.last_batch().map_or(-1, |batch| batch.last_sequence)
    }

    fn duplicate_of(&self, batch: &ProducerBatch) -> Option<&BatchMetadata> {
        let same = |known: &&BatchMetadata| {
            known.first_sequence() == batch.base_sequence && known.last_sequence == batch.last_sequence
        };
        self.batches.iter().flatten().find(same).filter(|_| self.producer_epoch == batch.producer_epoch)
    }

    fn enter_epoch(&mut self, producer_epoch: i16) {
        if self.producer_epoch != producer_epoch {
            self.batches = [None; BATCHES_RETAINED];
            self.producer_epoch = producer_epoch;
        }
    }

    fn push(&mut self, batch: BatchMetadata) {
        if let Some(free) = self.batches.iter_mut().find(|slot| slot.is_none()) {
            *free = Some(batch);
        } else {
            self.batches.rotate_left(1);
            if let Some(last) = self.batches.last_mut() {
                *last = Some(batch);
            }
        }
    }
}

/// A transaction that a marker has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CompletedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The marker's.
    pub last_offset: i64,
    pub is_aborted: bool,
}

/// The producers of one partition.
#[derive(Debug)]
pub struct ProducerState {
    entries: HashMap<i64, ProducerEntry>,
    /// First offset of each open transaction, and whose it is.
    ongoing: BTreeMap<i64, i64>,
    /// Ended transactions whose marker is not yet below the high watermark: first offset, and the marker's.
    unreplicated: BTreeMap<i64, i64>,
    owners: Owners,
    snapshots: Snapshots,
    map_end_offset: i64,
    snapshot_offset: i64,
    expiration_ms: i64,
    producers_max: usize,
}

impl ProducerState {
    /// An empty state over the snapshots of a partition's directory.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn new(disk: Arc<dyn Disk>, dir: &Path, expiration_ms: i64, producers_max: usize) -> io::Result<Self> {
        Ok(Self {
            entries: HashMap::new(),
            ongoing: BTreeMap::new(),
            unreplicated: BTreeMap::new(),
            owners: Owners::default(),
            snapshots: Snapshots::open(disk, dir)?,
            map_end_offset: 0,
            snapshot_offset: 0,
            expiration_ms,
            producers_max: producers_max.max(1),
        })
    }

    /// May this batch be appended? `Some` is the batch it repeats.
    ///
    /// # Errors
    /// [`ProducerError`]; a batch copied from a leader is never refused.
    pub fn check(&self, batch: &ProducerBatch, origin: AppendOrigin) -> Result<Option<BatchMetadata>, ProducerError> {
        let Some(entry) = self.entries.get(&batch.producer_id) else { return Ok(None) };
        if origin == AppendOrigin::Replication {
            return Ok(None);
        }
        if origin == AppendOrigin::Client
            && let Some(known) = entry.duplicate_of(batch)
        {
            return Ok(Some(*known));
        }
        let producer_id = batch.producer_id;
        if batch.producer_epoch < entry.producer_epoch {
            let (found, current) = (batch.producer_epoch, entry.producer_epoch);
            return Err(ProducerError::InvalidProducerEpoch { producer_id, found, current });
        }
        match batch.marker {
            Some(marker) if marker.coordinator_epoch < entry.coordinator_epoch => {
                let (found, current) = (marker.coordinator_epoch, entry.coordinator_epoch);
                return Err(ProducerError::CoordinatorFenced { producer_id, found, current });
            }
            Some(_) => return Ok(None),
            None => {}
        }
        if origin == AppendOrigin::Client {
            check_sequence(entry, batch)?;
        }
        if entry.current_txn_first_offset.is_some() && !batch.is_transactional && !batch.is_control {
            return Err(ProducerError::InvalidTxnState { producer_id });
        }
        Ok(None)
    }

    /// The batch was appended. `Some` is the transaction that it ended: to be entered in the transaction index if it was
    /// aborted, then to be given to [`Self::complete`].
    pub fn apply(&mut self, batch: &ProducerBatch) -> Option<CompletedTxn> {
        if !self.entries.contains_key(&batch.producer_id) {
            self.make_room(batch.owner);
        }
        self.owners.note(batch.producer_id, batch.owner);
        let entry = self
            .entries
            .entry(batch.producer_id)
            .or_insert_with(|| ProducerEntry::new(batch.producer_id, batch.producer_epoch));
        if batch.is_control {
            let marker = batch.marker?;
            entry.enter_epoch(batch.producer_epoch);
            entry.coordinator_epoch = marker.coordinator_epoch;
            entry.last_timestamp = batch.max_timestamp;
            return entry.current_txn_first_offset.take().map(|first_offset| CompletedTxn {
                producer_id: batch.producer_id,
                first_offset,
                last_offset: batch.last_offset,
                is_aborted: !marker.committed,
            });
        }
        entry.enter_epoch(batch.producer_epoch);
        entry.last_timestamp = batch.max_timestamp;
        entry.push(BatchMetadata {
            last_sequence: batch.last_sequence,
            last_offset: batch.last_offset,
            offset_delta: i32::try_from(batch.last_offset - batch.first_offset).unwrap_or(i32::MAX),
            timestamp: batch.max_timestamp,
        });
        if batch.is_transactional && entry.current_txn_first_offset.is_none() {
            entry.current_txn_first_offset = Some(batch.first_offset);
            self.ongoing.insert(batch.first_offset, batch.producer_id);
        }
        None
    }

    /// Where the last stable offset stands once `completed` has ended.
    pub fn last_stable_offset_after(&self, completed: &CompletedTxn) -> i64 {
        let next = self.ongoing.iter().find(|(_, producer_id)| **producer_id != completed.producer_id);
        next.map_or(completed.last_offset.saturating_add(1), |(first_offset, _)| *first_offset)
    }

    /// Ends a transaction. It still holds back the last stable offset until its marker is below the high watermark.
    pub fn complete(&mut self, completed: &CompletedTxn) {
        self.ongoing.remove(&completed.first_offset);
        self.unreplicated.insert(completed.first_offset, completed.last_offset);
    }

    /// The high watermark moved.
    pub fn high_watermark_moved(&mut self, high_watermark: i64) {
        while let Some(first) = self.unreplicated.first_entry()
            && *first.get() < high_watermark
        {
            first.remove();
        }
    }

    /// The first offset that belongs to a transaction not yet decided.
    pub fn first_unstable_offset(&self) -> Option<i64> {
        let first = |map: &BTreeMap<i64, i64>| map.first_key_value().map(|(offset, _)| *offset);
        match (first(&self.ongoing), first(&self.unreplicated)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    pub fn get(&self, producer_id: i64) -> Option<&ProducerEntry> {
        self.entries.get(&producer_id)
    }

    /// All that is remembered, in no order (DescribeProducers).
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &ProducerEntry> {
        self.entries.values()
    }

    /// The newest batch of each producer, which a compaction must not take away.
    pub(super) fn last_batches(&self) -> HashMap<i64, LastBatch> {
        let last = |entry: &ProducerEntry| LastBatch {
            last_offset: entry.last_batch().map(|batch| batch.last_offset),
            producer_epoch: entry.producer_epoch,
        };
        self.entries.values().map(|entry| (entry.producer_id, last(entry))).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.unreplicated.is_empty()
    }

    /// The offset up to which the log is in this state.
    pub const fn map_end_offset(&self) -> i64 {
        self.map_end_offset
    }

    pub const fn set_map_end_offset(&mut self, offset: i64) {
        self.map_end_offset = offset;
    }

    /// Forgets producers idle for longer than `producer.id.expiration.ms`, other than those in a transaction.
    pub fn remove_expired(&mut self, now: Wall) {
        let expiration_ms = self.expiration_ms;
        let Self { entries, owners, .. } = self;
        entries.retain(|producer_id, entry| {
            let is_kept = !is_expired(entry, now, expiration_ms);
            if !is_kept {
                owners.forget(*producer_id);
            }
            is_kept
        });
    }

    /// The log begins later now.
    pub fn log_start_moved(&mut self, log_start_offset: i64) {
        while let Some(first) = self.unreplicated.first_entry()
            && *first.get() < log_start_offset
        {
            first.remove();
        }
        if self.map_end_offset < log_start_offset {
            self.map_end_offset = log_start_offset;
        }
        self.snapshot_offset = self.snapshots.latest().unwrap_or(log_start_offset);
    }

    /// Room for one more producer: of this owner's own if he has his part of the table, else of anybody's if it is full.
    fn make_room(&mut self, owner: Owner) {
        let most = (self.producers_max / OWNER_SHARE).max(1);
        if owner != Owner::NOBODY && self.owners.count(owner) >= most {
            self.evict(Some(owner));
        } else if self.entries.len() >= self.producers_max {
            self.evict(None);
        }
    }

    /// Forgets those that have been silent for longest.
    fn evict(&mut self, owner: Option<Owner>) {
        let is_one = |id: i64| owner.is_none_or(|owner| self.owners.is_owner(owner, id));
        let mut idle: Vec<(i64, i64)> = self
            .entries
            .values()
            .filter(|entry| entry.current_txn_first_offset.is_none() && is_one(entry.producer_id))
            .map(|entry| (entry.last_timestamp, entry.producer_id))
            .collect();
        idle.sort_unstable();
        for (_, producer_id) in idle.iter().take(self.producers_max / EVICTED_SHARE + 1) {
            self.entries.remove(producer_id);
            self.owners.forget(*producer_id);
        }
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.owners.clear();
        self.ongoing.clear();
        self.unreplicated.clear();
    }
}

/// Snapshots.
impl ProducerState {
    /// The newest snapshot's offset.
    pub fn latest_snapshot(&self) -> Option<i64> {
        self.snapshots.latest()
    }

    /// Writes a snapshot at the end of what was seen, unless there is one. Not durable yet: its CRC tells whether it
    /// arrived, and an older one or the log itself stands in for it.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn take_snapshot(&mut self) -> io::Result<Option<PathBuf>> {
        if self.map_end_offset <= self.snapshot_offset {
            return Ok(None);
        }
        let mut entries: Vec<&ProducerEntry> = self.entries.values().collect();
        entries.sort_unstable_by_key(|entry| entry.producer_id);
        let path = self.snapshots.write(self.map_end_offset, &entries)?;
        self.snapshot_offset = self.map_end_offset;
        Ok(Some(path))
    }

    /// Brings the state to a log from `log_start_offset` to `log_end_offset`, as far as a snapshot reaches;
    /// [`Self::map_end_offset`] says how far that is, the rest is to be read from the log.
    ///
    /// # Errors
    /// Whatever the disk answers; a damaged snapshot is removed and the one before it taken.
    pub fn truncate_and_reload(&mut self, log_start_offset: i64, log_end_offset: i64, now: Wall) -> io::Result<()> {
        self.reload_before(log_start_offset, log_end_offset, log_end_offset, now)
    }

    /// The same with a snapshot not newer than `snapshot_offset`: a snapshot has only the newest batch of each producer,
    /// so that a client can be answered that repeats its last five, the batches before it have to be read.
    ///
    /// # Errors
    /// As [`Self::truncate_and_reload`].
    pub fn reload_before(
        &mut self,
        log_start_offset: i64,
        log_end_offset: i64,
        snapshot_offset: i64,
        now: Wall,
    ) -> io::Result<()> {
        self.snapshots.retain(|offset| offset <= log_end_offset && offset > log_start_offset)?;
        if log_end_offset == self.map_end_offset {
            self.log_start_moved(log_start_offset);
            return Ok(());
        }
        self.clear();
        let Some((offset, entries)) = self.snapshots.load_latest(snapshot_offset)? else {
            self.map_end_offset = log_start_offset;
            self.snapshot_offset = self.snapshots.latest().unwrap_or(log_start_offset);
            return Ok(());
        };
        for entry in entries {
            if !is_expired(&entry, now, self.expiration_ms) {
                if let Some(first_offset) = entry.current_txn_first_offset {
                    self.ongoing.insert(first_offset, entry.producer_id);
                }
                self.entries.insert(entry.producer_id, entry);
            }
        }
        self.map_end_offset = offset;
        self.snapshot_offset = self.snapshots.latest().unwrap_or(offset);
        Ok(())
    }

    /// Forgets everything; the log begins anew at `offset`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn truncate_fully_and_start_at(&mut self, offset: i64) -> io::Result<()> {
        self.clear();
        self.snapshots.retain(|_| false)?;
        self.map_end_offset = offset;
        self.snapshot_offset = 0;
        Ok(())
    }

    /// Removes snapshots that belong to no segment, other than the newest if it lies past all of them.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn remove_stray_snapshots(&mut self, segment_base_offsets: &[i64]) -> io::Result<()> {
        self.snapshots.rescan()?;
        let newest = self.snapshots.latest().filter(|at| segment_base_offsets.iter().all(|base| base < at));
        self.snapshots.retain(|offset| Some(offset) == newest || segment_base_offsets.contains(&offset))
    }

    /// Puts the snapshot of a removed segment aside under its `.deleted` name, and returns that.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn put_snapshot_aside(&mut self, offset: i64) -> io::Result<Option<PathBuf>> {
        self.snapshots.put_aside(offset)
    }

    /// The directory was renamed.
    pub fn moved(&mut self, dir: &Path) {
        self.snapshots.moved(dir);
    }
}

fn check_sequence(entry: &ProducerEntry, batch: &ProducerBatch) -> Result<(), ProducerError> {
    let (producer_id, found) = (batch.producer_id, batch.base_sequence);
    if batch.producer_epoch != entry.producer_epoch {
        return if found == 0 {
            Ok(())
        } else {
            Err(ProducerError::NewEpochSequence { producer_id, epoch: batch.producer_epoch, found })
        };
    }
    let last = entry.last_sequence();
    let follows = last.checked_add(1).map_or(found == 0, |next| found == next);
    if follows { Ok(()) } else { Err(ProducerError::OutOfOrderSequence { producer_id, found, last }) }
}

const fn is_expired(entry: &ProducerEntry, now: Wall, expiration_ms: i64) -> bool {
    entry.current_txn_first_offset.is_none() && now.0.saturating_sub(entry.last_timestamp) >= expiration_ms
}
