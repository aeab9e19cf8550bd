//! A reading position in borrowed bytes, and Kafka's zigzag varints (`org.apache.kafka.common.utils.ByteUtils`).
//!
//! Every read says by `None` that the bytes end or that a varint is too long; it knows nothing of what it reads.

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(crate) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (head, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*head)
    }

    #[inline]
    pub(crate) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    /// A zigzag varint of at most 5 bytes; bits past the 32nd fall away, as in Kafka.
    #[inline]
    pub(crate) fn varint(&mut self) -> Option<i32> {
        // Lengths and deltas of one or two bytes are nearly all there are.
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Some(zigzag32(u32::from(a)))
            }
            [a, b, ref rest @ ..] if b < 0x80 => {
                self.rest = rest;
                Some(zigzag32(u32::from(a & 0x7f) | u32::from(b) << 7))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Option<i32> {
        let mut value = 0_u32;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(zigzag32(value));
            }
        }
        None
    }

    /// A zigzag varint of at most 10 bytes.
    #[inline]
    pub(crate) fn varlong(&mut self) -> Option<i64> {
        match *self.rest {
            [a, ref rest @ ..] if a < 0x80 => {
                self.rest = rest;
                Some(zigzag64(u64::from(a)))
            }
            _ => self.long_varlong(),
        }
    }

    fn long_varlong(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for shift in [0, 7, 14, 21, 28, 35, 42, 49, 56, 63] {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(zigzag64(value));
            }
        }
        None
    }

    /// A length and that many bytes; any negative length is null, as in Kafka.
    #[inline]
    pub(crate) fn nullable(&mut self) -> Option<Option<&'a [u8]>> {
        match usize::try_from(self.varint()?) {
            Ok(len) => Some(Some(self.take(len)?)),
            Err(_) => Some(None),
        }
    }
}

#[inline]
pub(crate) const fn zigzag32(raw: u32) -> i32 {
    ((raw >> 1) ^ (raw & 1).wrapping_neg()).cast_signed()
}

#[inline]
pub(crate) const fn zigzag64(raw: u64) -> i64 {
    ((raw >> 1) ^ (raw & 1).wrapping_neg()).cast_signed()
}

/// Appends `value` as a zigzag varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, value: i32) {
    put_varlong(out, i64::from(value));
}

/// Appends `value` as a zigzag varint; an `i32` has the same bytes in both widths.
pub(crate) fn put_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    loop {
        let low = u8::try_from(raw & 0x7f).unwrap_or(0x7f);
        raw >>= 7;
        if raw == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

/// How many bytes [`put_varlong`] appends; as many as [`put_varint`] for an `i32`.
pub(crate) fn varlong_len(value: i64) -> usize {
    let raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let bits = u64::BITS - (raw | 1).leading_zeros();
    usize::try_from(bits.div_ceil(7)).unwrap_or(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_come_back() {
        for value in [0, 1, -1, 63, -64, 64, -65, 8191, -8192, 8192, 1 << 20, i32::MAX, i32::MIN, 268_435_455] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varlong_len(i64::from(value)), "{value}");
            let mut cursor = Cursor::new(&out);
            assert_eq!(cursor.varint(), Some(value));
            assert!(cursor.is_empty());
            for cut in 0..out.len() {
                assert_eq!(Cursor::new(out.get(..cut).unwrap()).varint(), None, "cut at {cut} of {value}");
            }
        }
        for value in [0, -1, i64::MAX, i64::MIN, 1 << 40, -(1 << 35)] {
            let mut out = Vec::new();
            put_varlong(&mut out, value);
            assert_eq!(out.len(), varlong_len(value), "{value}");
            assert_eq!(Cursor::new(&out).varlong(), Some(value));
        }
    }

    #[test]
    fn too_long_varints_are_refused() {
        assert_eq!(Cursor::new(&[0x80; 5]).varint(), None);
        assert_eq!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00]).varint(), None);
        assert_eq!(Cursor::new(&[0xff; 10]).varlong(), None);
        assert_eq!(Cursor::new(&[0x80, 0x80, 0x80, 0x80, 0x00]).varint(), Some(0));
    }

    #[test]
    fn negative_lengths_are_null() {
        assert_eq!(Cursor::new(&[0x01, 0xaa]).nullable(), Some(None));
        assert_eq!(Cursor::new(&[0x05, 0xaa]).nullable(), Some(None));
        assert_eq!(Cursor::new(&[0x02, 0xaa]).nullable(), Some(Some(&[0xaa][..])));
        assert_eq!(Cursor::new(&[0x04, 0xaa]).nullable(), None);
    }
}
