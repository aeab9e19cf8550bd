//! Variable-length integers: little-endian groups of 7 bits, the high bit says that more follow.
//!
//! Precedent: Kafka's `ByteUtils`. Ours also refuses bits that do not fit in the type, which no client sends.

use bytes::{BufMut, BytesMut};

use super::DecodeError;

/// Most bytes of a 32-bit number.
pub const MAX_BYTES: usize = 5;
/// Most bytes of a 64-bit number.
pub const MAX_BYTES_LONG: usize = 10;

/// Reads an unsigned 32-bit number at the start of `bytes`: the number, and how many bytes it took.
///
/// # Errors
/// [`DecodeError::Truncated`] when `bytes` end within it, [`DecodeError::Varint`] when it does not fit.
pub fn unsigned(bytes: &[u8]) -> Result<(u32, usize), DecodeError> {
    let (value, used) = read(bytes, MAX_BYTES)?;
    u32::try_from(value).map(|value| (value, used)).map_err(|_| DecodeError::Varint)
}

/// Reads a zigzag 32-bit number.
///
/// # Errors
/// As [`unsigned`].
pub fn signed(bytes: &[u8]) -> Result<(i32, usize), DecodeError> {
    let (value, used) = unsigned(bytes)?;
    Ok(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), used))
}

/// Reads a zigzag 64-bit number.
///
/// # Errors
/// As [`unsigned`].
pub fn signed_long(bytes: &[u8]) -> Result<(i64, usize), DecodeError> {
    let (value, used) = read(bytes, MAX_BYTES_LONG)?;
    Ok(((value >> 1).cast_signed() ^ -(value & 1).cast_signed(), used))
}

/// Appends an unsigned 32-bit number.
pub fn put_unsigned(out: &mut BytesMut, value: u32) {
    put(out, value.into());
}

/// Appends a zigzag 32-bit number.
pub fn put_signed(out: &mut BytesMut, value: i32) {
    put(out, ((value << 1) ^ (value >> 31)).cast_unsigned().into());
}

/// Appends a zigzag 64-bit number.
pub fn put_signed_long(out: &mut BytesMut, value: i64) {
    put(out, ((value << 1) ^ (value >> 63)).cast_unsigned());
}

/// Bytes that [`put_unsigned`] takes.
pub fn unsigned_len(value: u32) -> usize {
    len(value.into())
}

/// Bytes that [`put_signed`] takes.
pub fn signed_len(value: i32) -> usize {
    len(((value << 1) ^ (value >> 31)).cast_unsigned().into())
}

/// Bytes that [`put_signed_long`] takes.
pub fn signed_long_len(value: i64) -> usize {
    len(((value << 1) ^ (value >> 63)).cast_unsigned())
}

fn read(bytes: &[u8], max_bytes: usize) -> Result<(u64, usize), DecodeError> {
    let mut value: u64 = 0;
    for (at, &byte) in bytes.iter().take(max_bytes).enumerate() {
        let shift = at * 7;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds only the topmost bit.
        if shift == 63 && bits > 1 {
            return Err(DecodeError::Varint);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok((value, at + 1));
        }
    }
    if bytes.len() < max_bytes {
        return Err(DecodeError::Truncated { wanted: bytes.len() + 1, left: bytes.len() });
    }
    Err(DecodeError::Varint)
}

fn put(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.put_u8(low | 0x80);
        value >>= 7;
    }
    let [low, ..] = value.to_le_bytes();
    out.put_u8(low);
}

fn len(value: u64) -> usize {
    let bits = usize::try_from(u64::BITS - value.leading_zeros()).unwrap_or_default();
    bits.div_ceil(7).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_as_kafka_does_and_reads_back() {
        for (value, bytes) in [(0, &[0x00][..]), (-1, &[0x01]), (1, &[0x02]), (-64, &[0x7f]), (64, &[0x80, 0x01])] {
            let mut out = BytesMut::new();
            put_signed(&mut out, value);
            assert_eq!(&out[..], bytes);
            assert_eq!(signed(&out), Ok((value, bytes.len())));
        }
        for value in [i64::MIN, i64::MIN + 1, -1, 0, 1, 0x7f, 0x80, 1 << 32, i64::MAX] {
            let mut out = BytesMut::new();
            put_signed_long(&mut out, value);
            assert_eq!(signed_long_len(value), out.len());
            assert_eq!(signed_long(&out), Ok((value, out.len())));
        }
        for value in [0, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut out = BytesMut::new();
            put_unsigned(&mut out, value);
            assert_eq!(unsigned_len(value), out.len());
            assert_eq!(unsigned(&out), Ok((value, out.len())));
        }
        for value in [i32::MIN, i32::MAX] {
            let mut out = BytesMut::new();
            put_signed(&mut out, value);
            assert_eq!(signed_len(value), out.len());
            assert_eq!(signed(&out), Ok((value, 5)));
        }
    }

    #[test]
    fn refuses_what_does_not_end_or_does_not_fit() {
        assert_eq!(unsigned(&[]), Err(DecodeError::Truncated { wanted: 1, left: 0 }));
        assert_eq!(unsigned(&[0x80; 4]), Err(DecodeError::Truncated { wanted: 5, left: 4 }));
        assert_eq!(unsigned(&[0x80; 5]), Err(DecodeError::Varint));
        assert_eq!(unsigned(&[0xff, 0xff, 0xff, 0xff, 0x1f]), Err(DecodeError::Varint));
        assert_eq!(signed_long(&[0xff; 10]), Err(DecodeError::Varint));
        assert_eq!(
            signed_long(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]),
            Err(DecodeError::Varint)
        );
    }
}
