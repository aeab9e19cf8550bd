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
            // Durable before the snapshot: where it lies says after a crash that a purge was under way.
            self.store.roll(wall).and_then(|()| self.store.flush()).map_err(|error| self.failure(error))?;
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
        let cleaned = if purge { self.delete_before(id, wall) } else { self.apply_retention(wall) };
        cleaned.map_err(|error| self.failure(error))
    }

    /// A snapshot that was begun will not be written; the next reason begins another.
    pub fn abandon_snapshot(&mut self) {
        self.snapshots.running = false;
    }

    /// A purge that was cut short goes on: only one of those leaves a segment that begins where the newest snapshot ends.
    pub(super) fn resume_purge(&mut self, wall: Wall) -> io::Result<()> {
        let Some(id) = self.snapshots.newest else { return Ok(()) };
        let has_older = self.store.log_start() < id.end_offset || self.store.snapshots()?.len() > 1;
        if has_older && id.end_offset > 0 && self.store.has_segment_at(id.end_offset)? {
            for log_dir in &self.settings.log_dirs {
                scrub_bootstrap(&**self.store.disk(), log_dir, wall)?;
            }
            self.delete_before(id, wall)?;
        }
        Ok(())
    }

    /// Deletes snapshots older than `id`, and segments that hold nothing it does not.
    fn delete_before(&mut self, id: SnapshotId, wall: Wall) -> io::Result<()> {
        for older in self.store.snapshots()?.into_iter().filter(|older| *older < id) {
            self.store.remove_snapshot(older)?;
        }
        self.store.delete_before(id.end_offset, wall)
    }

    /// Deletes the oldest snapshots that are too old, or more than is to be kept, but never the newest.
    fn apply_retention(&mut self, wall: Wall) -> io::Result<()> {
        let snapshots = self.store.snapshots()?;
        for (n, oldest) in snapshots.iter().enumerate() {
            let Some(next) = snapshots.get(n + 1) else { break };
            let mut total = self.store.size();
            for id in snapshots.iter().skip(n) {
                total += self.store.snapshot_file(*id)?.len;
            }
            let age_ms = wall.0.saturating_sub(self.store.snapshot_file(*oldest)?.modified.0);
            let too_many = self.settings.retention_bytes.is_some_and(|most| total > most);
            let too_old = self.settings.retention_ms.is_some_and(|most| age_ms > most);
            if !too_many && !too_old {
                break;
            }
            self.delete_before(*next, wall)?;
        }
        Ok(())
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
