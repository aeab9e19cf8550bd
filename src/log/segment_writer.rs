//! The writing half of the active segment: appends, index intervals, when to roll (`LogSegment.append`, `shouldRoll`).
//!
//! Owned by the log's writer. Offsets are already assigned, bytes already checked.

use std::io::{self, IoSlice};
use std::sync::Arc;

use crate::model::time::Wall;
use crate::protocol::record_batch::BatchHeader;

use super::config::LogConfig;
use super::index_file::Access;
use super::segment::Segment;
use super::time_index::TimestampOffset;
use super::width::{to_u32, to_u64};

/// A segment that takes no more records.
#[derive(Clone, Debug)]
pub struct SealedSegment {
    pub segment: Arc<Segment>,
    pub size: u64,
    /// Its largest timestamp and the last offset of the batch that first reached it.
    pub newest: TimestampOffset,
}

/// The active segment.
#[derive(Debug)]
pub struct SegmentWriter {
    segment: Arc<Segment>,
    size: u64,
    bytes_since_index_entry: u64,
    created: Wall,
    first_timestamp: Option<i64>,
    newest: TimestampOffset,
    jitter_ms: i64,
    index_interval_bytes: u64,
}

/// What an append asks of the segment before it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RollRequest {
    pub now: Wall,
    pub bytes: u64,
    pub max_timestamp: i64,
    pub last_offset: i64,
}

/// What is about to be written before it, in the same call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Pending {
    pub bytes: u64,
    pub first_timestamp: Option<i64>,
}

impl SegmentWriter {
    /// Takes over a segment whose first `size` bytes are batches.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn new(
        segment: Arc<Segment>,
        size: u64,
        newest: TimestampOffset,
        now: Wall,
        jitter_ms: i64,
        config: &LogConfig,
    ) -> io::Result<Self> {
        let first = segment.headers(0, size, Access::Blocking).next_header()?;
        let first_timestamp = first.map(|batch| batch.header.max_timestamp);
        Ok(Self {
            segment,
            size,
            bytes_since_index_entry: 0,
            created: now,
            first_timestamp,
            newest,
            jitter_ms,
            index_interval_bytes: u64::from(config.index_interval_bytes),
        })
    }

    pub const fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub const fn size(&self) -> u64 {
        self.size
    }

    pub const fn newest(&self) -> TimestampOffset {
        self.newest
    }

    /// Must the log go on in a new segment before this is appended?
    pub fn should_roll(&self, request: &RollRequest, pending: &Pending, config: &LogConfig) -> bool {
        let size = self.size + pending.bytes;
        let waited = match self.first_timestamp.or(pending.first_timestamp) {
            Some(first) if first >= 0 => request.max_timestamp.saturating_sub(first),
            _ => request.now.0.saturating_sub(self.created.0),
        };
        let too_long = size > 0 && waited > config.active_ms_max().saturating_sub(self.jitter_ms);
        let too_large = size + request.bytes > u64::from(config.segment_bytes);
        let too_far = i32::try_from(request.last_offset.saturating_sub(self.segment.base_offset())).is_err();
        let full = self.segment.offset_index.is_full() || self.segment.time_index.is_full();
        (size > 0 && (too_large || full)) || too_long || too_far
    }

    /// Writes bytes at the end in one go, and index entries for the batches they hold.
    ///
    /// # Errors
    /// Whatever the disk answers; the file may hold a part of the bytes then.
    pub fn append(&mut self, slices: &mut [IoSlice<'_>], headers: &[BatchHeader]) -> io::Result<()> {
        self.segment.log().write_slices(slices, self.size)?;
        for header in headers {
            self.index(header)?;
        }
        Ok(())
    }

    /// Accounts for a batch that lies at the end of what was accounted for; also how recovery rebuilds the indexes.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn index(&mut self, header: &BatchHeader) -> io::Result<()> {
        let last_offset = header.last_offset();
        if header.max_timestamp > self.newest.timestamp {
            self.newest = TimestampOffset { timestamp: header.max_timestamp, offset: last_offset };
        }
        if self.bytes_since_index_entry > self.index_interval_bytes {
            self.segment.offset_index.append(last_offset, to_u32(self.size))?;
            self.segment.time_index.maybe_append(self.newest, false)?;
            self.bytes_since_index_entry = 0;
        }
        if self.size == 0 {
            self.first_timestamp = Some(header.max_timestamp);
        }
        let bytes = to_u64(header.size_in_bytes());
        self.size += bytes;
        self.bytes_since_index_entry += bytes;
        Ok(())
    }

    /// Ends the segment: a last entry with its largest timestamp, files cut to what they hold.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn seal(&self) -> io::Result<SealedSegment> {
        if self.newest != TimestampOffset::UNKNOWN {
            self.segment.time_index.maybe_append(self.newest, true)?;
        }
        self.segment.offset_index.file().trim()?;
        self.segment.time_index.file().trim()?;
        if self.segment.log().len()? > self.size {
            self.segment.log().set_len(self.size)?;
        }
        Ok(SealedSegment { segment: Arc::clone(&self.segment), size: self.size, newest: self.newest })
    }

    /// `index.interval.bytes` changed.
    pub fn set_index_interval(&mut self, bytes: u32) {
        self.index_interval_bytes = u64::from(bytes);
    }
}
