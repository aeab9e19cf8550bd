//! Incremental fetch sessions (KIP-227; Kafka's `FetchSession`, `FetchContext`).
//!
//! A client names its partitions once; afterwards it sends only what changed and is answered only what changed. A session
//! belongs to its principal, not to a connection: nobody else can continue it (Kafka lets anybody who knows the id).
//!
//! [`entries`] is the list of partitions with the order in which they are looked at, [`cache`] the bounded set of sessions.

pub mod cache;
pub mod entries;

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::model::error_code::ErrorCode;
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;

use entries::Entries;

/// A session's partitions between two requests.
#[derive(Debug)]
pub struct FetchSession {
    id: i32,
    /// Only this principal may continue the session.
    principal: KafkaPrincipal,
    /// A follower's: it is not given up for a consumer's.
    privileged: bool,
    created: Mono,
    /// Named by topic ids (v13 on) or by names: a session never changes between them.
    uses_topic_ids: bool,
    state: Mutex<SessionState>,
}

#[derive(Debug)]
pub struct SessionState {
    /// The epoch the next request must carry.
    pub epoch: i32,
    pub entries: Entries,
}

impl FetchSession {
    /// `FetchMetadata.INVALID_SESSION_ID`: no session.
    pub const NO_ID: i32 = 0;
    /// A full fetch that asks for a session.
    pub const INITIAL_EPOCH: i32 = 0;
    /// A full fetch that wants none, and closes the one it names.
    pub const FINAL_EPOCH: i32 = -1;

    pub fn id(&self) -> i32 {
        self.id
    }

    pub fn lock(&self) -> MutexGuard<'_, SessionState> {
        self.state.lock()
    }

    /// After `i32::MAX` comes 1.
    pub fn next_epoch(epoch: i32) -> i32 {
        match epoch {
            ..0 => Self::FINAL_EPOCH,
            i32::MAX => 1,
            _ => epoch + 1,
        }
    }
}

/// What one request reads, and what becomes of it afterwards.
#[derive(Debug)]
pub enum FetchContext {
    /// Everything named in the request, and nothing remembered.
    Sessionless(Entries),
    /// The same, and remembered if a slot is free.
    Full(Entries),
    /// What changed of a session. `epoch` is the epoch that this request moved it to: if it has moved on, another request
    /// has overtaken this one.
    Incremental { session: Arc<FetchSession>, epoch: i32 },
}

/// Why a request with a session is refused as a whole. The client starts again with a full fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    #[error("no session of this principal has this id")]
    NotFound,
    #[error("the session expects another epoch")]
    WrongEpoch,
    #[error("the session was begun with the other kind of topic names")]
    TopicIds,
}

impl SessionError {
    pub fn code(self) -> ErrorCode {
        match self {
            Self::NotFound => ErrorCode::FetchSessionIdNotFound,
            Self::WrongEpoch => ErrorCode::InvalidFetchSessionEpoch,
            Self::TopicIds => ErrorCode::FetchSessionTopicIdError,
        }
    }
}
