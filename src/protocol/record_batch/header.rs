//! The 61 bytes in front of every batch (`org.apache.kafka.common.record.internal.DefaultRecordBatch`, KIP-98).
//!
//! Base offset, length, leader epoch and magic lie outside the CRC, so they are judged by structure alone.

use super::cursor::Cursor;
use crate::model::compression::{CompressionType, TimestampType};

/// Bytes of a v2 batch before its first record.
pub const HEADER_LEN: usize = 61;
/// Base offset and batch length: what `batch_length` does not count.
pub const LOG_OVERHEAD: usize = 12;
/// Where the bytes covered by the CRC begin.
pub const CRC_COVERED_FROM: usize = 21;
/// The only magic that is written since Kafka 4.0.
pub const MAGIC_V2: i8 = 2;
/// A record or batch without a timestamp.
pub const NO_TIMESTAMP: i64 = -1;
/// The base sequence of a batch without an idempotent producer.
pub const NO_SEQUENCE: i32 = -1;
/// The leader epoch of a batch that no leader has stamped yet.
pub const NO_LEADER_EPOCH: i32 = -1;

/// `HEADER_LEN - LOG_OVERHEAD` as it appears on the wire.
const SMALLEST_BATCH_LENGTH: i32 = 49;

/// Why bytes do not begin with a v2 batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HeaderError {
    /// Not even a header is there.
    #[error("{have} bytes are too few for a batch header")]
    Short { have: usize },
    /// `batch_length` would end inside the header.
    #[error("batch length {0} is smaller than a batch header")]
    Length(i32),
    /// Neither magic 2 nor anything this code reads.
    #[error("magic {0} is not a v2 record batch")]
    Magic(i8),
}

/// The attributes of a batch: codec, timestamp type and kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    pub const CODEC_MASK: i16 = 0x07;
    pub const LOG_APPEND_TIME: i16 = 0x08;
    pub const TRANSACTIONAL: i16 = 0x10;
    pub const CONTROL: i16 = 0x20;
    /// The base timestamp is the time from which tombstones may be dropped (KIP-534).
    pub const DELETE_HORIZON: i16 = 0x40;

    /// Every bit that means something.
    const KNOWN: i16 =
        Self::CODEC_MASK | Self::LOG_APPEND_TIME | Self::TRANSACTIONAL | Self::CONTROL | Self::DELETE_HORIZON;

    /// `None` for the codec ids 5 to 7, which nobody defined.
    pub fn codec(self) -> Option<CompressionType> {
        u8::try_from(self.0 & Self::CODEC_MASK).ok().and_then(CompressionType::from_id)
    }

    pub const fn timestamp_type(self) -> TimestampType {
        if self.has(Self::LOG_APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    pub const fn is_transactional(self) -> bool {
        self.has(Self::TRANSACTIONAL)
    }

    pub const fn is_control(self) -> bool {
        self.has(Self::CONTROL)
    }

    pub const fn has_delete_horizon(self) -> bool {
        self.has(Self::DELETE_HORIZON)
    }

    /// These attributes with another timestamp type.
    pub const fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        match timestamp_type {
            TimestampType::CreateTime => Self(self.0 & !Self::LOG_APPEND_TIME),
            TimestampType::LogAppendTime => Self(self.0 | Self::LOG_APPEND_TIME),
        }
    }

    /// These attributes without bits that mean nothing, as whoever writes a header anew leaves them
    /// (`DefaultRecordBatch.computeAttributes`).
    pub const fn known(self) -> Self {
        Self(self.0 & Self::KNOWN)
    }

    /// These attributes with another codec.
    pub const fn with_codec(self, codec: CompressionType) -> Self {
        let id = match codec {
            CompressionType::None => 0,
            CompressionType::Gzip => 1,
            CompressionType::Snappy => 2,
            CompressionType::Lz4 => 3,
            CompressionType::Zstd => 4,
        };
        Self(self.0 & !Self::CODEC_MASK | id)
    }

    const fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }
}

/// A batch's header as numbers, in the order of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchHeader {
    pub base_offset: i64,
    /// Bytes after this field, 49 of them header.
    pub batch_length: i32,
    pub partition_leader_epoch: i32,
    pub magic: i8,
    /// CRC-32C of everything after it.
    pub crc: u32,
    pub attributes: Attributes,
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas are added to, in ms.
    pub base_timestamp: i64,
    pub max_timestamp: i64,
    pub producer_id: i64,
    pub producer_epoch: i16,
    pub base_sequence: i32,
    pub records_count: i32,
}

