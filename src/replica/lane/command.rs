//! What a lane can be asked to do.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::unified_log::UnifiedLog;
use crate::log::validator::{Origin, Rules, ValidatedBatch};
use crate::model::broker::BrokerId;
use crate::model::topic::TopicIdPartition;
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
