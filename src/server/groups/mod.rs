//! The group coordinator's driver: one task owns every shard that this broker leads.
//!
//! Requests come over a bounded mailbox and are judged in their order. The metadata says which partitions of
//! `__consumer_offsets` are led here: each is read from its log off this thread, then serves; a partition that is led
//! elsewhere is dropped, and who waits is sent there. Appends go through the partition's lane with the broker's own permit,
//! and what rests on them is answered when they are committed. Precedent: Kafka's `CoordinatorRuntime`.

mod load;
mod slot;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};

use self::slot::{Appended, Slot, append};
use crate::config::BrokerConfig;
use crate::coordinator::group::{
    Action, AppendId, Context, GroupRequest, GroupResponse, GroupSettings, ReplyTo, Shard, partition_of,
};
use crate::handlers::context::{GroupListing, Groups, ImageHandle};
use crate::metadata::image::MetadataImage;
use crate::model::broker::BrokerId;
use crate::model::compression::CompressionType;
use crate::model::error_code::ErrorCode;
use crate::model::random::Random;
use crate::model::time::{Clock, WallWatch};
use crate::model::topic::{TopicId, TopicIdPartition, TopicName};
use crate::protocol::messages::list_groups_response::ListedGroup;
use crate::replica::doorbell::Belled;
use crate::replica::manager::ReplicaManager;
use crate::replica::partition::PartitionState;

/// Requests that may wait for the coordinator.
const MAILBOX: usize = 10_000;
/// Requests that are judged before answers and deadlines get their turn.
const TURN: usize = 256;

/// What the coordinator stands on.
#[derive(Debug)]
pub struct Parts {
    pub node_id: BrokerId,
    pub image: ImageHandle,
    pub replicas: Arc<ReplicaManager>,
    pub clock: Arc<dyn Clock>,
    pub random: Box<dyn Random + Send>,
    pub settings: Arc<GroupSettings>,
    /// `offsets.topic.compression.codec`
    pub codec: CompressionType,
    /// `offsets.retention.check.interval.ms`
    pub expiry_interval: Duration,
    /// Moves when the partitions of this broker are what the metadata says.
    pub applied: watch::Receiver<i64>,
    /// Counts deletions of topics.
    pub deletions: watch::Receiver<u64>,
}

/// What the operator says of groups.
pub fn settings(config: &BrokerConfig) -> GroupSettings {
    let settings = &config.settings;
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let duration = |ms: i64| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    GroupSettings {
        min_session_timeout_ms: settings.group_min_session_timeout_ms,
        max_session_timeout_ms: settings.group_max_session_timeout_ms,
        initial_rebalance_delay: duration(settings.group_initial_rebalance_delay_ms.into()),
        max_size: count(settings.group_max_size),
        offset_metadata_max_bytes: count(settings.offset_metadata_max_bytes),
        offsets_retention: duration(i64::from(settings.offsets_retention_minutes) * 60_000),
    }
}

/// The way to the coordinator.
#[derive(Debug, Clone)]
pub struct GroupCoordinator {
    mailbox: mpsc::Sender<Message>,
}

#[derive(Debug)]
enum Message {
    Request(Box<GroupRequest>, oneshot::Sender<Result<GroupResponse, ErrorCode>>),
    List(GroupListing, oneshot::Sender<Result<Vec<ListedGroup>, ErrorCode>>),
}

impl Groups for GroupCoordinator {
    fn submit(&self, request: GroupRequest) -> BoxFuture<'static, Result<GroupResponse, ErrorCode>> {
        let (answer, answered) = oneshot::channel();
        self.post(Message::Request(Box::new(request), answer), answered)
    }

    fn list(&self, listing: GroupListing) -> BoxFuture<'static, Result<Vec<ListedGroup>, ErrorCode>> {
        let (answer, answered) = oneshot::channel();
        self.post(Message::List(listing, answer), answered)
    }
}

impl GroupCoordinator {
    /// A way to a coordinator, and the coordinator's end of it.
    pub fn new() -> (Self, GroupMailbox) {
        let (mailbox, messages) = mpsc::channel(MAILBOX);
        (Self { mailbox }, GroupMailbox(messages))
    }

    /// Puts a message into the mailbox now; its answer comes later.
    fn post<T: Send + 'static>(
        &self,
        message: Message,
        answered: oneshot::Receiver<Result<T, ErrorCode>>,
    ) -> BoxFuture<'static, Result<T, ErrorCode>> {
        let posted = self.mailbox.try_send(message).is_ok();
        // The last member that joins has the answers of all of them ready at once.
        let answered = Belled::new(answered);
        Box::pin(async move {
            if !posted {
                return Err(ErrorCode::CoordinatorNotAvailable);
            }
            answered.await.unwrap_or(Err(ErrorCode::NotCoordinator))
        })
    }
}

