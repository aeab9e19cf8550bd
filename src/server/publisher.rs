//! From committed metadata to what the broker has: its authorizer, its credentials, its partitions.
//!
//! Rights and credentials are put in force on the metadata log's own thread, before anybody is answered who changed them.
//! Partitions need the disk: a task of the broker's runtime makes and removes their logs, and whoever must know waits for
//! the offset it has come to. Precedent: Kafka's `BrokerMetadataPublisher`.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::controller::ControllerHandle;
use super::dynamic::Obeying;
use super::metadata_log::{Committed, Subscriber};
use super::topic_configs::partition_settings;
use crate::config::BrokerConfig;
use crate::controller::{AssignReplicasToDirs, ControllerRequest, Random};
use crate::log::manager::{CreateLog, LogManager};
use crate::metadata::configs::ConfigResourceType;
use crate::metadata::delta::{Change, MetadataDelta, TopicChange, Touched};
use crate::metadata::image::MetadataImage;
use crate::metadata::topics::{PartitionImage, TopicImage, directory_id};
use crate::model::time::Clock;
use crate::model::topic::{TopicIdPartition, TopicPartition};
use crate::model::uuid::Uuid;
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::assignment::Assignment;
use crate::security::authorizer::native::{AclChange, NativeAuthorizer};
use crate::security::credentials::{ScramChange, ScramCredentials};

/// What was committed and is not applied to the partitions yet. It grows with the things that change, not with how
/// often they do.
#[derive(Debug)]
pub struct Backlog {
    waiting: Mutex<Option<Waiting>>,
    wake: Notify,
}

#[derive(Debug)]
struct Waiting {
    before: Arc<MetadataImage>,
    after: Arc<MetadataImage>,
    touched: Touched,
    offset: i64,
}

impl Backlog {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::new(None), wake: Notify::new() })
    }

    fn add(&self, committed: &Committed<'_>) {
        let mut waiting = self.waiting.lock();
        match &mut *waiting {
            Some(waiting) => {
                waiting.after = Arc::clone(&committed.delta.after);
                waiting.touched.add(committed.delta.touched().clone());
                waiting.offset = committed.offset;
            }
            None => {
                *waiting = Some(Waiting {
                    before: Arc::clone(&committed.delta.before),
                    after: Arc::clone(&committed.delta.after),
                    touched: committed.delta.touched().clone(),
                    offset: committed.offset,
                });
            }
        }
        drop(waiting);
        self.wake.notify_one();
    }

    /// All of it, with the offset it reaches.
    pub(super) fn take(&self) -> Option<(MetadataDelta, i64)> {
        let Waiting { before, after, touched, offset } = self.waiting.lock().take()?;
        Some((MetadataDelta::new(before, after, touched), offset))
    }

    async fn next(&self) -> (MetadataDelta, i64) {
        loop {
            if let Some(next) = self.take() {
                return next;
            }
            self.wake.notified().await;
        }
    }
}

/// Puts rights and credentials in force, and leaves the rest for the partitions' task.
pub fn subscriber(
    authorizer: Option<Arc<NativeAuthorizer>>,
    scram: Arc<ScramCredentials>,
    replicas: Arc<ReplicaManager>,
    backlog: Arc<Backlog>,
) -> Subscriber {
    Box::new(move |committed| {
        let delta = committed.delta;
        if let Some(authorizer) = &authorizer {
            let changes: Vec<AclChange> = delta
                .acls()
                .map(|(id, change)| match change {
                    Change::Set(binding) => AclChange::Add(id, binding.clone()),
                    Change::Removed => AclChange::Remove(id),
                })
                .collect();
            let changed = !changes.is_empty();
            authorizer.apply(changes, committed.offset);
            if changed {
                replicas.authorization_changed();
            }
        }
        let credentials: Vec<ScramChange> = delta
            .scram()
            .map(|(key, change)| match change {
                Change::Set(credential) => ScramChange::Set {
                    user: Arc::clone(&key.user),
                    mechanism: key.mechanism,
                    credential: credential.clone(),
                },
                Change::Removed => ScramChange::Remove { user: Arc::clone(&key.user), mechanism: key.mechanism },
            })
            .collect();
        if !credentials.is_empty() {
            scram.apply(credentials);
        }
        backlog.add(committed);
    })
}

/// Applies what is committed to the partitions, and says so.
#[derive(Debug)]
pub struct PartitionPublisher {
    pub partitions: Partitions,
    pub controller: ControllerHandle,
    pub obeying: Arc<Obeying>,
    pub broker_epoch: watch::Receiver<i64>,
    pub applied: watch::Sender<i64>,
    /// Counts deletions of topics.
    pub deletions: watch::Sender<u64>,
}

impl PartitionPublisher {
    /// Applies whatever is committed, for ever.
    pub async fn run<R: Random + Clone>(self, backlog: Arc<Backlog>, mut random: R) {
        loop {
            let (delta, offset) = backlog.next().await;
            if delta.writes_broker_configs() {
                self.obeying.apply(&delta.after);
            }
            let placed = self.partitions.apply(&delta, &mut random).await;
            self.applied.send_replace(offset);
            if delta.topics().iter().any(|change| matches!(change, TopicChange::Deleted(_))) {
                self.deletions.send_modify(|count| *count += 1);
            }
            self.report(placed);
        }
    }

