//! Which records of a batch stay, and the batch without the others (`MemoryRecords.filterTo`, KIP-534).
//!
//! A batch keeps its offsets, producer, sequence and epoch whatever goes out of it. Its base timestamp is that of the first
//! record left, or, from when a tombstone is first met in it, the time from which that may go.

use bytes::Bytes;

use crate::model::compression::{CompressionType, TimestampType};
use crate::protocol::compression::compress;
use crate::protocol::record_batch::{
    Attributes, BatchHeader, HEADER_LEN, NO_TIMESTAMP, Record, RecordFormatError, Records, seal,
};

/// A batch after compaction.
#[derive(PartialEq, Eq, Debug)]
pub(super) enum Kept {
    /// As it was.
    Whole,
    Nothing,
    Part(Bytes),
}

/// What a compaction has decided of a batch before it looks at the records.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fate {
    /// The records go, whatever they are.
    pub(super) drop_records: bool,
    /// The batch stays without records: its producer's sequence, or the end of what was compacted, is known by it.
    pub(super) keep_empty: bool,
    /// A marker without a transaction: its time begins to run.
    pub(super) begin_horizon: bool,
    /// From when on a tombstone met now may go, in ms.
    pub(super) horizon_ms: i64,
}

/// Takes out of a batch what does not stay. `records` are its records, decompressed; `stays` is asked of each.
///
/// # Errors
/// Records that break the format.
pub(super) fn filter(
    header: &BatchHeader,
    records: &[u8],
    fate: Fate,
    mut stays: impl FnMut(&Record<'_>, i64) -> bool,
) -> Result<Kept, RecordFormatError> {
    let mut kept: Vec<(Record<'_>, &[u8])> = Vec::new();
    let mut has_tombstone = false;
    if !fate.drop_records {
        let mut walk = Records::new(records, header.records_count);
        loop {
            let before = walk.rest();
            let Some(record) = walk.next() else { break };
            let record = record?;
            let raw = before.get(..before.len() - walk.rest().len()).unwrap_or_default();
            if stays(&record, header.base_offset.saturating_add(i64::from(record.offset_delta))) {
                has_tombstone |= record.value.is_none();
                kept.push((record, raw));
            }
        }
    }
    if kept.is_empty() {
        return Ok(if fate.keep_empty { Kept::Part(empty(header)) } else { Kept::Nothing });
    }
    let begins = (has_tombstone || fate.begin_horizon) && !header.attributes.has_delete_horizon();
    let is_whole = i32::try_from(kept.len()).is_ok_and(|count| count == header.records_count);
    if is_whole && !begins {
        return Ok(Kept::Whole);
    }
    Ok(Kept::Part(rebuilt(*header, &kept, begins.then_some(fate.horizon_ms))))
}

fn rebuilt(mut header: BatchHeader, kept: &[(Record<'_>, &[u8])], horizon_ms: Option<i64>) -> Bytes {
    let (old_base, append_time) = (header.base_timestamp, header.max_timestamp);
    let is_create_time = header.timestamp_type() == TimestampType::CreateTime;
    let time_of = |record: &Record<'_>| {
        if is_create_time { old_base.wrapping_add(record.timestamp_delta) } else { append_time }
    };
    let times = || kept.iter().map(|(record, _)| time_of(record));
    if is_create_time {
        header.max_timestamp = times().max().unwrap_or(NO_TIMESTAMP);
    }
    if horizon_ms.is_some() {
        header.attributes.0 |= Attributes::DELETE_HORIZON;
    }
    let first = times().next().unwrap_or(old_base);
    header.base_timestamp = horizon_ms.or(header.delete_horizon_ms()).unwrap_or(first);
    let mut plain = Vec::new();
    for (record, raw) in kept {
        let timestamp_delta = time_of(record).wrapping_sub(header.base_timestamp);
        if timestamp_delta == record.timestamp_delta {
            plain.extend_from_slice(raw);
        } else {
            Record { timestamp_delta, ..*record }.put(&mut plain);
        }
    }
    header.records_count = i32::try_from(kept.len()).unwrap_or(i32::MAX);
    let mut bytes = vec![0; HEADER_LEN];
    match header.codec() {
        Some(codec) if codec != CompressionType::None && compress(codec, None, &plain, &mut bytes).is_ok() => {}
        // No codec fails on bytes in memory; what one left of the batch would not be usable.
        _ => {
            bytes = vec![0; HEADER_LEN];
            bytes.append(&mut plain);
            header.attributes = header.attributes.with_codec(CompressionType::None);
        }
    }
    seal(header, bytes)
}

/// A batch whose records are all gone (`DefaultRecordBatch.writeEmptyHeader`).
fn empty(header: &BatchHeader) -> Bytes {
    let attributes = header.attributes.with_codec(CompressionType::None).0 & !Attributes::DELETE_HORIZON;
    let header =
        BatchHeader { attributes: Attributes(attributes), base_timestamp: NO_TIMESTAMP, records_count: 0, ..*header };
    seal(header, vec![0; HEADER_LEN])
}
