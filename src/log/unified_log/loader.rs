//! Opening a log as it was left: by us, by Apache Kafka, or by a crash (`LogLoader`).
//!
//! After an orderly shutdown the files are taken as they are. After any other end every segment from the recovery point
//! on is read and checked, and what follows the first damage is cut off. Indexes that are missing or can't be indexes are
//! rebuilt in either case.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::leftovers::tidy;
use super::recovery::{Listeners, recover, replay};
use super::{UnifiedLog, jitter};
use crate::log::config::LogConfig;
use crate::log::file_name::{LOG, path_of};
use crate::log::leader_epoch_cache::LeaderEpochCache;
use crate::log::log_dir::{LogDir, StorageError};
use crate::log::producer_state::{BATCHES_RETAINED, ProducerState};
use crate::log::segment::{Segment, put_aside};
use crate::log::segment_writer::{SealedSegment, SegmentWriter};
use crate::log::storage::Disk;
use crate::log::time_index::TimestampOffset;
use crate::log::view::{Ends, LogView, OffsetPosition, Published};
use crate::log::width::to_u64;
use crate::model::error_code::ErrorCode;
use crate::model::time::Wall;
use crate::model::topic::{TopicId, TopicPartition};

/// What opening needs to know.
#[derive(Debug)]
pub struct OpenLog {
    pub disk: Arc<dyn Disk>,
    /// The partition's directory, which exists.
    pub dir: PathBuf,
    pub log_dir: Arc<LogDir>,
    pub topic_partition: TopicPartition,
    pub topic_id: TopicId,
    pub config: Arc<LogConfig>,
    /// From `log-start-offset-checkpoint`, else 0.
    pub log_start_offset: i64,
    /// From `recovery-point-offset-checkpoint`, else 0.
    pub recovery_point: i64,
    /// From `replication-offset-checkpoint`, else 0.
    pub high_watermark: i64,
    /// Compactions have been here: offsets may be missing, whatever the topic's policy is now.
    pub compacted: bool,
    /// The log directory was shut down in order.
    pub clean: bool,
    pub now: Wall,
    /// For `segment.jitter.ms`.
    pub seed: u64,
}

/// What opening had to repair.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// Segments that were read and checked whole.
    pub segments_read: usize,
    /// Segments whose indexes alone were rebuilt.
    pub indexes_rebuilt: usize,
    /// Bytes cut off, and segments dropped behind the cut.
    pub bytes_cut: u64,
    pub segments_dropped: usize,
}

/// Why a log can't be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Messages of before Kafka 0.11: nothing was changed.
    #[error("{0}: the formats before v2 are not supported")]
    OldFormat(String),
}

impl OpenError {
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Storage(error) => error.code(),
            Self::OldFormat(_) => ErrorCode::UnsupportedForMessageFormat,
        }
    }
}

impl UnifiedLog {
    /// Opens a partition's log; an empty directory becomes an empty log.
    ///
    /// # Errors
    /// [`OpenError`]. A disk that fails takes its log directory offline.
    pub fn open(open: OpenLog) -> Result<Self, OpenError> {
        open.log_dir.check()?;
        let log_dir = Arc::clone(&open.log_dir);
        let dir = open.dir.clone();
        Loader::new(open).and_then(Loader::load).map_err(|error| match error.kind() {
            io::ErrorKind::Unsupported => OpenError::OldFormat(error.to_string()),
            _ => log_dir.fail(&format!("open {}", dir.display()), &error).into(),
        })
    }
}

/// A log on its way in.
struct Loader {
    open: OpenLog,
    producers: ProducerState,
    epochs: LeaderEpochCache,
    /// Do the producers already stand at the end of `segments`?
    producers_follow: bool,
    segments: Vec<SealedSegment>,
    active: Option<SegmentWriter>,
    next_offset: i64,
    /// Written to while loading: not durable until the next flush.
    unsynced: Vec<Arc<Segment>>,
    doomed: Vec<PathBuf>,
    seed: u64,
    report: RecoveryReport,
}

impl Loader {
    fn new(open: OpenLog) -> io::Result<Self> {
        let config = &open.config;
        let (expiration_ms, producers_max) = (config.producer_id_expiration_ms, config.producers_max);
        Ok(Self {
            producers: ProducerState::new(Arc::clone(&open.disk), &open.dir, expiration_ms, producers_max)?,
            epochs: LeaderEpochCache::open(Arc::clone(&open.disk), &open.dir)?,
            producers_follow: false,
            segments: Vec::new(),
            active: None,
            next_offset: 0,
            unsynced: Vec::new(),
            doomed: Vec::new(),
            seed: open.seed,
            report: RecoveryReport::default(),
            open,
        })
    }

