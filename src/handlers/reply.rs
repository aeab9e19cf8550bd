//! What a handler answers.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::LocalBoxFuture;

use crate::log::segment::FileRange;
use crate::protocol::api::ApiKey;
use crate::protocol::header::ResponseHeader;
use crate::protocol::wire::{DecodeError, Message, Writer};

/// The outcome of admit and enqueue.
pub enum Reply {
    /// The answer is there.
    Now(Response),
    /// The effect is set off; the answer follows. Dropping the future drops the answer, never the effect.
    Later(LocalBoxFuture<'static, LaterReply>),
    /// No answer is wanted (acks=0).
    None,
    /// The answer is sent after `delay`, then the connection is closed (a failed login: its text must arrive).
    CloseAfterFlush { response: Response, delay: Duration },
    /// The connection is closed without an answer.
    Close(CloseReason),
}

/// The outcome of complete.
#[derive(Debug)]
pub enum LaterReply {
    Respond(Response),
    /// Took a request that wants no answer and went well.
    None,
    Close(CloseReason),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(response) => f.debug_tuple("Now").field(response).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::None => f.write_str("None"),
            Self::CloseAfterFlush { response, delay } => {
                f.debug_struct("CloseAfterFlush").field("response", response).field("delay", delay).finish()
            }
            Self::Close(reason) => f.debug_tuple("Close").field(reason).finish(),
        }
    }
}

/// Why a connection is closed without an answer. Printed for the operator, never sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    #[error("{} is not served on this listener", key.name())]
    UnknownApi { key: ApiKey },
    #[error("{} version {version} is not served", key.name())]
    UnsupportedVersion { key: ApiKey, version: i16 },
    #[error("the body of {} version {version} can't be decoded: {error}", key.name())]
    Undecodable { key: ApiKey, version: i16, error: DecodeError },
    #[error("a produce request with acks=0 failed: {0}")]
    ProduceWithoutAcks(String),
    #[error("{0}")]
    Protocol(&'static str),
}

/// An encoded answer: everything but the record bytes that stay in their files.
#[derive(Clone)]
pub struct Response {
    /// Length prefix, header and body.
    pub bytes: Bytes,
    /// Ranges of segment files to be sent inside `bytes`, each before the byte at its offset, ascending.
    pub files: Vec<(usize, FileRange)>,
    /// Reading from the connection stops for this long after the answer is queued (KIP-219).
    pub mute: Option<Duration>,
}

impl Response {
    /// What closes a connection without an answer, but after the delay of one.
    pub fn nothing() -> Self {
        Self { bytes: Bytes::new(), files: Vec::new(), mute: None }
    }

    /// Bytes on the wire, file ranges included.
    pub fn len(&self) -> usize {
        self.bytes.len() + self.files.iter().map(|(_, range)| usize::try_from(range.len).unwrap_or(0)).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Turns messages into responses of one request, wherever its future ends up.
#[derive(Clone, Copy, Debug)]
pub struct Responder {
    header: ResponseHeader,
    version: i16,
}

impl Responder {
    pub(super) fn new(header: ResponseHeader, version: i16) -> Self {
        Self { header, version }
    }

    /// The version of the request, and so of the response.
    pub fn version(&self) -> i16 {
        self.version
    }

    pub fn respond(&self, message: &impl Message) -> Response {
        self.respond_with_files(message, Vec::new())
    }

    /// `files` fill the gaps that the message's records leave, in the order in which the message has them.
    pub fn respond_with_files(&self, message: &impl Message, files: Vec<FileRange>) -> Response {
        self.respond_as(message, self.version, files)
    }

    /// ApiVersions alone answers in another version than it was asked in.
    pub fn respond_as(&self, message: &impl Message, version: i16, files: Vec<FileRange>) -> Response {
        let mut w = Writer::framed(256);
        self.header.encode(&mut w);
        message.encode(&mut w, version);
        let encoded = w.finish();
        debug_assert_eq!(encoded.gaps.len(), files.len(), "every gap is filled");
        let files = encoded.gaps.iter().map(|gap| gap.at).zip(files).collect();
        Response { bytes: encoded.bytes, files, mute: None }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("len", &self.len()).field("files", &self.files.len()).finish_non_exhaustive()
    }
}
