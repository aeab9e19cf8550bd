//! From a topic that a client may see to the partitions of it that are here.

use std::sync::Arc;

use super::{RequestContext, TopicView};
use crate::model::error_code::ErrorCode;
use crate::replica::partition::Partition;

impl RequestContext<'_> {
    /// A partition of a topic, if this broker has it (`ReplicaManager.getPartitionOrError`).
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if there is none of this number, `NOT_LEADER_OR_FOLLOWER` if it is elsewhere.
    pub fn hosted(&self, view: &TopicView, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        let Some(id) = view.partition_id(index) else { return Err(ErrorCode::UnknownTopicOrPartition) };
        self.broker.replicas.find(id).ok_or(ErrorCode::NotLeaderOrFollower)
    }
}
