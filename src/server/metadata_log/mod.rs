//! The metadata log: the one `__cluster_metadata-0` of this node, its snapshots, and the images made of it.
//!
//! Owns the log, drives raft and carries out its actions; everything here runs on one thread of its own
//! ([`super::controller`]) and may wait for the disk. An append becomes visible in the latest image at once and in the
//! committed one when it is on disk: fsync comes before the high watermark, the high watermark before the answer, in a
//! quorum of one too. Snapshots are encoded here and written wherever the caller likes.
//!
//! Precedent: Kafka's `KafkaMetadataLog`, `KafkaRaftClient`'s log side, `MetadataLoader`, `SnapshotGenerator`. Must not
//! know what a request is.

pub mod batch;
mod images;
mod load;
pub mod quorum_records;
pub mod snapshot;
mod snapshots;
mod store;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::config::BrokerConfig;
use crate::log::storage::Disk;
use crate::metadata::delta::Touched;
use crate::metadata::image::{MetadataImage, is_credential};
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::time::{Mono, Wall};
use crate::model::uuid::Uuid;
use crate::protocol::control::{ControlType, control_batch};
use crate::protocol::record_batch::BatchFull;
use crate::protocol::records::control::LeaderChangeMessage;
use crate::protocol::records::control::leader_change_message::Voter;
use crate::protocol::records::metadata::MetadataRecord;
use crate::protocol::wire::Message as _;
use crate::raft::{Action, Event, Quorum};
use images::Images;
pub use images::{Committed, ImageHandle, Subscriber};
pub use load::OpenError;
use quorum_records::QuorumRecords;
pub use snapshots::SnapshotJob;
use snapshots::Snapshots;
use store::Store;

/// The directory of the log, in `metadata.log.dir`.
pub const DIRECTORY: &str = "__cluster_metadata-0";

