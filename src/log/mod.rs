//! Kafka's log on disk, byte for byte: segments, indexes, producer state, epochs, checkpoints, log directories.
//!
//! A partition's log has one writer, [`unified_log::UnifiedLog`], owned by one thread, and any number of readers,
//! which hold its [`view::LogView`] and take no lock: log end, high watermark and last stable offset are published as
//! one value after the bytes are written. What a file holds is Apache Kafka's format, so that its tools and broker
//! read our directories and we open theirs. Precedent: Kafka's `storage` module (UnifiedLog, LogSegment, OffsetIndex,
//! ProducerStateManager, LeaderEpochFileCache, LogLoader, LogManager).
//!
//! Promises: only the owner of a `UnifiedLog` changes it; an append is one write of the caller's bytes behind a patched
//! copy of the batch header, the records are never copied; recovery cuts a torn tail to the longest valid prefix and
//! never guesses; a disk that failed once is offline and never retried as if fine; a short blocking read is damage.
//!
//! The room must never know who may write, what a request is, or what time it is: time is an argument. Only
//! [`storage`] names the file system.
#![cfg_attr(not(test), warn(clippy::as_conversions))]

pub mod checkpoint;
pub mod clean_shutdown;
pub mod cleaner;
pub mod config;
pub mod file_name;
pub mod index_file;
pub mod leader_epoch_cache;
pub mod log_dir;
pub mod manager;
pub mod meta_properties;
pub mod offset_index;
pub mod partition_metadata;
pub mod producer_state;
pub mod segment;
pub mod segment_writer;
pub mod storage;
pub mod time_index;
pub mod transaction_index;
pub mod unified_log;
pub mod validator;
pub mod view;

mod width;
