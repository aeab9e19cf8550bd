//! What a leader changes in a header it did not write.
//!
//! Base offset and leader epoch lie outside the CRC. The other fields lie inside: there the CRC is carried over from the
//! old header to the new one without passing over the records again. CRC-32C is linear: two runs of bytes that differ
//! only in their first 40 bytes have CRCs that differ by what that difference becomes after as many zero bytes as
//! records follow.

use std::sync::LazyLock;

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
    header.attributes = attributes.known();
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
    crc ^ after_zeros(covered_crc(before) ^ covered_crc(after), records_len)
}

fn covered_crc(header: &[u8; HEADER_LEN]) -> u32 {
    crc32c::crc32c(header.get(CRC_COVERED_FROM..).unwrap_or(&[]))
}

/// What a CRC becomes when bytes follow, as a matrix over its 32 bits: one column a bit.
type Operator = [u32; 32];

/// The operators for 1, 2, 4, 8 ... zero bytes. (`crc32c_combine` derives them anew at each call: 3.5 µs, more than all
/// else that is done to a small batch.)
static ZEROS: LazyLock<[Operator; 31]> = LazyLock::new(|| {
    let mut operator = [0; 32];
    for (bit, column) in operator.iter_mut().enumerate() {
        *column = crc32c::crc32c_combine(1 << bit, 0, 1);
    }
    [(); 31].map(|()| {
        let now = operator;
        operator = now.map(|column| apply(&now, column));
        now
    })
});

/// `crc32c_combine(crc, 0, len)`.
fn after_zeros(crc: u32, len: usize) -> u32 {
    let operators = ZEROS.iter().enumerate().filter(|(power, _)| len >> power & 1 == 1);
    operators.fold(crc, |crc, (_, operator)| apply(operator, crc))
}

fn apply(operator: &Operator, crc: u32) -> u32 {
    operator.iter().enumerate().fold(0, |sum, (bit, column)| sum ^ column & (crc >> bit & 1).wrapping_neg())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_those_of_the_crate() {
        for len in [0, 1, 2, 3, 40, 100, 4_095, 65_536, 1_048_588, (1 << 30) + 7] {
            for crc in [0, 1, 0x8000_0000, 0x1234_5678, u32::MAX] {
                assert_eq!(after_zeros(crc, len), crc32c::crc32c_combine(crc, 0, len), "{crc:x} {len}");
            }
        }
    }
}
