//! SIGKILL under load, again and again: nothing acknowledged is lost, doubled or reordered.
//!
//! Idempotent producers keep five batches unanswered, as real ones do; when the broker is killed they have at least a
//! thousand records on the way. They send those again to its successor, with the sequences they had.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use schloss::protocol::messages::fetch_response::FetchResponse;
use schloss::protocol::messages::init_producer_id_request::InitProducerIdRequest;
use schloss::protocol::messages::init_producer_id_response::InitProducerIdResponse;
use schloss::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use schloss::protocol::messages::produce_response::ProduceResponse;
use schloss::protocol::record_batch::{BatchBuilder, batches};
use schloss::protocol::wire::{Message as _, Reader, Records};

use crate::client::Client;
use crate::support::{Broker, free_port, write};

const KILLS: usize = 10;
const PARTITIONS: i32 = 3;
const RECORDS_PER_BATCH: i32 = 200;
const IN_FLIGHT: usize = 5;
const TOPIC: &str = "load";

/// What a producer knows: the offset of every record that was acknowledged, by its number.
#[derive(Default)]
struct Acknowledged(Vec<(i64, i64)>);

/// Compares what was acknowledged with what is there: records numbered in the order they were sent, each once, each where
/// it was said to be.
fn check(acknowledged: &[(i64, i64)], log: &[(i64, i64)]) -> Result<(), String> {
    for (at, (offset, number)) in log.iter().enumerate() {
        if *number != i64::try_from(at).unwrap() {
            return Err(format!("record {number} stands at offset {offset}, where record {at} belongs"));
        }
    }
    for (number, offset) in acknowledged {
        match usize::try_from(*number).ok().and_then(|at| log.get(at)) {
            None => return Err(format!("record {number}, acknowledged at offset {offset}, is lost")),
            Some((there, _)) if there != offset => {
                return Err(format!("record {number}, acknowledged at offset {offset}, stands at {there}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[test]
fn the_checker_sees_a_loss_a_double_and_a_swap() {
    let good: Vec<(i64, i64)> = (0..10).map(|n| (n, n)).collect();
    assert_eq!(check(&good, &good), Ok(()));
    assert!(check(&good, &good[..9]).is_err(), "a lost tail");
    let mut lost = good.clone();
    lost.remove(4);
    assert!(check(&good, &lost).is_err(), "a lost record in the middle");
    let mut doubled = good.clone();
    doubled.insert(5, (5, 4));
    assert!(check(&good, &doubled).is_err(), "a doubled record");
    let mut swapped = good.clone();
    swapped.swap(3, 4);
    assert!(check(&good, &swapped).is_err(), "two records swapped");
    let moved: Vec<(i64, i64)> = good.iter().map(|(offset, number)| (offset + 1, *number)).collect();
    assert!(check(&good, &moved).is_err(), "records elsewhere than acknowledged");
}

struct Producer {
    partition: i32,
    id: i64,
    /// Number of the next record.
    next: i32,
    unanswered: VecDeque<i32>,
    acknowledged: Acknowledged,
}

impl Producer {
    fn batch(&self, first: i32) -> Bytes {
        let mut batch = BatchBuilder::new(0).producer(self.id, 0, first);
        for number in first..first + RECORDS_PER_BATCH {
            batch.append(1_700_000_000_000, None, Some(&i64::from(number).to_be_bytes()), &[]).unwrap();
        }
        batch.build()
    }

    fn send(&self, client: &mut Client, first: i32) -> std::io::Result<()> {
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                name: TOPIC.into(),
                partition_data: vec![PartitionProduceData {
                    index: self.partition,
                    records: Records::Bytes(self.batch(first)),
                }],
                ..Default::default()
            }],
        };
        client.send(ApiKey::Produce, 9, &request).map(drop)
    }

    /// Sends until the connection breaks; what is unanswered then stays.
    fn run(&mut self, address: SocketAddr, stop: &AtomicBool) {
        let mut client = Client::connect(address);
        if self.unanswered.iter().any(|first| self.send(&mut client, *first).is_err()) {
            return;
        }
        loop {
            while self.unanswered.len() < IN_FLIGHT && !stop.load(Ordering::Relaxed) {
                self.unanswered.push_back(self.next);
                self.next += RECORDS_PER_BATCH;
                if self.send(&mut client, self.next - RECORDS_PER_BATCH).is_err() {
                    return;
                }
            }
            if self.unanswered.is_empty() {
                return;
            }
            let Ok((_, body)) = client.receive(ApiKey::Produce, 9) else { return };
            let response = ProduceResponse::decode(&mut Reader::new(body), 9).unwrap();
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
            let first = self.unanswered.pop_front().unwrap();
            let records = (0..i64::from(RECORDS_PER_BATCH)).map(|n| (i64::from(first) + n, partition.base_offset + n));
            self.acknowledged.0.extend(records);
        }
    }
}

fn read_back(address: SocketAddr, partition: i32) -> Vec<(i64, i64)> {
    let mut client = Client::connect(address);
    let mut log = Vec::new();
    loop {
        let from = log.last().map_or(0, |(offset, _)| offset + 1);
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            topics: vec![FetchTopic {
                topic: TOPIC.into(),
                partitions: vec![FetchPartition {
                    partition,
                    fetch_offset: from,
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let response: FetchResponse = client.ask(ApiKey::Fetch, 11, &request).unwrap();
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        let Records::Bytes(bytes) = &data.records else { return log };
        let before = log.len();
        for batch in batches(bytes) {
            let Ok(batch) = batch else { break };
            for record in batch.records() {
                let record = record.unwrap();
                let number = i64::from_be_bytes(record.value.unwrap().try_into().unwrap());
                let offset = batch.header().base_offset + i64::from(record.offset_delta);
                if offset >= from {
                    log.push((offset, number));
                }
            }
        }
        if log.len() == before {
            assert_eq!(from, data.high_watermark, "the end was not reached");
            return log;
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_reordered() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let config = dir.path().join("server.properties");
    write(
        &config,
        &format!(
            "broker.id=1\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nlog.segment.bytes=1048576\n",
            dir.path().join("data").display()
        ),
    );
    let start = || Broker::start(&["serve", config.to_str().unwrap()], &[]);
    let mut broker = start();
    create_topic(address);
    let mut producers: Vec<Producer> = (0..PARTITIONS).map(|partition| producer(address, partition)).collect();
    for kill in 0..KILLS {
        let stop = Arc::new(AtomicBool::new(false));
        let running: Vec<_> = producers
            .drain(..)
            .map(|mut producer| {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    producer.run(address, &stop);
                    producer
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(150 + 40 * u64::try_from(kill).unwrap()));
        broker.kill();
        producers.extend(running.into_iter().map(|thread| thread.join().unwrap()));
        let unanswered: usize = producers.iter().map(|p| p.unanswered.len()).sum();
        let records = unanswered * usize::try_from(RECORDS_PER_BATCH).unwrap();
        assert!(records >= 1000, "only {records} records were unanswered at kill {kill}");
        broker = start();
    }
    let stop = AtomicBool::new(true);
    for producer in &mut producers {
        producer.run(address, &stop);
        assert!(producer.unanswered.is_empty());
        let log = read_back(address, producer.partition);
        assert!(log.len() > 10_000, "hardly any load: {}", log.len());
        check(&producer.acknowledged.0, &log).unwrap();
    }
    assert_eq!(broker.stop(), Some(0));
}

fn create_topic(address: SocketAddr) {
    let request = CreateTopicsRequest {
        topics: vec![CreatableTopic {
            name: TOPIC.into(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            ..Default::default()
        }],
        ..Default::default()
    };
    let response: CreateTopicsResponse = Client::connect(address).ask(ApiKey::CreateTopics, 7, &request).unwrap();
    assert_eq!(response.topics[0].error_code, 0, "{response:?}");
}

fn producer(address: SocketAddr, partition: i32) -> Producer {
    let request =
        InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: 60_000, ..Default::default() };
    let response: InitProducerIdResponse = Client::connect(address).ask(ApiKey::InitProducerId, 4, &request).unwrap();
    assert_eq!(response.error_code, 0);
    Producer {
        partition,
        id: response.producer_id,
        next: 0,
        unanswered: VecDeque::new(),
        acknowledged: Acknowledged::default(),
    }
}
