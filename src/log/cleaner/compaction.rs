//! One round over one log, away from its lane: the map of keys, then the new segments, one group a step.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use crate::log::config::LogConfig;
use crate::log::log_dir::StorageError;
use crate::log::segment::Segment;
use crate::log::segment_writer::SealedSegment;
use crate::log::storage::Disk;
use crate::log::time_index::TimestampOffset;
use crate::log::transaction_index::AbortedTxn;
use crate::log::unified_log::marker_of;
use crate::log::view::LogView;
use crate::log::width::to_u64;
use crate::model::time::Wall;
use crate::protocol::record_batch::{BatchHeader, Record, Records};

use super::batch::{Fate, Kept, filter};
use super::files::{Fault, Output, Scratch, damage, discard, each_batch};
use super::offset_map::{MapLimits, OffsetMap};
use super::transactions::{Marker, Transactions};

/// Why a round ended before its end. What it had not put in place is as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// The log is closed or gone, or the caller wants no more.
    #[error("the compaction was given up")]
    GivenUp,
    /// The log can't be compacted.
    #[error("{0}")]
    Damage(String),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// The newest batch of a producer, by which its sequence is known after a restart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::log) struct LastBatch {
    /// `None` where only markers are left.
    pub(in crate::log) last_offset: Option<i64>,
    pub(in crate::log) producer_epoch: i16,
}

/// What the lane hands to a round.
#[derive(Debug)]
pub(in crate::log) struct Parts {
    pub(in crate::log) disk: Arc<dyn Disk>,
    pub(in crate::log) dir: PathBuf,
    pub(in crate::log) view: Arc<LogView>,
    pub(in crate::log) config: Arc<LogConfig>,
    /// All closed segments before `end`.
    pub(in crate::log) segments: Vec<SealedSegment>,
    pub(in crate::log) first_dirty: i64,
    pub(in crate::log) end: i64,
    pub(in crate::log) aborted: Vec<AbortedTxn>,
    pub(in crate::log) last_batches: HashMap<i64, LastBatch>,
    pub(in crate::log) now: Wall,
}

/// A round.
#[derive(Debug)]
pub struct Compaction {
    parts: Parts,
    /// Of the cleaning; the building of the map has its own.
    transactions: Transactions,
    plan: Option<Plan>,
    scratch: Scratch,
    bytes_before: u64,
    bytes_after: u64,
}

/// What the first look has found.
#[derive(Debug)]
struct Plan {
    map: OffsetMap,
    /// Segments that become one, by their places.
    groups: VecDeque<Range<usize>>,
}

/// Segments written anew as one, not yet in place. All its files are durable under their `.cleaned` names.
#[derive(Debug)]
pub struct CleanedSegment {
    pub(in crate::log) base_offset: i64,
    /// Where the segment behind it begins.
    pub(in crate::log) next_base: i64,
    pub(in crate::log) size: u64,
    pub(in crate::log) newest: TimestampOffset,
    pub(in crate::log) replaces: Vec<Arc<Segment>>,
}

/// Told of bytes read and written; may sleep. `false` ends the round.
pub type Pace<'a> = dyn FnMut(u64) -> bool + 'a;

impl Compaction {
    pub(in crate::log) fn new(parts: Parts) -> Self {
        let mut transactions = Transactions::default();
        transactions.expect(parts.aborted.iter().copied());
        let scratch = Scratch::default();
        Self { parts, transactions, plan: None, scratch, bytes_before: 0, bytes_after: 0 }
    }

    /// Where the next round begins, once all of this one is in place.
    pub fn first_dirty_after(&self) -> i64 {
        self.plan.as_ref().map_or(self.parts.first_dirty, |plan| plan.map.latest_offset() + 1)
    }

    /// Bytes of the segments written anew so far, before and after.
    pub const fn bytes(&self) -> (u64, u64) {
        (self.bytes_before, self.bytes_after)
    }

    /// Writes the next group of segments anew; `None` when the round is through. Blocks for as long as that takes.
    ///
    /// # Errors
    /// [`CompactionError`].
    pub fn next(&mut self, limits: MapLimits, pace: &mut Pace<'_>) -> Result<Option<CleanedSegment>, CompactionError> {
        self.step(limits, pace).map_err(|fault| match fault {
            Fault::GivenUp => CompactionError::GivenUp,
            Fault::Damage(what) => CompactionError::Damage(what),
            Fault::Disk(error) => {
                // A deleted partition's directory has another name by now.
                if matches!(self.parts.disk.exists(&self.parts.dir), Ok(false)) {
                    return CompactionError::GivenUp;
                }
                let view = &self.parts.view;
                view.log_dir().fail(&format!("compact {}", view.topic_partition()), &error).into()
            }
        })
    }

