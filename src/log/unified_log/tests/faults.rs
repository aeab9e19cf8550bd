//! Every write, short write and sync fails in turn; then the process dies or the power goes.

use super::*;
use crate::log::storage::faulty::{Effect, Fault};

/// What was promised before the failure.
#[derive(Debug, Default)]
struct Promises {
    /// Values by offset, acknowledged or at least tried.
    tried: Vec<String>,
    /// Records that were acknowledged.
    acknowledged: i64,
    /// Records that were acknowledged as durable.
    durable: i64,
    log_start: i64,
    closed: bool,
}

/// A life of a log until something fails: appends in groups, flushes, rolls, deleted records, a close.
fn live(bench: &Bench, promises: &mut Promises) -> Result<(), String> {
    let mut log = bench.try_open(false).map_err(|error| error.to_string())?;
    log.assign_epoch(0).map_err(|error| error.to_string())?;
    let mut sequence = 0;
    for round in 0..6 {
        let texts: Vec<String> = (0..3).map(|n| format!("{round}.{n} {}", "x".repeat(40))).collect();
        let batches: Vec<ValidatedBatch> = texts
            .iter()
            .map(|text| {
                sequence += 1;
                from_producer(1, 0, sequence - 1, &[text])
            })
            .collect();
        let appends: Vec<LeaderAppend<'_>> = batches
            .iter()
            .map(|batch| LeaderAppend {
                batch,
                origin: AppendOrigin::Client,
                owner: crate::log::producer_state::Owner::NOBODY,
            })
            .collect();
        promises.tried.extend(texts);
        let mut results = Vec::new();
        log.append_many(&appends, 0, Wall(1), &mut results);
        promises.acknowledged += results.iter().filter(|result| result.is_ok()).count() as i64;
        for result in results {
            result.map_err(|error| error.to_string())?;
        }
        log.update_high_watermark(i64::MAX).map_err(|error| error.to_string())?;
        if round % 2 == 1 {
            promises.durable = log.flush().map_err(|error| error.to_string())?;
        }
        if round == 4 {
            promises.log_start = 4;
            log.delete_records(4).map_err(|error| error.to_string())?;
            log.retention(Wall(1)).map_err(|error| error.to_string())?;
        }
    }
    log.take_doomed(Mono(0));
    if let Some(job) = log.take_doomed(Mono(u64::MAX)) {
        job.run().map_err(|error| error.to_string())?;
    }
    let end = log.log_end_offset();
    log.close().map_err(|error| error.to_string())?;
    (promises.durable, promises.closed) = (end, true);
    Ok(())
}

fn bench() -> Bench {
    Bench::with(|config| {
        config.segment_bytes = 500;
        config.index_interval_bytes = 150;
    })
}

/// Opens what is left and holds it against the promises.
fn check(bench: &Bench, promises: &Promises, at_least: i64, what: &str) {
    // The checkpoint may be older than the last flush, and the log start's is not written yet.
    for recovery_point in [0, promises.durable] {
        let left = Bench { disk: bench.disk.clone(), recovery_point, ..self::bench() };
        let mut log = left.open(promises.closed);
        let records = all(&log);
        assert!(log.log_start_offset() <= promises.log_start, "{what}");
        assert!(log.log_end_offset() >= at_least, "{what}: lost what was acknowledged: {log:?} {promises:?}");
        assert!(log.log_end_offset() <= promises.tried.len() as i64, "{what}");
        assert_eq!(records.len() as i64, log.log_end_offset() - log.log_start_offset(), "{what}: no gaps");
        for (offset, text) in &records {
            assert_eq!(&promises.tried[*offset as usize], text, "{what}");
        }
        // The producer goes on where the log ends, and its last batch is known.
        let end = log.log_end_offset();
        if end > log.log_start_offset() {
            let last = from_producer(1, 0, end as i32 - 1, &[&promises.tried[end as usize - 1]]);
            assert!(append(&mut log, &last).unwrap().duplicate, "{what}");
        }
        let next = append(&mut log, &from_producer(1, 0, end as i32, &["next"])).unwrap();
        assert_eq!(next.base_offset, end, "{what}");
        log.truncate_to(end, Wall(0)).unwrap();
    }
}

#[test]
fn nothing_promised_is_lost_whatever_fails() {
    let whole = bench();
    live(&whole, &mut Promises::default()).unwrap();
    let operations = {
        let counted = bench();
        counted.disk.plan(Fault { operation: None, nth: u64::MAX, effect: Effect::Fail });
        live(&counted, &mut Promises::default()).unwrap();
        counted.disk.operations()
    };
    assert!(operations > 60, "{operations} operations");
    let mut failures = 0;
    for nth in 0..operations {
        for effect in [Effect::Fail, Effect::Short(7), Effect::Short(70), Effect::Full(0), Effect::Full(30)] {
            for death in 0..4 {
                let bench = bench();
                let mut promises = Promises::default();
                bench.disk.plan(Fault { operation: None, nth, effect });
                let lived = live(&bench, &mut promises);
                failures += u32::from(lived.is_err());
                bench.disk.heal();
                let what = format!("operation {nth}, {effect:?}, death {death}, {lived:?}");
                match death {
                    0 => bench.disk.kill(),
                    1 => bench.disk.power_cut(None),
                    seed => bench.disk.power_cut(Some(nth * 10 + seed)),
                }
                // A killed process loses nothing that was acknowledged, a power cut nothing that was synced.
                let at_least = if death == 0 { promises.acknowledged } else { promises.durable };
                check(&bench, &promises, at_least, &what);
            }
        }
    }
    assert!(failures > 200, "{failures} failures");
}

#[test]
fn the_checker_sees_a_planted_loss() {
    let bench = bench();
    let mut promises = Promises::default();
    live(&bench, &mut promises).unwrap();
    let mut log = bench.open(true);
    log.truncate_to(log.log_end_offset() - 1, Wall(0)).unwrap();
    drop(log);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        check(&bench, &promises, promises.durable, "planted");
    }));
    assert!(caught.is_err());
}

#[test]
fn a_failed_sync_is_never_taken_for_a_good_one() {
    let bench = bench();
    let mut log = bench.open(false);
    put(&mut log, "lost");
    bench.disk.plan(Fault {
        operation: Some(crate::log::storage::faulty::Operation::Sync),
        nth: 0,
        effect: Effect::Fail,
    });
    log.flush().unwrap_err();
    log.flush().unwrap_err();
    log.close().unwrap_err();
}
