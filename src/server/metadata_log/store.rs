//! The log and the files beside it, on one disk.
//!
//! The log is never taken as cleanly closed: its tail is read again at every start (as in Kafka), from the newest snapshot
//! on, because what a snapshot stands for was durable before it was written.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Settings;
use super::snapshot::{self, SnapshotId};
use crate::log::config::LogConfig;
use crate::log::file_name;
use crate::log::index_file::Access;
use crate::log::log_dir::LogDir;
use crate::log::partition_metadata;
use crate::log::storage::{Disk, Metadata};
use crate::log::unified_log::{OpenLog, UnifiedLog};
use crate::log::view::{ReadRequest, UpTo};
use crate::model::time::{Mono, Wall};
use crate::model::topic::{TopicId, TopicName, TopicPartition};
use crate::protocol::record_batch::{RecordBatch, batches};
use crate::raft::{ElectionState, FILE_NAME};

/// Bytes of the log that are read at once when it is replayed.
const READ_BYTES: u32 = 4 << 20;

#[derive(Debug)]
pub(super) struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    log: UnifiedLog,
    last_epoch: i32,
}

impl Store {
    /// Opens the log, made if need be, and cuts a torn tail. `newest` is the newest snapshot.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        settings: &Settings,
        newest: Option<SnapshotId>,
        wall: Wall,
    ) -> io::Result<Self> {
        let dir = settings.directory();
        if partition_metadata::read(&*disk, &dir)?.is_none() {
            partition_metadata::write(&*disk, &dir, TopicId::CLUSTER_METADATA)?;
        }
        let durable = newest.map_or(0, |id| id.end_offset);
        let log = UnifiedLog::open(OpenLog {
            disk: Arc::clone(&disk),
            dir: dir.clone(),
            log_dir: Arc::new(LogDir::new(settings.metadata_log_dir.clone(), Some(settings.directory_id), None)),
            topic_partition: TopicPartition::new(TopicName::CLUSTER_METADATA, 0),
            topic_id: TopicId::CLUSTER_METADATA,
            config: Arc::new(config(settings)),
            log_start_offset: 0,
            recovery_point: durable,
            high_watermark: 0,
            compacted: false,
            clean: false,
            now: wall,
            seed: 1,
        })
        .map_err(io::Error::other)?;
        let last_epoch = log.view().latest_epoch().unwrap_or(0).max(newest.map_or(0, |id| id.epoch));
        let mut store = Self { disk, dir, log, last_epoch };
        if store.log_end() < durable {
            // The log is older than the snapshot, or gone: it goes on where the snapshot ends.
            store.log.truncate_fully_and_start_at(durable, wall).map_err(io::Error::other)?;
        }
        Ok(store)
    }

    /// Makes the directory, durably.
    pub(super) fn make_dir(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
        if disk.exists(dir)? {
            return Ok(());
        }
        disk.create_dir(dir)?;
        dir.parent().map_or(Ok(()), |parent| disk.sync_dir(parent))
    }

    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    pub(super) fn log_start(&self) -> i64 {
        self.log.log_start_offset()
    }

    pub(super) fn log_end(&self) -> i64 {
        self.log.log_end_offset()
    }

    /// Epoch of the last batch, or of the snapshot that stands for it.
    pub(super) fn last_epoch(&self) -> i32 {
        self.last_epoch
    }

    /// Shows every batch that holds an offset from `from` on.
    pub(super) fn read(&mut self, from: i64, visit: &mut dyn FnMut(&RecordBatch<'_>)) -> io::Result<()> {
        let mut from = from.max(self.log_start());
        while from < self.log_end() {
            let request = ReadRequest {
                from,
                max_bytes: READ_BYTES,
                up_to: UpTo::LogEnd,
                at_least_one: true,
                access: Access::Blocking,
            };
            let slice = self.log.view().read(&request).map_err(io::Error::other)?;
            let Some(range) = slice.range else { break };
            let mut bytes = vec![0; usize::try_from(range.len).unwrap_or(usize::MAX)];
            range.read_at(0, &mut bytes)?;
            let before = from;
            for batch in batches(&bytes).checked() {
                match batch {
                    Ok(batch) => {
                        self.last_epoch = self.last_epoch.max(batch.header().partition_leader_epoch);
                        from = batch.header().next_offset();
                        visit(&batch);
                    }
                    // Cut at the size limit: the next read begins with it.
                    Err(damage) if damage.error.is_torn() => break,
                    Err(damage) => return Err(io::Error::new(io::ErrorKind::InvalidData, damage)),
                }
            }
            if from == before {
                return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no batch at offset {from}")));
            }
        }
        Ok(())
    }

    /// Appends batches that carry their offsets and epoch.
    pub(super) fn append(&mut self, bytes: &Bytes, wall: Wall) -> io::Result<()> {
        self.log.append_raw(bytes, wall).map(drop).map_err(io::Error::other)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.log.flush().map(drop).map_err(io::Error::other)
    }

    pub(super) fn high_watermark_is(&mut self, offset: i64) -> io::Result<()> {
        self.log.update_high_watermark(offset).map(drop).map_err(io::Error::other)
    }

    /// Ends the active segment.
    pub(super) fn roll(&mut self, wall: Wall) -> io::Result<()> {
        self.log.roll_active(wall).map_err(io::Error::other)
    }

    /// Does a segment begin at this offset?
    pub(super) fn has_segment_at(&self, offset: i64) -> io::Result<bool> {
        self.disk.exists(&file_name::path_of(&self.dir, offset, file_name::LOG))
    }

    /// The log starts at `offset`; segments that lie before it are removed at once: nobody reads them.
    pub(super) fn delete_before(&mut self, offset: i64, wall: Wall) -> io::Result<()> {
        self.log.start_at(offset).map_err(io::Error::other)?;
        self.log.retention(wall).map_err(io::Error::other)?;
        if let Some(removal) = self.log.take_doomed(Mono::default()) {
            removal.run().map_err(io::Error::other)?;
            self.disk.sync_dir(&self.dir)?;
        }
        Ok(())
    }

    /// Bytes of all segments.
    pub(super) fn size(&self) -> u64 {
        self.log.view().size_in_bytes()
    }

    pub(super) fn snapshots(&self) -> io::Result<Vec<SnapshotId>> {
        snapshot::list(&*self.disk, &self.dir)
    }

    /// Size and time of a snapshot's file.
    pub(super) fn snapshot_file(&self, id: SnapshotId) -> io::Result<Metadata> {
        self.disk.metadata(&self.dir.join(id.file_name()))
    }

    pub(super) fn remove_snapshot(&self, id: SnapshotId) -> io::Result<()> {
        self.disk.remove_file_if_there(&self.dir.join(id.file_name()))
    }

    /// Replaces `quorum-state`, durably.
    pub(super) fn write_election_state(&self, state: &ElectionState) -> io::Result<()> {
        self.disk.replace_file(&self.dir.join(FILE_NAME), state.text().as_bytes())
    }

    pub(super) fn close(self) -> io::Result<()> {
        self.log.close().map_err(io::Error::other)
    }
}

/// Nothing is removed by age or size of the log: snapshots decide.
fn config(settings: &Settings) -> LogConfig {
    LogConfig {
        segment_bytes: settings.segment_bytes,
        segment_ms: settings.segment_ms,
        retention_ms: None,
        retention_bytes: None,
        file_delete_delay: Duration::ZERO,
        ..LogConfig::default()
    }
}
