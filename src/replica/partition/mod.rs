//! One partition: its roles, and the handle that everybody else sees of it.
//!
//! The roles ([`leader`], [`follower`]) are pure and owned by the partition's lane; what they decide is published in the
//! handle for those who only read.

pub mod assignment;
pub mod follower;
pub mod high_watermark;
pub mod isr;
pub mod leader;
