//! Compaction against a naive model, under faults, and read by Apache's dump tool.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::*;
use crate::log::cleaner::offset_map::MapLimits;
use crate::log::cleaner::{Compaction, CompactionError, cleanable};
use crate::log::storage::RealDisk;
use crate::log::storage::faulty::{Effect, Fault};
use crate::model::compression::CompressionType;
use crate::protocol::compression::Decompressor;
use crate::protocol::record_batch::Records;

const WIDE: MapLimits = MapLimits { slots: 1 << 16, load_per_mille: 900 };
const RETENTION_MS: i64 = 1_000;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Entry {
    offset: i64,
    timestamp: i64,
    key: String,
    value: Option<String>,
}

fn bench() -> Bench {
    Bench::with(|config| {
        config.segment_bytes = 700;
        config.index_interval_bytes = 100;
        config.cleanup_policy = CleanupPolicy { delete: false, compact: true };
        config.delete_retention_ms = RETENTION_MS;
        config.min_cleanable_dirty_ppm = 0;
    })
}

fn keyed(records: &[(&str, Option<&str>)], timestamp: i64, codec: CompressionType) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(0).compression(codec);
    for (n, (key, value)) in records.iter().enumerate() {
        let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", Some(b"v"))];
        let value = value.map(str::as_bytes);
        builder.append(timestamp + n as i64, Some(key.as_bytes()), value, &headers).unwrap();
    }
    checked(builder.build(), Wall(timestamp))
}

/// Appends and commits.
fn put_keyed(log: &mut UnifiedLog, batch: &ValidatedBatch) -> i64 {
    let offset = append(log, batch).unwrap().base_offset;
    log.update_high_watermark(i64::MAX).unwrap();
    offset
}

/// A whole round. Where it ended; `None` without work.
fn compact(log: &mut UnifiedLog, checkpoint: Option<i64>, now: i64, limits: MapLimits) -> Option<i64> {
    let mut round = log.begin_compaction(checkpoint, Wall(now)).unwrap()?;
    while let Some(cleaned) = round.next(limits, &mut |_| true).unwrap() {
        assert!(log.put_in_place(&cleaned).unwrap());
    }
    Some(round.first_dirty_after())
}

/// All that readers get, and the headers of the batches.
fn entries(log: &UnifiedLog) -> (Vec<Entry>, Vec<crate::protocol::record_batch::BatchHeader>) {
    let (mut found, mut headers) = (Vec::new(), Vec::new());
    let mut next = log.log_start_offset();
    let mut decompressor = Decompressor::new();
    loop {
        let (max_bytes, up_to) = (300, UpTo::LogEnd);
        let request = ReadRequest { from: next, max_bytes, up_to, at_least_one: true, access: Access::Blocking };
        let Some(range) = log.view().read(&request).unwrap().range else { return (found, headers) };
        let mut bytes = vec![0; range.len as usize];
        range.read_at(0, &mut bytes).unwrap();
        for batch in batches(&bytes).checked().map_while(Result::ok) {
            let header = *batch.header();
            assert!(header.next_offset() > next, "reading goes on");
            next = header.next_offset();
            headers.push(header);
            let mut records = Vec::new();
            let codec = if header.records_count == 0 { CompressionType::None } else { header.codec().unwrap() };
            decompressor.decompress(codec, batch.record_bytes(), 1 << 20, &mut records).unwrap();
            for record in Records::new(&records, header.records_count).map(Result::unwrap) {
                if !header.is_control() {
                    assert_eq!(record.headers.len(), usize::from(record.key != Some(b"plain")));
                    found.push(Entry {
                        offset: header.base_offset + i64::from(record.offset_delta),
                        timestamp: header.base_timestamp + record.timestamp_delta,
                        key: String::from_utf8(record.key.unwrap().to_vec()).unwrap(),
                        value: record.value.map(|value| String::from_utf8(value.to_vec()).unwrap()),
                    });
                }
            }
        }
    }
}

/// What a reader from the start ends up with.
fn state<'a>(entries: impl IntoIterator<Item = &'a Entry>) -> BTreeMap<String, String> {
    let mut state = BTreeMap::new();
    for entry in entries {
        match &entry.value {
            Some(value) => state.insert(entry.key.clone(), value.clone()),
            None => state.remove(&entry.key),
        };
    }
    state
}

