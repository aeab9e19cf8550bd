//! A partition's log as its one writer holds it (`UnifiedLog`, `LocalLog`).
//!
//! Owned by the partition's lane (or, for the metadata log, by its thread): nobody else changes it, so nothing in it is
//! locked. Every change ends with publishing one new value to the [`LogView`] that readers hold. The first write or sync
//! that fails takes the whole log directory offline; from then on every call answers that. One file a concern: loading
//! and recovery, appending, flushing, taking away at either end.
//!
//! It must not know whether this broker leads the partition, nor how a batch was checked; time is an argument.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::time::{Mono, Wall};
use crate::model::topic::{TopicId, TopicPartition};

use super::config::LogConfig;
use super::leader_epoch_cache::LeaderEpochCache;
use super::log_dir::{LogDir, StorageError};
use super::producer_state::ProducerState;
use super::segment::Segment;
use super::segment_writer::{SealedSegment, SegmentWriter};
use super::storage::Disk;
use super::view::{Ends, LogView, OffsetPosition, Published};

mod append;
mod compact;
mod flush;
mod leftovers;
mod loader;
mod recovery;
#[cfg(test)]
mod tests;
mod trim;

pub(super) use append::marker_of;
pub use append::{AppendError, AppendInfo, LeaderAppend, RawAppendInfo};
pub use flush::{FlushJob, Flushed};
pub use loader::{OpenError, OpenLog, RecoveryReport};
pub use trim::{DeleteRecordsError, RemovalJob};

/// The log of one partition, for writing.
pub struct UnifiedLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    log_dir: Arc<LogDir>,
    config: Arc<LogConfig>,
    view: Arc<LogView>,
    sealed: Arc<[SealedSegment]>,
    writer: SegmentWriter,
    ends: Ends,
    recent: [(i64, u64); 16],
    producers: ProducerState,
    epochs: LeaderEpochCache,
    /// Records before it are durable.
    recovery_point: i64,
    /// Sealed since the last flush: their indexes are not durable yet.
    unsynced_sealed: Vec<Arc<Segment>>,
    /// Snapshots written since the last flush.
    unsynced_snapshots: Vec<PathBuf>,
    /// Files were made or renamed since the last flush.
    names_changed: bool,
    /// Counts truncations: a flush that began before one proves nothing.
    truncations: u64,
    /// Put aside, waiting for their removal; stamped by the first call that knows the time.
    doomed: Vec<(Option<Mono>, PathBuf)>,
    jitter_seed: u64,
    recovery: RecoveryReport,
    group: append::Group,
    results: Vec<Result<AppendInfo, AppendError>>,
}

impl UnifiedLog {
    /// What readers hold.
    pub const fn view(&self) -> &Arc<LogView> {
        &self.view
    }

    pub fn topic_partition(&self) -> &TopicPartition {
        self.view.topic_partition()
    }

    pub fn topic_id(&self) -> TopicId {
        self.view.topic_id()
    }

