//! What the room's tests stand on: a disk in memory, a clock that tests move, partitions on lanes.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use bytes::Bytes;

use crate::log::config::LogConfig;
use crate::log::index_file::Access;
use crate::log::log_dir::LogDir;
use crate::log::storage::{Disk, FaultyDisk};
use crate::log::unified_log::{OpenLog, UnifiedLog};
use crate::model::broker::BrokerId;
use crate::model::listener::ListenerName;
use crate::model::principal::KafkaPrincipal;
use crate::model::time::{Clock, Mono, Wall};
use crate::model::topic::{TopicId, TopicIdPartition, TopicPartition};
use crate::model::uuid::Uuid;
use crate::protocol::record_batch::{BatchBuilder, batches};
use crate::security::authorizer::Requester;
use crate::security::authorizer::open::OpenAuthorizer;
use crate::security::authorizer::permit::{Operation, Permit, Resource, admit_one};

use super::ReplicaManager;
use super::delayed_produce::{PartitionOutcome, ProduceWait};
use super::fetch_session::entries::FetchPartition;
use super::lane::command::Acks;
use super::lane::{Lane, LaneSettings};
use super::manager::DirectoryLanes;
use super::partition::assignment::Assignment;
use super::partition::settings::PartitionSettings;
use super::partition::{FetchError, IsolationLevel, Partition, PartitionRead, ReadLimit};

pub(crate) const NODE: BrokerId = BrokerId(1);
const DIR: &str = "/logs";

#[derive(Debug, Default)]
pub(crate) struct TestClock {
    pub(crate) mono: AtomicU64,
    pub(crate) wall: AtomicI64,
}

