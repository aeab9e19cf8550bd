//! Walks the records of a batch that arrives in pieces, as decompressed bytes do, without putting the pieces together.
//!
//! A record that lies in one piece is read at once; one that goes over into the next is read field by field, keys and
//! values counted but never kept. So a record of any size is checked with the memory of one piece
//! (`DefaultRecord.readPartiallyFrom` is the precedent; unlike it every length is held against the record's own).

use super::cursor::{Cursor, zigzag64};
use super::record::{Record, RecordFormatError};

/// What a check needs of a record; lengths are -1 for null.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordFacts {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key_len: i32,
    pub value_len: i32,
}

impl RecordFacts {
    #[inline]
    pub(crate) fn of(record: &Record<'_>) -> Self {
        let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap_or(i32::MAX));
        Self {
            timestamp_delta: record.timestamp_delta,
            offset_delta: record.offset_delta,
            key_len: len(record.key),
            value_len: len(record.value),
        }
    }
}

/// The walk over a batch's records, piece by piece.
#[derive(Clone, Debug)]
pub struct RecordWalk {
    declared: i32,
    read: i32,
    /// The record that began in an earlier piece.
    open: Option<OpenRecord>,
}

impl RecordWalk {
    /// `declared` is the header's record count.
    pub const fn new(declared: i32) -> Self {
        Self { declared, read: 0, open: None }
    }

    /// Reads on in `piece` and hands every record that ends in it to `each`.
    ///
    /// # Errors
    /// A break of the format, bytes behind the last declared record, or what `each` returns.
    pub fn feed<E: From<RecordFormatError>>(
        &mut self,
        piece: &[u8],
        each: &mut impl FnMut(RecordFacts) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut cursor = Cursor::new(piece);
        while !cursor.is_empty() {
            if self.read >= self.declared {
                return Err(RecordFormatError::Remaining.into());
            }
            let facts = match self.open.take() {
                None if is_whole(cursor) => RecordFacts::of(&Record::read(&mut cursor)?),
                open => {
                    let mut open = open.unwrap_or_default();
                    match open.read_on(&mut cursor)? {
                        Some(facts) => facts,
                        None => {
                            self.open = Some(open);
                            return Ok(());
                        }
                    }
                }
            };
            self.read += 1;
            each(facts)?;
        }
        Ok(())
    }

    /// Says whether the last piece ended with the last declared record.
    ///
    /// # Errors
    /// [`RecordFormatError::Premature`].
    pub const fn finish(&self) -> Result<(), RecordFormatError> {
        if self.open.is_none() && self.read == self.declared {
            Ok(())
        } else {
            Err(RecordFormatError::Premature { read: self.read })
        }
    }
}

