//! Appending: offsets and epochs assigned, duplicates answered, segments rolled, one write for all.

use std::io::IoSlice;

use bytes::Bytes;

use super::UnifiedLog;
use crate::log::log_dir::StorageError;
use crate::log::producer_state::{AppendOrigin, BatchMetadata, Owner, ProducerBatch, ProducerError};
use crate::log::segment::Segment;
use crate::log::segment_writer::{Pending, RollRequest, SealedSegment, SegmentWriter};
use crate::log::time_index::TimestampOffset;
use crate::log::transaction_index::AbortedTxn;
use crate::log::validator::{Origin, ValidatedBatch};
use crate::log::view::Published;
use crate::log::width::to_u64;
use crate::model::error_code::ErrorCode;
use crate::model::time::Wall;
use crate::protocol::control::{ControlRecord, EndTxnMarker};
use crate::protocol::record_batch::{BatchDamage, BatchHeader, HEADER_LEN, Record, batches};

impl From<Origin> for AppendOrigin {
    fn from(origin: Origin) -> Self {
        match origin {
            Origin::Client => Self::Client,
            Origin::Coordinator => Self::Coordinator,
        }
    }
}

/// A batch and who sends it.
#[derive(Clone, Copy, Debug)]
pub struct LeaderAppend<'a> {
    pub batch: &'a ValidatedBatch,
    pub origin: AppendOrigin,
    pub owner: Owner,
}

/// Where a batch lies now; for a duplicate, where it has lain since it was first sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AppendInfo {
    pub base_offset: i64,
    pub last_offset: i64,
    /// -1 with `CreateTime`, unless it is a duplicate: then the largest timestamp of the batch.
    pub log_append_time: i64,
    pub log_start_offset: i64,
    pub duplicate: bool,
}

/// Why a batch is not in the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error(transparent)]
    Producer(#[from] ProducerError),
    #[error("a batch of {size} bytes does not fit into a segment of {segment_bytes}")]
    LargerThanSegment { size: usize, segment_bytes: u32 },
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Bytes copied from a leader are not batches.
    #[error(transparent)]
    Corrupt(#[from] BatchDamage),
    /// Bytes copied from a leader do not go on where the log ends.
    #[error("a batch at offset {found} can't follow a log that ends at {log_end}")]
    UnexpectedOffset { found: i64, log_end: i64 },
}

impl AppendError {
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Producer(error) => error.code(),
            Self::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            Self::Storage(error) => error.code(),
            Self::Corrupt(_) => ErrorCode::CorruptMessage,
            Self::UnexpectedOffset { .. } => ErrorCode::UnknownServerError,
        }
    }
}

/// What was appended of a leader's bytes; the offsets are the leader's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RawAppendInfo {
    pub first_offset: i64,
    pub last_offset: i64,
    pub max_timestamp: i64,
}

/// Batches that are about to be written together. Kept from call to call for its memory.
#[derive(Debug, Default)]
pub(super) struct Group {
    headers: Vec<BatchHeader>,
    /// What is written of what a leader appends: patched headers, and which of the call's batches they belong to.
    heads: Vec<[u8; HEADER_LEN]>,
    members: Vec<usize>,
    aborted: Vec<AbortedTxn>,
    bytes: u64,
}

/// Where the bytes of a group are.
#[derive(Clone, Copy)]
enum Source<'a> {
    Leader(&'a [LeaderAppend<'a>]),
    Raw(&'a [u8]),
}

impl UnifiedLog {
    /// Appends one batch as the partition's leader and publishes the new end.
    ///
    /// # Errors
    /// [`AppendError`]; the log is as it was, unless the disk failed.
    pub fn append_as_leader(
        &mut self,
        batch: &ValidatedBatch,
        origin: AppendOrigin,
        leader_epoch: i32,
        now: Wall,
    ) -> Result<AppendInfo, AppendError> {
        let mut results = std::mem::take(&mut self.results);
        self.append_many(&[LeaderAppend { batch, origin, owner: Owner::NOBODY }], leader_epoch, now, &mut results);
        let result = results.pop();
        self.results = results;
        // One result a batch is what `append_many` gives.
        result.unwrap_or_else(|| Err(self.log_dir.fail("append", &std::io::Error::other("no result")).into()))
    }

