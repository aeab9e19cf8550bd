//! Bytes ↔ messages: Kafka's wire protocol and the records of its logs.
//!
//! Messages are described once, in `schema/`, and their codec is generated from that by `build.rs` with `codegen/`
//! (which is no part of this module: the build script and the tests include it). Everything read here comes from
//! somebody else, so every length is checked before it is used, and nothing panics on what it reads.
//!
//! Must never know what a message is for: no sockets, no files, no clock, no policy.
#![warn(clippy::indexing_slicing, clippy::as_conversions)]

pub mod api;
pub mod compression;
pub mod control;
pub mod header;
pub mod messages;
pub mod record_batch;
pub mod records;
pub mod wire;

#[cfg(test)]
mod tests;
