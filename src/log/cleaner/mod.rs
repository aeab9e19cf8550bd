//! Compaction: a log keeps the newest record of every key (`LogCleaner`, `Cleaner`, KIP-534).
//!
//! A round takes the closed segments below what may still be rolled back or is too young. It notes the newest offset of
//! each key in the part that no round has seen, then writes the segments anew without what is superseded, and without
//! tombstones whose time is over. The new files are made beside the old ones, away from the lane ([`Compaction`]); only
//! the lane puts them in place, segment group by segment group (`unified_log/compact`). A crash at any step leaves the
//! old files or the new ones. The metadata log, which has snapshots, is never compacted.
//!
//! The room must not know what keys and values mean: what it can't read it keeps.

use std::io;

use crate::model::time::Wall;

use super::config::LogConfig;
use super::index_file::Access;
use super::segment_writer::SealedSegment;
use super::view::{LogView, Published};

mod batch;
mod compaction;
mod files;
pub mod offset_map;
mod transactions;

pub use compaction::{CleanedSegment, Compaction, CompactionError, Pace};
pub(super) use compaction::{LastBatch, Parts};
pub(super) use files::discard;

/// How much of a log a round would look at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cleanable {
    /// No round has seen what begins here.
    pub first_dirty: i64,
    /// Not to be touched from here on: the active segment, what is not stable, what is too young.
    pub end: i64,
    pub clean_bytes: u64,
    pub dirty_bytes: u64,
    /// Its oldest dirty record waits for longer than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Cleanable {
    /// Is a round worth its work?
    pub fn is_due(&self, config: &LogConfig) -> bool {
        self.dirty_bytes > 0 && (self.is_overdue || self.dirty_ppm() > u64::from(config.min_cleanable_dirty_ppm))
    }

    /// The dirty share, in millionths.
    pub fn dirty_ppm(&self) -> u64 {
        let all = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        let share = u128::from(self.dirty_bytes) * 1_000_000 / all.max(1);
        u64::try_from(share).unwrap_or(u64::MAX)
    }
}

/// What a round would find. `checkpoint` is where the last one ended; one outside the log counts for nothing. `None`
/// where the topic is not compacted. May read from the disk.
///
/// # Errors
/// Whatever the disk answers.
pub fn cleanable(
    view: &LogView,
    config: &LogConfig,
    checkpoint: Option<i64>,
    now: Wall,
) -> io::Result<Option<Cleanable>> {
    if !config.cleanup_policy.compact {
        return Ok(None);
    }
    let published = view.published();
    let mut found = survey(&published, config, checkpoint, now);
    if let Some(lag) = config.max_compaction_lag_ms {
        let oldest = oldest_timestamp(dirty(&published, &found).map(|(segment, _)| segment))?;
        found.is_overdue = oldest.is_some_and(|oldest| now.0.saturating_sub(oldest) > lag);
    }
    Ok(Some(found))
}

/// The same without a look at the disk.
pub(super) fn survey(published: &Published, config: &LogConfig, checkpoint: Option<i64>, now: Wall) -> Cleanable {
    let ends = published.ends;
    let in_log = |offset: &i64| (ends.log_start..=ends.log_end.offset).contains(offset);
    let first_dirty = checkpoint.filter(in_log).unwrap_or(ends.log_start);
    let too_young = |segment: &SealedSegment| {
        config.min_compaction_lag_ms > 0
            && segment.newest.timestamp > now.0.saturating_sub(config.min_compaction_lag_ms)
    };
    let stops = |(segment, next): &(&SealedSegment, i64)| *next > ends.last_stable.offset || too_young(segment);
    let first = with_next(published).find(stops).map(|(segment, _)| segment.segment.base_offset());
    let end = first.unwrap_or(published.active.base_offset());
    let mut found = Cleanable { first_dirty, end, clean_bytes: 0, dirty_bytes: 0, is_overdue: false };
    let is_clean = |(segment, _): &(&SealedSegment, i64)| segment.segment.base_offset() < first_dirty;
    found.clean_bytes = with_next(published).take_while(is_clean).map(|(segment, _)| segment.size).sum();
    found.dirty_bytes = dirty(published, &found).map(|(segment, _)| segment.size).sum();
    found
}

/// Closed segments, each with where the next one begins.
fn with_next(published: &Published) -> impl Iterator<Item = (&SealedSegment, i64)> {
    let bases = published.sealed.iter().skip(1).map(|next| next.segment.base_offset());
    published.sealed.iter().zip(bases.chain([published.active.base_offset()]))
}

fn dirty<'a>(published: &'a Published, found: &Cleanable) -> impl Iterator<Item = (&'a SealedSegment, i64)> {
    let (first_dirty, end) = (found.first_dirty, found.end);
    with_next(published).filter(move |(_, next)| first_dirty < *next && *next <= end)
}

/// The oldest of the first batches' times.
fn oldest_timestamp<'a>(segments: impl Iterator<Item = &'a SealedSegment>) -> io::Result<Option<i64>> {
    let mut oldest: Option<i64> = None;
    for sealed in segments {
        let first = sealed.segment.headers(0, sealed.size, Access::Blocking).next_header()?;
        if let Some(timestamp) = first.map(|batch| batch.header.max_timestamp).filter(|timestamp| *timestamp > 0) {
            oldest = Some(oldest.map_or(timestamp, |oldest| oldest.min(timestamp)));
        }
    }
    Ok(oldest)
}
