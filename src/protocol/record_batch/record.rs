//! One record and the records of an uncompressed run of bytes (`org.apache.kafka.common.record.internal.DefaultRecord`).
//!
//! A record is read as a whole, headers included, so that what comes out of it needs no further check. Nothing is
//! copied and nothing allocated.

use super::builder::{length, put_nullable};
use super::cursor::{Cursor, put_varint, put_varlong};

/// How records break the format. Kafka answers `INVALID_RECORD` for each.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordFormatError {
    /// The bytes end before the declared number of records.
    #[error("the batch ends after {read} of its records")]
    Premature { read: i32 },
    /// Bytes are left after the declared number of records.
    #[error("bytes are left after the last of the declared records")]
    Remaining,
    /// A record is longer than what is left, or has a negative length.
    #[error("record length {length} does not fit")]
    Length { length: i32 },
    /// A field ends outside its record, or a varint is too long.
    #[error("a field of a record ends outside of it")]
    Structure,
    /// A negative number of headers, or more than bytes are left.
    #[error("{0} record headers cannot be")]
    HeaderCount(i32),
    /// Header keys are never null.
    #[error("header key length {0} is negative")]
    HeaderKey(i32),
    /// The fields end before the record does.
    #[error("bytes are left after the last field of a record")]
    Padding,
}

/// A record as it lies in a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// No bit is defined.
    pub attributes: i8,
    /// Added to the batch's base timestamp, in ms.
    pub timestamp_delta: i64,
    /// Added to the batch's base offset.
    pub offset_delta: i32,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// Reads the record at the front of `bytes` and returns it with what follows.
    ///
    /// # Errors
    /// Any break of the format; [`RecordFormatError::Premature`] if `bytes` end in or before the length.
    #[inline]
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, &'a [u8]), RecordFormatError> {
        let mut cursor = Cursor::new(bytes);
        let record = Self::read(&mut cursor)?;
        Ok((record, cursor.rest()))
    }

    /// Appends the record's bytes, its length first, to `out`.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut body = self.attributes.to_be_bytes().to_vec();
        put_varlong(&mut body, self.timestamp_delta);
        put_varint(&mut body, self.offset_delta);
        put_nullable(&mut body, self.key);
        put_nullable(&mut body, self.value);
        put_varint(&mut body, length(self.headers.len()));
        body.extend_from_slice(self.headers.bytes);
        put_varint(out, length(body.len()));
        out.append(&mut body);
    }

    #[inline]
    pub(super) fn read(cursor: &mut Cursor<'a>) -> Result<Self, RecordFormatError> {
        let length = cursor.varint().ok_or(RecordFormatError::Premature { read: 0 })?;
        let body = usize::try_from(length).ok().and_then(|len| cursor.take(len));
        Self::read_body(body.ok_or(RecordFormatError::Length { length })?)
    }

    #[inline]
    fn read_body(body: &'a [u8]) -> Result<Self, RecordFormatError> {
        let mut cursor = Cursor::new(body);
        let fields = Self::fields(&mut cursor).ok_or(RecordFormatError::Structure)?;
        let (record, count) = fields;
        let headers = Headers::read(&mut cursor, count)?;
        if !cursor.is_empty() {
            return Err(RecordFormatError::Padding);
        }
        Ok(Self { headers, ..record })
    }

    /// Everything up to and with the number of headers.
    #[inline]
    fn fields(cursor: &mut Cursor<'a>) -> Option<(Self, i32)> {
        let record = Self {
            attributes: i8::from_be_bytes([cursor.byte()?]),
            timestamp_delta: cursor.varlong()?,
            offset_delta: cursor.varint()?,
            key: cursor.nullable()?,
            value: cursor.nullable()?,
            headers: Headers::NONE,
        };
        Some((record, cursor.varint()?))
    }
}

/// The headers of a record, in their order; keys may repeat (KIP-82). Kafka takes any bytes as a key, so text it is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Headers<'a> {
    count: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    pub const NONE: Self = Self { count: 0, bytes: &[] };

    #[inline]
    fn read(cursor: &mut Cursor<'a>, count: i32) -> Result<Self, RecordFormatError> {
        // A header takes two bytes at least; Kafka's own test is against the bytes that are left.
        let declared = usize::try_from(count).ok().filter(|count| *count <= cursor.len());
        let count = declared.ok_or(RecordFormatError::HeaderCount(count))?;
        if count == 0 {
            return Ok(Self::NONE);
        }
        let bytes = cursor.rest();
        for _ in 0..count {
            read_header(cursor)?;
        }
        Ok(Self { count, bytes })
    }

    pub const fn len(&self) -> usize {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let mut cursor = Cursor::new(self.bytes);
        let header = read_header(&mut cursor).ok()?;
        self.bytes = cursor.rest();
        Some(header)
    }
}

fn read_header<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a [u8], Option<&'a [u8]>), RecordFormatError> {
    let length = cursor.varint().ok_or(RecordFormatError::Structure)?;
    let len = usize::try_from(length).map_err(|_| RecordFormatError::HeaderKey(length))?;
    let key = cursor.take(len).ok_or(RecordFormatError::Structure)?;
    let value = cursor.nullable().ok_or(RecordFormatError::Structure)?;
    Ok((key, value))
}

/// The records of an uncompressed batch, or of a compressed one's decompressed bytes. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    cursor: Cursor<'a>,
    declared: i32,
    read: i32,
    failed: bool,
}

impl<'a> Records<'a> {
    /// `declared` is the header's record count; the bytes must hold exactly that many.
    pub const fn new(bytes: &'a [u8], declared: i32) -> Self {
        Self { cursor: Cursor::new(bytes), declared, read: 0, failed: false }
    }

    /// Bytes not yet read.
    pub const fn rest(&self) -> &'a [u8] {
        self.cursor.rest()
    }

    fn step(&mut self) -> Result<Record<'a>, RecordFormatError> {
        let record = Record::read(&mut self.cursor).map_err(|error| match error {
            RecordFormatError::Premature { .. } => RecordFormatError::Premature { read: self.read },
            error => error,
        })?;
        self.read += 1;
        if self.read == self.declared && !self.cursor.is_empty() {
            return Err(RecordFormatError::Remaining);
        }
        Ok(record)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, RecordFormatError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        if self.read >= self.declared {
            // Only a batch without records comes here with bytes left.
            self.failed = !self.cursor.is_empty();
            return self.failed.then_some(Err(RecordFormatError::Remaining));
        }
        let step = self.step();
        self.failed = step.is_err();
        Some(step)
    }
}
