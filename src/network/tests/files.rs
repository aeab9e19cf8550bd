//! Answers whose bytes lie in segments: cached, cold, damaged, on plain and encrypted connections.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::house::{Client, House, eventually, open, request, spec};
use super::tls::{TlsClient, configs};
use crate::log::config::LogConfig;
use crate::log::segment::{FileRange, Segment};
use crate::log::storage::Disk as _;
use crate::log::storage::faulty::FaultyDisk;
use crate::model::listener::SecurityProtocol::{Plaintext, Ssl};
use crate::protocol::api::ApiKey;

fn contents(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i / 251) as u8 ^ (i % 251) as u8).collect()
}

/// A segment of `length` bytes, on a disk whose cache can be emptied.
fn segment(length: usize) -> (FaultyDisk, Arc<Segment>) {
    let disk = FaultyDisk::new();
    let dir = Path::new("/data/t-0");
    for parent in ["/data", "/data/t-0"] {
        disk.create_dir(Path::new(parent)).unwrap();
    }
    let segment = Segment::create(&disk, dir, 0, &LogConfig::default()).unwrap();
    segment.log().write_all(&[&contents(length)], 0).unwrap();
    (disk, Arc::new(segment))
}

/// The house answers ListOffsets with these ranges between its own bytes.
fn house_with(ranges: Vec<FileRange>) -> House {
    let mut house = House::new();
    house.ranges = ranges;
    house
}

fn range(segment: &Arc<Segment>, position: u64, len: u32) -> FileRange {
    FileRange { segment: Arc::clone(segment), position, len }
}

#[test]
fn ranges_are_sent_where_they_belong_cached_or_not() {
    let (disk, segment) = segment(3_000_000);
    let all = contents(3_000_000);
    let house = house_with(vec![range(&segment, 10, 100), range(&segment, 5, 2_999_995)]);
    let expected = [b"<", &all[10..110], b"|", &all[5..], b">"].concat();
    let (server, tls_client) = configs();
    let (_plain, plain_address) = open(&house, spec("OPEN", Plaintext, None));
    let (_secure, secure_address) = open(&house, spec("SECURE", Ssl, Some(server)));
    let mut plain = Client::connect(plain_address);
    let mut secure = TlsClient::connect(secure_address, tls_client, usize::MAX);
    for evicted in [false, true] {
        disk.evict_cache(evicted);
        for id in 0..3 {
            plain.send(&request(ApiKey::ListOffsets, 1, id, b""));
            secure.send(&request(ApiKey::ListOffsets, 1, id, b""));
            assert!(plain.answer() == (id, expected.clone()), "plain, evicted: {evicted}");
            assert!(secure.answer() == (id, expected.clone()), "encrypted, evicted: {evicted}");
        }
    }
}

#[test]
fn a_file_that_is_too_short_ends_the_connection() {
    let (_disk, segment) = segment(1000);
    let house = house_with(vec![range(&segment, 0, 1000), range(&segment, 500, 1000)]);
    let (network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::ListOffsets, 1, 1, b""));
    let mut received = Vec::new();
    let _ = client.0.read_to_end(&mut received);
    assert!(received.len() < 8 + 3 + 2000, "wrong bytes were sent in the place of missing ones");
    eventually(|| network.connections() == 0);
    let mut other = Client::connect(address);
    other.send(&request(ApiKey::Metadata, 1, 2, b""));
    assert_eq!(other.answer().0, 2);
}

#[test]
fn a_consumer_may_leave_an_answer_from_files_unread_for_a_while() {
    let (_disk, segment) = segment(40_000_000);
    let house = house_with(vec![range(&segment, 0, 40_000_000)]);
    let (network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::ListOffsets, 1, 1, b""));
    client.send(&request(ApiKey::Metadata, 1, 2, b""));
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(network.connections(), 1);
    assert_eq!(client.answer().1.len(), 40_000_002);
    assert_eq!(client.answer().0, 2);
}
