//! Offsets by time and by epoch (`Partition.fetchOffsetForTimestamp`, `lastOffsetForLeaderEpoch`).

use crate::log::leader_epoch_cache::EpochEndOffset;
use crate::log::view::{FoundOffset, ReadError, UpTo};
use crate::model::error_code::ErrorCode;
use crate::protocol::compression::Decompressor;
use crate::replica::access::AccessError;

use super::Partition;

/// How far a reader sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IsolationLevel {
    ReadUncommitted,
    ReadCommitted,
    /// A replica, or a tool that looks behind the consumers' end.
    LogEnd,
}

impl IsolationLevel {
    pub const fn up_to(self) -> UpTo {
        match self {
            Self::ReadUncommitted => UpTo::HighWatermark,
            Self::ReadCommitted => UpTo::LastStable,
            Self::LogEnd => UpTo::LogEnd,
        }
    }
}

/// What ListOffsets asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OffsetQuery {
    /// -2, and -4 where there is no tiered storage.
    Earliest,
    /// -1
    Latest,
    /// -3: the record with the largest timestamp (KIP-734).
    MaxTimestamp,
    /// -5 and -6: kept for tiered storage, which there is none of.
    Tiered,
    /// The first record not older than this.
    Timestamp(i64),
}

impl OffsetQuery {
    /// May the answer have to be read from the disk?
    pub const fn searches(self) -> bool {
        matches!(self, Self::MaxTimestamp | Self::Timestamp(_))
    }
}

/// Why there is no offset.
#[derive(Debug, thiserror::Error)]
pub enum OffsetError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A new leader does not yet know what is committed (KIP-207).
    #[error("the high watermark has not reached this leader's epoch")]
    NotAvailable,
}

impl OffsetError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Access(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::NotAvailable => ErrorCode::OffsetNotAvailable,
        }
    }
}

impl Partition {
    /// `None` when no record fits. May read from the disk if [`OffsetQuery::searches`].
    pub(in crate::replica) fn offset(
        &self,
        query: OffsetQuery,
        isolation: IsolationLevel,
        current_leader_epoch: i32,
        decompressor: &mut Decompressor,
    ) -> Result<Option<FoundOffset>, OffsetError> {
        let (view, status) = self.leader_log(current_leader_epoch)?;
        let end = view.ends().up_to(isolation.up_to()).offset;
        let is_settled = isolation == IsolationLevel::LogEnd || status.epoch_start <= end;
        let found = match query {
            OffsetQuery::Earliest => return Ok(Some(view.earliest())),
            OffsetQuery::Tiered => return Ok(None),
            OffsetQuery::Latest => is_settled.then(|| view.latest(isolation.up_to())),
            OffsetQuery::MaxTimestamp => view.max_timestamp(decompressor)?.filter(|found| found.offset < end),
            OffsetQuery::Timestamp(timestamp) => {
                view.offset_for_timestamp(timestamp, decompressor)?.filter(|found| found.offset < end)
            }
        };
        if found.is_none() && !is_settled { Err(OffsetError::NotAvailable) } else { Ok(found) }
    }

    /// Where the records of `leader_epoch` end here; -1 and -1 for an epoch that is not known.
    pub(in crate::replica) fn end_of_epoch(
        &self,
        current_leader_epoch: i32,
        leader_epoch: i32,
    ) -> Result<EpochEndOffset, AccessError> {
        let (view, _) = self.leader_log(current_leader_epoch)?;
        Ok(view.end_offset_for_epoch(leader_epoch))
    }
}
