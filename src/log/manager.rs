//! All log directories of a broker and the logs in them (`LogManager`, KIP-112, KIP-858).
//!
//! It locks the directories and reads whose they are, opens every partition in them, makes and removes partitions, and
//! keeps the checkpoints and the mark of a clean stop. The logs themselves it hands out: each is owned by its lane; the
//! manager keeps their views. One failed directory takes only its own partitions offline.
//!
//! It must not know which partitions belong here (it asks), nor when anything is due. The metadata log's directory is
//! locked here too, but `__cluster_metadata` is opened by its own thread, and never through a checkpoint.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::error_code::ErrorCode;
use crate::model::time::{Mono, Wall};
use crate::model::topic::{TopicId, TopicIdPartition, TopicPartition};
use crate::model::uuid::Uuid;

use super::checkpoint;
use super::clean_shutdown;
use super::config::LogConfig;
use super::log_dir::{LogDir, OfflineListener, StorageError};
use super::meta_properties::{self, MetaProperties, MetaPropertiesError};
use super::partition_metadata;
use super::storage::{Disk, DiskLock, Open};
use super::unified_log::{OpenError, OpenLog, UnifiedLog};
use super::view::LogView;

mod load;
#[cfg(test)]
mod tests;

pub use load::{LoadError, Loaded, Place, Placement};

/// The file a running broker holds locked; removed at a clean stop.
pub const LOCK_FILE: &str = ".lock";

/// What starting needs to know.
pub struct StartLogDirs<'a> {
    pub disk: Arc<dyn Disk>,
    /// `log.dirs`
    pub log_dirs: &'a [PathBuf],
    /// `metadata.log.dir`, where it is none of them.
    pub metadata_log_dir: Option<&'a Path>,
    pub node_id: i32,
    /// The cluster id that is expected; `None`: whatever the directories agree on.
    pub cluster_id: Option<&'a str>,
    pub now: Wall,
    /// Told when a directory goes offline.
    pub listener: Option<OfflineListener>,
    /// Draws the id of a directory that has none (formatted before Kafka 3.7).
    pub new_directory_id: &'a mut dyn FnMut() -> Uuid,
}

impl fmt::Debug for StartLogDirs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartLogDirs")
            .field("log_dirs", &self.log_dirs)
            .field("node_id", &self.node_id)
            .finish_non_exhaustive()
    }
}

/// Why the broker can't use its log directories.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{} is in use by another broker: its .lock is held", dir.display())]
    Locked { dir: PathBuf },
    #[error("{} has no meta.properties: format it first", dir.display())]
    NotFormatted { dir: PathBuf },
    #[error(transparent)]
    MetaProperties(#[from] MetaPropertiesError),
    #[error("no log directory is usable; the first: {0}")]
    NoneOnline(StorageError),
    #[error("the directory of the metadata log is not usable: {0}")]
    MetadataDir(StorageError),
}

/// Why a partition's log was not made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error("no log directory is online")]
    NoneOnline,
    #[error("it may lie in a log directory that is offline")]
    MayBeOffline,
    #[error("{} holds another topic's partition of that name", dir.display())]
    OtherTopic { dir: PathBuf },
}

impl CreateError {
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Open(error) => error.code(),
            Self::Storage(_) | Self::NoneOnline | Self::MayBeOffline => ErrorCode::KafkaStorageError,
            Self::OtherTopic { .. } => ErrorCode::InconsistentTopicId,
        }
    }
}

/// A partition's log to be made.
#[derive(Debug)]
pub struct CreateLog {
    pub topic_partition: TopicPartition,
    pub topic_id: TopicId,
    pub config: Arc<LogConfig>,
    /// The directory the controller has placed it in; `None` or an unknown one: the emptiest.
    pub directory_id: Option<Uuid>,
    /// It was made since this broker started: no directory can hold it already.
    pub is_new: bool,
    pub now: Wall,
    /// For `segment.jitter.ms`.
    pub seed: u64,
}

/// A log directory, locked.
#[derive(Debug)]
struct Dir {
    log_dir: Arc<LogDir>,
    /// Held until the manager stops or is dropped.
    lock: Mutex<Option<Box<dyn DiskLock>>>,
    /// The broker epoch in the mark of a clean stop; `None` without a mark.
    clean: Option<i64>,
    /// Held while a checkpoint is written: two at once would take each other's file away, and an older one could come last.
    checkpointing: Mutex<()>,
}

