//! Appending: offsets, duplicates, refusals, rolling, groups.

use super::*;
use crate::log::storage::faulty::{Effect, Fault, Operation};
use crate::model::error_code::ErrorCode;

fn code(result: Result<AppendInfo, AppendError>) -> ErrorCode {
    result.unwrap_err().code()
}

#[test]
fn a_duplicate_gets_the_offsets_of_the_first() {
    let bench = Bench::new();
    let mut log = bench.open(false);
    put(&mut log, "other");
    let batch = from_producer(1, 0, 0, &["a", "b", "c"]);
    let first = append(&mut log, &batch).unwrap();
    assert_eq!((first.base_offset, first.last_offset, first.duplicate), (1, 3, false));
    let second = append(&mut log, &batch).unwrap();
    assert_eq!(second, AppendInfo { duplicate: true, log_append_time: 1, ..first }, "with the time of the batch");
    assert_eq!(log.log_end_offset(), 4);
    assert_eq!(code(append(&mut log, &from_producer(1, 0, 4, &["gap"]))), ErrorCode::OutOfOrderSequenceNumber);
    append(&mut log, &from_producer(1, 1, 0, &["new epoch"])).unwrap();
    assert_eq!(code(append(&mut log, &from_producer(1, 0, 3, &["fenced"]))), ErrorCode::InvalidProducerEpoch);
    log.close().unwrap();

    let mut log = bench.open(true);
    let again = append(&mut log, &from_producer(1, 1, 0, &["new epoch"])).unwrap();
    assert_eq!((again.base_offset, again.duplicate), (4, true), "the producers outlive a restart");
    assert_eq!(texts(&log), ["other", "a", "b", "c", "new epoch"]);
}

#[test]
fn a_group_is_one_write_and_each_batch_has_its_result() {
    let bench = Bench::new();
    let mut log = bench.open(false);
    put(&mut log, "first");
    let batches = [
        plain(&["a", "b"], 1),
        from_producer(1, 0, 0, &["c"]),
        from_producer(1, 0, 0, &["c"]),
        from_producer(1, 0, 9, &["gap"]),
        plain(&["d"], 1),
    ];
    let appends: Vec<LeaderAppend<'_>> = batches
        .iter()
        .map(|batch| LeaderAppend {
            batch,
            origin: AppendOrigin::Client,
            owner: crate::log::producer_state::Owner::NOBODY,
        })
        .collect();
    let mut results = Vec::new();
    bench.disk.plan(Fault { operation: Some(Operation::Write), nth: 1, effect: Effect::Fail });
    log.append_many(&appends, 0, Wall(1), &mut results);
    assert!(!bench.disk.fault_happened(), "a second write would have failed");
    let offsets: Vec<Option<(i64, bool)>> =
        results.iter().map(|result| result.as_ref().ok().map(|info| (info.base_offset, info.duplicate))).collect();
    assert_eq!(offsets, [Some((1, false)), Some((3, false)), Some((3, true)), None, Some((4, false))]);
    assert_eq!(texts(&log), ["first", "a", "b", "c", "d"]);
}

#[test]
fn a_failed_write_fails_all_of_its_group_and_the_directory() {
    let bench = Bench::with(|config| config.segment_bytes = 300);
    let mut log = bench.open(false);
    let batches: Vec<ValidatedBatch> = (0..9).map(|n| from_producer(1, 0, n, &["0123456789"])).collect();
    let appends: Vec<LeaderAppend<'_>> = batches
        .iter()
        .map(|batch| LeaderAppend {
            batch,
            origin: AppendOrigin::Client,
            owner: crate::log::producer_state::Owner::NOBODY,
        })
        .collect();
    // Three batches fit into a segment: the first group is written, the second one is not.
    bench.disk.plan(Fault { operation: Some(Operation::Write), nth: 2, effect: Effect::Full(100) });
    let mut results = Vec::new();
    log.append_many(&appends, 0, Wall(1), &mut results);
    assert!(bench.disk.fault_happened());
    let written = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!((results.len(), written as i64), (9, log.log_end_offset()));
    assert!(written > 0 && results[..written].iter().all(Result::is_ok));
    bench.disk.heal();
    assert_eq!(code(append(&mut log, &plain(&["x"], 1))), ErrorCode::KafkaStorageError);
    assert!(log.flush().is_err() && log.retention(Wall(0)).is_err() && log.truncate_to(0, Wall(0)).is_err());
    assert!(!log.log_dir().is_online());

    bench.disk.kill();
    let mut log = bench.open(false);
    let reached = i32::try_from(log.log_end_offset()).unwrap();
    assert!(reached >= written as i32);
    append(&mut log, &from_producer(1, 0, reached, &["goes on"])).unwrap();
}

