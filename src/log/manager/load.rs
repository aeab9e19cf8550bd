//! Opening every partition of every log directory at start (`LogManager.loadLogs`).
//!
//! Directories in parallel, and in each `num.recovery.threads.per.data.dir` logs at a time. What the metadata does not
//! place here is renamed to `-stray` and left to the operator; what was deleted is left to its removal.

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Dir, LogManager, Removal};
use crate::log::checkpoint;
use crate::log::clean_shutdown;
use crate::log::config::LogConfig;
use crate::log::file_name::{PartitionDir, stray_dir};
use crate::log::log_dir::LogDir;
use crate::log::partition_metadata;
use crate::log::unified_log::{OpenError, OpenLog, UnifiedLog};
use crate::model::time::Wall;
use crate::model::topic::{TopicId, TopicIdPartition, TopicName, TopicPartition};
use crate::model::uuid::Uuid;

/// What the metadata says of a partition found on disk.
#[derive(Debug)]
pub enum Placement {
    /// It belongs here, with this configuration.
    Here(Arc<LogConfig>),
    /// Another broker's, another directory's, or of a topic that is no more.
    Stray,
}

/// Says where a partition found in a directory belongs.
pub type Place<'a> = dyn Fn(TopicId, &TopicPartition, &LogDir) -> Placement + Sync + 'a;

/// What was found.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Ordered by partition, each to be handed to its lane.
    pub logs: Vec<UnifiedLog>,
    /// Left as they are: messages of before Kafka 0.11.
    pub refused: Vec<(TopicPartition, OpenError)>,
    /// Directories that were renamed to `-stray`.
    pub strays: Vec<PathBuf>,
}

/// Why the broker can't start on these logs.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{partition} lies in {} and in {}: delete one of them", first.display(), second.display())]
    Duplicate { partition: TopicPartition, first: PathBuf, second: PathBuf },
}

/// A partition to be opened.
struct Found {
    topic_partition: TopicPartition,
    topic_id: TopicId,
    config: Arc<LogConfig>,
}

/// Offsets from the checkpoints of a directory.
#[derive(Default)]
struct Offsets {
    recovery_points: HashMap<TopicPartition, i64>,
    log_starts: HashMap<TopicPartition, i64>,
    high_watermarks: HashMap<TopicPartition, i64>,
    first_dirty: HashMap<TopicPartition, i64>,
}

impl LogManager {
    /// Opens all partitions but the metadata log. A directory that fails meanwhile is offline, its logs are not among the
    /// loaded; the others are. With no threads everything is done here, one log after the other.
    ///
    /// # Errors
    /// [`LoadError`]
    pub fn load(
        &self,
        place: &Place<'_>,
        threads_per_dir: usize,
        now: Wall,
        mut unique: impl FnMut() -> Uuid,
        delete_config: &Arc<LogConfig>,
    ) -> Result<Loaded, LoadError> {
        let mut loaded = Loaded::default();
        let mut work: Vec<(&Dir, Vec<Found>)> = Vec::new();
        let mut seen: HashMap<TopicIdPartition, PathBuf> = HashMap::new();
        for dir in self.dirs.iter().filter(|dir| dir.log_dir.is_online()) {
            let found = self.survey(dir, place, &mut unique, delete_config, &mut loaded);
            let found = found.unwrap_or_else(|error| {
                dir.log_dir.fail("list the logs", &error);
                Vec::new()
            });
            for Found { topic_partition, topic_id, .. } in &found {
                let id = TopicIdPartition { topic_id: *topic_id, partition: topic_partition.partition };
                let path = dir.log_dir.path().join(topic_partition.to_string());
                if let Some(first) = seen.insert(id, path.clone()) {
                    let partition = topic_partition.clone();
                    return Err(LoadError::Duplicate { partition, first, second: path });
                }
            }
            work.push((dir, found));
        }
        let opened = Mutex::new(&mut loaded);
        std::thread::scope(|scope| {
            for (dir, found) in work {
                let opened = &opened;
                let load = move || self.load_dir(dir, found, threads_per_dir, now, opened);
                if threads_per_dir == 0 {
                    load();
                } else {
                    scope.spawn(load);
                }
            }
        });
        loaded.logs.sort_by(|one, other| one.topic_partition().cmp(other.topic_partition()));
        for log in &loaded.logs {
            self.register(log);
        }
        Ok(loaded)
    }

