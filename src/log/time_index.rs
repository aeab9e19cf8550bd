//! `.timeindex`: from which offset on a timestamp may be found (`TimeIndex`).
//!
//! An entry says that the largest timestamp up to here was first reached in the batch that ends at an offset: i64
//! timestamp, i32 offset relative to the segment's base. Both only grow. The last entry of a closed segment is its
//! largest timestamp.

use std::io;
use std::path::Path;

use super::file_name::{TIME_INDEX, path_of};
use super::index_file::{Access, Entry, IndexFile};
use super::storage::{Disk, Open};
use super::width::{to_u32, to_u64};

/// A timestamp in ms, and the offset it belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    pub timestamp: i64,
    pub offset: i64,
}

impl TimestampOffset {
    /// No record has a timestamp yet.
    pub const UNKNOWN: Self = Self { timestamp: -1, offset: -1 };
}

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimeEntry {
    timestamp: i64,
    relative_offset: u32,
}

impl Entry for TimeEntry {
    const SIZE: usize = 12;

    fn to_words(self) -> [u64; 2] {
        [self.timestamp.cast_unsigned(), u64::from(self.relative_offset)]
    }

    fn from_words([timestamp, relative_offset]: [u64; 2]) -> Self {
        Self { timestamp: timestamp.cast_signed(), relative_offset: to_u32(relative_offset) }
    }

    fn encode(self, out: &mut [u8; 12]) {
        let [a, b, c, d, e, f, g, h] = self.timestamp.to_be_bytes();
        let [i, j, k, l] = self.relative_offset.to_be_bytes();
        *out = [a, b, c, d, e, f, g, h, i, j, k, l];
    }

    fn decode(&[a, b, c, d, e, f, g, h, i, j, k, l]: &[u8; 12]) -> Self {
        Self {
            timestamp: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
            relative_offset: u32::from_be_bytes([i, j, k, l]),
        }
    }
}

/// The time index of one segment.
#[derive(Debug)]
pub struct TimeIndex {
    base_offset: i64,
    entries: IndexFile<TimeEntry>,
}

