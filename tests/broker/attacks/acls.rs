//! Who may do what: rules that look alike, and clients that say they are brokers.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use schloss::model::uuid::Uuid;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::allocate_producer_ids_request::AllocateProducerIdsRequest;
use schloss::protocol::messages::alter_partition_request::AlterPartitionRequest;
use schloss::protocol::messages::begin_quorum_epoch_request::BeginQuorumEpochRequest;
use schloss::protocol::messages::broker_registration_request::BrokerRegistrationRequest;
use schloss::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use schloss::protocol::messages::create_acls_response::CreateAclsResponse;
use schloss::protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use schloss::protocol::messages::describe_configs_response::DescribeConfigsResponse;
use schloss::protocol::messages::envelope_request::EnvelopeRequest;
use schloss::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use schloss::protocol::messages::fetch_response::FetchResponse;
use schloss::protocol::messages::fetch_snapshot_request::FetchSnapshotRequest;
use schloss::protocol::messages::vote_request::VoteRequest;
use schloss::protocol::wire::Message;

use super::records::{batch, produce};
use super::{closes, request, world};
use crate::client::Client;

pub(super) const TOPIC: i8 = 2;
pub(super) const LITERAL: i8 = 3;
const PREFIXED: i8 = 4;
pub(super) const READ: i8 = 3;
pub(super) const WRITE: i8 = 4;
const CREATE: i8 = 5;
const ALTER_CONFIGS: i8 = 11;
pub(super) const DENY: i8 = 2;
pub(super) const ALLOW: i8 = 3;

pub(super) const DENIED: i16 = 29;

/// A rule about topics for one principal from every host.
pub(super) struct Rule<'a>(pub(super) i8, pub(super) &'a str, pub(super) &'a str, pub(super) i8, pub(super) i8);

/// Adds rules as the administrator.
#[track_caller]
pub(super) fn allow(rules: &[Rule<'_>]) {
    for Rule(pattern, name, principal, operation, permission) in rules {
        assert_eq!(add(*pattern, name, principal, "*", *operation, *permission), 0, "{principal} on {name}");
    }
}

/// Adds one rule about a topic; the code.
fn add(pattern: i8, name: &str, principal: &str, host: &str, operation: i8, permission: i8) -> i16 {
    add_for(TOPIC, pattern, name, principal, host, operation, permission)
}

/// Adds one rule about a resource of any type; the code.
#[allow(clippy::too_many_arguments, reason = "these are the fields of a rule")]
pub(super) fn add_for(
    resource_type: i8,
    pattern: i8,
    name: &str,
    principal: &str,
    host: &str,
    operation: i8,
    permission: i8,
) -> i16 {
    let creation = AclCreation {
        resource_type,
        resource_name: name.into(),
        resource_pattern_type: pattern,
        principal: principal.into(),
        host: host.into(),
        operation,
        permission_type: permission,
    };
    let request = CreateAclsRequest { creations: vec![creation] };
    let answer: CreateAclsResponse = world().login("admin").ask(ApiKey::CreateAcls, 3, &request).unwrap();
    answer.results[0].error_code
}

#[track_caller]
pub(super) fn create(topics: &[&str]) {
    for topic in topics {
        assert_eq!(world().create_topic(topic), 0, "{topic}");
    }
}

fn writes(client: &mut Client, topic: &str) -> i16 {
    produce(client, topic, 1, batch()).unwrap()
}

/// The code of one partition in a Fetch by whoever `replica_id` says.
fn reads_as(client: &mut Client, topic: &str, replica_id: i32) -> i16 {
    let partition = FetchPartition { partition_max_bytes: 1024, ..Default::default() };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest { replica_id, max_bytes: 1024, session_epoch: -1, topics, ..Default::default() };
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 11, &request).unwrap();
    answer.responses[0].partitions[0].error_code
}

pub(super) fn reads(client: &mut Client, topic: &str) -> i16 {
    reads_as(client, topic, -1)
}

fn sees(client: &mut Client, topic: &str) -> i16 {
    client.metadata(&[topic]).unwrap().topics[0].error_code
}

