//! Idempotent producers with batches on the way, and the comparison of what they were told with what is there.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use schloss::protocol::messages::fetch_response::FetchResponse;
use schloss::protocol::messages::init_producer_id_request::InitProducerIdRequest;
use schloss::protocol::messages::init_producer_id_response::InitProducerIdResponse;
use schloss::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use schloss::protocol::messages::produce_response::ProduceResponse;
use schloss::protocol::record_batch::{BatchBuilder, batches};
use schloss::protocol::wire::{Message as _, Reader, Records};

use crate::client::Client;
use crate::support::PATIENCE;

const RECORDS_PER_BATCH: i32 = 100;
const IN_FLIGHT: usize = 5;
/// Answers that every producer has seen before a kill.
const ANSWERS_BEFORE_KILL: usize = 12;
pub(super) const UNANSWERED_AT_KILL: usize = 1000;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const KAFKA_STORAGE_ERROR: i16 = 56;
pub(super) const TOPIC: &str = "load";

/// A record by its producer and the number that producer gave it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stamp {
    producer: i64,
    number: i64,
}

/// The value carries the stamp, and bytes that only that stamp has.
fn value_of(stamp: Stamp) -> Vec<u8> {
    let mut value = [stamp.producer.to_be_bytes(), stamp.number.to_be_bytes()].concat();
    let filler = u8::try_from((stamp.producer * 31 + stamp.number * 7) % 251).unwrap();
    value.resize(56 + usize::try_from(stamp.number * 37 % 150).unwrap(), filler);
    value
}

fn stamp_of(value: &[u8]) -> Stamp {
    let number = |at: usize| i64::from_be_bytes(value[at..at + 8].try_into().unwrap());
    let stamp = Stamp { producer: number(0), number: number(8) };
    assert_eq!(value, value_of(stamp), "the record was changed");
    stamp
}

/// A record and the offset it was acknowledged, or found, at.
pub(super) type At = (i64, Stamp);