fn offsets(log: &UnifiedLog) -> Vec<i64> {
    entries(log).0.iter().map(|entry| entry.offset).collect()
}

#[test]
fn the_newest_of_each_key_stays_where_it_was() {
    let bench = bench();
    let mut log = bench.open(false);
    let filler = "x".repeat(80);
    for round in 0..20 {
        put_keyed(&mut log, &keyed(&[("a", Some(&filler)), ("b", None)], round * 10, CompressionType::None));
        if round == 0 {
            put_keyed(&mut log, &keyed(&[("once", Some("1"))], 1, CompressionType::None));
        }
    }
    let segments = log.view().segment_count();
    let active = log.writer.segment().base_offset();
    assert!(segments > 3);
    let found = cleanable(log.view(), &bench.config, None, Wall(0)).unwrap().unwrap();
    assert_eq!((found.first_dirty, found.end, found.clean_bytes), (0, active, 0));
    assert!(found.is_due(&bench.config));
    assert_eq!(compact(&mut log, None, 0, WIDE), Some(active));
    let kept = offsets(&log);
    let closed: Vec<i64> = kept.iter().copied().filter(|offset| *offset < active).collect();
    assert_eq!(closed, [2, active - 2, active - 1]);
    assert_eq!(log.view().segment_count(), segments, "none is merged whose sizes do not fit");
    assert!(bench.names().iter().any(|name| name.ends_with(".log.deleted")));
    assert_eq!(compact(&mut log, Some(active), 0, WIDE), None, "nothing is dirty");
    let mut log = {
        log.close().unwrap();
        bench.open(true)
    };
    assert_eq!(offsets(&log), kept);
    log.update_high_watermark(i64::MAX).unwrap();
    // Once the empty ones fit, they become one with their neighbours.
    assert!(compact(&mut log, None, 0, WIDE).is_some());
    assert!(log.view().segment_count() < segments);
    assert_eq!(offsets(&log), kept);
    log.take_doomed(Mono(0));
    log.take_doomed(Mono(u64::MAX)).unwrap().run().unwrap();
    assert!(!bench.names().iter().any(|name| name.ends_with(".deleted")));
}

#[test]
fn a_tombstone_goes_when_its_time_is_over_and_not_before() {
    let bench = bench();
    let mut log = bench.open(false);
    put_keyed(&mut log, &keyed(&[("a", Some("1")), ("b", Some("1"))], 5, CompressionType::Lz4));
    put_keyed(&mut log, &keyed(&[("c", Some("1")), ("a", None)], 7, CompressionType::Lz4));
    log.roll_active(Wall(0)).unwrap();
    let end = compact(&mut log, None, 100, WIDE);
    let (found, headers) = entries(&log);
    let times: Vec<(i64, i64)> = found.iter().map(|entry| (entry.offset, entry.timestamp)).collect();
    assert_eq!(times, [(1, 6), (2, 7), (3, 8)]);
    assert_eq!(headers[0].delete_horizon_ms(), None);
    assert_eq!(headers[1].delete_horizon_ms(), Some(100 + RETENTION_MS));
    assert_eq!((headers[1].max_timestamp, headers[1].codec()), (8, Some(CompressionType::Lz4)));
    for (now, left) in [(100 + RETENTION_MS - 1, vec![1, 2, 3, 4]), (100 + RETENTION_MS, vec![1, 2, 4, 5])] {
        put_keyed(&mut log, &keyed(&[("d", Some("1"))], 9, CompressionType::None));
        log.roll_active(Wall(0)).unwrap();
        compact(&mut log, end, now, WIDE).unwrap();
        let newest = |offset: &i64| *offset != 4 || now < 100 + RETENTION_MS;
        assert_eq!(offsets(&log), left.into_iter().filter(newest).collect::<Vec<_>>(), "{now}");
    }
}

