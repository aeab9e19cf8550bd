//! The lane's part of a compaction: where a round begins, and putting in place what it has written.
//!
//! In place means: `.cleaned` becomes `.swap`, which is from then on the truth, also for a start after a crash; the old
//! files become `.deleted`; `.swap` loses its suffix. Each step renames the log before its indexes, which can be rebuilt.

use std::io;
use std::sync::Arc;

use super::UnifiedLog;
use crate::log::cleaner::{CleanedSegment, Compaction, Parts, discard, survey};
use crate::log::file_name::{CLEANED, SWAP};
use crate::log::index_file::Access;
use crate::log::log_dir::StorageError;
use crate::log::segment::{Segment, put_aside, rename_files};
use crate::log::segment_writer::SealedSegment;
use crate::log::transaction_index::AbortedTxn;
use crate::log::view::OffsetPosition;
use crate::model::time::Wall;

impl UnifiedLog {
    /// Sets a round off; `None` where there is nothing for it. `checkpoint` is where the last one ended.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn begin_compaction(&self, checkpoint: Option<i64>, now: Wall) -> Result<Option<Compaction>, StorageError> {
        self.log_dir.check()?;
        let found = survey(&self.published(), &self.config, checkpoint, now);
        if !self.config.cleanup_policy.compact || found.dirty_bytes == 0 {
            return Ok(None);
        }
        let aborted = self.aborted_transactions();
        let below = |segment: &&SealedSegment| segment.segment.base_offset() < found.end;
        Ok(Some(Compaction::new(Parts {
            disk: Arc::clone(&self.disk),
            dir: self.dir.clone(),
            view: Arc::clone(&self.view),
            config: Arc::clone(&self.config),
            segments: self.sealed().iter().take_while(below).cloned().collect(),
            first_dirty: found.first_dirty,
            end: found.end,
            aborted: self.guard("read the transaction indexes of", aborted)?,
            last_batches: self.producers.last_batches(),
            now,
        })))
    }

    /// Puts a segment of a round in the place of those it was written from. `false` when they are no longer what they were:
    /// it is thrown away then.
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn put_in_place(&mut self, cleaned: &CleanedSegment) -> Result<bool, StorageError> {
        self.log_dir.check()?;
        let replaces = &cleaned.replaces;
        let is_old = |sealed: &SealedSegment| replaces.iter().any(|old| Arc::ptr_eq(old, &sealed.segment));
        let start = self.sealed().iter().position(&is_old);
        let run = self.sealed().iter().filter(|sealed| is_old(sealed)).count();
        let Some(start) = start.filter(|_| run == replaces.len()) else {
            discard(&*self.disk, &self.dir, cleaned.base_offset);
            return Ok(false);
        };
        let swapped = self.swap_files(cleaned);
        let sealed = self.guard("put a compacted segment in place of", swapped)?;
        let before = self.sealed().iter().take(start).cloned();
        let after = self.sealed().iter().skip(start + run).cloned();
        self.sealed = before.chain([sealed]).chain(after).collect();
        self.unsynced_sealed.retain(|segment| !replaces.iter().any(|old| Arc::ptr_eq(old, segment)));
        // An end that is told by the old files is the end of the last of them.
        for end in [&mut self.ends.high_watermark, &mut self.ends.last_stable] {
            if (cleaned.base_offset..cleaned.next_base).contains(&end.segment) {
                *end = OffsetPosition { offset: end.offset, segment: cleaned.next_base, position: 0 };
            }
        }
        self.publish()?;
        Ok(true)
    }

    fn swap_files(&mut self, cleaned: &CleanedSegment) -> io::Result<SealedSegment> {
        let base = cleaned.base_offset;
        rename_files(&*self.disk, &self.dir, base, CLEANED, SWAP)?;
        self.disk.sync_dir(&self.dir)?;
        for old in &cleaned.replaces {
            let files = put_aside(&*self.disk, &self.dir, old.base_offset())?;
            let gone = old.base_offset() != base;
            let snapshot = if gone { self.producers.put_snapshot_aside(old.base_offset())? } else { None };
            self.doomed.extend(files.into_iter().chain(snapshot).map(|path| (None, path)));
        }
        rename_files(&*self.disk, &self.dir, base, SWAP, "")?;
        self.disk.sync_dir(&self.dir)?;
        let segment = Segment::open(&*self.disk, &self.dir, base, &self.config)?;
        Ok(SealedSegment { segment: Arc::new(segment), size: cleaned.size, newest: cleaned.newest })
    }

    /// All that the indexes have, also behind what a round looks at: a marker may lie there.
    pub(super) fn aborted_transactions(&self) -> io::Result<Vec<AbortedTxn>> {
        let mut found = Vec::new();
        for (segment, _) in self.segments() {
            found.extend(segment.transaction_index.entries(Access::Blocking)?);
        }
        Ok(found)
    }
}