impl Clock for TestClock {
    fn mono(&self) -> Mono {
        Mono(self.mono.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Wall {
        Wall(self.wall.load(Ordering::SeqCst))
    }
}

/// One log directory in memory and the lanes over it. Lanes work when [`Self::work`] is called, or on their own threads
/// once [`Self::start`] was.
pub(crate) struct Bench {
    pub(crate) disk: FaultyDisk,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) replicas: Arc<ReplicaManager>,
    pub(crate) lanes: Vec<Arc<Lane>>,
    log_dir: Arc<LogDir>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Bench {
    pub(crate) fn new(lanes: usize, strict: bool) -> Self {
        let disk = FaultyDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        let clock = Arc::new(TestClock::default());
        clock.mono.store(1, Ordering::SeqCst);
        clock.wall.store(1_000, Ordering::SeqCst);
        let log_dir = Arc::new(LogDir::new(DIR, None, None));
        let settings = LaneSettings { node_id: NODE, strict };
        let lanes: Vec<_> = (0..lanes)
            .map(|_| Arc::new(Lane::new(Arc::clone(&log_dir), settings.clone(), Arc::<TestClock>::clone(&clock))))
            .collect();
        let directory = DirectoryLanes { log_dir: Arc::clone(&log_dir), lanes: lanes.clone() };
        let replicas = Arc::new(ReplicaManager::new(NODE, vec![directory], 100, Arc::<TestClock>::clone(&clock)));
        Self { disk, clock, replicas, lanes, log_dir, threads: Vec::new() }
    }

    /// A partition that this node leads, alone.
    pub(crate) fn partition(&self, topic: u128, partition: i32, config: LogConfig) -> Arc<Partition> {
        let hosted = self.hosted(topic, partition, config);
        self.replicas.assign(hosted.id(), assignment(1, 0, &[1], &[1]));
        self.work();
        hosted
    }

    pub(crate) fn hosted(&self, topic: u128, partition: i32, config: LogConfig) -> Arc<Partition> {
        let log = self.open(topic, partition, config.clone());
        let settings = PartitionSettings { log: Arc::new(config), compression: None };
        self.replicas.host(log, partition, settings)
    }

    pub(crate) fn open(&self, topic: u128, partition: i32, config: LogConfig) -> UnifiedLog {
        let dir = PathBuf::from(format!("{DIR}/t{topic}-{partition}"));
        self.disk.create_dir(&dir).unwrap();
        UnifiedLog::open(OpenLog {
            disk: Arc::new(self.disk.clone()),
            dir,
            log_dir: Arc::clone(&self.log_dir),
            topic_partition: TopicPartition::new(format!("t{topic}"), partition),
            topic_id: TopicId(Uuid::from_u128(topic)),
            config: Arc::new(config),
            log_start_offset: 0,
            recovery_point: 0,
            high_watermark: 0,
            compacted: false,
            clean: false,
            now: Wall(0),
            seed: 1,
        })
        .unwrap()
    }

    /// Carries out what stands in the lanes' queues.
    pub(crate) fn work(&self) {
        if self.threads.is_empty() {
            for lane in &self.lanes {
                lane.drain();
            }
        }
    }

    /// Gives each lane its thread.
    pub(crate) fn start(&mut self) {
        self.threads = self
            .lanes
            .iter()
            .map(|lane| {
                let lane = Arc::clone(lane);
                std::thread::spawn(move || {
                    while !lane.is_closed() {
                        lane.work(Duration::from_millis(100));
                    }
                    lane.drain();
                })
            })
            .collect();
    }

    /// Sets off one append of one partition.
    pub(crate) fn produce(&self, partition: &Arc<Partition>, records: Bytes, acks: Acks) -> ProduceWait {
        let (wait, mut slots) = ProduceWait::new(1);
        let writer = self.replicas.writer(permit(partition.id()));
        writer.append(partition, records, acks, true, self.clock.wall(), slots.next().unwrap()).unwrap();
        wait
    }

    pub(crate) fn produce_now(&self, partition: &Arc<Partition>, records: Bytes, acks: Acks) -> PartitionOutcome {
        let wait = self.produce(partition, records, acks);
        self.work();
        outcome(wait)
    }

    pub(crate) fn read(&self, partition: &Partition, offset: i64) -> Result<PartitionRead, FetchError> {
        let reader = self.replicas.reader(permit(partition.id()));
        let limit = ReadLimit { max_bytes: 1 << 20, at_least_one: true };
        reader.read(partition, &from(partition.id(), offset), IsolationLevel::ReadUncommitted, limit, Access::Blocking)
    }

    /// Every value from `offset` to the high watermark, with its offset.
    pub(crate) fn values(&self, partition: &Partition, mut offset: i64) -> Vec<(i64, Bytes)> {
        let mut values = Vec::new();
        while let Some(range) = self.read(partition, offset).unwrap().range {
            let mut bytes = vec![0; range.len as usize];
            range.read_at(0, &mut bytes).unwrap();
            let bytes = Bytes::from(bytes);
            for batch in batches(&bytes) {
                let Ok(batch) = batch else { break };
                for record in batch.records() {
                    let record = record.unwrap();
                    let at = batch.header().base_offset + i64::from(record.offset_delta);
                    if at >= offset {
                        values.push((at, Bytes::copy_from_slice(record.value.unwrap())));
                    }
                }
                offset = batch.header().next_offset();
            }
        }
        values
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.lanes.iter().for_each(|lane| lane.close());
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// A client's permit, from an authorizer that allows everything.
pub(crate) fn permit<O: Operation>(id: TopicIdPartition) -> Permit<O> {
    let (principal, listener) = (KafkaPrincipal::user("alice"), ListenerName::new("PLAINTEXT"));
    let who = Requester { principal: &principal, host: "127.0.0.1", listener: &listener, request: "Test" };
    let resource = Resource::Topic { id: id.topic_id.0, name: "t".into() };
    admit_one(&OpenAuthorizer, &who, 1, resource).into_ready().unwrap().unwrap()
}

pub(crate) fn assignment(leader: i32, leader_epoch: i32, replicas: &[i32], isr: &[i32]) -> Assignment {
    Assignment {
        leader: BrokerId(leader),
        leader_epoch,
        partition_epoch: leader_epoch,
        replicas: replicas.iter().copied().map(BrokerId).collect(),
        isr: isr.iter().copied().map(BrokerId).collect(),
    }
}

pub(crate) fn from(id: TopicIdPartition, fetch_offset: i64) -> FetchPartition {
    FetchPartition {
        partition: id.partition,
        fetch_offset,
        max_bytes: 1 << 20,
        current_leader_epoch: -1,
        last_fetched_epoch: -1,
        log_start_offset: -1,
    }
}

pub(crate) fn batch<V: AsRef<[u8]>>(values: &[V]) -> Bytes {
    producer_batch(values, -1, -1, -1)
}

/// With this timestamp.
pub(crate) fn timed_batch(timestamp_ms: i64, values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.append(timestamp_ms, None, Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build()
}

pub(crate) fn producer_batch<V: AsRef<[u8]>>(values: &[V], id: i64, epoch: i16, sequence: i32) -> Bytes {
    let mut builder = BatchBuilder::new(0).producer(id, epoch, sequence);
    for value in values {
        builder.append(1_000, None, Some(value.as_ref()), &[]).unwrap();
    }
    builder.build()
}

pub(crate) fn is_done(wait: &ProduceWait) -> bool {
    wait.poll_done(&Context::from_waker(Waker::noop())).is_ready()
}

pub(crate) fn outcome(wait: ProduceWait) -> PartitionOutcome {
    assert!(is_done(&wait), "the write is not answered");
    wait.finish().pop().unwrap()
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[allow(clippy::disallowed_methods, reason = "a test's patience is real time")]
/// Runs a future on this thread. Panics when nothing wakes it for ten seconds: somebody lost a wake-up.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    let mut stale = 0;
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => {
                assert!(stale < 100, "nothing wakes this task");
                let before = std::time::Instant::now();
                std::thread::park_timeout(Duration::from_millis(100));
                let is_timeout = before.elapsed() >= Duration::from_millis(100);
                stale = if is_timeout { stale + 1 } else { 0 };
            }
        }
    }
}
