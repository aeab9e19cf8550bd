//! What a leader demands of a batch before it becomes part of the log.
//!
//! Precedents: `LogValidator`, `UnifiedLog.analyzeAndValidateRecords`, `ProduceRequest.validateRecords`; what they answer
//! to what was observed on Apache Kafka 4.3.1. Stricter than Kafka, where no real client can notice: offset deltas of
//! uncompressed records, lengths inside compressed ones, producer ids and epochs that nobody hands out, a delete horizon
//! from a client, and how far a batch may expand; damage inside a compressed payload is `CORRUPT_MESSAGE`, not an
//! unknown error.
//!
//! [`validate`] is one function of its arguments: it runs as well on a connection's thread as in a lane. It passes over
//! the bytes twice, once for the CRC and once for the records, allocates nothing, and copies nothing unless the topic
//! wants another codec than the producer's. It must not know the log: offsets, epochs and sequences come later.

mod error;
mod framing;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use error::{Reason, RecordError, RejectedRecord, Rejection};

use super::config::LogConfig;
use crate::model::compression::{CompressionType, TimestampType};
use crate::model::time::Wall;
use crate::protocol::compression::{Compressor, Decompressor};
use crate::protocol::record_batch::{
    BatchHeader, HEADER_LEN, NO_SEQUENCE, NO_TIMESTAMP, RecordBatch, RecordFacts, RecordWalk, patch_base_offset,
    patch_partition_leader_epoch, patch_timestamps, seal,
};

/// How far a batch may expand: this many times `max.message.bytes`. Kafka has no limit: 204 KB of gzip become a record
/// of 200 MB. Java's producer fills a batch by its estimate of the compressed size, so a ratio of a few tens is real.
pub const EXPANSION_RATIO: u32 = 100;

/// Who appends (`AppendOrigin`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A Produce request.
    Client,
    /// The broker's own coordinators: any base offset, control batches, producer ids of others.
    Coordinator,
}

/// A `compression.type` other than `producer`. `level: None` is Kafka's default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TargetCompression {
    pub codec: CompressionType,
    pub level: Option<i32>,
}

/// What is demanded of one append.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    pub origin: Origin,
    /// The time of the append.
    pub now: Wall,
    /// `max.message.bytes`: of the batch as it came, and as it is written.
    pub max_message_bytes: u32,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `cleanup.policy` names `compact`: every record needs a key.
    pub compacted: bool,
    /// `compression.type`; `None` is `producer`.
    pub compression: Option<TargetCompression>,
    /// Produce v7 and later.
    pub zstd_allowed: bool,
}

impl Rules {
    /// The rules of a topic for an append at `now`.
    pub const fn new(origin: Origin, config: &LogConfig, now: Wall) -> Self {
        Self {
            origin,
            now,
            max_message_bytes: config.max_message_bytes,
            timestamp_type: config.timestamp_type,
            timestamp_before_max_ms: config.timestamp_before_max_ms,
            timestamp_after_max_ms: config.timestamp_after_max_ms,
            compacted: config.cleanup_policy.compact,
            compression: None,
            zstd_allowed: true,
        }
    }

    fn expansion_limit(&self) -> u64 {
        u64::from(self.max_message_bytes).saturating_mul(u64::from(EXPANSION_RATIO))
    }

    fn is_client(&self) -> bool {
        self.origin == Origin::Client
    }
}

/// What validation works with, kept from batch to batch: at most
/// [`SCRATCH_KEPT_BYTES`](crate::protocol::compression::SCRATCH_KEPT_BYTES) and the decoders' own state. Empty until the
/// first compressed batch.
#[derive(Debug, Default)]
pub struct Scratch {
    decompressor: Decompressor,
}

/// An idempotent or transactional producer's part of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BatchProducer {
    pub id: i64,
    pub epoch: i16,
    pub base_sequence: i32,
    pub last_sequence: i32,
    pub transactional: bool,
}

/// A batch that may be appended: its bytes, and its header as it will be written but for base offset and leader epoch.
#[derive(Clone, Debug)]
pub struct ValidatedBatch {
    bytes: Bytes,
    header: BatchHeader,
    offset_delta_of_max_timestamp: i32,
}

impl ValidatedBatch {
    /// Timestamps and CRC are those to be written; base offset and leader epoch those that came.
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header's bytes for a place in the log.
    pub fn header_bytes(&self, base_offset: i64, leader_epoch: i32) -> [u8; HEADER_LEN] {
        let mut header = self.header.to_bytes();
        patch_base_offset(&mut header, base_offset);
        patch_partition_leader_epoch(&mut header, leader_epoch);
        header
    }

    /// What is written behind [`Self::header_bytes`]: the records as they came, never moved.
    pub fn record_bytes(&self) -> &[u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or(&[])
    }

    /// The whole batch with the header that came: keep this, write [`Self::header_bytes`] in its stead.
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    pub const fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    pub const fn records_count(&self) -> i32 {
        self.header.records_count
    }

