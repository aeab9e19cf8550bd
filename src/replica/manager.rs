//! Which partitions are here, and who may be taken to them (`ReplicaManager`): routing, nothing else.
//!
//! A partition is found by its topic's *id*. What is read or written goes through [`TopicReader`], [`TopicDescriber`] or
//! [`TopicWriter`], and those are had for a permit only, which they consume. Roles, configurations and deletions come from
//! the metadata's publisher and go to the partitions' lanes.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rpds::HashTrieMapSync;

use crate::log::cleaner::{CleanedSegment, Compaction};
use crate::log::log_dir::LogDir;
use crate::log::producer_state::ProducerEntry;
use crate::log::unified_log::UnifiedLog;
use crate::model::broker::BrokerId;
use crate::model::time::Clock;
use crate::model::topic::{TopicId, TopicIdPartition, TopicPartition};
use crate::security::authorizer::permit::{Permit, op};

use super::access::AccessError;
use super::completion::{Completion, completion};
use super::doorbell::Wakes;
use super::fetch_session::cache::FetchSessionCache;
use super::lane::Lane;
use super::lane::command::{Command, RecordsError};
use super::partition::assignment::Assignment;
use super::partition::settings::PartitionSettings;
use super::partition::{Partition, PartitionState};
use super::reader::{TopicDescriber, TopicReader};
use super::watchers::Marks;
use super::writer::TopicWriter;

/// The partitions of this node.
#[derive(Debug)]
pub struct ReplicaManager {
    node_id: BrokerId,
    clock: Arc<dyn Clock>,
    lanes: Vec<DirectoryLanes>,
    partitions: ArcSwap<HashTrieMapSync<TopicIdPartition, Arc<Partition>>>,
    /// One change of `partitions` at a time.
    changing: Mutex<()>,
    sessions: FetchSessionCache,
    /// Marks of fetches without a session that wait.
    waiting: Mutex<Waiting>,
}

/// The lanes of one log directory; its partitions are spread over them.
#[derive(Debug, Clone)]
pub struct DirectoryLanes {
    pub log_dir: Arc<LogDir>,
    /// At least one.
    pub lanes: Vec<Arc<Lane>>,
}

/// A log directory and the sizes of what lies in it, in bytes.
#[derive(Debug)]
pub struct DescribedLogDir {
    pub log_dir: Arc<LogDir>,
    pub partitions: Vec<(TopicPartition, u64)>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// At most twice the fetches that wait at the moment, one a connection.
    marks: Vec<Weak<Marks>>,
    sweep_at: usize,
}