    fn step(&mut self, limits: MapLimits, pace: &mut Pace<'_>) -> Result<Option<CleanedSegment>, Fault> {
        if self.plan.is_none() {
            self.plan = Some(self.look(limits, pace)?);
        }
        let Some(plan) = &mut self.plan else { return Ok(None) };
        let Some(group) = plan.groups.pop_front() else { return Ok(None) };
        let base = self.parts.segments.get(group.start).map_or(0, |first| first.segment.base_offset());
        let cleaned = self.clean(group, pace);
        if cleaned.is_err() {
            discard(&*self.parts.disk, &self.parts.dir, base);
        }
        cleaned.map(Some)
    }

    /// Notes the newest offset of every key in the dirty part, as far as there is room.
    fn look(&mut self, limits: MapLimits, pace: &mut Pace<'_>) -> Result<Plan, Fault> {
        let parts = &self.parts;
        let mut transactions = Transactions::default();
        transactions.expect(parts.aborted.iter().copied());
        let keys = u64::try_from(parts.end.saturating_sub(parts.first_dirty)).unwrap_or(0);
        let mut map = OffsetMap::new(keys, limits);
        map.seen_to(parts.first_dirty - 1);
        let mut is_full = false;
        for (n, segment) in parts.segments.iter().enumerate() {
            if parts.next_base(n) <= parts.first_dirty {
                continue;
            }
            // A record is removed because of a newer one, which must not be lost with a power cut then.
            segment.segment.log().sync()?;
            each_batch(segment, parts, parts.first_dirty, &mut self.scratch, |batch, records| {
                let header = batch.header();
                parts.go_on(header, pace)?;
                if header.is_control() {
                    transactions.end(header, marker_of(header, records.unwrap_or_default()));
                } else if !transactions.is_aborted(header)
                    && let Some(records) = records
                {
                    is_full = !note(&mut map, header, records, parts.first_dirty)?;
                }
                if !is_full {
                    map.seen_to(header.last_offset());
                }
                Ok(!is_full)
            })?;
            if is_full {
                break;
            }
        }
        // The end of the last segment may lie behind its last batch.
        if !is_full {
            map.seen_to(parts.end - 1);
        }
        parts.disk.sync_dir(&parts.dir)?;
        let groups = parts.groups(map.latest_offset() + 1);
        Ok(Plan { map, groups })
    }

    /// Writes a group of segments anew.
    fn clean(&mut self, group: Range<usize>, pace: &mut Pace<'_>) -> Result<CleanedSegment, Fault> {
        let (parts, transactions) = (&self.parts, &mut self.transactions);
        let Some(Plan { map, .. }) = &self.plan else { return Err(Fault::GivenUp) };
        let next_base = parts.next_base(group.end - 1);
        let olds = parts.segments.get(group).unwrap_or_default();
        let Some(first) = olds.first() else { return Err(Fault::GivenUp) };
        let mut output = Output::new(parts, first.segment.base_offset())?;
        for old in olds {
            each_batch(old, parts, i64::MIN, &mut self.scratch, |batch, records| {
                let header = batch.header();
                parts.go_on(header, pace)?;
                let fate = judge(parts, map, transactions, header, records.unwrap_or_default(), &mut output.aborted);
                let stays = |record: &Record<'_>, offset| stays(parts, map, header, record, offset);
                let kept = match records {
                    None if !fate.drop_records => Ok(Kept::Whole),
                    records => filter(header, records.unwrap_or_default(), fate, stays),
                };
                match kept.map_err(|error| damage(header, &error))? {
                    Kept::Whole => output.write(batch.bytes())?,
                    Kept::Part(bytes) => output.write(&bytes)?,
                    Kept::Nothing => {}
                }
                Ok(true)
            })?;
        }
        let sealed = output.finish(&*parts.disk)?;
        self.bytes_before += olds.iter().map(|old| old.size).sum::<u64>();
        self.bytes_after += sealed.size;
        Ok(CleanedSegment {
            base_offset: sealed.segment.base_offset(),
            next_base,
            size: sealed.size,
            newest: sealed.newest,
            replaces: olds.iter().map(|old| Arc::clone(&old.segment)).collect(),
        })
    }
}

impl Parts {
    fn next_base(&self, n: usize) -> i64 {
        self.segments.get(n + 1).map_or(self.end, |next| next.segment.base_offset())
    }

