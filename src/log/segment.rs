//! One segment: a file of batches and its three indexes (`LogSegment`).
//!
//! What readers share: files and indexes, no state that changes other than what the indexes publish themselves. How far
//! a segment reaches is told by the view; the writing half is [`super::segment_writer`]. It must not know which
//! partition it belongs to.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::protocol::record_batch::{BatchHeader, HEADER_LEN};

use super::config::LogConfig;
use super::file_name::{CLEANED, DELETED, LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX, of_offset, path_of};
use super::index_file::Access;
use super::offset_index::OffsetIndex;
use super::storage::{Disk, DiskFile, Open};
use super::time_index::{TimeIndex, TimestampOffset};
use super::transaction_index::TransactionIndex;
use super::width::{to_u64, to_usize};

/// The suffixes of a segment's files.
pub const FILES: [&str; 4] = [LOG, OFFSET_INDEX, TIME_INDEX, TRANSACTION_INDEX];

/// Bytes read at once while stepping from header to header.
const SCAN_BYTES: usize = 1024;

/// A segment's files.
#[derive(Debug)]
pub struct Segment {
    base_offset: i64,
    log: Arc<dyn DiskFile>,
    pub offset_index: OffsetIndex,
    pub time_index: TimeIndex,
    pub transaction_index: TransactionIndex,
}

/// Where a batch lies in a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchPosition {
    pub position: u64,
    pub header: BatchHeader,
}

impl BatchPosition {
    pub fn end(&self) -> u64 {
        self.position + to_u64(self.header.size_in_bytes())
    }
}

