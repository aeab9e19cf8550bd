//! Why a partition's records were not taken.

use crate::log::unified_log::AppendError;
use crate::log::validator::RecordError;
use crate::model::error_code::ErrorCode;

use super::access::AccessError;
use super::partition::isr::TooFewInSync;

/// One partition of a produce request was refused, or not committed.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The records themselves; `log_start_offset` is the log's.
    #[error("{error}")]
    Records { error: RecordError, log_start_offset: i64 },
    /// What the log said to sound records: sequences, sizes, the disk.
    #[error("{error}")]
    Append { error: AppendError, log_start_offset: i64 },
    #[error(transparent)]
    TooFewInSync(TooFewInSync),
    #[error("appended, but not to enough replicas: {0}")]
    TooFewInSyncAfterAppend(TooFewInSync),
    #[error("not committed in time")]
    TimedOut,
    /// The right to write was taken away while the lane had no room.
    #[error("no longer allowed")]
    Denied,
}

impl ProduceError {
    /// The log directory went offline before the records were safe.
    pub const STORAGE: Self = Self::Access(AccessError::StorageFailed);

    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Access(error) => error.code(),
            Self::Records { error, .. } => error.code(),
            Self::Append { error, .. } => error.code(),
            Self::TooFewInSync(_) => ErrorCode::NotEnoughReplicas,
            Self::TooFewInSyncAfterAppend(_) => ErrorCode::NotEnoughReplicasAfterAppend,
            Self::TimedOut => ErrorCode::RequestTimedOut,
            Self::Denied => ErrorCode::TopicAuthorizationFailed,
        }
    }

    /// The answer's `log_start_offset`: Kafka tells it with errors it did not expect, -1 with those it did
    /// (`ReplicaManager.appendRecordsToLeader`).
    pub fn log_start_offset(&self) -> i64 {
        match self {
            Self::Records { log_start_offset, .. } | Self::Append { log_start_offset, .. } => match self.code() {
                ErrorCode::MessageTooLarge
                | ErrorCode::RecordListTooLarge
                | ErrorCode::CorruptMessage
                | ErrorCode::KafkaStorageError
                | ErrorCode::UnsupportedCompressionType => -1,
                _ if self.is_before_log() => -1,
                _ => *log_start_offset,
            },
            _ => -1,
        }
    }

    /// Refused by `ProduceRequest.validateRecords`, before Kafka looks for the log.
    fn is_before_log(&self) -> bool {
        let Self::Records { error, .. } = self else { return false };
        matches!(error, RecordError::NoBatch | RecordError::MoreBatches | RecordError::OldMagic(_))
    }
}
