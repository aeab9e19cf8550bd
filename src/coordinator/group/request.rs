//! What is asked of a shard, and what it wants done.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::error_code::ErrorCode;
use crate::protocol::messages::describe_groups_response::DescribedGroup;
use crate::protocol::messages::heartbeat_request::HeartbeatRequest;
use crate::protocol::messages::join_group_request::JoinGroupRequest;
use crate::protocol::messages::join_group_response::JoinGroupResponse;
use crate::protocol::messages::leave_group_request::LeaveGroupRequest;
use crate::protocol::messages::leave_group_response::LeaveGroupResponse;
use crate::protocol::messages::offset_commit_request::OffsetCommitRequest;
use crate::protocol::messages::offset_commit_response::OffsetCommitResponse;
use crate::protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use crate::protocol::messages::offset_delete_response::OffsetDeleteResponse;
use crate::protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use crate::protocol::messages::offset_fetch_response::OffsetFetchResponseTopics;
use crate::protocol::messages::sync_group_request::SyncGroupRequest;
use crate::protocol::messages::sync_group_response::SyncGroupResponse;
use crate::security::authorizer::permit::{Permit, op};

/// Who asks, as far as groups are concerned.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Empty if the client gave none.
    pub client_id: String,
    /// As Java prints an address: `/127.0.0.1`.
    pub client_host: String,
    /// The version of the request.
    pub version: i16,
}

/// A request about one group: the one that the permit names. `group_id` in a message is not looked at.
#[derive(Debug)]
pub enum GroupRequest {
    Join {
        permit: Permit<op::Read>,
        caller: Caller,
        request: JoinGroupRequest,
    },
    Sync {
        permit: Permit<op::Read>,
        request: SyncGroupRequest,
    },
    Heartbeat {
        permit: Permit<op::Read>,
        request: HeartbeatRequest,
    },
    /// `members` are those of version 3 and later, for every version.
    Leave {
        permit: Permit<op::Read>,
        request: LeaveGroupRequest,
    },
    /// A member whose right was taken away while it joined goes as if it left.
    Evict {
        permit: Permit<op::Read>,
        member_id: String,
    },
    /// Topics with names, and only those that may be read.
    CommitOffsets {
        permit: Permit<op::Read>,
        version: i16,
        request: OffsetCommitRequest,
    },
    /// `topics` with names; `None` for all there are.
    FetchOffsets {
        permit: Permit<op::Describe>,
        topics: Option<Vec<OffsetFetchRequestTopics>>,
        require_stable: bool,
    },
    DeleteOffsets {
        permit: Permit<op::Delete>,
        topics: Vec<OffsetDeleteRequestTopic>,
    },
    Describe {
        permit: Permit<op::Describe>,
        version: i16,
    },
    Delete {
        permit: Permit<op::Delete>,
    },
}

impl GroupRequest {
    /// The group that is asked about.
    pub fn group(&self) -> &str {
        match self {
            Self::Join { permit, .. }
            | Self::Sync { permit, .. }
            | Self::Heartbeat { permit, .. }
            | Self::Leave { permit, .. }
            | Self::Evict { permit, .. }
            | Self::CommitOffsets { permit, .. } => permit.resource().name(),
            Self::FetchOffsets { permit, .. } | Self::Describe { permit, .. } => permit.resource().name(),
            Self::DeleteOffsets { permit, .. } | Self::Delete { permit } => permit.resource().name(),
        }
    }
}

/// An answer: the message of the API, for the handler to complete and to encode in the version that was asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupResponse {
    Join(JoinGroupResponse),
    Sync(SyncGroupResponse),
    /// Of a Heartbeat, an Evict and a Delete.
    Code(ErrorCode),
    Leave(LeaveGroupResponse),
    CommitOffsets(OffsetCommitResponse),
    FetchOffsets(Vec<OffsetFetchResponseTopics>),
    DeleteOffsets(OffsetDeleteResponse),
    Describe(DescribedGroup),
}

/// Where an answer goes: the driver's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyTo(pub u64);

/// One append of a shard; they count up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AppendId(pub u64);

/// A record of `__consumer_offsets`; without a value it is a tombstone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRecord {
    pub key: Bytes,
    pub value: Option<Bytes>,
}

/// What the driver is to do.
#[derive(Debug)]
pub enum Action {
    /// Write these in one batch, in the order of the actions; then [`super::Shard::committed`] or
    /// [`super::Shard::append_failed`].
    Append {
        id: AppendId,
        records: Vec<GroupRecord>,
    },
    Answer {
        to: ReplyTo,
        response: GroupResponse,
    },
    /// The whole request failed: not led here, being loaded, or not written.
    Refuse {
        to: ReplyTo,
        error: ErrorCode,
    },
}

/// A group's name, for as long as it lives.
pub(super) type GroupId = Arc<str>;
