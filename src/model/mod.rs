//! The words of the house: one newtype or enum family per file, named as Kafka names them.
//!
//! Knows nothing: no bytes on a wire, no file, no clock. Everything above may use it.

pub mod acl;
pub mod broker;
pub mod compression;
pub mod error_code;
pub mod listener;
pub mod principal;
pub mod producer;
pub mod random;
pub mod resource;
pub mod scram;
pub mod secret;
pub mod time;
pub mod topic;
pub mod uuid;
