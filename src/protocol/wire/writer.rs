//! Writes primitive types into one buffer.

use bytes::{BufMut, Bytes, BytesMut};
use bytestring::ByteString;

use super::{Message, Records, varint};
use crate::model::uuid::Uuid;

/// Kafka's limit on strings, in bytes. Longer ones, which only our own texts could be, are cut.
const MAX_STRING_BYTES: usize = 0x7fff;

/// Appends to a buffer, and notes the gaps in it.
#[derive(Debug, Default)]
pub struct Writer {
    buffer: BytesMut,
    gaps: Vec<Gap>,
    framed: bool,
}

/// A place where bytes from elsewhere belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Offset in [`Encoded::bytes`] before which they go.
    pub at: usize,
    pub len: u32,
}

/// What a [`Writer`] wrote.
#[derive(Clone, Debug)]
pub struct Encoded {
    pub bytes: Bytes,
    /// In ascending order of `at`.
    pub gaps: Vec<Gap>,
}

/// The tagged fields at the end of a structure, being written in ascending order of their tags.
#[derive(Debug)]
pub struct TaggedFields<'a> {
    w: &'a mut Writer,
    /// Where the count stands.
    count_at: usize,
}

impl Writer {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with_capacity(capacity: usize) -> Self {
        Self { buffer: BytesMut::with_capacity(capacity), ..Self::default() }
    }

    /// A writer whose first four bytes become the length of all that follows, gaps included.
    pub fn framed(capacity: usize) -> Self {
        let mut w = Self { framed: true, ..Self::with_capacity(capacity.saturating_add(size_of::<i32>())) };
        w.i32(0);
        w
    }

    /// Bytes written so far, gaps not counted.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// # Panics
    /// When a frame outgrew 2 GiB: limits on what one response may hold lie far below.
    pub fn finish(mut self) -> Encoded {
        if self.framed {
            let gaps = self.gaps.iter().map(|gap| u64::from(gap.len)).sum::<u64>();
            let len = u64::try_from(self.buffer.len().saturating_sub(size_of::<i32>())).unwrap_or(u64::MAX);
            let prefix = length(len.saturating_add(gaps)).to_be_bytes();
            self.overwrite(0, &prefix);
        }
        Encoded { bytes: self.buffer.freeze(), gaps: self.gaps }
    }

    pub fn bool(&mut self, value: bool) {
        self.buffer.put_u8(value.into());
    }

    pub fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    pub fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub fn u16(&mut self, value: u16) {
        self.buffer.put_u16(value);
    }

    pub fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub fn u32(&mut self, value: u32) {
        self.buffer.put_u32(value);
    }

    pub fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub fn f64(&mut self, value: f64) {
        self.buffer.put_f64(value);
    }

    pub fn uuid(&mut self, value: &Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    pub fn unsigned_varint(&mut self, value: u32) {
        varint::put_unsigned(&mut self.buffer, value);
    }

    pub fn varint(&mut self, value: i32) {
        varint::put_signed(&mut self.buffer, value);
    }

    pub fn varlong(&mut self, value: i64) {
        varint::put_signed_long(&mut self.buffer, value);
    }

    /// Bytes as they are, without a length.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.buffer.put_slice(bytes);
    }

    pub fn string(&mut self, value: &str, flexible: bool) {
        let value = value.get(..value.floor_char_boundary(MAX_STRING_BYTES)).unwrap_or_default();
        if flexible {
            self.length(Some(value.len()), flexible);
        } else {
            self.i16(i16::try_from(value.len()).unwrap_or(i16::MAX));
        }
        self.raw(value.as_bytes());
    }

    /// Null is written as the empty string unless `allowed`; the same holds for bytes and arrays.
    pub fn nullable_string(&mut self, allowed: bool, value: Option<&ByteString>, flexible: bool) {
        match value {
            Some(value) => self.string(value, flexible),
            None if allowed && !flexible => self.i16(-1),
            None if allowed => self.length(None, flexible),
            None => self.string("", flexible),
        }
    }

    pub fn bytes(&mut self, value: &[u8], flexible: bool) {
        self.length(Some(value.len()), flexible);
        self.raw(value);
    }

    pub fn nullable_bytes(&mut self, allowed: bool, value: Option<&Bytes>, flexible: bool) {
        match value {
            Some(value) => self.bytes(value, flexible),
            None => self.length((!allowed).then_some(0), flexible),
        }
    }

    pub fn records(&mut self, allowed: bool, value: &Records, flexible: bool) {
        match value {
            Records::Null => self.length((!allowed).then_some(0), flexible),
            Records::Bytes(bytes) => self.bytes(bytes, flexible),
            Records::Gap(len) => {
                self.length(Some(value.len()), flexible);
                self.gaps.push(Gap { at: self.buffer.len(), len: *len });
            }
        }
    }

