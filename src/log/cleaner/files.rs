//! The files of a round: old segments read batch by batch, a new one written.

use std::fmt::Display;
use std::io::{self, IoSlice};
use std::path::Path;
use std::sync::Arc;

use crate::log::file_name::{CLEANED, of_offset};
use crate::log::index_file::Access;
use crate::log::segment::{FILES, Segment};
use crate::log::segment_writer::{SealedSegment, SegmentWriter};
use crate::log::storage::Disk;
use crate::log::time_index::TimestampOffset;
use crate::log::transaction_index::AbortedTxn;
use crate::log::validator::EXPANSION_RATIO;
use crate::model::compression::CompressionType;
use crate::protocol::compression::{DecompressError, Decompressor};
use crate::protocol::record_batch::{BatchHeader, RecordBatch};

use super::compaction::Parts;

/// Written at once.
const WRITE_BYTES: usize = 512 << 10;

/// Kept for its memory.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    batch: Vec<u8>,
    expanded: Vec<u8>,
    decompressor: Decompressor,
}

/// What ends a round.
pub(super) enum Fault {
    GivenUp,
    Damage(String),
    Disk(io::Error),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => Self::Damage(error.to_string()),
            _ => Self::Disk(error),
        }
    }
}

/// The new files on their way.
pub(super) struct Output {
    writer: SegmentWriter,
    pending: Vec<u8>,
    headers: Vec<BatchHeader>,
    /// For the transaction index.
    pub(super) aborted: Vec<AbortedTxn>,
}

impl Output {
    pub(super) fn new(parts: &Parts, base_offset: i64) -> io::Result<Self> {
        let segment = Segment::create_cleaned(&*parts.disk, &parts.dir, base_offset, &parts.config)?;
        let writer = SegmentWriter::new(Arc::new(segment), 0, TimestampOffset::UNKNOWN, parts.now, 0, &parts.config)?;
        Ok(Self { writer, pending: Vec::new(), headers: Vec::new(), aborted: Vec::new() })
    }

    pub(super) fn write(&mut self, batch: &[u8]) -> Result<(), Fault> {
        let header = BatchHeader::parse(batch).map_err(|error| Fault::Damage(error.to_string()))?;
        self.pending.extend_from_slice(batch);
        self.headers.push(header);
        if self.pending.len() >= WRITE_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.headers.is_empty() {
            self.writer.append(&mut [IoSlice::new(&self.pending)], &self.headers)?;
            self.pending.clear();
            self.headers.clear();
        }
        Ok(())
    }

    pub(super) fn finish(mut self, disk: &dyn Disk) -> io::Result<SealedSegment> {
        self.flush()?;
        for entry in &self.aborted {
            self.writer.segment().transaction_index.append(disk, *entry)?;
        }
        let sealed = self.writer.seal()?;
        sealed.segment.sync()?;
        Ok(sealed)
    }
}

/// Gives each batch that ends at or after `from`, checked, with its records decompressed, until told to stop. A batch that
/// expands to more than a client may send (Kafka lets it in) comes without its records: it is kept, and supersedes nothing.
pub(super) fn each_batch(
    sealed: &SealedSegment,
    parts: &Parts,
    from: i64,
    scratch: &mut Scratch,
    mut each: impl FnMut(&RecordBatch<'_>, Option<&[u8]>) -> Result<bool, Fault>,
) -> Result<(), Fault> {
    let expanded_max = u64::from(parts.config.max_message_bytes).saturating_mul(u64::from(EXPANSION_RATIO));
    let mut headers = sealed.segment.headers(0, sealed.size, Access::Blocking);
    while let Some(at) = headers.next_header()? {
        if at.header.last_offset() < from {
            continue;
        }
        scratch.batch.resize(at.header.size_in_bytes(), 0);
        sealed.segment.log().read_exact(&mut scratch.batch, at.position)?;
        let batch = RecordBatch::parse(&scratch.batch).map_err(|error| damage(&at.header, &error))?;
        batch.check_crc().map_err(|error| damage(&at.header, &error))?;
        let records = match batch.header().codec() {
            Some(CompressionType::None) => Some(batch.record_bytes()),
            // A batch without records has nothing to decompress.
            Some(_) if at.header.records_count == 0 => Some(&[][..]),
            Some(codec) => {
                scratch.expanded.clear();
                let expanded = &mut scratch.expanded;
                match scratch.decompressor.decompress(codec, batch.record_bytes(), expanded_max, expanded) {
                    Ok(()) => Some(&*scratch.expanded),
                    Err(DecompressError::TooLarge { .. }) => None,
                    Err(error) => return Err(damage(&at.header, &error)),
                }
            }
            None => return Err(damage(&at.header, &"its codec is not known")),
        };
        if !each(&batch, records)? {
            return Ok(());
        }
    }
    if headers.position() == sealed.size {
        Ok(())
    } else {
        let base = sealed.segment.base_offset();
        Err(Fault::Damage(format!("the segment from offset {base} on ends within a batch")))
    }
}

pub(super) fn damage(header: &BatchHeader, what: &dyn Display) -> Fault {
    Fault::Damage(format!("the batch at offset {} is damaged: {what}", header.base_offset))
}

/// Removes what a round has left unfinished. What can't be removed now goes at the next start.
pub(in crate::log) fn discard(disk: &dyn Disk, dir: &Path, base_offset: i64) {
    for suffix in FILES {
        let name = of_offset(base_offset, suffix) + CLEANED;
        let _ = disk.remove_file_if_there(&dir.join(name));
    }
}
