use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Waker};

use proptest::prelude::*;

use crate::log::config::LogConfig;
use crate::log::storage::faulty::{Effect, Fault, Operation};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::time::Wall;
use crate::replica::bench::{Bench, assignment, batch, block_on, is_done, outcome, producer_batch, timed_batch};
use crate::replica::delayed_produce::Appended;
use crate::replica::doorbell::Wakes;
use crate::replica::lane::command::{Acks, Command};
use crate::replica::partition::settings::PartitionSettings;
use crate::replica::partition::{FetchError, PartitionState};
use crate::replica::watchers::{Interest, Marks};

const BIG: usize = super::INLINE_BYTES;

fn at(base_offset: i64) -> Appended {
    Appended { base_offset, log_append_time: -1, log_start_offset: 0 }
}

/// A value that makes a batch too large to be written inline.
fn big() -> Vec<u8> {
    vec![b'x'; BIG]
}

#[test]
fn what_is_produced_can_be_read() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    assert_eq!(bench.produce_now(&partition, batch(&["a", "b"]), Acks::All).unwrap(), at(0));
    assert_eq!(bench.produce_now(&partition, batch(&["c"]), Acks::Leader).unwrap(), at(2));
    assert_eq!(bench.produce_now(&partition, batch(&["d"]), Acks::None).unwrap(), at(3));
    let values: Vec<_> = bench.values(&partition, 1).into_iter().map(|(at, value)| (at, value.to_vec())).collect();
    assert_eq!(values, [(1, b"b".to_vec()), (2, b"c".to_vec()), (3, b"d".to_vec())]);
    assert!(bench.read(&partition, 4).unwrap().range.is_none());
    assert!(matches!(bench.read(&partition, 5), Err(error) if error.code() == ErrorCode::OffsetOutOfRange));
}

/// Goal R11: a clock that jumps an hour or ten years, forwards or back, deletes nothing at once and stops nothing.
#[test]
fn a_clock_that_jumps_deletes_nothing_at_once() {
    const HOUR: i64 = 3_600_000;
    for jump in [HOUR, -HOUR, 10 * 365 * 24 * HOUR, -10 * 365 * 24 * HOUR] {
        let bench = Bench::new(1, false);
        let config = LogConfig { segment_bytes: 100, retention_ms: Some(HOUR / 2), ..LogConfig::default() };
        let start = 20 * 365 * 24 * HOUR;
        bench.clock.wall.store(start, Ordering::SeqCst);
        let partition = bench.partition(1, 0, config);
        for value in ["a", "b", "c"] {
            bench.produce_now(&partition, timed_batch(start, &[value]), Acks::All).unwrap();
        }
        let check = || {
            bench.lanes[0].command(Command::Maintain);
            bench.work();
            partition.view().unwrap().ends().log_start
        };
        assert_eq!(check(), 0);
        bench.clock.wall.store(start + jump, Ordering::SeqCst);
        assert_eq!(check(), 0, "a jump of {jump} ms");
        assert_eq!(bench.produce_now(&partition, timed_batch(start + jump, &["d"]), Acks::All).unwrap(), at(3));
        // Whoever meant it has it a check later.
        assert_eq!(check() > 0, jump > 0, "a jump of {jump} ms");
    }
}

#[test]
fn small_appends_are_written_by_their_thread_and_large_ones_by_the_lane() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    assert!(is_done(&bench.produce(&partition, batch(&["a"]), Acks::All)), "no drain is needed");
    let large = bench.produce(&partition, batch(&[big()]), Acks::All);
    assert!(!is_done(&large));
    let behind = bench.produce(&partition, batch(&["b"]), Acks::All);
    assert!(!is_done(&behind), "nothing passes what stands in the queue");
    bench.work();
    assert_eq!(outcome(large).unwrap(), at(1));
    assert_eq!(outcome(behind).unwrap(), at(2));
    let counts = bench.lanes[0].counts();
    assert_eq!((counts.inline_appends, counts.queued_appends), (1, 2));
}

#[test]
fn a_slow_disk_ends_inline_appends_for_a_while() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    let now = bench.clock.mono.load(Ordering::SeqCst);
    bench.lanes[0].slow_until.store(now + 1_000_000_000, Ordering::SeqCst);
    assert!(!is_done(&bench.produce(&partition, batch(&["a"]), Acks::All)));
    bench.work();
    bench.clock.mono.store(now + 1_000_000_001, Ordering::SeqCst);
    assert!(is_done(&bench.produce(&partition, batch(&["a"]), Acks::All)));
}

