//! What the cluster knows about itself, as one value.
//!
//! A [`MetadataImage`](image::MetadataImage) is what the records of `__cluster_metadata` say up to an offset: features,
//! nodes, topics, configs, ACLs, SCRAM credentials, quotas, producer ids, delegation tokens, each in its own file. It is
//! made of persistent maps, so an image costs what differs from the one before it. State changes only in `apply`; a
//! [`MetadataDelta`](delta::MetadataDelta) says what changed between two images, for those who keep something derived.
//!
//! Precedent: Kafka's `MetadataImage`, `MetadataDelta`, `RaftSnapshotWriter`, `MetadataVersion`. Must not know who writes
//! the records (`controller/`), where they lie (`log/`) or when they are committed (`raft/`).

pub mod acls;
pub mod client_quotas;
pub mod cluster;
pub mod configs;
pub mod delegation_tokens;
pub mod delta;
pub mod features;
pub mod image;
pub mod metadata_version;
pub mod producer_ids;
pub mod scram;
pub mod snapshot;
pub mod topics;
