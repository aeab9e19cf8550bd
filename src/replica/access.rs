//! Why a partition can't be asked (`Partition.getLocalLog`).

use crate::model::error_code::ErrorCode;

/// This node, or this leader epoch, is the wrong one to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    #[error("no such partition here")]
    UnknownPartition,
    #[error("this node does not lead the partition")]
    NotLeader,
    /// The client knows an older leader epoch than this node.
    #[error("the leader epoch is older than the partition's")]
    FencedEpoch,
    /// The client knows a newer leader epoch than this node.
    #[error("the leader epoch is newer than the partition's")]
    UnknownEpoch,
    #[error("the log directory is offline")]
    StorageFailed,
}

impl AccessError {
    pub fn code(self) -> ErrorCode {
        match self {
            Self::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::FencedEpoch => ErrorCode::FencedLeaderEpoch,
            Self::UnknownEpoch => ErrorCode::UnknownLeaderEpoch,
            Self::StorageFailed => ErrorCode::KafkaStorageError,
        }
    }
}
