//! Case 91 from outside: whatever a client calls a topic, no file beyond the broker's own folder is named to the system.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use schloss::protocol::messages::delete_topics_response::DeleteTopicsResponse;

use crate::client::Client;
use crate::support::{Broker, free_port, strace, write};

/// Names that would be paths.
const NAMES: [&str; 8] =
    ["../outside", "../../etc/passwd", "/etc/passwd", "a/../../outside", ".", "..", "%2e%2e%2foutside", "a\0/b"];

/// What the system itself is asked about, whatever clients say.
const OF_THE_SYSTEM: [&str; 3] = ["/proc/", "/sys/", "/etc/localtime"];

#[test]
fn no_name_of_a_topic_is_a_path() {
    if strace().is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = dir.path().join("server.properties");
    let trace = dir.path().join("trace");
    write(
        &config,
        &format!(
            "broker.id=1\nlisteners=PLAINTEXT://{address}\nlog.dirs={}\noffsets.topic.replication.factor=1\n",
            dir.path().join("data").display()
        ),
    );
    let mut broker = Broker::start_traced(&["serve", config.to_str().unwrap()], &trace);
    let before = fs::read_to_string(&trace).unwrap().len();
    let mut client = Client::connect(address);
    for name in NAMES {
        assert_eq!(create(&mut client, name), 17, "{name:?}");
        let answer = client.metadata(&[name]).unwrap();
        assert_ne!(answer.topics[0].error_code, 0, "{name:?}");
        let topic = DeleteTopicState { name: Some(name.into()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let answer: DeleteTopicsResponse = client.ask(ApiKey::DeleteTopics, 6, &request).unwrap();
        assert_eq!(answer.responses[0].error_code, 3, "{name:?}");
    }
    assert_eq!(create(&mut client, "inside"), 0);
    broker.kill();
    let calls = fs::read_to_string(&trace).unwrap();
    let named = files_named(&calls[before..]);
    let inside = |path: &str| Path::new(path).starts_with(dir.path());
    assert!(named.iter().any(|path| path.contains("/inside-0/") && inside(path)), "the trace saw nothing: {named:?}");
    let beyond: Vec<_> = named
        .iter()
        .filter(|path| !OF_THE_SYSTEM.iter().any(|of| path.starts_with(of)))
        .filter(|path| !inside(path) || path.split('/').any(|part| part == ".."))
        .collect();
    assert!(beyond.is_empty(), "{beyond:?}");
}

fn create(client: &mut Client, name: &str) -> i16 {
    let topic = CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request).unwrap();
    answer.topics[0].error_code
}

/// Every text in quotes is a file's name in these calls; an empty one stands for a file that is open already.
fn files_named(calls: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for line in calls.lines() {
        named.extend(line.split('"').skip(1).step_by(2).filter(|path| !path.is_empty()).map(str::to_owned));
    }
    named
}
