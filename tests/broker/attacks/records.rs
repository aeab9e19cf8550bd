//! Batches and names that must not reach the disk.

use std::io;

use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use schloss::protocol::messages::produce_response::ProduceResponse;
use schloss::protocol::record_batch::BatchBuilder;
use schloss::protocol::wire::Records;

use super::{closes, create_topic, world};
use crate::client::Client;

/// One record `v` without key and headers.
pub(super) fn batch() -> Bytes {
    let mut batch = BatchBuilder::new(0);
    batch.append(1_700_000_000_000, None, Some(b"v"), &[]).unwrap();
    batch.build()
}

/// The same of an idempotent producer's first batch.
pub(super) fn batch_of_producer(producer_id: i64, epoch: i16) -> Bytes {
    changed(|batch| {
        batch[PRODUCER_ID..PRODUCER_ID + 8].copy_from_slice(&producer_id.to_be_bytes());
        batch[PRODUCER_ID + 8..PRODUCER_ID + 10].copy_from_slice(&epoch.to_be_bytes());
        put(batch, PRODUCER_ID + 10, 0);
    })
}

pub(super) fn to_topic(topic: &str, acks: i16, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData { index: 0, records: Records::Bytes(records) };
    let topic = TopicProduceData { name: topic.into(), partition_data: vec![partition], ..Default::default() };
    ProduceRequest { acks, timeout_ms: 10_000, topic_data: vec![topic], transactional_id: None }
}

/// Produces to partition 0; the code.
pub(super) fn produce(client: &mut Client, topic: &str, acks: i16, records: Bytes) -> io::Result<i16> {
    let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &to_topic(topic, acks, records))?;
    Ok(answer.responses[0].partition_responses[0].error_code)
}

/// Where the fields of a batch's header are.
const BATCH_LENGTH: usize = 8;
const MAGIC: usize = 16;
const CRC: usize = 17;
pub(super) const ATTRIBUTES: usize = 21;
const LAST_OFFSET_DELTA: usize = 23;
pub(super) const PRODUCER_ID: usize = 43;
const RECORDS_COUNT: usize = 57;

pub(super) fn put(batch: &mut [u8], at: usize, value: i32) {
    batch[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

/// A batch changed somewhere, with the CRC that belongs to it.
pub(super) fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut batch = batch().to_vec();
    change(&mut batch);
    let crc = crc32c::crc32c(&batch[ATTRIBUTES..]);
    batch[CRC..ATTRIBUTES].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// With this many headers in its record, of which there is none.
fn header_count(varint: &[u8]) -> Bytes {
    changed(|batch| {
        batch.pop();
        batch.extend_from_slice(varint);
        let more = varint.len() - 1;
        batch[61] += u8::try_from(2 * more).unwrap();
        let length = i32::try_from(batch.len() - 12).unwrap();
        put(batch, BATCH_LENGTH, length);
    })
}

/// Case 85.
#[test]
fn batches_that_are_refused() {
    let world = world();
    let mut client = world.login("admin");
    assert_eq!(create_topic(&mut client, "t85"), 0);
    let length = i32::try_from(batch().len()).unwrap() - 12;
    let cases = [
        ("wrong CRC", 2, {
            let mut batch = batch().to_vec();
            batch[CRC] ^= 1;
            batch.into()
        }),
        ("magic 3", 2, changed(|batch| batch[MAGIC] = 3)),
        ("magic -1", 2, changed(|batch| batch[MAGIC] = 0xff)),
        ("magic 1", 87, changed(|batch| batch[MAGIC] = 1)),
        ("too long", 87, changed(|batch| put(batch, BATCH_LENGTH, length + 10))),
        ("too short", 2, changed(|batch| put(batch, BATCH_LENGTH, length - 10))),
        ("-1 records", 87, changed(|batch| put(batch, RECORDS_COUNT, -1))),
        ("2^31-1 records", 87, changed(|batch| put(batch, RECORDS_COUNT, i32::MAX))),
        ("two records that are one", 87, changed(|batch| put(batch, RECORDS_COUNT, 2))),
        ("last offset delta", 87, changed(|batch| put(batch, LAST_OFFSET_DELTA, 4))),
        ("base offset 5", 87, changed(|batch| batch[7] = 5)),
        ("-1 headers", 87, header_count(b"\x01")),
        ("2^31-1 headers", 87, header_count(b"\xfe\xff\xff\xff\x0f")),
        ("nothing", 87, Bytes::new()),
        ("two batches", 87, [batch(), batch()].concat().into()),
    ];
    for (what, code, records) in cases {
        assert_eq!(produce(&mut client, "t85", 1, records).unwrap(), code, "{what}");
    }
    assert_eq!(produce(&mut client, "t85", 1, changed(|_| ())).unwrap(), 0);
    let request = to_topic("t85", 1, batch());
    let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &request).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 1, "nothing of the others was kept");
    world.still_serves();
}

/// Case 87.
#[test]
fn acks_that_are_none() {
    let world = world();
    let mut client = world.login("admin");
    assert_eq!(create_topic(&mut client, "t87"), 0);
    assert_eq!(produce(&mut client, "t87", 5, batch()).unwrap(), 21);
    client.send(ApiKey::Produce, 9, &to_topic("t87", 0, batch())).unwrap();
    assert_eq!(client.metadata(&["t87"]).unwrap().topics[0].error_code, 0, "nothing is answered, nothing is closed");
    client.send(ApiKey::Produce, 9, &to_topic("t87-not-there", 0, batch())).unwrap();
    closes(&mut client, "acks=0 with an error");
    world.still_serves();
}

/// Case 91.
#[test]
fn names_that_are_no_topics() {
    let world = world();
    let mut client = world.login("admin");
    assert_eq!(create_topic(&mut client, "t91.a"), 0);
    let long = "x".repeat(250);
    for (name, code) in [
        ("", 17),
        (".", 17),
        ("..", 17),
        ("../x91", 17),
        ("a/b", 17),
        (&*long, 17),
        ("a\0b", 17),
        ("tür", 17),
        ("t91_a", 17),
        ("t91.a", 36),
        ("__cluster_metadata", 42),
    ] {
        assert_eq!(create_topic(&mut client, name), code, "{name:?}");
    }
    assert_eq!(produce(&mut client, "../x91", 1, batch()).unwrap(), 3);
    let mut beside: Vec<_> =
        std::fs::read_dir(&world.dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    beside.sort();
    // `.schloss` remembers which cluster the folder belonged to.
    assert_eq!(
        beside,
        [".schloss", "broker.pem", "clients.pem", "data", "server.properties"],
        "nothing is outside the data's folder"
    );
    world.still_serves();
}
