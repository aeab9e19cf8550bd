//! Users with odd names, client ids that are none, sessions of others, and clients that do not read.

use std::io::{ErrorKind, Write as _};
use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::pbkdf2;
use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::header::RequestHeader;
use schloss::protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use schloss::protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResponse;
use schloss::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use schloss::protocol::messages::fetch_response::FetchResponse;
use schloss::protocol::messages::metadata_request::MetadataRequest;
use schloss::protocol::messages::produce_response::ProduceResponse;
use schloss::protocol::wire::{Message as _, Reader, Writer};

use super::acls::{ALLOW, DENIED, LITERAL, READ, Rule, WRITE, allow, create};
use super::records::{batch, to_topic};
use super::scram::Attempt;
use super::{World, world, worlds};
use crate::client::Client;

const PASSWORD: &str = "odd-of-tests";

/// Makes a user of SCRAM-SHA-256; the code.
fn make(world: &World, name: &str) -> i16 {
    let salt = b"saltofsixandtwentybytes26x";
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(4096).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, PASSWORD.as_bytes(), &mut salted);
    let upsertion = ScramCredentialUpsertion {
        name: name.into(),
        mechanism: 1,
        iterations: 4096,
        salt: Bytes::from_static(salt),
        salted_password: Bytes::copy_from_slice(&salted),
    };
    let request = AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: vec![upsertion] };
    let answer: AlterUserScramCredentialsResponse =
        world.login("admin").ask(ApiKey::AlterUserScramCredentials, 0, &request).unwrap();
    answer.results[0].error_code
}

/// Logs in with SCRAM-SHA-256 as `name`; the code, and the connection if it was let in.
fn login(world: &World, name: &str) -> (i16, Client) {
    let bare = format!("n={},r=fyko+d2lbbFgONRv9qkxdawL", name.replace('=', "=3D").replace(',', "=2C"));
    let attempt = Attempt { bare, password: PASSWORD, ..Attempt::default() };
    let mut client = Client::connect(world.sasl);
    assert_eq!(client.handshake(1, attempt.mechanism).error_code, 0);
    let first = client.authenticate(format!("n,,{}", attempt.bare).as_bytes()).unwrap();
    assert_eq!(first.error_code, 0, "the first message tells nothing of users");
    let last = attempt.last_message(std::str::from_utf8(&first.auth_bytes).unwrap());
    (client.authenticate(last.as_bytes()).unwrap().error_code, client)
}

fn sees(client: &mut Client, topic: &str) -> i16 {
    client.metadata(&[topic]).unwrap().topics[0].error_code
}

/// Cases 26, 27 and 28: a name is its bytes, and nothing in it means anything.
#[test]
fn names_that_look_like_others() {
    let world = world();
    create(&["t28"]);
    allow(&[Rule(LITERAL, "t28", "User:alice", READ, ALLOW), Rule(LITERAL, "t28", "User:caf\u{e9}", READ, ALLOW)]);
    for name in ["User:alice", "alice,CN=x", "a;User:admin", "caf\u{e9}", "admin;User:b", " alice", "alice "] {
        assert_eq!(make(world, name), 0, "{name:?}");
        let (code, mut client) = login(world, name);
        assert_eq!(code, 0, "{name:?}");
        let may = if name == "caf\u{e9}" { 0 } else { DENIED };
        assert_eq!(sees(&mut client, "t28"), may, "{name:?} has what is somebody else's");
        allow(&[Rule(LITERAL, "t28", &format!("User:{name}"), WRITE, ALLOW)]);
        assert_eq!(sees(&mut client, "t28"), 0, "{name:?} has what is its own");
    }
    // The same to the eye: a letter with its accent beside it, letters of another width.
    for name in ["cafe\u{301}", "\u{ff41}lice", "ALICE", "alice\u{200b}"] {
        assert_eq!(login(world, name).0, 58, "{name:?}");
    }
    for world in worlds() {
        // Who is called like the wildcard would be everybody.
        assert_eq!(make(world, "*"), 93);
        world.still_serves();
    }
}

/// A Produce to an internal topic, by a client that calls itself so.
fn produce_as(world: &World, client_id: &str, topic: &str) -> i16 {
    let mut client = world.login("admin");
    let mut w = Writer::framed(256);
    let header = RequestHeader {
        api_key: ApiKey::Produce,
        api_version: 9,
        correlation_id: 88,
        client_id: Some(client_id.into()),
    };
    header.encode(&mut w);
    to_topic(topic, 1, batch()).encode(&mut w, 9);
    client.stream.write_all(&w.finish().bytes).unwrap();
    let (_, body) = client.receive(ApiKey::Produce, 9).unwrap();
    let answer = ProduceResponse::decode(&mut Reader::new(body), 9).unwrap();
    answer.responses[0].partition_responses[0].error_code
}