#[test]
fn a_producer_goes_on_after_its_last_batch_was_emptied() {
    let bench = bench();
    let mut log = bench.open(false);
    let of = |sequence: i32, key: &str| {
        let mut builder = BatchBuilder::new(0).producer(7, 3, sequence);
        builder.append(1, Some(key.as_bytes()), Some(b"v"), &[(b"h", None)]).unwrap();
        checked(builder.build(), Wall(0))
    };
    put_keyed(&mut log, &of(0, "k"));
    put_keyed(&mut log, &of(1, "k"));
    put_keyed(&mut log, &keyed(&[("k", Some("newer"))], 1, CompressionType::None));
    log.roll_active(Wall(0)).unwrap();
    compact(&mut log, None, 0, WIDE).unwrap();
    let (found, headers) = entries(&log);
    assert_eq!(found.len(), 1);
    let shape: Vec<(i64, i64, i32, i32)> =
        headers.iter().map(|h| (h.base_offset, h.producer_id, h.base_sequence, h.records_count)).collect();
    assert_eq!(shape, [(1, 7, 1, 0), (2, -1, -1, 1)]);
    // Also when all that is known comes from the segments.
    for name in bench.names().iter().filter(|name| name.ends_with(".snapshot")) {
        bench.disk.remove_file(&Path::new(DIR).join(name)).unwrap();
    }
    drop(log);
    let mut log = bench.open(false);
    assert!(append(&mut log, &of(1, "k")).unwrap().duplicate);
    append(&mut log, &of(3, "k")).unwrap_err();
    append(&mut log, &of(2, "k")).unwrap();
}

#[test]
fn an_aborted_record_supersedes_nothing_and_goes() {
    let mut bench = bench();
    bench.config.producer_id_expiration_ms = 10;
    let mut log = bench.open(false);
    let of = |producer: i64, value: &str| {
        let mut builder = BatchBuilder::new(0).producer(producer, 0, 0).transactional();
        builder.append(1, Some(b"k"), Some(value.as_bytes()), &[(b"h", None)]).unwrap();
        checked(builder.build(), Wall(0))
    };
    let coordinator = |log: &mut UnifiedLog, batch: &ValidatedBatch| {
        log.append_as_leader(batch, AppendOrigin::Coordinator, 0, Wall(0)).unwrap();
        log.update_high_watermark(i64::MAX).unwrap();
    };
    put_keyed(&mut log, &of(1, "committed"));
    coordinator(&mut log, &end_of_txn(1, true));
    put_keyed(&mut log, &of(2, "aborted"));
    log.roll_active(Wall(0)).unwrap();
    let open = cleanable(log.view(), &bench.config, None, Wall(0)).unwrap().unwrap();
    assert_eq!((open.end, open.dirty_bytes), (0, 0), "an open transaction is not touched");
    coordinator(&mut log, &end_of_txn(2, false));
    log.roll_active(Wall(0)).unwrap();
    let end = compact(&mut log, None, 0, WIDE);
    let values = |log: &UnifiedLog| entries(log).0.into_iter().map(|e| e.value.unwrap()).collect::<Vec<_>>();
    assert_eq!(values(&log), ["committed"]);
    assert_eq!(entries(&log).1.iter().filter(|header| header.is_control()).count(), 2);
    assert_eq!(log.aborted_transactions().unwrap().len(), 1, "its marker still aborts what a reader may have");
    // While the producer is known its last batch stays, and the marker with it. Then the batch goes, then the time of the
    // marker begins, and when that is over it goes too.
    for (now, open) in [(50, 1), (60, 1), (70, 1), (70 + RETENTION_MS, 0)] {
        if now == 60 {
            log.remove_expired_producers(Wall(1_000));
        }
        put_keyed(&mut log, &keyed(&[("other", Some("1"))], 1, CompressionType::None));
        log.roll_active(Wall(0)).unwrap();
        compact(&mut log, end, now, WIDE).unwrap();
        let aborts =
            entries(&log).1.iter().filter(|h| h.is_control() && h.producer_id == 2 && h.records_count == 1).count();
        assert_eq!(aborts, open, "{now}");
    }
    assert_eq!(log.aborted_transactions().unwrap(), []);
    assert_eq!(values(&log)[0], "committed");
}

