//! Snapshot files: `<end offset>-<epoch>.checkpoint`, and `bootstrap.checkpoint`, which has the same shape.
//!
//! Three parts: a control batch with SnapshotHeader (and KRaftVersion and KRaftVoters from kraft.version 1 on), data
//! batches, a control batch with SnapshotFooter. Offsets inside count from 0. Precedent: `RecordsSnapshotWriter`,
//! `Snapshots`, `BootstrapDirectory` (KIP-630, KIP-853).

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::batch::{self, UnreadableRecord};
use super::quorum_records::QuorumRecords;
use crate::log::storage::{Disk, Open};
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::time::Wall;
use crate::protocol::control::{ControlRecord, ControlType, control_batch};
use crate::protocol::record_batch::{BatchError, batches};
use crate::protocol::records::control::{SnapshotFooterRecord, SnapshotHeaderRecord};
use crate::protocol::records::metadata::MetadataRecord;
use crate::protocol::wire::{DecodeError, Message as _, Reader};

/// In every log directory, from formatting on.
pub const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";
/// End of the name of a finished snapshot.
pub const SUFFIX: &str = ".checkpoint";
/// Put behind the name while the file is written.
const PART: &str = ".part";
/// Records of one batch.
const BATCH_RECORDS: usize = 1024;
/// Largest snapshot that is read, in bytes.
const FILE_MAX: u64 = 1 << 30;
/// The owner may read it, nobody may write it.
const MODE: u32 = 0o400;

/// Which snapshot: everything below the offset, the last of it written in the epoch.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SnapshotId {
    pub end_offset: i64,
    pub epoch: i32,
}

impl SnapshotId {
    /// `00000000000000000073-0000000003.checkpoint`
    pub fn file_name(self) -> String {
        format!("{:020}-{:010}{SUFFIX}", self.end_offset, self.epoch)
    }

    /// `None` for any other file's name.
    pub fn parse(name: &str) -> Option<Self> {
        let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(offset, 20) || !digits(epoch, 10) {
            return None;
        }
        Some(Self { end_offset: offset.parse().ok()?, epoch: epoch.parse().ok()? })
    }
}

/// What a snapshot holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Snapshot {
    /// Of the last record that it stands for; 0 in `bootstrap.checkpoint`.
    pub last_timestamp: i64,
    pub quorum: QuorumRecords,
    pub records: Vec<MetadataRecord>,
}

/// Why a file is no snapshot that can be used.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    #[error("{}: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
    #[error("{}: {what}", path.display())]
    Damaged { path: PathBuf, what: Damage },
}

