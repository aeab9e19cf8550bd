//! Why an append is refused, with Kafka's codes and, where a client sees them, Kafka's texts.

use std::fmt;

use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicPartition;
use crate::protocol::compression::{CompressError, DecompressError};
use crate::protocol::record_batch::RecordFormatError;

/// A refused append. Kafka puts a text into the answer for few of them: [`Self::message`].
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RecordError {
    /// No bytes, or fewer than the first batch declares.
    #[error("no complete record batch")]
    NoBatch,
    /// More than one batch for one partition.
    #[error("more than one record batch")]
    MoreBatches,
    /// The length field of the first batch is smaller than any batch is.
    #[error("Record size {0} is less than the minimum record overhead (14)")]
    RecordSize(i32),
    /// No format has this magic.
    #[error("Invalid magic found in record: {0}")]
    UnknownMagic(i8),
    /// Bytes behind the first batch that look like another one and are none, or a length inside the v2 header.
    #[error("the record batch is damaged")]
    Damaged,
    /// Formats before v2 are not written any more.
    #[error("magic {0} is not accepted by any served version of Produce")]
    OldMagic(i8),
    /// zstd came with version 7 of Produce (KIP-110).
    #[error("zstd needs version 7 of Produce")]
    ZstdTooEarly,
    #[error("base offset {0} is not 0")]
    BaseOffset(i64),
    /// `max.message.bytes`.
    #[error("the batch has {size} bytes, at most {max} are allowed")]
    TooLarge { size: usize, max: usize },
    #[error("stored crc = {stored}, computed crc = {computed}")]
    Crc { stored: u32, computed: u32 },
    /// Codec ids 5 to 7.
    #[error("codec {0} is not defined")]
    UnknownCodec(i16),
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// The batch could not be compressed as its topic wants it.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// `recordsCount` and `lastOffsetDelta` do not belong together.
    #[error("{count} records and a last offset delta of {last_offset_delta}")]
    Count { count: i32, last_offset_delta: i32 },
    #[error("clients do not write control batches")]
    Control,
    /// Only the cleaner sets it (KIP-534).
    #[error("clients do not set a delete horizon")]
    DeleteHorizon,
    /// Id, epoch and sequence of a producer that no producer has.
    #[error("producer id {id}, epoch {epoch}, base sequence {sequence} and transactional bit {transactional}")]
    Producer { id: i64, epoch: i16, sequence: i32, transactional: bool },
    #[error(transparent)]
    Format(#[from] RecordFormatError),
    #[error("record {index} has offset delta {offset_delta}")]
    OffsetDelta { index: i32, offset_delta: i32 },
    /// Sound records that this topic does not take.
    #[error("{0}")]
    Rejected(Rejection),
}

impl RecordError {
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::RecordSize(_)
            | Self::UnknownMagic(_)
            | Self::Damaged
            | Self::Crc { .. }
            | Self::UnknownCodec(_)
            | Self::Decompress(DecompressError::Corrupt { .. }) => ErrorCode::CorruptMessage,
            Self::TooLarge { .. } | Self::Decompress(DecompressError::TooLarge { .. }) => ErrorCode::MessageTooLarge,
            Self::ZstdTooEarly => ErrorCode::UnsupportedCompressionType,
            Self::Compress(_) => ErrorCode::UnknownServerError,
            Self::Rejected(rejection) => rejection.code(),
            Self::NoBatch
            | Self::MoreBatches
            | Self::OldMagic(_)
            | Self::BaseOffset(_)
            | Self::Count { .. }
            | Self::Control
            | Self::DeleteHorizon
            | Self::Producer { .. }
            | Self::Format(_)
            | Self::OffsetDelta { .. } => ErrorCode::InvalidRecord,
        }
    }

    /// The answer's `error_message` (Produce v8 and later).
    pub fn message(&self, partition: &TopicPartition) -> Option<String> {
        match self {
            Self::RecordSize(_) | Self::UnknownMagic(_) => Some(self.to_string()),
            Self::Rejected(rejection) => Some(rejection.message(partition)),
            _ => None,
        }
    }

    /// The answer's `record_errors`: the index of each record that is to blame, and why.
    pub fn record_errors(&self, partition: &TopicPartition) -> Vec<(i32, String)> {
        match self {
            Self::Rejected(rejection) => {
                rejection.records.iter().map(|record| (record.batch_index, rejection.text(record, partition))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// The records of a batch that its topic does not take, in their order. All of the batch is refused with them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rejection {
    pub(super) records: Vec<RejectedRecord>,
    /// How many there are; only the first [`Self::MOST_NAMED`] are named.
    pub(super) total: usize,
    pub(super) timestamp: bool,
    /// The time window, in ms.
    pub(super) earliest: i64,
    pub(super) latest: i64,
}

/// A record that is to blame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RejectedRecord {
    pub batch_index: i32,
    pub reason: Reason,
}

/// What is wrong with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// A compacted topic keeps the last value of each key.
    NoKey,
    /// Outside `message.timestamp.before.max.ms` and `.after.max.ms`.
    OutOfWindow { timestamp: i64, offset: i32 },
    /// The producer claims `LogAppendTime`, which is the broker's to set.
    TimestampType { timestamp: i64, offset: i32, key_len: i32, value_len: i32, compressed: bool },
}

impl Rejection {
    /// Kafka names every record of a batch; a batch of a million bad ones would be an answer of 100 MB.
    pub const MOST_NAMED: usize = 1_000;
    /// How many Kafka repeats in the message over all.
    const IN_MESSAGE: usize = 3;

    pub(super) const fn new(earliest: i64, latest: i64) -> Self {
        Self { records: Vec::new(), total: 0, timestamp: false, earliest, latest }
    }

    pub(super) fn add(&mut self, batch_index: i32, reason: Reason) {
        self.total += 1;
        self.timestamp |= reason != Reason::NoKey;
        if self.records.len() < Self::MOST_NAMED {
            self.records.push(RejectedRecord { batch_index, reason });
        }
    }

    pub const fn code(&self) -> ErrorCode {
        if self.timestamp { ErrorCode::InvalidTimestamp } else { ErrorCode::InvalidRecord }
    }

    fn message(&self, partition: &TopicPartition) -> String {
        if self.timestamp {
            return "One or more records have been rejected due to invalid timestamp".to_owned();
        }
        let first = self.records.iter().take(Self::IN_MESSAGE).map(|record| {
            format!("RecordError(batchIndex={}, message='{}')", record.batch_index, self.text(record, partition))
        });
        let first = first.collect::<Vec<_>>().join(", ");
        format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first \
             three errors at most: [{first}]",
            self.total
        )
    }

    fn text(&self, record: &RejectedRecord, partition: &TopicPartition) -> String {
        match record.reason {
            Reason::NoKey => {
                format!("Compacted topic cannot accept message without key in topic partition {partition}")
            }
            Reason::OutOfWindow { timestamp, offset } => format!(
                "Timestamp {timestamp} of message with offset {offset} is out of range. The timestamp should be \
                 within [{}, {}]",
                self.earliest, self.latest
            ),
            Reason::TimestampType { timestamp, offset, key_len, value_len, compressed } => {
                // Kafka's own two record types print null as -1 and as 0.
                let (class, least) = if compressed { ("PartialDefaultRecord", -1) } else { ("DefaultRecord", 0) };
                format!(
                    "Invalid timestamp type in message {class}(offset={offset}, timestamp={timestamp}, key={} bytes, \
                     value={} bytes). Producer should not set timestamp type to LogAppendTime.",
                    key_len.max(least),
                    value_len.max(least)
                )
            }
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.timestamp { "timestamps or keys" } else { "keys" };
        write!(f, "{} records with {what} that the topic does not take", self.total)
    }
}
