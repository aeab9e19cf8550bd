//! The metadata log.

pub mod batch;
pub mod quorum_records;
pub mod snapshot;
