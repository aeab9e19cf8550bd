//! Batches of the metadata log: one atomic decision of the controller each.
//!
//! Precedent: Kafka's `BatchBuilder` and `RecordsBatchReader`: no compression, no producer, one timestamp for every
//! record of a batch, the raft epoch as the partition leader's.

use bytes::Bytes;

use crate::metadata::snapshot::RecordAndVersion;
use crate::model::time::Wall;
use crate::protocol::record_batch::{BatchBuilder, BatchFull, RecordBatch, RecordFormatError};
use crate::protocol::records::metadata::MetadataRecord;
use crate::protocol::wire::DecodeError;

/// Largest batch, in bytes (`KafkaRaftClient.MAX_BATCH_SIZE_BYTES`), and so the largest decision.
const BATCH_MAX: usize = 8 << 20;

/// A record that can't be read, with the offset it has.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableRecord {
    #[error("the record at offset {offset} has no value")]
    NoValue { offset: i64 },
    #[error("the record at offset {offset} can't be read: {error}")]
    Value { offset: i64, error: DecodeError },
    #[error("the batch at offset {offset} can't be read: {error}")]
    Batch { offset: i64, error: RecordFormatError },
}

/// The bytes of a batch of `records` from `base_offset` on.
///
/// # Errors
/// The records are too many bytes for one batch.
pub fn encode(base_offset: i64, epoch: i32, now: Wall, records: &[RecordAndVersion]) -> Result<Bytes, BatchFull> {
    let mut batch = BatchBuilder::new(base_offset).leader_epoch(epoch).limit(BATCH_MAX);
    for RecordAndVersion { record, version } in records {
        batch.append(now.0, None, Some(&record.encode_value(*version)), &[])?;
    }
    Ok(batch.build())
}

/// The records of a data batch, each with its offset.
///
/// # Errors
/// At the first record that this broker does not know.
pub fn decode(batch: &RecordBatch<'_>) -> Result<Vec<(i64, MetadataRecord)>, UnreadableRecord> {
    let base = batch.header().base_offset;
    let mut records = Vec::new();
    for (offset, record) in (base..).zip(batch.records()) {
        let record = record.map_err(|error| UnreadableRecord::Batch { offset, error })?;
        let value = record.value.ok_or(UnreadableRecord::NoValue { offset })?;
        let record = MetadataRecord::decode_value(Bytes::copy_from_slice(value))
            .map_err(|error| UnreadableRecord::Value { offset, error })?;
        records.push((offset, record));
    }
    Ok(records)
}
