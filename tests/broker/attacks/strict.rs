//! What *strict* refuses and *compat*, as Kafka, does not; each asked of both.

use std::io::Write as _;
use std::time::Duration;

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use schloss::protocol::messages::create_acls_response::CreateAclsResponse;
use schloss::protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use schloss::protocol::messages::delete_topics_response::DeleteTopicsResponse;
use schloss::protocol::messages::metadata_request::MetadataRequest;
use schloss::protocol::messages::metadata_response::MetadataResponse;

use super::acls::{ALLOW, DENIED, LITERAL, TOPIC};
use super::records::{batch_of_producer, produce};
use super::{World, closes, create_topic, strict_world, world, worlds};
use crate::client::Client;

const DESCRIBE: i8 = 8;
const INTERNAL: &str = "__consumer_offsets";

/// What *compat* answers, and what *strict*.
fn both<T>(ask: impl Fn(&'static World) -> T) -> (T, T) {
    (ask(world()), ask(strict_world()))
}

fn allow(world: &World, principal: &str, host: &str, operation: i8, topic: &str) -> CreateAclsResponse {
    let creation = AclCreation {
        resource_type: TOPIC,
        resource_name: topic.into(),
        resource_pattern_type: LITERAL,
        principal: principal.into(),
        host: host.into(),
        operation,
        permission_type: ALLOW,
    };
    let request = CreateAclsRequest { creations: vec![creation] };
    world.login("admin").ask(ApiKey::CreateAcls, 3, &request).unwrap()
}

fn sees(client: &mut Client, topic: &str) -> i16 {
    client.metadata(&[topic]).unwrap().topics[0].error_code
}

/// Case 7: no login needs more than 64 KiB.
#[test]
fn frames_before_a_login_are_small() {
    for (world, length) in [(world(), 512 * 1024), (strict_world(), 64 * 1024)] {
        let mut client = Client::connect(world.sasl);
        client.stream.write_all(&i32::to_be_bytes(length + 1)).unwrap();
        closes(&mut client, "a frame that is too large");
        let mut client = Client::connect(world.sasl);
        client.stream.write_all(&i32::to_be_bytes(length)).unwrap();
        client.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let waits = client.frame().unwrap_err();
        assert_eq!(waits.kind(), std::io::ErrorKind::WouldBlock, "{length} is allowed");
    }
    worlds().into_iter().for_each(World::still_serves);
}

#[test]
fn everybody_is_everybody_who_logged_in() {
    let codes = both(|world| {
        assert_eq!(world.create_topic("for-everybody"), 0);
        assert_eq!(allow(world, "User:*", "*", DESCRIBE, "for-everybody").results[0].error_code, 0);
        let named = sees(&mut world.login("watcher"), "for-everybody");
        (named, sees(&mut Client::connect(world.clear), "for-everybody"))
    });
    assert_eq!(codes, ((0, 0), (0, DENIED)));
    worlds().into_iter().for_each(World::still_serves);
}

#[test]
fn a_wildcard_means_the_applications_topics() {
    let codes = both(|world| {
        let mut admin = world.login("admin");
        assert!([0, 36].contains(&create_topic(&mut admin, INTERNAL)));
        assert_eq!(world.create_topic("of-an-application"), 0);
        assert_eq!(allow(world, "User:u76", "*", DESCRIBE, "*").results[0].error_code, 0);
        let mut client = world.login("u76");
        let listed: MetadataResponse =
            client.ask(ApiKey::Metadata, 12, &MetadataRequest { topics: None, ..Default::default() }).unwrap();
        let lists = |name: &str| listed.topics.iter().any(|t| t.name.as_deref() == Some(name));
        assert!(lists("of-an-application"));
        (sees(&mut client, INTERNAL), lists(INTERNAL))
    });
    assert_eq!(codes, ((0, true), (DENIED, false)));
    // Whoever is named for it has it.
    assert_eq!(allow(strict_world(), "User:u76", "*", DESCRIBE, INTERNAL).results[0].error_code, 0);
    assert_eq!(sees(&mut strict_world().login("u76"), INTERNAL), 0);
    worlds().into_iter().for_each(World::still_serves);
}

/// Case 75: a rule that can't match says so.
#[test]
fn a_host_that_java_would_not_print() {
    let answers = both(|world| allow(world, "User:u75", "::1", DESCRIBE, "t75-strict").results.remove(0));
    assert_eq!((answers.0.error_code, answers.1.error_code), (0, 42));
    let text = answers.1.error_message.unwrap();
    assert!(text.contains("0:0:0:0:0:0:0:1"), "{text}");
    worlds().into_iter().for_each(World::still_serves);
}

#[test]
fn internal_topics_are_not_deleted() {
    let mut admin = strict_world().login("admin");
    assert!([0, 36].contains(&create_topic(&mut admin, INTERNAL)));
    let topic = DeleteTopicState { name: Some(INTERNAL.into()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let answer: DeleteTopicsResponse = admin.ask(ApiKey::DeleteTopics, 6, &request).unwrap();
    assert_eq!(answer.responses[0].error_code, 17);
    worlds().into_iter().for_each(World::still_serves);
}

/// Case 103: an id that nobody was given is somebody's invention.
#[test]
fn a_producer_that_invents_its_id() {
    let codes = both(|world| {
        assert_eq!(world.create_topic("t103"), 0);
        produce(&mut world.login("admin"), "t103", 1, batch_of_producer(4_000_000_000, 0)).unwrap()
    });
    assert_eq!(codes, (0, 59));
    worlds().into_iter().for_each(World::still_serves);
}