    /// Sorts what lies in a directory.
    fn survey(
        &self,
        dir: &Dir,
        place: &Place<'_>,
        unique: &mut impl FnMut() -> Uuid,
        delete_config: &Arc<LogConfig>,
        loaded: &mut Loaded,
    ) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        let root = dir.log_dir.path();
        for entry in self.disk.list(root)?.into_iter().filter(|entry| entry.is_dir) {
            let path = root.join(&entry.name);
            match PartitionDir::parse(&entry.name) {
                Some(PartitionDir::Current(partition)) if partition.topic.as_str() != TopicName::CLUSTER_METADATA => {
                    let topic_id = partition_metadata::read(&*self.disk, &path).or_else(no_id)?;
                    let placement = topic_id.map_or(Placement::Stray, |id| place(id, &partition, &dir.log_dir));
                    match (placement, topic_id) {
                        (Placement::Here(config), Some(topic_id)) => {
                            found.push(Found { topic_partition: partition, topic_id, config });
                        }
                        _ => {
                            let stray = root.join(stray_dir(&partition, unique()));
                            tracing::warn!(from = %path.display(), to = %stray.display(), "a stray partition");
                            self.disk.rename(&path, &stray)?;
                            self.disk.sync_dir(root)?;
                            loaded.strays.push(stray);
                        }
                    }
                }
                Some(PartitionDir::Delete(_)) => self.removals.lock().push(Removal {
                    due: None,
                    path,
                    log_dir: Arc::clone(&dir.log_dir),
                    config: Arc::clone(delete_config),
                }),
                _ => {}
            }
        }
        Ok(found)
    }

    fn load_dir(&self, dir: &Dir, found: Vec<Found>, threads: usize, now: Wall, loaded: &Mutex<&mut Loaded>) {
        let clean = dir.clean.is_some();
        let path = dir.log_dir.path();
        tracing::info!(dir = %path.display(), logs = found.len(), clean, "loading logs");
        // The mark goes before the first file is touched: a crash from here on has to be recovered from.
        let offsets = clean_shutdown::remove(&*self.disk, path).and_then(|()| self.offsets(dir));
        let offsets = match offsets {
            Ok(offsets) => offsets,
            Err(error) => {
                dir.log_dir.fail("start loading logs", &error);
                return;
            }
        };
        let helpers = threads.min(found.len());
        let queue = Mutex::new(found.into_iter());
        let load = || {
            while let Some(next) = { queue.lock().next() } {
                let partition = next.topic_partition.clone();
                match self.load_log(dir, next, &offsets, clean, now) {
                    Ok(log) => loaded.lock().logs.push(log),
                    Err(OpenError::Storage(_)) => return,
                    Err(error @ OpenError::OldFormat(_)) => loaded.lock().refused.push((partition, error)),
                }
            }
        };
        if threads == 0 {
            return load();
        }
        std::thread::scope(|scope| (0..helpers).for_each(|_| drop(scope.spawn(load))));
    }

    fn load_log(
        &self,
        dir: &Dir,
        found: Found,
        offsets: &Offsets,
        clean: bool,
        now: Wall,
    ) -> Result<UnifiedLog, OpenError> {
        let Found { topic_partition, topic_id, config } = found;
        let of = |offsets: &HashMap<TopicPartition, i64>| offsets.get(&topic_partition).copied().unwrap_or(0).max(0);
        let path = dir.log_dir.path().join(topic_partition.to_string());
        let compacted = offsets.first_dirty.get(&topic_partition).copied();
        let log = UnifiedLog::open(OpenLog {
            disk: Arc::clone(&self.disk),
            dir: path,
            log_dir: Arc::clone(&dir.log_dir),
            topic_id,
            config,
            log_start_offset: of(&offsets.log_starts),
            recovery_point: of(&offsets.recovery_points),
            high_watermark: of(&offsets.high_watermarks),
            compacted: compacted.is_some(),
            clean,
            now,
            seed: seed_of(topic_id, topic_partition.partition),
            topic_partition,
        })?;
        if let Some(first_dirty) = compacted {
            self.first_dirty.lock().insert(log.view().id(), first_dirty);
        }
        let report = log.recovery();
        if report.segments_read > 0 || report.indexes_rebuilt > 0 {
            tracing::info!(partition = %log.topic_partition(), ?report, log_end = log.log_end_offset(), "recovered");
        }
        Ok(log)
    }

    fn offsets(&self, dir: &Dir) -> io::Result<Offsets> {
        let read = |name: &str| {
            let path = dir.log_dir.path().join(name);
            match checkpoint::read_offsets(&*self.disk, &path) {
                Ok(entries) => Ok(entries.into_iter().collect()),
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    tracing::warn!(%error, "a damaged checkpoint counts as empty");
                    Ok(HashMap::new())
                }
                Err(error) => Err(error),
            }
        };
        Ok(Offsets {
            recovery_points: read(checkpoint::RECOVERY_POINT)?,
            log_starts: read(checkpoint::LOG_START)?,
            high_watermarks: read(checkpoint::REPLICATION)?,
            first_dirty: read(checkpoint::CLEANER)?,
        })
    }
}

/// A partition.metadata that can't be read is none.
fn no_id(error: io::Error) -> io::Result<Option<TopicId>> {
    if error.kind() == io::ErrorKind::InvalidData { Ok(None) } else { Err(error) }
}

/// Spreads the jitter of partitions without asking for randomness.
fn seed_of(topic_id: TopicId, partition: i32) -> u64 {
    let mut bytes = [0; 8];
    for (at, byte) in topic_id.0.as_bytes().iter().enumerate() {
        if let Some(slot) = bytes.get_mut(at % 8) {
            *slot ^= byte;
        }
    }
    u64::from_be_bytes(bytes).wrapping_add(u64::from(partition.unsigned_abs()).wrapping_mul(0x9e37_79b9_7f4a_7c15))
}
