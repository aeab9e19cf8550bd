//! SCRAM credentials (RFC 5802, RFC 7677).

use std::fmt;
use std::sync::Arc;

/// `org.apache.kafka.common.security.scram.internals.ScramMechanism`; the numbers are those on the wire and in records.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ScramMechanism {
    Sha256 = 1,
    Sha512 = 2,
}

impl ScramMechanism {
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];
    /// The least an Alter request may ask for, and the most.
    pub const MIN_ITERATIONS: i32 = 4096;
    pub const MAX_ITERATIONS: i32 = 16384;

    /// The one that this is not.
    pub const fn other(self) -> Self {
        match self {
            Self::Sha256 => Self::Sha512,
            Self::Sha512 => Self::Sha256,
        }
    }

    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    pub const fn code(self) -> i8 {
        self as i8
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SCRAM-SHA-256",
            Self::Sha512 => "SCRAM-SHA-512",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }

    /// Octets of the hash, and so of both keys.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// What is stored of a password: enough to verify a proof, not to log in with (RFC 5802 section 5).
#[derive(Clone, PartialEq, Eq)]
pub struct ScramCredential {
    pub salt: Arc<[u8]>,
    pub stored_key: Arc<[u8]>,
    pub server_key: Arc<[u8]>,
    pub iterations: i32,
}

impl fmt::Debug for ScramCredential {
    /// Keys and salt are never printed.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramCredential").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}
