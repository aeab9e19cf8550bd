//! The log and the snapshots beside it, on one disk.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::snapshot::{self, SnapshotId};
use crate::log::storage::{Disk, DiskFile, Metadata, Open};
use crate::model::time::Wall;
use crate::protocol::record_batch::{RecordBatch, batches};
use crate::raft::{ElectionState, FILE_NAME};

/// TEMPORARY single file store
#[derive(Debug)]
pub(super) struct Store {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) dir: PathBuf,
    file: Arc<dyn DiskFile>,
    size: u64,
    end: i64,
    epoch: i32,
}

impl Store {
    pub(super) fn open(disk: Arc<dyn Disk>, settings: &super::Settings) -> io::Result<Self> {
        let dir = &*settings.directory();
        disk.create_dir(dir)?;
        let path = dir.join("00000000000000000000.log");
        let file = disk.open(&path, Open::CREATE)?;
        disk.sync_dir(dir)?;
        if let Some(p) = dir.parent() {
            disk.sync_dir(p)?;
        }
        let bytes = disk.read_file(&path, u64::MAX)?;
        let (mut size, mut end, mut epoch) = (0, 0, 0);
        for batch in batches(&bytes).checked() {
            let Ok(batch) = batch else { break };
            size += batch.bytes().len() as u64;
            end = batch.header().next_offset();
            epoch = batch.header().partition_leader_epoch;
        }
        file.set_len(size)?;
        Ok(Self { disk, dir: dir.to_owned(), file, size, end, epoch })
    }

    pub(super) fn log_start(&self) -> i64 {
        0
    }

    pub(super) fn log_end(&self) -> i64 {
        self.end
    }

    pub(super) fn last_epoch(&self) -> i32 {
        self.epoch
    }

    pub(super) fn append(&mut self, bytes: &Bytes) -> io::Result<()> {
        for batch in batches(bytes) {
            let batch = batch.map_err(|e| io::Error::other(format!("{e:?}")))?;
            self.end = batch.header().next_offset();
            self.epoch = batch.header().partition_leader_epoch;
        }
        self.file.write_all(&[bytes], self.size)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.file.sync()
    }

    pub(super) fn read(&self, _from: i64, visit: &mut dyn FnMut(&RecordBatch<'_>)) -> io::Result<()> {
        let bytes = self.disk.read_file(&self.dir.join("00000000000000000000.log"), u64::MAX)?;
        for batch in batches(&bytes) {
            visit(&batch.map_err(|e| io::Error::other(format!("{e:?}")))?);
        }
        Ok(())
    }
    pub(super) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }
    pub(super) fn start_over_at(&mut self, _end: i64, _epoch: i32) -> io::Result<()> {
        Ok(())
    }
    pub(super) fn bytes_from(&self, _from: i64) -> u64 {
        self.size
    }
    pub(super) fn has_segment_at(&self, _offset: i64) -> bool {
        false
    }
    pub(super) fn roll(&mut self, _now: Wall) -> io::Result<()> {
        Ok(())
    }
    pub(super) fn delete_before(&mut self, _offset: i64) -> io::Result<()> {
        Ok(())
    }
    pub(super) fn close(self) -> io::Result<()> {
        Ok(())
    }
    /// Replaces `quorum-state`, durably.
    pub(super) fn write_election_state(&self, state: &ElectionState) -> io::Result<()> {
        self.disk.replace_file(&self.dir.join(FILE_NAME), state.text().as_bytes())
    }
    pub(super) fn remove_snapshot(&self, id: SnapshotId) -> io::Result<()> {
        self.disk.remove_file_if_there(&self.dir.join(id.file_name()))
    }
    /// Size and time of a snapshot's file.
    pub(super) fn snapshot_file(&self, id: SnapshotId) -> io::Result<Metadata> {
        self.disk.metadata(&self.dir.join(id.file_name()))
    }

    pub(super) fn snapshots(&self) -> io::Result<Vec<SnapshotId>> {
        snapshot::list(&*self.disk, &self.dir)
    }
}
