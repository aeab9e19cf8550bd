//! What readers get: ranges, limits, times, epochs.

use super::*;
use crate::log::leader_epoch_cache::EpochEndOffset;
use crate::log::segment::FileRange;
use crate::log::view::{ReadError, ReadSlice};
use crate::model::compression::CompressionType;
use crate::model::error_code::ErrorCode;
use crate::protocol::compression::Decompressor;

fn request(from: i64, max_bytes: u32, up_to: UpTo) -> ReadRequest {
    ReadRequest { from, max_bytes, up_to, at_least_one: true, access: Access::Blocking }
}

fn read(log: &UnifiedLog, from: i64, max_bytes: u32, up_to: UpTo) -> ReadSlice {
    log.view().read(&request(from, max_bytes, up_to)).unwrap()
}

fn bytes(range: &FileRange) -> Vec<u8> {
    let mut bytes = vec![0; range.len as usize];
    range.read_at(0, &mut bytes).unwrap();
    bytes
}

/// Ten batches of ten records each, three a segment, high watermark 80.
fn hundred() -> (Bench, UnifiedLog) {
    let bench = Bench::with(|config| {
        config.segment_bytes = 700;
        config.index_interval_bytes = 100;
    });
    let mut log = bench.open(false);
    for batch in 0..10 {
        let values: Vec<String> = (0..10).map(|n| format!("value-{}", batch * 10 + n)).collect();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        append(&mut log, &plain(&values, 1000 + batch)).unwrap();
    }
    log.update_high_watermark(80).unwrap();
    (bench, log)
}

#[test]
fn every_offset_is_found_with_its_batch_first() {
    let (_, log) = hundred();
    assert!(log.view().segment_count() >= 3);
    for from in 0..100 {
        let range = read(&log, from, 1, UpTo::LogEnd).range.unwrap();
        let header = *RecordBatch::parse(&bytes(&range)).unwrap().header();
        assert_eq!((header.base_offset, header.size_in_bytes() as u32), (from / 10 * 10, range.len), "from {from}");
        assert_eq!(read_from(&log, from).len() as i64, 100 - from);
    }
}

#[test]
fn the_ends_are_kept() {
    let (_, log) = hundred();
    assert!(read(&log, 100, 1000, UpTo::LogEnd).range.is_none());
    assert!(read(&log, 80, 1000, UpTo::HighWatermark).range.is_none());
    assert!(read(&log, 90, 1000, UpTo::HighWatermark).range.is_none(), "past the high watermark is not out of range");
    for from in 0..80 {
        let range = read(&log, from, 10_000, UpTo::HighWatermark).range.unwrap();
        let last = batches(&bytes(&range)).map(|batch| batch.unwrap().header().last_offset()).last().unwrap();
        assert!(last < 80);
    }
    for from in [-1, 101] {
        let error = log.view().read(&request(from, 1, UpTo::LogEnd)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::OffsetOutOfRange);
    }
}

#[test]
fn sizes_are_kept_but_for_the_first_batch() {
    let (_, log) = hundred();
    let first = read(&log, 0, 1, UpTo::LogEnd);
    assert!(first.has_more);
    let size = first.range.unwrap().len;
    let slice = log.view().read(&ReadRequest { at_least_one: false, ..request(0, size - 1, UpTo::LogEnd) }).unwrap();
    assert!(slice.range.is_none() && slice.has_more);
    let slice = log.view().read(&ReadRequest { at_least_one: false, ..request(0, size, UpTo::LogEnd) }).unwrap();
    assert_eq!(slice.range.unwrap().len, size);
    assert_eq!(
        read(&log, 0, size + 7, UpTo::LogEnd).range.unwrap().len,
        size + 7,
        "the last batch is cut, as Kafka does"
    );
    assert!(!read(&log, 99, 10_000, UpTo::LogEnd).has_more);
}