/// What is wrong inside.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    #[error("{0}")]
    Batch(#[from] BatchError),
    #[error("{0}")]
    Record(#[from] UnreadableRecord),
    #[error("{0}")]
    Control(#[from] crate::protocol::control::ControlError),
    #[error("a control record can't be read: {0}")]
    ControlValue(#[from] DecodeError),
    #[error("{0}")]
    Format(#[from] crate::protocol::record_batch::RecordFormatError),
    #[error("it does not begin with a snapshot header")]
    NoHeader,
    #[error("it does not end with a snapshot footer: it was not finished")]
    NoFooter,
}

/// The bytes of a snapshot file.
///
/// # Errors
/// A record that is too long for a batch.
pub fn encode(
    epoch: i32,
    last_timestamp: i64,
    quorum: &QuorumRecords,
    records: &[RecordAndVersion],
    now: Wall,
) -> Result<Vec<u8>, crate::protocol::record_batch::BatchFull> {
    let header = SnapshotHeaderRecord { version: 0, last_contained_log_timestamp: last_timestamp }.to_bytes(0);
    let quorum = quorum.control_records();
    let mut first: Vec<(ControlType, &[u8])> = vec![(ControlType::SnapshotHeader, &header)];
    first.extend(quorum.iter().map(|(kind, value)| (*kind, value.as_ref())));
    let mut bytes = control_batch(0, now.0, epoch, &first)?.to_vec();
    let mut offset = i64::try_from(first.len()).unwrap_or(i64::MAX);
    for chunk in records.chunks(BATCH_RECORDS) {
        bytes.extend_from_slice(&batch::encode(offset, epoch, now, chunk)?);
        offset += i64::try_from(chunk.len()).unwrap_or(0);
    }
    let footer = SnapshotFooterRecord { version: 0 }.to_bytes(0);
    bytes.extend_from_slice(&control_batch(offset, now.0, epoch, &[(ControlType::SnapshotFooter, &footer)])?);
    Ok(bytes)
}

/// Reads the bytes of a snapshot file.
///
/// # Errors
/// Anything but a whole snapshot: nothing in one may be guessed.
pub fn decode(bytes: &[u8]) -> Result<Snapshot, Damage> {
    let mut snapshot = Snapshot::default();
    let (mut begun, mut ended) = (false, false);
    for found in batches(bytes).checked() {
        let found = found.map_err(|damage| damage.error)?;
        if ended {
            return Err(Damage::NoFooter);
        }
        if !found.header().is_control() {
            if !begun {
                return Err(Damage::NoHeader);
            }
            snapshot.records.extend(batch::decode(&found)?.into_iter().map(|(_, record)| record));
            continue;
        }
        for record in found.records() {
            let record = record?;
            let control = ControlRecord::parse(&record)?;
            let mut r = Reader::new(Bytes::copy_from_slice(control.value));
            match control.control_type {
                ControlType::SnapshotHeader => {
                    snapshot.last_timestamp = SnapshotHeaderRecord::decode(&mut r, 0)?.last_contained_log_timestamp;
                    begun = true;
                }
                ControlType::SnapshotFooter => ended = true,
                _ => snapshot.quorum.apply(&control)?,
            }
        }
    }
    match (begun, ended) {
        (false, _) => Err(Damage::NoHeader),
        (true, false) => Err(Damage::NoFooter),
        (true, true) => Ok(snapshot),
    }
}

/// Reads a snapshot file; `None` if there is none.
///
/// # Errors
/// The disk's, and a file that is not whole.
pub fn read(disk: &dyn Disk, path: &Path) -> Result<Option<Snapshot>, SnapshotError> {
    match disk.read_file(path, FILE_MAX) {
        Ok(bytes) => match decode(&bytes) {
            Ok(snapshot) => Ok(Some(snapshot)),
            Err(what) => Err(SnapshotError::Damaged { path: path.to_owned(), what }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(SnapshotError::Disk { path: path.to_owned(), error }),
    }
}

/// Writes a snapshot beside the log; durable, under its final name, when it returns.
///
/// # Errors
/// Whatever the disk answers; then there is no such snapshot.
pub fn write(disk: &dyn Disk, dir: &Path, id: SnapshotId, bytes: &[u8]) -> io::Result<()> {
    let path = dir.join(id.file_name());
    let part = dir.join(id.file_name() + PART);
    // What a crash left can't be opened for writing: it is read-only already.
    disk.remove_file_if_there(&part)?;
    let file = disk.open(&part, Open::Create { mode: MODE })?;
    file.write_all(&[bytes], 0)?;
    file.sync()?;
    disk.rename(&part, &path)?;
    disk.sync_dir(dir)
}

/// Finished snapshots of a directory, oldest first. Parts that a crash left are removed.
///
/// # Errors
/// Whatever the disk answers.
pub fn list(disk: &dyn Disk, dir: &Path) -> io::Result<Vec<SnapshotId>> {
    let mut found = Vec::new();
    for entry in disk.list(dir)? {
        if entry.name.ends_with(&format!("{SUFFIX}{PART}")) {
            disk.remove_file_if_there(&dir.join(&entry.name))?;
        }
        found.extend(SnapshotId::parse(&entry.name));
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::records::metadata::{FeatureLevelRecord, TopicRecord};

    const BOOTSTRAP: &[u8] = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/kafka-4.3.1/metadata-static/bootstrap.checkpoint"
    ));
    const ZERO: &[u8] = include_bytes!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/kafka-4.3.1/metadata-dynamic/00000000000000000000-0000000000.checkpoint"
    ));

    fn level() -> RecordAndVersion {
        RecordAndVersion::v0(FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 })
    }

    /// Kafka's bytes, timestamps and checksums of the three batches aside.
    #[test]
    fn a_bootstrap_file_has_kafkas_bytes() {
        let ours = encode(0, 0, &QuorumRecords::default(), &[level()], Wall(1_795_571_999_999)).unwrap();
        let without_times = |bytes: &[u8]| {
            let mut bytes = bytes.to_vec();
            for at in [0, 83, 174] {
                bytes[at + 17..at + 21].fill(0);
                bytes[at + 27..at + 43].fill(0);
            }
            bytes
        };
        assert_eq!(without_times(&ours), without_times(BOOTSTRAP));
        assert_eq!(decode(BOOTSTRAP).unwrap().records, [level().record]);
    }

    #[test]
    fn quorum_records_survive() {
        let zero = decode(ZERO).unwrap();
        assert_eq!(zero.quorum.kraft_version(), 1);
        assert_eq!(zero.quorum.voter_ids(), Some(vec![1]));
        let again = encode(0, zero.last_timestamp, &zero.quorum, &[], Wall(5)).unwrap();
        assert_eq!(decode(&again).unwrap(), zero);
        assert_eq!(again.len(), ZERO.len());
    }

    #[test]
    fn a_snapshot_that_was_not_finished_is_refused() {
        let topics: Vec<_> = (0..3000)
            .map(|n| RecordAndVersion::v0(TopicRecord { name: format!("t{n}").into(), ..Default::default() }))
            .collect();
        let whole = encode(3, 7, &QuorumRecords::default(), &topics, Wall(9)).unwrap();
        assert_eq!(decode(&whole).unwrap().records.len(), 3000);
        for cut in [0, 1, 80, 83, 84, whole.len() / 2, whole.len() - 75, whole.len() - 1] {
            assert!(decode(&whole[..cut]).is_err(), "{cut}");
        }
        let mut flipped = whole.clone();
        flipped[100] ^= 1;
        assert!(decode(&flipped).is_err());
        assert!(decode(&[whole.as_slice(), &whole].concat()).is_err());
    }

    #[test]
    fn names_are_twenty_and_ten_digits() {
        let id = SnapshotId { end_offset: 1868, epoch: 3 };
        assert_eq!(id.file_name(), "00000000000000001868-0000000003.checkpoint");
        assert_eq!(SnapshotId::parse(&id.file_name()), Some(id));
        for name in ["bootstrap.checkpoint", "1868-3.checkpoint", "00000000000000001868-0000000003.checkpoint.part"] {
            assert_eq!(SnapshotId::parse(name), None);
        }
    }
}
