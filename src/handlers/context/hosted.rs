//! From a topic that was judged to the partitions of it that are here.

use std::sync::Arc;

use super::RequestContext;
use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicId, TopicIdPartition};
use crate::replica::partition::Partition;

impl RequestContext<'_> {
    /// A partition of a topic that has `count` of them, if this broker has it (`ReplicaManager.getPartitionOrError`).
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if there is none of this number, `NOT_LEADER_OR_FOLLOWER` if it is elsewhere.
    pub fn hosted(&self, topic: TopicId, count: usize, index: i32) -> Result<Arc<Partition>, ErrorCode> {
        if usize::try_from(index).is_ok_and(|index| index < count) {
            let id = TopicIdPartition { topic_id: topic, partition: index };
            self.broker.replicas.find(id).ok_or(ErrorCode::NotLeaderOrFollower)
        } else {
            Err(ErrorCode::UnknownTopicOrPartition)
        }
    }
}
