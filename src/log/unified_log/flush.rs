//! Making the log durable, and closing it.
//!
//! A flush is three steps, so that the sync itself can run away from the lane, holding nothing: [`UnifiedLog::begin_flush`]
//! collects what is to be synced, [`FlushJob::run`] syncs, [`UnifiedLog::end_flush`] takes note. Group commit is one job
//! for all who wait.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::UnifiedLog;
use crate::log::log_dir::{LogDir, StorageError};
use crate::log::segment::Segment;
use crate::log::storage::{Disk, Open};
use crate::model::topic::TopicPartition;

/// What one flush has to sync.
#[derive(Debug)]
pub struct FlushJob {
    disk: Arc<dyn Disk>,
    log_dir: Arc<LogDir>,
    topic_partition: TopicPartition,
    sealed: Vec<Arc<Segment>>,
    active: Arc<Segment>,
    snapshots: Vec<PathBuf>,
    dir: Option<PathBuf>,
    up_to: i64,
    truncations: u64,
}

/// A flush that succeeded.
#[derive(Debug)]
pub struct Flushed {
    up_to: i64,
    truncations: u64,
    sealed: Vec<Arc<Segment>>,
}

impl Flushed {
    /// Every record before it is durable.
    pub const fn up_to(&self) -> i64 {
        self.up_to
    }
}

impl FlushJob {
    /// Syncs. May run on any thread, while the log is appended to.
    ///
    /// # Errors
    /// [`StorageError`]: the log directory is offline then, and what was written since the last flush may be lost.
    pub fn run(self) -> Result<Flushed, StorageError> {
        match self.sync() {
            Ok(()) => Ok(Flushed { up_to: self.up_to, truncations: self.truncations, sealed: self.sealed }),
            Err(error) => Err(self.log_dir.fail(&format!("sync {}", self.topic_partition), &error)),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.log_dir.check().map_err(io::Error::other)?;
        for segment in &self.sealed {
            segment.sync()?;
        }
        // The active segment's indexes are rebuilt from its log after a crash.
        self.active.log().sync()?;
        self.active.transaction_index.sync()?;
        for snapshot in &self.snapshots {
            match self.disk.open(snapshot, Open::Read) {
                Ok(file) => file.sync()?,
                // Taken away by retention meanwhile.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        self.dir.as_ref().map_or(Ok(()), |dir| self.disk.sync_dir(dir))
    }
}

impl UnifiedLog {
    /// Everything before it is durable, indexes of full segments included: where recovery would begin.
    pub fn recovery_point(&self) -> i64 {
        let first_unsynced = self.unsynced_sealed.iter().map(|segment| segment.base_offset()).min();
        first_unsynced.map_or(self.recovery_point, |base| base.min(self.recovery_point))
    }

    /// Records that are not durable yet.
    pub fn unflushed_records(&self) -> i64 {
        self.ends.log_end.offset - self.recovery_point
    }

    /// Does `flush.messages` demand a flush now?
    pub fn should_flush(&self) -> bool {
        let unflushed = u64::try_from(self.unflushed_records()).unwrap_or(0);
        self.config.flush_messages.is_some_and(|limit| unflushed >= limit.max(1))
    }

    /// What to sync so that all that was appended is durable; `None` when it is.
    pub fn begin_flush(&mut self) -> Option<FlushJob> {
        let all_durable = self.recovery_point >= self.ends.log_end.offset
            && self.unsynced_sealed.is_empty()
            && self.unsynced_snapshots.is_empty()
            && !self.names_changed;
        if all_durable {
            return None;
        }
        let names_changed = std::mem::take(&mut self.names_changed);
        Some(FlushJob {
            disk: Arc::clone(&self.disk),
            log_dir: Arc::clone(&self.log_dir),
            topic_partition: self.topic_partition().clone(),
            sealed: self.unsynced_sealed.clone(),
            active: Arc::clone(self.writer.segment()),
            snapshots: std::mem::take(&mut self.unsynced_snapshots),
            dir: names_changed.then(|| self.dir.clone()),
            up_to: self.ends.log_end.offset,
            truncations: self.truncations,
        })
    }

    /// Takes note of a flush. Returns the recovery point.
    pub fn end_flush(&mut self, flushed: &Flushed) -> i64 {
        if flushed.truncations == self.truncations {
            let synced = |segment: &Arc<Segment>| flushed.sealed.iter().any(|done| Arc::ptr_eq(done, segment));
            self.unsynced_sealed.retain(|segment| !synced(segment));
            self.recovery_point = self.recovery_point.max(flushed.up_to);
            self.view.publish(self.published(), self.recovery_point());
        }
        self.recovery_point()
    }

    /// Flushes here and now: all that was appended is durable when it returns.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn flush(&mut self) -> Result<i64, StorageError> {
        match self.begin_flush() {
            Some(job) => {
                let flushed = job.run()?;
                Ok(self.end_flush(&flushed))
            }
            None => Ok(self.recovery_point()),
        }
    }

    /// Closes the log in order: indexes cut, a last time index entry, a producer snapshot at the log end, all of it
    /// durable. Only then may the directory be marked as cleanly shut down.
    ///
    /// # Errors
    /// [`StorageError`]: the log is as after a crash.
    pub fn close(mut self) -> Result<(), StorageError> {
        self.log_dir.check()?;
        let sealed = self.writer.seal();
        let sealed = self.guard("close a segment of", sealed)?;
        self.unsynced_sealed.push(sealed.segment);
        self.producers.set_map_end_offset(self.ends.log_end.offset);
        let snapshot = self.producers.take_snapshot();
        self.unsynced_snapshots.extend(self.guard("write the producers of", snapshot)?);
        self.names_changed = true;
        self.flush()?;
        self.view.set_closed();
        Ok(())
    }
}