    /// Appends batches in their order as the partition's leader, with one write for all that go into the same segment,
    /// publishes the new end once, and adds one result for each to `results`.
    pub fn append_many(
        &mut self,
        batches: &[LeaderAppend<'_>],
        leader_epoch: i32,
        now: Wall,
        results: &mut Vec<Result<AppendInfo, AppendError>>,
    ) {
        let first_of_call = results.len();
        let mut group = std::mem::take(&mut self.group);
        let outcome = self.append_groups(&mut group, batches, leader_epoch, now, results);
        group.clear();
        self.group = group;
        if let Err(error) = outcome {
            // What a failed write left in memory or on the disk is of no use any more: nothing of the group counts.
            for result in results.iter_mut().skip(first_of_call) {
                if result.as_ref().is_ok_and(|info| info.last_offset >= self.ends.log_end.offset) {
                    *result = Err(error.clone().into());
                }
            }
            results.resize_with(first_of_call + batches.len(), || Err(error.clone().into()));
        }
    }

    fn append_groups(
        &mut self,
        group: &mut Group,
        batches: &[LeaderAppend<'_>],
        leader_epoch: i32,
        now: Wall,
        results: &mut Vec<Result<AppendInfo, AppendError>>,
    ) -> Result<(), StorageError> {
        self.log_dir.check()?;
        let source = Source::Leader(batches);
        let mut next_offset = self.ends.log_end.offset;
        for (member, append) in batches.iter().enumerate() {
            let producer = match self.admit(append, next_offset) {
                Ok(Admitted::New(producer)) => producer,
                Ok(Admitted::Duplicate(known)) => {
                    results.push(Ok(self.duplicate(&known)));
                    continue;
                }
                Err(error) => {
                    results.push(Err(error));
                    continue;
                }
            };
            let batch = append.batch;
            let mut header = *batch.header();
            header.base_offset = next_offset;
            header.partition_leader_epoch = leader_epoch;
            let request = RollRequest {
                now,
                bytes: to_u64(batch.size_in_bytes()),
                max_timestamp: header.max_timestamp,
                last_offset: header.last_offset(),
            };
            if self.writer.should_roll(&request, &group.pending(), &self.config) {
                self.write(group, source, next_offset)?;
                self.roll(next_offset, now)?;
            }
            if self.epochs.latest_epoch() != Some(leader_epoch) {
                let assigned = self.epochs.assign(leader_epoch, next_offset);
                self.guard("write the leader epochs of", assigned)?;
            }
            group.heads.push(batch.header_bytes(next_offset, leader_epoch));
            group.members.push(member);
            group.headers.push(header);
            group.bytes += request.bytes;
            self.remember(producer.as_ref(), group);
            next_offset = header.next_offset();
            results.push(Ok(AppendInfo {
                base_offset: header.base_offset,
                last_offset: header.last_offset(),
                log_append_time: batch.log_append_time().unwrap_or(-1),
                log_start_offset: self.ends.log_start,
                duplicate: false,
            }));
        }
        self.write(group, source, next_offset)?;
        self.publish()
    }

    /// Appends batches that have their offsets already: a follower's copy of its leader's log, or what the metadata
    /// quorum decided. Every batch is checked whole before the first is written.
    ///
    /// # Errors
    /// [`AppendError`]; the log is as it was, unless the disk failed.
    pub fn append_raw(&mut self, records: &Bytes, now: Wall) -> Result<RawAppendInfo, AppendError> {
        self.log_dir.check()?;
        let log_end = self.ends.log_end.offset;
        let mut info = RawAppendInfo { first_offset: log_end, last_offset: log_end - 1, max_timestamp: -1 };
        let mut headers = Vec::new();
        for batch in batches(records).checked() {
            let batch = batch?;
            let header = *batch.header();
            if header.base_offset <= info.last_offset || header.last_offset_delta < 0 {
                return Err(AppendError::UnexpectedOffset { found: header.base_offset, log_end });
            }
            let size = batch.size_in_bytes();
            if to_u64(size) > u64::from(self.config.segment_bytes) {
                return Err(AppendError::LargerThanSegment { size, segment_bytes: self.config.segment_bytes });
            }
            if headers.is_empty() {
                info.first_offset = header.base_offset;
            }
            info.last_offset = header.last_offset();
            info.max_timestamp = info.max_timestamp.max(header.max_timestamp);
            headers.push((header, marker_of(&header, batch.record_bytes())));
        }
        self.write_raw(records, &headers, now)?;
        Ok(info)
    }

    fn write_raw(
        &mut self,
        records: &[u8],
        batches: &[(BatchHeader, Option<EndTxnMarker>)],
        now: Wall,
    ) -> Result<(), StorageError> {
        let mut group = Group::default();
        let mut next_offset = self.ends.log_end.offset;
        // The group's batches are these bytes, one behind the other.
        let (mut from, mut to) = (0, 0);
        let source = |from, to| Source::Raw(records.get(from..to).unwrap_or_default());
        for (header, marker) in batches {
            let size = header.size_in_bytes();
            let request = RollRequest {
                now,
                bytes: to_u64(size),
                max_timestamp: header.max_timestamp,
                last_offset: header.last_offset(),
            };
            if self.writer.should_roll(&request, &group.pending(), &self.config) {
                self.write(&mut group, source(from, to), next_offset)?;
                self.roll(header.base_offset, now)?;
                from = to;
            }
            let epoch = header.partition_leader_epoch;
            if epoch >= 0 && self.epochs.latest_epoch() != Some(epoch) {
                let assigned = self.epochs.assign(epoch, header.base_offset);
                self.guard("write the leader epochs of", assigned)?;
            }
            group.headers.push(*header);
            group.bytes += request.bytes;
            to += size;
            let producer = ProducerBatch::new(header, header.base_offset, *marker);
            self.remember(producer.as_ref(), &mut group);
            next_offset = header.next_offset();
        }
        self.write(&mut group, source(from, to), next_offset)?;
        self.publish()
    }

    /// Does the producer's state let this batch in?
    fn admit(&self, append: &LeaderAppend<'_>, offset: i64) -> Result<Admitted, AppendError> {
        let size = append.batch.size_in_bytes();
        if to_u64(size) > u64::from(self.config.segment_bytes) {
            return Err(AppendError::LargerThanSegment { size, segment_bytes: self.config.segment_bytes });
        }
        let header = append.batch.header();
        let marker = marker_of(header, append.batch.record_bytes());
        let Some(producer) = ProducerBatch::new(header, offset, marker) else { return Ok(Admitted::New(None)) };
        match self.producers.check(&producer, append.origin)? {
            Some(known) => Ok(Admitted::Duplicate(known)),
            None => Ok(Admitted::New(Some(ProducerBatch { owner: append.owner, ..producer }))),
        }
    }

    /// Kafka tells the batch's own time, whatever the topic's timestamps are.
    fn duplicate(&self, known: &BatchMetadata) -> AppendInfo {
        AppendInfo {
            base_offset: known.first_offset(),
            last_offset: known.last_offset,
            log_append_time: known.timestamp,
            log_start_offset: self.ends.log_start,
            duplicate: true,
        }
    }

    /// Takes a batch into the producers' state before it is written: a failed write ends the log anyway.
    fn remember(&mut self, producer: Option<&ProducerBatch>, group: &mut Group) {
        let Some(completed) = producer.and_then(|producer| self.producers.apply(producer)) else { return };
        if completed.is_aborted {
            group.aborted.push(AbortedTxn {
                producer_id: completed.producer_id,
                first_offset: completed.first_offset,
                last_offset: completed.last_offset,
                last_stable_offset: self.producers.last_stable_offset_after(&completed),
            });
        }
        self.producers.complete(&completed);
    }

    /// Writes a group at the end of the active segment and empties it.
    fn write(&mut self, group: &mut Group, source: Source<'_>, next_offset: i64) -> Result<(), StorageError> {
        if group.headers.is_empty() {
            return Ok(());
        }
        let written = match (source, &*group.heads) {
            (Source::Raw(bytes), _) => self.writer.append(&mut [IoSlice::new(bytes)], &group.headers),
            (Source::Leader(batches), [head]) => {
                self.writer.append(&mut [IoSlice::new(head), group.rest(batches, 0)], &group.headers)
            }
            (Source::Leader(batches), heads) => {
                let mut slices = Vec::with_capacity(heads.len() * 2);
                for (n, head) in heads.iter().enumerate() {
                    slices.extend([IoSlice::new(head), group.rest(batches, n)]);
                }
                self.writer.append(&mut slices, &group.headers)
            }
        };
        self.guard("append to", written)?;
        for entry in &group.aborted {
            let added = self.writer.segment().transaction_index.append(&*self.disk, *entry);
            self.guard("write the transaction index of", added)?;
            self.names_changed = true;
        }
        group.clear();
        self.producers.set_map_end_offset(next_offset);
        self.log_end_is(next_offset);
        Ok(())
    }

    /// Ends the active segment here, unless it is empty: what lies before the log end can then be removed as whole segments
    /// (the metadata log, when it purges).
    ///
    /// # Errors
    /// [`StorageError`].
    pub fn roll_active(&mut self, now: Wall) -> Result<(), StorageError> {
        self.log_dir.check()?;
        if self.writer.size() > 0 {
            self.roll(self.ends.log_end.offset, now)?;
            self.publish()?;
        }
        Ok(())
    }

    /// Ends the active segment and goes on in a new one from `base_offset` on.
    pub(super) fn roll(&mut self, base_offset: i64, now: Wall) -> Result<(), StorageError> {
        let sealed = self.writer.seal();
        let sealed = self.guard("seal a segment of", sealed)?;
        if self.config.cleanup_policy.compact {
            // A power cut must not leave a hole here: in a compacted log it would look like what a compaction has left.
            let synced = sealed.segment.log().sync();
            self.guard("sync", synced)?;
        }
        self.producers.set_map_end_offset(base_offset);
        let snapshot = self.producers.take_snapshot();
        self.unsynced_snapshots.extend(self.guard("write the producers of", snapshot)?);
        self.unsynced_sealed.push(std::sync::Arc::clone(&sealed.segment));
        self.sealed = self.sealed.iter().cloned().chain([sealed]).collect();
        self.start_segment(base_offset, now)
    }

    /// Makes an empty segment the active one; the log ends where it begins.
    pub(super) fn start_segment(&mut self, base_offset: i64, now: Wall) -> Result<(), StorageError> {
        let jitter_ms = super::jitter(&mut self.jitter_seed, &self.config);
        let made = Segment::create(&*self.disk, &self.dir, base_offset, &self.config).and_then(|segment| {
            SegmentWriter::new(segment.into(), 0, TimestampOffset::UNKNOWN, now, jitter_ms, &self.config)
        });
        self.writer = self.guard("make a segment of", made)?;
        self.names_changed = true;
        self.recent = Published::NOTHING_RECENT;
        let old_end = self.ends.log_end.offset;
        self.log_end_is(base_offset);
        if self.ends.high_watermark.offset == old_end && old_end == base_offset {
            self.ends.high_watermark = self.ends.log_end;
        }
        Ok(())
    }

    /// Segments that take no more records, oldest first.
    pub(super) fn sealed(&self) -> &[SealedSegment] {
        &self.sealed
    }
}

enum Admitted {
    New(Option<ProducerBatch>),
    Duplicate(BatchMetadata),
}

impl Group {
    fn clear(&mut self) {
        self.headers.clear();
        self.heads.clear();
        self.members.clear();
        self.aborted.clear();
        self.bytes = 0;
    }

    fn pending(&self) -> Pending {
        Pending { bytes: self.bytes, first_timestamp: self.headers.first().map(|header| header.max_timestamp) }
    }

    /// What follows the n-th header.
    fn rest<'a>(&self, batches: &'a [LeaderAppend<'a>], n: usize) -> IoSlice<'a> {
        let batch = self.members.get(n).and_then(|member| batches.get(*member));
        IoSlice::new(batch.map_or(&[], |append| append.batch.record_bytes()))
    }
}

/// How a control batch ends a transaction; `None` for any other batch.
pub(in crate::log) fn marker_of(header: &BatchHeader, records: &[u8]) -> Option<EndTxnMarker> {
    if !header.is_control() || !header.has_producer_id() {
        return None;
    }
    let (record, _) = Record::parse(records).ok()?;
    EndTxnMarker::parse(&ControlRecord::parse(&record).ok()?).ok()?
}