fn sees_config(client: &mut Client, topic: &str) -> i16 {
    let resource = DescribeConfigsResource { resource_type: TOPIC, resource_name: topic.into(), ..Default::default() };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer: DescribeConfigsResponse = client.ask(ApiKey::DescribeConfigs, 4, &request).unwrap();
    answer.results[0].error_code
}

/// Case 61.
#[test]
fn a_client_that_says_it_is_a_broker() {
    let world = world();
    create(&["t61"]);
    allow(&[Rule(LITERAL, "t61", "User:u61", READ, ALLOW)]);
    let mut client = world.login("u61");
    assert_eq!(reads(&mut client, "t61"), 0);
    assert_eq!(reads_as(&mut client, "t61", 1), DENIED);

    let topic_id: Uuid = client.metadata(&["t61"]).unwrap().topics[0].topic_id;
    let partition = FetchPartition { partition_max_bytes: 1024, ..Default::default() };
    let topics = vec![FetchTopic { topic_id, partitions: vec![partition], ..Default::default() }];
    let mut request = FetchRequest { max_bytes: 1024, session_epoch: -1, topics, ..Default::default() };
    request.replica_state.replica_id = 1;
    request.replica_state.replica_epoch = 1;
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 15, &request).unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, DENIED);
    world.still_serves();
}

/// Case 62: what nobody asks any more.
#[test]
fn retired_requests() {
    let world = world();
    for key in 4..=7 {
        let mut client = world.login("admin");
        client.send_frame(&request(key, 0, false, &[0; 32])).unwrap();
        closes(&mut client, &format!("key {key}"));
    }
    world.still_serves();
}

/// Case 63: what brokers ask controllers. The requests are well formed, and the user may do everything.
#[test]
fn requests_between_brokers() {
    fn refused<Q: Message>(key: ApiKey, body: &Q) {
        for user in ["alice", "admin"] {
            let mut client = world().login(user);
            let versions = key.versions();
            client.send(key, versions.max, body).unwrap();
            closes(&mut client, &format!("{} by {user}", key.name()));
        }
    }
    refused(ApiKey::Vote, &VoteRequest::default());
    refused(ApiKey::BeginQuorumEpoch, &BeginQuorumEpochRequest::default());
    refused(ApiKey::FetchSnapshot, &FetchSnapshotRequest::default());
    refused(ApiKey::BrokerRegistration, &BrokerRegistrationRequest::default());
    refused(ApiKey::AlterPartition, &AlterPartitionRequest::default());
    refused(ApiKey::AllocateProducerIds, &AllocateProducerIdsRequest::default());
    refused(ApiKey::Envelope, &EnvelopeRequest::default());
    world().still_serves();
}

/// Case 71.
#[test]
fn denying_to_read_does_not_hide() {
    create(&["t71"]);
    allow(&[Rule(LITERAL, "t71", "User:*", READ, ALLOW), Rule(LITERAL, "t71", "User:*", READ, DENY)]);
    let mut client = world().login("u71");
    assert_eq!((reads(&mut client, "t71"), sees(&mut client, "t71")), (DENIED, 0));
    world().still_serves();
}

/// Case 72.
#[test]
fn what_a_right_implies() {
    create(&["t72-write", "t72-create", "t72-configs"]);
    allow(&[
        Rule(LITERAL, "t72-write", "User:u72", WRITE, ALLOW),
        Rule(LITERAL, "t72-create", "User:u72", CREATE, ALLOW),
        Rule(LITERAL, "t72-configs", "User:u72", ALTER_CONFIGS, ALLOW),
    ]);
    let mut client = world().login("u72");
    assert_eq!((writes(&mut client, "t72-write"), sees(&mut client, "t72-write")), (0, 0));
    assert_eq!(reads(&mut client, "t72-write"), DENIED);
    assert_eq!((sees_config(&mut client, "t72-write"), sees(&mut client, "t72-create")), (DENIED, DENIED));
    assert_eq!((sees_config(&mut client, "t72-configs"), sees(&mut client, "t72-configs")), (0, DENIED));
    world().still_serves();
}