    fn report(&self, placed: Vec<(Uuid, TopicIdPartition)>) {
        if placed.is_empty() {
            return;
        }
        let request = AssignReplicasToDirs {
            broker: self.partitions.config.node_id,
            broker_epoch: *self.broker_epoch.borrow(),
            assignments: placed,
        };
        let answer = self.controller.submit(ControllerRequest::AssignReplicasToDirs(request));
        tokio::task::spawn_local(async move {
            if let Err(error) = answer.await {
                tracing::warn!(target: "schloss.server", "the controller did not take the replicas' directories: {error}");
            }
        });
    }
}

/// Makes the partitions what the metadata says.
#[derive(Debug)]
pub struct Partitions {
    pub config: Arc<BrokerConfig>,
    pub logs: Arc<LogManager>,
    pub replicas: Arc<ReplicaManager>,
    pub clock: Arc<dyn Clock>,
}

impl Partitions {
    /// Done when every lane has followed. Returns where partitions were put whose directory the controller does not know
    /// yet.
    pub(super) async fn apply(&self, delta: &MetadataDelta, random: &mut impl Random) -> Vec<(Uuid, TopicIdPartition)> {
        let mut placed = Vec::new();
        // What is there at the start may lie in a directory that is not.
        let is_start = delta.before.offset() < 0;
        for change in delta.topics() {
            match change {
                TopicChange::Deleted(topic) => self.delete(topic, random).await,
                TopicChange::Created(topic) => {
                    for (index, partition) in topic.partitions() {
                        let wanted = Wanted { topic, index, partition, is_new: !is_start };
                        self.take(&delta.after, &wanted, random, &mut placed);
                    }
                }
                TopicChange::Changed { before, after } => {
                    for (index, partition) in after.partitions() {
                        let known = before.partition(index);
                        if known != Some(partition) {
                            let wanted = Wanted { topic: after, index, partition, is_new: known.is_none() };
                            self.take(&delta.after, &wanted, random, &mut placed);
                        }
                    }
                }
            }
        }
        self.configure(delta);
        if !delta.touched().topics.is_empty() {
            self.replicas.settled().await;
        }
        placed
    }

    /// Makes the partition's log if this node should have one, and tells its lane what it is here.
    fn take(
        &self,
        image: &MetadataImage,
        wanted: &Wanted<'_>,
        random: &mut impl Random,
        placed: &mut Vec<(Uuid, TopicIdPartition)>,
    ) {
        let Wanted { topic, index, partition, is_new } = *wanted;
        let node = self.config.node_id;
        if !partition.replicas.contains(&node) {
            return;
        }
        let id = TopicIdPartition { topic_id: topic.id, partition: index };
        let name = TopicPartition { topic: topic.name.clone(), partition: index };
        if self.replicas.find(id).is_none() {
            let settings = partition_settings(&self.config, image, topic.name.as_str());
            let directory = partition.directory(node).filter(|id| !directory_id::is_reserved(*id));
            let create = CreateLog {
                topic_partition: name.clone(),
                topic_id: topic.id,
                config: Arc::clone(&settings.log),
                directory_id: directory,
                is_new,
                now: self.clock.wall(),
                seed: seed(random),
            };
            match self.logs.create(create) {
                Ok(log) => {
                    let put = log.log_dir().id();
                    self.replicas.host(log, index, settings);
                    if let Some(put) = put.filter(|put| Some(*put) != directory) {
                        placed.push((put, id));
                    }
                }
                Err(error) => {
                    tracing::error!(target: "schloss.log", "partition {name} can't be made: {error}");
                    self.replicas.host_offline(id, name);
                }
            }
        }
        self.replicas.assign(id, assignment(partition));
    }

    async fn delete(&self, topic: &TopicImage, random: &mut impl Random) {
        let released: Vec<_> = topic
            .partitions()
            .map(|(index, _)| self.replicas.release(TopicIdPartition { topic_id: topic.id, partition: index }))
            .collect();
        for completion in released {
            if let Ok(Some(log)) = completion.await {
                let name = log.topic_partition().clone();
                if let Err(error) = self.logs.delete(*log, uuid(random)) {
                    tracing::error!(target: "schloss.log", "the log of {name} can't be removed: {error}");
                }
            }
        }
    }

    fn configure(&self, delta: &MetadataDelta) {
        let mut topics: BTreeSet<&str> = BTreeSet::new();
        for resource in delta.configs() {
            match resource.resource_type {
                ConfigResourceType::TOPIC => {
                    topics.insert(&resource.name);
                }
                ConfigResourceType::BROKER => topics.extend(delta.after.topics.iter().map(|t| t.name.as_str())),
                _ => {}
            }
        }
        for topic in topics.into_iter().filter_map(|name| delta.after.topics.by_name(name)) {
            let settings = partition_settings(&self.config, &delta.after, topic.name.as_str());
            for (index, _) in topic.partitions() {
                let id = TopicIdPartition { topic_id: topic.id, partition: index };
                self.replicas.configure(id, settings.clone());
            }
        }
    }
}

/// A partition that the metadata speaks of.
struct Wanted<'a> {
    topic: &'a TopicImage,
    index: i32,
    partition: &'a PartitionImage,
    is_new: bool,
}

/// What the metadata says of a partition, as its lane wants it.
pub fn assignment(partition: &PartitionImage) -> Assignment {
    Assignment {
        leader: partition.leader,
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        replicas: partition.replicas.clone(),
        isr: partition.isr.clone(),
    }
}

pub(super) fn seed(random: &mut impl Random) -> u64 {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

pub(super) fn uuid(random: &mut impl Random) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        if let Some(id) = Uuid::from_random(bytes) {
            return id;
        }
    }
}
