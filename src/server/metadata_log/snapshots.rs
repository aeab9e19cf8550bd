//! When a snapshot is taken, and what of the log goes with it.
//!
//! Three reasons: so many bytes since the last one, so much time, and a credential that was changed or deleted. In the
//! third case nothing older may stay: the log is rolled, the snapshot taken there, then every older segment and snapshot
//! deleted, and the credentials taken out of `bootstrap.checkpoint`, which would bring the deleted user back to whoever
//! reads the file. That is done at most once a minute and, off this thread, within a minute.
//!
//! Precedent: Kafka's `SnapshotGenerator` and `KafkaMetadataLog.maybeClean`; the third reason has none there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::quorum_records::QuorumRecords;
use super::snapshot::{self, SnapshotId};
use super::{LogFailure, MetadataLog, bootstrap_file};
use crate::log::storage::Disk;
use crate::metadata::image::is_credential;
use crate::metadata::snapshot::{RecordAndVersion, records};
use crate::model::time::{Mono, Wall};

/// Shortest time between two snapshots that are taken because of credentials.
const PURGE_INTERVAL: Duration = Duration::from_secs(60);

/// What decides when the next snapshot is due.
#[derive(Debug)]
pub(super) struct Snapshots {
    newest: Option<SnapshotId>,
    /// Appended since the newest.
    bytes: u64,
    taken: Mono,
    purge_wanted: bool,
    purged: Option<Mono>,
    running: bool,
}

/// A snapshot to be written. [`SnapshotJob::run`] needs nothing but the disk; then give it back to
/// [`MetadataLog::finish_snapshot`].
#[derive(Debug)]
pub struct SnapshotJob {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    log_dirs: Vec<PathBuf>,
    id: SnapshotId,
    bytes: Vec<u8>,
    purge: bool,
    now: Wall,
}

impl Snapshots {
    pub(super) fn new(newest: Option<SnapshotId>, now: Mono) -> Self {
        Self { newest, bytes: 0, taken: now, purge_wanted: false, purged: None, running: false }
    }

    pub(super) fn note_appended(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    pub(super) fn want_purge(&mut self) {
        self.purge_wanted = true;
    }

    fn purge_due(&self, now: Mono) -> bool {
        self.purge_wanted && self.purged.is_none_or(|purged| now.since(purged) >= PURGE_INTERVAL)
    }
}

impl MetadataLog {
    /// A snapshot, if one is due and none is being written. Call it after a flush: what is appended and not committed
    /// postpones it.
    ///
    /// # Errors
    /// The disk's.
    pub fn begin_snapshot(&mut self, now: Mono, wall: Wall) -> Result<Option<SnapshotJob>, LogFailure> {
        let purge = self.snapshots.purge_due(now);
        let large = self.snapshots.bytes >= self.settings.snapshot_bytes;
        let interval = self.settings.snapshot_interval;
        let old = self.snapshots.bytes > 0 && interval.is_some_and(|most| now.since(self.snapshots.taken) >= most);
        if self.snapshots.running || !(purge || large || old) {
            return Ok(None);
        }
        let end = self.store.log_end();
        let image = self.images.committed().load_full();
        if self.quorum.high_watermark() != Some(end) || self.images.latest().load().in_transaction() {
            return Ok(None);
        }
        let id = SnapshotId { end_offset: end, epoch: self.quorum.epoch() };
        let encoded = snapshot::encode(id.epoch, self.last_timestamp, &self.quorum_records, &records(&image), wall);
        let bytes = encoded.map_err(|error| self.failure(io::Error::other(error)))?;
        if purge {
            self.store.roll(wall).map_err(|error| self.failure(error))?;
            self.snapshots.purge_wanted = false;
            self.snapshots.purged = Some(now);
        }
        self.snapshots.running = true;
        self.snapshots.taken = now;
        self.snapshots.bytes = 0;
        Ok(Some(SnapshotJob {
            disk: Arc::clone(self.store.disk()),
            dir: self.settings.directory(),
            log_dirs: self.settings.log_dirs.clone(),
            id,
            bytes,
            purge,
            now: wall,
        }))
    }

