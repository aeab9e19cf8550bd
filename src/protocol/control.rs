//! Control batches: end-of-transaction markers and what the quorum writes about itself.
//!
//! Precedents: `ControlRecordType`, `EndTransactionMarker`, `MemoryRecords.writeEndTransactionalMarker` and
//! `withLeaderChangeMessage`; KIP-98, KIP-595, KIP-630, KIP-853. A control batch holds control records only; a record's
//! key says which kind it is, its value belongs to that kind. It must not know what a marker does to a transaction.

use bytes::Bytes;

use super::record_batch::{BatchBuilder, BatchFull, Cursor, NO_SEQUENCE, Record};

/// The version of a control record's key that is written.
const KEY_VERSION: i16 = 0;
/// The version of an end-of-transaction marker's value that is written.
const MARKER_VERSION: i16 = 0;

/// What a control record says (`ControlRecordType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ControlType {
    Abort,
    Commit,
    LeaderChange,
    SnapshotHeader,
    SnapshotFooter,
    KraftVersion,
    KraftVoters,
    /// Written by a newer Kafka: skipped, never an error.
    Unknown(i16),
}

impl ControlType {
    pub const fn from_id(id: i16) -> Self {
        match id {
            0 => Self::Abort,
            1 => Self::Commit,
            2 => Self::LeaderChange,
            3 => Self::SnapshotHeader,
            4 => Self::SnapshotFooter,
            5 => Self::KraftVersion,
            6 => Self::KraftVoters,
            other => Self::Unknown(other),
        }
    }

    pub const fn id(self) -> i16 {
        match self {
            Self::Abort => 0,
            Self::Commit => 1,
            Self::LeaderChange => 2,
            Self::SnapshotHeader => 3,
            Self::SnapshotFooter => 4,
            Self::KraftVersion => 5,
            Self::KraftVoters => 6,
            Self::Unknown(id) => id,
        }
    }

    /// The record key: version and id.
    pub const fn key(self) -> [u8; 4] {
        let [a, b] = KEY_VERSION.to_be_bytes();
        let [c, d] = self.id().to_be_bytes();
        [a, b, c, d]
    }
}

/// A control record that breaks the format.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ControlError {
    #[error("the key of a control record has {0} bytes, at least 4 are needed")]
    KeySize(usize),
    #[error("version {0} of a control record is negative")]
    Version(i16),
    #[error("the value of an end-of-transaction marker has {0} bytes, at least 6 are needed")]
    MarkerSize(usize),
}

/// A control record's kind and value.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ControlRecord<'a> {
    pub control_type: ControlType,
    pub value: &'a [u8],
}

impl<'a> ControlRecord<'a> {
    /// Reads the key of a record of a control batch. Keys of later versions may be longer.
    ///
    /// # Errors
    /// A key that is too short or has a negative version.
    pub fn parse(record: &Record<'a>) -> Result<Self, ControlError> {
        let key = record.key.unwrap_or(&[]);
        let (version, id) = two_shorts(key).ok_or(ControlError::KeySize(key.len()))?;
        if version < 0 {
            return Err(ControlError::Version(version));
        }
        Ok(Self { control_type: ControlType::from_id(id), value: record.value.unwrap_or(&[]) })
    }
}

/// A transaction's end in one partition.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndTxnMarker {
    pub committed: bool,
    /// The epoch of the transaction coordinator that decided it.
    pub coordinator_epoch: i32,
}

impl EndTxnMarker {
    /// `None` for control records of other kinds.
    ///
    /// # Errors
    /// A value that is too short or has a negative version.
    pub fn parse(record: &ControlRecord<'_>) -> Result<Option<Self>, ControlError> {
        let committed = match record.control_type {
            ControlType::Commit => true,
            ControlType::Abort => false,
            _ => return Ok(None),
        };
        let mut cursor = Cursor::new(record.value);
        let fields = (cursor.array().map(i16::from_be_bytes), cursor.array().map(i32::from_be_bytes));
        match fields {
            (Some(version), _) if version < 0 => Err(ControlError::Version(version)),
            (Some(_), Some(coordinator_epoch)) => Ok(Some(Self { committed, coordinator_epoch })),
            _ => Err(ControlError::MarkerSize(record.value.len())),
        }
    }

    fn value(self) -> [u8; 6] {
        let [a, b] = MARKER_VERSION.to_be_bytes();
        let [c, d, e, f] = self.coordinator_epoch.to_be_bytes();
        [a, b, c, d, e, f]
    }
}

/// One batch that ends a producer's transaction (`MemoryRecords.withEndTransactionMarker`).
pub fn end_txn_batch(
    base_offset: i64,
    timestamp_ms: i64,
    leader_epoch: i32,
    (producer_id, producer_epoch): (i64, i16),
    marker: EndTxnMarker,
) -> Bytes {
    let control_type = if marker.committed { ControlType::Commit } else { ControlType::Abort };
    let mut batch = BatchBuilder::new(base_offset)
        .leader_epoch(leader_epoch)
        .producer(producer_id, producer_epoch, NO_SEQUENCE)
        .transactional()
        .control();
    // A marker's few bytes always fit.
    let appended = batch.append(timestamp_ms, Some(&control_type.key()), Some(&marker.value()), &[]);
    debug_assert!(appended.is_ok());
    batch.build()
}

