//! The readers' half of a log: one published value, no locks.
//!
//! The writer publishes, after the bytes are written, one [`Published`] that holds the segments and every end a reader
//! may go by: log end, high watermark, last stable offset, each with the byte it lies at. So a fetch at the tail touches
//! no index and never sees half a change. Precedent: `UnifiedLog.read`, `LogOffsetMetadata`. It must not know who reads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwap;

use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicId, TopicIdPartition, TopicPartition};

use super::index_file::Access;
use super::leader_epoch_cache::{EpochEndOffset, Epochs, end_offset_for, epoch_for_offset};
use super::log_dir::{LogDir, StorageError};
use super::segment::{FileRange, Segment};
use super::segment_writer::SealedSegment;
use super::time_index::TimestampOffset;
use super::transaction_index::AbortedTxn;
use super::width::{to_u32, to_u64};

mod lookup;

pub use lookup::{FoundOffset, LookupError};

/// Places of recent appends that are remembered, so that a reader who follows the log needs no index.
const RECENT: usize = 16;

/// An offset and where its batch begins: the segment's base offset, and the byte in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OffsetPosition {
    pub offset: i64,
    pub segment: i64,
    pub position: u64,
}

/// The ends of a log at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ends {
    pub log_start: i64,
    pub log_end: OffsetPosition,
    pub high_watermark: OffsetPosition,
    pub last_stable: OffsetPosition,
}

impl Ends {
    /// The end a reader of this kind may go to.
    pub const fn up_to(&self, up_to: UpTo) -> OffsetPosition {
        match up_to {
            UpTo::LogEnd => self.log_end,
            UpTo::HighWatermark => self.high_watermark,
            UpTo::LastStable => self.last_stable,
        }
    }
}

/// How far a reader may go (`FetchIsolation`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum UpTo {
    /// Replicas.
    LogEnd,
    /// Consumers.
    HighWatermark,
    /// Consumers that read committed records only; the answer names aborted transactions.
    LastStable,
}

/// What to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadRequest {
    pub from: i64,
    pub max_bytes: u32,
    pub up_to: UpTo,
    /// Return the first batch even if it is larger than `max_bytes` (KIP-74).
    pub at_least_one: bool,
    /// [`Access::Cached`] on threads that must not wait: the answer may be [`ReadError::WouldBlock`].
    pub access: Access,
}

/// What there was.
#[derive(Clone, Debug)]
pub struct ReadSlice {
    /// `None` when there is nothing, or nothing that fits. The first batch is the one that holds `from`; the last may be
    /// cut at the size limit, as Kafka cuts it.
    pub range: Option<FileRange>,
    /// Where reading would have gone on but for the size: there is more than was returned.
    pub has_more: bool,
    pub ends: Ends,
    /// For [`UpTo::LastStable`]: transactions whose records in the range are to be left out.
    pub aborted: Vec<AbortedTxn>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("offset {from} is not within {log_start}..={log_end}")]
    OffsetOutOfRange { from: i64, log_start: i64, log_end: i64 },
    /// Only with [`Access::Cached`].
    #[error("the read would wait for the disk")]
    WouldBlock,
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// What lies on the disk is not what was written.
    #[error("{partition}: {error}")]
    Damage { partition: TopicPartition, error: io::Error },
}

impl ReadError {
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
            Self::Storage(_) | Self::WouldBlock => ErrorCode::KafkaStorageError,
            Self::Damage { .. } => ErrorCode::CorruptMessage,
        }
    }
}

/// What the writer publishes.
#[derive(Clone, Debug)]
pub(super) struct Published {
    pub(super) sealed: Arc<[SealedSegment]>,
    pub(super) active: Arc<Segment>,
    pub(super) newest: TimestampOffset,
    pub(super) ends: Ends,
    /// The last places that were once a log end, in the active segment only; (-1, 0) where there are fewer.
    pub(super) recent: [(i64, u64); RECENT],
}

impl Published {
    pub(super) const NOTHING_RECENT: [(i64, u64); RECENT] = [(-1, 0); RECENT];

    pub(super) fn first_offset(&self) -> i64 {
        self.sealed.first().map_or(self.active.base_offset(), |first| first.segment.base_offset())
    }

