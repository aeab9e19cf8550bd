//! `.index`: where in a segment an offset is (`OffsetIndex`).
//!
//! An entry says that the batch *ending* at an offset *begins* at a position: i32 offset relative to the segment's
//! base, i32 position. The first batch of a segment has none.

use std::io;
use std::path::Path;

use super::file_name::{OFFSET_INDEX, path_of};
use super::index_file::{Access, Entry, IndexFile};
use super::storage::{Disk, Open};
use super::width::to_u32;

/// One entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetEntry {
    relative_offset: u32,
    position: u32,
}

impl Entry for OffsetEntry {
    const SIZE: usize = 8;

    fn to_words(self) -> [u64; 2] {
        [u64::from(self.relative_offset), u64::from(self.position)]
    }

    fn from_words([relative_offset, position]: [u64; 2]) -> Self {
        Self { relative_offset: to_u32(relative_offset), position: to_u32(position) }
    }

    fn encode(self, out: &mut [u8; 12]) {
        let [a, b, c, d] = self.relative_offset.to_be_bytes();
        let [e, f, g, h] = self.position.to_be_bytes();
        *out = [a, b, c, d, e, f, g, h, 0, 0, 0, 0];
    }

    fn decode(&[a, b, c, d, e, f, g, h, ..]: &[u8; 12]) -> Self {
        Self { relative_offset: u32::from_be_bytes([a, b, c, d]), position: u32::from_be_bytes([e, f, g, h]) }
    }
}

/// The offset index of one segment.
#[derive(Debug)]
pub struct OffsetIndex {
    base_offset: i64,
    entries: IndexFile<OffsetEntry>,
}

impl OffsetIndex {
    /// A new, empty index, in place of whatever the file holds.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create(disk: &dyn Disk, dir: &Path, base_offset: i64, max_bytes: u32) -> io::Result<Self> {
        Self::create_at(disk, &path_of(dir, base_offset, OFFSET_INDEX), base_offset, max_bytes)
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
        let path = path_of(dir, base_offset, OFFSET_INDEX);
        let file = disk.open(&path, Open::ReadWrite)?;
        let len = file.len()?;
        let index = Self { base_offset, entries: IndexFile::new(file, to_u32(len / 8), max_bytes) };
        // Two entries with the same offset: zeros of the preallocated rest, left by a crash behind a clean mark.
        let sound = len.is_multiple_of(8)
            && match index.entries.last(Access::Blocking)? {
                Some(last) => {
                    let first = index.entries.entry(0, Access::Blocking)?;
                    i32::try_from(last.relative_offset).is_ok()
                        && (len == 8 || last.relative_offset > first.relative_offset)
                }
                None => true,
            };
        if sound { Ok(index) } else { Err(corrupt(&path)) }
    }

    /// A batch that ends at `offset` begins at `position`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn append(&self, offset: i64, position: u32) -> io::Result<()> {
        match u32::try_from(offset - self.base_offset) {
            Ok(relative_offset) if !self.is_full() => self.entries.append(OffsetEntry { relative_offset, position }),
            // The segment is rolled before the next append; a missing entry only makes a search longer.
            _ => Ok(()),
        }
    }

    /// A position at or before the batch with `offset`, from which to search on.
    ///
    /// # Errors
    /// As [`Access::read`].
    pub fn lookup(&self, offset: i64, access: Access) -> io::Result<u32> {
        let target = u64::try_from(offset.saturating_sub(self.base_offset)).unwrap_or(0);
        let (_, found) = self.entries.last_where(access, |entry| u64::from(entry.relative_offset) <= target)?;
        Ok(found.map_or(0, |entry| entry.position))
    }

    /// The offset of the first entry whose batch begins at `position` or later.
    ///
    /// # Errors
    /// As [`Access::read`].
    pub fn first_offset_from(&self, position: u32, access: Access) -> io::Result<Option<i64>> {
        let (before, _) = self.entries.last_where(access, |entry| entry.position < position)?;
        if before >= self.entries.count() {
            return Ok(None);
        }
        let entry = self.entries.entry(before, access)?;
        Ok(Some(self.base_offset.saturating_add(i64::from(entry.relative_offset))))
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
        self.entries.room() == 0
    }

    pub const fn file(&self) -> &IndexFile<OffsetEntry> {
        &self.entries
    }
}

fn corrupt(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not an index", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::FaultyDisk;

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let (disk, dir) = (FaultyDisk::new(), Path::new("/"));
        let index = OffsetIndex::create(&disk, dir, 100, 10 << 20).unwrap();
        index.file().preallocate().unwrap();
        let path = dir.join("00000000000000000100.index");
        assert_eq!(disk.metadata(&path).unwrap().len, 10_485_760);
        index.append(155, 4148).unwrap();
        index.append(200, 9000).unwrap();
        for (offset, position) in [(0, 0), (154, 0), (155, 4148), (199, 4148), (200, 9000), (i64::MAX, 9000)] {
            assert_eq!(index.lookup(offset, Access::Cached).unwrap(), position, "{offset}");
        }
        index.file().trim().unwrap();
        let bytes = disk.read_file(&path, 99).unwrap();
        assert_eq!(bytes, [0, 0, 0, 0x37, 0, 0, 0x10, 0x34, 0, 0, 0, 100, 0, 0, 0x23, 0x28]);
        let again = OffsetIndex::open(&disk, dir, 100, 10 << 20).unwrap();
        assert_eq!(again.truncated(200, 10 << 20).unwrap().lookup(300, Access::Blocking).unwrap(), 4148);
        assert_eq!(again.truncated(201, 10 << 20).unwrap().lookup(300, Access::Blocking).unwrap(), 9000);
    }

    #[test]
    fn a_file_of_another_size_is_no_index() {
        let (disk, dir) = (FaultyDisk::new(), Path::new("/"));
        let index = OffsetIndex::create(&disk, dir, 0, 16).unwrap();
        index.append(1, 1).unwrap();
        index.append(2, 2).unwrap();
        index.append(3, 3).unwrap();
        assert!(index.is_full(), "a third entry does not fit and is left out");
        index.file().trim().unwrap();
        disk.open(&dir.join("00000000000000000000.index"), Open::ReadWrite).unwrap().set_len(15).unwrap();
        assert_eq!(OffsetIndex::open(&disk, dir, 0, 16).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(OffsetIndex::open(&disk, dir, 5, 16).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
