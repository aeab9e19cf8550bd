//! The gate on what a produced megabyte may cost: allocations and wakes of the broker, counted, not timed.
//!
//! The broker runs in this process, under an allocator that counts; its client is a process of its own, this program once
//! more. That no record is copied on the way from the frame to the disk is shown beside the code
//! (`handlers/data_tests/produces.rs`); here the bytes that are allocated would tell.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a failing test ends by panicking, and tests read files and clocks"
)]

use std::alloc::System;
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use schloss::config::{BrokerConfig, Sources};
use schloss::protocol::api::ApiKey;
use schloss::protocol::header::{RequestHeader, ResponseHeader};
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use schloss::protocol::messages::produce_response::ProduceResponse;
use schloss::protocol::record_batch::BatchBuilder;
use schloss::protocol::wire::{Reader, Records, Request, Writer};
use schloss::replica::doorbell::Doorbell;
use schloss::server::broker::RunningBroker;
use schloss::server::clock::SystemClock;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static COUNTING: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Where the child finds the broker.
const CLIENT: &str = "SCHLOSS_GATE_CLIENT";
const MEGABYTES: usize = 64;
/// What a megabyte may cost.
const ALLOCATIONS: f64 = 20.0;
const WAKES: f64 = 2.0;
/// A copy into memory of its own would take a million.
const ALLOCATED_BYTES: f64 = 100_000.0;

fn main() {
    if let Ok(address) = std::env::var(CLIENT) {
        client(address.parse().unwrap());
        return;
    }
    // `cargo test NAME` is about another test.
    if std::env::args().skip(1).any(|arg| !arg.starts_with('-') && !"gate".contains(&*arg)) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (broker, address) = start(dir.path());
    let mut failures = Vec::new();
    for (acks, records) in [(1, 1000), (-1, 1000), (-1, 1)] {
        let cost = measure(address, acks, records);
        let text = format!(
            "acks={acks}, {records} record(s) a batch, per MB: {:.1} allocations of {:.0} bytes in all, {:.2} wakes",
            cost.allocations, cost.bytes, cost.wakes
        );
        println!("{text}");
        if cost.is_too_much(ALLOCATIONS, WAKES, ALLOCATED_BYTES) {
            failures.push(text);
        }
        // The gate can close: a cost is something, and a limit below it is passed over.
        assert!(cost.is_too_much(cost.allocations / 2.0, WAKES, ALLOCATED_BYTES), "nothing was allocated at all");
        assert!(cost.is_too_much(ALLOCATIONS, WAKES, cost.bytes / 2.0));
    }
    broker.stop();
    assert!(
        failures.is_empty(),
        "more than {ALLOCATIONS} allocations, {WAKES} wakes, {ALLOCATED_BYTES} bytes: {failures:#?}"
    );
}

/// What the broker did for one megabyte.
struct Cost {
    allocations: f64,
    bytes: f64,
    wakes: f64,
}

impl Cost {
    fn is_too_much(&self, allocations: f64, wakes: f64, bytes: f64) -> bool {
        self.allocations > allocations || self.wakes > wakes || self.bytes > bytes
    }
}

fn start(dir: &Path) -> (RunningBroker, SocketAddr) {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    let (address, controller) = (free(), free());
    let config = dir.join("server.properties");
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
         controller.listener.names=CONTROLLER\nlisteners=PLAINTEXT://{address},CONTROLLER://{controller}\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\nlog.dirs={}\n",
        dir.join("data").display()
    );
    std::fs::write(&config, text).unwrap();
    let formatted = Command::new(env!("CARGO_BIN_EXE_schloss"))
        .args(["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(formatted.status.success(), "{formatted:?}");
    let sources = Sources { file: Some(config), env: BTreeMap::new(), ..Sources::default() };
    let loaded = BrokerConfig::load(sources).unwrap_or_else(|_| panic!("the configuration is refused"));
    (RunningBroker::start(loaded.config, Arc::new(SystemClock::new())).unwrap(), address)
}

/// Lets a client warm the broker up, and counts while it produces once more.
fn measure(address: SocketAddr, acks: i16, records: usize) -> Cost {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .env(CLIENT, address.to_string())
        .args([acks.to_string(), records.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "warm");
    let (region, wakes) = (Region::new(COUNTING), Doorbell::rings_in_process());
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    assert_eq!(lines.next().unwrap().unwrap(), "done");
    let (change, wakes) = (region.change(), Doorbell::rings_in_process() - wakes);
    assert!(child.wait().unwrap().success());
    let per_megabyte = |count: usize| count as f64 / MEGABYTES as f64;
    Cost {
        allocations: per_megabyte(change.allocations + change.reallocations),
        bytes: per_megabyte(change.bytes_allocated),
        wakes: per_megabyte(usize::try_from(wakes).unwrap()),
    }
}

/// The child: a megabyte a request, one after the other.
fn client(address: SocketAddr) {
    let numbers: Vec<i64> = std::env::args().skip(1).map(|arg| arg.parse().unwrap()).collect();
    let (acks, records) = (i16::try_from(numbers[0]).unwrap(), usize::try_from(numbers[1]).unwrap());
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let topic = format!("gate{acks}-{records}");
    let new =
        CreatableTopic { name: topic.as_str().into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![new], timeout_ms: 10_000, validate_only: false };
    let answer: CreateTopicsResponse = ask(&mut stream, ApiKey::CreateTopics, 7, &request);
    assert_eq!(answer.topics[0].error_code, 0);
    let mut batch = BatchBuilder::new(0);
    let value = vec![b'v'; 990_000 / records];
    for _ in 0..records {
        batch.append(1_700_000_000_000, None, Some(&value), &[]).unwrap();
    }
    let records = Records::Bytes(batch.build());
    let partition = PartitionProduceData { index: 0, records };
    let data = TopicProduceData { name: topic.as_str().into(), partition_data: vec![partition], ..Default::default() };
    let request = ProduceRequest { transactional_id: None, acks, timeout_ms: 10_000, topic_data: vec![data] };
    for line in ["warm", "done"] {
        for _ in 0..MEGABYTES {
            let answer: ProduceResponse = ask(&mut stream, ApiKey::Produce, 9, &request);
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
        println!("{line}");
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }
}

fn ask<Q: Request>(stream: &mut TcpStream, api_key: ApiKey, api_version: i16, request: &Q) -> Q::Response {
    use schloss::protocol::wire::Message as _;
    let mut w = Writer::framed(1 << 20);
    RequestHeader { api_key, api_version, correlation_id: 1, client_id: Some("gate".into()) }.encode(&mut w);
    request.encode(&mut w, api_version);
    stream.write_all(&w.finish().bytes).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut frame).unwrap();
    let mut reader = Reader::new(frame.into());
    ResponseHeader::decode(&mut reader, api_key.response_header_version(api_version)).unwrap();
    Q::Response::decode(&mut reader, api_version).unwrap()
}
