//! Opening: the newest snapshot, then what the log holds behind it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::images::Images;
use super::quorum_records::QuorumRecords;
use super::snapshot::{self, SnapshotError, SnapshotId};
use super::snapshots::Snapshots;
use super::store::Store;
use super::{MetadataLog, Settings, batch, makes_a_credential_old};
use crate::log::storage::Disk;
use crate::metadata::image::{ApplyError, MetadataImage};
use crate::model::time::{Mono, Wall};
use crate::protocol::control::{ControlError, ControlRecord};
use crate::protocol::record_batch::{RecordBatch, RecordFormatError};
use crate::protocol::wire::DecodeError;
use crate::raft::{Config, ConfigError, ElectionState, ElectionStateError, FILE_NAME, Quorum};

/// Why the metadata log can't be opened. Nothing was changed, except that a torn tail may have been cut.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
    #[error("the snapshot {0}")]
    Snapshot(#[from] SnapshotError),
    #[error("{}: it begins at offset {log_start}, but no snapshot reaches that far", path.display())]
    Gap { path: PathBuf, log_start: i64 },
    #[error("{}: {error}", path.display())]
    Record { path: PathBuf, error: batch::UnreadableRecord },
    #[error("{}: a control record can't be read: {error}", path.display())]
    Control { path: PathBuf, error: ControlRecordError },
    #[error("{}: {error}", path.display())]
    Apply { path: PathBuf, error: ApplyError },
    #[error("{}: {error}", path.display())]
    ElectionState { path: PathBuf, error: ElectionStateError },
    #[error("{0}")]
    Quorum(#[from] ConfigError),
}

/// What is wrong with a control record.
#[derive(Debug, thiserror::Error)]
pub enum ControlRecordError {
    #[error("{0}")]
    Format(#[from] RecordFormatError),
    #[error("{0}")]
    Key(#[from] ControlError),
    #[error("{0}")]
    Value(#[from] DecodeError),
}

/// What was read so far.
#[derive(Default)]
struct Loaded {
    image: MetadataImage,
    quorum_records: QuorumRecords,
    last_timestamp: i64,
    /// The log holds a credential that is not in force any more.
    old_credential: bool,
}

pub(super) fn open(disk: Arc<dyn Disk>, settings: Settings, now: Mono, wall: Wall) -> Result<MetadataLog, OpenError> {
    let dir = settings.directory();
    let failed = |error| OpenError::Disk { path: dir.clone(), error };
    Store::make_dir(&*disk, &dir).map_err(failed)?;
    let newest = snapshot::list(&*disk, &dir).map_err(failed)?.last().copied();
    let mut loaded = Loaded::default();
    if let Some(id) = newest {
        loaded.snapshot(&*disk, &dir, id)?;
    }
    let from = newest.map_or(0, |id| id.end_offset);
    let mut store = Store::open(Arc::clone(&disk), &settings, newest, wall).map_err(failed)?;
    if store.log_start() > from {
        return Err(OpenError::Gap { path: dir, log_start: store.log_start() });
    }
    let mut outcome = Ok(());
    let mut bytes = 0;
    let read = store.read(from, &mut |batch| {
        bytes += batch.size_in_bytes();
        if outcome.is_ok() {
            outcome = loaded.batch(&dir, from, batch);
        }
    });
    read.map_err(failed)?;
    outcome?;
    loaded.image.advance(store.log_end() - 1);
    let quorum = quorum(&*disk, &settings, &loaded.quorum_records, now)?;
    let mut snapshots = Snapshots::new(newest, now);
    snapshots.note_appended(bytes);
    if loaded.old_credential {
        snapshots.want_purge();
    }
    let mut log = MetadataLog {
        images: Images::new(Arc::new(loaded.image), store.log_end()),
        quorum,
        quorum_records: loaded.quorum_records,
        snapshots,
        last_timestamp: loaded.last_timestamp,
        last_append: now,
        store,
        settings,
    };
    log.resume_purge(wall).map_err(failed)?;
    Ok(log)
}

impl Loaded {
    fn snapshot(&mut self, disk: &dyn Disk, dir: &Path, id: SnapshotId) -> Result<(), OpenError> {
        let path = dir.join(id.file_name());
        let Some(found) = snapshot::read(disk, &path)? else { return Ok(()) };
        for (offset, record) in (0..).zip(&found.records) {
            self.image.apply(offset, record).map_err(|error| OpenError::Apply { path: path.clone(), error })?;
        }
        self.image.set_offset(id.end_offset - 1);
        self.quorum_records = found.quorum;
        self.last_timestamp = found.last_timestamp;
        Ok(())
    }

    fn batch(&mut self, dir: &Path, from: i64, batch: &RecordBatch<'_>) -> Result<(), OpenError> {
        self.last_timestamp = batch.header().max_timestamp;
        if batch.header().is_control() {
            let error = |error| OpenError::Control { path: dir.to_owned(), error };
            return self.control(batch).map_err(error);
        }
        let records = batch::decode(batch).map_err(|error| OpenError::Record { path: dir.to_owned(), error })?;
        for (offset, record) in records.into_iter().filter(|(offset, _)| *offset >= from) {
            self.old_credential |= makes_a_credential_old(&self.image, &record);
            self.image.apply(offset, &record).map_err(|error| OpenError::Apply { path: dir.to_owned(), error })?;
        }
        Ok(())
    }

    fn control(&mut self, batch: &RecordBatch<'_>) -> Result<(), ControlRecordError> {
        for record in batch.records() {
            let record = record?;
            self.quorum_records.apply(&ControlRecord::parse(&record)?)?;
        }
        self.image.advance(batch.header().last_offset());
        Ok(())
    }
}

fn quorum(disk: &dyn Disk, settings: &Settings, records: &QuorumRecords, now: Mono) -> Result<Quorum, OpenError> {
    let path = settings.directory().join(FILE_NAME);
    let persisted = match disk.read_file(&path, QUORUM_STATE_MAX) {
        Ok(bytes) => match ElectionState::parse(&String::from_utf8_lossy(&bytes)) {
            Ok(state) => state,
            Err(error) => return Err(OpenError::ElectionState { path, error }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => ElectionState::default(),
        Err(error) => return Err(OpenError::Disk { path, error }),
    };
    let config = Config {
        node_id: settings.node_id,
        directory_id: settings.directory_id,
        voters: records.voter_ids().unwrap_or_else(|| settings.voters.clone()),
        kraft_version: records.kraft_version(),
    };
    Ok(Quorum::new(config, &persisted, now)?)
}

/// Largest `quorum-state` that is read, in bytes.
const QUORUM_STATE_MAX: u64 = 1 << 20;