#[test]
fn segments_roll_by_size_time_and_full_index() {
    let bench = Bench::with(|config| {
        config.segment_bytes = 2000;
        config.segment_ms = 50;
        config.index_interval_bytes = 1;
        config.segment_index_bytes = 48;
    });
    let mut log = bench.open(false);
    append(&mut log, &plain(&["a"], 100)).unwrap();
    append(&mut log, &plain(&["b"], 150)).unwrap();
    assert_eq!(log.view().segment_count(), 1);
    append(&mut log, &plain(&["c"], 151)).unwrap();
    assert_eq!(log.view().segment_count(), 2, "51 ms after the first record of the segment");
    let big = "x".repeat(1200);
    append(&mut log, &plain(&[&big], 151)).unwrap();
    append(&mut log, &plain(&[&big], 151)).unwrap();
    assert_eq!(log.view().segment_count(), 3, "2000 bytes");
    for _ in 0..7 {
        append(&mut log, &plain(&["i"], 151)).unwrap();
    }
    assert_eq!(log.view().segment_count(), 4, "six index entries");
    let too_large = plain(&[&"x".repeat(2000)], 151);
    assert_eq!(code(append(&mut log, &too_large)), ErrorCode::RecordListTooLarge);
    assert_eq!(all(&log).len(), 12);
}

#[test]
fn raw_batches_keep_their_offsets() {
    let bench = Bench::with(|config| config.segment_bytes = 400);
    let mut log = bench.open(false);
    let batch = |offset: i64, epoch: i32, text: &str| {
        let mut builder = BatchBuilder::new(offset).leader_epoch(epoch).producer(1, 0, offset as i32);
        builder.append(1, None, Some(text.as_bytes()), &[]).unwrap();
        builder.build()
    };
    let two = Bytes::from([batch(0, 3, "a"), batch(5, 4, "b")].concat());
    let info = log.append_raw(&two, Wall(0)).unwrap();
    assert_eq!((info.first_offset, info.last_offset), (0, 5));
    assert_eq!(bench.file("leader-epoch-checkpoint"), b"0\n2\n3 0\n4 5\n");
    let behind = log.append_raw(&batch(5, 4, "again"), Wall(0)).unwrap_err();
    assert_eq!(behind, AppendError::UnexpectedOffset { found: 5, log_end: 6 });
    let mut damaged = batch(6, 4, "c").to_vec();
    *damaged.last_mut().unwrap() ^= 1;
    let sound_then_damaged = Bytes::from([batch(6, 4, "c").to_vec(), damaged].concat());
    assert_eq!(log.append_raw(&sound_then_damaged, Wall(0)).unwrap_err().code(), ErrorCode::CorruptMessage);
    assert_eq!(log.log_end_offset(), 6, "nothing of it was written");
    for offset in 6..12 {
        log.append_raw(&batch(offset, 4, "x"), Wall(0)).unwrap();
    }
    // Past what a segment's relative offsets can say.
    let far = i64::from(i32::MAX) * 2;
    log.append_raw(&batch(far, 4, "far"), Wall(0)).unwrap();
    assert!(bench.names().contains(&log_name(far)));
    assert_eq!(all(&log).last().unwrap(), &(far, "far".to_owned()));
    assert_eq!(log.producers().get(1).unwrap().last_batch().unwrap().last_offset, far);
}

#[test]
fn the_stable_offset_waits_for_transactions() {
    let bench = Bench::new();
    let mut log = bench.open(false);
    put(&mut log, "plain");
    append(&mut log, &transactional(1, 0, "open")).unwrap();
    put(&mut log, "behind");
    log.update_high_watermark(3).unwrap();
    assert_eq!(log.ends().last_stable.offset, 1);
    log.append_as_leader(&end_of_txn(1, true), AppendOrigin::Coordinator, 0, Wall(0)).unwrap();
    assert_eq!(log.ends().last_stable.offset, 1, "the marker is not below the high watermark");
    assert_eq!(log.update_high_watermark(99).unwrap(), 4);
    assert_eq!(log.ends().last_stable, log.ends().log_end);
    append(&mut log, &transactional(1, 1, "second")).unwrap();
    log.update_high_watermark(5).unwrap();
    log.close().unwrap();
    let log = Bench { high_watermark: 5, ..bench }.open(true);
    assert_eq!(log.ends().last_stable.offset, 4, "an open transaction outlives a restart");
}
