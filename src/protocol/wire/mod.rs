//! The primitive types of Kafka's protocol, and what every message is.
//!
//! A [`Reader`] never trusts a length: an array is refused before anything is reserved for it when its elements cannot
//! fit in what is left, and decoded elements are charged against a budget that follows from the frame's size. Bytes,
//! records and strings are slices of the frame. A [`Writer`] leaves gaps for records that come from elsewhere.
//!
//! Precedent: Kafka's `Readable` and `Writable`, KIP-482 (flexible versions). Must not know what any message means.

mod reader;
pub mod varint;
mod writer;

use bytes::Bytes;

pub use reader::Reader;
pub use writer::{Encoded, Gap, TaggedFields, Writer};

use super::api::ApiKey;

/// Why bytes are not the message they claim to be. Never shown to a peer: Kafka closes the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{wanted} bytes are needed where {left} are left")]
    Truncated { wanted: usize, left: usize },
    #[error("a field that must not be null is null")]
    Null,
    #[error("{0} is no length")]
    Length(i32),
    #[error("a string of {0} bytes, where 32767 is the most")]
    StringTooLong(usize),
    #[error("a string is not UTF-8")]
    Utf8,
    #[error("{count} elements cannot be in the {left} bytes that are left")]
    ArrayTooLong { count: u32, left: usize },
    #[error("a variable-length number does not end or does not fit")]
    Varint,
    #[error("tagged field {0} does not come after the one before it")]
    TagOrder(u32),
    #[error("{0} bytes are left at the end of a tagged field or a record")]
    Trailing(usize),
    #[error("{0} says neither that a structure is there nor that it is null")]
    NullMarker(i8),
    #[error("decoded, it would take far more memory than its bytes")]
    Memory,
    #[error("api key {0} is not known")]
    UnknownApiKey(i16),
    #[error("frame version {0} of a metadata record is not known")]
    UnknownFrameVersion(u32),
    #[error("record type {0} is not known")]
    UnknownRecordType(u32),
    #[error("version {version} of {name} is not known")]
    UnknownVersion { name: &'static str, version: u32 },
}

/// A field of type `records`: batches that the codec does not look into.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Records {
    #[default]
    Null,
    /// Decoded: a slice of the frame.
    Bytes(Bytes),
    /// Encoded only: so many bytes are put here by whoever sends the message (file ranges of a Fetch). A `Reader` never
    /// makes one.
    Gap(u32),
}

impl Records {
    /// Bytes of it on the wire, without their length; 0 for null.
    pub fn len(&self) -> usize {
        match self {
            Self::Null => 0,
            Self::Bytes(bytes) => bytes.len(),
            Self::Gap(len) => usize::try_from(*len).unwrap_or(usize::MAX),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A message or a structure inside one. `Default` gives Kafka's defaults.
pub trait Message: Sized + Default {
    /// The fewest bytes it takes in any version: what bounds the length of an array of it.
    const MIN_SIZE: usize;

    /// Reads it as of `version`; fields of other versions keep their defaults, unknown tagged fields are passed over.
    ///
    /// # Errors
    /// Whatever the bytes do not hold.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// Appends it as of `version`. Fields of other versions are left out; null where this version knows none is written
    /// as the empty value.
    fn encode(&self, w: &mut Writer, version: i16);

    /// All of it, alone in a buffer.
    fn to_bytes(&self, version: i16) -> Bytes {
        let mut w = Writer::new();
        self.encode(&mut w, version);
        w.finish().bytes
    }
}

/// A message that stands alone and has versions of its own.
pub trait Versioned: Message {
    const NAME: &'static str;
    const MIN_VERSION: i16;
    const MAX_VERSION: i16;
    /// First version with compact lengths and tagged fields (KIP-482).
    const FLEXIBLE_FROM: Option<i16>;
}

/// A request, and what answers it.
pub trait Request: Versioned {
    const KEY: ApiKey;
    type Response: Versioned;
}
