//! Is there exactly one v2 batch? (`ProduceRequest.validateRecords` over `ByteBufferLogInputStream`)

use super::RecordError;
use crate::model::compression::CompressionType;
use crate::protocol::record_batch::{Attributes, BatchHeader, LOG_OVERHEAD, MAGIC_V2};

/// The length of the smallest record of any format.
const SMALLEST_RECORD: i32 = 14;
/// Where magic ends; fewer bytes than that are no batch.
const MAGIC_END: usize = 17;
const MAGIC_AT: usize = 16;
const LENGTH_AT: usize = 8;
const ATTRIBUTES_AT: usize = 21;

/// What stands at the front of some bytes, of whichever format.
enum Front {
    /// The bytes end before a batch does. Kafka takes that for the end of the batches.
    Incomplete,
    Batch {
        size: usize,
        magic: i8,
    },
}

/// The header of the only batch of `input`. Bytes behind it that are no complete batch do not count, as in Kafka, and
/// are not to be written.
pub(super) fn only_batch(input: &[u8], zstd_allowed: bool) -> Result<BatchHeader, RecordError> {
    let Front::Batch { size, magic } = front(input)? else { return Err(RecordError::NoBatch) };
    if magic != MAGIC_V2 {
        return Err(RecordError::OldMagic(magic));
    }
    // Kafka asks this of a batch that is too short for its header too.
    let attributes = input.get(ATTRIBUTES_AT..).and_then(<[u8]>::first_chunk).map(|bytes| i16::from_be_bytes(*bytes));
    if !zstd_allowed && attributes.and_then(|bits| Attributes(bits).codec()) == Some(CompressionType::Zstd) {
        return Err(RecordError::ZstdTooEarly);
    }
    match front(input.get(size..).unwrap_or(&[])) {
        Ok(Front::Incomplete) => BatchHeader::parse(input).map_err(|_| RecordError::Damaged),
        Ok(Front::Batch { .. }) => Err(RecordError::MoreBatches),
        Err(_) => Err(RecordError::Damaged),
    }
}

fn front(bytes: &[u8]) -> Result<Front, RecordError> {
    let Some(length) = bytes.get(LENGTH_AT..).and_then(<[u8]>::first_chunk) else { return Ok(Front::Incomplete) };
    let length = i32::from_be_bytes(*length);
    if length < SMALLEST_RECORD {
        return Err(RecordError::RecordSize(length));
    }
    let Some(magic) = bytes.get(MAGIC_AT..MAGIC_END).and_then(<[u8]>::first) else { return Ok(Front::Incomplete) };
    let magic = i8::from_be_bytes([*magic]);
    if !(0..=MAGIC_V2).contains(&magic) {
        return Err(RecordError::UnknownMagic(magic));
    }
    let size = LOG_OVERHEAD + usize::try_from(length).unwrap_or(usize::MAX / 2);
    if bytes.len() < size { Ok(Front::Incomplete) } else { Ok(Front::Batch { size, magic }) }
}
