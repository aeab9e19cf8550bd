//! Schloss: a Kafka-compatible broker whose first concern is who may do what.
//!
//! The crate is a house of floors. A module may use only modules on a strictly lower floor; `tests/laws.rs` reads the
//! source and checks it. `ARCHITECTURE.md` says why each room exists and what it must never know.

// Floor 0: the words.
pub mod model;
// Floor 1: bytes, configuration, telemetry.
pub mod config;
pub mod protocol;
pub mod telemetry;
// Floor 2: the machines' parts.
pub mod log;
pub mod metadata;
pub mod quota;
pub mod raft;
pub mod security;
// Floor 3: the machines.
pub mod controller;
pub mod coordinator;
pub mod replica;
// Floor 4: one Kafka API, one file.
pub mod handlers;
// Floor 5: sockets.
pub mod network;
// Floor 6: what builds and drives all of it.
pub mod server;
// Floor 7: process, arguments, terminal.
pub mod cli;

// The other side of some unit tests.
#[cfg(test)]
mod apache;