/// The log directories of a broker.
#[derive(Debug)]
pub struct LogManager {
    disk: Arc<dyn Disk>,
    cluster_id: String,
    dirs: Vec<Dir>,
    metadata_dir: Option<Dir>,
    views: Mutex<HashMap<TopicIdPartition, Arc<LogView>>>,
    removals: Mutex<Vec<Removal>>,
    /// Where the last compaction of a log ended; an entry says that there was one.
    first_dirty: Mutex<HashMap<TopicIdPartition, i64>>,
}

/// A deleted partition's directory that waits; stamped by the first call that knows the time.
#[derive(Debug)]
struct Removal {
    due: Option<Mono>,
    path: PathBuf,
    log_dir: Arc<LogDir>,
    config: Arc<LogConfig>,
}

/// Directories whose time has come.
#[derive(Debug)]
pub struct DirRemovalJob {
    disk: Arc<dyn Disk>,
    dirs: Vec<(PathBuf, Arc<LogDir>)>,
}

impl DirRemovalJob {
    /// Removes them. May take long: not for threads that serve.
    pub fn run(self) {
        for (path, log_dir) in self.dirs {
            match self.disk.remove_dir(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    log_dir.fail(&format!("remove {}", path.display()), &error);
                }
                _ => tracing::info!(dir = %path.display(), "removed the log of a deleted partition"),
            }
        }
    }
}

impl LogManager {
    /// Locks the log directories, and checks that they are formatted and belong to this node. A directory that can't be
    /// read or written is offline from the start; the broker runs while one is left.
    ///
    /// # Errors
    /// [`StartError`]
    pub fn start(mut start: StartLogDirs<'_>) -> Result<Self, StartError> {
        let mut dirs = Vec::new();
        let mut metas = Vec::new();
        let mut first_failure = None;
        for path in start.log_dirs {
            match claim(&mut start, path)? {
                Ok((dir, meta)) => {
                    metas.push((path.clone(), meta));
                    dirs.push(dir);
                }
                Err((dir, error)) => {
                    first_failure.get_or_insert(error);
                    dirs.push(dir);
                }
            }
        }
        let separate = start.metadata_log_dir.filter(|path| !start.log_dirs.iter().any(|dir| dir == path));
        let metadata_dir = match separate {
            Some(path) => match claim(&mut start, path)? {
                Ok((dir, meta)) => {
                    metas.push((path.to_owned(), meta));
                    Some(dir)
                }
                Err((_, error)) => return Err(StartError::MetadataDir(error)),
            },
            None => None,
        };
        if let Some(error) = first_failure.filter(|_| dirs.iter().all(|dir| !dir.log_dir.is_online())) {
            return Err(StartError::NoneOnline(error));
        }
        meta_properties::verify(&metas, start.node_id, start.cluster_id)?;
        let cluster_id = metas.into_iter().find_map(|(_, meta)| meta.cluster_id).unwrap_or_default();
        Ok(Self {
            disk: start.disk,
            cluster_id,
            dirs,
            metadata_dir,
            views: Mutex::default(),
            removals: Mutex::default(),
            first_dirty: Mutex::default(),
        })
    }

    /// `cluster.id` of the directories.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// All of `log.dirs`, offline ones too.
    pub fn dirs(&self) -> impl Iterator<Item = &Arc<LogDir>> {
        self.dirs.iter().map(|dir| &dir.log_dir)
    }

    /// A directory of `log.dirs` or the metadata log's own, by its path.
    pub fn dir(&self, path: &Path) -> Option<&Arc<LogDir>> {
        self.dirs.iter().chain(&self.metadata_dir).map(|dir| &dir.log_dir).find(|dir| dir.path() == path)
    }

    /// The broker epoch that ended with a clean stop, if all directories agree on it.
    pub fn previous_broker_epoch(&self) -> Option<i64> {
        let mut epochs = self.dirs.iter().map(|dir| dir.clean);
        let first = epochs.next().flatten().filter(|epoch| *epoch >= 0)?;
        epochs.all(|epoch| epoch == Some(first)).then_some(first)
    }

    /// A partition's log, for reading.
    pub fn view(&self, id: &TopicIdPartition) -> Option<Arc<LogView>> {
        self.views.lock().get(id).cloned()
    }

    /// All logs, in no order.
    pub fn views(&self) -> Vec<Arc<LogView>> {
        self.views.lock().values().cloned().collect()
    }