/// Case 73.
#[test]
fn an_empty_prefix_and_a_star() {
    create(&["t73"]);
    assert_eq!(add(PREFIXED, "", "User:u73", "*", WRITE, ALLOW), 42);
    allow(&[Rule(PREFIXED, "*", "User:u73", WRITE, ALLOW), Rule(LITERAL, "*", "User:u73any", WRITE, ALLOW)]);
    assert_eq!(writes(&mut world().login("u73"), "t73"), DENIED);
    assert_eq!(writes(&mut world().login("u73any"), "t73"), 0);
    world().still_serves();
}

/// Case 74.
#[test]
fn prefixes_are_bytes_and_a_denial_wins() {
    create(&["b74", "a74b", "A74", "a74d1"]);
    allow(&[
        Rule(PREFIXED, "a74", "User:u74", WRITE, ALLOW),
        Rule(LITERAL, "a74d1", "User:u74", WRITE, ALLOW),
        Rule(PREFIXED, "a74d", "User:u74", WRITE, DENY),
        Rule(PREFIXED, "a74d", "User:admin", WRITE, DENY),
    ]);
    let mut client = world().login("u74");
    for (topic, code) in [("b74", DENIED), ("a74b", 0), ("A74", DENIED), ("a74d1", DENIED)] {
        assert_eq!(writes(&mut client, topic), code, "{topic}");
    }
    assert_eq!(writes(&mut world().login("admin"), "a74d1"), 0, "a super user is above every rule");
    world().still_serves();
}

/// Case 75: hosts are the text that Java prints, and an IPv4 address within IPv6 is printed as IPv4.
#[test]
fn hosts_are_text() {
    const V4: &str = "127.0.0.1";
    const V6: &str = "0:0:0:0:0:0:0:1";
    let world = world();
    let mut peers: Vec<(&str, SocketAddr)> = vec![(V4, world.sasl)];
    match world.both {
        Some(both) => {
            peers.extend([(V4, (V4.parse::<IpAddr>().unwrap(), both).into()), (V6, (Ipv6Addr::LOCALHOST, both).into())])
        }
        None => eprintln!("skipped: no IPv6 on this machine"),
    }
    for (i, host) in [V4, "10.0.0.1", "::1", "::ffff:127.0.0.1", "127.0.0.01", V6].into_iter().enumerate() {
        let topic = format!("t75-{i}");
        create(&[&topic]);
        assert_eq!(add(LITERAL, &topic, "User:u75", host, WRITE, ALLOW), 0, "{host}");
        for (text, address) in &peers {
            let code = writes(&mut Client::login(*address, "u75", "u75-of-tests"), &topic);
            assert_eq!(code, if *text == host { 0 } else { DENIED }, "a rule for {host}, a client from {text}");
        }
    }
    world.still_serves();
}

/// Case 76.
#[test]
fn principals_are_text() {
    create(&["t76"]);
    for principal in ["user:u76", "USER:u76", "Group:u76", "User:U76", "User: u76", "User:u76 "] {
        allow(&[Rule(LITERAL, "t76", principal, WRITE, ALLOW)]);
    }
    assert_eq!(writes(&mut world().login("u76"), "t76"), DENIED);
    allow(&[Rule(LITERAL, "t76", "User:u76", WRITE, ALLOW)]);
    assert_eq!(writes(&mut world().login("u76"), "t76"), 0);
    world().still_serves();
}

/// Case 77: what may not be seen looks like what is not there.
#[test]
fn a_hidden_topic_looks_as_one_that_is_not_there() {
    create(&["t77-is"]);
    let mut client = world().login("nobody");
    let mut answer = |name: &str| client.metadata(&[name]).unwrap().topics.remove(0);
    let (there, not) = (answer("t77-is"), answer("t77-no"));
    for topic in [&there, &not] {
        assert_eq!((topic.error_code, topic.topic_id, topic.partitions.len()), (DENIED, Uuid::default(), 0));
    }
    for name in ["t77-is", "t77-no"] {
        assert_eq!((reads(&mut client, name), writes(&mut client, name)), (DENIED, DENIED), "{name}");
    }
    world().still_serves();
}

/// The metadata log is no topic of clients, whatever they may do.
#[test]
fn the_metadata_log_is_not_there() {
    let mut admin = world().login("admin");
    assert_eq!((reads(&mut admin, "__cluster_metadata"), writes(&mut admin, "__cluster_metadata")), (3, 3));
    world().still_serves();
}
