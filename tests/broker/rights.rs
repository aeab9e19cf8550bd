//! Who may do what, spoken in frames: rules as Kafka decides them, replicas that are none, batches that are none, and
//! rights that are taken away while somebody waits.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use bytes::Bytes;
use schloss::model::acl::{AclOperation, AclPermission};
use schloss::model::resource::{PatternType, ResourceType};
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use schloss::protocol::messages::create_acls_response::CreateAclsResponse;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use schloss::protocol::messages::delete_acls_response::DeleteAclsResponse;
use schloss::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use schloss::protocol::messages::fetch_response::FetchResponse;
use schloss::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use schloss::protocol::messages::produce_response::ProduceResponse;
use schloss::protocol::record_batch::BatchBuilder;
use schloss::protocol::wire::{Message as _, Reader, Records};

use crate::client::Client;
use crate::support::{Broker, free_port, write};

struct House {
    _broker: Broker,
    _dir: tempfile::TempDir,
    sasl: SocketAddr,
}

fn house() -> Arc<House> {
    static HOUSE: Mutex<Weak<House>> = Mutex::new(Weak::new());
    let mut known = HOUSE.lock().unwrap();
    known.upgrade().unwrap_or_else(|| {
        let house = Arc::new(House::start());
        *known = Arc::downgrade(&house);
        house
    })
}

impl House {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sasl = free_port();
        let users: String = ["root", "alice", "bob", "carol", "dave", "erin"]
            .map(|user| format!("user_{user}=\"{user}s-long-password\" "))
            .concat();
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "broker.id=1\nlisteners=SASL_PLAINTEXT://127.0.0.1:{sasl}\n\
                 security.inter.broker.protocol=SASL_PLAINTEXT\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
                 sasl.enabled.mechanisms=PLAIN\n\
                 listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                 required username=\"root\" password=\"roots-long-password\" {users};\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:root\nlog.dirs={}\nauto.create.topics.enable=false\n",
                dir.path().join("data").display()
            ),
        );
        let broker = Broker::start(&["serve", config.to_str().unwrap()], &[]);
        Self { _broker: broker, _dir: dir, sasl: SocketAddr::from(([127, 0, 0, 1], sasl)) }
    }
}

fn login(user: &str) -> Client {
    Client::login(house().sasl, user, &format!("{user}s-long-password"))
}

fn create(client: &mut Client, name: &str) -> i16 {
    let topic = CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
    let response: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request).unwrap();
    response.topics[0].error_code
}

type Rule<'a> = (AclPermission, AclOperation, PatternType, &'a str);

fn grant(user: &str, rules: &[Rule<'_>]) {
    let creations = rules.iter().map(|(permission, operation, pattern, name)| AclCreation {
        resource_type: ResourceType::Topic.code(),
        resource_name: (*name).into(),
        resource_pattern_type: pattern.code(),
        principal: format!("User:{user}").into(),
        host: "*".into(),
        operation: operation.code(),
        permission_type: permission.code(),
    });
    let request = CreateAclsRequest { creations: creations.collect() };
    let response: CreateAclsResponse = login("root").ask(ApiKey::CreateAcls, 3, &request).unwrap();
    assert!(response.results.iter().all(|result| result.error_code == 0), "{response:?}");
}

fn fetch_request(topic: &str, max_wait_ms: i32, replica_id: i32) -> FetchRequest {
    FetchRequest {
        replica_id,
        max_wait_ms,
        min_bytes: 1,
        topics: vec![FetchTopic {
            topic: topic.into(),
            partitions: vec![FetchPartition { partition: 0, partition_max_bytes: 1 << 20, ..Default::default() }],
            ..Default::default()
        }],
        ..Default::default()
    }
}

fn fetch(client: &mut Client, topic: &str) -> i16 {
    let response: FetchResponse = client.ask(ApiKey::Fetch, 11, &fetch_request(topic, 0, -1)).unwrap();
    response.responses[0].partitions[0].error_code
}

fn batch() -> Bytes {
    let mut batch = BatchBuilder::new(0);
    batch.append(1_700_000_000_000, None, Some(b"value"), &[]).unwrap();
    batch.build()
}

fn produce_request(topic: &str, acks: i16, records: Bytes) -> ProduceRequest {
    ProduceRequest {
        transactional_id: None,
        acks,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index: 0, records: Records::Bytes(records) }],
            ..Default::default()
        }],
    }
}