impl BatchHeader {
    /// Reads a header from the front of `bytes`; what follows it is not looked at.
    ///
    /// # Errors
    /// Too few bytes, a length that ends inside the header, or another magic than 2.
    pub fn parse(bytes: &[u8]) -> Result<Self, HeaderError> {
        let header = Self::fields(bytes).ok_or(HeaderError::Short { have: bytes.len() })?;
        if header.magic != MAGIC_V2 {
            return Err(HeaderError::Magic(header.magic));
        }
        if header.batch_length < SMALLEST_BATCH_LENGTH {
            return Err(HeaderError::Length(header.batch_length));
        }
        Ok(header)
    }

    fn fields(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        Some(Self {
            base_offset: i64::from_be_bytes(cursor.array()?),
            batch_length: i32::from_be_bytes(cursor.array()?),
            partition_leader_epoch: i32::from_be_bytes(cursor.array()?),
            magic: i8::from_be_bytes(cursor.array()?),
            crc: u32::from_be_bytes(cursor.array()?),
            attributes: Attributes(i16::from_be_bytes(cursor.array()?)),
            last_offset_delta: i32::from_be_bytes(cursor.array()?),
            base_timestamp: i64::from_be_bytes(cursor.array()?),
            max_timestamp: i64::from_be_bytes(cursor.array()?),
            producer_id: i64::from_be_bytes(cursor.array()?),
            producer_epoch: i16::from_be_bytes(cursor.array()?),
            base_sequence: i32::from_be_bytes(cursor.array()?),
            records_count: i32::from_be_bytes(cursor.array()?),
        })
    }

    /// The header's bytes, CRC as it stands in the field.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut rest = out.as_mut_slice();
        put(&mut rest, self.base_offset.to_be_bytes());
        put(&mut rest, self.batch_length.to_be_bytes());
        put(&mut rest, self.partition_leader_epoch.to_be_bytes());
        put(&mut rest, self.magic.to_be_bytes());
        put(&mut rest, self.crc.to_be_bytes());
        put(&mut rest, self.attributes.0.to_be_bytes());
        put(&mut rest, self.last_offset_delta.to_be_bytes());
        put(&mut rest, self.base_timestamp.to_be_bytes());
        put(&mut rest, self.max_timestamp.to_be_bytes());
        put(&mut rest, self.producer_id.to_be_bytes());
        put(&mut rest, self.producer_epoch.to_be_bytes());
        put(&mut rest, self.base_sequence.to_be_bytes());
        put(&mut rest, self.records_count.to_be_bytes());
        out
    }

    /// Bytes of the whole batch, header and length field included.
    pub fn size_in_bytes(&self) -> usize {
        LOG_OVERHEAD + usize::try_from(self.batch_length).unwrap_or(0)
    }

    pub const fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(widen(self.last_offset_delta))
    }

    /// The offset after this batch's last one.
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// `None` for a codec id that nobody defined.
    pub fn codec(&self) -> Option<CompressionType> {
        self.attributes.codec()
    }

    pub const fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    pub const fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    pub const fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// From when on tombstones and markers of this batch may be dropped, in ms.
    pub const fn delete_horizon_ms(&self) -> Option<i64> {
        if self.attributes.has_delete_horizon() { Some(self.base_timestamp) } else { None }
    }

    /// Has an idempotent or transactional producer written this batch?
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id > -1
    }

    /// The sequence of the last record; [`NO_SEQUENCE`] without one.
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence == NO_SEQUENCE {
            NO_SEQUENCE
        } else {
            increment_sequence(self.base_sequence, self.last_offset_delta)
        }
    }
}

/// Sequences run from 0 to `i32::MAX` and begin again at 0 (`DefaultRecordBatch.incrementSequence`).
pub const fn increment_sequence(sequence: i32, increment: i32) -> i32 {
    sequence.wrapping_add(increment) & i32::MAX
}

// `i64::from` is not yet a const function.
#[expect(clippy::as_conversions, reason = "widening")]
const fn widen(value: i32) -> i64 {
    value as i64
}

fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    let (head, tail) = std::mem::take(rest).split_at_mut(N);
    head.copy_from_slice(&bytes);
    *rest = tail;
}