#[test]
fn a_drain_writes_a_partition_once() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    let waits: Vec<_> = (0..5).map(|_| bench.produce(&partition, batch(&[big()]), Acks::All)).collect();
    let writes = || {
        bench.disk.plan(Fault { operation: Some(Operation::Write), nth: u64::MAX, effect: Effect::Fail });
        bench.work();
        bench.disk.operations()
    };
    // One write for five batches; the index takes its own.
    assert!(writes() <= 3, "five appends were written one by one");
    let offsets: Vec<_> = waits.into_iter().map(|wait| outcome(wait).unwrap().base_offset).collect();
    assert_eq!(offsets, [0, 1, 2, 3, 4]);
}

#[test]
fn strict_syncs_before_it_answers_and_once_for_many() {
    let bench = Bench::new(1, true);
    let partition = bench.partition(1, 0, LogConfig::default());
    let waits: Vec<_> = (0..4).map(|_| bench.produce(&partition, batch(&["a"]), Acks::Leader)).collect();
    assert!(waits.iter().all(|wait| !is_done(wait)), "never on a connection's thread");
    bench.work();
    assert!(waits.iter().all(is_done));
    let durable = || partition.view().unwrap().recovery_point();
    assert_eq!(durable(), 4);
    bench.produce(&partition, batch(&["a"]), Acks::None);
    bench.work();
    assert_eq!(durable(), 4, "nobody waits for acks=0");
    bench.produce(&partition, batch(&["a"]), Acks::All);
    bench.work();
    assert_eq!(durable(), 6);
}

#[test]
fn flush_messages_is_honoured() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig { flush_messages: Some(1), ..LogConfig::default() });
    let wait = bench.produce(&partition, batch(&["a"]), Acks::None);
    assert!(!is_done(&wait), "a thread that serves sockets does not sync");
    bench.work();
    assert!(is_done(&wait));
    assert_eq!(partition.view().unwrap().recovery_point(), 1);
}

#[test]
fn flush_ms_is_honoured() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig { flush_ms: Some(1000), ..LogConfig::default() });
    bench.produce(&partition, batch(&["a"]), Acks::All);
    let tick = |passed: u64| {
        bench.clock.mono.fetch_add(passed * 1_000_000, Ordering::SeqCst);
        bench.lanes[0].command(Command::FlushOverdue);
        bench.work();
        partition.view().unwrap().recovery_point()
    };
    assert_eq!([tick(0), tick(999), tick(2)], [0, 0, 1]);
}

/// Every operation of the disk fails in turn: what was answered with success is there, what was not is answered with a
/// storage error, and the directory stays offline.
#[test]
fn any_failure_of_the_disk_takes_the_directory_offline() {
    for strict in [false, true] {
        for operation in [Operation::Write, Operation::Sync] {
            for nth in 0..12 {
                let bench = Bench::new(1, strict);
                let partition = bench.partition(1, 0, LogConfig::default());
                let other = bench.partition(2, 0, LogConfig::default());
                bench.disk.plan(Fault { operation: Some(operation), nth, effect: Effect::Fail });
                let waits: Vec<_> = (0..12)
                    .map(|_| {
                        let wait = bench.produce(&partition, batch(&[big()]), Acks::All);
                        bench.work();
                        wait
                    })
                    .collect();
                let mut good = 0;
                for wait in waits {
                    match outcome(wait) {
                        Ok(appended) => {
                            assert_eq!(appended.base_offset, good);
                            good += 1;
                        }
                        Err(error) => assert_eq!(error.code(), ErrorCode::KafkaStorageError),
                    }
                }
                if !bench.disk.fault_happened() {
                    assert_eq!(good, 12);
                    continue;
                }
                assert!(good < 12);
                bench.disk.heal();
                assert_eq!(partition.status().state, PartitionState::Offline);
                assert_eq!(other.status().state, PartitionState::Offline, "the whole directory");
                assert!(matches!(bench.read(&other, 0), Err(error) if error.code() == ErrorCode::KafkaStorageError));
                let late = bench.produce_now(&other, batch(&["a"]), Acks::Leader);
                assert_eq!(late.unwrap_err().code(), ErrorCode::KafkaStorageError);
            }
        }
    }
}

#[test]
fn duplicates_are_answered_and_gaps_refused() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    let send = |sequence| bench.produce_now(&partition, producer_batch(&["v"], 7, 0, sequence), Acks::All);
    assert_eq!(send(0).unwrap().base_offset, 0);
    assert_eq!(send(1).unwrap().base_offset, 1);
    assert_eq!(send(0).unwrap().base_offset, 0);
    let gap = send(5).unwrap_err();
    assert_eq!((gap.code(), gap.log_start_offset()), (ErrorCode::OutOfOrderSequenceNumber, 0));
    assert_eq!(send(2).unwrap().base_offset, 2);
    assert_eq!(bench.values(&partition, 0).len(), 3);
}

