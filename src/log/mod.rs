//! log

pub mod segment;
