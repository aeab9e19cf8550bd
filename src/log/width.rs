//! Integer conversions that cannot fail on the machines this is built for, in one place.
//!
//! Kafka's formats count in i32 and i64, files in u64, memory in usize. The room has `as` switched off; what is
//! lossless by construction goes through here.

const _: () = assert!(usize::BITS == 64, "a segment's positions are held in usize");

/// Bytes in memory to bytes in a file.
#[expect(clippy::as_conversions, reason = "usize is 64 bits wide, checked above")]
pub(super) const fn to_u64(n: usize) -> u64 {
    n as u64
}

/// Bytes in a file to bytes in memory.
#[expect(clippy::as_conversions, reason = "usize is 64 bits wide, checked above")]
pub(super) const fn to_usize(n: u64) -> usize {
    n as usize
}

/// A position or length inside one segment, which never passes 2^31.
pub(super) fn to_u32(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