impl TimeIndex {
    /// A new, empty index, in place of whatever the file holds.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create(disk: &dyn Disk, dir: &Path, base_offset: i64, max_bytes: u32) -> io::Result<Self> {
        Self::create_at(disk, &path_of(dir, base_offset, TIME_INDEX), base_offset, max_bytes)
    }

    /// The same under another name.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create_at(disk: &dyn Disk, path: &Path, base_offset: i64, max_bytes: u32) -> io::Result<Self> {
        let file = disk.open(path, Open::TRUNCATE)?;
        Ok(Self { base_offset, entries: IndexFile::new(file, 0, max_bytes) })
    }

    /// The index as the file holds it.
    ///
    /// # Errors
    /// `NotFound`; `InvalidData` for a file that can't be an index, which is to be rebuilt then.
    pub fn open(disk: &dyn Disk, dir: &Path, base_offset: i64, max_bytes: u32) -> io::Result<Self> {
        let path = path_of(dir, base_offset, TIME_INDEX);
        let file = disk.open(&path, Open::ReadWrite)?;
        let len = file.len()?;
        let entry = to_u64(TimeEntry::SIZE);
        let index = Self { base_offset, entries: IndexFile::new(file, to_u32(len / entry), max_bytes) };
        let sound = len.is_multiple_of(entry)
            && match index.entries.last(Access::Blocking)? {
                Some(last) => {
                    let first = index.entries.entry(0, Access::Blocking)?;
                    (len == entry || last.timestamp > first.timestamp) && i32::try_from(last.relative_offset).is_ok()
                }
                None => true,
            };
        if sound {
            Ok(index)
        } else {
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a time index", path.display())))
        }
    }

    /// Adds an entry if the timestamp is larger than the last one. The last slot is kept for the one at roll or close,
    /// which passes `closing`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn maybe_append(&self, newest: TimestampOffset, closing: bool) -> io::Result<()> {
        let Ok(relative_offset) = u32::try_from(newest.offset - self.base_offset) else { return Ok(()) };
        let last = self.entries.last(Access::Blocking)?;
        let grew = newest.timestamp > last.map_or(-1, |last| last.timestamp);
        let in_order = last.is_none_or(|last| relative_offset >= last.relative_offset);
        let fits = self.entries.room() > u32::from(!closing);
        if grew && in_order && fits {
            self.entries.append(TimeEntry { timestamp: newest.timestamp, relative_offset })?;
        }
        Ok(())
    }

    /// The last entry with a timestamp of at most `timestamp`: no record before its offset is larger.
    ///
    /// # Errors
    /// As [`Access::read`].
    pub fn lookup(&self, timestamp: i64, access: Access) -> io::Result<TimestampOffset> {
        let (_, found) = self.entries.last_where(access, |entry| entry.timestamp <= timestamp)?;
        Ok(found.map_or(TimestampOffset { timestamp: -1, offset: self.base_offset }, |entry| self.absolute(entry)))
    }

    /// # Errors
    /// Whatever the disk answers.
    pub fn last(&self) -> io::Result<Option<TimestampOffset>> {
        Ok(self.entries.last(Access::Blocking)?.map(|entry| self.absolute(entry)))
    }

    /// The same index without the entries from `offset` on.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn truncated(&self, offset: i64, max_bytes: u32) -> io::Result<Self> {
        let target = u64::try_from(offset.saturating_sub(self.base_offset)).unwrap_or(0);
        let (kept, _) = self.entries.last_where(Access::Blocking, |entry| u64::from(entry.relative_offset) < target)?;
        Ok(Self { base_offset: self.base_offset, entries: self.entries.cut(kept, max_bytes)? })
    }

    pub fn is_full(&self) -> bool {
        self.entries.room() <= 1
    }

    pub const fn file(&self) -> &IndexFile<TimeEntry> {
        &self.entries
    }

    fn absolute(&self, entry: TimeEntry) -> TimestampOffset {
        TimestampOffset {
            timestamp: entry.timestamp,
            offset: self.base_offset.saturating_add(i64::from(entry.relative_offset)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::FaultyDisk;

    fn at(timestamp: i64, offset: i64) -> TimestampOffset {
        TimestampOffset { timestamp, offset }
    }

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let (disk, dir) = (FaultyDisk::new(), Path::new("/"));
        let index = TimeIndex::create(&disk, dir, 100, 10 << 20).unwrap();
        index.file().preallocate().unwrap();
        let path = dir.join("00000000000000000100.timeindex");
        assert_eq!(disk.metadata(&path).unwrap().len, 10_485_756);
        index.maybe_append(at(0x01a2_08ad_7def, 155), false).unwrap();
        index.maybe_append(at(0x01a2_08ad_7def, 160), false).unwrap();
        index.maybe_append(at(5, 170), false).unwrap();
        index.file().trim().unwrap();
        assert_eq!(disk.read_file(&path, 99).unwrap(), [0, 0, 1, 0xa2, 8, 0xad, 0x7d, 0xef, 0, 0, 0, 0x37]);
    }

    #[test]
    fn lookup_gives_the_last_entry_not_past_the_time() {
        let (disk, dir) = (FaultyDisk::new(), Path::new("/"));
        let index = TimeIndex::create(&disk, dir, 10, 36).unwrap();
        assert_eq!(index.lookup(5, Access::Cached).unwrap(), at(-1, 10));
        for entry in [at(100, 12), at(200, 15), at(300, 18)] {
            index.maybe_append(entry, false).unwrap();
        }
        assert!(index.is_full());
        assert_eq!(index.last().unwrap(), Some(at(200, 15)), "the last slot is for the end");
        index.maybe_append(at(300, 18), true).unwrap();
        for (timestamp, found) in [(99, at(-1, 10)), (100, at(100, 12)), (299, at(200, 15)), (999, at(300, 18))] {
            assert_eq!(index.lookup(timestamp, Access::Cached).unwrap(), found);
        }
        assert_eq!(index.truncated(18, 36).unwrap().last().unwrap(), Some(at(200, 15)));
        index.file().trim().unwrap();
        assert_eq!(TimeIndex::open(&disk, dir, 10, 36).unwrap().last().unwrap(), Some(at(300, 18)));
    }
}
