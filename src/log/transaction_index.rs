//! `.txnindex`: the transactions that were aborted in a segment (`TransactionIndex`, `AbortedTxn`).
//!
//! A consumer that reads committed records only is told of them, and drops their records itself. The file exists once
//! there is an entry, and is never preallocated.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use super::file_name::{TRANSACTION_INDEX, path_of};
use super::index_file::Access;
use super::storage::{Disk, DiskFile, Open};
use super::width::to_u32;

/// Bytes of an entry: i16 version 0 and four i64.
const ENTRY_BYTES: u64 = 34;

/// One aborted transaction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AbortedTxn {
    pub producer_id: i64,
    pub first_offset: i64,
    /// The abort marker's.
    pub last_offset: i64,
    /// Where the last stable offset stood when the marker was written.
    pub last_stable_offset: i64,
}

impl AbortedTxn {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = vec![0, 0];
        for field in [self.producer_id, self.first_offset, self.last_offset, self.last_stable_offset] {
            bytes.extend(field.to_be_bytes());
        }
        bytes
    }

    /// `None` for an entry of another version.
    fn parse(bytes: &[u8; 34]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first_chunk::<2>()?;
        let mut field = || {
            let (head, tail) = rest.split_first_chunk::<8>()?;
            rest = tail;
            Some(i64::from_be_bytes(*head))
        };
        let entry =
            Self { producer_id: field()?, first_offset: field()?, last_offset: field()?, last_stable_offset: field()? };
        (i16::from_be_bytes(*version) == 0).then_some(entry)
    }
}

/// The transaction index of one segment. One writer, readers without a lock.
#[derive(Debug)]
pub struct TransactionIndex {
    path: PathBuf,
    file: OnceLock<Arc<dyn DiskFile>>,
    count: AtomicU32,
}