fn produce(client: &mut Client, topic: &str, acks: i16, records: Bytes) -> i16 {
    let response: ProduceResponse = client.ask(ApiKey::Produce, 9, &produce_request(topic, acks, records)).unwrap();
    response.responses[0].partition_responses[0].error_code
}

fn describe(client: &mut Client, topic: &str) -> i16 {
    client.metadata(&[topic]).unwrap().topics[0].error_code
}

const ALLOW: AclPermission = AclPermission::Allow;
const DENY: AclPermission = AclPermission::Deny;
const LITERAL: PatternType = PatternType::Literal;
const PREFIXED: PatternType = PatternType::Prefixed;

#[test]
fn rules_are_decided_as_kafka_decides_them() {
    let _house = house();
    let mut root = login("root");
    for topic in ["pay-one", "pay", "Pay-one", "ledger"] {
        assert_eq!(create(&mut root, topic), 0);
    }
    // No rule: nothing, and nobody learns what exists.
    let mut bob = login("bob");
    assert_eq!((describe(&mut bob, "ledger"), describe(&mut bob, "missing")), (29, 29));
    assert_eq!((fetch(&mut bob, "ledger"), produce(&mut bob, "missing", -1, batch())), (29, 29));

    // Write implies Describe, Create does not; a prefix is bytes, in their case; a deny beats an allow.
    grant("bob", &[(ALLOW, AclOperation::Write, PREFIXED, "pay-")]);
    assert_eq!((describe(&mut bob, "pay-one"), produce(&mut bob, "pay-one", -1, batch())), (0, 0));
    assert_eq!((describe(&mut bob, "pay"), describe(&mut bob, "Pay-one")), (29, 29));
    grant("bob", &[(ALLOW, AclOperation::Create, LITERAL, "ledger")]);
    assert_eq!(describe(&mut bob, "ledger"), 29);
    grant("bob", &[(DENY, AclOperation::Write, PREFIXED, "pay-o"), (ALLOW, AclOperation::Write, LITERAL, "pay-one")]);
    assert_eq!(produce(&mut bob, "pay-one", -1, batch()), 29);

    // Denied Read with Read for everybody: no Read, but Describe.
    grant("*", &[(ALLOW, AclOperation::Read, LITERAL, "ledger")]);
    grant("carol", &[(DENY, AclOperation::Read, LITERAL, "ledger")]);
    let mut carol = login("carol");
    assert_eq!((fetch(&mut carol, "ledger"), describe(&mut carol, "ledger")), (29, 0));
    assert_eq!(fetch(&mut login("dave"), "ledger"), 0);
    // A super user is not denied.
    grant("root", &[(DENY, AclOperation::All, LITERAL, "ledger")]);
    assert_eq!(produce(&mut root, "ledger", -1, batch()), 0);
}

#[test]
fn nobody_is_a_replica_by_saying_so() {
    let _house = house();
    let mut root = login("root");
    assert_eq!(create(&mut root, "replicated"), 0);
    grant("alice", &[(ALLOW, AclOperation::All, LITERAL, "replicated")]);
    let mut alice = login("alice");
    let response: FetchResponse = alice.ask(ApiKey::Fetch, 11, &fetch_request("replicated", 0, 1)).unwrap();
    assert_eq!(response.responses[0].partitions[0].error_code, 29);
    for key in [4_i16, 5, 6, 7, 52, 53, 58, 59, 62, 56, 67] {
        let mut alice = login("alice");
        let frame = [key.to_be_bytes(), 0_i16.to_be_bytes()].concat();
        let frame = [&frame[..], &7_i32.to_be_bytes(), &0_i16.to_be_bytes()].concat();
        alice.send_frame(&frame).unwrap();
        assert_eq!(alice.closed(), b"", "api {key} is not for clients");
    }
    let mut root = login("root");
    assert_eq!(fetch(&mut root, "__cluster_metadata"), 3, "it does not exist, for anybody");
    assert_eq!(produce(&mut root, "__cluster_metadata", -1, batch()), 3);
}