/// Case 88: what a client calls itself opens nothing.
#[test]
fn internal_topics_are_written_by_nobody() {
    let world = world();
    assert!([0, 36].contains(&world.create_topic("__consumer_offsets")));
    for client_id in ["test", "__admin_client"] {
        assert_eq!(produce_as(world, client_id, "__consumer_offsets"), 17, "{client_id}");
    }
    world.still_serves();
}

/// Case 89: nothing that a client calls itself reaches the log as it is.
#[test]
fn client_ids_that_are_meant_for_a_terminal() {
    let world = world();
    let long = "x".repeat(32 * 1024 - 1);
    for client_id in ["\u{1b}[31mred", "two\r\nlines", "${jndi:ldap://x}", "{{7*7}}", "%n%s", &long] {
        let mut client = world.login("nobody");
        let mut w = Writer::framed(256);
        let header = RequestHeader {
            api_key: ApiKey::Metadata,
            api_version: 9,
            correlation_id: 89,
            client_id: Some(client_id.into()),
        };
        header.encode(&mut w);
        // Refused, and so told to the operator.
        let topics = vec![schloss::protocol::messages::metadata_request::MetadataRequestTopic {
            name: Some("t89".into()),
            ..Default::default()
        }];
        MetadataRequest { topics: Some(topics), ..Default::default() }.encode(&mut w, 9);
        client.stream.write_all(&w.finish().bytes).unwrap();
        client.receive(ApiKey::Metadata, 9).unwrap();
    }
    let output = world.broker.output();
    assert!(!output.contains('\u{1b}') && !output.contains(&long), "a client id came into the log as it is");
    assert!(!output.lines().any(|line| line.starts_with("lines")), "a client id made a line of its own");
    world.still_serves();
}

fn open_session(client: &mut Client, topic: &str) -> FetchResponse {
    let partition = FetchPartition { partition_max_bytes: 1024, ..Default::default() };
    let topics = vec![FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest { replica_id: -1, max_bytes: 1024, session_epoch: 0, topics, ..Default::default() };
    client.ask(ApiKey::Fetch, 11, &request).unwrap()
}

/// Case 105: a session is its principal's, and nobody has all of them.
#[test]
fn sessions_of_others() {
    let world = world();
    create(&["t105"]);
    allow(&[Rule(LITERAL, "t105", "User:watcher", READ, ALLOW), Rule(LITERAL, "t105", "User:u99b", READ, ALLOW)]);
    let mut owner = world.login("watcher");
    let opened = open_session(&mut owner, "t105");
    assert!(opened.session_id > 0 && opened.error_code == 0);
    let mut other = world.login("u99b");
    let go_on = FetchRequest {
        replica_id: -1,
        max_bytes: 1024,
        session_id: opened.session_id,
        session_epoch: 1,
        ..Default::default()
    };
    let answer: FetchResponse = other.ask(ApiKey::Fetch, 11, &go_on).unwrap();
    assert_eq!((answer.error_code, answer.responses.len()), (70, 0), "a session of somebody else");
    // As many as there are slots for all: they replace one another, and not the owner's.
    for _ in 0..1500 {
        open_session(&mut other, "t105");
    }
    let answer: FetchResponse = owner.ask(ApiKey::Fetch, 11, &go_on).unwrap();
    assert_eq!(answer.error_code, 0, "one user's sessions have put another's out");
    let wrong = FetchRequest { session_epoch: 9, ..go_on };
    let answer: FetchResponse = owner.ask(ApiKey::Fetch, 11, &wrong).unwrap();
    assert_eq!(answer.error_code, 71);
    world.still_serves();
}

/// Cases 106 and 107: who asks and does not read is not read from.
#[test]
fn clients_that_do_not_read() {
    let world = world();
    create(&["t107"]);
    let before = world.resident_kib();
    let mut silent: Vec<Client> = (0..8).map(|_| world.login("admin")).collect();
    let mut w = Writer::framed(256);
    let header = RequestHeader {
        api_key: ApiKey::Metadata,
        api_version: 9,
        correlation_id: 107,
        client_id: Some("test".into()),
    };
    header.encode(&mut w);
    MetadataRequest { topics: None, ..Default::default() }.encode(&mut w, 9);
    let many = w.finish().bytes.repeat(1000);
    for client in &mut silent {
        client.stream.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
        let mut sent = 0;
        let end = loop {
            match client.stream.write(&many) {
                Ok(n) => sent += n,
                Err(error) => break error.kind(),
            }
            assert!(sent < 1 << 30, "a client that never reads is read from for ever");
        };
        assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&end), "{end:?}");
    }
    let grown = world.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for eight clients that do not read");
    world.still_serves();
}