    /// Makes a partition's log, or opens the one that a crash left half made.
    ///
    /// # Errors
    /// [`CreateError`]; while a directory is offline, what is not new is made nowhere else (`LogManager.getOrCreateLog`).
    pub fn create(&self, create: CreateLog) -> Result<UnifiedLog, CreateError> {
        let log_dir = self.place(&create)?;
        let dir = log_dir.path().join(create.topic_partition.to_string());
        match self.prepare(&dir, &log_dir, create.topic_id) {
            Ok(true) => {}
            Ok(false) => return Err(CreateError::OtherTopic { dir }),
            Err(error) => return Err(log_dir.fail(&format!("make {}", dir.display()), &error).into()),
        }
        let log = UnifiedLog::open(OpenLog {
            disk: Arc::clone(&self.disk),
            dir,
            log_dir,
            topic_partition: create.topic_partition,
            topic_id: create.topic_id,
            config: create.config,
            log_start_offset: 0,
            recovery_point: 0,
            high_watermark: 0,
            compacted: false,
            clean: false,
            now: create.now,
            seed: create.seed,
        })?;
        self.register(&log);
        Ok(log)
    }

    /// The partition was deleted: its log gets another name at once and is removed by [`Self::take_removals`] after
    /// `file.delete.delay.ms`. `unique` makes the name so.
    ///
    /// # Errors
    /// [`StorageError`]; the partition is gone from the manager all the same.
    pub fn delete(&self, mut log: UnifiedLog, unique: Uuid) -> Result<(), StorageError> {
        self.views.lock().remove(&log.view().id());
        if self.first_dirty.lock().remove(&log.view().id()).is_some() {
            // Its name must not speak for the next topic of that name.
            self.checkpoint_cleaner();
        }
        let path = log.rename_to_deleted(unique)?;
        let (log_dir, config) = (Arc::clone(log.log_dir()), Arc::clone(log.config()));
        self.removals.lock().push(Removal { due: None, path, log_dir, config });
        Ok(())
    }

    /// Directories of deleted partitions whose delay is over.
    pub fn take_removals(&self, now: Mono) -> Option<DirRemovalJob> {
        let mut dirs = Vec::new();
        self.removals.lock().retain_mut(|removal| {
            let due = *removal.due.get_or_insert(now.plus(removal.config.file_delete_delay));
            if due <= now {
                dirs.push((std::mem::take(&mut removal.path), Arc::clone(&removal.log_dir)));
            }
            due > now
        });
        (!dirs.is_empty()).then(|| DirRemovalJob { disk: Arc::clone(&self.disk), dirs })
    }

    /// Writes `replication-offset-checkpoint` of every directory: the high watermarks.
    pub fn checkpoint_high_watermarks(&self) {
        self.checkpoint(checkpoint::REPLICATION, |view| Some(view.ends().high_watermark.offset));
    }

    /// Writes `recovery-point-offset-checkpoint` of every directory: what is durable.
    pub fn checkpoint_recovery_points(&self) {
        self.checkpoint(checkpoint::RECOVERY_POINT, |view| Some(view.recovery_point()));
    }

    /// Writes `log-start-offset-checkpoint` of every directory: the starts that no file name tells.
    pub fn checkpoint_log_starts(&self) {
        self.checkpoint(checkpoint::LOG_START, |view| {
            let start = view.ends().log_start;
            (start > view.first_segment_offset()).then_some(start)
        });
    }

    /// Where the last compaction of a log ended.
    pub fn first_dirty(&self, id: &TopicIdPartition) -> Option<i64> {
        self.first_dirty.lock().get(id).copied()
    }

    /// A compaction has put all in place that lies before `first_dirty`.
    pub fn compacted(&self, id: TopicIdPartition, first_dirty: i64) {
        if self.view(&id).is_some() {
            self.first_dirty.lock().insert(id, first_dirty);
            self.checkpoint_cleaner();
        }
    }

    /// Writes `cleaner-offset-checkpoint` of every directory.
    fn checkpoint_cleaner(&self) {
        self.checkpoint(checkpoint::CLEANER, |view| self.first_dirty(&view.id()));
    }

    /// The end of a clean stop, after every lane has closed its logs: checkpoints, the mark, no lock file. A directory with
    /// a log that was not closed, or that failed, gets no mark, so that its next start recovers.
    pub fn stop(&self, broker_epoch: i64) {
        self.checkpoint_high_watermarks();
        self.checkpoint_recovery_points();
        self.checkpoint_log_starts();
        let views = self.views();
        for dir in &self.dirs {
            let closed = views.iter().filter(|view| Arc::ptr_eq(view.log_dir(), &dir.log_dir)).all(|v| v.is_closed());
            let path = dir.log_dir.path();
            if closed
                && dir.log_dir.is_online()
                && let Err(error) = clean_shutdown::write(&*self.disk, path, broker_epoch)
            {
                dir.log_dir.fail("write the mark of a clean stop", &error);
            }
        }
        for dir in self.dirs.iter().chain(&self.metadata_dir) {
            let lock = dir.lock.lock().take();
            // Removed while it is still held: nobody else can have taken it.
            if lock.is_some() && dir.log_dir.is_online() {
                let _ = self.disk.remove_file_if_there(&dir.log_dir.path().join(LOCK_FILE));
            }
        }
    }