impl Segment {
    /// A new, empty segment; whatever files there were of its name are emptied.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create(disk: &dyn Disk, dir: &Path, base_offset: i64, config: &LogConfig) -> io::Result<Self> {
        let log = disk.open(&path_of(dir, base_offset, LOG), Open::TRUNCATE)?;
        if config.preallocate {
            log.set_len(u64::from(config.segment_bytes))?;
        }
        let segment = Self {
            base_offset,
            log,
            offset_index: OffsetIndex::create(disk, dir, base_offset, config.segment_index_bytes)?,
            time_index: TimeIndex::create(disk, dir, base_offset, config.segment_index_bytes)?,
            transaction_index: TransactionIndex::create(disk, dir, base_offset)?,
        };
        segment.preallocate_indexes()?;
        Ok(segment)
    }

    /// The files that a compaction fills, under names that say so ([`CLEANED`]).
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn create_cleaned(disk: &dyn Disk, dir: &Path, base_offset: i64, config: &LogConfig) -> io::Result<Self> {
        let path = |suffix: &str| dir.join(of_offset(base_offset, suffix) + CLEANED);
        let index_bytes = config.segment_index_bytes;
        Ok(Self {
            base_offset,
            log: disk.open(&path(LOG), Open::TRUNCATE)?,
            offset_index: OffsetIndex::create_at(disk, &path(OFFSET_INDEX), base_offset, index_bytes)?,
            time_index: TimeIndex::create_at(disk, &path(TIME_INDEX), base_offset, index_bytes)?,
            transaction_index: TransactionIndex::create_at(disk, path(TRANSACTION_INDEX))?,
        })
    }

    /// A segment as its files are.
    ///
    /// # Errors
    /// `NotFound` or `InvalidData` for an index that is to be rebuilt; whatever the disk answers.
    pub fn open(disk: &dyn Disk, dir: &Path, base_offset: i64, config: &LogConfig) -> io::Result<Self> {
        Ok(Self {
            base_offset,
            log: disk.open(&path_of(dir, base_offset, LOG), Open::ReadWrite)?,
            offset_index: OffsetIndex::open(disk, dir, base_offset, config.segment_index_bytes)?,
            time_index: TimeIndex::open(disk, dir, base_offset, config.segment_index_bytes)?,
            transaction_index: TransactionIndex::open(disk, dir, base_offset)?,
        })
    }

    /// A segment whose indexes are to be filled anew from its log. Its transaction index, which needs the producers to
    /// be rebuilt, is kept when it is sound and `keep_transactions` says so.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn open_for_recovery(
        disk: &dyn Disk,
        dir: &Path,
        base_offset: i64,
        config: &LogConfig,
        keep_transactions: bool,
    ) -> io::Result<Self> {
        let transaction_index = if keep_transactions {
            TransactionIndex::open(disk, dir, base_offset)?
        } else {
            TransactionIndex::create(disk, dir, base_offset)?
        };
        Ok(Self {
            base_offset,
            log: disk.open(&path_of(dir, base_offset, LOG), Open::ReadWrite)?,
            offset_index: OffsetIndex::create(disk, dir, base_offset, config.segment_index_bytes)?,
            time_index: TimeIndex::create(disk, dir, base_offset, config.segment_index_bytes)?,
            transaction_index,
        })
    }

    /// The same files, cut to what lies before `offset`, which begins at `position`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn truncated(&self, offset: i64, position: u64, config: &LogConfig) -> io::Result<Self> {
        let segment = Self {
            base_offset: self.base_offset,
            log: Arc::clone(&self.log),
            offset_index: self.offset_index.truncated(offset, config.segment_index_bytes)?,
            time_index: self.time_index.truncated(offset, config.segment_index_bytes)?,
            transaction_index: self.transaction_index.truncated(offset)?,
        };
        segment.log.set_len(position)?;
        segment.preallocate_indexes()?;
        Ok(segment)
    }

    pub const fn base_offset(&self) -> i64 {
        self.base_offset
    }

    /// The file of batches.
    pub fn log(&self) -> &dyn DiskFile {
        &*self.log
    }

    /// Makes room for entries: the segment is, or becomes, the active one.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn preallocate_indexes(&self) -> io::Result<()> {
        self.offset_index.file().preallocate()?;
        self.time_index.file().preallocate()
    }

    /// Makes all files durable.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn sync(&self) -> io::Result<()> {
        self.log.sync()?;
        self.offset_index.file().sync()?;
        self.time_index.file().sync()?;
        self.transaction_index.sync()
    }

    /// The batches from `position`, which must be the beginning of one, to `end`.
    pub fn headers(&self, position: u64, end: u64, access: Access) -> HeaderScan<'_> {
        HeaderScan { log: &*self.log, access, position, end, chunk: [0; SCAN_BYTES], chunk_start: 0, chunk_len: 0 }
    }

    /// The first batch that ends at or after `offset`, in the first `end` bytes.
    ///
    /// # Errors
    /// As [`Access::read`]; `InvalidData` for bytes that are no batch.
    pub fn find(&self, offset: i64, end: u64, access: Access) -> io::Result<Option<BatchPosition>> {
        let start = u64::from(self.offset_index.lookup(offset, access)?);
        let mut batches = self.headers(start, end, access);
        while let Some(batch) = batches.next_header()? {
            if batch.header.last_offset() >= offset {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// Reads the end of a segment of `size` bytes whose indexes are sound: what lies behind the last index entry, since
    /// the time index knows the largest timestamp before it.
    ///
    /// # Errors
    /// Whatever the disk answers; `InvalidData` for bytes that are no batch.
    pub fn read_tail(&self, size: u64) -> io::Result<Tail> {
        let mut tail = Tail {
            newest: self.time_index.last()?.unwrap_or(TimestampOffset::UNKNOWN),
            next_offset: self.base_offset,
            end: 0,
        };
        let from = self.offset_index.lookup(i64::MAX, Access::Blocking)?;
        let mut batches = self.headers(u64::from(from), size, Access::Blocking);
        while let Some(BatchPosition { header, .. }) = batches.next_header()? {
            if header.max_timestamp > tail.newest.timestamp {
                tail.newest = TimestampOffset { timestamp: header.max_timestamp, offset: header.last_offset() };
            }
            tail.next_offset = header.next_offset();
        }
        tail.end = batches.position();
        Ok(tail)
    }
}

/// How a segment ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tail {
    pub newest: TimestampOffset,
    pub next_offset: i64,
    /// Where the last whole batch ends.
    pub end: u64,
}

/// Steps from batch to batch reading headers only.
#[derive(Debug)]
pub struct HeaderScan<'a> {
    log: &'a dyn DiskFile,
    access: Access,
    position: u64,
    end: u64,
    chunk: [u8; SCAN_BYTES],
    chunk_start: u64,
    chunk_len: usize,
}

