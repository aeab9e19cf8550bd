//! What a leader changes in a header it did not write.
//!
//! Base offset and leader epoch lie outside the CRC. The other fields lie inside: there the CRC is carried over from the
//! old header to the new one without passing over the records again. CRC-32C is linear: two runs of bytes that differ
//! only in their first 40 bytes have CRCs that differ by what that difference becomes after as many zero bytes as
//! records follow.

use super::header::{BatchHeader, CRC_COVERED_FROM, HEADER_LEN};
use crate::model::compression::TimestampType;

/// Sets the base offset in the bytes of a header.
pub fn patch_base_offset(header: &mut [u8; HEADER_LEN], base_offset: i64) {
    if let Some(field) = header.first_chunk_mut::<8>() {
        *field = base_offset.to_be_bytes();
    }
}

/// Sets the partition leader epoch in the bytes of a header.
pub fn patch_partition_leader_epoch(header: &mut [u8; HEADER_LEN], epoch: i32) {
    if let Some(field) = header.get_mut(12..).and_then(<[u8]>::first_chunk_mut::<4>) {
        *field = epoch.to_be_bytes();
    }
}

/// Sets timestamp type and maximum timestamp, and the CRC with them (`DefaultRecordBatch.setMaxTimestamp`). The CRC in
/// `header` must be the right one.
pub fn patch_timestamps(header: &mut BatchHeader, timestamp_type: TimestampType, max_timestamp: i64) {
    let attributes = header.attributes.with_timestamp_type(timestamp_type);
    if attributes == header.attributes && max_timestamp == header.max_timestamp {
        return;
    }
    let before = header.to_bytes();
    header.attributes = attributes;
    header.max_timestamp = max_timestamp;
    let records_len = header.size_in_bytes().saturating_sub(HEADER_LEN);
    header.crc = crc_after_header_change(header.crc, &before, &header.to_bytes(), records_len);
}

/// The CRC of a batch whose header changed from `before` to `after` and whose `records_len` bytes of records did not.
pub fn crc_after_header_change(
    crc: u32,
    before: &[u8; HEADER_LEN],
    after: &[u8; HEADER_LEN],
    records_len: usize,
) -> u32 {
    let difference = covered_crc(before) ^ covered_crc(after);
    crc ^ crc32c::crc32c_combine(difference, 0, records_len)
}

fn covered_crc(header: &[u8; HEADER_LEN]) -> u32 {
    crc32c::crc32c(header.get(CRC_COVERED_FROM..).unwrap_or(&[]))
}