/// What [`run`] reads from.
#[derive(Debug)]
pub struct GroupMailbox(mpsc::Receiver<Message>);

/// Serves groups until every way to it is gone.
pub async fn run(parts: Parts, mut mailbox: GroupMailbox) {
    let mut applied = parts.applied.clone();
    let mut deletions = parts.deletions.clone();
    let mut driver = Driver::new(parts);
    let mut loads: FuturesUnordered<Loading> = FuturesUnordered::new();
    driver.follow_metadata();
    let mut expiry = tokio::time::interval(driver.parts.expiry_interval);
    expiry.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let until_timer = driver.until_next_timer();
        loads.extend(driver.take_loads().into_iter().map(off_this_thread));
        tokio::select! {
            message = mailbox.0.recv() => {
                let Some(message) = message else { return driver.stop() };
                driver.take(message);
                for _ in 1..TURN {
                    match mailbox.0.try_recv() {
                        Ok(message) => driver.take(message),
                        Err(_) => break,
                    }
                }
            }
            () = driver.next_appended(), if driver.is_appending() => {}
            Some(loaded) = loads.next(), if !loads.is_empty() => driver.loaded(loaded),
            () = tokio::time::sleep(until_timer) => driver.timers(),
            _ = expiry.tick() => driver.expire(),
            Ok(()) = applied.changed() => driver.follow_metadata(),
            Ok(()) = deletions.changed() => driver.forget_topics(),
        }
    }
}

type Loading = std::pin::Pin<Box<dyn Future<Output = Loaded>>>;
type Appending = std::pin::Pin<Box<dyn Future<Output = Appended>>>;

/// A shard to be read. [`LoadJob::run`] needs nothing but the partition; then give what came of it to
/// [`Driver::loaded`].
pub(super) struct LoadJob {
    place: TopicIdPartition,
    leader_epoch: i32,
    shard: Shard,
    replicas: Arc<ReplicaManager>,
}

/// A shard that was read, or why not.
pub(super) struct Loaded {
    partition: i32,
    leader_epoch: i32,
    shard: Result<Shard, load::LoadError>,
}

impl LoadJob {
    /// Reads it. Waits for the disk.
    pub(super) fn run(self) -> Loaded {
        let Self { place, leader_epoch, shard, replicas } = self;
        let shard = load::load(&replicas, place, leader_epoch, shard);
        Loaded { partition: place.partition, leader_epoch, shard }
    }
}

fn off_this_thread(job: LoadJob) -> Loading {
    let (partition, leader_epoch) = (job.place.partition, job.leader_epoch);
    Box::pin(async move {
        let given_up = |_| Loaded { partition, leader_epoch, shard: Err(load::LoadError::GivenUp) };
        tokio::task::spawn_blocking(move || job.run()).await.unwrap_or_else(given_up)
    })
}

/// Shards, who waits for what, and what is to be read. Driven by [`run`], or by a test.
pub(super) struct Driver {
    parts: Parts,
    /// `__consumer_offsets`, while there is one.
    topic: Option<TopicId>,
    partitions: i32,
    slots: BTreeMap<i32, Slot>,
    replies: HashMap<ReplyTo, oneshot::Sender<Result<GroupResponse, ErrorCode>>>,
    last_reply: u64,
    wall_watch: WallWatch,
    appends: FuturesUnordered<Appending>,
    loads: Vec<LoadJob>,
}

impl Driver {
    pub(super) fn new(parts: Parts) -> Self {
        Self {
            parts,
            topic: None,
            partitions: 0,
            slots: BTreeMap::new(),
            replies: HashMap::new(),
            last_reply: 0,
            wall_watch: WallWatch::default(),
            appends: FuturesUnordered::new(),
            loads: Vec::new(),
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Request(request, answer) => self.request(*request, answer),
            // Who no longer waits for the answer does not get it.
            Message::List(listing, answer) => drop(answer.send(self.list(&listing))),
        }
    }

