//! Taking away: old segments by retention, records by request, the end by truncation; files later than names.
//!
//! A segment's files are renamed to `.deleted` at once and removed after `file.delete.delay.ms`, since a reader may be in
//! them; what a crash leaves of them is removed at the next start.

use std::path::PathBuf;
use std::sync::Arc;

use super::UnifiedLog;
use crate::log::file_name;
use crate::log::index_file::Access;
use crate::log::log_dir::{LogDir, StorageError};
use crate::log::segment::{Segment, put_aside};
use crate::log::segment_writer::{SealedSegment, SegmentWriter};
use crate::log::storage::Disk;
use crate::log::view::Published;
use crate::model::error_code::ErrorCode;
use crate::model::time::{Mono, Wall};
use crate::model::uuid::Uuid;

/// Why records can't be deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteRecordsError {
    #[error("records can't be deleted up to {offset}: the high watermark is {high_watermark}")]
    OffsetOutOfRange { offset: i64, high_watermark: i64 },
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl DeleteRecordsError {
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(error) => error.code(),
        }
    }
}

/// Files whose time has come.
#[derive(Debug)]
pub struct RemovalJob {
    disk: Arc<dyn Disk>,
    log_dir: Arc<LogDir>,
    files: Vec<PathBuf>,
}

impl RemovalJob {
    /// Removes the files. May run on any thread.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn run(self) -> Result<(), StorageError> {
        self.log_dir.check()?;
        for file in &self.files {
            if let Err(error) = self.disk.remove_file_if_there(file) {
                return Err(self.log_dir.fail(&format!("remove {}", file.display()), &error));
            }
        }
        Ok(())
    }
}

