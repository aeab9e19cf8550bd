//! Offsets by time (ListOffsets): earliest, latest, the first record not older than a time, the newest record.
//!
//! The time index leads to a batch; which record of it is meant is told by the records alone, so the batch is read and,
//! if need be, decompressed piece by piece. All of this may wait for the disk: not for threads that serve sockets.

use std::io;

use super::{LogView, Published, ReadError, UpTo};
use crate::log::index_file::Access;
use crate::log::segment::{BatchPosition, Segment};
use crate::log::time_index::TimestampOffset;
use crate::log::width::{to_u64, to_usize};
use crate::model::compression::TimestampType;
use crate::protocol::compression::{DecompressError, Decompressor};
use crate::protocol::record_batch::{BatchHeader, HEADER_LEN, RecordFacts, RecordFormatError, RecordWalk};

/// A batch that the log took can't expand to more than this; see the validator's own, smaller limit.
const EXPANDED_MAX: u64 = 1 << 32;
/// A batch to be searched is refused past this size, which the validator never lets through.
const BATCH_MAX: u64 = 1 << 30;

/// An offset that was asked for by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FoundOffset {
    /// Of the record; -1 where the offset is an end of the log.
    pub timestamp: i64,
    pub offset: i64,
    /// The epoch of the leader that wrote it.
    pub leader_epoch: Option<i32>,
}

/// Why a search failed: as reading does.
pub type LookupError = ReadError;

impl LogView {
    /// The first offset there is.
    pub fn earliest(&self) -> FoundOffset {
        let offset = self.ends().log_start;
        FoundOffset { timestamp: -1, offset, leader_epoch: self.epoch_for_offset(offset) }
    }

    /// The end that a reader of this kind sees.
    pub fn latest(&self, up_to: UpTo) -> FoundOffset {
        let offset = self.ends().up_to(up_to).offset;
        FoundOffset { timestamp: -1, offset, leader_epoch: self.latest_epoch() }
    }

    /// The first record with a timestamp of at least `timestamp`; `None` when all are older. The caller leaves out what
    /// lies past the end its reader sees.
    ///
    /// # Errors
    /// `Storage` or `Damage`.
    pub fn offset_for_timestamp(
        &self,
        timestamp: i64,
        decompressor: &mut Decompressor,
    ) -> Result<Option<FoundOffset>, LookupError> {
        self.dir.check()?;
        let published = self.published.load();
        search(&published, timestamp, decompressor).map_err(|error| self.judge(error))
    }

    /// The first record with the largest timestamp of all (KIP-734); `None` for a log without timestamps.
    ///
    /// # Errors
    /// `Storage` or `Damage`.
    pub fn max_timestamp(&self, decompressor: &mut Decompressor) -> Result<Option<FoundOffset>, LookupError> {
        self.dir.check()?;
        let published = self.published.load();
        newest(&published, decompressor).map_err(|error| self.judge(error))
    }
}

/// Every segment with its size and largest timestamp, oldest first.
fn segments(published: &Published) -> impl Iterator<Item = (&Segment, u64, TimestampOffset)> {
    let active = (&*published.active, published.ends.log_end.position, published.newest);
    published.sealed.iter().map(|sealed| (&*sealed.segment, sealed.size, sealed.newest)).chain([active])
}

fn search(published: &Published, timestamp: i64, decompressor: &mut Decompressor) -> io::Result<Option<FoundOffset>> {
    let log_start = published.ends.log_start;
    for (segment, size, newest) in segments(published) {
        if newest.timestamp < timestamp {
            continue;
        }
        let from = segment.time_index.lookup(timestamp, Access::Blocking)?.offset.max(log_start);
        let position = segment.offset_index.lookup(from, Access::Blocking)?;
        let mut batches = segment.headers(u64::from(position), size, Access::Blocking);
        while let Some(batch) = batches.next_header()? {
            if batch.header.max_timestamp < timestamp || batch.header.last_offset() < log_start {
                continue;
            }
            let wanted = |record: TimestampOffset| record.timestamp >= timestamp && record.offset >= log_start;
            if let Some(found) = first_record(segment, &batch, decompressor, wanted)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

fn newest(published: &Published, decompressor: &mut Decompressor) -> io::Result<Option<FoundOffset>> {
    let mut best: Option<(&Segment, u64, TimestampOffset)> = None;
    for candidate in segments(published) {
        if candidate.2.timestamp >= 0 && best.is_none_or(|best| candidate.2.timestamp > best.2.timestamp) {
            best = Some(candidate);
        }
    }
    let Some((segment, size, newest)) = best else { return Ok(None) };
    let Some(batch) = segment.find(newest.offset, size, Access::Blocking)? else { return Ok(None) };
    first_record(segment, &batch, decompressor, |record| record.timestamp >= newest.timestamp)
}

/// The first record of a batch that passes the test.
fn first_record(
    segment: &Segment,
    batch: &BatchPosition,
    decompressor: &mut Decompressor,
    wanted: impl Fn(TimestampOffset) -> bool,
) -> io::Result<Option<FoundOffset>> {
    let header = &batch.header;
    let size = to_u64(header.size_in_bytes());
    if size > BATCH_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a batch of {size} bytes")));
    }
    let mut records = vec![0; to_usize(size) - HEADER_LEN];
    segment.log().read_exact(&mut records, batch.position + to_u64(HEADER_LEN))?;
    let found = walk(header, &records, decompressor, &wanted)?;
    let leader_epoch = (header.partition_leader_epoch >= 0).then_some(header.partition_leader_epoch);
    Ok(found.map(|TimestampOffset { timestamp, offset }| FoundOffset { timestamp, offset, leader_epoch }))
}

/// Why the walk over the records ends early.
enum Stop {
    Found(TimestampOffset),
    Damage(String),
}

impl From<RecordFormatError> for Stop {
    fn from(error: RecordFormatError) -> Self {
        Self::Damage(error.to_string())
    }
}

impl From<DecompressError> for Stop {
    fn from(error: DecompressError) -> Self {
        Self::Damage(error.to_string())
    }
}

fn walk(
    header: &BatchHeader,
    records: &[u8],
    decompressor: &mut Decompressor,
    wanted: &impl Fn(TimestampOffset) -> bool,
) -> io::Result<Option<TimestampOffset>> {
    let damage = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let codec = header.codec().ok_or_else(|| damage("unknown codec".to_owned()))?;
    let mut walk = RecordWalk::new(header.records_count);
    let mut each = |facts: RecordFacts| {
        let timestamp = match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(facts.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        let offset = header.base_offset.saturating_add(i64::from(facts.offset_delta));
        let record = TimestampOffset { timestamp, offset };
        if wanted(record) { Err(Stop::Found(record)) } else { Ok(()) }
    };
    let walked = decompressor.pieces(codec, records, EXPANDED_MAX, &mut |piece| walk.feed(piece, &mut each));
    match walked {
        Ok(_) => Ok(None),
        Err(Stop::Found(record)) => Ok(Some(record)),
        Err(Stop::Damage(what)) => Err(damage(what)),
    }
}