    pub(super) fn request(&mut self, request: GroupRequest, answer: oneshot::Sender<Result<GroupResponse, ErrorCode>>) {
        let partition = partition_of(request.group(), self.partitions);
        let refusal = match self.slots.get(&partition) {
            Some(Slot::Serving { .. }) => None,
            // A member is not made to leave because its coordinator is young.
            Some(Slot::Loading { .. }) if matches!(request, GroupRequest::Heartbeat { .. }) => {
                Some(Ok(GroupResponse::Code(ErrorCode::None)))
            }
            Some(Slot::Loading { .. }) => Some(Err(ErrorCode::CoordinatorLoadInProgress)),
            Some(Slot::Failed { .. }) | None => Some(Err(ErrorCode::NotCoordinator)),
        };
        if let Some(refusal) = refusal {
            return drop(answer.send(refusal));
        }
        self.last_reply += 1;
        let to = ReplyTo(self.last_reply);
        self.replies.insert(to, answer);
        self.with(partition, |shard, cx| shard.request(cx, request, to));
    }

    /// Groups of every shard that is led here.
    fn list(&self, listing: &GroupListing) -> Result<Vec<ListedGroup>, ErrorCode> {
        let mut listed = Vec::new();
        for slot in self.slots.values() {
            match slot {
                Slot::Serving { shard, .. } => listed.extend(shard.list(&listing.states, &listing.types)),
                Slot::Loading { .. } => return Err(ErrorCode::CoordinatorLoadInProgress),
                Slot::Failed { .. } => {}
            }
        }
        Ok(listed)
    }

