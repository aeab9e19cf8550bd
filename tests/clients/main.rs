//! Real clients against the real binary, as their users would type it.
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

#[path = "../support/mod.rs"]
mod support;

mod admin_tools;
mod day_tools;
mod documents;
mod groups;
mod notes;
mod own;
mod quickstart;
mod sessions;
mod transcripts;