/// What the configuration says about the metadata log.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `node.id`
    pub node_id: i32,
    /// `directory.id` of [`Settings::metadata_log_dir`].
    pub directory_id: Uuid,
    /// `controller.quorum.voters`, or this node alone; not used where the log itself names the voters.
    pub voters: Vec<i32>,
    /// `metadata.log.dir`, or the first of `log.dirs`.
    pub metadata_log_dir: PathBuf,
    /// Every directory with a `bootstrap.checkpoint`.
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.segment.bytes`
    pub segment_bytes: u32,
    /// `metadata.log.segment.ms`
    pub segment_ms: i64,
    /// `metadata.max.idle.interval.ms`; `None` (0) writes no NoOp records.
    pub max_idle_interval: Option<Duration>,
    /// `metadata.log.max.record.bytes.between.snapshots`
    pub snapshot_bytes: u64,
    /// `metadata.log.max.snapshot.interval.ms`; `None` (0) never takes one because of its age.
    pub snapshot_interval: Option<Duration>,
    /// `metadata.max.retention.bytes`, of log and snapshots together; `None` (-1) keeps all.
    pub retention_bytes: Option<u64>,
    /// `metadata.max.retention.ms`, by the time of a snapshot; `None` (-1) keeps all.
    pub retention_ms: Option<i64>,
}

impl Settings {
    /// Apache Kafka's defaults, for a node that is a quorum of its own.
    pub fn new(node_id: i32, directory_id: Uuid, metadata_log_dir: PathBuf, log_dirs: Vec<PathBuf>) -> Self {
        Self {
            node_id,
            directory_id,
            voters: vec![node_id],
            metadata_log_dir,
            log_dirs,
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * 60 * 60 * 1000,
            max_idle_interval: Some(Duration::from_millis(500)),
            snapshot_bytes: 20 << 20,
            snapshot_interval: Some(Duration::from_secs(60 * 60)),
            retention_bytes: Some(100 << 20),
            retention_ms: Some(7 * 24 * 60 * 60 * 1000),
        }
    }

    /// What a node's configuration says. `directory_id` is that of its `metadata_log_dir`.
    pub fn from_config(config: &BrokerConfig, directory_id: Uuid) -> Self {
        let settings = &config.settings;
        let millis = |ms: i64| u64::try_from(ms).ok().filter(|ms| *ms > 0).map(Duration::from_millis);
        let own = Self::new(config.node_id.0, directory_id, config.metadata_log_dir.clone(), config.log_dirs.clone());
        Self {
            segment_bytes: u32::try_from(settings.metadata_log_segment_bytes).unwrap_or(own.segment_bytes),
            segment_ms: settings.metadata_log_segment_ms,
            max_idle_interval: millis(settings.metadata_max_idle_interval_ms.into()),
            snapshot_bytes: u64::try_from(settings.metadata_log_max_record_bytes_between_snapshots)
                .unwrap_or(own.snapshot_bytes),
            snapshot_interval: millis(settings.metadata_log_max_snapshot_interval_ms),
            retention_bytes: u64::try_from(settings.metadata_max_retention_bytes).ok(),
            retention_ms: Some(settings.metadata_max_retention_ms).filter(|ms| *ms >= 0),
            ..own
        }
    }

    fn directory(&self) -> PathBuf {
        self.metadata_log_dir.join(DIRECTORY)
    }
}

/// The log can't be written any more. What was not answered may be lost, what was is not; nothing is tried again.
#[derive(Debug, thiserror::Error)]
#[error("the metadata log in {} failed: {error}", dir.display())]
pub struct LogFailure {
    pub dir: PathBuf,
    pub error: io::Error,
}

/// Nothing was appended.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    #[error("the records do not fit into one batch: {0}")]
    TooLarge(#[from] BatchFull),
    #[error("{0}")]
    Failed(#[from] LogFailure),
}

/// The metadata log of a node.
#[derive(Debug)]
pub struct MetadataLog {
    settings: Settings,
    store: Store,
    quorum: Quorum,
    quorum_records: QuorumRecords,
    images: Images,
    snapshots: Snapshots,
    /// Of the last batch.
    last_timestamp: i64,
    /// When something was last appended.
    last_append: Mono,
}

impl MetadataLog {
    /// Opens the log: recovers its tail, reads the newest snapshot and replays what follows. Nothing of it is committed
    /// before [`MetadataLog::lead`].
    ///
    /// # Errors
    /// The disk's, a log or snapshot that can't be read, and a quorum that this node can't be part of.
    pub fn open(disk: Arc<dyn Disk>, settings: Settings, now: Mono, wall: Wall) -> Result<Self, OpenError> {
        load::open(disk, settings, now, wall)
    }

    /// Has itself elected and commits what the log holds.
    ///
    /// # Errors
    /// The disk's.
    pub fn lead(&mut self, now: Mono, wall: Wall) -> Result<(), LogFailure> {
        let started = Event::Started { last_epoch: self.store.last_epoch(), log_end: self.store.log_end() };
        let actions = self.quorum.step(now, started);
        self.carry_out(now, wall, actions)
    }

    /// May records be appended?
    pub fn is_active(&self) -> bool {
        self.quorum.is_active()
    }

    pub fn epoch(&self) -> i32 {
        self.quorum.epoch()
    }

    /// Offset of the next record.
    pub fn next_offset(&self) -> i64 {
        self.store.log_end()
    }

    /// Everything below is committed.
    pub fn high_watermark(&self) -> i64 {
        self.quorum.high_watermark().unwrap_or(0)
    }

    /// The image of everything that was appended.
    pub fn latest(&self) -> &ImageHandle {
        self.images.latest()
    }

    /// The image of everything that is committed.
    pub fn committed(&self) -> &ImageHandle {
        self.images.committed()
    }

    pub fn subscribe(&mut self, subscriber: Subscriber) {
        self.images.subscribe(subscriber);
    }

    /// When something was last appended: past `max_idle_interval` from it a NoOp record is due.
    pub fn last_append(&self) -> Mono {
        self.last_append
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Appends one atomic batch. It is committed by the next [`MetadataLog::flush`].
    ///
    /// # Errors
    /// The disk's, and records that are too many bytes for a batch.
    pub fn append(&mut self, now: Mono, wall: Wall, records: &[RecordAndVersion]) -> Result<(), AppendError> {
        let bytes = batch::encode(self.store.log_end(), self.quorum.epoch(), wall, records)?;
        self.store.append(&bytes, wall).map_err(|error| self.failure(error))?;
        self.snapshots.note_appended(bytes.len());
        let latest = self.images.latest().load();
        if records.iter().any(|record| makes_a_credential_old(&latest, &record.record)) {
            self.snapshots.want_purge();
        }
        self.last_timestamp = wall.0;
        self.last_append = now;
        Ok(())
    }

    /// Says what the records of the last append make of the latest image.
    pub fn appended(&mut self, image: MetadataImage, touched: Touched) {
        self.images.appended(self.store.log_end(), Arc::new(image), touched);
    }

    /// Makes everything durable that was appended, and commits it: one fsync for all who wait.
    ///
    /// # Errors
    /// The disk's.
    pub fn flush(&mut self, now: Mono, wall: Wall) -> Result<(), LogFailure> {
        if self.quorum.high_watermark() == Some(self.store.log_end()) {
            return Ok(());
        }
        self.store.flush().map_err(|error| self.failure(error))?;
        let actions = self.quorum.step(now, Event::Flushed { log_end: self.store.log_end() });
        self.carry_out(now, wall, actions)
    }

    /// Leads no more, and closes the log.
    ///
    /// # Errors
    /// The disk's.
    pub fn close(mut self, now: Mono) -> Result<(), LogFailure> {
        self.quorum.step(now, Event::Resign);
        let dir = self.settings.directory();
        self.store.close().map_err(|error| LogFailure { dir, error })
    }

    fn carry_out(&mut self, now: Mono, wall: Wall, actions: Vec<Action>) -> Result<(), LogFailure> {
        for action in actions {
            match action {
                Action::WriteElectionState(state) => {
                    self.store.write_election_state(&state).map_err(|error| self.failure(error))?;
                    let actions = self.quorum.step(now, Event::ElectionStateWritten);
                    self.carry_out(now, wall, actions)?;
                }
                Action::AppendLeaderChange { epoch, leader_id, voters } => {
                    self.append_leader_change(now, wall, epoch, leader_id, &voters)?;
                }
                Action::AdvanceHighWatermark(offset) => {
                    self.store.high_watermark_is(offset).map_err(|error| self.failure(error))?;
                    self.images.commit(offset);
                }
                Action::Lead { epoch } => {
                    tracing::info!(epoch, node = self.settings.node_id, "leads the metadata quorum")
                }
            }
        }
        Ok(())
    }

    fn append_leader_change(
        &mut self,
        now: Mono,
        wall: Wall,
        epoch: i32,
        leader_id: i32,
        voters: &[i32],
    ) -> Result<(), LogFailure> {
        let base = self.store.log_end();
        let voter = |id: &i32| Voter { voter_id: *id, ..Voter::default() };
        let voters: Vec<Voter> = voters.iter().map(voter).collect();
        let change = LeaderChangeMessage { version: 0, leader_id, granting_voters: voters.clone(), voters };
        let change = change.to_bytes(0);
        // The first batch of a log also says what the zero snapshot said about the quorum.
        let quorum = if base == 0 { self.quorum_records.control_records() } else { Vec::new() };
        let mut records: Vec<(ControlType, &[u8])> = vec![(ControlType::LeaderChange, &change)];
        records.extend(quorum.iter().map(|(kind, value)| (*kind, value.as_ref())));
        let bytes =
            control_batch(base, wall.0, epoch, &records).map_err(|error| self.failure(io::Error::other(error)))?;
        self.store.append(&bytes, wall).map_err(|error| self.failure(error))?;
        self.snapshots.note_appended(bytes.len());
        let mut image = self.images.latest().load().as_ref().clone();
        image.advance(self.store.log_end() - 1);
        self.appended(image, Touched::default());
        self.last_timestamp = wall.0;
        self.last_append = now;
        self.flush(now, wall)
    }

    fn failure(&self, error: io::Error) -> LogFailure {
        LogFailure { dir: self.settings.directory(), error }
    }
}

/// Does a record leave a credential in the log that is not in force any more?
fn makes_a_credential_old(before: &MetadataImage, record: &MetadataRecord) -> bool {
    match record {
        MetadataRecord::UserScramCredential(set) => crate::model::scram::ScramMechanism::from_code(set.mechanism)
            .is_some_and(|mechanism| before.scram.get(&set.name, mechanism).is_some()),
        record => is_credential(record),
    }
}

/// Where `bootstrap.checkpoint` of a log directory lies.
fn bootstrap_file(log_dir: &Path) -> PathBuf {
    log_dir.join(snapshot::BOOTSTRAP_FILE)
}

#[cfg(test)]
mod tests;