#[test]
fn bad_records_are_refused_here_and_in_the_lane() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    let damaged = |len: usize| {
        let mut bytes = batch(&[vec![b'x'; len]]).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.into()
    };
    for len in [1, 2 << 20] {
        let refused = bench.produce_now(&partition, damaged(len), Acks::All).unwrap_err();
        let expected = if len == 1 { ErrorCode::CorruptMessage } else { ErrorCode::MessageTooLarge };
        assert_eq!((refused.code(), refused.log_start_offset()), (expected, -1));
    }
    let empty = bench.produce_now(&partition, Vec::new().into(), Acks::All).unwrap_err();
    assert_eq!((empty.code(), empty.log_start_offset()), (ErrorCode::InvalidRecord, -1));
    assert_eq!(bench.produce_now(&partition, batch(&["a"]), Acks::All).unwrap(), at(0));
}

#[test]
fn acks_all_waits_for_those_in_sync() {
    let bench = Bench::new(1, false);
    let partition = bench.hosted(1, 0, LogConfig { min_insync_replicas: 2, ..LogConfig::default() });
    bench.replicas.assign(partition.id(), assignment(1, 3, &[1, 2, 3], &[1, 2]));
    bench.work();
    let all = bench.produce(&partition, batch(&["a", "b"]), Acks::All);
    let leader = bench.produce(&partition, batch(&["c"]), Acks::Leader);
    bench.work();
    assert!(!is_done(&all) && is_done(&leader));
    assert!(all.poll_appended(&Context::from_waker(Waker::noop())).is_ready());
    let followed = |log_end| {
        let replica = BrokerId(2);
        bench.lanes[0].command(Command::Followed { partition: partition.id(), replica, log_start: 0, log_end });
        bench.work();
        partition.view().unwrap().ends().high_watermark.offset
    };
    assert_eq!(followed(1), 1);
    assert!(!is_done(&all));
    assert_eq!(followed(2), 2);
    assert_eq!(outcome(all).unwrap(), at(0));

    // The in-sync set shrinks: nothing more is taken, and what was taken is told so.
    let caught = bench.produce(&partition, batch(&["d"]), Acks::All);
    bench.replicas.assign(partition.id(), assignment(1, 3, &[1, 2, 3], &[1]));
    bench.work();
    let refused = bench.produce_now(&partition, batch(&["e"]), Acks::All).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::NotEnoughReplicas);
    assert!(!is_done(&caught), "it is not committed; the client's timeout ends its wait");
    assert!(matches!(caught.finish().pop().unwrap(), Err(error) if error.code() == ErrorCode::RequestTimedOut));
}

#[test]
fn what_a_crash_left_unsynced_is_synced_before_it_is_read() {
    let bench = Bench::new(1, true);
    let mut log = bench.open(1, 0, LogConfig::default());
    log.append_raw(&batch(&["a"]), Wall(1)).unwrap();
    let partition = bench.replicas.host(log, 0, PartitionSettings::default());
    bench.replicas.assign(partition.id(), assignment(1, 0, &[1], &[1]));
    bench.work();
    let view = partition.view().unwrap();
    assert_eq!((view.ends().high_watermark.offset, view.recovery_point()), (1, 1));
}

#[test]
fn a_lost_leadership_ends_waits() {
    let bench = Bench::new(1, false);
    let partition = bench.hosted(1, 0, LogConfig::default());
    bench.replicas.assign(partition.id(), assignment(1, 3, &[1, 2], &[1, 2]));
    bench.work();
    let wait = bench.produce(&partition, batch(&["a"]), Acks::All);
    let queued = bench.produce(&partition, batch(&[big()]), Acks::All);
    bench.replicas.assign(partition.id(), assignment(2, 4, &[1, 2], &[1, 2]));
    bench.work();
    for wait in [wait, queued] {
        assert_eq!(outcome(wait).unwrap_err().code(), ErrorCode::NotLeaderOrFollower);
    }
    assert!(
        matches!(bench.read(&partition, 0), Err(FetchError::Access(error)) if error.code() == ErrorCode::NotLeaderOrFollower)
    );
    // An old record of the metadata log changes nothing.
    bench.replicas.assign(partition.id(), assignment(1, 3, &[1, 2], &[1, 2]));
    bench.work();
    assert_eq!(partition.status().state, PartitionState::Follower);
    bench.replicas.assign(partition.id(), assignment(1, 5, &[1, 2], &[1]));
    bench.work();
    assert_eq!((partition.status().state, partition.status().leader_epoch), (PartitionState::Leader, 5));
}

