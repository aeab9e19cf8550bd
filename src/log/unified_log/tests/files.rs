//! What the files hold, against what Apache Kafka 4.3.1 was seen to write.

use super::*;

/// A batch of 16 records and 16253 bytes, as in the observed log.
fn sixteen(timestamp: i64) -> ValidatedBatch {
    let build = |len: usize| {
        let mut builder = BatchBuilder::new(0);
        for _ in 0..15 {
            builder.append(timestamp, None, Some(&vec![b'x'; 1000]), &[]).unwrap();
        }
        builder.append(timestamp, None, Some(&vec![b'x'; len]), &[]).unwrap();
        builder.build()
    };
    let short = build(1000).len();
    let batch = build(1000 + 16253 - short);
    assert_eq!(batch.len(), 16253);
    checked(batch, Wall(timestamp))
}

#[test]
fn index_entries_stand_where_kafka_puts_them() {
    let bench = Bench { log_start: 3072, ..Bench::new() };
    let mut log = bench.open(false);
    for timestamp in [100, 100, 100, 90, 200, 200] {
        append(&mut log, &sixteen(timestamp)).unwrap();
    }
    assert_eq!(bench.len("00000000000000003072.index"), 10_485_760);
    assert_eq!(bench.len("00000000000000003072.timeindex"), 10_485_756);
    log.close().unwrap();
    let index: Vec<[u32; 2]> = bench
        .file("00000000000000003072.index")
        .chunks(8)
        .map(|e| [&e[..4], &e[4..]].map(|half| u32::from_be_bytes(half.try_into().unwrap())))
        .collect();
    // No entry for the first batch; then the last offset of the batch, and where it begins.
    assert_eq!(index, [[31, 16253], [47, 2 * 16253], [63, 3 * 16253], [79, 4 * 16253], [95, 5 * 16253]]);
    let times: Vec<(i64, u32)> = bench
        .file("00000000000000003072.timeindex")
        .chunks(12)
        .map(|e| (i64::from_be_bytes(e[..8].try_into().unwrap()), u32::from_be_bytes(e[8..].try_into().unwrap())))
        .collect();
    // Only where the maximum grew, with the end of the batch that first reached it.
    assert_eq!(times, [(100, 15), (200, 79)]);
}

#[test]
fn a_clean_close_leaves_what_kafka_leaves() {
    let bench = Bench::new();
    let mut log = bench.open(false);
    log.assign_epoch(0).unwrap();
    log.close().unwrap();
    assert_eq!(
        bench.names(),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "leader-epoch-checkpoint"
        ]
    );
    assert_eq!((bench.len("00000000000000000000.index"), bench.len("00000000000000000000.timeindex")), (0, 0));
    assert_eq!(bench.file("leader-epoch-checkpoint"), b"0\n1\n0 0\n");

    let mut log = bench.open(true);
    put(&mut log, "one");
    log.close().unwrap();
    assert_eq!((bench.len("00000000000000000000.index"), bench.len("00000000000000000000.timeindex")), (0, 12));
    // A log without producers gets the empty snapshot.
    assert_eq!(bench.file("00000000000000000001.snapshot"), [0, 1, 0x48, 0x67, 0x4b, 0xc7, 0, 0, 0, 0]);
    assert_eq!(bench.disk.operations(), {
        bench.disk.power_cut(None);
        bench.disk.operations()
    });
    let log = bench.open(true);
    assert_eq!(texts(&log), ["one"]);
    assert_eq!(log.recovery(), &RecoveryReport::default());
    assert_eq!(bench.len("00000000000000000000.index"), 10_485_760);
}

#[test]
fn a_roll_cuts_the_indexes_and_writes_the_producers() {
    let bench = Bench::with(|config| config.segment_bytes = 200);
    let mut log = bench.open(false);
    for n in 0..4 {
        append(&mut log, &from_producer(7, 0, n, &["0123456789012345678901234567890123456789"])).unwrap();
    }
    assert_eq!(
        bench.names(),
        [
            "00000000000000000000.index",
            "00000000000000000000.log",
            "00000000000000000000.timeindex",
            "00000000000000000001.index",
            "00000000000000000001.log",
            "00000000000000000001.snapshot",
            "00000000000000000001.timeindex",
            "00000000000000000002.index",
            "00000000000000000002.log",
            "00000000000000000002.snapshot",
            "00000000000000000002.timeindex",
            "00000000000000000003.index",
            "00000000000000000003.log",
            "00000000000000000003.snapshot",
            "00000000000000000003.timeindex",
            "leader-epoch-checkpoint",
        ]
    );
    assert_eq!((bench.len("00000000000000000002.index"), bench.len("00000000000000000002.timeindex")), (0, 12));
    assert_eq!(bench.len("00000000000000000003.index"), 10_485_760);
    assert_eq!(bench.len("00000000000000000003.snapshot"), 10 + 46);
}

#[test]
fn only_base_offset_and_epoch_of_a_batch_change() {
    let bench = Bench::new();
    let mut log = bench.open(false);
    put(&mut log, "before");
    let batch = from_producer(3, 1, 0, &["a", "b"]);
    let at = bench.len(&log_name(0)) as usize;
    log.append_as_leader(&batch, AppendOrigin::Client, 5, Wall(1)).unwrap();
    let written = bench.file(&log_name(0))[at..].to_vec();
    let sent = batch.bytes();
    assert_eq!(written.len(), sent.len());
    assert_eq!((&written[..8], &written[12..16]), (&1_i64.to_be_bytes()[..], &5_i32.to_be_bytes()[..]));
    assert_eq!((&written[8..12], &written[16..]), (&sent[8..12], &sent[16..]));
    assert_eq!(bench.file("leader-epoch-checkpoint"), b"0\n2\n0 0\n5 1\n");
}

#[test]
fn an_abort_is_written_to_the_transaction_index() {
    let bench = Bench::new();
    let mut log = bench.open(false);
    for n in 0..7 {
        put(&mut log, &n.to_string());
    }
    append(&mut log, &transactional(1, 0, "aborted")).unwrap();
    assert!(!bench.names().contains(&"00000000000000000000.txnindex".to_owned()));
    log.append_as_leader(&end_of_txn(1, false), AppendOrigin::Coordinator, 0, Wall(0)).unwrap();
    let fields: Vec<i64> = bench.file("00000000000000000000.txnindex")[2..]
        .chunks(8)
        .map(|field| i64::from_be_bytes(field.try_into().unwrap()))
        .collect();
    assert_eq!(fields, [1, 7, 8, 9]);
}