#[test]
fn a_reader_at_the_tail_touches_no_index_and_no_disk() {
    let (bench, mut log) = hundred();
    let end = log.log_end_offset();
    append(&mut log, &plain(&["new"], 2000)).unwrap();
    bench.disk.evict_cache(true);
    let cached = ReadRequest { access: Access::Cached, ..request(end, 10_000, UpTo::LogEnd) };
    assert!(log.view().read(&cached).unwrap().range.is_some());
    let older = ReadRequest { from: 3, ..cached };
    assert!(matches!(log.view().read(&older).unwrap_err(), ReadError::WouldBlock));
    let range = log.view().read(&cached).unwrap().range.unwrap();
    assert_eq!(range.read_nowait(0, &mut [0; 10]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    bench.disk.evict_cache(false);
    assert_eq!(log.view().read(&older).unwrap().range.unwrap().read_nowait(0, &mut [0; 10]).unwrap(), 10);
}

#[test]
fn a_range_outlives_its_segment_but_not_its_bytes() {
    let (_, mut log) = hundred();
    let range = read(&log, 0, 10_000, UpTo::LogEnd).range.unwrap();
    let before = bytes(&range);
    log.delete_records(80).unwrap();
    assert!(log.retention(Wall(0)).unwrap() > 0);
    assert_eq!(bytes(&range), before);
    assert_eq!(range.part(10, 20).len, 20);
    assert_eq!(range.part(range.len - 5, 20).len, 5);
    assert_eq!(range.read_at(range.len, &mut [0]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    assert_eq!(log.view().read(&request(0, 1, UpTo::LogEnd)).unwrap_err().code(), ErrorCode::OffsetOutOfRange);

    let tail = read(&log, 99, 10_000, UpTo::LogEnd).range.unwrap();
    log.truncate_to(95, Wall(0)).unwrap();
    let mut buffer = vec![0; tail.len as usize];
    assert_eq!(tail.read_at(0, &mut buffer).unwrap_err().kind(), io::ErrorKind::UnexpectedEof, "damage, not zeros");
}

#[test]
fn records_are_found_by_time() {
    let bench = Bench::with(|config| {
        config.segment_bytes = 600;
        config.index_interval_bytes = 100;
    });
    let mut log = bench.open(false);
    let codecs = [
        CompressionType::None,
        CompressionType::Gzip,
        CompressionType::Snappy,
        CompressionType::Lz4,
        CompressionType::Zstd,
    ];
    // Record n has time 10 n, but within a batch of five they fall.
    for batch in 0..10 {
        let mut builder = BatchBuilder::new(0).compression(codecs[batch % 5]);
        for n in 0..5 {
            builder
                .append((batch * 50 + 40 - n * 10) as i64, None, Some(b"0123456789012345678901234567890"), &[])
                .unwrap();
        }
        append(&mut log, &checked(builder.build(), Wall(0))).unwrap();
    }
    log.assign_epoch(3).unwrap();
    let mut decompressor = Decompressor::new();
    let mut find = |log: &UnifiedLog, timestamp| {
        let found = log.view().offset_for_timestamp(timestamp, &mut decompressor).unwrap();
        found.map(|found| (found.timestamp, found.offset))
    };
    assert!(log.view().segment_count() > 2);
    assert_eq!(find(&log, -5), Some((40, 0)));
    assert_eq!(find(&log, 40), Some((40, 0)), "the first with at least this time");
    assert_eq!(find(&log, 41), Some((90, 5)));
    assert_eq!(find(&log, 301), Some((340, 30)));
    assert_eq!(find(&log, 490), Some((490, 45)));
    assert_eq!(find(&log, 491), None);
    let newest = log.view().max_timestamp(&mut Decompressor::new()).unwrap().unwrap();
    assert_eq!((newest.timestamp, newest.offset, newest.leader_epoch), (490, 45, Some(0)));
    log.update_high_watermark(50).unwrap();
    log.delete_records(7).unwrap();
    assert_eq!(find(&log, 0), Some((70, 7)), "not before the log start");
    assert_eq!((log.view().earliest().offset, log.view().earliest().leader_epoch), (7, Some(0)));
    assert_eq!((log.view().latest(UpTo::LogEnd).offset, log.view().latest(UpTo::LogEnd).leader_epoch), (50, Some(3)));
    log.close().unwrap();
    assert_eq!(find(&Bench { log_start: 7, ..bench }.open(true), 301), Some((340, 30)));
}

#[test]
fn an_empty_log_has_no_times() {
    let bench = Bench::new();
    let log = bench.open(false);
    assert_eq!(log.view().offset_for_timestamp(0, &mut Decompressor::new()).unwrap(), None);
    assert_eq!(log.view().max_timestamp(&mut Decompressor::new()).unwrap(), None);
    assert_eq!(log.view().earliest().leader_epoch, None);
}

#[test]
fn epochs_end_where_the_next_begins() {
    let bench = Bench::new();
    let mut log = bench.open(false);
    for epoch in [0, 0, 2, 5] {
        log.append_as_leader(&plain(&["x"], 1), AppendOrigin::Client, epoch, Wall(0)).unwrap();
    }
    let end = |epoch| log.view().end_offset_for_epoch(epoch);
    assert_eq!(end(0), EpochEndOffset { epoch: 0, end_offset: 2 });
    assert_eq!(end(1), EpochEndOffset { epoch: 0, end_offset: 2 });
    assert_eq!(end(5), EpochEndOffset { epoch: 5, end_offset: 4 });
    assert_eq!(end(6), EpochEndOffset::UNKNOWN);
    assert_eq!(log.view().epoch_for_offset(2), Some(2));
}

#[test]
fn readers_of_committed_records_learn_what_was_aborted() {
    let bench = Bench::with(|config| config.segment_bytes = 300);
    let mut log = bench.open(false);
    let abort = |log: &mut UnifiedLog, sequence| {
        append(log, &transactional(1, sequence, "aborted")).unwrap();
        log.append_as_leader(&end_of_txn(1, false), AppendOrigin::Coordinator, 0, Wall(0)).unwrap();
        log.update_high_watermark(i64::MAX).unwrap();
    };
    for sequence in 0..6 {
        abort(&mut log, sequence);
    }
    assert!(log.view().segment_count() > 2);
    for from in (0..12).step_by(2) {
        let slice = read(&log, from, 1, UpTo::LastStable);
        assert!(slice.aborted.iter().any(|txn| txn.first_offset == from), "from {from}");
        assert!(slice.aborted.iter().all(|txn| txn.last_offset >= from));
    }
    assert!(read(&log, 0, 1, UpTo::HighWatermark).aborted.is_empty());
}