    fn load(mut self) -> io::Result<UnifiedLog> {
        let bases: Vec<i64> = tidy(&*self.open.disk, &self.open.dir)?.into_iter().collect();
        self.producers.remove_stray_snapshots(&bases)?;
        self.load_segments(&bases)?;
        if self.next_offset < self.open.log_start_offset && self.active.is_some() {
            tracing::warn!(
                dir = %self.open.dir.display(), log_end = self.next_offset, log_start = self.open.log_start_offset,
                "the log ends before its recorded start: dropping all segments"
            );
            self.drop_all()?;
        }
        let writer = match self.active.take() {
            Some(writer) => writer,
            None => self.first_segment()?,
        };
        self.load_producers(&writer)?;
        self.finish(writer)
    }

    fn load_segments(&mut self, bases: &[i64]) -> io::Result<()> {
        // The segment that holds the recovery point is the first to be read again.
        let floor = bases.iter().rposition(|base| *base <= self.open.recovery_point).unwrap_or(0);
        let mut reading = false;
        for (n, base) in bases.iter().enumerate() {
            let is_last = n + 1 == bases.len();
            let began = reading;
            reading |= !self.open.clean && n >= floor;
            if began && self.leaves_gap(*base) {
                return self.end_before(*base, bases);
            }
            let cut = if reading {
                self.recover_segment(*base, is_last)?
            } else if self.take_segment(*base, is_last)? {
                false
            } else {
                reading = true;
                self.recover_segment(*base, is_last)?
            };
            if cut && !is_last {
                return self.drop_behind(*base, bases);
            }
        }
        Ok(())
    }

    /// Power loss may take the end of a segment that was never synced and leave the next one. Only compaction leaves such
    /// gaps in order.
    fn leaves_gap(&self, base: i64) -> bool {
        !self.may_have_gaps() && self.producers.map_end_offset() < base
    }

    fn may_have_gaps(&self) -> bool {
        self.open.config.cleanup_policy.compact || self.open.compacted
    }

    /// Makes the last segment taken the active one; those from `base` on can't follow it.
    fn end_before(&mut self, base: i64, bases: &[i64]) -> io::Result<()> {
        let next_offset = self.producers.map_end_offset();
        tracing::warn!(dir = %self.open.dir.display(), next_offset, base, "a segment is missing its end");
        if let Some(last) = self.segments.pop() {
            let jitter_ms = jitter(&mut self.seed, &self.open.config);
            last.segment.preallocate_indexes()?;
            self.unsynced.retain(|segment| !Arc::ptr_eq(segment, &last.segment));
            self.next_offset = next_offset;
            let (now, config) = (self.open.now, &self.open.config);
            self.active = Some(SegmentWriter::new(last.segment, last.size, last.newest, now, jitter_ms, config)?);
        }
        self.drop_behind(base.saturating_sub(1), bases)
    }

