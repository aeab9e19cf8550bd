//! The real binary, spoken to in raw frames: attacks, crashes, and what it leaves on disk.
#![allow(
    unreachable_pub,
    unused_qualifications,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a failing test ends by panicking, and tests read files and clocks"
)]

mod attacks;
mod client;
mod compaction;
mod crash;
mod disk;
mod dynamic;
mod dynamic_tls;
mod paths;
mod secrets;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