    pub const fn last_offset_delta(&self) -> i32 {
        self.header.last_offset_delta
    }

    /// The largest timestamp in ms; -1 if no record has one. With `LogAppendTime` the time of the append.
    pub const fn max_timestamp(&self) -> i64 {
        self.header.max_timestamp
    }

    /// Offset delta of the first record with the largest timestamp. (The time index names the batch's last offset.)
    pub const fn offset_delta_of_max_timestamp(&self) -> i32 {
        self.offset_delta_of_max_timestamp
    }

    /// The answer's `log_append_time_ms`: `None` (-1) with `CreateTime`.
    pub fn log_append_time(&self) -> Option<i64> {
        (self.header.timestamp_type() == TimestampType::LogAppendTime).then_some(self.header.max_timestamp)
    }

    pub fn producer(&self) -> Option<BatchProducer> {
        self.header.has_producer_id().then_some(BatchProducer {
            id: self.header.producer_id,
            epoch: self.header.producer_epoch,
            base_sequence: self.header.base_sequence,
            last_sequence: self.header.last_sequence(),
            transactional: self.header.is_transactional(),
        })
    }

    pub const fn is_transactional(&self) -> bool {
        self.header.is_transactional()
    }

    pub const fn is_control(&self) -> bool {
        self.header.is_control()
    }
}

/// Does a Produce request's data for one partition hold a transactional batch? Answered from the header alone, before
/// anything is checked: the handler asks it to authorize the transactional id.
pub fn has_transactional_batch(input: &[u8]) -> bool {
    BatchHeader::parse(input).is_ok_and(|header| header.is_transactional())
}

/// Checks `input`, one partition's records, every one of them.
///
/// # Errors
/// [`RecordError`]: all of it is refused.
pub fn validate(input: Bytes, rules: &Rules, scratch: &mut Scratch) -> Result<ValidatedBatch, RecordError> {
    let mut header = framing::only_batch(&input, rules.zstd_allowed)?;
    let bytes = input.slice(..header.size_in_bytes());
    let codec = check_batch(&header, &bytes, rules)?;
    check_header(&header, rules)?;

    let target = rules.compression.filter(|target| target.codec != codec);
    let mut records = RecordCheck::new(&header, codec, rules);
    let recompressed = walk(&bytes, &header, codec, target, &mut records, rules, scratch)?;
    let (max_timestamp, offset_delta_of_max_timestamp) = records.finish()?;

    let bytes = match (target, recompressed) {
        (Some(target), Some(compressed)) => {
            let mut resealed = header;
            resealed.attributes = resealed.attributes.known().with_codec(target.codec);
            let bytes = seal(resealed, compressed);
            check_size(bytes.len(), rules)?;
            header = BatchHeader::parse(&bytes).map_err(|_| RecordError::Damaged)?;
            bytes
        }
        _ => bytes,
    };
    // With LogAppendTime every record has the same timestamp, so the first one has the largest.
    let (max_timestamp, offset_delta_of_max_timestamp) = match rules.timestamp_type {
        TimestampType::CreateTime => (max_timestamp, offset_delta_of_max_timestamp),
        TimestampType::LogAppendTime => (rules.now.0, 0),
    };
    patch_timestamps(&mut header, rules.timestamp_type, max_timestamp);
    Ok(ValidatedBatch { bytes, header, offset_delta_of_max_timestamp })
}

/// What `UnifiedLog` asks of the batch before `LogValidator` looks at it, in Kafka's order.
fn check_batch(header: &BatchHeader, bytes: &Bytes, rules: &Rules) -> Result<CompressionType, RecordError> {
    if rules.is_client() && header.base_offset != 0 {
        return Err(RecordError::BaseOffset(header.base_offset));
    }
    check_size(bytes.len(), rules)?;
    let batch = RecordBatch::parse(bytes).map_err(|_| RecordError::Damaged)?;
    batch.check_crc().map_err(|error| match error {
        crate::protocol::record_batch::BatchError::Crc { stored, computed } => RecordError::Crc { stored, computed },
        _ => RecordError::Damaged,
    })?;
    header.codec().ok_or(RecordError::UnknownCodec(header.attributes.0 & 7))
}

fn check_size(size: usize, rules: &Rules) -> Result<(), RecordError> {
    let max = usize::try_from(rules.max_message_bytes).unwrap_or(usize::MAX);
    if size > max { Err(RecordError::TooLarge { size, max }) } else { Ok(()) }
}

fn check_header(header: &BatchHeader, rules: &Rules) -> Result<(), RecordError> {
    let (count, last_offset_delta) = (header.records_count, header.last_offset_delta);
    if count <= 0 || last_offset_delta != count - 1 {
        return Err(RecordError::Count { count, last_offset_delta });
    }
    if !rules.is_client() {
        return Ok(());
    }
    if header.is_control() {
        return Err(RecordError::Control);
    }
    if header.attributes.has_delete_horizon() {
        return Err(RecordError::DeleteHorizon);
    }
    if !is_possible_producer(header) {
        return Err(RecordError::Producer {
            id: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
            transactional: header.is_transactional(),
        });
    }
    Ok(())
}