    pub fn array<T>(&mut self, flexible: bool, value: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.length(Some(value.len()), flexible);
        for element in value {
            write(self, element);
        }
    }

    pub fn nullable_array<T>(
        &mut self,
        allowed: bool,
        flexible: bool,
        value: Option<&Vec<T>>,
        write: impl FnMut(&mut Self, &T),
    ) {
        match value {
            Some(value) => self.array(flexible, value, write),
            None => self.length((!allowed).then_some(0), flexible),
        }
    }

    /// A structure that may be null: the byte that says so, then the structure.
    pub fn nullable<T: Message>(&mut self, value: Option<&T>, version: i16) {
        self.i8(if value.is_some() { 1 } else { -1 });
        if let Some(value) = value {
            value.encode(self, version);
        }
    }

    /// Begins the tagged fields of a structure: none, until some are added.
    pub fn tagged_fields(&mut self) -> TaggedFields<'_> {
        let count_at = self.buffer.len();
        self.buffer.put_u8(0);
        TaggedFields { w: self, count_at }
    }

    /// Length of bytes or count of an array; `None` is null.
    fn length(&mut self, len: Option<usize>, flexible: bool) {
        let len = len.map(|len| length(u64::try_from(len).unwrap_or(u64::MAX)));
        match (len, flexible) {
            (Some(len), true) => self.unsigned_varint(len.cast_unsigned() + 1),
            (None, true) => self.unsigned_varint(0),
            (Some(len), false) => self.i32(len),
            (None, false) => self.i32(-1),
        }
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.buffer.get_mut(at..at.saturating_add(bytes.len())) {
            place.copy_from_slice(bytes);
        }
    }
}

impl TaggedFields<'_> {
    /// Adds one field.
    ///
    /// # Panics
    /// When `write` leaves a gap: no tagged field holds records, and a gap would be moved.
    pub fn field(&mut self, tag: u32, write: impl FnOnce(&mut Writer)) {
        let w = &mut *self.w;
        w.unsigned_varint(tag);
        let (start, gaps) = (w.buffer.len(), w.gaps.len());
        write(w);
        assert!(w.gaps.len() == gaps, "a tagged field holds records");
        // The size stands before the field and has a variable length: the field moves up to make room for it.
        let end = w.buffer.len();
        let size = length(u64::try_from(end - start).unwrap_or(u64::MAX)).cast_unsigned();
        w.unsigned_varint(size);
        let room = w.buffer.len() - end;
        if let Some(field) = w.buffer.get_mut(start..) {
            field.rotate_right(room);
        }
        if let Some(count) = w.buffer.get_mut(self.count_at) {
            // One byte holds it: no structure of Kafka's has 128 tagged fields.
            *count += 1;
        }
    }
}

/// # Panics
/// When it is not a length that the protocol can say: no frame comes near.
fn length(len: u64) -> i32 {
    let len = i32::try_from(len);
    assert!(len.is_ok(), "a message of more than 2 GiB");
    len.unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_counts_its_gaps() {
        let mut w = Writer::framed(0);
        w.i16(1);
        w.records(true, &Records::Gap(300), true);
        w.records(true, &Records::Bytes(Bytes::from_static(b"ab")), true);
        w.records(true, &Records::Null, true);
        let Encoded { bytes, gaps } = w.finish();
        assert_eq!(&bytes[..], b"\x00\x00\x01\x34\x00\x01\xad\x02\x03ab\x00");
        assert_eq!(gaps, [Gap { at: 8, len: 300 }]);
    }

    /// A size of more than one byte moves the field behind it.
    #[test]
    fn tagged_fields_have_their_sizes_before_them() {
        let mut w = Writer::new();
        let mut tags = w.tagged_fields();
        tags.field(0, |w| w.raw(&[7; 200]));
        tags.field(3, |w| w.i8(9));
        let bytes = w.finish().bytes;
        assert_eq!(bytes[..4], [2, 0, 200, 1]);
        assert_eq!(bytes[4..204], [7; 200]);
        assert_eq!(bytes[204..], [3, 1, 9]);
    }

    #[test]
    fn a_string_is_cut_at_kafkas_limit_and_never_within_a_character() {
        let mut w = Writer::new();
        w.string(&"\u{20ac}".repeat(11_000), false);
        let bytes = w.finish().bytes;
        assert_eq!(bytes[..2], 32_766i16.to_be_bytes());
        assert_eq!(bytes.len(), 2 + 32_766);
    }
}
