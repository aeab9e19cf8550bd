//! Compacted topics of a running broker: what is superseded goes, and nothing else does.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use schloss::protocol::messages::delete_topics_response::DeleteTopicsResponse;
use schloss::protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use schloss::protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use schloss::protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use schloss::protocol::messages::offset_commit_response::OffsetCommitResponse;
use schloss::protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestGroup};
use schloss::protocol::messages::offset_fetch_response::OffsetFetchResponse;

use crate::client::Client;
use crate::support::{Broker, free_port, kafka_libs, kafka_tool, kcat, run, schloss, write};

/// Loads and elections are waited for in so many steps.
const TRIES: usize = 500;

struct Node {
    dir: tempfile::TempDir,
    config: PathBuf,
    address: SocketAddr,
}

impl Node {
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = dir.path().join("server.properties");
        let data = dir.path().join("data");
        write(
            &config,
            &format!(
                "broker.id=1\nlisteners=PLAINTEXT://{address}\nlog.dirs={}\nlog.cleaner.backoff.ms=20\n\
                 offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
                 offsets.topic.segment.bytes=1048576\nlog.segment.bytes=1048576\n{more}",
                data.display()
            ),
        );
        Self { dir, config, address }
    }

    fn start(&self) -> Broker {
        Broker::start(&["serve", self.config.to_str().unwrap()], &[])
    }

    fn data(&self, file: &str) -> PathBuf {
        self.dir.path().join("data").join(file)
    }

    fn checkpoint(&self) -> String {
        fs::read_to_string(self.data("cleaner-offset-checkpoint")).unwrap()
    }

    fn kcat(&self, args: &[&str], input: &str) -> String {
        let mut command = Command::new("kcat");
        run(command.args(["-b", &self.address.to_string()]).args(args), input).expect(0, "").text().to_owned()
    }
}

/// Paths and sizes of a partition's segments.
fn segments(dir: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<(String, u64)> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_name().to_str().unwrap().ends_with(".log"))
        // One that was listed may have another name by now.
        .filter_map(|entry| Some((entry.path().display().to_string(), entry.metadata().ok()?.len())))
        .collect();
    found.sort();
    found
}

/// What is left of `topic`, newest value by key, and how many records that is.
fn read(node: &Node, topic: &str) -> (BTreeMap<String, String>, usize) {
    let text = node.kcat(&["-C", "-t", topic, "-e", "-q", "-o", "beginning", "-K", ":"], "");
    let pairs: Vec<(&str, &str)> = text.lines().filter_map(|line| line.split_once(':')).collect();
    let newest = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    (newest, pairs.len())
}

