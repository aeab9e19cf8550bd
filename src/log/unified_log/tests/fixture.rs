//! A partition that Apache Kafka 4.3.1 wrote (`tests/fixtures/kafka-4.3.1/log-dir`): we take it over, and would have written it.

use super::*;
use crate::log::storage::{Open, RealDisk};
use crate::log::view::ReadSlice;
use crate::protocol::compression::Decompressor;
use crate::protocol::record_batch::Records;

fn kafkas() -> Bench {
    let mut bench = Bench::new();
    bench.config.index_interval_bytes = 1024;
    bench.config.segment_ms = 7 * 24 * 60 * 60 * 1000;
    (bench.recovery_point, bench.high_watermark) = (68, 68);
    for (name, content) in original() {
        let file = bench.disk.open(&Path::new(DIR).join(name), Open::CREATE).unwrap();
        file.write_all(&[&content], 0).unwrap();
    }
    bench
}

/// The files of the fixture, by name.
fn original() -> Vec<(String, Vec<u8>)> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kafka-4.3.1/log-dir/t-0");
    let mut names: Vec<String> = RealDisk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names.into_iter().map(|name| (name.clone(), RealDisk.read_file(&dir.join(name), 1 << 20).unwrap())).collect()
}

fn files(bench: &Bench) -> Vec<(String, Vec<u8>)> {
    bench.names().into_iter().map(|name| (name.clone(), bench.file(&name))).collect()
}

fn kafka_values(log: &UnifiedLog, up_to: UpTo) -> (Vec<String>, ReadSlice) {
    let mut values = Vec::new();
    let mut next = 0;
    let mut decompressor = Decompressor::new();
    loop {
        let request =
            ReadRequest { from: next, max_bytes: 1 << 20, up_to, at_least_one: true, access: Access::Blocking };
        let slice = log.view().read(&request).unwrap();
        let Some(range) = &slice.range else { return (values, slice) };
        let mut bytes = vec![0; range.len as usize];
        range.read_at(0, &mut bytes).unwrap();
        for batch in batches(&bytes).checked().map(Result::unwrap) {
            let header = batch.header();
            next = header.next_offset();
            if header.is_control() {
                continue;
            }
            let mut records = Vec::new();
            decompressor.decompress(header.codec().unwrap(), batch.record_bytes(), 1 << 20, &mut records).unwrap();
            for record in Records::new(&records, header.records_count) {
                values.push(String::from_utf8(record.unwrap().value.unwrap().to_vec()).unwrap());
            }
        }
        if next == 68 {
            return (values, slice);
        }
    }
}

#[test]
fn a_cleanly_stopped_log_is_taken_over_and_left_byte_for_byte() {
    let bench = kafkas();
    let log = bench.open(true);
    assert_eq!(log.recovery(), &RecoveryReport::default());
    assert_eq!((log.log_end_offset(), log.view().segment_count()), (68, 2));
    assert_eq!(log.ends().last_stable.offset, 68);
    let (values, slice) = kafka_values(&log, UpTo::LastStable);
    assert_eq!(values.len(), 64);
    assert_eq!((values[0].as_str(), values[63].as_str()), (&*format!("value 0 {}", "x".repeat(60)), "aborted 3"));
    assert_eq!(slice.aborted.len(), 2, "the two aborted transactions");
    assert_eq!(log.producers().entries().len(), 6);
    assert_eq!(log.view().latest_epoch(), Some(0));
    let found = log.view().offset_for_timestamp(1_000_101, &mut Decompressor::new()).unwrap().unwrap();
    assert_eq!((found.timestamp, found.offset), (1_000_101, 11));
    log.close().unwrap();
    assert_eq!(files(&bench), original());
}

#[test]
fn recovery_rebuilds_what_kafka_had_written() {
    let bench = kafkas();
    for (name, _) in original() {
        if !name.ends_with(".log") {
            bench.disk.remove_file(&Path::new(DIR).join(name)).unwrap();
        }
    }
    let bench = Bench { recovery_point: 0, ..bench };
    let log = bench.open(false);
    assert_eq!((log.recovery().segments_read, log.log_end_offset()), (2, 68));
    log.close().unwrap();
    same_but_for_the_order_of_producers(&bench);
}

#[test]
fn appending_the_same_batches_writes_the_same_files() {
    let mut bench = Bench::new();
    bench.config = kafkas().config.clone();
    let mut log = bench.open(false);
    log.assign_epoch(0).unwrap();
    for (name, content) in original() {
        if name.ends_with(".log") {
            for batch in batches(&content) {
                let bytes = Bytes::copy_from_slice(batch.unwrap().bytes());
                log.append_raw(&bytes, Wall(0)).unwrap();
            }
        }
    }
    log.close().unwrap();
    same_but_for_the_order_of_producers(&bench);
}

/// Snapshots list producers in the order of a hash map; all else is equal byte for byte.
fn same_but_for_the_order_of_producers(bench: &Bench) {
    for (name, theirs) in original() {
        if name == "partition.metadata" {
            continue;
        }
        let ours = bench.file(&name);
        if name.ends_with(".snapshot") {
            let entries = |bytes: &[u8]| {
                let mut entries: Vec<Vec<u8>> = bytes[10..].chunks(46).map(<[u8]>::to_vec).collect();
                entries.sort();
                entries
            };
            assert_eq!(entries(&ours), entries(&theirs), "{name}");
        } else {
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
