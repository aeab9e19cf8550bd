//! What the operator reads: log lines in Kafka's format, and the care that text from a peer needs before it gets there.
//!
//! Kept habits: `[%d] %p %m (%c)` on standard output for the server and on standard error for every other verb,
//! `RUST_LOG` as filter, one event one line whatever is in it, and repeated lines about one peer held back.
//!
//! Must not know: who logs what. Time is an argument.

pub mod line;
pub mod once_per;
pub mod printable;
