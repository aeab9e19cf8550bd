//! One partition: its roles, and the handle that everybody else sees of it.
//!
//! The roles ([`leader`], [`follower`]) are pure and owned by the partition's lane; what they decide is published in the
//! handle, [`Partition`], for those who only read. A handle stands for one incarnation in one log directory: a topic
//! deleted and made again has other handles, under another id.

pub mod assignment;
pub mod follower;
pub mod high_watermark;
pub mod isr;
pub mod leader;
mod offsets;
mod read;
pub mod settings;

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::log::view::LogView;
use crate::model::broker::BrokerId;
use crate::model::topic::{TopicIdPartition, TopicPartition};

use super::access::AccessError;
use super::lane::Lane;
use super::watchers::Watchers;

pub use offsets::{IsolationLevel, OffsetError, OffsetQuery};
pub use read::{FetchError, PartitionRead, ReadLimit};
use settings::PartitionSettings;

/// A partition as everybody but its lane sees it.
#[derive(Debug)]
pub struct Partition {
    id: TopicIdPartition,
    name: TopicPartition,
    /// `None` for a partition whose log directory was already offline when it was to be opened.
    place: Option<Place>,
    watchers: Arc<Watchers>,
    status: ArcSwap<Status>,
    settings: ArcSwap<PartitionSettings>,
}

/// Where a partition lives.
#[derive(Debug)]
struct Place {
    lane: Arc<Lane>,
    view: Arc<LogView>,
}

/// What the lane publishes of a partition's role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub state: PartitionState,
    /// -1 before the first role.
    pub leader_epoch: i32,
    /// Where this leader's epoch began in the log; see [`leader::Leader::epoch_start`].
    pub epoch_start: i64,
    /// The other replicas of the assignment: those who may fetch as followers.
    pub followers: Arc<[BrokerId]>,
    /// Appends to it are answered after a sync.
    pub commits_in_group: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartitionState {
    /// Opened, but the metadata has not yet said what it is here.
    Unassigned,
    Leader,
    Follower,
    /// Its log directory failed.
    Offline,
    /// Its topic was deleted, or it was moved away.
    Removed,
}

impl Status {
    fn new(state: PartitionState) -> Self {
        Self { state, leader_epoch: -1, epoch_start: 0, followers: Arc::new([]), commits_in_group: false }
    }
}

impl Partition {
    pub(super) fn new(id: TopicIdPartition, lane: Arc<Lane>, view: Arc<LogView>, settings: PartitionSettings) -> Self {
        Self {
            id,
            name: view.topic_partition().clone(),
            place: Some(Place { lane, view }),
            watchers: Arc::default(),
            status: ArcSwap::from_pointee(Status::new(PartitionState::Unassigned)),
            settings: ArcSwap::from_pointee(settings),
        }
    }

    pub(super) fn offline(id: TopicIdPartition, name: TopicPartition) -> Self {
        Self {
            id,
            name,
            place: None,
            watchers: Arc::default(),
            status: ArcSwap::from_pointee(Status::new(PartitionState::Offline)),
            settings: ArcSwap::default(),
        }
    }

    pub fn id(&self) -> TopicIdPartition {
        self.id
    }

    pub fn name(&self) -> &TopicPartition {
        &self.name
    }

    pub fn status(&self) -> Arc<Status> {
        self.status.load_full()
    }

    pub fn watchers(&self) -> &Arc<Watchers> {
        &self.watchers
    }

    /// The log, for checkpoints and metrics.
    pub fn view(&self) -> Option<&Arc<LogView>> {
        self.place.as_ref().map(|place| &place.view)
    }

    pub fn settings(&self) -> Arc<PartitionSettings> {
        self.settings.load_full()
    }

    pub(super) fn lane(&self) -> Option<&Arc<Lane>> {
        self.place.as_ref().map(|place| &place.lane)
    }

    pub(super) fn publish(&self, status: Status) {
        self.status.store(Arc::new(status));
    }

    pub(super) fn configure(&self, settings: PartitionSettings) {
        self.settings.store(Arc::new(settings));
    }

    /// The log of the partition's leader, for a client that knows `current_leader_epoch` (-1: none).
    fn leader_log(&self, current_leader_epoch: i32) -> Result<(&Arc<LogView>, Arc<Status>), AccessError> {
        let status = self.status.load_full();
        match status.state {
            PartitionState::Offline => return Err(AccessError::StorageFailed),
            PartitionState::Removed => return Err(AccessError::UnknownPartition),
            PartitionState::Unassigned | PartitionState::Leader | PartitionState::Follower => {}
        }
        // -1 is "not known"; anything else is compared, as in Kafka.
        if current_leader_epoch != -1 && current_leader_epoch < status.leader_epoch {
            return Err(AccessError::FencedEpoch);
        }
        if current_leader_epoch > status.leader_epoch {
            return Err(AccessError::UnknownEpoch);
        }
        if status.state != PartitionState::Leader {
            return Err(AccessError::NotLeader);
        }
        match self.view() {
            Some(view) => Ok((view, status)),
            None => Err(AccessError::StorageFailed),
        }
    }
}
