//! What a lane can be asked to do.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::cleaner::{CleanedSegment, Compaction};
use crate::log::producer_state::Owner;
use crate::log::producer_state::ProducerEntry;
use crate::log::unified_log::{DeleteRecordsError, UnifiedLog};
use crate::log::validator::{Origin, Rules, ValidatedBatch};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicIdPartition;
use crate::replica::access::AccessError;
use crate::replica::completion::Completer;
use crate::replica::delayed_produce::ProduceSlot;
use crate::replica::partition::Partition;
use crate::replica::partition::assignment::Assignment;
use crate::replica::partition::settings::PartitionSettings;

/// How much must have happened before a write is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Acks {
    /// 0: nothing; it is answered to nobody, but a failure closes the connection.
    None,
    /// 1: the leader has it.
    Leader,
    /// -1: all in sync have it.
    All,
}

impl Acks {
    /// `None` for what is none of the three.
    pub const fn from_number(acks: i16) -> Option<Self> {
        match acks {
            0 => Some(Self::None),
            1 => Some(Self::Leader),
            -1 => Some(Self::All),
            _ => None,
        }
    }
}

/// One partition's records on their way to the log.
#[derive(Debug)]
pub struct Append {
    pub partition: TopicIdPartition,
    pub records: Incoming,
    pub origin: Origin,
    /// Whose producers its batches are of.
    pub owner: Owner,
    pub acks: Acks,
    /// Where the answer goes.
    pub slot: ProduceSlot,
}

/// Records, checked or still to be checked by the lane.
#[derive(Debug)]
pub enum Incoming {
    Validated(ValidatedBatch),
    Raw { bytes: Bytes, rules: Rules },
}

impl Incoming {
    pub fn len(&self) -> usize {
        match self {
            Self::Validated(batch) => batch.size_in_bytes(),
            Self::Raw { bytes, .. } => bytes.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why records are not deleted.
#[derive(Debug, thiserror::Error)]
pub enum RecordsError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Log(#[from] DeleteRecordsError),
    #[error("the topic's cleanup.policy deletes nothing")]
    Policy,
}

impl RecordsError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Access(error) => error.code(),
            Self::Log(error) => error.code(),
            Self::Policy => ErrorCode::PolicyViolation,
        }
    }
}

/// One thing to do. Everything that changes a log comes this way, in one order.
#[derive(Debug)]
pub enum Command {
    Append(Append),
    /// From here on the lane owns this log.
    Host {
        partition: Arc<Partition>,
        log: Box<UnifiedLog>,
    },
    /// The metadata says what the partition is here.
    Assign {
        partition: TopicIdPartition,
        assignment: Assignment,
    },
    Configure {
        partition: TopicIdPartition,
        settings: PartitionSettings,
    },
    /// A follower has fetched from `log_end` on.
    Followed {
        partition: TopicIdPartition,
        replica: BrokerId,
        log_start: i64,
        log_end: i64,
    },
    /// The partition is deleted or moved away: its log leaves the lane.
    Release {
        partition: TopicIdPartition,
        released: Completer<Option<Box<UnifiedLog>>>,
    },
    /// The log starts at `offset` from now on; -1 is the high watermark.
    DeleteRecords {
        partition: TopicIdPartition,
        offset: i64,
        done: Completer<Result<i64, RecordsError>>,
    },
    /// What is remembered of producers.
    DescribeProducers {
        partition: TopicIdPartition,
        done: Completer<Result<Vec<ProducerEntry>, AccessError>>,
    },
    /// A round of compaction begins, if there is work for it. `checkpoint` is where the last one ended.
    BeginCompaction {
        partition: TopicIdPartition,
        checkpoint: Option<i64>,
        done: Completer<Option<Compaction>>,
    },
    /// A round has written segments anew. Says whether they were taken.
    PutInPlace {
        partition: TopicIdPartition,
        cleaned: CleanedSegment,
        done: Completer<bool>,
    },
    /// Retention, expiry of producers, files whose time has come.
    Maintain,
    /// Syncs what has waited for longer than its topic's `flush.ms`.
    FlushOverdue,
    /// Says when everything before it is carried out.
    Settle {
        done: Completer<()>,
    },
    /// The log directory went offline.
    DirectoryFailed,
    /// Closes every log in order. Says whether all of them are clean.
    Close {
        done: Completer<bool>,
    },
}