    fn go_on(&self, header: &BatchHeader, pace: &mut Pace<'_>) -> Result<(), Fault> {
        let is_online = self.view.log_dir().is_online();
        if is_online && !self.view.is_closed() && pace(to_u64(header.size_in_bytes())) {
            Ok(())
        } else {
            Err(Fault::GivenUp)
        }
    }

    /// Neighbours that fit into one segment, one index and one range of offsets (`Cleaner.groupSegmentsBySize`).
    fn groups(&self, end: i64) -> VecDeque<Range<usize>> {
        let count = self.segments.iter().take_while(|segment| segment.segment.base_offset() < end).count();
        let mut groups: VecDeque<Range<usize>> = VecDeque::new();
        let (mut base, mut sizes) = (0, [0; 3]);
        let limits = [self.config.segment_bytes, self.config.segment_index_bytes, self.config.segment_index_bytes];
        for (n, sealed) in self.segments.iter().enumerate().take(count) {
            let segment = &sealed.segment;
            let indexes = [segment.offset_index.file().size_in_bytes(), segment.time_index.file().size_in_bytes()];
            let more = [sealed.size, indexes[0], indexes[1]];
            let fits = sizes.iter().zip(more).zip(limits).all(|((size, more), limit)| size + more <= u64::from(limit));
            let is_near = i32::try_from((self.next_base(n) - 1).saturating_sub(base)).is_ok();
            match groups.back_mut() {
                Some(group) if fits && is_near => {
                    group.end = n + 1;
                    sizes.iter_mut().zip(more).for_each(|(size, more)| *size += more);
                }
                _ => {
                    groups.push_back(n..n + 1);
                    (base, sizes) = (segment.base_offset(), more);
                }
            }
        }
        // A segment that is empty already stays as it is.
        let is_empty = |n: usize| self.segments.get(n).is_none_or(|segment| segment.size == 0);
        groups.retain(|group| group.len() > 1 || !is_empty(group.start));
        groups
    }
}

/// What becomes of a batch, before its records are looked at.
fn judge(
    parts: &Parts,
    map: &OffsetMap,
    transactions: &mut Transactions,
    header: &BatchHeader,
    records: &[u8],
    aborted: &mut Vec<AbortedTxn>,
) -> Fate {
    let (drop_records, begin_horizon) = if header.is_control() {
        match transactions.end(header, marker_of(header, records)) {
            Marker::Unneeded => (header.delete_horizon_ms().is_some_and(|horizon| horizon <= parts.now.0), true),
            Marker::Needed => (false, false),
            Marker::Aborts(txn) => {
                aborted.push(txn);
                (false, false)
            }
        }
    } else {
        (transactions.is_aborted(header), false)
    };
    let is_last_of_producer = parts.last_batches.get(&header.producer_id).is_some_and(|last| match last.last_offset {
        Some(offset) => offset == header.last_offset(),
        None => header.is_control() && last.producer_epoch == header.producer_epoch,
    });
    Fate {
        drop_records,
        keep_empty: header.has_producer_id() && is_last_of_producer || header.next_offset() == map.latest_offset() + 1,
        begin_horizon,
        horizon_ms: parts.now.0.saturating_add(parts.config.delete_retention_ms),
    }
}

/// Does a record stay: the newest of its key, and no tombstone whose time is over (`Cleaner.shouldRetainRecord`)?
fn stays(parts: &Parts, map: &OffsetMap, header: &BatchHeader, record: &Record<'_>, offset: i64) -> bool {
    if header.is_control() || offset > map.latest_offset() {
        return true;
    }
    // No key was let in: what has none can't be compacted, and Kafka drops it too.
    let Some(key) = record.key else { return false };
    let is_newest = map.get(key).is_none_or(|newest| offset >= newest);
    let is_over = || header.delete_horizon_ms().is_some_and(|horizon| horizon <= parts.now.0);
    is_newest && (record.value.is_some() || !is_over())
}

/// `false` when the map is full; the keys before are in it.
fn note(map: &mut OffsetMap, header: &BatchHeader, records: &[u8], from: i64) -> Result<bool, Fault> {
    for record in Records::new(records, header.records_count) {
        let record = record.map_err(|error| damage(header, &error))?;
        let offset = header.base_offset.saturating_add(i64::from(record.offset_delta));
        if let Some(key) = record.key
            && offset >= from
            && !map.put(key, offset)
        {
            return Ok(false);
        }
    }
    Ok(true)
}