#[test]
fn a_compacted_topic_keeps_the_newest_of_each_key() {
    if kcat().is_none() || kafka_libs().is_none() {
        return;
    }
    let node = Node::new("auto.create.topics.enable=true\nlog.cleanup.policy=compact\n");
    let mut broker = node.start();
    let filler = "x".repeat(1000);
    let lines: String = (0..3500).map(|n| format!("k{}:{n} {filler}\n", n % 50)).collect();
    node.kcat(&["-P", "-t", "kept", "-K", ":", "-z", "lz4"], &lines);
    node.kcat(&["-P", "-t", "plain", "-K", ":"], &lines);
    broker.wait_for(|text| text.contains("plain-0 is compacted up to offset"), "a compaction");
    let expected: BTreeMap<String, String> =
        (3450..3500).map(|n| (format!("k{}", n % 50), format!("{n} {filler}"))).collect();
    let (newest, count) = read(&node, "plain");
    assert_eq!(newest, expected);
    assert!((50..2000).contains(&count), "{count} records are left");
    assert_eq!(read(&node, "kept").0, expected, "what fits into the active segment is not touched");
    let line = node.checkpoint().lines().nth(2).map(str::to_owned).unwrap_or_default();
    assert!(line.starts_with("plain 0 "), "{:?}", node.checkpoint());

    assert_eq!(broker.stop(), Some(0));
    let mut broker = node.start();
    assert_eq!(read(&node, "plain"), (newest, count));
    let mut client = Client::connect(node.address);
    let topic = DeleteTopicState { name: Some("plain".into()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let files: Vec<String> = segments(&node.data("plain-0")).into_iter().map(|(file, _)| file).collect();
    let dumped = kafka_tool("dump-log", &["--deep-iteration", "--files", &files.join(",")], "").expect(0, "Dumping");
    for complaint in ["mismatch", "corrupt", "isvalid: false", "Exception"] {
        assert!(!dumped.text().contains(complaint), "{complaint}:\n{}", dumped.text());
    }
    let answer: DeleteTopicsResponse = client.ask(ApiKey::DeleteTopics, 6, &request).unwrap();
    assert_eq!(answer.responses[0].error_code, 0);
    assert_eq!(broker.stop(), Some(0));
    assert_eq!(node.checkpoint(), "0\n0\n", "its name does not speak for the next topic of that name");
}

#[test]
fn positions_outlive_the_compaction_of_their_topic() {
    let node = Node::new("");
    let mut broker = node.start();
    let mut client = Client::connect(node.address);
    let topic = CreatableTopic { name: "t".into(), num_partitions: 64, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request).unwrap();
    assert_eq!(answer.topics[0].error_code, 0);
    find_coordinator(&mut client);
    for round in 0..12_i64 {
        commit(&mut client, round);
    }
    broker.wait_for(|text| text.contains("__consumer_offsets-0 is compacted up to offset"), "a compaction");
    let written: u64 = 12 * 64 * 4000;
    let left = || segments(&node.data("__consumer_offsets-0")).iter().map(|(_, size)| size).sum::<u64>();
    // A round may have come before the last commits.
    let is_small = (0..TRIES).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(20));
        left() < written / 2
    });
    assert!(is_small, "{} of {written} bytes are left", left());
    assert!(node.checkpoint().starts_with("0\n1\n__consumer_offsets 0 "), "{:?}", node.checkpoint());
    for kills in [false, true] {
        if kills {
            broker.kill();
        } else {
            assert_eq!(broker.stop(), Some(0));
        }
        broker = node.start();
        let mut client = Client::connect(node.address);
        find_coordinator(&mut client);
        assert_eq!(
            positions(&mut client),
            (0..64).map(|partition| (partition, 11_000 + i64::from(partition))).collect()
        );
    }
    assert_eq!(broker.stop(), Some(0));
}

fn find_coordinator(client: &mut Client) {
    let request = FindCoordinatorRequest { coordinator_keys: vec!["group".into()], ..Default::default() };
    for _ in 0..TRIES {
        let answer: FindCoordinatorResponse = client.ask(ApiKey::FindCoordinator, 4, &request).unwrap();
        if answer.coordinators[0].error_code == 0 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("no coordinator");
}

/// 256 KB of positions.
fn commit(client: &mut Client, round: i64) {
    let partitions = (0..64).map(|partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: round * 1000 + i64::from(partition_index),
        committed_metadata: Some("m".repeat(4000).into()),
        ..Default::default()
    });
    let topics =
        vec![OffsetCommitRequestTopic { name: "t".into(), partitions: partitions.collect(), ..Default::default() }];
    let request = OffsetCommitRequest {
        group_id: "group".into(),
        generation_id_or_member_epoch: -1,
        topics,
        ..Default::default()
    };
    for _ in 0..TRIES {
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 8, &request).unwrap();
        match answer.topics[0].partitions[0].error_code {
            0 => return,
            14..=16 => std::thread::sleep(std::time::Duration::from_millis(20)),
            code => panic!("error {code}"),
        }
    }
    panic!("the positions were not taken");
}

fn positions(client: &mut Client) -> BTreeMap<i32, i64> {
    let group = OffsetFetchRequestGroup { group_id: "group".into(), topics: None, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    for _ in 0..TRIES {
        let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 8, &request).unwrap();
        let group = &answer.groups[0];
        match group.error_code {
            0 => {
                let all = group.topics.iter().flat_map(|topic| &topic.partitions);
                return all.map(|partition| (partition.partition_index, partition.committed_offset)).collect();
            }
            14..=16 => std::thread::sleep(std::time::Duration::from_millis(20)),
            code => panic!("error {code}"),
        }
    }
    panic!("no positions");
}

