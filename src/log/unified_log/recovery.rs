//! Reading a segment that was not closed in order: every batch checked, indexes filled anew, the tail cut
//! (`LogSegment.recover`).
//!
//! The CRC covers all but base offset, length, leader epoch and magic. Length and magic show in the CRC or the structure;
//! a base offset must follow the batch before, at once in a log that is never compacted. A message of the formats before v2 is not damage: its own CRC
//! tells, and the log is left as it is.

use std::io;
use std::path::Path;
use std::sync::Arc;

use flate2::Crc;

use super::append::marker_of;
use crate::log::index_file::Access;
use crate::log::leader_epoch_cache::LeaderEpochCache;
use crate::log::producer_state::{ProducerBatch, ProducerState};
use crate::log::segment::{BatchPosition, Segment};
use crate::log::segment_writer::SegmentWriter;
use crate::log::storage::Disk;
use crate::log::transaction_index::AbortedTxn;
use crate::log::width::{to_u64, to_usize};
use crate::protocol::control::EndTxnMarker;
use crate::protocol::record_batch::{BatchHeader, CRC_COVERED_FROM, HEADER_LEN, HeaderError};

/// Bytes read at once.
const PIECE: usize = 256 << 10;
/// A marker's batch is some 80 bytes; what is larger is none.
const MARKER_MAX: usize = 4096;
/// Where the CRC of a v0 or v1 message stands, and its magic, with which the bytes begin that it covers.
const LEGACY_CRC_AT: usize = 12;
const LEGACY_MAGIC_AT: usize = 16;
/// Bytes of the smallest such message, behind its size field.
const LEGACY_SIZE_MIN: i32 = 14;

/// Why a segment ends before its file does.
#[derive(Debug)]
pub(super) enum Stop {
    /// Not a sound batch.
    Damage(String),
    /// A message of format v0 or v1, undamaged.
    OldFormat,
    Disk(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::UnexpectedEof { Self::Damage(error.to_string()) } else { Self::Disk(error) }
    }
}

/// What a checked segment looks like now.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) next_offset: i64,
    /// Bytes cut off, and why.
    pub(super) cut: Option<(u64, String)>,
}

/// Who learns of each batch while a segment is read.
#[derive(Debug)]
pub(super) struct Listeners<'a> {
    pub(super) producers: Option<&'a mut ProducerState>,
    pub(super) epochs: &'a LeaderEpochCache,
    /// No compaction has left gaps: every batch begins where the one before ends.
    pub(super) contiguous: bool,
}

/// Checks all of a segment whose indexes are empty, fills them, and cuts the file after the last sound batch.
///
/// # Errors
/// `Unsupported` for an old message format; whatever the disk answers.
pub(super) fn recover(
    disk: &dyn Disk,
    path: &Path,
    writer: &mut SegmentWriter,
    mut listeners: Listeners<'_>,
) -> io::Result<Recovered> {
    let segment = Arc::clone(writer.segment());
    let size = segment.log().len()?;
    let mut next_offset = segment.base_offset();
    let mut scan =
        BatchScan { segment: &segment, end: size, piece: vec![0; to_usize(size).min(PIECE)], start: 0, filled: 0 };
    let stop = loop {
        if writer.size() == size {
            break None;
        }
        let checked = scan.check(writer.size(), next_offset);
        let (batch, marker) = match checked {
            Ok((batch, _)) if listeners.contiguous && batch.header.base_offset != next_offset => {
                break Some(Stop::Damage(format!("offset {} follows {next_offset}", batch.header.base_offset)));
            }
            Ok(found) => found,
            Err(stop) => break Some(stop),
        };
        writer.index(&batch.header)?;
        next_offset = batch.header.next_offset();
        listeners.hear(disk, &segment, &batch.header, marker)?;
    };
    let why = match stop {
        None => return Ok(Recovered { next_offset, cut: None }),
        Some(Stop::Disk(error)) => return Err(error),
        Some(Stop::OldFormat) => {
            let what = format!("{} has messages of format v0 or v1 at byte {}", path.display(), writer.size());
            return Err(io::Error::new(io::ErrorKind::Unsupported, what));
        }
        Some(Stop::Damage(why)) => why,
    };
    let cut = size - writer.size();
    tracing::warn!(segment = %path.display(), at = writer.size(), bytes = cut, %why, "cutting a damaged tail");
    segment.log().set_len(writer.size())?;
    // What is cut off must not come back behind records that are written in its place.
    segment.log().sync()?;
    Ok(Recovered { next_offset, cut: Some((cut, why)) })
}

impl Listeners<'_> {
    fn hear(
        &mut self,
        disk: &dyn Disk,
        segment: &Segment,
        header: &BatchHeader,
        marker: Option<EndTxnMarker>,
    ) -> io::Result<()> {
        let epoch = header.partition_leader_epoch;
        if epoch >= 0 && self.epochs.latest_epoch().is_none_or(|latest| epoch > latest) {
            self.epochs.assign(epoch, header.base_offset)?;
        }
        if let Some(producers) = &mut self.producers {
            let ended =
                ProducerBatch::new(header, header.base_offset, marker).and_then(|batch| producers.apply(&batch));
            if let Some(completed) = ended {
                if completed.is_aborted {
                    let entry = AbortedTxn {
                        producer_id: completed.producer_id,
                        first_offset: completed.first_offset,
                        last_offset: completed.last_offset,
                        last_stable_offset: producers.last_stable_offset_after(&completed),
                    };
                    segment.transaction_index.append(disk, entry)?;
                }
                producers.complete(&completed);
            }
            producers.set_map_end_offset(header.next_offset());
        }
        Ok(())
    }
}

