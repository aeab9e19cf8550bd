//! protocol
#![warn(clippy::indexing_slicing, clippy::as_conversions)]

pub mod compression;
pub mod control;
pub mod record_batch;
