//! Record batches of format v2: a view that copies nothing, a builder, and the patches a leader makes to a header.
//!
//! Precedents: `DefaultRecordBatch`, `DefaultRecord`, `MemoryRecordsBuilder` (`org.apache.kafka.common.record`), KIP-98,
//! KIP-82, KIP-534. The older formats (magic 0 and 1) are not here: no version of Produce that is served carries them.
//! It must know neither partitions nor files nor clocks; what a leader demands of a batch is `log/validator`.

mod builder;
mod cursor;
mod header;
mod patch;
mod record;
mod view;
mod walk;

pub use builder::{BatchBuilder, BatchFull, MAX_BATCH_BYTES};
pub use header::{
    Attributes, BatchHeader, CRC_COVERED_FROM, HEADER_LEN, HeaderError, LOG_OVERHEAD, MAGIC_V2, NO_LEADER_EPOCH,
    NO_SEQUENCE, NO_TIMESTAMP, increment_sequence,
};
pub use patch::{crc_after_header_change, patch_base_offset, patch_partition_leader_epoch, patch_timestamps};
pub use record::{Headers, Record, RecordFormatError, Records};
pub use view::{BatchDamage, BatchError, Batches, RecordBatch, batches};
pub use walk::{RecordFacts, RecordWalk};

pub(crate) use builder::seal;
pub(crate) use cursor::Cursor;

#[cfg(test)]
mod tests;
