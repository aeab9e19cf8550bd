//! Batches with a good checksum around a payload that is none, or is far too much.

use bytes::Bytes;
use schloss::model::compression::CompressionType;
use schloss::protocol::api::ApiKey;
use schloss::protocol::compression::Compressor;
use schloss::protocol::messages::produce_request::ProduceRequest;
use schloss::protocol::messages::produce_response::ProduceResponse;

use super::records::{ATTRIBUTES, PRODUCER_ID, batch, changed, produce, put, to_topic};
use super::{create_topic, world};
use crate::client::Client;

const HEADER: usize = 61;
const CORRUPT_MESSAGE: i16 = 2;
const MESSAGE_TOO_LARGE: i16 = 10;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const INVALID_RECORD: i16 = 87;

/// A batch of one record with this payload, said to be of this codec.
fn payload(codec: u8, payload: &[u8]) -> Bytes {
    changed(|batch| {
        batch.truncate(HEADER);
        batch.extend_from_slice(payload);
        batch[ATTRIBUTES + 1] = codec;
        let length = i32::try_from(batch.len() - 12).unwrap();
        put(batch, 8, length);
    })
}

/// A topic of its own, and what it answers to each; nothing of it is kept.
#[track_caller]
fn refused(topic: &str, code: i16, batches: &[(&str, Bytes)]) {
    let mut client = world().login("admin");
    assert_eq!(create_topic(&mut client, topic), 0);
    for (what, records) in batches {
        assert_eq!(produce(&mut client, topic, 1, records.clone()).unwrap(), code, "{what}");
    }
    assert_eq!(next_offset(&mut client, topic), 0, "something was kept");
    world().still_serves();
}

/// The offset of a good batch that is written now.
fn next_offset(client: &mut Client, topic: &str) -> i64 {
    let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &to_topic(topic, 1, batch())).unwrap();
    let partition = &answer.responses[0].partition_responses[0];
    assert_eq!(partition.error_code, 0);
    partition.base_offset
}

/// Case 81: 200 KB that become 200 MB. Kafka takes it.
#[test]
fn a_bomb_of_200_mb() {
    let before = world().resident_kib();
    for (topic, codec, id) in [
        ("t81.gzip", CompressionType::Gzip, 1),
        ("t81.lz4", CompressionType::Lz4, 3),
        ("t81.zstd", CompressionType::Zstd, 4),
    ] {
        let mut compressor = Compressor::new(codec, None, Vec::new()).unwrap();
        // Length, attributes, deltas, null key, length of the value; then the value.
        compressor.write(b"\x94\x88\xde\xbe\x01\x00\x00\x00\x01\x80\x88\xde\xbe\x01").unwrap();
        for _ in 0..200 {
            compressor.write(&[0; 1_000_000]).unwrap();
        }
        let bomb = compressor.finish().unwrap();
        assert!(bomb.len() < 1_000_000, "{topic}: {} bytes", bomb.len());
        refused(topic, MESSAGE_TOO_LARGE, &[(topic, payload(id, &bomb))]);
    }
    let grown = world().resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for bombs");
}

/// Case 82: Kafka answers -1 and logs a stack trace.
#[test]
fn payloads_that_are_garbage() {
    let garbage = b"garbage that no codec has written";
    let mut cases: Vec<(&str, Bytes)> = Vec::new();
    for (codec, what) in
        [(1, "gzip"), (2, "snappy"), (3, "lz4"), (4, "zstd"), (5, "codec 5"), (6, "codec 6"), (7, "codec 7")]
    {
        cases.push((what, payload(codec, garbage)));
        cases.push((what, payload(codec, b"")));
    }
    // Descriptor 0: no single segment, no dictionary; a window of 2 GiB; one empty last block.
    cases.push(("zstd with a window of 2 GiB", payload(4, b"\x28\xb5\x2f\xfd\x00\xa8\x01\x00\x00")));
    cases.push(("zstd with a dictionary", payload(4, b"\x28\xb5\x2f\xfd\x01\x58\x07\x01\x00\x00")));
    refused("t82", CORRUPT_MESSAGE, &cases);
    let output = world().broker.output();
    let lines: Vec<_> = output.lines().filter(|line| line.contains("t82-0")).collect();
    assert_eq!(lines.len(), 1, "one line for all of them: {lines:#?}");
    for part in ["User:admin", "127.0.0.1", "CORRUPT_MESSAGE", "gzip"] {
        assert!(lines[0].contains(part), "{}", lines[0]);
    }
}

