//! One directory, Apache Kafka and Schloss by turns, the same clients all the time: what either acknowledged, both serve.
//!
//! Kafka formats the directory, with its own feature levels. Producers go on with the ids and sequences they had, whoever
//! answers. Schloss is stopped under load; Kafka after its clients have come to rest, because what its producer snapshot
//! keeps of several unanswered batches is the last.

use std::path::Path;
use std::time::Instant;

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use schloss::protocol::messages::offset_fetch_response::OffsetFetchResponse;

use super::{Load, PATIENCE, Victim};
use crate::client::Client;
use crate::support::{Broker, kafka_libs, kafka_tool, wait_for_port};

/// There and back, in the short form; `SCHLOSS_HANDOVERS` asks for more.
const HANDOVERS: usize = 2;

/// What Java exits with on SIGTERM, its shutdown hooks done.
const TERMINATED: Option<i32> = Some(143);

fn kafka(victim: &Victim) -> Broker {
    let broker = Broker::launch_kafka(&victim.config);
    wait_for_port(victim.address);
    // It listens before it knows itself as a broker that lives.
    let start = Instant::now();
    while Client::connect(victim.address).metadata(&[]).is_ok_and(|answer| answer.brokers.is_empty()) {
        assert!(start.elapsed() < PATIENCE, "{}", broker.output());
    }
    broker
}

fn stop_kafka(mut broker: Broker) {
    assert_eq!(broker.stop(), TERMINATED);
    let output = broker.output();
    // Its registration may come before its own controller has taken office, on any directory.
    let of_data = |line: &&str| !line.contains("[ControllerApis nodeId=1]");
    for complaint in ["ERROR", "orrupt", "stray"] {
        let found = output.lines().filter(of_data).find(|line| line.contains(complaint));
        assert_eq!(found, None, "in\n{output}");
    }
}

/// What only Kafka writes for now: transactions, and a group of the newer protocol.
struct Newer<'a> {
    victim: &'a Victim,
}

impl Newer<'_> {
    const RECORDS: &'static str = "300";

    fn tool(&self, tool: &str, args: &[&str]) -> String {
        let address = self.victim.address.to_string();
        kafka_tool(tool, &[&["--bootstrap-server", &address], args].concat(), "").expect(0, "").stdout
    }

    fn write(&self) {
        self.tool("topics", &["--create", "--topic", "transactions", "--partitions", "1", "--replication-factor", "1"]);
        let args =
            ["--topic", "transactions", "--num-records", Self::RECORDS, "--throughput", "-1", "--record-size", "10"];
        let transactional = ["--transactional-id", "t", "--transaction-duration-ms", "10"];
        self.tool("producer-perf-test", &[&args[..], &transactional].concat());
        self.read("newer", &["--command-property", "group.protocol=consumer"]);
    }

    /// Reads everything that is committed, as a group, which then stands at the end.
    fn read(&self, group: &str, more: &[&str]) {
        let args =
            ["--topic", "transactions", "--from-beginning", "--group", group, "--isolation-level", "read_committed"];
        let read = self.tool("console-consumer", &[&args[..], &["--max-messages", Self::RECORDS], more].concat());
        assert_eq!(read.lines().count().to_string(), Self::RECORDS);
    }

    fn position(&self, group: &str) -> i64 {
        let topic = OffsetFetchRequestTopic { name: "transactions".into(), partition_indexes: vec![0] };
        let request = OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        let start = Instant::now();
        loop {
            let answer: OffsetFetchResponse =
                Client::connect(self.victim.address).ask(ApiKey::OffsetFetch, 7, &request).unwrap();
            if answer.error_code == 0 {
                return answer.topics[0].partitions[0].committed_offset;
            }
            assert!(start.elapsed() < PATIENCE, "{answer:?}");
        }
    }
}

fn format_by_kafka(config: &Path) {
    let args = ["format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config.to_str().unwrap()];
    kafka_tool("storage", &args, "").expect(0, "Formatting");
}

#[test]
fn kafka_and_schloss_by_turns_lose_nothing() {
    if kafka_libs().is_none() {
        return;
    }
    let handovers = std::env::var("SCHLOSS_HANDOVERS").map_or(HANDOVERS, |text| text.parse().unwrap());
    let victim = Victim::kraft();
    format_by_kafka(&victim.config);
    let mut broker = kafka(&victim);
    victim.create_topic();
    let newer = Newer { victim: &victim };
    newer.write();
    let end = newer.position("newer");
    let mut load = Load::new(victim.address);
    for handover in 0..handovers {
        load.work(victim.address, 200, super::Round::end);
        stop_kafka(broker);

        let mut schloss = victim.start();
        assert!(schloss.output().contains(", clean shutdown"), "{}", schloss.output());
        let complain = |fault: String| panic!("handover {handover}: {fault}\n{}", schloss.output());
        victim.check(&load).unwrap_or_else(complain);
        assert_eq!(newer.position("newer"), end);
        newer.read(&format!("classic-{handover}"), &[]);
        load.until(victim.address, 200, || assert_eq!(schloss.stop(), Some(0)));

        broker = kafka(&victim);
        victim
            .check(&load)
            .unwrap_or_else(|fault| panic!("back from handover {handover}: {fault}\n{}", broker.output()));
        assert_eq!(newer.position("newer"), end);
    }
    load.finish(victim.address);
    victim.check(&load).unwrap();
    newer.read("last", &["--command-property", "group.protocol=consumer"]);
    println!("{handovers} times there and back: {}", load.acknowledged());
    stop_kafka(broker);
}