#[test]
fn what_is_young_or_the_active_segment_stays() {
    let mut bench = bench();
    bench.config.min_compaction_lag_ms = 100;
    bench.config.max_compaction_lag_ms = Some(500);
    bench.config.min_cleanable_dirty_ppm = 900_000;
    let mut log = bench.open(false);
    for time in [10, 20, 130] {
        put_keyed(&mut log, &keyed(&[("a", Some("1"))], time, CompressionType::None));
        log.roll_active(Wall(0)).unwrap();
    }
    let look = |log: &UnifiedLog, checkpoint, now| {
        cleanable(log.view(), &bench.config, checkpoint, Wall(now)).unwrap().unwrap()
    };
    assert_eq!(look(&log, None, 105).end, 0);
    assert_eq!(look(&log, None, 125).end, 2);
    assert_eq!(look(&log, Some(1), 400).dirty_ppm(), 666_666);
    assert!(!look(&log, Some(1), 400).is_due(&bench.config));
    assert!(look(&log, Some(1), 521).is_due(&bench.config), "max.compaction.lag.ms");
    assert_eq!(look(&log, Some(99), 400).first_dirty, 0, "a checkpoint outside the log counts for nothing");
    assert_eq!(compact(&mut log, None, 125, WIDE), Some(2));
    assert_eq!(offsets(&log), [1, 2]);
}

#[test]
fn a_round_over_a_log_that_changed_is_thrown_away() {
    let bench = bench();
    let mut log = bench.open(false);
    for _ in 0..4 {
        put_keyed(&mut log, &keyed(&[("a", Some("1"))], 1, CompressionType::None));
        log.roll_active(Wall(0)).unwrap();
    }
    let mut round: Compaction = log.begin_compaction(None, Wall(0)).unwrap().unwrap();
    let cleaned = round.next(WIDE, &mut |_| true).unwrap().unwrap();
    log.start_at(2).unwrap();
    log.retention(Wall(0)).unwrap();
    let before = entries(&log);
    assert!(!log.put_in_place(&cleaned).unwrap());
    assert_eq!(entries(&log), before);
    assert!(!bench.names().iter().any(|name| name.ends_with(".cleaned")));
    // Nor does one go on in a log that was closed, or that the caller gave up.
    let mut round = log.begin_compaction(None, Wall(0)).unwrap().unwrap();
    assert!(matches!(round.next(WIDE, &mut |_| false), Err(CompactionError::GivenUp)));
    log.close().unwrap();
    assert!(matches!(round.next(WIDE, &mut |_| true), Err(CompactionError::GivenUp)));
}

#[test]
fn a_batch_that_expands_too_far_is_kept_and_supersedes_nothing() {
    let mut bench = bench();
    bench.config.max_message_bytes = 20;
    let mut log = bench.open(false);
    put_keyed(&mut log, &keyed(&[("a", Some("1"))], 1, CompressionType::None));
    let wide = "0".repeat(3_000);
    put_keyed(&mut log, &keyed(&[("a", Some(&wide))], 1, CompressionType::Lz4));
    put_keyed(&mut log, &keyed(&[("a", Some(&wide)), ("b", Some("1"))], 1, CompressionType::Lz4));
    put_keyed(&mut log, &keyed(&[("b", Some("2"))], 1, CompressionType::None));
    log.roll_active(Wall(0)).unwrap();
    compact(&mut log, None, 0, WIDE).unwrap();
    assert_eq!(offsets(&log), [0, 1, 2, 3, 4]);
    bench.config.max_message_bytes = 2_000;
    log.set_config(Arc::new(bench.config.clone()));
    compact(&mut log, None, 0, WIDE).unwrap();
    assert_eq!(offsets(&log), [2, 4]);
}

#[test]
fn gaps_are_no_damage_once_the_topic_is_no_longer_compacted() {
    let mut bench = bench();
    let mut log = bench.open(false);
    for n in 0..6 {
        put_keyed(&mut log, &keyed(&[("a", Some("1"))], n, CompressionType::None));
    }
    log.roll_active(Wall(0)).unwrap();
    put_keyed(&mut log, &keyed(&[("b", Some("1"))], 6, CompressionType::None));
    compact(&mut log, None, 0, WIDE).unwrap();
    assert_eq!(offsets(&log), [5, 6]);
    drop(log);
    bench.config.cleanup_policy = CleanupPolicy { delete: true, compact: false };
    bench.compacted = true;
    let log = bench.open(false);
    assert_eq!((offsets(&log), log.recovery().bytes_cut), (vec![5, 6], 0));
    drop(log);
    bench.compacted = false;
    assert!(bench.open(false).recovery().bytes_cut > 0, "what the mark is for");
}