impl ReplicaManager {
    pub fn new(
        node_id: BrokerId,
        lanes: Vec<DirectoryLanes>,
        fetch_session_slots: usize,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            node_id,
            clock,
            lanes,
            partitions: ArcSwap::default(),
            changing: Mutex::default(),
            sessions: FetchSessionCache::new(fetch_session_slots),
            waiting: Mutex::default(),
        }
    }

    pub fn node_id(&self) -> BrokerId {
        self.node_id
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    pub fn sessions(&self) -> &FetchSessionCache {
        &self.sessions
    }

    pub fn lanes(&self) -> &[DirectoryLanes] {
        &self.lanes
    }

    /// A partition, if this node has it.
    pub fn find(&self, id: TopicIdPartition) -> Option<Arc<Partition>> {
        self.partitions.load().get(&id).cloned()
    }

    /// All partitions, in no order.
    pub fn partitions(&self) -> Vec<Arc<Partition>> {
        self.partitions.load().values().cloned().collect()
    }

    /// Opens a topic's partitions for reading.
    pub fn reader(&self, permit: Permit<op::Read>) -> TopicReader {
        TopicReader::new(permit)
    }

    /// Opens every partition for a follower's fetch.
    pub fn replica_reader(&self, permit: Permit<op::ClusterAction>, replica: BrokerId) -> TopicReader {
        TopicReader::for_replica(permit, replica)
    }

    /// Opens a topic's partitions for questions about offsets.
    pub fn describer(&self, permit: Permit<op::Describe>) -> TopicDescriber {
        TopicDescriber::new(permit)
    }

    /// The same on every partition, for brokers.
    pub fn replica_describer(&self, permit: Permit<op::ClusterAction>) -> TopicDescriber {
        TopicDescriber::for_replica(permit)
    }

    /// Opens a topic's partitions for writing.
    pub fn writer(&self, permit: Permit<op::Write>) -> TopicWriter {
        TopicWriter::new(permit)
    }

    /// Takes records away from the beginning of a partition of the permit's topic, up to `offset` (-1: the high watermark).
    /// The answer is where the log starts.
    pub fn delete_records(
        &self,
        permit: &Permit<op::Delete>,
        partition: i32,
        offset: i64,
    ) -> Completion<Result<i64, RecordsError>> {
        let (done, answer) = completion();
        let id = TopicIdPartition { topic_id: TopicId(permit.topic_id().unwrap_or_default()), partition };
        match self.find(id).as_ref().map(|partition| partition.lane().cloned()) {
            Some(Some(lane)) => lane.command(Command::DeleteRecords { partition: id, offset, done }),
            Some(None) => done.complete(Err(AccessError::StorageFailed.into()), &mut Wakes::default()),
            None => done.complete(Err(AccessError::UnknownPartition.into()), &mut Wakes::default()),
        }
        answer
    }

    /// What the leader of a partition of the permit's topic remembers of producers.
    pub fn describe_producers(
        &self,
        permit: &Permit<op::Read>,
        partition: i32,
    ) -> Completion<Result<Vec<ProducerEntry>, AccessError>> {
        let (done, answer) = completion();
        let id = TopicIdPartition { topic_id: TopicId(permit.topic_id().unwrap_or_default()), partition };
        match self.find(id).as_ref().map(|partition| partition.lane().cloned()) {
            Some(Some(lane)) => lane.command(Command::DescribeProducers { partition: id, done }),
            Some(None) => done.complete(Err(AccessError::StorageFailed), &mut Wakes::default()),
            None => done.complete(Err(AccessError::UnknownPartition), &mut Wakes::default()),
        }
        answer
    }

    /// Sets off a round of compaction; `None` where there is nothing to do, or the partition is not here.
    pub fn begin_compaction(
        &self,
        partition: TopicIdPartition,
        checkpoint: Option<i64>,
    ) -> Completion<Option<Compaction>> {
        let (done, begun) = completion();
        match self.find(partition).as_ref().and_then(|partition| partition.lane()) {
            Some(lane) => lane.command(Command::BeginCompaction { partition, checkpoint, done }),
            None => done.complete(None, &mut Wakes::default()),
        }
        begun
    }

    /// Puts what a round has written in the place of what it was written from. Says whether that was done.
    pub fn put_in_place(&self, partition: TopicIdPartition, cleaned: CleanedSegment) -> Completion<bool> {
        let (done, placed) = completion();
        match self.find(partition).as_ref().and_then(|partition| partition.lane()) {
            Some(lane) => lane.command(Command::PutInPlace { partition, cleaned, done }),
            None => done.complete(false, &mut Wakes::default()),
        }
        placed
    }

    /// What lies in which log directory. The permit is for the cluster.
    pub fn describe_log_dirs(&self, permit: Permit<op::Describe>) -> Vec<DescribedLogDir> {
        drop(permit);
        let partitions = self.partitions();
        let of = |directory: &DirectoryLanes| {
            let inside = partitions.iter().filter_map(|partition| {
                let view = partition.view()?;
                let is_here = view.log_dir().path() == directory.log_dir.path();
                is_here.then(|| (partition.name().clone(), view.size_in_bytes()))
            });
            DescribedLogDir { log_dir: Arc::clone(&directory.log_dir), partitions: inside.collect() }
        };
        self.lanes.iter().map(of).collect()
    }

    /// From here on this node has `log`. Its role follows with [`Self::assign`]. A log in a directory that has no lanes is
    /// a mistake of the caller's and panics.
    pub fn host(&self, log: UnifiedLog, partition: i32, settings: PartitionSettings) -> Arc<Partition> {
        let id = TopicIdPartition { topic_id: log.topic_id(), partition };
        let lane = self.lane_for(log.log_dir(), id);
        let partition = Arc::new(Partition::new(id, Arc::clone(&lane), Arc::clone(log.view()), settings));
        lane.command(Command::Host { partition: Arc::clone(&partition), log: Box::new(log) });
        self.insert(Arc::clone(&partition));
        partition
    }

    /// This node should have the partition, but its log directory is offline.
    pub fn host_offline(&self, id: TopicIdPartition, name: TopicPartition) {
        self.insert(Arc::new(Partition::offline(id, name)));
    }

    /// The metadata says who leads a partition that this node has.
    pub fn assign(&self, id: TopicIdPartition, assignment: Assignment) {
        if let Some(lane) = self.find(id).as_ref().and_then(|partition| partition.lane()) {
            lane.command(Command::Assign { partition: id, assignment });
        }
    }

    /// Ready when every lane has carried out what it was told before: roles are taken, logs are hosted.
    pub async fn settled(&self) {
        let lanes = self.lanes.iter().flat_map(|directory| &directory.lanes);
        let waits: Vec<Completion<()>> = lanes
            .map(|lane| {
                let (done, wait) = completion();
                lane.command(Command::Settle { done });
                wait
            })
            .collect();
        for wait in waits {
            // A lane that is closed has nothing more to carry out.
            let _ = wait.await;
        }
    }

    /// The topic's configuration has changed.
    pub fn configure(&self, id: TopicIdPartition, settings: PartitionSettings) {
        if let Some(lane) = self.find(id).as_ref().and_then(|partition| partition.lane()) {
            lane.command(Command::Configure { partition: id, settings });
        }
    }

    /// This node no longer has the partition: who waits is answered, and its log is handed back when the lane is done with
    /// it. `None` when there was none, or its directory is offline.
    pub fn release(&self, id: TopicIdPartition) -> Completion<Option<Box<UnifiedLog>>> {
        let (released, completion) = completion();
        let removed = {
            let _changing = self.changing.lock();
            let partitions = self.partitions.load();
            let removed = partitions.get(&id).cloned();
            self.partitions.store(Arc::new(partitions.remove(&id)));
            removed
        };
        match removed.as_ref().and_then(|partition| partition.lane()) {
            Some(lane) => lane.command(Command::Release { partition: id, released }),
            None => released.complete(None, &mut Wakes::default()),
        }
        if let Some(partition) = removed
            && partition.status().state == PartitionState::Offline
        {
            partition.watchers().changed(&mut Wakes::default());
        }
        completion
    }

    /// A log directory went offline: its lanes answer so from here on. Called by whoever met the failure.
    pub fn directory_failed(&self, log_dir: &LogDir) {
        for directory in self.lanes.iter().filter(|directory| directory.log_dir.path() == log_dir.path()) {
            directory.lanes.iter().for_each(|lane| lane.command(Command::DirectoryFailed));
        }
    }

    /// The authorizer's rules have changed: fetches that wait look again at what they may.
    pub fn authorization_changed(&self) {
        let mut wakes = Wakes::default();
        self.sessions.authorization_changed(&mut wakes);
        let waiting: Vec<Arc<Marks>> = self.waiting.lock().marks.iter().filter_map(Weak::upgrade).collect();
        waiting.iter().for_each(|marks| marks.mark_all(&mut wakes));
    }

    /// A fetch without a session is about to wait: [`Self::authorization_changed`] shall reach it.
    pub fn watch_authorization(&self, marks: &Arc<Marks>) {
        const SWEEP_LEAST: usize = 64;
        let mut waiting = self.waiting.lock();
        if waiting.marks.len() >= waiting.sweep_at {
            waiting.marks.retain(|marks| marks.strong_count() > 0);
            waiting.sweep_at = (waiting.marks.len() * 2).max(SWEEP_LEAST);
        }
        waiting.marks.push(Arc::downgrade(marks));
    }

    fn insert(&self, partition: Arc<Partition>) {
        let _changing = self.changing.lock();
        let partitions = self.partitions.load();
        self.partitions.store(Arc::new(partitions.insert(partition.id(), partition)));
    }

    fn lane_for(&self, log_dir: &Arc<LogDir>, id: TopicIdPartition) -> Arc<Lane> {
        let directory = self.lanes.iter().find(|directory| directory.log_dir.path() == log_dir.path());
        let lanes = directory.map_or(&[][..], |directory| &directory.lanes);
        assert!(!lanes.is_empty(), "no lane for {}", log_dir.path().display());
        Arc::clone(&lanes[spread(id) % lanes.len()])
    }
}

/// Neighbouring partitions of a topic on different lanes.
fn spread(id: TopicIdPartition) -> usize {
    let TopicId(uuid) = id.topic_id;
    let start = uuid.as_bytes().iter().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(usize::from(*byte)));
    start.wrapping_add(usize::try_from(id.partition).unwrap_or(0))
}
