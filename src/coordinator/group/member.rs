//! One member of a classic group (`ClassicGroupMember`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};

use super::request::{Caller, ReplyTo};

/// `<client id or group.instance.id>-<uuid>`
pub(super) type MemberId = Arc<str>;

/// A protocol (an assignor, for consumers) that a member can take part in, and what it says to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Protocol {
    pub(super) name: String,
    pub(super) metadata: Bytes,
}

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    /// `group.instance.id`: it comes back under the same name (KIP-345).
    pub(super) instance: Option<Arc<str>>,
    pub(super) client_id: String,
    pub(super) client_host: String,
    pub(super) rebalance_timeout: Duration,
    pub(super) session_timeout: Duration,
    /// In the order that the member prefers.
    pub(super) protocols: Vec<Protocol>,
    pub(super) assignment: Bytes,
    /// Not in any generation yet: it can't be heard of before it knows its id.
    pub(super) is_new: bool,
    pub(super) awaiting_join: Option<ReplyTo>,
    pub(super) awaiting_sync: Option<ReplyTo>,
}

/// What a JoinGroup says of its member.
#[derive(Debug, Clone)]
pub(super) struct Joining {
    pub(super) protocols: Vec<Protocol>,
    pub(super) rebalance_timeout: Duration,
    pub(super) session_timeout: Duration,
}

impl Joining {
    pub(super) fn new(request: &JoinGroupRequest, version: i16) -> Self {
        // Version 0 has one timeout for both.
        let rebalance_ms = if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
        Self {
            protocols: request.protocols.iter().map(Protocol::of).collect(),
            rebalance_timeout: millis(rebalance_ms),
            session_timeout: millis(request.session_timeout_ms),
        }
    }

    /// What the group keeps of it, in bytes.
    pub(super) fn size(&self) -> usize {
        self.protocols.iter().map(|protocol| protocol.name.len() + protocol.metadata.len()).sum()
    }
}

impl Protocol {
    /// A copy: what lives long must not hold the frame that brought it.
    fn of(asked: &JoinGroupRequestProtocol) -> Self {
        Self { name: asked.name.to_string(), metadata: Bytes::copy_from_slice(&asked.metadata) }
    }
}

impl Member {
    pub(super) fn new(id: MemberId, instance: Option<Arc<str>>, caller: &Caller, joining: Joining) -> Self {
        Self {
            id,
            instance,
            client_id: caller.client_id.clone(),
            client_host: caller.client_host.clone(),
            rebalance_timeout: joining.rebalance_timeout,
            session_timeout: joining.session_timeout,
            protocols: joining.protocols,
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: None,
            awaiting_sync: None,
        }
    }

    /// Does it ask for the same as before?
    pub(super) fn matches(&self, joining: &Joining) -> bool {
        self.protocols == joining.protocols
    }

    /// What it says to a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        self.protocols.iter().find(|of| of.name == protocol).map(|of| of.metadata.clone()).unwrap_or_default()
    }

    /// Silence is no failure while it waits for an answer, unless nothing was ever heard of it.
    pub(super) fn may_be_silent(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }
}

pub(super) fn millis(ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