/// The same log, compacted by Apache Kafka and by us.
#[test]
fn apache_kafkas_cleaner_leaves_the_same_files() {
    if kcat().is_none() || kafka_libs().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = (dir.path().join("ours"), dir.path().join("theirs"));
    let (clear, controller) = (free_port(), free_port());
    let configure = |data: &Path, more: &str| {
        let config = dir.path().join("server.properties");
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=PLAINTEXT://127.0.0.1:{clear},CONTROLLER://127.0.0.1:{controller}\n\
             listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             log.dirs={}\nlog.segment.bytes=1048576\nlog.cleanup.policy=compact\nlog.cleaner.backoff.ms=50\n\
             auto.create.topics.enable=true\nnum.partitions=1\n{more}",
            data.display()
        );
        write(&config, &text);
        config.to_str().unwrap().to_owned()
    };
    let config = configure(&ours, "log.cleaner.enable=false\n");
    schloss(&["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", &config]).expect(0, "Formatting");
    let mut broker = Broker::start(&["serve", &config], &[]);
    // No codec makes much less of it.
    let filler = |n: usize| -> String {
        let mut state = n as u64;
        let mut word = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{state:016x}")
        };
        (0..56).map(|_| word()).collect()
    };
    let produce = |topic: &str, more: &[&str]| {
        // Every seventh has an empty value, which -Z makes a tombstone where it is given.
        let line = |n: usize| {
            if n.is_multiple_of(7) { format!("k{}:\n", n % 60) } else { format!("k{}:{n} {}\n", n % 60, filler(n)) }
        };
        let lines: String = (0..4500).map(line).collect();
        let address = format!("127.0.0.1:{clear}");
        let mut command = Command::new("kcat");
        run(command.args(["-P", "-b", &address, "-t", topic, "-K", ":"]).args(more), &lines).expect(0, "");
    };
    let topics = ["plain", "idempotent", "lz4", "gone"];
    produce("plain", &[]);
    produce("idempotent", &["-X", "enable.idempotence=true"]);
    produce("lz4", &["-z", "lz4", "-X", "batch.size=20000"]);
    produce("gone", &["-Z"]);
    assert_eq!(broker.stop(), Some(0));
    assert!(Command::new("cp").arg("-r").args([&ours, &theirs]).status().unwrap().success());

    let compacted = |data: &Path| {
        let checkpoint = fs::read_to_string(data.join("cleaner-offset-checkpoint")).unwrap_or_default();
        topics
            .iter()
            .filter(|topic| segments(&data.join(format!("{topic}-0"))).len() > 1)
            .all(|topic| checkpoint.lines().any(|line| line.starts_with(&format!("{topic} 0 "))))
    };
    let wait = |data: &Path, broker: &Broker| {
        for _ in 0..TRIES {
            if compacted(data) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(100));
        }
        panic!("{} is not compacted:\n{}", data.display(), broker.output());
    };
    let config = configure(&theirs, "");
    let mut kafka = Broker::launch_kafka(Path::new(&config));
    wait(&theirs, &kafka);
    assert_eq!(kafka.stop(), Some(143));
    let config = configure(&ours, "");
    let mut broker = Broker::start(&["serve", &config], &[]);
    wait(&ours, &broker);
    assert_eq!(broker.stop(), Some(0));

    let offsets = |data: &Path| {
        let text = fs::read_to_string(data.join("cleaner-offset-checkpoint")).unwrap();
        let mut lines: Vec<String> = text.lines().skip(1).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(offsets(&ours), offsets(&theirs));
    let mut compared = 0;
    for topic in topics {
        let names = |data: &Path| -> Vec<String> {
            let of = |ending| files(&data.join(format!("{topic}-0")), ending);
            [of(".log"), of(".index"), of(".timeindex"), of(".snapshot")].concat()
        };
        assert_eq!(names(&ours), names(&theirs), "{topic}");
        for name in names(&ours) {
            let read = |data: &Path| fs::read(data.join(format!("{topic}-0")).join(&name)).unwrap();
            // Compressors differ, and the time of a round is in what has tombstones.
            if !["lz4", "gone"].contains(&topic) {
                assert!(read(&ours) == read(&theirs), "{topic}: {name} differs");
                compared += 1;
            }
        }
        let dump = |data: &Path| {
            let logs: Vec<String> =
                segments(&data.join(format!("{topic}-0"))).into_iter().map(|(path, _)| path).collect();
            let args = ["--deep-iteration", "--print-data-log", "--files", &logs.join(",")];
            let dumped = kafka_tool("dump-log", &args, "").expect(0, "Dumping");
            let records = dumped.stdout.lines().filter(|line| line.starts_with("| offset: ")).map(str::to_owned);
            records.collect::<Vec<String>>()
        };
        let (we, they) = (dump(&ours), dump(&theirs));
        assert!(we.len() < 4500, "{topic}: {} records are left", we.len());
        assert_eq!(we, they, "{topic}");
    }
    assert!(compared >= 20, "{compared} files");
}

fn files(dir: &Path, ending: &str) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> = names.filter(|name| name.ends_with(ending)).collect();
    found.sort();
    found
}