    /// The number of the segment in whose range an offset lies.
    fn floor(&self, offset: i64) -> usize {
        if offset >= self.active.base_offset() {
            return self.sealed.len();
        }
        self.sealed.partition_point(|sealed| sealed.segment.base_offset() <= offset).saturating_sub(1)
    }

    /// A segment, and how many bytes of it are batches.
    fn nth(&self, n: usize) -> Option<(&Arc<Segment>, u64)> {
        match self.sealed.get(n) {
            Some(sealed) => Some((&sealed.segment, sealed.size)),
            None if n == self.sealed.len() => Some((&self.active, self.ends.log_end.position)),
            None => None,
        }
    }

    /// Where the batch that holds `offset` begins; the log's end for its end.
    pub(super) fn locate(&self, offset: i64, access: Access) -> io::Result<OffsetPosition> {
        let ends = [self.ends.log_end, self.ends.high_watermark, self.ends.last_stable];
        if let Some(known) = ends.into_iter().find(|end| end.offset == offset) {
            return Ok(known);
        }
        let mut n = self.floor(offset);
        while let Some((segment, size)) = self.nth(n) {
            if let Some(batch) = segment.find(offset, size, access)? {
                return Ok(OffsetPosition { offset, segment: segment.base_offset(), position: batch.position });
            }
            n += 1;
        }
        Ok(OffsetPosition { offset, ..self.ends.log_end })
    }

    fn recent(&self, segment: &Segment, offset: i64) -> Option<u64> {
        let here = segment.base_offset() == self.active.base_offset();
        self.recent.iter().find(|(known, _)| here && *known == offset).map(|(_, position)| *position)
    }
}

/// A log as its readers see it.
#[derive(Debug)]
pub struct LogView {
    topic_partition: TopicPartition,
    topic_id: TopicId,
    dir: Arc<LogDir>,
    published: ArcSwap<Published>,
    epochs: Arc<Epochs>,
    recovery_point: AtomicI64,
    closed: AtomicBool,
}

impl LogView {
    pub(super) fn new(
        topic_partition: TopicPartition,
        topic_id: TopicId,
        dir: Arc<LogDir>,
        epochs: Arc<Epochs>,
        published: Published,
        recovery_point: i64,
    ) -> Self {
        Self {
            topic_partition,
            topic_id,
            dir,
            published: ArcSwap::from_pointee(published),
            epochs,
            recovery_point: AtomicI64::new(recovery_point),
            closed: AtomicBool::new(false),
        }
    }

    /// What the writer published last.
    pub(super) fn published(&self) -> Arc<Published> {
        self.published.load_full()
    }

    pub(super) fn set_closed(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Was the log closed in order? Reading goes on.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn publish(&self, published: Published, recovery_point: i64) {
        self.published.store(Arc::new(published));
        self.recovery_point.store(recovery_point, Ordering::Release);
    }

    pub const fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    pub const fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    pub const fn id(&self) -> TopicIdPartition {
        TopicIdPartition { topic_id: self.topic_id, partition: self.topic_partition.partition }
    }

    /// The log directory the partition lies in.
    pub const fn log_dir(&self) -> &Arc<LogDir> {
        &self.dir
    }

    /// All ends of one moment.
    pub fn ends(&self) -> Ends {
        self.published.load().ends
    }

    /// Everything before it is durable.
    pub fn recovery_point(&self) -> i64 {
        self.recovery_point.load(Ordering::Acquire)
    }

    /// Where the first file begins; the log may start later.
    pub fn first_segment_offset(&self) -> i64 {
        self.published.load().first_offset()
    }

    /// Bytes of all segments.
    pub fn size_in_bytes(&self) -> u64 {
        let published = self.published.load();
        published.sealed.iter().map(|sealed| sealed.size).sum::<u64>() + published.ends.log_end.position
    }

    pub fn segment_count(&self) -> usize {
        self.published.load().sealed.len() + 1
    }

    /// The epoch of the last leader that wrote, or is about to.
    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.load().last().map(|entry| entry.epoch)
    }

    /// Where the records of an epoch end (OffsetForLeaderEpoch).
    pub fn end_offset_for_epoch(&self, epoch: i32) -> EpochEndOffset {
        // The log end is taken first: an epoch assigned in between has no records below it.
        let log_end = self.ends().log_end.offset;
        end_offset_for(&self.epochs.load(), epoch, log_end)
    }

