//! Random lives of a log against a model that is a list.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Append { records: usize, size: usize },
    Flush,
    HighWatermark { behind: i64 },
    DeleteRecords { ahead: i64 },
    Retention,
    Truncate { back: i64 },
    CloseAndOpen,
    Kill,
    PowerCut { seed: u64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..4_usize, 0..120_usize).prop_map(|(records, size)| Step::Append { records, size }),
        3 => Just(Step::Flush),
        3 => (0..6_i64).prop_map(|behind| Step::HighWatermark { behind }),
        1 => (0..4_i64).prop_map(|ahead| Step::DeleteRecords { ahead }),
        1 => Just(Step::Retention),
        1 => (0..6_i64).prop_map(|back| Step::Truncate { back }),
        1 => Just(Step::CloseAndOpen),
        1 => Just(Step::Kill),
        2 => any::<u64>().prop_map(|seed| Step::PowerCut { seed }),
    ]
}

/// What the log should hold.
#[derive(Default)]
struct Model {
    start: i64,
    records: Vec<String>,
    batch_ends: Vec<i64>,
    /// Records below are durable.
    durable: i64,
    next: u32,
}

impl Model {
    fn end(&self) -> i64 {
        self.records.len() as i64
    }

    /// The end of the batch before `offset`: where a truncation really cuts.
    fn cut(&mut self, offset: i64) {
        self.records.truncate(offset as usize);
        self.batch_ends.retain(|end| *end <= offset);
        self.durable = self.durable.min(offset);
    }
}

fn bench() -> Bench {
    Bench::with(|config| {
        config.segment_bytes = 600;
        config.index_interval_bytes = 120;
    })
}

fn reopen(bench: &mut Bench, log: UnifiedLog, model: &mut Model, clean: bool) -> UnifiedLog {
    (bench.recovery_point, bench.log_start) = (log.recovery_point(), log.log_start_offset());
    if clean {
        log.close().unwrap();
        model.durable = model.end();
    }
    bench.open(clean)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_log_is_what_its_model_is(steps in prop::collection::vec(step(), 1..60)) {
        let mut bench = bench();
        let mut model = Model::default();
        let mut log = bench.open(false);
        for step in steps {
            match step {
                Step::Append { records, size } => {
                    let texts: Vec<String> = (0..records).map(|n| format!("{}.{n}{}", model.next, "x".repeat(size))).collect();
                    let batch = plain(&texts.iter().map(String::as_str).collect::<Vec<_>>(), i64::from(model.next));
                    let info = append(&mut log, &batch).unwrap();
                    prop_assert_eq!(info.base_offset, model.end());
                    model.next += 1;
                    model.records.extend(texts);
                    model.batch_ends.push(model.end());
                }
                Step::Flush => {
                    prop_assert_eq!(log.flush().unwrap(), model.end());
                    model.durable = model.end();
                }
                Step::HighWatermark { behind } => {
                    // At the end of a batch, where a leader's always is.
                    let reached = model.batch_ends.iter().rev().find(|end| **end <= model.end() - behind);
                    log.raise_high_watermark(reached.copied().unwrap_or(0)).unwrap();
                }
                Step::DeleteRecords { ahead } => {
                    let to = (model.start + ahead).min(log.high_watermark());
                    model.start = log.delete_records(to).unwrap();
                }
                Step::Retention => { log.retention(Wall(0)).unwrap(); }
                Step::Truncate { back } => {
                    let to = (model.end() - back).max(model.start);
                    let to = model.batch_ends.iter().rev().find(|end| **end <= to).copied().unwrap_or(0);
                    if to >= model.start {
                        log.truncate_to(to, Wall(0)).unwrap();
                        model.cut(to);
                    }
                }
                Step::CloseAndOpen => log = reopen(&mut bench, log, &mut model, true),
                Step::Kill => {
                    bench.disk.kill();
                    log = reopen(&mut bench, log, &mut model, false);
                }
                Step::PowerCut { seed } => {
                    bench.disk.power_cut(Some(seed));
                    log = reopen(&mut bench, log, &mut model, false);
                    let end = log.log_end_offset();
                    prop_assert!(end >= model.durable, "{} of {} durable", end, model.durable);
                    prop_assert!(end == 0 || model.batch_ends.contains(&end) || end == bench.log_start);
                    model.cut(end);
                    // What was flushed before recovery counts again from the next flush on.
                    model.durable = model.durable.min(log.recovery_point());
                }
            }
            prop_assert_eq!(log.log_end_offset(), model.end());
            prop_assert_eq!(log.log_start_offset(), model.start);
            let expected: Vec<(i64, String)> =
                (model.start..).zip(model.records.iter().skip(model.start as usize).cloned()).collect();
            prop_assert_eq!(all(&log), expected);
        }
    }
}