/// Reads a segment's batches in large pieces.
struct BatchScan<'a> {
    segment: &'a Segment,
    /// Bytes of the file.
    end: u64,
    piece: Vec<u8>,
    start: u64,
    filled: usize,
}

impl BatchScan<'_> {
    /// The batch at `position`, checked whole.
    fn check(&mut self, position: u64, next_offset: i64) -> Result<(BatchPosition, Option<EndTxnMarker>), Stop> {
        let damage = |what: &str| Stop::Damage(what.to_owned());
        let head = self.buffered(position, HEADER_LEN)?;
        let header = match BatchHeader::parse(head) {
            Ok(header) => header,
            Err(HeaderError::Magic(0 | 1) | HeaderError::Short { .. }) if self.old_format(position)? => {
                return Err(Stop::OldFormat);
            }
            Err(error) => return Err(Stop::Damage(error.to_string())),
        };
        let batch = BatchPosition { position, header };
        if batch.end() > self.end {
            return Err(damage("the file ends within a batch"));
        }
        let base = self.segment.base_offset();
        if header.base_offset < next_offset
            || header.last_offset_delta < 0
            || i32::try_from(header.last_offset().saturating_sub(base)).is_err()
        {
            return Err(damage("the batch's offsets do not follow the batch before"));
        }
        let mut crc = 0;
        let covered_from = position + to_u64(CRC_COVERED_FROM);
        self.each_piece(covered_from, batch.end(), |piece| crc = crc32c::crc32c_append(crc, piece))?;
        if crc != header.crc {
            return Err(Stop::Damage(format!("stored crc = {}, computed crc = {crc}", header.crc)));
        }
        let size = header.size_in_bytes();
        let marker = if header.is_control() && size <= MARKER_MAX {
            let whole = self.buffered(position, size)?.get(..size).unwrap_or_default();
            marker_of(&header, whole.get(HEADER_LEN..).unwrap_or_default())
        } else {
            None
        };
        Ok((batch, marker))
    }

    /// What is in memory from `position` on, at least `len` bytes unless the file ends before.
    fn buffered(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let wanted_end = (position + to_u64(len)).min(self.end);
        if position < self.start || wanted_end > self.start + to_u64(self.filled) {
            self.filled = 0;
            let wanted = to_usize((self.end - position).min(to_u64(PIECE)));
            self.segment.log().read_exact(self.piece.get_mut(..wanted).unwrap_or_default(), position)?;
            (self.start, self.filled) = (position, wanted);
        }
        let within = to_usize(position - self.start);
        Ok(self.piece.get(within..self.filled).unwrap_or_default())
    }

    /// Hands out the bytes of a range, piece by piece.
    fn each_piece(&mut self, from: u64, to: u64, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let found = self.buffered(at, 1)?;
            let take = found.len().min(to_usize(to - at));
            if take == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            each(found.get(..take).unwrap_or_default());
            at += to_u64(take);
        }
        Ok(())
    }

    /// Does an undamaged message of format v0 or v1 lie at `position`?
    fn old_format(&mut self, position: u64) -> io::Result<bool> {
        let head = self.buffered(position, HEADER_LEN)?;
        let field = |at: usize| head.get(at..).and_then(<[u8]>::first_chunk::<4>).copied();
        let (Some(size), Some(crc)) = (field(8), field(LEGACY_CRC_AT)) else { return Ok(false) };
        let magic_is_old = matches!(head.get(LEGACY_MAGIC_AT), Some(0 | 1));
        let (size, stored) = (i32::from_be_bytes(size), u32::from_be_bytes(crc));
        let message_end = position + 12 + u64::try_from(size).unwrap_or(0);
        if !magic_is_old || size < LEGACY_SIZE_MIN || message_end > self.end {
            return Ok(false);
        }
        let mut crc = Crc::new();
        self.each_piece(position + to_u64(LEGACY_MAGIC_AT), message_end, |piece| crc.update(piece))?;
        Ok(crc.sum() == stored)
    }
}

/// Brings the producers from where they stand to `end`, reading batch headers only: the segments are sound.
///
/// # Errors
/// Whatever the disk answers; `InvalidData` for bytes that are no batch.
pub(super) fn replay(producers: &mut ProducerState, segments: &[(Arc<Segment>, u64)], end: i64) -> io::Result<()> {
    for (n, (segment, size)) in segments.iter().enumerate() {
        let next_base = segments.get(n + 1).map_or(end, |(next, _)| next.base_offset());
        let from = producers.map_end_offset();
        if next_base <= from || segment.base_offset() >= end {
            continue;
        }
        let position = segment.find(from, *size, Access::Blocking)?.map_or(*size, |batch| batch.position);
        let mut batches = segment.headers(position, *size, Access::Blocking);
        while let Some(batch) = batches.next_header()? {
            let header = &batch.header;
            if header.base_offset >= end {
                break;
            }
            let marker = read_marker(segment, &batch)?;
            if let Some(completed) =
                ProducerBatch::new(header, header.base_offset, marker).and_then(|batch| producers.apply(&batch))
            {
                producers.complete(&completed);
            }
        }
        producers.set_map_end_offset(next_base);
    }
    producers.set_map_end_offset(end);
    Ok(())
}

fn read_marker(segment: &Segment, batch: &BatchPosition) -> io::Result<Option<EndTxnMarker>> {
    let size = batch.header.size_in_bytes();
    if !batch.header.is_control() || size > MARKER_MAX {
        return Ok(None);
    }
    let mut records = vec![0; size - HEADER_LEN];
    segment.log().read_exact(&mut records, batch.position + to_u64(HEADER_LEN))?;
    Ok(marker_of(&batch.header, &records))
}