    /// The epoch in which the record at an offset was written.
    pub fn epoch_for_offset(&self, offset: i64) -> Option<i32> {
        epoch_for_offset(&self.epochs.load(), offset)
    }

    /// Finds the bytes of the batches from an offset on.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, request: &ReadRequest) -> Result<ReadSlice, ReadError> {
        self.dir.check()?;
        let published = self.published.load();
        let ends = published.ends;
        let from = request.from;
        if from < ends.log_start || from > ends.log_end.offset {
            return Err(ReadError::OffsetOutOfRange { from, log_start: ends.log_start, log_end: ends.log_end.offset });
        }
        let limit = ends.up_to(request.up_to);
        let mut slice = ReadSlice { range: None, has_more: false, ends, aborted: Vec::new() };
        if from >= limit.offset {
            return Ok(slice);
        }
        self.fill(&published, request, limit, &mut slice).map_err(|error| self.judge(error))?;
        Ok(slice)
    }

    fn fill(
        &self,
        published: &Published,
        request: &ReadRequest,
        limit: OffsetPosition,
        slice: &mut ReadSlice,
    ) -> io::Result<()> {
        let mut n = published.floor(request.from);
        // An offset past a segment's last record (compaction leaves such gaps) is looked for in the next one.
        while let Some((segment, size)) = published.nth(n) {
            let end = match segment.base_offset().cmp(&limit.segment) {
                std::cmp::Ordering::Less => size,
                std::cmp::Ordering::Equal => limit.position,
                std::cmp::Ordering::Greater => return Ok(()),
            };
            if let Some((position, len)) = extent(published, segment, request, end)? {
                slice.has_more = len == 0 || position + u64::from(len) < end || segment.base_offset() < limit.segment;
                if len > 0 {
                    let range = FileRange { segment: Arc::clone(segment), position, len };
                    if request.up_to == UpTo::LastStable {
                        slice.aborted = aborted(published, n, request, &range, limit)?;
                    }
                    slice.range = Some(range);
                }
                return Ok(());
            }
            n += 1;
        }
        Ok(())
    }

    fn judge(&self, error: io::Error) -> ReadError {
        match error.kind() {
            io::ErrorKind::WouldBlock => ReadError::WouldBlock,
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
                ReadError::Damage { partition: self.topic_partition.clone(), error }
            }
            _ => ReadError::Storage(self.dir.fail(&format!("read {}", self.topic_partition), &error)),
        }
    }
}

/// Position and length of what a request gets of one segment; a length of 0 when the first batch does not fit.
fn extent(published: &Published, segment: &Segment, request: &ReadRequest, end: u64) -> io::Result<Option<(u64, u32)>> {
    let max_bytes = u64::from(request.max_bytes);
    let recent = published.recent(segment, request.from).filter(|position| *position < end);
    if let Some(position) = recent
        && end - position <= max_bytes
    {
        return Ok(Some((position, to_u32(end - position))));
    }
    let first = match recent {
        Some(position) => segment.headers(position, end, request.access).next_header()?,
        None => segment.find(request.from, end, request.access)?,
    };
    let Some(first) = first else { return Ok(None) };
    let first_bytes = to_u64(first.header.size_in_bytes());
    let allowed = match (first_bytes <= max_bytes, request.at_least_one) {
        (true, _) => max_bytes,
        (false, true) => first_bytes,
        (false, false) => 0,
    };
    Ok(Some((first.position, to_u32(allowed.min(end - first.position)))))
}

/// The aborted transactions that have records in a range of segment `n`.
fn aborted(
    published: &Published,
    n: usize,
    request: &ReadRequest,
    range: &FileRange,
    limit: OffsetPosition,
) -> io::Result<Vec<AbortedTxn>> {
    let range_end = range.position + u64::from(range.len);
    let in_segment = range.segment.offset_index.first_offset_from(to_u32(range_end), request.access)?;
    let next_segment = || published.nth(n + 1).map(|(next, _)| next.base_offset());
    let upper = in_segment.or_else(next_segment).map_or(limit.offset, |upper| upper.min(limit.offset));
    let mut found = Vec::new();
    let mut later = n;
    while let Some((segment, _)) = published.nth(later) {
        if segment.transaction_index.collect(request.from, upper, request.access, &mut found)? {
            break;
        }
        later += 1;
    }
    Ok(found)
}
