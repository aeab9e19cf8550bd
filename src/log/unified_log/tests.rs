use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::log::config::CleanupPolicy;
use crate::log::index_file::Access;
use crate::log::producer_state::AppendOrigin;
use crate::log::storage::FaultyDisk;
use crate::log::validator::{Origin, Rules, Scratch, ValidatedBatch, validate};
use crate::log::view::{ReadRequest, UpTo};
use crate::protocol::record_batch::{BatchBuilder, RecordBatch, batches};

mod apache;
mod compaction;
mod concurrent;
mod faults;
mod files;
mod fixture;
mod model;
mod reads;
mod recovering;
mod trimming;
mod writes;

const DIR: &str = "/logs/t-0";

/// A disk with one partition's directory, and the settings to open it with.
struct Bench {
    disk: FaultyDisk,
    config: LogConfig,
    log_start: i64,
    recovery_point: i64,
    high_watermark: i64,
    compacted: bool,
}

impl Bench {
    fn new() -> Self {
        let disk = FaultyDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.sync_dir(Path::new("/logs")).unwrap();
        let config = LogConfig {
            retention_ms: None,
            timestamp_after_max_ms: i64::MAX,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            producer_id_expiration_ms: i64::MAX,
            ..LogConfig::default()
        };
        Self { disk, config, log_start: 0, recovery_point: 0, high_watermark: 0, compacted: false }
    }

    fn with(change: impl FnOnce(&mut LogConfig)) -> Self {
        let mut bench = Self::new();
        change(&mut bench.config);
        bench
    }

    fn try_open(&self, clean: bool) -> Result<UnifiedLog, OpenError> {
        UnifiedLog::open(OpenLog {
            disk: Arc::new(self.disk.clone()),
            dir: PathBuf::from(DIR),
            log_dir: Arc::new(LogDir::new("/logs", None, None)),
            topic_partition: TopicPartition::new("t", 0),
            topic_id: TopicId::ZERO,
            config: Arc::new(self.config.clone()),
            log_start_offset: self.log_start,
            recovery_point: self.recovery_point,
            high_watermark: self.high_watermark,
            compacted: self.compacted,
            clean,
            now: Wall(0),
            seed: 1,
        })
    }

    fn open(&self, clean: bool) -> UnifiedLog {
        self.try_open(clean).unwrap()
    }

    fn file(&self, name: &str) -> Vec<u8> {
        self.disk.read_file(&Path::new(DIR).join(name), 1 << 30).unwrap()
    }

    fn len(&self, name: &str) -> u64 {
        self.disk.metadata(&Path::new(DIR).join(name)).unwrap().len
    }

    fn names(&self) -> Vec<String> {
        self.disk.list(Path::new(DIR)).unwrap().into_iter().map(|entry| entry.name).collect()
    }
}

fn log_name(base: i64) -> String {
    crate::log::file_name::of_offset(base, ".log")
}

fn checked(bytes: Bytes, now: Wall) -> ValidatedBatch {
    let config = LogConfig { timestamp_after_max_ms: i64::MAX, ..LogConfig::default() };
    validate(bytes, &Rules::new(Origin::Coordinator, &config, now), &mut Scratch::default()).unwrap()
}

/// A batch of records with these values, all of one time.
fn plain(values: &[&str], timestamp: i64) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(0);
    for value in values {
        builder.append(timestamp, None, Some(value.as_bytes()), &[]).unwrap();
    }
    checked(builder.build(), Wall(timestamp))
}

fn from_producer(producer_id: i64, epoch: i16, sequence: i32, values: &[&str]) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(0).producer(producer_id, epoch, sequence);
    for value in values {
        builder.append(1, None, Some(value.as_bytes()), &[]).unwrap();
    }
    checked(builder.build(), Wall(0))
}

fn transactional(producer_id: i64, sequence: i32, value: &str) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(0).producer(producer_id, 0, sequence).transactional();
    builder.append(1, None, Some(value.as_bytes()), &[]).unwrap();
    checked(builder.build(), Wall(0))
}

fn end_of_txn(producer_id: i64, committed: bool) -> ValidatedBatch {
    use crate::protocol::control::{EndTxnMarker, end_txn_batch};
    let marker = EndTxnMarker { committed, coordinator_epoch: 0 };
    checked(end_txn_batch(0, 1, -1, (producer_id, 0), marker), Wall(0))
}

fn append(log: &mut UnifiedLog, batch: &ValidatedBatch) -> Result<AppendInfo, AppendError> {
    log.append_as_leader(batch, AppendOrigin::Client, 0, Wall(batch.max_timestamp()))
}

/// Appends one record and returns its offset.
fn put(log: &mut UnifiedLog, value: &str) -> i64 {
    append(log, &plain(&[value], 1)).unwrap().base_offset
}

/// All records from an offset to the log end, as readers get them.
fn read_from(log: &UnifiedLog, from: i64) -> Vec<(i64, String)> {
    let mut records = Vec::new();
    let mut next = from;
    loop {
        let request = ReadRequest {
            from: next,
            max_bytes: 100,
            up_to: UpTo::LogEnd,
            at_least_one: true,
            access: Access::Blocking,
        };
        let Some(range) = log.view().read(&request).unwrap().range else { return records };
        let mut bytes = vec![0; range.len as usize];
        range.read_at(0, &mut bytes).unwrap();
        for batch in batches(&bytes).checked() {
            let Ok(batch) = batch else { break };
            values(&batch, next, &mut records);
            next = batch.header().next_offset();
        }
    }
}

fn values(batch: &RecordBatch<'_>, from: i64, out: &mut Vec<(i64, String)>) {
    for record in batch.records() {
        let record = record.unwrap();
        let offset = batch.header().base_offset + i64::from(record.offset_delta);
        if offset >= from && !batch.header().is_control() {
            out.push((offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
}

fn all(log: &UnifiedLog) -> Vec<(i64, String)> {
    read_from(log, log.log_start_offset())
}

fn texts(log: &UnifiedLog) -> Vec<String> {
    all(log).into_iter().map(|(_, text)| text).collect()
}