impl UnifiedLog {
    /// Removes the segments whose time or place is over: before the log start, older than `retention.ms`, or beyond
    /// `retention.bytes`. Never what consumers may not have seen (past the high watermark), never the only segment, other
    /// than by starting a new one. Returns how many went.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn retention(&mut self, now: Wall) -> Result<usize, StorageError> {
        self.log_dir.check()?;
        let mut removed = self.remove_oldest(now, |log, _, next| next <= log.ends.log_start)?;
        if self.config.cleanup_policy.delete {
            if let Some(limit) = self.config.retention_bytes {
                let mut excess = self.size().saturating_sub(limit);
                removed += self.remove_oldest(now, |_, segment, _| {
                    let goes = excess >= segment.size;
                    excess = excess.saturating_sub(segment.size);
                    goes
                })?;
            }
            if let Some(limit) = self.config.retention_ms {
                removed += self.remove_oldest(now, |log, segment, _| {
                    now.0.saturating_sub(log.largest_timestamp(segment)) > limit
                })?;
            }
        }
        Ok(removed)
    }

    /// DeleteRecords: the log starts at `offset` from now on; -1 is the high watermark. Returns the log start. Segments
    /// that lie before it go at the next [`Self::retention`].
    ///
    /// # Errors
    /// An offset past the high watermark or below -1; [`StorageError`].
    pub fn delete_records(&mut self, offset: i64) -> Result<i64, DeleteRecordsError> {
        let high_watermark = self.ends.high_watermark.offset;
        let offset = if offset == -1 { high_watermark } else { offset };
        if offset < 0 || offset > high_watermark {
            return Err(DeleteRecordsError::OffsetOutOfRange { offset, high_watermark });
        }
        Ok(self.start_at(offset)?)
    }

    /// The log starts at `offset`, if it is past what it was: a follower follows its leader's log start, the metadata log
    /// a snapshot. Returns the log start.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn start_at(&mut self, offset: i64) -> Result<i64, StorageError> {
        self.log_dir.check()?;
        let offset = offset.min(self.ends.log_end.offset);
        if offset > self.ends.log_start {
            self.ends.log_start = offset;
            let cut = self.epochs.truncate_from_start(offset);
            self.guard("write the leader epochs of", cut)?;
            self.producers.log_start_moved(offset);
            if self.ends.high_watermark.offset < offset {
                self.update_high_watermark(offset)?;
            }
            self.publish()?;
        }
        Ok(self.ends.log_start)
    }

    /// Cuts the end off: the log ends at `offset`, unless it ends before. Below the first segment it begins anew there.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn truncate_to(&mut self, offset: i64, now: Wall) -> Result<(), StorageError> {
        self.log_dir.check()?;
        if offset < self.first_offset() {
            return self.truncate_fully_and_start_at(offset, now);
        }
        if offset < self.ends.log_end.offset {
            self.truncations += 1;
            self.cut_segments(offset, now)?;
            self.recovery_point = self.recovery_point.min(offset);
            self.ends.log_start = self.ends.log_start.min(offset);
            self.recent = Published::NOTHING_RECENT;
            self.log_end_is(offset);
            if self.ends.high_watermark.offset >= offset {
                self.ends.high_watermark = self.ends.log_end;
                self.producers.high_watermark_moved(offset);
            }
            self.reload_producers(now)?;
        }
        // Even where no record goes there may be an epoch that began past the new end.
        let cut = self.epochs.truncate_from_end(offset);
        self.guard("write the leader epochs of", cut)?;
        self.publish()
    }

    /// Drops everything: the log is empty and begins at `offset`.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn truncate_fully_and_start_at(&mut self, offset: i64, now: Wall) -> Result<(), StorageError> {
        self.log_dir.check()?;
        self.truncations += 1;
        let bases: Vec<i64> = self.bases().collect();
        self.sealed = Arc::new([]);
        for base in bases {
            self.put_segment_aside(base)?;
        }
        self.start_segment(offset, now)?;
        self.sync_cut()?;
        let cleared = self.epochs.clear();
        self.guard("write the leader epochs of", cleared)?;
        let forgotten = self.producers.truncate_fully_and_start_at(offset);
        self.guard("forget the producers of", forgotten)?;
        self.unsynced_sealed.clear();
        self.recovery_point = self.recovery_point.min(offset);
        self.ends.log_start = offset;
        self.ends.high_watermark = self.ends.log_end;
        self.publish()
    }

    /// Files put aside long enough ago, to be removed away from the lane.
    pub fn take_doomed(&mut self, now: Mono) -> Option<RemovalJob> {
        let delay = self.config.file_delete_delay;
        let mut files = Vec::new();
        self.doomed.retain_mut(|(due, path)| {
            let due = *due.get_or_insert(now.plus(delay));
            if due <= now {
                files.push(std::mem::take(path));
            }
            due > now
        });
        (!files.is_empty()).then(|| RemovalJob {
            disk: Arc::clone(&self.disk),
            log_dir: Arc::clone(&self.log_dir),
            files,
        })
    }

    /// The partition was deleted: its directory gets the name under which it waits for its removal. Readers go on with
    /// what they have. Returns the new path.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn rename_to_deleted(&mut self, unique: Uuid) -> Result<PathBuf, StorageError> {
        self.log_dir.check()?;
        let parent = self.log_dir.path().to_owned();
        let renamed = parent.join(file_name::delete_dir(self.topic_partition(), unique));
        let moved = self.disk.rename(&self.dir, &renamed).and_then(|()| self.disk.sync_dir(&parent));
        self.guard("rename", moved)?;
        self.dir.clone_from(&renamed);
        self.producers.moved(&renamed);
        self.epochs.moved(&renamed);
        self.doomed.clear();
        Ok(renamed)
    }

    /// Removes segments from the front while `goes` says so of a segment and the offset the next one begins at.
    fn remove_oldest(
        &mut self,
        now: Wall,
        mut goes: impl FnMut(&Self, &SealedSegment, i64) -> bool,
    ) -> Result<usize, StorageError> {
        let active = self.writer.segment().base_offset();
        let mut count = 0;
        for (n, segment) in self.sealed().iter().enumerate() {
            let next = self.sealed().get(n + 1).map_or(active, |next| next.segment.base_offset());
            if next > self.ends.high_watermark.offset || !goes(self, segment, next) {
                break;
            }
            count += 1;
        }
        let log_end = self.ends.log_end.offset;
        if count == self.sealed.len() && self.writer.size() > 0 && log_end <= self.ends.high_watermark.offset {
            let active = SealedSegment {
                segment: Arc::clone(self.writer.segment()),
                size: self.writer.size(),
                newest: self.writer.newest(),
            };
            if goes(self, &active, log_end) {
                self.roll(log_end, now)?;
                count += 1;
            }
        }
        if count > 0 {
            self.remove_front(count)?;
        }
        Ok(count)
    }

    fn remove_front(&mut self, count: usize) -> Result<(), StorageError> {
        let gone: Vec<i64> = self.sealed().iter().take(count).map(|sealed| sealed.segment.base_offset()).collect();
        self.sealed = self.sealed.iter().skip(count).cloned().collect();
        // Readers learn of the new start before the names go.
        let first = self.first_offset();
        if first > self.ends.log_start {
            self.start_at(first)?;
        } else {
            self.publish()?;
        }
        self.unsynced_sealed.retain(|segment| !gone.contains(&segment.base_offset()));
        for base in gone {
            self.put_segment_aside(base)?;
        }
        Ok(())
    }

    fn put_segment_aside(&mut self, base_offset: i64) -> Result<(), StorageError> {
        let files = put_aside(&*self.disk, &self.dir, base_offset);
        let snapshot = self.producers.put_snapshot_aside(base_offset);
        let files = self.guard("put aside a segment of", files)?;
        let snapshot = self.guard("put aside a snapshot of", snapshot)?;
        self.doomed.extend(files.into_iter().chain(snapshot).map(|path| (None, path)));
        self.names_changed = true;
        Ok(())
    }

    /// Makes the segment that holds `offset` the active one, and removes those behind it.
    fn cut_segments(&mut self, offset: i64, now: Wall) -> Result<(), StorageError> {
        let behind: Vec<i64> = self.bases().filter(|base| *base > offset).collect();
        let jitter_ms = super::jitter(&mut self.jitter_seed, &self.config);
        let (segment, size) = match self.sealed().iter().rfind(|sealed| sealed.segment.base_offset() <= offset) {
            Some(sealed) if self.writer.segment().base_offset() > offset => (Arc::clone(&sealed.segment), sealed.size),
            _ => (Arc::clone(self.writer.segment()), self.writer.size()),
        };
        let base = segment.base_offset();
        let cut = (|| {
            let position = segment.find(offset, size, Access::Blocking)?.map_or(size, |batch| batch.position);
            let segment: Arc<Segment> = Arc::new(segment.truncated(offset, position, &self.config)?);
            let newest = segment.read_tail(position)?.newest;
            SegmentWriter::new(segment, position, newest, now, jitter_ms, &self.config)
        })();
        self.writer = self.guard("truncate", cut)?;
        self.sealed = self.sealed.iter().filter(|sealed| sealed.segment.base_offset() < base).cloned().collect();
        self.unsynced_sealed.retain(|segment| segment.base_offset() < base);
        behind.into_iter().try_for_each(|base| self.put_segment_aside(base))?;
        self.sync_cut()
    }

    /// What was cut off must not come back after a power cut: others may hold different records at those offsets by then.
    fn sync_cut(&self) -> Result<(), StorageError> {
        let synced = self.writer.segment().log().sync().and_then(|()| self.disk.sync_dir(&self.dir));
        self.guard("sync the truncation of", synced)
    }

    /// Brings the producers to the log as it is now.
    fn reload_producers(&mut self, now: Wall) -> Result<(), StorageError> {
        let (start, end) = (self.ends.log_start, self.ends.log_end.offset);
        let segments: Vec<(Arc<Segment>, u64)> = self.segments().collect();
        let reloaded = self
            .producers
            .truncate_and_reload(start, end, now)
            .and_then(|()| super::recovery::replay(&mut self.producers, &segments, end))
            .and_then(|()| self.producers.take_snapshot());
        self.unsynced_snapshots.extend(self.guard("reload the producers of", reloaded)?);
        Ok(())
    }

    pub(super) fn segments(&self) -> impl Iterator<Item = (Arc<Segment>, u64)> {
        let active = (Arc::clone(self.writer.segment()), self.writer.size());
        self.sealed().iter().map(|sealed| (Arc::clone(&sealed.segment), sealed.size)).chain([active])
    }

    pub(super) fn bases(&self) -> impl Iterator<Item = i64> {
        let active = self.writer.segment().base_offset();
        self.sealed().iter().map(|sealed| sealed.segment.base_offset()).chain([active])
    }

    fn first_offset(&self) -> i64 {
        self.sealed().first().map_or(self.writer.segment().base_offset(), |first| first.segment.base_offset())
    }

    fn size(&self) -> u64 {
        self.sealed().iter().map(|sealed| sealed.size).sum::<u64>() + self.writer.size()
    }

    /// Of a segment without timestamps, the time its file was last written to.
    fn largest_timestamp(&self, segment: &SealedSegment) -> i64 {
        if segment.newest.timestamp >= 0 {
            return segment.newest.timestamp;
        }
        let path = file_name::path_of(&self.dir, segment.segment.base_offset(), file_name::LOG);
        // A file that can't be asked counts as new: it stays.
        self.disk.metadata(&path).map_or(i64::MAX, |metadata| metadata.modified.0)
    }
}
