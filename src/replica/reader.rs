//! What a permit to read or to describe opens.

use crate::log::index_file::Access;
use crate::log::leader_epoch_cache::EpochEndOffset;
use crate::log::view::FoundOffset;
use crate::model::broker::BrokerId;
use crate::model::topic::{TopicId, TopicIdPartition};
use crate::protocol::compression::Decompressor;
use crate::security::authorizer::permit::{Permit, op};

use super::access::AccessError;
use super::fetch_session::entries::FetchPartition;
use super::lane::command::Command;
use super::partition::{FetchError, IsolationLevel, OffsetError, OffsetQuery, Partition, PartitionRead, ReadLimit};

/// Reads the partitions of one topic, or, for a follower, of all.
#[derive(Debug)]
pub struct TopicReader {
    scope: Scope,
    replica: Option<BrokerId>,
}

/// Answers about the offsets of one topic's partitions, or, for a broker, of all.
#[derive(Debug)]
pub struct TopicDescriber {
    scope: Scope,
}

#[derive(Debug, Clone, Copy)]
enum Scope {
    Topic(TopicId),
    AllTopics,
}

impl Scope {
    /// A permit for something that is no topic opens no partition.
    fn of(topic_id: Option<crate::model::uuid::Uuid>) -> Self {
        Self::Topic(topic_id.map_or(TopicId::ZERO, TopicId))
    }

    fn check(self, partition: TopicIdPartition) -> Result<(), AccessError> {
        match self {
            Self::Topic(topic_id) if topic_id != partition.topic_id => Err(AccessError::UnknownPartition),
            Self::Topic(_) | Self::AllTopics => Ok(()),
        }
    }
}

impl TopicReader {
    pub(super) fn new(permit: Permit<op::Read>) -> Self {
        Self { scope: Scope::of(permit.topic_id()), replica: None }
    }

    pub(super) fn for_replica(permit: Permit<op::ClusterAction>, replica: BrokerId) -> Self {
        drop(permit);
        Self { scope: Scope::AllTopics, replica: Some(replica) }
    }

    /// Finds the bytes that a fetch gets of a partition.
    ///
    /// # Errors
    /// [`FetchError`]; with [`Access::Cached`] perhaps [`FetchError::would_block`].
    pub fn read(
        &self,
        partition: &Partition,
        wanted: &FetchPartition,
        isolation: IsolationLevel,
        limit: ReadLimit,
        access: Access,
    ) -> Result<PartitionRead, FetchError> {
        self.scope.check(partition.id())?;
        let read = partition.read(wanted, isolation.up_to(), self.replica, limit, access)?;
        if let Some((replica, lane)) = self.replica.zip(partition.lane())
            && read.diverging.is_none()
        {
            let (log_start, log_end) = (wanted.log_start_offset, wanted.fetch_offset);
            lane.command(Command::Followed { partition: partition.id(), replica, log_start, log_end });
        }
        Ok(read)
    }
}

impl TopicDescriber {
    pub(super) fn new(permit: Permit<op::Describe>) -> Self {
        Self { scope: Scope::of(permit.topic_id()) }
    }

    pub(super) fn for_replica(permit: Permit<op::ClusterAction>) -> Self {
        drop(permit);
        Self { scope: Scope::AllTopics }
    }

    /// The offset that `query` asks for; `None` when no record fits. May wait for the disk if [`OffsetQuery::searches`].
    ///
    /// # Errors
    /// [`OffsetError`]
    pub fn offset(
        &self,
        partition: &Partition,
        query: OffsetQuery,
        isolation: IsolationLevel,
        current_leader_epoch: i32,
        decompressor: &mut Decompressor,
    ) -> Result<Option<FoundOffset>, OffsetError> {
        self.scope.check(partition.id())?;
        partition.offset(query, isolation, current_leader_epoch, decompressor)
    }

    /// Where the records of `leader_epoch` end; -1 and -1 for an epoch that is not known.
    ///
    /// # Errors
    /// [`AccessError`]
    pub fn end_of_epoch(
        &self,
        partition: &Partition,
        current_leader_epoch: i32,
        leader_epoch: i32,
    ) -> Result<EpochEndOffset, AccessError> {
        self.scope.check(partition.id())?;
        partition.end_of_epoch(current_leader_epoch, leader_epoch)
    }
}
