//! Reading a partition for a fetch (`Partition.fetchRecords`, `ReplicaManager.readFromLog`).

use crate::log::index_file::Access;
use crate::log::segment::FileRange;
use crate::log::transaction_index::AbortedTxn;
use crate::log::view::{ReadError, ReadRequest, UpTo};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::replica::access::AccessError;
use crate::replica::fetch_session::entries::FetchPartition;

use super::Partition;

/// How much of an answer is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadLimit {
    /// Bytes; the partition's own limit applies beside it.
    pub max_bytes: u32,
    /// Nothing was read yet: the first batch is returned however large it is (KIP-74).
    pub at_least_one: bool,
}

/// What a fetch gets of one partition.
#[derive(Debug, Clone)]
pub struct PartitionRead {
    pub high_watermark: i64,
    pub last_stable_offset: i64,
    pub log_start_offset: i64,
    pub range: Option<FileRange>,
    /// There is more to read than the limits allowed.
    pub has_more: bool,
    /// With `read_committed`: transactions whose records in the range are to be left out.
    pub aborted: Vec<AbortedTxn>,
    /// The client's log parted from this one: epoch, and where that epoch ends here (KIP-595). Nothing was read.
    pub diverging: Option<(i32, i64)>,
}

impl PartitionRead {
    pub fn bytes(&self) -> u32 {
        self.range.as_ref().map_or(0, |range| range.len)
    }
}

/// Why a partition can't be fetched from.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The epoch of the client's last record is not known here.
    #[error("the last fetched epoch is not in this log")]
    UnknownLastEpoch,
}

impl FetchError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Access(error) => error.code(),
            Self::Read(error) => error.code(),
            Self::UnknownLastEpoch => ErrorCode::OffsetOutOfRange,
        }
    }

    /// The bytes are on the disk only: ask again where waiting is allowed.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Read(ReadError::WouldBlock))
    }
}

impl Partition {
    /// `replica` is the broker in whose name a follower fetches.
    pub(in crate::replica) fn read(
        &self,
        wanted: &FetchPartition,
        up_to: UpTo,
        replica: Option<BrokerId>,
        limit: ReadLimit,
        access: Access,
    ) -> Result<PartitionRead, FetchError> {
        let (view, status) = self.leader_log(wanted.current_leader_epoch)?;
        if let Some(replica) = replica
            && !status.followers.contains(&replica)
        {
            // A broker that knows this very epoch will soon hear of its assignment; another asks the wrong node.
            let is_current = wanted.current_leader_epoch == status.leader_epoch;
            return Err(if is_current { AccessError::UnknownEpoch } else { AccessError::NotLeader }.into());
        }
        let mut read = PartitionRead {
            high_watermark: 0,
            last_stable_offset: 0,
            log_start_offset: 0,
            range: None,
            has_more: false,
            aborted: Vec::new(),
            diverging: None,
        };
        if wanted.last_fetched_epoch != -1 {
            let end = view.end_offset_for_epoch(wanted.last_fetched_epoch);
            if end.epoch < 0 || end.end_offset < 0 {
                return Err(FetchError::UnknownLastEpoch);
            }
            if end.epoch < wanted.last_fetched_epoch || end.end_offset < wanted.fetch_offset {
                let ends = view.ends();
                read.high_watermark = ends.high_watermark.offset;
                read.last_stable_offset = ends.last_stable.offset;
                read.log_start_offset = ends.log_start;
                read.diverging = Some((end.epoch, end.end_offset));
                return Ok(read);
            }
        }
        let own_limit = u32::try_from(wanted.max_bytes).unwrap_or(0);
        let slice = view.read(&ReadRequest {
            from: wanted.fetch_offset,
            max_bytes: own_limit.min(limit.max_bytes),
            up_to,
            at_least_one: limit.at_least_one,
            access,
        })?;
        read.high_watermark = slice.ends.high_watermark.offset;
        read.last_stable_offset = slice.ends.last_stable.offset;
        read.log_start_offset = slice.ends.log_start;
        read.range = slice.range;
        read.has_more = slice.has_more;
        read.aborted = slice.aborted;
        Ok(read)
    }
}