#[test]
fn a_released_partition_answers_who_waits_and_hands_its_log_back() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    let marks = Arc::new(Marks::default());
    partition.watchers().watch(&marks, 4, Interest::HighWatermark);
    let queued = bench.produce(&partition, batch(&[big()]), Acks::All);
    let released = bench.replicas.release(partition.id());
    let late = bench.produce(&partition, batch(&["late"]), Acks::All);
    bench.work();
    assert_eq!(outcome(queued).unwrap(), at(0), "it came first");
    assert_eq!(outcome(late).unwrap_err().code(), ErrorCode::UnknownTopicOrPartition);
    assert_eq!(block_on(released).unwrap().unwrap().log_end_offset(), 1);
    assert!(bench.replicas.find(partition.id()).is_none());
    assert_eq!(marks.take().slots, [4]);
    let gone = bench.read(&partition, 0).unwrap_err();
    assert_eq!(gone.code(), ErrorCode::UnknownTopicOrPartition);
}

#[test]
fn closing_in_order_leaves_clean_logs() {
    let bench = Bench::new(2, false);
    let partitions: Vec<_> = (0..4).map(|at| bench.partition(1, at, LogConfig::default())).collect();
    for partition in &partitions {
        bench.produce_now(partition, batch(&["a"]), Acks::All).unwrap();
    }
    for lane in &bench.lanes {
        let (done, completion) = crate::replica::completion::completion();
        lane.command(Command::Close { done });
        lane.close();
        lane.drain();
        assert_eq!(block_on(completion), Ok(true));
    }
    let late = bench.produce_now(&partitions[0], batch(&["b"]), Acks::All).unwrap_err();
    assert_eq!(late.code(), ErrorCode::UnknownTopicOrPartition);
}

/// Producers on several threads against lanes on theirs, with readers that wait for what comes: every acknowledged value
/// is read once, in its producer's order, and nobody sleeps over data.
#[test]
fn threads_agree_on_what_was_written() {
    const PRODUCERS: usize = 3;
    const EACH: usize = 400;
    let mut bench = Bench::new(2, false);
    let partitions: Vec<_> = (0..2).map(|at| bench.partition(1, at, LogConfig::default())).collect();
    bench.start();
    let bench = &bench;
    std::thread::scope(|scope| {
        for producer in 0..PRODUCERS {
            let partitions = &partitions;
            scope.spawn(move || {
                let mut waits = Vec::new();
                for n in 0..EACH {
                    // Some are written inline, some by the lane.
                    let padding = if n % 7 == 0 { BIG } else { 10 };
                    let value = format!("{producer}:{n}:{}", "x".repeat(padding));
                    waits.push(bench.produce(&partitions[n % 2], batch(&[value]), Acks::All));
                    if n % 16 == 15 {
                        for wait in waits.drain(..) {
                            block_on(std::future::poll_fn(|context| wait.poll_done(context)));
                            outcome(wait).unwrap();
                        }
                    }
                }
            });
        }
        for partition in &partitions {
            scope.spawn(move || {
                let marks = Arc::new(Marks::default());
                partition.watchers().watch(&marks, 0, Interest::HighWatermark);
                let (mut offset, mut next) = (0, [0; PRODUCERS]);
                while offset < (PRODUCERS * EACH / 2) as i64 {
                    marks.take();
                    let values = bench.values(partition, offset);
                    if values.is_empty() {
                        block_on(std::future::poll_fn(|context| marks.poll_marked(1, context)));
                    }
                    for (at, value) in values {
                        assert_eq!(at, offset);
                        offset += 1;
                        let text = String::from_utf8(value[..value.len().min(12)].to_vec()).unwrap();
                        let mut parts = text.split(':').map(|part| part.parse::<usize>());
                        let (producer, n) = (parts.next().unwrap().unwrap(), parts.next().unwrap().unwrap());
                        assert!(n >= next[producer], "out of order or doubled");
                        next[producer] = n + 1;
                    }
                }
            });
        }
    });
}

#[test]
fn wakes_are_gathered() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    let marks = Arc::new(Marks::default());
    partition.watchers().watch(&marks, 0, Interest::HighWatermark);
    for _ in 0..3 {
        bench.produce(&partition, batch(&[big()]), Acks::All);
    }
    assert!(marks.poll_marked(1, &Context::from_waker(Waker::noop())).is_pending());
    bench.work();
    assert_eq!(marks.take().slots, [0], "marked once for three appends");
    Wakes::default().flush();
}