#[test]
fn what_is_no_batch_is_refused() {
    let _house = house();
    let mut root = login("root");
    assert_eq!(create(&mut root, "strict"), 0);
    let good = batch();
    let change = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        Bytes::from(bytes)
    };
    let cases = [
        ("a wrong checksum", change(18, good[18] ^ 1), 2),
        ("magic 3", change(16, 3), 2),
        ("magic 1", change(16, 1), 87),
        ("a length that is too small", change(11, good[11] - 10), 2),
        ("a length that is too large", change(11, good[11] + 10), 87),
        ("no batch", Bytes::new(), 87),
        ("two batches", Bytes::from([&good[..], &good[..]].concat()), 87),
        ("a base offset", change(7, 5), 87),
    ];
    for (what, records, code) in cases {
        assert_eq!(produce(&mut root, "strict", -1, records), code, "{what}");
    }
    assert_eq!(produce(&mut root, "strict", 5, good.clone()), 21, "acks that are none");
    assert_eq!(produce(&mut root, "strict", -1, good.clone()), 0);
    // Without an answer to hold an error, the connection says it.
    root.send(ApiKey::Produce, 9, &produce_request("missing", 0, good)).unwrap();
    assert_eq!(root.closed(), b"");
}

#[test]
fn names_that_would_leave_the_directory_are_no_names() {
    let _house = house();
    let mut root = login("root");
    for name in ["", ".", "..", "../x", "a/b", &"x".repeat(250), "nul\0", "é"] {
        assert_eq!(create(&mut root, name), 17, "{name:?}");
    }
    assert_eq!(create(&mut root, "col.lide"), 0);
    assert_eq!(create(&mut root, "col_lide"), 17);
    assert_eq!(create(&mut root, "col.lide"), 36);
    assert_eq!(create(&mut root, "__cluster_metadata"), 42);
    assert_eq!(produce(&mut root, "../x", -1, batch()), 3);
}

#[test]
fn a_right_that_is_taken_away_ends_a_waiting_fetch() {
    let _house = house();
    let mut root = login("root");
    assert_eq!(create(&mut root, "watched"), 0);
    grant("erin", &[(ALLOW, AclOperation::Read, LITERAL, "watched")]);
    let mut erin = login("erin");
    erin.send(ApiKey::Fetch, 11, &fetch_request("watched", 50_000, -1)).unwrap();
    // Long enough to be waiting; if it were not yet, it would be refused at once, which is as right.
    std::thread::sleep(Duration::from_millis(300));
    let filter = DeleteAclsFilter {
        resource_type_filter: ResourceType::Topic.code(),
        resource_name_filter: Some("watched".into()),
        pattern_type_filter: LITERAL.code(),
        principal_filter: Some("User:erin".into()),
        host_filter: None,
        operation: AclOperation::Any.code(),
        permission_type: AclPermission::Any.code(),
    };
    let request = DeleteAclsRequest { filters: vec![filter] };
    let response: DeleteAclsResponse = root.ask(ApiKey::DeleteAcls, 3, &request).unwrap();
    assert_eq!(response.filter_results[0].matching_acls.len(), 1);
    // In force when acknowledged.
    assert_eq!(fetch(&mut login("erin"), "watched"), 29);
    let (_, body) = erin.receive(ApiKey::Fetch, 11).unwrap();
    let ended = FetchResponse::decode(&mut Reader::new(body), 11).unwrap();
    assert_eq!(ended.responses[0].partitions[0].error_code, 29);
}