    /// Takes a segment as it is, with new indexes where they are missing. `false` when it has to be read whole with its
    /// producers.
    fn take_segment(&mut self, base: i64, is_last: bool) -> io::Result<bool> {
        let (disk, dir, config) = (&*self.open.disk, &*self.open.dir, &*self.open.config);
        let segment = match Segment::open(disk, dir, base, config) {
            Ok(segment) => segment,
            Err(error) if is_damage(&error) => return self.rebuild_indexes(base, is_last, &error),
            Err(error) => return Err(error),
        };
        let size = segment.log().len()?;
        let newest = segment.time_index.last()?;
        if !is_last && let Some(newest) = newest {
            self.segments.push(SealedSegment { segment: segment.into(), size, newest });
            return Ok(true);
        }
        match segment.read_tail(size) {
            Ok(tail) if tail.end == size || !is_last => {
                if is_last {
                    segment.preallocate_indexes()?;
                    self.next_offset = tail.next_offset;
                    self.active = Some(self.writer(segment.into(), size, tail.newest)?);
                } else {
                    self.segments.push(SealedSegment { segment: segment.into(), size, newest: tail.newest });
                }
                Ok(true)
            }
            Ok(_) => Ok(false),
            Err(error) if is_damage(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads a segment whose indexes are missing. Its transaction index is kept if it is sound.
    fn rebuild_indexes(&mut self, base: i64, is_last: bool, why: &io::Error) -> io::Result<bool> {
        let path = path_of(&self.open.dir, base, LOG);
        tracing::warn!(segment = %path.display(), %why, "rebuilding the indexes of a segment");
        let (disk, dir, config) = (&*self.open.disk, &*self.open.dir, &*self.open.config);
        let segment = match Segment::open_for_recovery(disk, dir, base, config, true) {
            Ok(segment) => segment,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Ok(false),
            Err(error) => return Err(error),
        };
        let mut writer = self.writer(segment.into(), 0, TimestampOffset::UNKNOWN)?;
        let listeners = Listeners { producers: None, epochs: &self.epochs, contiguous: false };
        let recovered = recover(disk, &path, &mut writer, listeners)?;
        self.report.indexes_rebuilt += 1;
        self.report.bytes_cut += recovered.cut.map_or(0, |(bytes, _)| bytes);
        self.keep(writer, recovered.next_offset, is_last)?;
        Ok(true)
    }

    /// Reads and checks a segment whole. `true` when something was cut off.
    fn recover_segment(&mut self, base: i64, is_last: bool) -> io::Result<bool> {
        self.lead_producers_to(base)?;
        let (disk, dir, config) = (&*self.open.disk, &*self.open.dir, &*self.open.config);
        let segment = Segment::open_for_recovery(disk, dir, base, config, false)?;
        let mut writer = self.writer(segment.into(), 0, TimestampOffset::UNKNOWN)?;
        let contiguous = !self.may_have_gaps();
        let listeners = Listeners { producers: Some(&mut self.producers), epochs: &self.epochs, contiguous };
        let recovered = recover(&*self.open.disk, &path_of(&self.open.dir, base, LOG), &mut writer, listeners)?;
        self.report.segments_read += 1;
        let cut = recovered.cut.map(|(bytes, _)| bytes);
        self.report.bytes_cut += cut.unwrap_or(0);
        self.keep(writer, recovered.next_offset, is_last || cut.is_some())?;
        Ok(cut.is_some())
    }

    fn keep(&mut self, writer: SegmentWriter, next_offset: i64, is_last: bool) -> io::Result<()> {
        if is_last {
            writer.segment().preallocate_indexes()?;
            self.next_offset = next_offset;
            self.active = Some(writer);
        } else {
            self.unsynced.push(Arc::clone(writer.segment()));
            self.segments.push(writer.seal()?);
        }
        Ok(())
    }

    /// Brings the producers to where a segment begins, from a snapshot and the segments before.
    fn lead_producers_to(&mut self, base: i64) -> io::Result<()> {
        if self.producers_follow {
            // The segment before may end in a gap.
            self.producers.set_map_end_offset(base);
            self.producers.take_snapshot()?;
            return Ok(());
        }
        self.producers_follow = true;
        let start = self.open.log_start_offset.max(self.first_offset().unwrap_or(base));
        self.producers.reload_before(start, base, self.repeatable_from(base), self.open.now)?;
        let segments = self.shared_segments(None);
        replay(&mut self.producers, &segments, base)
    }

    /// Where to begin reading so that a batch that was unanswered at the crash is known when it is sent again. A snapshot
    /// stands where a segment begins, and has only the newest batch of a producer; the others lie in the segments before,
    /// which are taken until they hold as many bytes as the batches of one producer may have.
    fn repeatable_from(&self, base: i64) -> i64 {
        let wanted = u64::from(self.open.config.max_message_bytes).saturating_mul(to_u64(BATCHES_RETAINED));
        let mut bytes: u64 = 0;
        for sealed in self.segments.iter().rev() {
            bytes = bytes.saturating_add(sealed.size);
            if bytes >= wanted {
                return sealed.segment.base_offset();
            }
        }
        self.first_offset().unwrap_or(base)
    }

    fn load_producers(&mut self, writer: &SegmentWriter) -> io::Result<()> {
        let start = self.log_start(writer);
        if self.producers_follow {
            self.producers.log_start_moved(start);
        } else {
            self.producers.truncate_and_reload(start, self.next_offset, self.open.now)?;
            let segments = self.shared_segments(Some(writer));
            replay(&mut self.producers, &segments, self.next_offset)?;
        }
        self.producers.set_map_end_offset(self.next_offset);
        self.producers.take_snapshot()?;
        Ok(())
    }

    fn shared_segments(&self, active: Option<&SegmentWriter>) -> Vec<(Arc<Segment>, u64)> {
        let sealed = self.segments.iter().map(|sealed| (Arc::clone(&sealed.segment), sealed.size));
        sealed.chain(active.map(|writer| (Arc::clone(writer.segment()), writer.size()))).collect()
    }

    fn first_offset(&self) -> Option<i64> {
        self.segments.first().map(|first| first.segment.base_offset())
    }

    fn log_start(&self, writer: &SegmentWriter) -> i64 {
        let first = self.first_offset().unwrap_or(writer.segment().base_offset());
        self.open.log_start_offset.max(first)
    }

    fn writer(&self, segment: Arc<Segment>, size: u64, newest: TimestampOffset) -> io::Result<SegmentWriter> {
        let mut seed = self.seed;
        let jitter_ms = jitter(&mut seed, &self.open.config);
        SegmentWriter::new(segment, size, newest, self.open.now, jitter_ms, &self.open.config)
    }

    fn first_segment(&mut self) -> io::Result<SegmentWriter> {
        let base = self.open.log_start_offset.max(0);
        let segment = Segment::create(&*self.open.disk, &self.open.dir, base, &self.open.config)?;
        self.next_offset = base;
        self.writer(segment.into(), 0, TimestampOffset::UNKNOWN)
    }

    /// What follows a cut can't be part of the log.
    fn drop_behind(&mut self, base: i64, bases: &[i64]) -> io::Result<()> {
        for behind in bases.iter().filter(|behind| **behind > base) {
            self.doomed.extend(put_aside(&*self.open.disk, &self.open.dir, *behind)?);
            self.doomed.extend(self.producers.put_snapshot_aside(*behind)?);
            self.report.segments_dropped += 1;
        }
        self.open.disk.sync_dir(&self.open.dir)
    }

    fn drop_all(&mut self) -> io::Result<()> {
        let active = self.active.take().map(|writer| writer.segment().base_offset());
        let sealed = std::mem::take(&mut self.segments);
        for base in sealed.iter().map(|sealed| sealed.segment.base_offset()).chain(active) {
            self.doomed.extend(put_aside(&*self.open.disk, &self.open.dir, base)?);
            self.report.segments_dropped += 1;
        }
        self.open.disk.sync_dir(&self.open.dir)?;
        self.epochs.clear()?;
        self.producers.truncate_fully_and_start_at(self.open.log_start_offset)?;
        self.producers_follow = true;
        Ok(())
    }

    fn finish(self, writer: SegmentWriter) -> io::Result<UnifiedLog> {
        let log_start = self.log_start(&writer);
        self.epochs.truncate_from_end(self.next_offset)?;
        self.epochs.truncate_from_start(log_start)?;
        let log_end = OffsetPosition {
            offset: self.next_offset,
            segment: writer.segment().base_offset(),
            position: writer.size(),
        };
        let ends = Ends { log_start, log_end, high_watermark: log_end, last_stable: log_end };
        let published = Published {
            sealed: self.segments.into(),
            active: Arc::clone(writer.segment()),
            newest: writer.newest(),
            ends,
            recent: Published::NOTHING_RECENT,
        };
        let OpenLog {
            disk,
            dir,
            log_dir,
            config,
            topic_partition,
            topic_id,
            recovery_point,
            high_watermark,
            clean,
            ..
        } = self.open;
        let recovery_point = if clean && self.report == RecoveryReport::default() {
            log_end.offset
        } else {
            recovery_point.min(log_end.offset)
        };
        let sealed = Arc::clone(&published.sealed);
        let epochs = self.epochs.shared();
        let view = LogView::new(topic_partition, topic_id, Arc::clone(&log_dir), epochs, published, recovery_point);
        let mut log = UnifiedLog {
            disk,
            dir,
            log_dir,
            config,
            view: Arc::new(view),
            sealed,
            writer,
            ends,
            recent: Published::NOTHING_RECENT,
            producers: self.producers,
            epochs: self.epochs,
            recovery_point,
            unsynced_sealed: self.unsynced,
            unsynced_snapshots: Vec::new(),
            names_changed: true,
            truncations: 0,
            doomed: self.doomed.into_iter().map(|path| (None, path)).collect(),
            jitter_seed: self.seed,
            recovery: self.report,
            group: super::append::Group::default(),
            results: Vec::new(),
        };
        log.log_end_is(log_end.offset);
        log.update_high_watermark(high_watermark).map_err(io::Error::other)?;
        log.producers.high_watermark_moved(log.ends.high_watermark.offset);
        log.publish().map_err(io::Error::other)?;
        Ok(log)
    }
}

fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof)
}