/// A batch of the quorum's own records: kind and value of each (`MemoryRecords.withLeaderChangeMessage` and siblings).
///
/// # Errors
/// [`BatchFull`] when the values are too long for one batch.
pub fn control_batch(
    base_offset: i64,
    timestamp_ms: i64,
    leader_epoch: i32,
    records: &[(ControlType, &[u8])],
) -> Result<Bytes, BatchFull> {
    let mut batch = BatchBuilder::new(base_offset).leader_epoch(leader_epoch).control();
    for (control_type, value) in records {
        batch.append(timestamp_ms, Some(&control_type.key()), Some(value), &[])?;
    }
    Ok(batch.build())
}

fn two_shorts(bytes: &[u8]) -> Option<(i16, i16)> {
    let mut cursor = Cursor::new(bytes);
    Some((i16::from_be_bytes(cursor.array()?), i16::from_be_bytes(cursor.array()?)))
}

#[cfg(test)]
mod tests {
    use super::super::record_batch::RecordBatch;
    use super::*;

    /// As Apache Kafka 4.3.1 writes a commit marker (`kafka-disk-observed` 6.1).
    const COMMIT: &[u8] =
        &[0x20, 0x00, 0x00, 0x00, 0x08, 0x00, 0x00, 0x00, 0x01, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00];

    #[test]
    fn a_commit_marker_has_kafkas_bytes() {
        let marker = EndTxnMarker { committed: true, coordinator_epoch: 0 };
        let bytes = end_txn_batch(7, 1_000, 3, (9, 2), marker);
        let batch = RecordBatch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        assert_eq!(batch.record_bytes(), COMMIT);
        let header = batch.header();
        assert_eq!(header.attributes.0, 0x30);
        assert_eq!((header.base_offset, header.partition_leader_epoch, header.records_count), (7, 3, 1));
        assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 2, -1));

        let record = batch.records().next().unwrap().unwrap();
        let control = ControlRecord::parse(&record).unwrap();
        assert_eq!(EndTxnMarker::parse(&control), Ok(Some(marker)));
    }

    #[test]
    fn an_abort_marker_keeps_its_coordinator_epoch() {
        let marker = EndTxnMarker { committed: false, coordinator_epoch: 41 };
        let bytes = end_txn_batch(0, 0, 0, (1, 0), marker);
        let batch = RecordBatch::parse(&bytes).unwrap();
        let record = batch.records().next().unwrap().unwrap();
        assert_eq!(EndTxnMarker::parse(&ControlRecord::parse(&record).unwrap()), Ok(Some(marker)));
    }

    #[test]
    fn the_quorums_records_share_a_batch() {
        let records: [(ControlType, &[u8]); 2] =
            [(ControlType::SnapshotHeader, &[1, 2]), (ControlType::KraftVersion, &[3])];
        let bytes = control_batch(0, 5, 1, &records).unwrap();
        let batch = RecordBatch::parse(&bytes).unwrap();
        assert_eq!(batch.header().attributes.0, 0x20);
        assert_eq!((batch.header().producer_id, batch.header().base_sequence), (-1, -1));
        let parsed: Vec<_> = batch.records().map(|record| ControlRecord::parse(&record.unwrap()).unwrap()).collect();
        assert_eq!(parsed[0], ControlRecord { control_type: ControlType::SnapshotHeader, value: &[1, 2] });
        assert_eq!(parsed[1], ControlRecord { control_type: ControlType::KraftVersion, value: &[3] });
        assert_eq!(EndTxnMarker::parse(&parsed[0]), Ok(None));
    }

    #[test]
    fn broken_control_records_are_errors_and_unknown_ones_are_not() {
        let record = |key, value| Record {
            attributes: 0,
            timestamp_delta: 0,
            offset_delta: 0,
            key,
            value,
            headers: super::super::record_batch::Headers::NONE,
        };
        assert_eq!(ControlRecord::parse(&record(None, None)), Err(ControlError::KeySize(0)));
        assert_eq!(ControlRecord::parse(&record(Some(&[0, 0, 1]), None)), Err(ControlError::KeySize(3)));
        assert_eq!(ControlRecord::parse(&record(Some(&[0xff, 0xff, 0, 1]), None)), Err(ControlError::Version(-1)));
        let newer = ControlRecord::parse(&record(Some(&[0, 1, 0, 99, 7]), Some(&[1]))).unwrap();
        assert_eq!(newer.control_type, ControlType::Unknown(99));
        let short = ControlRecord::parse(&record(Some(&[0, 0, 0, 1]), Some(&[0, 0, 0]))).unwrap();
        assert_eq!(EndTxnMarker::parse(&short), Err(ControlError::MarkerSize(3)));
    }
}
