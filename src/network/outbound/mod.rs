//! The client inside: what this program's own commands, and later replication, say to brokers.
//!
//! A [`Link`] is one connection: TCP, TLS with the broker's name checked, ApiVersions, a login, and then typed requests, each
//! in the newest version that both sides know. A [`Cluster`] finds the broker that answers for a partition or a group and
//! asks again where Kafka's codes say so. Every wait has an end. Precedent: Kafka's `NetworkClient` and `Metadata`.

mod cluster;
mod consumer;
mod link;
mod member;
mod partitioner;
mod producer;
mod scram;

pub use cluster::Cluster;
pub use consumer::{Consumer, EARLIEST, Fetched, LATEST, Partition, ReadRecord, find_offset};
pub use link::{ClientError, Link};
pub use member::{HEARTBEAT, Member, commit, committed, partitions_of};
pub use producer::{Acks, BATCH_BYTES, NewRecord, Producer, Unwritten, Written};

use std::fmt;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::model::secret::Secret;

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How brokers are spoken to.
#[derive(Clone, Default)]
pub struct Security {
    pub tls: Option<Arc<ClientConfig>>,
    pub login: Option<Login>,
}

impl fmt::Debug for Security {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Security").field("tls", &self.tls.is_some()).field("login", &self.login).finish()
    }
}

/// Who logs in, and how.
#[derive(Debug, Clone)]
pub struct Login {
    pub mechanism: Mechanism,
    pub user: String,
    pub password: Secret,
}

/// The SASL mechanisms of this client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
}

impl Mechanism {
    /// By the name in `sasl.mechanism`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(Self::Plain),
            "SCRAM-SHA-256" => Some(Self::ScramSha256),
            "SCRAM-SHA-512" => Some(Self::ScramSha512),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// Trust in the certificates of a PEM text, and in no others.
///
/// # Errors
/// Nothing in it is a certificate.
pub fn trusting(pem: &[u8]) -> Result<Arc<ClientConfig>, ClientError> {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject as _;
    let mut roots = rustls::RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    let (added, _) = roots.add_parsable_certificates(certificates);
    if added == 0 {
        return Err(ClientError::NoTrust);
    }
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}
