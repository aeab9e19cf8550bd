//! SASL, the server's side: one state machine for every mechanism, fed with tokens, knowing no connection.
//!
//! ```text
//!            step(token)                    verifier says yes
//!   start ──► Challenge ──► … ──► Verify ─────────────────────► authenticated (by the caller)
//!                 │                  │  no
//!                 └────► Fail ◄──────┘
//! ```
//!
//! Precedent: `SaslServerAuthenticator` with `PlainSaslServer` and `ScramSaslServer`. rsasl is the registry and carries
//! the session; the mechanisms in it are ours, and its own idea of "finished" is never looked at (see [`session`]). A
//! mechanism ends in [`Step::Verify`] or [`Step::Fail`]; only [`crate::security::verifier`] turns a `Verify` into an
//! identity, and what the peer is to be sent beside it is held back until then.

pub mod cause;
pub mod plain;
pub mod scram;
pub mod scram_keys;
pub mod session;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::model::scram::ScramMechanism;
use crate::model::secret::Secret;

use cause::Cause;
use scram::ScramProof;

pub use session::SaslServer;

/// What a mechanism makes of a token.
#[derive(Debug)]
pub enum Step {
    /// Send this, expect another token.
    Challenge(Vec<u8>),
    /// The mechanism has what it needs; ask the verifier.
    Verify(VerifyRequest),
    Fail(Cause),
}

/// What is left to be checked before the peer is who it says.
#[derive(Debug)]
pub enum VerifyRequest {
    Password(PasswordClaim),
    Scram(ScramProof),
}

impl VerifyRequest {
    pub fn user(&self) -> &str {
        match self {
            Self::Password(claim) => &claim.user,
            Self::Scram(proof) => &proof.user,
        }
    }
}

/// PLAIN: a name and a password in the clear.
#[derive(Debug)]
pub struct PasswordClaim {
    pub user: Arc<str>,
    pub password: Secret,
    /// The peer asked to act for somebody else. Refused, but only after the password was right, as in Kafka.
    pub acts_for_another: bool,
}

/// A SASL mechanism by its registered name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum SaslMechanism {
    Plain,
    Scram(ScramMechanism),
}

impl SaslMechanism {
    /// Everything this build can do.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Scram(ScramMechanism::Sha256), Self::Scram(ScramMechanism::Sha512)];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::Scram(mechanism) => mechanism.name(),
        }
    }

    /// Exact spelling only: `plain` is not PLAIN.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|m| m.name() == name)
    }
}
