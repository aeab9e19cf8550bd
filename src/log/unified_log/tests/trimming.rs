//! Retention, DeleteRecords, truncation, delayed removal.

use std::time::Duration;

use super::*;

/// Six segments of one record each unless the configuration says otherwise, of times 0 to 50, all below the high watermark.
fn six(change: impl FnOnce(&mut LogConfig)) -> (Bench, UnifiedLog) {
    let bench = Bench::with(|config| {
        config.segment_bytes = 100;
        change(config);
    });
    let mut log = bench.open(false);
    for n in 0..6 {
        append(&mut log, &plain(&[&format!("{n}{}", "x".repeat(20))], n * 10)).unwrap();
    }
    log.update_high_watermark(6).unwrap();
    (bench, log)
}

#[test]
fn time_takes_old_segments_and_at_last_the_active_one() {
    let (bench, mut log) = six(|config| config.retention_ms = Some(15));
    assert_eq!(log.retention(Wall(25)).unwrap(), 1);
    assert_eq!((log.log_start_offset(), all(&log).len()), (1, 5));
    log.update_high_watermark(3).unwrap();
    assert_eq!(log.retention(Wall(1000)).unwrap(), 2, "never past the high watermark");
    log.update_high_watermark(6).unwrap();
    assert_eq!(log.retention(Wall(1000)).unwrap(), 3);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (6, 6));
    assert_eq!(log.retention(Wall(1000)).unwrap(), 0, "an empty active segment stays");
    let left: Vec<String> = bench.names().into_iter().filter(|name| name.ends_with(".log")).collect();
    assert_eq!(left, [log_name(6)]);
    assert_eq!(put(&mut log, "next"), 6);
}

#[test]
fn size_takes_what_is_in_excess() {
    let (_, mut log) = six(|_| {});
    let one = log.view().size_in_bytes() / 6;
    log.set_config(Arc::new(LogConfig { retention_bytes: Some(one * 3 + 1), ..LogConfig::clone(log.config()) }));
    assert_eq!(log.retention(Wall(0)).unwrap(), 2, "what remains may still exceed the limit by part of a segment");
    assert_eq!(log.view().size_in_bytes(), one * 4);
    log.set_config(Arc::new(LogConfig {
        cleanup_policy: CleanupPolicy { delete: false, compact: true },
        ..LogConfig::clone(log.config())
    }));
    assert_eq!(log.retention(Wall(i64::MAX)).unwrap(), 0);
}

#[test]
fn deleted_records_are_gone_at_once_and_their_segments_later() {
    let (bench, mut log) = six(|config| config.cleanup_policy = CleanupPolicy { delete: false, compact: true });
    assert_eq!(log.delete_records(2).unwrap(), 2);
    assert_eq!(all(&log).first().unwrap().0, 2);
    assert_eq!(bench.file("leader-epoch-checkpoint"), b"0\n1\n0 2\n");
    assert_eq!(log.view().first_segment_offset(), 0);
    assert_eq!(log.delete_records(1).unwrap(), 2, "never back");
    assert!(matches!(log.delete_records(7), Err(DeleteRecordsError::OffsetOutOfRange { high_watermark: 6, .. })));
    assert!(log.delete_records(-2).is_err());
    assert_eq!(log.retention(Wall(0)).unwrap(), 2);
    assert_eq!(log.view().first_segment_offset(), 2);
    assert_eq!(log.delete_records(-1).unwrap(), 6);
    log.close().unwrap();
    let log = Bench { log_start: 6, ..bench }.open(true);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (6, 6));
}

#[test]
fn removed_files_wait_under_another_name() {
    let (bench, mut log) = six(|config| config.file_delete_delay = Duration::from_secs(60));
    log.delete_records(2).unwrap();
    log.retention(Wall(0)).unwrap();
    let waiting = |bench: &Bench| bench.names().into_iter().filter(|name| name.ends_with(".deleted")).count();
    // Log and two indexes of both, and the snapshot of the second.
    assert_eq!(waiting(&bench), 7);
    let second = 1_000_000_000;
    assert!(log.take_doomed(Mono(5 * second)).is_none());
    assert!(log.take_doomed(Mono(64 * second)).is_none());
    log.take_doomed(Mono(65 * second)).unwrap().run().unwrap();
    assert_eq!(waiting(&bench), 0);
    assert!(log.take_doomed(Mono(999 * second)).is_none());

    log.delete_records(3).unwrap();
    log.retention(Wall(0)).unwrap();
    assert!(waiting(&bench) > 0);
    bench.disk.kill();
    let bench = Bench { log_start: 3, recovery_point: 3, ..bench };
    bench.open(false);
    assert_eq!(waiting(&bench), 0, "what a crash leaves of them goes at the next start");
}

#[test]
fn truncation_goes_back_to_any_offset() {
    for target in 0..=6 {
        let (bench, mut log) = six(|config| config.segment_bytes = 250);
        log.append_as_leader(&from_producer(1, 0, 0, &["p"]), AppendOrigin::Client, 4, Wall(60)).unwrap();
        log.truncate_to(7, Wall(0)).unwrap();
        assert_eq!(log.log_end_offset(), 7, "nothing to cut");
        log.truncate_to(target, Wall(0)).unwrap();
        assert_eq!((log.log_end_offset(), log.high_watermark()), (target, target.min(6)));
        assert_eq!(all(&log).len() as i64, target);
        assert_eq!((log.producers().get(1), log.view().latest_epoch()), (None, (target > 0).then_some(0)));
        assert_eq!(put(&mut log, "after"), target);
        let expected = texts(&log);
        assert_eq!(expected.len() as i64, target + 1);
        bench.disk.kill();
        assert_eq!(texts(&bench.open(false)), expected, "target {target}");
    }
}

#[test]
fn truncation_below_the_log_starts_it_anew() {
    let (bench, mut log) = six(|_| {});
    log.delete_records(4).unwrap();
    log.retention(Wall(0)).unwrap();
    log.truncate_to(2, Wall(0)).unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.high_watermark()), (2, 2, 2));
    assert_eq!(put(&mut log, "anew"), 2);
    log.truncate_fully_and_start_at(100, Wall(0)).unwrap();
    assert_eq!((log.log_start_offset(), put(&mut log, "far")), (100, 100));
    assert_eq!(bench.file("leader-epoch-checkpoint"), b"0\n1\n0 100\n");
    log.close().unwrap();
    assert_eq!(all(&Bench { log_start: 100, ..bench }.open(true)), [(100, "far".to_owned())]);
}

#[test]
fn a_flush_that_began_before_a_truncation_proves_nothing() {
    let (_, mut log) = six(|_| {});
    let job = log.begin_flush().unwrap();
    log.truncate_to(3, Wall(0)).unwrap();
    put(&mut log, "other");
    let flushed = job.run().unwrap();
    assert_eq!((flushed.up_to(), log.end_flush(&flushed)), (6, 0));
    assert_eq!(log.flush().unwrap(), 4);
}

#[test]
fn a_deleted_partition_gets_another_name_and_stays_readable() {
    let (bench, mut log) = six(|_| {});
    let path = log.rename_to_deleted(crate::model::uuid::Uuid::from_u128(7)).unwrap();
    assert_eq!(path, Path::new("/logs/t-0.00000000000000000000000000000007-delete"));
    assert_eq!(all(&log).len(), 6);
    assert!(!bench.disk.exists(Path::new(DIR)).unwrap());
}