#[test]
fn a_damaged_batch_is_told_and_nothing_changes() {
    let bench = bench();
    let mut log = bench.open(false);
    put_keyed(&mut log, &keyed(&[("a", Some("1"))], 1, CompressionType::None));
    put_keyed(&mut log, &keyed(&[("a", Some("2"))], 1, CompressionType::None));
    log.roll_active(Wall(0)).unwrap();
    let file = bench.disk.open(&Path::new(DIR).join(log_name(0)), crate::log::storage::Open::ReadWrite).unwrap();
    let len = file.len().unwrap();
    file.write_all(&[b"?"], len - 2).unwrap();
    let mut round = log.begin_compaction(None, Wall(0)).unwrap().unwrap();
    assert!(matches!(round.next(WIDE, &mut |_| true), Err(CompactionError::Damage(_))));
    assert!(log.log_dir().is_online());
    assert_eq!(bench.len(&log_name(0)), len);
}

/// A life with two rounds, until something fails. What was tried, and how much of it is promised.
fn live(bench: &Bench, tried: &mut Vec<Entry>, durable: &mut i64) -> Result<(), String> {
    let told = |error: &dyn fmt::Display| error.to_string();
    let mut log = bench.try_open(false).map_err(|error| told(&error))?;
    let mut checkpoint = None;
    for n in 0..36_i64 {
        let key = format!("k{}", n % 5);
        let value = (n % 7 != 3).then(|| format!("{n} {}", "x".repeat(60)));
        let batch = keyed(&[(&key, value.as_deref())], n, CompressionType::None);
        tried.push(Entry { offset: n, timestamp: n, key, value });
        append(&mut log, &batch).map_err(|error| told(&error))?;
        log.update_high_watermark(i64::MAX).map_err(|error| told(&error))?;
        if n % 12 == 11 {
            let now = n * RETENTION_MS;
            let round = log.begin_compaction(checkpoint, Wall(now)).map_err(|error| told(&error))?;
            let Some(mut round) = round else { continue };
            while let Some(cleaned) = round.next(WIDE, &mut |_| true).map_err(|error| told(&error))? {
                assert!(log.put_in_place(&cleaned).map_err(|error| told(&error))?);
            }
            checkpoint = Some(round.first_dirty_after());
            *durable = round.first_dirty_after();
        }
    }
    log.close().map_err(|error| told(&error))?;
    *durable = tried.len() as i64;
    Ok(())
}

#[test]
fn no_key_is_lost_whatever_fails() {
    let operations = {
        let counted = bench();
        counted.disk.plan(Fault { operation: None, nth: u64::MAX, effect: Effect::Fail });
        live(&counted, &mut Vec::new(), &mut 0).unwrap();
        counted.disk.operations()
    };
    assert!(operations > 150, "{operations} operations");
    let mut failures = 0;
    for nth in 0..operations {
        for effect in [Effect::Fail, Effect::Short(50), Effect::Full(0)] {
            for death in 0..5 {
                let bench = bench();
                let (mut tried, mut durable) = (Vec::new(), 0);
                bench.disk.plan(Fault { operation: None, nth, effect });
                let lived = live(&bench, &mut tried, &mut durable);
                failures += u32::from(lived.is_err());
                bench.disk.heal();
                match death {
                    0 => bench.disk.kill(),
                    1 => bench.disk.power_cut(None),
                    seed => bench.disk.power_cut(Some(nth * 10 + seed)),
                }
                let what = format!("operation {nth}, {effect:?}, death {death}, {lived:?}");
                let log = bench.open(lived.is_ok());
                let end = log.log_end_offset();
                // The last one is neither promised nor refused.
                let acknowledged = if death == 0 { tried.len() as i64 - 1 } else { durable };
                assert!(end >= acknowledged, "{what}: {end} of {acknowledged}");
                let (found, _) = entries(&log);
                for entry in &found {
                    assert_eq!(entry, &tried[entry.offset as usize], "{what}");
                }
                let before_end = tried.iter().take(end as usize);
                assert_eq!(state(&found), state(before_end), "{what}: {found:?}");
                let left = bench.names();
                assert!(!left.iter().any(|name| name.ends_with(".cleaned") || name.ends_with(".swap")), "{left:?}");
            }
        }
    }
    assert!(failures > 400, "{failures} failures");
}