impl HeaderScan<'_> {
    /// The next whole batch; `None` at the end, or where the batch goes past it.
    ///
    /// # Errors
    /// As [`Access::read`]; `InvalidData` for bytes that are no batch.
    pub fn next_header(&mut self) -> io::Result<Option<BatchPosition>> {
        if self.end.saturating_sub(self.position) < to_u64(HEADER_LEN) {
            return Ok(None);
        }
        if self.buffered().is_none() {
            let len = to_usize((self.end - self.position).min(to_u64(SCAN_BYTES)));
            self.chunk_len = 0;
            self.access.read(self.log, self.chunk.get_mut(..len).unwrap_or_default(), self.position)?;
            (self.chunk_start, self.chunk_len) = (self.position, len);
        }
        let Some(bytes) = self.buffered() else { return Ok(None) };
        let header = BatchHeader::parse(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let batch = BatchPosition { position: self.position, header };
        if batch.end() > self.end {
            return Ok(None);
        }
        self.position = batch.end();
        Ok(Some(batch))
    }

    /// Where the next batch begins.
    pub const fn position(&self) -> u64 {
        self.position
    }

    fn buffered(&self) -> Option<&[u8]> {
        let within = to_usize(self.position.checked_sub(self.chunk_start)?);
        self.chunk.get(..self.chunk_len)?.get(within..within.checked_add(HEADER_LEN)?)
    }
}

/// Renames the files of a segment to their `.deleted` names and returns those.
///
/// # Errors
/// Whatever the disk answers.
pub fn put_aside(disk: &dyn Disk, dir: &Path, base_offset: i64) -> io::Result<Vec<PathBuf>> {
    rename_files(disk, dir, base_offset, "", DELETED)
}

/// Gives the files of a segment another last suffix, the log first, and returns their new names.
///
/// # Errors
/// Whatever the disk answers.
pub fn rename_files(disk: &dyn Disk, dir: &Path, base_offset: i64, from: &str, to: &str) -> io::Result<Vec<PathBuf>> {
    let mut renamed = Vec::with_capacity(FILES.len());
    for suffix in FILES {
        let name = of_offset(base_offset, suffix);
        let path = dir.join(name.clone() + to);
        match disk.rename(&dir.join(name + from), &path) {
            Ok(()) => renamed.push(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(renamed)
}

/// A run of batches in a segment. Cloning it keeps the segment's file open, even when the segment is deleted.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub segment: Arc<Segment>,
    pub position: u64,
    pub len: u32,
}

impl FileRange {
    /// Fills `buffer` from the range's byte `at` on; may wait for the disk.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file is shorter than it was told to be, or the buffer reaches past the range: damage,
    /// never to be sent as data. Whatever the disk answers.
    pub fn read_at(&self, at: u32, buffer: &mut [u8]) -> io::Result<()> {
        if u64::from(at) + to_u64(buffer.len()) > u64::from(self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.segment.log.read_exact(buffer, self.position + u64::from(at))
    }

    /// Reads from the range's byte `at` on what is in memory, perhaps less than `buffer` holds, never more than the
    /// range has, and says how much.
    ///
    /// # Errors
    /// `WouldBlock` when the next byte must come from the disk.
    pub fn read_nowait(&self, at: u32, buffer: &mut [u8]) -> io::Result<usize> {
        let left = to_usize(u64::from(self.len.saturating_sub(at)));
        let wanted = buffer.len().min(left);
        let buffer = buffer.get_mut(..wanted).unwrap_or_default();
        match self.segment.log.read_nowait(buffer, self.position + u64::from(at))? {
            // The end of the file within the range is for the blocking read to call damage.
            0 if wanted > 0 => Err(io::ErrorKind::WouldBlock.into()),
            got => Ok(got),
        }
    }

    /// A part of the range.
    #[must_use]
    pub fn part(&self, at: u32, len: u32) -> Self {
        let at = at.min(self.len);
        Self {
            segment: Arc::clone(&self.segment),
            position: self.position + u64::from(at),
            len: len.min(self.len - at),
        }
    }
}