/// What a producer does next.
#[derive(Debug, Clone, Copy)]
enum Move {
    /// The next sequence, in a batch of so many records.
    Next(usize),
    /// One of its last five batches once more.
    Repeat(usize),
    /// A sequence that leaves some out.
    Gap(i32),
    /// Its next epoch, from sequence 0 on.
    NewEpoch,
}

/// What the log should have of a producer.
#[derive(Debug, Default, Clone)]
struct Known {
    epoch: i16,
    next: i32,
    /// Sequence, records and base offset of its last batches in this epoch.
    last: Vec<(i32, usize, i64)>,
}

fn moves() -> impl Strategy<Value = Vec<(usize, Move, bool, bool)>> {
    let action = prop_oneof![
        6 => (1..4_usize).prop_map(Move::Next),
        3 => (0..5_usize).prop_map(Move::Repeat),
        1 => (1..5).prop_map(Move::Gap),
        1 => Just(Move::NewEpoch),
    ];
    prop::collection::vec((0..3_usize, action, any::<bool>(), any::<bool>()), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever producers send, in what sizes, and whenever the lane gets to it: each batch is in the log once and in
    /// order, a repeat is answered as the first time, a gap is refused.
    #[test]
    fn every_batch_is_in_the_log_once_and_in_order(moves in moves()) {
        let bench = Bench::new(1, false);
        let partition = bench.partition(1, 0, LogConfig::default());
        let mut known = vec![Known::default(); 3];
        let (mut end, mut expected_values, mut waits) = (0_i64, Vec::new(), Vec::new());
        for (n, (who, action, is_large, drains)) in moves.into_iter().enumerate() {
            let producer = &mut known[who];
            let (sequence, count, expected) = match action {
                Move::Next(count) => {
                    let sequence = producer.next;
                    producer.last.push((sequence, count, end));
                    (sequence, count, Ok(end))
                }
                Move::Repeat(back) => match producer.last.iter().rev().nth(back) {
                    Some((sequence, count, base)) => (*sequence, *count, Err(Some(*base))),
                    None => continue,
                },
                Move::Gap(by) if producer.next > 0 => (producer.next + by, 1, Err(None)),
                Move::NewEpoch if producer.next > 0 => {
                    *producer = Known { epoch: producer.epoch + 1, last: vec![(0, 1, end)], ..Known::default() };
                    (0, 1, Ok(end))
                }
                Move::Gap(_) | Move::NewEpoch => continue,
            };
            let padding = if is_large { BIG } else { 0 };
            let values: Vec<String> = (0..count).map(|at| format!("{n}.{at}{}", "x".repeat(padding))).collect();
            if expected.is_ok() {
                producer.next = sequence + i32::try_from(count).unwrap();
                expected_values.extend((end..).zip(&values).map(|(at, value)| (at, value[..4.min(value.len())].to_owned())));
                end += i64::try_from(count).unwrap();
            }
            let records = producer_batch(&values, i64::try_from(who).unwrap(), producer.epoch, sequence);
            waits.push((bench.produce(&partition, records, Acks::All), expected));
            if drains {
                bench.work();
            }
        }
        bench.work();
        for (wait, expected) in waits {
            match (outcome(wait), expected) {
                (Ok(appended), Ok(base) | Err(Some(base))) => prop_assert_eq!(appended.base_offset, base),
                (Err(error), Err(None)) => prop_assert_eq!(error.code(), ErrorCode::OutOfOrderSequenceNumber),
                (outcome, expected) => prop_assert!(false, "{:?} where {:?} was expected", outcome, expected),
            }
        }
        let values = bench.values(&partition, 0).into_iter();
        let values: Vec<_> = values.map(|(at, v)| (at, String::from_utf8(v[..4.min(v.len())].to_vec()).unwrap())).collect();
        prop_assert_eq!(values, expected_values);
    }
}

#[test]
fn a_lane_that_panics_takes_its_directory_offline_and_leaves_nobody_waiting() {
    let bench = Bench::new(1, false);
    let partition = bench.partition(1, 0, LogConfig::default());
    let lane = &bench.lanes[0];
    let wait = bench.produce(&partition, batch(&[big()]), Acks::All);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let running = super::Running { lane, count: 1 };
        lane.queue.drain(&mut Vec::new(), &mut Wakes::default());
        std::panic::resume_unwind(Box::new(running.count));
    }));
    assert!(panicked.is_err());
    assert_eq!(outcome(wait).unwrap_err().code(), ErrorCode::KafkaStorageError);
    bench.work();
    let late = bench.produce_now(&partition, batch(&["a"]), Acks::All).unwrap_err();
    assert_eq!(late.code(), ErrorCode::KafkaStorageError);
}