/// Does the record at the cursor end in the same bytes? Records with an impossible length count as whole.
#[inline]
fn is_whole(mut cursor: Cursor<'_>) -> bool {
    match cursor.varint() {
        Some(length) => usize::try_from(length).is_ok_and(|len| len <= cursor.len()) || length < 0,
        None => false,
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    Length,
    Attributes,
    TimestampDelta,
    OffsetDelta,
    KeyLength,
    ValueLength,
    HeaderCount,
    HeaderKeyLength,
    HeaderValueLength,
}

/// A record whose end has not come yet.
#[derive(Clone, Debug)]
struct OpenRecord {
    /// The field that is read, or that follows the bytes to skip.
    field: Field,
    /// The bytes of a varint so far.
    varint: u64,
    shift: u32,
    /// Bytes of a key or value still to come.
    skip: usize,
    /// Bytes of the record still to come, once its length is known.
    left: usize,
    headers_left: usize,
    facts: RecordFacts,
}

impl Default for OpenRecord {
    fn default() -> Self {
        Self {
            field: Field::Length,
            varint: 0,
            shift: 0,
            skip: 0,
            left: 0,
            headers_left: 0,
            facts: RecordFacts { timestamp_delta: 0, offset_delta: 0, key_len: -1, value_len: -1 },
        }
    }
}

impl OpenRecord {
    /// Takes bytes from the cursor until the record or the piece ends.
    fn read_on(&mut self, cursor: &mut Cursor<'_>) -> Result<Option<RecordFacts>, RecordFormatError> {
        loop {
            let skipped = self.skip.min(cursor.len());
            cursor.take(skipped).ok_or(RecordFormatError::Structure)?;
            self.skip -= skipped;
            self.left -= skipped;
            if self.skip > 0 {
                return Ok(None);
            }
            if self.is_complete()? {
                return Ok(Some(self.facts));
            }
            let Some(byte) = cursor.byte() else { return Ok(None) };
            self.byte(byte)?;
        }
    }

    /// Have all fields been read? Then nothing of the record may be left.
    const fn is_complete(&self) -> Result<bool, RecordFormatError> {
        match (self.field, self.left) {
            (Field::HeaderKeyLength, 0) if self.headers_left == 0 => Ok(true),
            (Field::HeaderKeyLength, _) if self.headers_left == 0 => Err(RecordFormatError::Padding),
            _ => Ok(false),
        }
    }

    fn byte(&mut self, byte: u8) -> Result<(), RecordFormatError> {
        if self.field != Field::Length {
            self.left = self.left.checked_sub(1).ok_or(RecordFormatError::Structure)?;
        }
        if self.field == Field::Attributes {
            self.field = Field::TimestampDelta;
            return Ok(());
        }
        let last_shift = if self.field == Field::TimestampDelta { 63 } else { 28 };
        self.varint |= u64::from(byte & 0x7f) << self.shift;
        if byte < 0x80 {
            let value = zigzag64(if last_shift == 28 { self.varint & u64::from(u32::MAX) } else { self.varint });
            (self.varint, self.shift) = (0, 0);
            return self.field_is(value);
        }
        if self.shift == last_shift {
            return Err(if self.field == Field::Length {
                RecordFormatError::Premature { read: 0 }
            } else {
                RecordFormatError::Structure
            });
        }
        self.shift += 7;
        Ok(())
    }

    /// A varint has been read: what does it say, and what follows it?
    fn field_is(&mut self, value: i64) -> Result<(), RecordFormatError> {
        let small = i32::try_from(value).unwrap_or(i32::MAX);
        match self.field {
            Field::Length => {
                let length = RecordFormatError::Length { length: small };
                self.left = usize::try_from(small).map_err(|_| length)?;
                self.field = Field::Attributes;
            }
            Field::Attributes => {}
            Field::TimestampDelta => {
                self.facts.timestamp_delta = value;
                self.field = Field::OffsetDelta;
            }
            Field::OffsetDelta => {
                self.facts.offset_delta = small;
                self.field = Field::KeyLength;
            }
            Field::KeyLength => {
                self.facts.key_len = small.max(-1);
                self.skip_nullable(small)?;
                self.field = Field::ValueLength;
            }
            Field::ValueLength => {
                self.facts.value_len = small.max(-1);
                self.skip_nullable(small)?;
                self.field = Field::HeaderCount;
            }
            Field::HeaderCount => {
                let count = usize::try_from(small).ok().filter(|count| *count <= self.left);
                self.headers_left = count.ok_or(RecordFormatError::HeaderCount(small))?;
                self.field = Field::HeaderKeyLength;
            }
            Field::HeaderKeyLength => {
                if small < 0 {
                    return Err(RecordFormatError::HeaderKey(small));
                }
                self.skip_nullable(small)?;
                self.field = Field::HeaderValueLength;
            }
            Field::HeaderValueLength => {
                self.skip_nullable(small)?;
                self.headers_left -= 1;
                self.field = Field::HeaderKeyLength;
            }
        }
        Ok(())
    }

    fn skip_nullable(&mut self, length: i32) -> Result<(), RecordFormatError> {
        self.skip = usize::try_from(length).unwrap_or(0);
        if self.skip > self.left { Err(RecordFormatError::Structure) } else { Ok(()) }
    }
}
