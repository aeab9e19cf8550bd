//! Records that Kafka keeps in its own logs, generated from the schema as the messages are.
//!
//! Must not know what a record does to whoever replays it.

pub mod control;
pub mod group;
pub mod metadata;
pub mod share;
pub mod transaction;