    /// Lets a shard work and carries out what it wants.
    fn with(&mut self, partition: i32, work: impl FnOnce(&mut Shard, &mut Context<'_>) -> Vec<Action>) {
        let Some(Slot::Serving { shard, .. }) = self.slots.get_mut(&partition) else { return };
        let (now, wall) = (self.parts.clock.mono(), self.parts.clock.wall());
        let mut cx = Context { now, wall, random: &mut *self.parts.random };
        let actions = work(shard, &mut cx);
        self.carry_out(partition, actions);
    }

    fn carry_out(&mut self, partition: i32, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Answer { to, response } => self.answer(to, Ok(response)),
                Action::Refuse { to, error } => self.answer(to, Err(error)),
                Action::Append { id, records } => {
                    let (Some(topic), Some(slot)) = (self.topic, self.slots.get_mut(&partition)) else { continue };
                    let leader_epoch = slot.leader_epoch();
                    slot.appending(id);
                    let place = TopicIdPartition { topic_id: topic, partition };
                    let appending =
                        append(&self.parts.replicas, place, &records, self.parts.codec, self.parts.clock.wall());
                    self.appends.push(Box::pin(async move {
                        let outcome = appending.await;
                        Appended { partition, leader_epoch, id, outcome }
                    }));
                }
            }
        }
    }

    fn answer(&mut self, to: ReplyTo, answer: Result<GroupResponse, ErrorCode>) {
        if let Some(waiting) = self.replies.remove(&to) {
            // Its connection may be gone.
            let _ = waiting.send(answer);
        }
    }

    pub(super) fn is_appending(&self) -> bool {
        !self.appends.is_empty()
    }

    /// Settles the next append that comes to its end. Dropping the future loses nothing.
    pub(super) async fn next_appended(&mut self) {
        if let Some(appended) = self.appends.next().await {
            self.appended(appended);
        }
    }

    /// Appends are settled in the order they were made, whatever order they end in.
    fn appended(&mut self, appended: Appended) {
        let partition = appended.partition;
        let settled: Vec<(AppendId, Result<(), ErrorCode>)> = match self.slots.get_mut(&partition) {
            Some(slot) if slot.leader_epoch() == appended.leader_epoch => slot.settle(appended.id, appended.outcome),
            _ => return,
        };
        for (id, outcome) in settled {
            self.with(partition, |shard, cx| match outcome {
                Ok(()) => shard.committed(cx, id),
                Err(error) => shard.append_failed(cx, id, error),
            });
        }
    }

    /// Takes in what the metadata says of `__consumer_offsets`.
    pub(super) fn follow_metadata(&mut self) {
        let image = self.parts.image.load_full();
        let topic = image.topics.by_name(TopicName::CONSUMER_OFFSETS);
        let id = topic.map(|topic| topic.id);
        if id != self.topic {
            self.drop_slots(|_| true);
            self.topic = id;
        }
        let Some(topic) = topic else { return };
        self.partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        let led: BTreeMap<i32, i32> = topic
            .partitions()
            .filter(|(_, partition)| partition.leader == self.parts.node_id)
            .map(|(index, partition)| (index, partition.leader_epoch))
            .collect();
        self.drop_slots(|(partition, slot)| led.get(partition) != Some(&slot.leader_epoch()));
        for (partition, leader_epoch) in led {
            // The metadata may be ahead of the partitions: when those have followed, this is asked again.
            let place = TopicIdPartition { topic_id: topic.id, partition };
            if !self.slots.contains_key(&partition) && self.is_led_here(place, leader_epoch) {
                self.load(topic.id, partition, leader_epoch);
            }
        }
    }

    fn is_led_here(&self, place: TopicIdPartition, leader_epoch: i32) -> bool {
        let status = self.parts.replicas.find(place).map(|partition| partition.status());
        status.is_some_and(|status| status.state == PartitionState::Leader && status.leader_epoch == leader_epoch)
    }

    fn drop_slots(&mut self, gone: impl Fn((&i32, &Slot)) -> bool) {
        let gone: Vec<i32> = self.slots.iter().filter(|slot| gone(*slot)).map(|(partition, _)| *partition).collect();
        for partition in gone {
            if let Some(Slot::Serving { mut shard, .. }) = self.slots.remove(&partition) {
                let actions = shard.unload();
                self.carry_out(partition, actions);
            }
        }
    }

    fn load(&mut self, topic_id: TopicId, partition: i32, leader_epoch: i32) {
        self.slots.insert(partition, Slot::Loading { leader_epoch });
        let place = TopicIdPartition { topic_id, partition };
        let shard = Shard::new(Arc::clone(&self.parts.settings));
        self.loads.push(LoadJob { place, leader_epoch, shard, replicas: Arc::clone(&self.parts.replicas) });
    }

    /// What is to be read now.
    pub(super) fn take_loads(&mut self) -> Vec<LoadJob> {
        std::mem::take(&mut self.loads)
    }

    pub(super) fn loaded(&mut self, loaded: Loaded) {
        let Loaded { partition, leader_epoch, shard } = loaded;
        let Some(slot @ Slot::Loading { .. }) = self.slots.get_mut(&partition) else { return };
        if slot.leader_epoch() != leader_epoch {
            return;
        }
        match shard {
            Ok(shard) => {
                tracing::debug!(target: "schloss.groups", "{} groups of partition {partition} are loaded", shard.len());
                *slot = Slot::serving(leader_epoch, shard);
                self.with(partition, |shard, cx| shard.loaded(cx));
                self.forget_topics_of(partition);
            }
            Err(error) => {
                tracing::error!(
                    target: "schloss.groups",
                    "the groups of {}-{partition} can't be read, and are not served: {error}",
                    TopicName::CONSUMER_OFFSETS
                );
                *slot = Slot::Failed { leader_epoch };
            }
        }
    }

    fn until_next_timer(&self) -> Duration {
        const IDLE: Duration = Duration::from_secs(3600);
        let next = self.slots.values().filter_map(|slot| match slot {
            Slot::Serving { shard, .. } => shard.next_timer(),
            Slot::Loading { .. } | Slot::Failed { .. } => None,
        });
        next.min().map_or(IDLE, |at| at.since(self.parts.clock.mono()))
    }

    pub(super) fn timers(&mut self) {
        let now = self.parts.clock.mono();
        for partition in self.serving() {
            let is_due = match self.slots.get(&partition) {
                Some(Slot::Serving { shard, .. }) => shard.next_timer().is_some_and(|at| at <= now),
                _ => false,
            };
            if is_due {
                self.with(partition, |shard, cx| shard.timers(cx));
            }
        }
    }

    pub(super) fn expire(&mut self) {
        if let Some(jump_ms) = self.wall_watch.jump(&*self.parts.clock) {
            tracing::warn!(
                target: "schloss.groups",
                "the machine's clock was set by {jump_ms} ms: no position of a group expires before the next check"
            );
            return;
        }
        for partition in self.serving() {
            self.with(partition, |shard, cx| shard.expire(cx));
        }
    }

    pub(super) fn forget_topics(&mut self) {
        for partition in self.serving() {
            self.forget_topics_of(partition);
        }
    }

    fn forget_topics_of(&mut self, partition: i32) {
        let image: Arc<MetadataImage> = self.parts.image.load_full();
        self.with(partition, |shard, cx| shard.forget_topics(cx, |topic| image.topics.id(topic).is_some()));
    }

    fn serving(&self) -> Vec<i32> {
        let is_serving = |slot: &Slot| matches!(slot, Slot::Serving { .. });
        self.slots.iter().filter(|(_, slot)| is_serving(slot)).map(|(partition, _)| *partition).collect()
    }

    fn stop(mut self) {
        self.drop_slots(|_| true);
    }
}