impl TransactionIndex {
    /// The index as the file holds it; empty where there is none.
    ///
    /// # Errors
    /// `InvalidData` for a file that can't be an index of this segment, which is to be rebuilt then.
    pub fn open(disk: &dyn Disk, dir: &Path, base_offset: i64) -> io::Result<Self> {
        let path = path_of(dir, base_offset, TRANSACTION_INDEX);
        let file = match disk.open(&path, Open::ReadWrite) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, file: OnceLock::new(), count: AtomicU32::new(0) });
            }
            Err(error) => return Err(error),
        };
        let len = file.len()?;
        let index = Self { path, file: OnceLock::from(file), count: AtomicU32::new(to_u32(len / ENTRY_BYTES)) };
        let all = index.entries(Access::Blocking)?;
        if len.is_multiple_of(ENTRY_BYTES) && all.iter().all(|entry| entry.last_offset >= base_offset) {
            Ok(index)
        } else {
            Err(corrupt(&index.path))
        }
    }

    /// An empty index; the file that was there is removed.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create(disk: &dyn Disk, dir: &Path, base_offset: i64) -> io::Result<Self> {
        Self::create_at(disk, path_of(dir, base_offset, TRANSACTION_INDEX))
    }

    /// The same under another name.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create_at(disk: &dyn Disk, path: PathBuf) -> io::Result<Self> {
        disk.remove_file_if_there(&path)?;
        Ok(Self { path, file: OnceLock::new(), count: AtomicU32::new(0) })
    }

    /// Adds an entry at the end. Only the log's one writer may.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn append(&self, disk: &dyn Disk, entry: AbortedTxn) -> io::Result<()> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let made = disk.open(&self.path, Open::TRUNCATE)?;
                self.file.get_or_init(|| made)
            }
        };
        let count = self.count.load(Ordering::Acquire);
        file.write_all(&[&entry.to_bytes()], u64::from(count) * ENTRY_BYTES)?;
        self.count.store(count + 1, Ordering::Release);
        Ok(())
    }

    /// Adds to `found` the transactions with records from `from` to before `upper`; `true` once no later segment can
    /// hold more of them.
    ///
    /// # Errors
    /// As [`Access::read`]; `InvalidData` for a damaged entry.
    pub fn collect(&self, from: i64, upper: i64, access: Access, found: &mut Vec<AbortedTxn>) -> io::Result<bool> {
        for entry in self.entries(access)? {
            if entry.last_offset >= from && entry.first_offset < upper {
                found.push(entry);
            }
            if entry.last_stable_offset >= upper {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The same index without the transactions that ended at `offset` or later.
    ///
    /// # Errors
    /// Whatever the disk answers; `InvalidData` for a damaged entry.
    pub fn truncated(&self, offset: i64) -> io::Result<Self> {
        let kept = self.entries(Access::Blocking)?.iter().take_while(|entry| entry.last_offset < offset).count();
        let kept = u32::try_from(kept).unwrap_or(u32::MAX);
        if let Some(file) = self.file.get() {
            file.set_len(u64::from(kept) * ENTRY_BYTES)?;
        }
        Ok(Self { path: self.path.clone(), file: self.file.clone(), count: AtomicU32::new(kept) })
    }

    /// # Errors
    /// Whatever the disk answers.
    pub fn sync(&self) -> io::Result<()> {
        self.file.get().map_or(Ok(()), |file| file.sync())
    }

    /// All entries, in the order of their markers.
    ///
    /// # Errors
    /// As [`Access::read`]; `InvalidData` for a damaged entry.
    pub fn entries(&self, access: Access) -> io::Result<Vec<AbortedTxn>> {
        let Some(file) = self.file.get() else { return Ok(Vec::new()) };
        let count = self.count.load(Ordering::Acquire);
        (0..count)
            .map(|n| {
                let mut bytes = [0; 34];
                access.read(&**file, &mut bytes, u64::from(n) * ENTRY_BYTES)?;
                AbortedTxn::parse(&bytes).ok_or_else(|| corrupt(&self.path))
            })
            .collect()
    }
}

fn corrupt(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a transaction index", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::FaultyDisk;

    fn aborted(first_offset: i64, last_offset: i64, last_stable_offset: i64) -> AbortedTxn {
        AbortedTxn { producer_id: 1, first_offset, last_offset, last_stable_offset }
    }

    #[test]
    fn an_entry_has_kafkas_bytes() {
        let (disk, dir) = (FaultyDisk::new(), Path::new("/"));
        let index = TransactionIndex::open(&disk, dir, 0).unwrap();
        let path = dir.join("00000000000000000000.txnindex");
        assert!(!disk.exists(&path).unwrap());
        index.append(&disk, aborted(7, 8, 9)).unwrap();
        let expected = "0000 0000000000000001 0000000000000007 0000000000000008 0000000000000009".replace(' ', "");
        let found: String = disk.read_file(&path, 99).unwrap().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_range_gets_its_transactions() {
        let (disk, dir) = (FaultyDisk::new(), Path::new("/"));
        let index = TransactionIndex::open(&disk, dir, 0).unwrap();
        for entry in [aborted(0, 10, 11), aborted(5, 15, 16), aborted(12, 20, 21)] {
            index.append(&disk, entry).unwrap();
        }
        let index = TransactionIndex::open(&disk, dir, 0).unwrap();
        let collect = |from, upper| {
            let mut found = Vec::new();
            let complete = index.collect(from, upper, Access::Blocking, &mut found).unwrap();
            (found.iter().map(|entry| entry.first_offset).collect::<Vec<_>>(), complete)
        };
        assert_eq!(collect(0, 4), (vec![0], true));
        assert_eq!(collect(11, 13), (vec![5], true));
        assert_eq!(collect(11, 40), (vec![5, 12], false));
        assert_eq!(index.truncated(20).unwrap().count.load(Ordering::Relaxed), 2);
        disk.open(&dir.join("00000000000000000000.txnindex"), Open::ReadWrite).unwrap().set_len(70).unwrap();
        assert_eq!(TransactionIndex::open(&disk, dir, 0).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