/// An id with epoch and sequence, or no id, and then no transaction. Without an id epoch and sequence say nothing:
/// coordinators write sequence 0, and clients may.
const fn is_possible_producer(header: &BatchHeader) -> bool {
    match header.producer_id {
        0.. => header.producer_epoch >= 0 && header.base_sequence > NO_SEQUENCE,
        -1 => !header.is_transactional(),
        _ => false,
    }
}

/// Walks the records and, if the topic wants another codec, compresses them on the way.
fn walk(
    bytes: &Bytes,
    header: &BatchHeader,
    codec: CompressionType,
    target: Option<TargetCompression>,
    records: &mut RecordCheck<'_>,
    rules: &Rules,
    scratch: &mut Scratch,
) -> Result<Option<Vec<u8>>, RecordError> {
    let mut compressor = match target {
        Some(target) => Some(Compressor::new(target.codec, target.level, vec![0; HEADER_LEN])?),
        None => None,
    };
    let mut walk = RecordWalk::new(header.records_count);
    let payload = bytes.get(HEADER_LEN..).unwrap_or(&[]);
    let mut piece = |piece: &[u8]| -> Result<(), RecordError> {
        walk.feed(piece, &mut |record| records.record(record))?;
        match &mut compressor {
            Some(compressor) => Ok(compressor.write(piece)?),
            None => Ok(()),
        }
    };
    match codec {
        CompressionType::None => piece(payload)?,
        codec => {
            scratch.decompressor.pieces(codec, payload, rules.expansion_limit(), &mut piece)?;
        }
    }
    walk.finish()?;
    Ok(compressor.map(Compressor::finish).transpose()?)
}

/// What is looked at in every record.
struct RecordCheck<'a> {
    rules: &'a Rules,
    header: &'a BatchHeader,
    compressed: bool,
    claims_append_time: bool,
    next: i32,
    max_timestamp: i64,
    offset_delta_of_max_timestamp: i32,
    rejection: Rejection,
}

impl<'a> RecordCheck<'a> {
    fn new(header: &'a BatchHeader, codec: CompressionType, rules: &'a Rules) -> Self {
        let now = rules.now.0;
        Self {
            rules,
            header,
            compressed: codec != CompressionType::None,
            claims_append_time: header.timestamp_type() == TimestampType::LogAppendTime,
            next: 0,
            max_timestamp: NO_TIMESTAMP,
            offset_delta_of_max_timestamp: header.last_offset_delta,
            rejection: Rejection::new(
                now.wrapping_sub(rules.timestamp_before_max_ms),
                now.wrapping_add(rules.timestamp_after_max_ms),
            ),
        }
    }

    #[inline]
    fn record(&mut self, record: RecordFacts) -> Result<(), RecordError> {
        let index = self.next;
        if record.offset_delta != index {
            return Err(RecordError::OffsetDelta { index, offset_delta: record.offset_delta });
        }
        self.next += 1;
        let timestamp = self.header.base_timestamp.wrapping_add(record.timestamp_delta);
        // Whoever claims LogAppendTime is taken at the word, as in Kafka; the record's own is looked at all the same.
        let counted = if self.claims_append_time { self.header.max_timestamp } else { timestamp };
        if counted > self.max_timestamp {
            self.max_timestamp = counted;
            self.offset_delta_of_max_timestamp = index;
        }
        if self.rules.compacted && record.key_len < 0 {
            self.rejection.add(index, Reason::NoKey);
        } else if let Some(reason) = self.timestamp_fault(counted, timestamp, index, record) {
            self.rejection.add(index, reason);
        }
        Ok(())
    }

    #[inline]
    fn timestamp_fault(&self, counted: i64, own: i64, offset: i32, record: RecordFacts) -> Option<Reason> {
        if self.rules.timestamp_type == TimestampType::CreateTime && counted != NO_TIMESTAMP {
            let is_out = |timestamp: &i64| {
                let age = self.rules.now.0.wrapping_sub(*timestamp);
                let out =
                    age > self.rules.timestamp_before_max_ms || age.wrapping_neg() > self.rules.timestamp_after_max_ms;
                *timestamp != NO_TIMESTAMP && out
            };
            let timestamp = [counted, own].into_iter().find(is_out)?;
            return Some(Reason::OutOfWindow { timestamp, offset });
        }
        self.claims_append_time.then_some(Reason::TimestampType {
            // Kafka shows what a reader of such a batch would see.
            timestamp: self.header.max_timestamp,
            offset,
            key_len: record.key_len,
            value_len: record.value_len,
            compressed: self.compressed,
        })
    }

    /// Largest timestamp and where it is first reached.
    fn finish(self) -> Result<(i64, i32), RecordError> {
        if self.rejection.total > 0 {
            return Err(RecordError::Rejected(self.rejection));
        }
        Ok((self.max_timestamp, self.offset_delta_of_max_timestamp))
    }
}