#[derive(Clone, Debug)]
enum Step {
    Append { keys: Vec<(u8, bool)>, size: usize, codec: usize },
    Roll,
    Compact { slots: u64, later: i64 },
    CloseAndOpen,
    PowerCut { seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    let keys = prop::collection::vec((0..12_u8, prop::bool::weighted(0.8)), 1..5);
    prop_oneof![
        8 => (keys, 0..60_usize, 0..5_usize).prop_map(|(keys, size, codec)| Step::Append { keys, size, codec }),
        2 => Just(Step::Roll),
        4 => (prop_oneof![Just(1 << 16), 2..20_u64], 0..RETENTION_MS).prop_map(|(slots, later)| Step::Compact { slots, later }),
        1 => Just(Step::CloseAndOpen),
        1 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
    ]
}

/// A log as a list, and the times from which tombstones of a batch may go.
#[derive(Default)]
struct Model {
    entries: Vec<(Entry, usize)>,
    horizons: HashMap<usize, i64>,
}

impl Model {
    /// A round that looked at all before `end`; `rewritten` says which offsets lie in segments that were written anew.
    fn compact(&mut self, end: i64, now: i64, rewritten: impl Fn(i64) -> bool) {
        let mut newest = HashMap::new();
        for (entry, _) in self.entries.iter().filter(|(entry, _)| entry.offset < end) {
            newest.insert(entry.key.clone(), entry.offset);
        }
        let horizons = &self.horizons;
        self.entries.retain(|(entry, batch)| {
            let is_over = entry.value.is_none() && horizons.get(batch).is_some_and(|horizon| *horizon <= now);
            entry.offset >= end || newest.get(&entry.key) == Some(&entry.offset) && !is_over
        });
        for (entry, batch) in &self.entries {
            if entry.value.is_none() && rewritten(entry.offset) {
                self.horizons.entry(*batch).or_insert(now + RETENTION_MS);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_compacted_log_is_what_its_model_is(steps in prop::collection::vec(step(), 1..60)) {
        const CODECS: [CompressionType; 5] = [CompressionType::None, CompressionType::Gzip, CompressionType::Snappy, CompressionType::Lz4, CompressionType::Zstd];
        let mut bench = bench();
        let mut model = Model::default();
        let mut log = bench.open(false);
        let (mut checkpoint, mut now, mut next) = (None, 0, 0_usize);
        for step in steps {
            match step {
                Step::Append { keys, size, codec } => {
                    next += 1;
                    let texts: Vec<(String, Option<String>)> = keys
                        .iter()
                        .map(|(key, has_value)| (format!("k{key}"), has_value.then(|| format!("{next}{}", "x".repeat(size)))))
                        .collect();
                    let records: Vec<(&str, Option<&str>)> = texts.iter().map(|(k, v)| (k.as_str(), v.as_deref())).collect();
                    let base = put_keyed(&mut log, &keyed(&records, next as i64, CODECS[codec]));
                    for (n, (key, value)) in texts.into_iter().enumerate() {
                        let (offset, timestamp) = (base + n as i64, (next + n) as i64);
                        model.entries.push((Entry { offset, timestamp, key, value }, next));
                    }
                }
                Step::Roll => log.roll_active(Wall(0)).unwrap(),
                Step::Compact { slots, later } => {
                    now += later;
                    let bases: Vec<i64> = log.bases().collect();
                    if let Some(end) = compact(&mut log, checkpoint, now, MapLimits { slots, load_per_mille: 900 }) {
                        prop_assert!(checkpoint.is_none_or(|before| before < end), "a round gets on");
                        let upper = bases.iter().copied().find(|base| *base >= end).unwrap_or(i64::MAX);
                        model.compact(end, now, |offset| offset < upper);
                        checkpoint = Some(end);
                    }
                }
                Step::CloseAndOpen => {
                    bench.recovery_point = log.recovery_point();
                    log.close().unwrap();
                    log = bench.open(true);
                }
                Step::PowerCut { seed } => {
                    bench.recovery_point = log.recovery_point();
                    bench.disk.power_cut(Some(seed));
                    log = bench.open(false);
                    let end = log.log_end_offset();
                    prop_assert!(end >= checkpoint.unwrap_or(0), "what a round went by is durable");
                    model.entries.retain(|(entry, _)| entry.offset < end);
                    log.update_high_watermark(i64::MAX).unwrap();
                }
            }
            let expected: Vec<Entry> = model.entries.iter().map(|(entry, _)| entry.clone()).collect();
            prop_assert_eq!(entries(&log).0, expected);
        }
    }
}

#[test]
fn the_dump_tool_reads_a_compacted_log() {
    let Ok(wrapper) = std::env::var("SCHLOSS_KAFKA_CLI") else {
        assert!(std::env::var("SCHLOSS_REQUIRE_TOOLS").is_err(), "SCHLOSS_KAFKA_CLI is not set");
        println!("skipped: SCHLOSS_KAFKA_CLI is not set");
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("t-0");
    RealDisk.create_dir(&dir).unwrap();
    let mut log = UnifiedLog::open(OpenLog {
        disk: Arc::new(RealDisk),
        dir: dir.clone(),
        log_dir: Arc::new(LogDir::new(temp.path(), None, None)),
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId::ZERO,
        config: Arc::new(LogConfig { segment_bytes: 16_000, ..bench().config }),
        log_start_offset: 0,
        recovery_point: 0,
        high_watermark: 0,
        compacted: false,
        clean: false,
        now: Wall(0),
        seed: 1,
    })
    .unwrap();
    const CODECS: [CompressionType; 5] = [
        CompressionType::None,
        CompressionType::Gzip,
        CompressionType::Snappy,
        CompressionType::Lz4,
        CompressionType::Zstd,
    ];
    for n in 0..200_usize {
        let (one, other, value) = (format!("k{}", n % 30), format!("only {n}"), "value ".repeat(40));
        let tombstone = (n % 3 != 0).then_some("small");
        let records = [(one.as_str(), Some(value.as_str())), (other.as_str(), tombstone)];
        put_keyed(&mut log, &keyed(&records, n as i64, CODECS[n % 5]));
    }
    put_keyed(&mut log, &transactional_keyed());
    log.append_as_leader(&end_of_txn(1, false), AppendOrigin::Coordinator, 0, Wall(0)).unwrap();
    log.update_high_watermark(i64::MAX).unwrap();
    log.roll_active(Wall(0)).unwrap();
    compact(&mut log, None, 5_000, WIDE).unwrap();
    let expected = entries(&log).0.len();
    assert!(expected < 300);
    log.close().unwrap();
    let mut files: Vec<String> = RealDisk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
    files.retain(|name| name.starts_with("000") && !name.ends_with(".deleted"));
    files.sort();
    let paths: Vec<String> = files.iter().map(|name| dir.join(name).display().to_string()).collect();
    let output = std::process::Command::new(&wrapper)
        .args(["dump-log", "--deep-iteration", "--print-data-log", "--files", &paths.join(",")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    // Gaps it calls by their name; nothing else is wrong.
    for bad in ["invalid", "Mismatch", "mismatch", "corrupt", "isvalid: false", "Exception"] {
        assert!(!text.contains(bad) && !errors.contains(bad), "{bad} in:\n{text}\n{errors}");
    }
    assert_eq!(text.matches("payload: ").count() + text.matches("valueSize: -1").count(), expected, "{text}");
    assert!(text.contains("deleteHorizonMs: OptionalLong[6000]"), "{text}");
    assert_eq!(text.matches("endTxnMarker: ABORT").count(), 1);
}

fn transactional_keyed() -> ValidatedBatch {
    let mut builder = BatchBuilder::new(0).producer(1, 0, 0).transactional();
    builder.append(1, Some(b"k0"), Some(b"aborted"), &[(b"h", None)]).unwrap();
    checked(builder.build(), Wall(0))
}