    /// The partition's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    pub const fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    pub const fn config(&self) -> &Arc<LogConfig> {
        &self.config
    }

    /// The topic's configuration changed; in force from the next call on.
    pub fn set_config(&mut self, config: Arc<LogConfig>) {
        self.writer.set_index_interval(config.index_interval_bytes);
        self.config = config;
    }

    pub const fn ends(&self) -> &Ends {
        &self.ends
    }

    pub const fn log_end_offset(&self) -> i64 {
        self.ends.log_end.offset
    }

    pub const fn log_start_offset(&self) -> i64 {
        self.ends.log_start
    }

    pub const fn high_watermark(&self) -> i64 {
        self.ends.high_watermark.offset
    }

    pub const fn producers(&self) -> &ProducerState {
        &self.producers
    }

    /// What opening had to repair.
    pub const fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// Forgets producers that have been idle for too long.
    pub fn remove_expired_producers(&mut self, now: Wall) {
        self.producers.remove_expired(now);
    }

    /// This broker leads from here on, in this epoch: the epoch begins at the log end.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn assign_epoch(&mut self, leader_epoch: i32) -> Result<(), StorageError> {
        self.log_dir.check()?;
        let start = self.ends.log_end.offset;
        let assigned = self.epochs.assign(leader_epoch, start);
        self.guard("write the leader epochs of", assigned)
    }

    /// Sets the high watermark, which stays between log start and log end, and publishes it. It may go back (a new
    /// leader's follower). Returns what it is now.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn update_high_watermark(&mut self, offset: i64) -> Result<i64, StorageError> {
        self.log_dir.check()?;
        let offset = offset.clamp(self.ends.log_start, self.ends.log_end.offset);
        if offset != self.ends.high_watermark.offset {
            let position = self.position_of(offset);
            self.ends.high_watermark = self.guard("look into", position)?;
            self.producers.high_watermark_moved(offset);
            self.publish()?;
        }
        Ok(offset)
    }

    /// Raises the high watermark; an older one is ignored.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn raise_high_watermark(&mut self, offset: i64) -> Result<i64, StorageError> {
        self.update_high_watermark(offset.max(self.ends.high_watermark.offset))
    }

    /// Makes what was written visible to readers.
    fn publish(&mut self) -> Result<(), StorageError> {
        let stable = self.last_stable();
        self.ends.last_stable = self.guard("look into", stable)?;
        self.view.publish(self.published(), self.recovery_point());
        Ok(())
    }

    fn published(&self) -> Published {
        Published {
            sealed: Arc::clone(&self.sealed),
            active: Arc::clone(self.writer.segment()),
            newest: self.writer.newest(),
            ends: self.ends,
            recent: self.recent,
        }
    }

    /// The first undecided transaction ends what readers of committed records see.
    fn last_stable(&self) -> io::Result<OffsetPosition> {
        match self.producers.first_unstable_offset() {
            Some(unstable) if unstable < self.ends.high_watermark.offset => {
                self.position_of(unstable.max(self.ends.log_start))
            }
            _ => Ok(self.ends.high_watermark),
        }
    }

    fn position_of(&self, offset: i64) -> io::Result<OffsetPosition> {
        if offset == self.ends.log_end.offset {
            return Ok(self.ends.log_end);
        }
        match self.recent.iter().find(|(known, _)| *known == offset) {
            Some((_, position)) => {
                Ok(OffsetPosition { offset, segment: self.writer.segment().base_offset(), position: *position })
            }
            None => self.published().locate(offset, super::index_file::Access::Blocking),
        }
    }

    /// Takes over a new log end in the active segment. Ends that stood at the old one keep their place.
    fn log_end_is(&mut self, offset: i64) {
        let end = OffsetPosition { offset, segment: self.writer.segment().base_offset(), position: self.writer.size() };
        self.ends.log_end = end;
        self.recent.rotate_right(1);
        if let Some(first) = self.recent.first_mut() {
            *first = (offset, end.position);
        }
    }

    /// A failed call takes the log directory offline.
    fn guard<T>(&self, doing: &str, result: io::Result<T>) -> Result<T, StorageError> {
        result.map_err(|error| self.log_dir.fail(&format!("{doing} {}", self.topic_partition()), &error))
    }
}

impl fmt::Debug for UnifiedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnifiedLog")
            .field("dir", &self.dir)
            .field("ends", &self.ends)
            .field("segments", &(self.sealed.len() + 1))
            .finish_non_exhaustive()
    }
}

/// What `segment.jitter.ms` takes off `segment.ms`, so that segments of many partitions do not all roll at once.
fn jitter(seed: &mut u64, config: &LogConfig) -> i64 {
    let limit = config.segment_jitter_ms.min(config.segment_ms);
    match u64::try_from(limit) {
        Ok(limit @ 1..) => {
            // xorshift64: spread is all that is asked of it.
            *seed = (*seed).max(1);
            *seed ^= *seed << 13;
            *seed ^= *seed >> 7;
            *seed ^= *seed << 17;
            i64::try_from(*seed % limit).unwrap_or(0)
        }
        _ => 0,
    }
}
