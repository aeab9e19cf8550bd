//! Builds batches for the broker's own records: metadata, groups, markers, and what tests need
//! (`MemoryRecordsBuilder`).

use bytes::Bytes;

use super::cursor::{put_varint, put_varlong, varlong_len};
use super::header::{
    Attributes, BatchHeader, HEADER_LEN, LOG_OVERHEAD, MAGIC_V2, NO_LEADER_EPOCH, NO_SEQUENCE, NO_TIMESTAMP,
};
use crate::model::compression::{CompressionType, TimestampType};
use crate::protocol::compression;

/// The most bytes a batch may have: half of what its length field can say, so that no codec's growth overflows it.
pub const MAX_BATCH_BYTES: usize = 1 << 30;

/// The record does not fit into the batch any more; the batch is as it was.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the batch would grow to {would_be} bytes, at most {limit} are allowed")]
pub struct BatchFull {
    pub would_be: usize,
    pub limit: usize,
}

/// A batch in the making.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: i64,
    partition_leader_epoch: i32,
    attributes: Attributes,
    codec: CompressionType,
    log_append_time: Option<i64>,
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
    limit: usize,
    base_timestamp: Option<i64>,
    max_timestamp: i64,
    count: i32,
    /// Room for the header, then the records.
    bytes: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch: no producer, no codec, `CreateTime`, no leader epoch.
    pub fn new(base_offset: i64) -> Self {
        Self {
            base_offset,
            partition_leader_epoch: NO_LEADER_EPOCH,
            attributes: Attributes::default(),
            codec: CompressionType::None,
            log_append_time: None,
            producer_id: -1,
            producer_epoch: -1,
            base_sequence: NO_SEQUENCE,
            limit: MAX_BATCH_BYTES,
            base_timestamp: None,
            max_timestamp: NO_TIMESTAMP,
            count: 0,
            bytes: vec![0; HEADER_LEN],
        }
    }

    #[must_use]
    pub const fn leader_epoch(mut self, epoch: i32) -> Self {
        self.partition_leader_epoch = epoch;
        self
    }

    #[must_use]
    pub const fn compression(mut self, codec: CompressionType) -> Self {
        self.codec = codec;
        self
    }

    /// `LogAppendTime`: readers take `timestamp_ms` for every record.
    #[must_use]
    pub const fn log_append_time(mut self, timestamp_ms: i64) -> Self {
        self.log_append_time = Some(timestamp_ms);
        self
    }

    /// Who wrote it. Coordinators write id -1, epoch -1 and sequence 0.
    #[must_use]
    pub const fn producer(mut self, id: i64, epoch: i16, base_sequence: i32) -> Self {
        self.producer_id = id;
        self.producer_epoch = epoch;
        self.base_sequence = base_sequence;
        self
    }

    #[must_use]
    pub const fn transactional(mut self) -> Self {
        self.attributes.0 |= Attributes::TRANSACTIONAL;
        self
    }

    #[must_use]
    pub const fn control(mut self) -> Self {
        self.attributes.0 |= Attributes::CONTROL;
        self
    }

    /// The most bytes the batch may have before it is compressed; [`MAX_BATCH_BYTES`] unless said.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = bytes.min(MAX_BATCH_BYTES);
        self
    }

    /// Adds a record at the next offset and returns that offset. The first record's timestamp becomes the base.
    ///
    /// # Errors
    /// [`BatchFull`]; nothing was added.
    pub fn append(
        &mut self,
        timestamp_ms: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<i64, BatchFull> {
        let base_timestamp = self.base_timestamp.unwrap_or(timestamp_ms);
        let timestamp_delta = timestamp_ms.wrapping_sub(base_timestamp);
        let headers_len: usize =
            headers.iter().map(|(key, value)| nullable_len(Some(key)) + nullable_len(*value)).sum();
        let body_len = 1
            + varlong_len(timestamp_delta)
            + varlong_len(i64::from(self.count))
            + nullable_len(key)
            + nullable_len(value)
            + varlong_len(i64::from(length(headers.len())))
            + headers_len;
        let would_be = self.bytes.len() + varlong_len(i64::from(length(body_len))) + body_len;
        if would_be > self.limit {
            return Err(BatchFull { would_be, limit: self.limit });
        }

        put_varint(&mut self.bytes, length(body_len));
        self.bytes.push(0);
        put_varlong(&mut self.bytes, timestamp_delta);
        put_varint(&mut self.bytes, self.count);
        put_nullable(&mut self.bytes, key);
        put_nullable(&mut self.bytes, value);
        put_varint(&mut self.bytes, length(headers.len()));
        for (key, value) in headers {
            put_nullable(&mut self.bytes, Some(key));
            put_nullable(&mut self.bytes, *value);
        }
        let offset = self.base_offset.saturating_add(i64::from(self.count));
        self.base_timestamp = Some(base_timestamp);
        self.max_timestamp = self.max_timestamp.max(timestamp_ms);
        self.count += 1;
        Ok(offset)
    }

    /// How many records it holds.
    pub const fn records_count(&self) -> i32 {
        self.count
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Bytes so far, header included, before compression.
    pub const fn size_in_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The batch's bytes. A codec that fails, which none does on bytes in memory, leaves the batch uncompressed.
    pub fn build(self) -> Bytes {
        let mut header = self.header();
        let mut bytes = self.bytes;
        if self.codec != CompressionType::None {
            let mut compressed = vec![0; HEADER_LEN];
            let records = bytes.get(HEADER_LEN..).unwrap_or(&[]);
            if compression::compress(self.codec, None, records, &mut compressed).is_ok() {
                header.attributes = header.attributes.with_codec(self.codec);
                bytes = compressed;
            }
        }
        seal(header, bytes)
    }

    fn header(&self) -> BatchHeader {
        let timestamp_type = self.log_append_time.map_or(TimestampType::CreateTime, |_| TimestampType::LogAppendTime);
        BatchHeader {
            base_offset: self.base_offset,
            batch_length: 0,
            partition_leader_epoch: self.partition_leader_epoch,
            magic: MAGIC_V2,
            crc: 0,
            attributes: self.attributes.with_timestamp_type(timestamp_type),
            last_offset_delta: self.count - 1,
            base_timestamp: self.base_timestamp.unwrap_or(NO_TIMESTAMP),
            max_timestamp: self.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            records_count: self.count,
        }
    }
}

/// Writes the header, with length and CRC, into the room in front of the records.
pub(crate) fn seal(mut header: BatchHeader, mut bytes: Vec<u8>) -> Bytes {
    header.batch_length = length(bytes.len().saturating_sub(LOG_OVERHEAD));
    let covered = header.to_bytes();
    let head = crc32c::crc32c(covered.get(super::CRC_COVERED_FROM..).unwrap_or(&[]));
    header.crc = crc32c::crc32c_append(head, bytes.get(HEADER_LEN..).unwrap_or(&[]));
    if let Some(room) = bytes.first_chunk_mut::<HEADER_LEN>() {
        *room = header.to_bytes();
    }
    Bytes::from(bytes)
}

pub(super) fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

fn nullable_len(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varlong_len(i64::from(length(bytes.len()))) + bytes.len())
}

/// Lengths are below [`MAX_BATCH_BYTES`], so they always fit.
pub(super) fn length(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}