    fn checkpoint(&self, name: &str, value: impl Fn(&LogView) -> Option<i64>) {
        let views = self.views();
        for dir in self.dirs.iter().filter(|dir| dir.log_dir.is_online()) {
            let _alone = dir.checkpointing.lock();
            let mut entries: Vec<(&TopicPartition, i64)> = views
                .iter()
                .filter(|view| Arc::ptr_eq(view.log_dir(), &dir.log_dir))
                .filter_map(|view| Some((view.topic_partition(), value(view)?)))
                .collect();
            entries.sort_unstable();
            let path = dir.log_dir.path().join(name);
            if let Err(error) = checkpoint::write_offsets(&*self.disk, &path, entries.into_iter()) {
                dir.log_dir.fail(&format!("write {name}"), &error);
            }
        }
    }

    /// The directory that is named, or else the one with the fewest partitions.
    fn place(&self, create: &CreateLog) -> Result<Arc<LogDir>, CreateError> {
        let online = || self.dirs.iter().map(|dir| &dir.log_dir).filter(|dir| dir.is_online());
        if let Some(named) = online().find(|dir| dir.id().is_some() && dir.id() == create.directory_id) {
            return Ok(Arc::clone(named));
        }
        let views = self.views();
        let held = |dir: &Arc<LogDir>| views.iter().filter(|view| Arc::ptr_eq(view.log_dir(), dir)).count();
        let emptiest = online().min_by_key(|dir| held(dir)).ok_or(CreateError::NoneOnline)?;
        if !create.is_new && online().count() < self.dirs.len() {
            return Err(CreateError::MayBeOffline);
        }
        Ok(Arc::clone(emptiest))
    }

    /// Makes a partition's directory with its id, durably. `false` when there is one with another id.
    fn prepare(&self, dir: &Path, log_dir: &LogDir, topic_id: TopicId) -> io::Result<bool> {
        log_dir.check().map_err(io::Error::other)?;
        self.disk.create_dir(dir)?;
        match partition_metadata::read(&*self.disk, dir)? {
            Some(found) => Ok(found == topic_id),
            None => {
                partition_metadata::write(&*self.disk, dir, topic_id)?;
                self.disk.sync_dir(log_dir.path())?;
                Ok(true)
            }
        }
    }

    fn register(&self, log: &UnifiedLog) {
        self.views.lock().insert(log.view().id(), Arc::clone(log.view()));
    }
}

/// A directory that works with what its meta.properties says, or one that does not with why.
type Claimed = Result<(Dir, MetaProperties), (Dir, StorageError)>;

/// Locks a directory and reads whose it is.
fn claim(start: &mut StartLogDirs<'_>, path: &Path) -> Result<Claimed, StartError> {
    let disk = Arc::clone(&start.disk);
    let offline = |error: &io::Error| {
        let log_dir = Arc::new(LogDir::new(path, None, start.listener.clone()));
        let error = log_dir.fail("start", error);
        (Dir { log_dir, lock: Mutex::default(), clean: None, checkpointing: Mutex::default() }, error)
    };
    let lock = match disk.create_dir(path).and_then(|()| disk.lock(&path.join(LOCK_FILE))) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(StartError::Locked { dir: path.to_owned() });
        }
        Err(error) => return Ok(Err(offline(&error))),
    };
    let mut meta = match MetaProperties::read(&*disk, path) {
        Ok(Some(meta)) => meta,
        Ok(None) => return Err(StartError::NotFormatted { dir: path.to_owned() }),
        Err(MetaPropertiesError::Disk { error, .. }) => return Ok(Err(offline(&error))),
        Err(error) => return Err(error.into()),
    };
    let prepared = (|| {
        if meta.directory_id.is_none() && meta.version >= 1 {
            meta.directory_id = Some((start.new_directory_id)());
            meta.write(&*disk, path, start.now)?;
        }
        for name in [checkpoint::RECOVERY_POINT, checkpoint::REPLICATION, checkpoint::LOG_START, checkpoint::CLEANER] {
            disk.open(&path.join(name), Open::CREATE)?;
        }
        clean_shutdown::read(&*disk, path)
    })();
    let clean = match prepared {
        Ok(clean) => clean,
        Err(error) => return Ok(Err(offline(&error))),
    };
    let log_dir = Arc::new(LogDir::new(path, meta.directory_id, start.listener.clone()));
    Ok(Ok((Dir { log_dir, lock: Mutex::new(Some(lock)), clean, checkpointing: Mutex::default() }, meta)))
}
