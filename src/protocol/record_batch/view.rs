//! One batch, or the batches of a run of bytes, as they lie there.

use super::header::{BatchHeader, CRC_COVERED_FROM, HEADER_LEN, HeaderError};
use super::record::Records;

/// Why bytes are not one whole, sound batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum BatchError {
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The batch goes on past the end of the bytes.
    #[error("the batch has {needed} bytes, only {have} are there")]
    Torn { needed: usize, have: usize },
    /// The bytes are not those that were written.
    #[error("stored crc = {stored}, computed crc = {computed}")]
    Crc { stored: u32, computed: u32 },
}

impl BatchError {
    /// Could more bytes behind these make a sound batch? (The end of a log, or of what was read of it.)
    pub const fn is_torn(&self) -> bool {
        matches!(self, Self::Torn { .. } | Self::Header(HeaderError::Short { .. }))
    }
}

/// A batch of format v2, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct RecordBatch<'a> {
    header: BatchHeader,
    bytes: &'a [u8],
    records: &'a [u8],
}

impl<'a> RecordBatch<'a> {
    /// The batch at the front of `bytes`, which may go on behind it. Looks at the structure of the header only.
    ///
    /// # Errors
    /// No v2 header, or fewer bytes than it declares.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        let needed = header.size_in_bytes();
        let torn = BatchError::Torn { needed, have: bytes.len() };
        let batch = bytes.get(..needed).ok_or(torn)?;
        let records = batch.get(HEADER_LEN..).ok_or(torn)?;
        Ok(Self { header, bytes: batch, records })
    }

    /// Compares the stored CRC with that of the bytes.
    ///
    /// # Errors
    /// [`BatchError::Crc`].
    pub fn check_crc(&self) -> Result<(), BatchError> {
        let computed = crc32c::crc32c(self.bytes.get(CRC_COVERED_FROM..).unwrap_or(&[]));
        let stored = self.header.crc;
        if stored == computed { Ok(()) } else { Err(BatchError::Crc { stored, computed }) }
    }

    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, from its base offset to its last record.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: records, compressed or not.
    pub const fn record_bytes(&self) -> &'a [u8] {
        self.records
    }

    pub const fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub const fn is_compressed(&self) -> bool {
        self.header.attributes.0 & super::Attributes::CODEC_MASK != 0
    }

    /// The records of an uncompressed batch. For a compressed one decompress [`Self::record_bytes`] and read them with
    /// [`Records::new`].
    pub const fn records(&self) -> Records<'a> {
        Records::new(self.records, self.header.records_count)
    }
}

/// Where and how a run of batches ends before its bytes do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("at byte {position}: {error}")]
pub struct BatchDamage {
    /// The first byte that does not belong to a sound batch: the longest valid prefix's length.
    pub position: usize,
    pub error: BatchError,
}

/// The batches of `bytes`, one after the other, without looking at their CRC.
pub const fn batches(bytes: &[u8]) -> Batches<'_> {
    Batches { rest: bytes, position: 0, check_crc: false, damaged: false }
}

/// Iterator over concatenated batches; ends after the first torn or damaged one, having said where it begins.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    rest: &'a [u8],
    position: usize,
    check_crc: bool,
    damaged: bool,
}

impl<'a> Batches<'a> {
    /// Compares every batch with its CRC.
    #[must_use]
    pub const fn checked(mut self) -> Self {
        self.check_crc = true;
        self
    }

    /// Bytes of the batches so far: where the next one begins.
    pub const fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self) -> Result<RecordBatch<'a>, BatchError> {
        let batch = RecordBatch::parse(self.rest)?;
        if self.check_crc {
            batch.check_crc()?;
        }
        Ok(batch)
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<RecordBatch<'a>, BatchDamage>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.damaged || self.rest.is_empty() {
            return None;
        }
        match self.read() {
            Ok(batch) => {
                self.position += batch.size_in_bytes();
                self.rest = self.rest.get(batch.size_in_bytes()..).unwrap_or(&[]);
                Some(Ok(batch))
            }
            Err(error) => {
                self.damaged = true;
                Some(Err(BatchDamage { position: self.position, error }))
            }
        }
    }
}
