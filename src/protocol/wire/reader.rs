//! Reads primitive types out of one frame.

use bytes::{Buf, Bytes};
use bytestring::ByteString;

use super::{DecodeError, Records, varint};
use crate::model::uuid::Uuid;

/// What a frame of any size may take when decoded, in bytes.
const FREE_MEMORY: usize = 1 << 20;
/// What each further byte of a frame may take when decoded. The densest honest message, a list of topics with names of
/// two letters, takes 14.
const MEMORY_PER_BYTE: usize = 16;
/// Kafka's limit on strings, in bytes.
const MAX_STRING_BYTES: usize = 0x7fff;

/// A place in one frame. Cheap to clone: the bytes are shared.
#[derive(Clone, Debug)]
pub struct Reader {
    bytes: Bytes,
    /// Bytes of memory that arrays may still take.
    budget: usize,
}

impl Reader {
    pub fn new(bytes: Bytes) -> Self {
        let budget = bytes.len().saturating_mul(MEMORY_PER_BYTE).saturating_add(FREE_MEMORY);
        Self { bytes, budget }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// What is not read yet.
    pub fn into_rest(self) -> Bytes {
        self.bytes
    }

    /// # Errors
    /// [`DecodeError::Trailing`] when something is left.
    pub fn expect_end(&self) -> Result<(), DecodeError> {
        if self.bytes.is_empty() { Ok(()) } else { Err(DecodeError::Trailing(self.bytes.len())) }
    }

    /// Any byte but zero is true, as in Kafka.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        self.i8().map(|byte| byte != 0)
    }

    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.fixed().map(i8::from_be_bytes)
    }

    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.fixed().map(i16::from_be_bytes)
    }

    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.fixed().map(u16::from_be_bytes)
    }

    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.fixed().map(i32::from_be_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.fixed().map(u32::from_be_bytes)
    }

    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.fixed().map(i64::from_be_bytes)
    }

    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.fixed().map(f64::from_be_bytes)
    }

    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.fixed().map(Uuid::from_bytes)
    }

    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let (value, used) = varint::unsigned(&self.bytes)?;
        self.bytes.advance(used);
        Ok(value)
    }

    pub fn varint(&mut self) -> Result<i32, DecodeError> {
        let (value, used) = varint::signed(&self.bytes)?;
        self.bytes.advance(used);
        Ok(value)
    }

    pub fn varlong(&mut self) -> Result<i64, DecodeError> {
        let (value, used) = varint::signed_long(&self.bytes)?;
        self.bytes.advance(used);
        Ok(value)
    }

    /// The next `len` bytes, a slice of the frame.
    pub fn slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.bytes.len() {
            return Err(DecodeError::Truncated { wanted: len, left: self.bytes.len() });
        }
        Ok(self.bytes.split_to(len))
    }

    /// `string`: length i16, or unsigned varint of length + 1 where `flexible`; UTF-8.
    pub fn string(&mut self, flexible: bool) -> Result<ByteString, DecodeError> {
        self.nullable_string(false, flexible)?.ok_or(DecodeError::Null)
    }

    /// As [`Reader::string`]; null is refused unless `allowed`.
    pub fn nullable_string(&mut self, allowed: bool, flexible: bool) -> Result<Option<ByteString>, DecodeError> {
        let len = if flexible { self.compact_length()? } else { length(self.i16()?.into())? };
        let Some(len) = len else { return null(allowed) };
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if len > MAX_STRING_BYTES {
            return Err(DecodeError::StringTooLong(len));
        }
        ByteString::try_from(self.slice(len)?).map(Some).map_err(|_| DecodeError::Utf8)
    }

    /// `bytes`: length i32, or unsigned varint of length + 1 where `flexible`.
    pub fn bytes(&mut self, flexible: bool) -> Result<Bytes, DecodeError> {
        self.nullable_bytes(false, flexible)?.ok_or(DecodeError::Null)
    }

    /// As [`Reader::bytes`]; null is refused unless `allowed`.
    pub fn nullable_bytes(&mut self, allowed: bool, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.length(flexible)? {
            Some(len) => self.slice(usize::try_from(len).unwrap_or(usize::MAX)).map(Some),
            None => null(allowed),
        }
    }

    /// `records`: framed as `bytes`, not looked into.
    pub fn records(&mut self, allowed: bool, flexible: bool) -> Result<Records, DecodeError> {
        Ok(self.nullable_bytes(allowed, flexible)?.map_or(Records::Null, Records::Bytes))
    }

    /// An array whose elements take at least `min_size` bytes each.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        min_size: usize,
        read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.nullable_array(false, flexible, min_size, read)?.ok_or(DecodeError::Null)
    }

    /// As [`Reader::array`]; null is refused unless `allowed`.
    pub fn nullable_array<T>(
        &mut self,
        allowed: bool,
        flexible: bool,
        min_size: usize,
        mut read: impl FnMut(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<Vec<T>>, DecodeError> {
        let Some(count) = self.length(flexible)? else { return null(allowed) };
        let elements = self.claim(count, min_size, size_of::<T>())?;
        let mut out = Vec::with_capacity(elements);
        for _ in 0..elements {
            out.push(read(self)?);
        }
        Ok(Some(out))
    }

    /// A structure that a byte announces: 1, or -1 for null.
    pub fn nullable<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        match self.i8()? {
            1 => read(self).map(Some),
            -1 => Ok(None),
            other => Err(DecodeError::NullMarker(other)),
        }
    }

    /// The tagged fields at the end of a structure (KIP-482). `known` reads the field of a tag and says true, or leaves
    /// it alone and says false.
    pub fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        let count = self.unsigned_varint()?;
        // A field takes a byte of tag and one of size.
        self.claim(count, 2, 0)?;
        let mut next = 0;
        for _ in 0..count {
            let tag = self.unsigned_varint()?;
            if u64::from(tag) < next {
                return Err(DecodeError::TagOrder(tag));
            }
            next = u64::from(tag) + 1;
            let size = usize::try_from(self.unsigned_varint()?).unwrap_or(usize::MAX);
            let mut field = Self { bytes: self.slice(size)?, budget: self.budget };
            if known(tag, &mut field)? {
                field.expect_end()?;
            }
            self.budget = field.budget;
        }
        Ok(())
    }

    pub fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let bytes = *self.bytes.first_chunk().ok_or(DecodeError::Truncated { wanted: N, left: self.bytes.len() })?;
        self.bytes.advance(N);
        Ok(bytes)
    }

    /// Length of bytes or count of an array; `None` for null.
    fn length(&mut self, flexible: bool) -> Result<Option<u32>, DecodeError> {
        if flexible { self.compact_length() } else { length(self.i32()?) }
    }

    fn compact_length(&mut self) -> Result<Option<u32>, DecodeError> {
        self.unsigned_varint().map(|len| len.checked_sub(1))
    }

    /// Refuses a count that cannot be true, and one whose elements would outgrow the budget.
    fn claim(&mut self, count: u32, min_size: usize, memory_each: usize) -> Result<usize, DecodeError> {
        let left = self.bytes.len();
        let elements = usize::try_from(count).unwrap_or(usize::MAX);
        if elements > left / min_size.max(1) {
            return Err(DecodeError::ArrayTooLong { count, left });
        }
        self.budget = self.budget.checked_sub(elements.saturating_mul(memory_each)).ok_or(DecodeError::Memory)?;
        Ok(elements)
    }
}

/// A length of the old encoding: -1 is null.
fn length(len: i32) -> Result<Option<u32>, DecodeError> {
    match len {
        -1 => Ok(None),
        len => u32::try_from(len).map(Some).map_err(|_| DecodeError::Length(len)),
    }
}

fn null<T>(allowed: bool) -> Result<Option<T>, DecodeError> {
    if allowed { Ok(None) } else { Err(DecodeError::Null) }
}