/// Compares what was acknowledged with what is there: offsets without a hole, each producer's records each once and in
/// the order they were sent, and every acknowledged one where it was said to be.
pub(super) fn check(acknowledged: &[At], log: &[At]) -> Result<(), String> {
    let mut next: HashMap<i64, i64> = HashMap::new();
    for (at, (offset, stamp)) in log.iter().enumerate() {
        if *offset != i64::try_from(at).unwrap() {
            return Err(format!("{stamp:?} stands at offset {offset}, where {at} comes next"));
        }
        let next = next.entry(stamp.producer).or_default();
        if stamp.number != *next {
            return Err(format!("{stamp:?} stands at offset {offset}, where its producer's number {next} belongs"));
        }
        *next += 1;
    }
    for (offset, stamp) in acknowledged {
        match usize::try_from(*offset).ok().and_then(|at| log.get(at)) {
            None => return Err(format!("{stamp:?}, acknowledged at offset {offset}, is lost")),
            Some((_, there)) if there != stamp => {
                return Err(format!("{stamp:?} was acknowledged at offset {offset}, where {there:?} stands"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

#[test]
fn the_checker_sees_a_loss_a_double_and_a_swap() {
    // Two producers in turns.
    let good: Vec<At> = (0..20).map(|at| (at, Stamp { producer: at % 2, number: at / 2 })).collect();
    let renumber = |log: Vec<At>| -> Vec<At> { (0..).zip(log.into_iter().map(|(_, stamp)| stamp)).collect() };
    assert_eq!(check(&good, &good), Ok(()));
    assert_eq!(check(&good[..9], &good), Ok(()), "what was not acknowledged may be there");
    for at in 0..good.len() {
        let refused = |log: Vec<At>, what: &str| assert!(check(&good, &log).is_err(), "{what} at {at}");
        refused(good[..at].to_vec(), "a lost tail");
        let mut lost = good.clone();
        lost.remove(at);
        refused(lost.clone(), "a hole");
        refused(renumber(lost), "a lost record");
        let mut doubled = good.clone();
        doubled.insert(at, good[at]);
        refused(renumber(doubled), "a doubled record");
        if at > 1 {
            let mut swapped = good.clone();
            swapped.swap(at, at - 2);
            refused(renumber(swapped), "two records of one producer swapped");
            let mut moved = good.clone();
            moved.swap(at, at - 1);
            refused(renumber(moved), "a record elsewhere than acknowledged");
        }
    }
}

/// The producers' side of the time between two kills.
#[derive(Default)]
pub(super) struct Round {
    /// Records on the wire without an answer.
    unanswered: AtomicUsize,
    /// Producers that have seen enough answers.
    warm: AtomicUsize,
    /// A bit for each of [`Other`] that has seen one.
    others: AtomicUsize,
    /// Nobody begins anything more.
    over: AtomicBool,
}

/// Those who are answered beside the producers.
#[derive(Clone, Copy)]
pub(super) enum Other {
    Committer = 1,
    Creator = 2,
    Granter = 4,
}

impl Round {
    pub(super) fn answered(&self, other: Other) {
        self.others.fetch_or(other as usize, Ordering::SeqCst);
    }

    /// Everybody waits for what is on the way and ends.
    pub(super) fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    /// Waits until everybody has been answered.
    pub(super) fn wait_for_others(&self) {
        let start = Instant::now();
        while self.others.load(Ordering::SeqCst) != 7 {
            assert!(start.elapsed() < PATIENCE, "commits, topics or users are not answered");
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// Waits until a kill now meets what it is meant to meet.
    pub(super) fn wait_for_load(&self, producers: usize) {
        let start = Instant::now();
        while self.warm.load(Ordering::SeqCst) < producers
            || self.unanswered.load(Ordering::SeqCst) < UNANSWERED_AT_KILL
        {
            assert!(start.elapsed() < PATIENCE, "the producers do not get going");
            thread::sleep(Duration::from_micros(200));
        }
    }
}

pub(super) struct Unanswered {
    first: i32,
    /// It went out as a whole on the present connection.
    pub(super) sent: bool,
}

pub(super) struct Producer {
    pub(super) partition: i32,
    id: i64,
    /// Number of the next record, which is its sequence too.
    next: i32,
    pub(super) unanswered: VecDeque<Unanswered>,
    pub(super) acknowledged: Vec<At>,
}

impl Producer {
    pub(super) fn new(address: SocketAddr, partition: i32) -> Self {
        Self::try_new(address, partition).expect("a producer id")
    }

    /// `None` if the broker gives no producer id.
    pub(super) fn try_new(address: SocketAddr, partition: i32) -> Option<Self> {
        let request =
            InitProducerIdRequest { transactional_id: None, transaction_timeout_ms: i32::MAX, ..Default::default() };
        let response: InitProducerIdResponse =
            Client::try_connect(address).ok()?.ask(ApiKey::InitProducerId, 4, &request).ok()?;
        let (unanswered, acknowledged) = (VecDeque::new(), Vec::new());
        let id = (response.error_code == 0).then_some(response.producer_id)?;
        Some(Self { partition, id, next: 0, unanswered, acknowledged })
    }

    fn stamp(&self, number: i32) -> Stamp {
        Stamp { producer: self.id, number: number.into() }
    }

    fn batch(&self, first: i32) -> Bytes {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now_ms = i64::try_from(now.as_millis()).unwrap();
        let mut batch = BatchBuilder::new(0).producer(self.id, 0, first);
        for number in first..first + RECORDS_PER_BATCH {
            batch.append(now_ms, None, Some(&value_of(self.stamp(number))), &[]).unwrap();
        }
        batch.build()
    }

    fn send(&self, client: &mut Client, first: i32) -> bool {
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
        client.send(ApiKey::Produce, 9, &request).is_ok()
    }

    /// Sends again what was unanswered, then `more` batches, or until the connection breaks; what is unanswered then stays.
    pub(super) fn run(&mut self, address: SocketAddr, round: &Round, mut more: usize) {
        for batch in &mut self.unanswered {
            batch.sent = false;
        }
        let Ok(mut client) = Client::try_connect(address) else { return };
        for at in 0..self.unanswered.len() {
            if !self.send_at(&mut client, round, at) {
                return;
            }
        }
        let mut answers = 0;
        loop {
            while self.unanswered.len() < IN_FLIGHT && more > 0 && !round.is_over() {
                more -= 1;
                self.unanswered.push_back(Unanswered { first: self.next, sent: false });
                self.next += RECORDS_PER_BATCH;
                if !self.send_at(&mut client, round, self.unanswered.len() - 1) {
                    return;
                }
            }
            if self.unanswered.is_empty() || !self.receive(&mut client) {
                return;
            }
            round.unanswered.fetch_sub(records(1), Ordering::SeqCst);
            answers += 1;
            if answers == ANSWERS_BEFORE_KILL {
                round.warm.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    fn send_at(&mut self, client: &mut Client, round: &Round, at: usize) -> bool {
        let sent = self.send(client, self.unanswered[at].first);
        self.unanswered[at].sent = sent;
        if sent {
            round.unanswered.fetch_add(records(1), Ordering::SeqCst);
        }
        sent
    }

    fn receive(&mut self, client: &mut Client) -> bool {
        let Ok((_, body)) = client.receive(ApiKey::Produce, 9) else { return false };
        let response = ProduceResponse::decode(&mut Reader::new(body), 9).unwrap();
        let partition = &response.responses[0].partition_responses[0];
        if [NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR].contains(&partition.error_code) {
            // It is stopping, or its disk has failed: to be sent again like what has no answer.
            return false;
        }
        let first = self.unanswered.pop_front().unwrap().first;
        let message = partition.error_message.as_deref().unwrap_or_default();
        assert_eq!(partition.error_code, 0, "partition {}, record {first}: {message}", self.partition);
        for number in 0..RECORDS_PER_BATCH {
            self.acknowledged.push((partition.base_offset + i64::from(number), self.stamp(first + number)));
        }
        true
    }
}

pub(super) fn records(batches: usize) -> usize {
    batches * usize::try_from(RECORDS_PER_BATCH).unwrap()
}

/// A partition from its first record to its high watermark.
pub(super) fn read_back(address: SocketAddr, partition: i32) -> Vec<At> {
    let mut client = Client::connect(address);
    let mut log: Vec<At> = Vec::new();
    loop {
        let from = log.last().map_or(0, |(offset, _)| offset + 1);
        let wanted =
            FetchPartition { partition, fetch_offset: from, partition_max_bytes: 1 << 20, ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 0,
            min_bytes: 1,
            topics: vec![FetchTopic { topic: TOPIC.into(), partitions: vec![wanted], ..Default::default() }],
            ..Default::default()
        };
        let response: FetchResponse = client.ask(ApiKey::Fetch, 11, &request).unwrap();
        let data = &response.responses[0].partitions[0];
        assert_eq!(data.error_code, 0);
        if let Records::Bytes(bytes) = &data.records {
            for batch in batches(bytes).checked().map_while(Result::ok) {
                for record in batch.records() {
                    let record = record.unwrap();
                    let offset = batch.header().base_offset + i64::from(record.offset_delta);
                    if offset >= from {
                        log.push((offset, stamp_of(record.value.unwrap())));
                    }
                }
            }
        }
        if log.last().map_or(0, |(offset, _)| offset + 1) == from {
            assert_eq!(from, data.high_watermark, "the end was not reached");
            return log;
        }
    }
}
