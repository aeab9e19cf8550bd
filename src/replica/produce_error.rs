//! Why a partition's records were not taken.

use crate::model::error_code::ErrorCode;

use super::partition::isr::TooFewInSync;

/// One partition of a produce request was refused, or not committed.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error("no such partition here")]
    UnknownPartition,
    #[error("this node does not lead the partition")]
    NotLeader,
    #[error(transparent)]
    TooFewInSync(TooFewInSync),
    #[error("appended, but not to enough replicas: {0}")]
    TooFewInSyncAfterAppend(TooFewInSync),
    #[error("not committed in time")]
    TimedOut,
    #[error("the log directory is offline")]
    StorageFailed,
}

impl ProduceError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            Self::NotLeader => ErrorCode::NotLeaderOrFollower,
            Self::TooFewInSync(_) => ErrorCode::NotEnoughReplicas,
            Self::TooFewInSyncAfterAppend(_) => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::TimedOut => ErrorCode::RequestTimedOut,
            Self::StorageFailed => ErrorCode::KafkaStorageError,
        }
    }
}
