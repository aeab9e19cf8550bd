//! Builds the broker and drives its machines: clocks, files, lanes, the metadata log, the publishers of its changes.
//!
//! Everything meets here and nothing is decided here: what can be decided without the outside world stands on a lower
//! floor. Must never know the command line.

pub mod broker;
mod cleaning;
pub mod clock;
pub mod controller;
pub mod dynamic;
pub mod files;
pub mod format;
pub mod groups;
pub mod lanes;
pub mod lifecycle;
pub mod listeners;
pub mod logins;
pub mod machine;
pub mod metadata_log;
pub mod node_state;
pub mod producer_ids;
pub mod publisher;
#[cfg(test)]
mod simulation;
pub mod tasks;
pub mod topic_configs;