/// Case 83 (CVE-2023-34455): a chunk that declares 2 GiB.
#[test]
fn a_snappy_chunk_that_declares_2_gib() {
    let before = world().resident_kib();
    let header = b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01";
    let cases = [
        ("a chunk of 2^31-1", [&header[..], b"\x7f\xff\xff\xff", b"abc"].concat()),
        ("a chunk of -1", [&header[..], b"\xff\xff\xff\xff", b"abc"].concat()),
        // The block itself says that it becomes 4 GiB.
        ("a block that becomes 4 GiB", [&header[..], b"\0\0\0\x08", b"\xff\xff\xff\xff\x0f\x00\x61\x61"].concat()),
    ];
    refused("t83", CORRUPT_MESSAGE, &cases.map(|(what, bytes)| (what, payload(2, &bytes))));
    let grown = world().resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for lengths that lie");
}

/// Case 84: frames whose blocks refer to what was never in them.
#[test]
fn lz4_frames_that_reach_too_far() {
    let good = |block: &[u8]| {
        let length = u32::try_from(block.len()).unwrap().to_le_bytes();
        [b"\x04\x22\x4d\x18\x60\x40\x82", &length[..], block, &[0; 4]].concat()
    };
    // One literal, then a match of four bytes from 64 KiB before it.
    let far = good(b"\x10a\xff\xff");
    let mut header = good(b"\x10a");
    header[6] ^= 1;
    let cases = [
        ("an offset before the start", far),
        ("an offset of 0", good(b"\x10a\0\0")),
        ("another checksum of the header", header),
    ];
    refused("t84", CORRUPT_MESSAGE, &cases.map(|(what, bytes)| (what, payload(3, &bytes))));
}

/// Case 86: what only coordinators write, and producers that nobody is. Kafka takes the last two, and so do we what has a
/// transactional id beside it and is no transaction.
#[test]
fn batches_of_nobody() {
    let control = changed(|batch| batch[ATTRIBUTES + 1] = 0x20);
    refused("t86.control", INVALID_RECORD, &[("a control batch", control)]);
    let transactional = changed(|batch| batch[ATTRIBUTES + 1] = 0x10);
    refused(
        "t86.transactional",
        TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        &[("a transaction without a name", transactional)],
    );
    let of_producer = |id: i64, epoch: i16| {
        changed(|batch| {
            batch[PRODUCER_ID..PRODUCER_ID + 8].copy_from_slice(&id.to_be_bytes());
            batch[PRODUCER_ID + 8..PRODUCER_ID + 10].copy_from_slice(&epoch.to_be_bytes());
            put(batch, PRODUCER_ID + 10, 0);
        })
    };
    let cases = [("producer id -2", of_producer(-2, 0)), ("an id without an epoch", of_producer(5, -1))];
    refused("t86.producer", INVALID_RECORD, &cases);

    let mut client = world().login("admin");
    assert_eq!(create_topic(&mut client, "t86.named"), 0);
    let mut named = |records: Bytes| {
        let request = ProduceRequest { transactional_id: Some("t86".into()), ..to_topic("t86.named", 1, records) };
        let answer: ProduceResponse = client.ask(ApiKey::Produce, 9, &request).unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        (partition.error_code, partition.base_offset)
    };
    assert_eq!(named(batch()), (0, 0), "a plain batch beside a transactional id");
    let in_name_only = changed(|batch| batch[ATTRIBUTES + 1] = 0x10);
    assert_eq!(named(in_name_only), (TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1), "a transaction of no producer");
    assert_eq!(named(batch()), (0, 1), "something was kept");
}