    /// Takes note that a snapshot was written, or was not, and deletes what it makes superfluous.
    ///
    /// # Errors
    /// The disk's, that of the snapshot too: a disk that can't write a snapshot will not write the log.
    pub fn finish_snapshot(&mut self, job: SnapshotJob, written: io::Result<()>, wall: Wall) -> Result<(), LogFailure> {
        self.snapshots.running = false;
        written.map_err(|error| self.failure(error))?;
        let SnapshotJob { id, purge, .. } = job;
        self.snapshots.newest = Some(id);
        tracing::info!(end_offset = id.end_offset, epoch = id.epoch, purge, "took a snapshot of the metadata");
        let kept = if purge { Ok(id) } else { self.oldest_within_retention(wall) };
        kept.and_then(|id| self.delete_before(id)).map_err(|error| self.failure(error))
    }

    /// A snapshot that was begun will not be written; the next reason begins another.
    pub fn abandon_snapshot(&mut self) {
        self.snapshots.running = false;
    }

    /// A purge that was cut short goes on: only one of those leaves a segment that begins where the newest snapshot ends.
    pub(super) fn resume_purge(&mut self) -> io::Result<()> {
        match self.snapshots.newest {
            Some(id) if self.store.log_start() < id.end_offset && self.store.has_segment_at(id.end_offset) => {
                self.delete_before(id)
            }
            _ => Ok(()),
        }
    }

    /// Deletes snapshots older than `id`, and segments that hold nothing it does not.
    fn delete_before(&mut self, id: SnapshotId) -> io::Result<()> {
        for older in self.store.snapshots()?.into_iter().filter(|older| *older < id) {
            self.store.remove_snapshot(older)?;
        }
        self.store.delete_before(id.end_offset)
    }

    /// The newest snapshot that may be the oldest: what lies before it is too old, or more than is to be kept.
    fn oldest_within_retention(&self, wall: Wall) -> io::Result<SnapshotId> {
        let snapshots = self.store.snapshots()?;
        let mut sizes = Vec::new();
        for id in &snapshots {
            sizes.push(self.store.snapshot_file(*id)?);
        }
        let mut total = sizes.iter().map(|file| file.len).sum::<u64>() + self.store.bytes_from(self.store.log_start());
        let mut keep = 0;
        while keep + 1 < snapshots.len() {
            let (Some(oldest), Some(next), Some(file)) =
                (snapshots.get(keep), snapshots.get(keep + 1), sizes.get(keep))
            else {
                break;
            };
            let too_many = self.settings.retention_bytes.is_some_and(|most| total > most);
            let too_old = self.settings.retention_ms.is_some_and(|most| wall.0.saturating_sub(file.modified.0) > most);
            if !too_many && !too_old {
                break;
            }
            let freed = self.store.bytes_from(oldest.end_offset).saturating_sub(self.store.bytes_from(next.end_offset));
            total = total.saturating_sub(file.len + freed);
            keep += 1;
        }
        Ok(snapshots.get(keep).copied().unwrap_or(SnapshotId { end_offset: 0, epoch: 0 }))
    }
}

impl SnapshotJob {
    /// Writes it, on any thread.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn run(&self) -> io::Result<()> {
        snapshot::write(&*self.disk, &self.dir, self.id, &self.bytes)?;
        if self.purge {
            for log_dir in &self.log_dirs {
                scrub_bootstrap(&*self.disk, log_dir, self.now)?;
            }
        }
        Ok(())
    }
}

/// Takes the credentials out of a `bootstrap.checkpoint`. Once the log has records nobody reads the file, except whoever
/// should not.
fn scrub_bootstrap(disk: &dyn Disk, log_dir: &Path, now: Wall) -> io::Result<()> {
    let path = bootstrap_file(log_dir);
    let found = match snapshot::read(disk, &path) {
        Ok(Some(found)) => found,
        Ok(None) => return Ok(()),
        Err(error) => {
            tracing::warn!(%error, "can't be read, and is left as it is");
            return Ok(());
        }
    };
    if !found.records.iter().any(is_credential) {
        return Ok(());
    }
    let rest = found.records.into_iter().filter(|record| !is_credential(record));
    let rest: Vec<RecordAndVersion> = rest.map(RecordAndVersion::v0).collect();
    let bytes = snapshot::encode(0, found.last_timestamp, &QuorumRecords::default(), &rest, now);
    disk.replace_file(&path, &bytes.map_err(io::Error::other)?)
}
