//! Replays what Apache Kafka 4.3.1 wrote, and compares with the snapshots that it took of the same log.

use bytes::Bytes;

use super::super::snapshot;
use super::*;
use crate::model::broker::BrokerId;
use crate::model::scram::ScramMechanism;
use crate::protocol::record_batch::batches;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kafka-4.3.1/", $name)).as_slice()
    };
}

/// Offset and record of everything below `end`.
fn records(file: &'static [u8], end: i64) -> Vec<(i64, MetadataRecord)> {
    let mut found = Vec::new();
    for batch in batches(file).checked() {
        let batch = batch.unwrap();
        if batch.header().is_control() || batch.header().base_offset >= end {
            continue;
        }
        for (delta, record) in (0..).zip(batch.records()) {
            let value = Bytes::copy_from_slice(record.unwrap().value.unwrap());
            let record = MetadataRecord::decode_value(value).unwrap();
            found.push((batch.header().base_offset + delta, record));
        }
    }
    found
}

fn replay(records: &[(i64, MetadataRecord)]) -> MetadataImage {
    let mut image = MetadataImage::default();
    for (offset, record) in records {
        image.apply(*offset, record).unwrap();
    }
    image
}

/// Everything but the offset, which counts anew in a snapshot.
fn assert_same(mut replayed: MetadataImage, snapshot: &MetadataImage) {
    replayed.offset = snapshot.offset;
    assert!(&replayed == snapshot, "{replayed:#?}\n{snapshot:#?}");
}

#[test]
fn the_image_is_what_kafkas_snapshots_say() {
    let log = fixture!("metadata-static/00000000000000000000.log");
    for (end, snapshot) in [
        (18, fixture!("metadata-static/00000000000000000018-0000000001.checkpoint")),
        (44, fixture!("metadata-static/00000000000000000044-0000000001.checkpoint")),
        (61, fixture!("metadata-static/00000000000000000061-0000000003.checkpoint")),
        (73, fixture!("metadata-static/00000000000000000073-0000000003.checkpoint")),
    ] {
        assert_same(replay(&records(log, end)), &replay(&records(snapshot, i64::MAX)));
    }
    let log = fixture!("metadata-dynamic/00000000000000000000.log");
    for (end, snapshot) in [
        (29, fixture!("metadata-dynamic/00000000000000000029-0000000001.checkpoint")),
        (60, fixture!("metadata-dynamic/00000000000000000060-0000000001.checkpoint")),
        (77, fixture!("metadata-dynamic/00000000000000000077-0000000003.checkpoint")),
        (93, fixture!("metadata-dynamic/00000000000000000093-0000000003.checkpoint")),
    ] {
        assert_same(replay(&records(log, end)), &replay(&records(snapshot, i64::MAX)));
    }
}

#[test]
fn our_snapshot_of_kafkas_log_has_kafkas_records() {
    let log = fixture!("metadata-dynamic/00000000000000000000.log");
    let theirs = records(fixture!("metadata-dynamic/00000000000000000093-0000000003.checkpoint"), i64::MAX);
    let ours = snapshot::records(&replay(&records(log, 93)));
    // Features and directories of a broker and features of a controller come in the order of a hash map there.
    let ordered = |record: &&MetadataRecord| {
        !matches!(record, MetadataRecord::RegisterBroker(_) | MetadataRecord::RegisterController(_))
    };
    let mut ours: Vec<Bytes> =
        ours.iter().filter(|r| ordered(&&r.record)).map(|r| r.record.encode_value(r.version)).collect();
    let theirs = theirs.iter().map(|(_, record)| record).filter(ordered);
    let mut theirs: Vec<Bytes> = theirs.map(|record| record.encode_value(written_version(record))).collect();
    ours.sort();
    theirs.sort();
    assert_eq!(ours.len(), 28);
    assert!(ours == theirs, "{ours:?}\n{theirs:?}");
}

/// The versions that Kafka writes at metadata.version 30.
fn written_version(record: &MetadataRecord) -> i16 {
    match record {
        MetadataRecord::RegisterBroker(_) => 4,
        MetadataRecord::Partition(_) => 2,
        _ => 0,
    }
}

#[test]
fn what_was_asked_for_is_there() {
    let image = replay(&records(fixture!("metadata-static/00000000000000000000.log"), i64::MAX));
    assert_eq!(image.offset(), 73);
    let names: Vec<_> = image.topics.iter().map(|topic| topic.name.to_string()).collect();
    assert_eq!(names, ["compacted", "plain"]);
    let plain = image.topics.by_name("plain").unwrap();
    assert_eq!(plain.partition_count(), 3);
    let partition = plain.partition(2).unwrap();
    assert_eq!((partition.leader, partition.isr.as_slice()), (BrokerId::NONE, [BrokerId(1)].as_slice()));
    assert_eq!(image.acls.len(), 3);
    assert!(image.scram.get("bob", ScramMechanism::Sha256).is_none());
    assert_eq!(image.scram.get("carol", ScramMechanism::Sha512).map(|c| c.iterations), Some(8192));
    assert_eq!(image.producer_ids.next(), 1000);
    assert_eq!(image.features.metadata_version().map(|v| v.level()), Some(30));
    let broker = image.cluster.broker(BrokerId(1)).unwrap();
    assert!(broker.fenced && broker.in_controlled_shutdown && broker.epoch == 61);
}
