//! Lanes: the only places where logs change.

pub mod queue;
