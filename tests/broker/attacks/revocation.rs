//! What is taken away is gone when the answer says so.

use std::num::NonZeroU32;

use aws_lc_rs::pbkdf2;
use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialDeletion, ScramCredentialUpsertion,
};
use schloss::protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResponse;
use schloss::protocol::messages::delete_acls_request::{DeleteAclsFilter, DeleteAclsRequest};
use schloss::protocol::messages::delete_acls_response::DeleteAclsResponse;
use schloss::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use schloss::protocol::messages::fetch_response::FetchResponse;
use schloss::protocol::wire::{Message as _, Reader};

use super::acls::{ALLOW, DENIED, DENY, LITERAL, READ, Rule, TOPIC, allow, create, reads};
use super::scram::Attempt;
use super::world;
use crate::client::Client;

/// Longer than the test may take: whoever waits for it to pass has failed.
const LONG_WAIT_MS: i32 = 50_000;

const SHA_256: i8 = 1;
const ITERATIONS: i32 = 4096;
/// How often each order of things is tried: an answer that comes too early may be right by chance.
const ROUNDS: usize = 20;

fn alter(admin: &mut Client, request: &AlterUserScramCredentialsRequest) {
    let answer: AlterUserScramCredentialsResponse = admin.ask(ApiKey::AlterUserScramCredentials, 0, request).unwrap();
    assert_eq!(answer.results[0].error_code, 0, "{answer:?}");
}

fn set(admin: &mut Client, user: &str, password: &str) {
    // As long as Kafka's tools make it: made-up users look like the real ones.
    let salt = b"saltofsixandtwentybytes26x";
    let mut salted = [0; 32];
    let rounds = NonZeroU32::new(u32::try_from(ITERATIONS).unwrap()).unwrap();
    pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, salt, password.as_bytes(), &mut salted);
    let upsertion = ScramCredentialUpsertion {
        name: user.into(),
        mechanism: SHA_256,
        iterations: ITERATIONS,
        salt: Bytes::from_static(salt),
        salted_password: Bytes::copy_from_slice(&salted),
    };
    alter(admin, &AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: vec![upsertion] });
}

fn delete(admin: &mut Client, user: &str) {
    let deletion = ScramCredentialDeletion { name: user.into(), mechanism: SHA_256 };
    alter(admin, &AlterUserScramCredentialsRequest { deletions: vec![deletion], upsertions: Vec::new() });
}

fn log_in(user: &str, password: &str) -> i16 {
    let nonce = "fyko+d2lbbFgONRv9qkxdawL";
    Attempt { bare: format!("n={user},r={nonce}"), password, ..Attempt::default() }.run(world()).code
}

#[test]
fn a_deleted_user_is_gone_when_the_answer_says_so() {
    let mut admin = world().login("admin");
    for _ in 0..ROUNDS {
        set(&mut admin, "leaver", "first-password");
        assert_eq!(log_in("leaver", "first-password"), 0, "created, and not known");
        delete(&mut admin, "leaver");
        assert_eq!(log_in("leaver", "first-password"), 58, "deleted, and logs in");
    }
    world().still_serves();
}

#[test]
fn a_changed_password_is_changed_when_the_answer_says_so() {
    let mut admin = world().login("admin");
    for round in 0..ROUNDS {
        let (before, after) = (format!("password-{round}"), format!("password-{}", round + 1));
        set(&mut admin, "changer", &before);
        set(&mut admin, "changer", &after);
        assert_eq!((log_in("changer", &before), log_in("changer", &after)), (58, 0));
    }
    world().still_serves();
}

/// Between the two messages of a login: what was true at the first is not true at the last.
#[test]
fn a_login_under_way_does_not_outlive_its_credential() {
    let mut admin = world().login("admin");
    set(&mut admin, "half", "the-password");
    let attempt =
        Attempt { bare: "n=half,r=abcdefghijklmnop".to_owned(), password: "the-password", ..Attempt::default() };
    let mut client = Client::connect(world().sasl);
    assert_eq!(client.handshake(1, "SCRAM-SHA-256").error_code, 0);
    let first = client.authenticate(b"n,,n=half,r=abcdefghijklmnop").unwrap();
    assert_eq!(first.error_code, 0);
    delete(&mut admin, "half");
    let first = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
    let last = client.authenticate(attempt.last_message(&first).as_bytes()).unwrap();
    assert_eq!(last.error_code, 58);
    world().still_serves();
}

#[test]
fn a_right_that_is_taken_away_ends_a_waiting_fetch() {
    const VERSION: i16 = 11;
    /// Of operations and permissions.
    const ANY: i8 = 1;
    create(&["watched-0"]);
    allow(&[Rule(LITERAL, "watched-0", "User:watcher", READ, ALLOW)]);
    let mut watcher = world().login("watcher");
    let partition = FetchPartition { partition_max_bytes: 1024, ..Default::default() };
    let request = FetchRequest {
        max_bytes: 1024,
        min_bytes: 1,
        max_wait_ms: LONG_WAIT_MS,
        topics: vec![FetchTopic { topic: "watched-0".into(), partitions: vec![partition], ..Default::default() }],
        ..Default::default()
    };
    watcher.send(ApiKey::Fetch, VERSION, &request).unwrap();
    // Long enough to be waiting; if it were not yet, it would be refused at once, which is as right.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let filter = DeleteAclsFilter {
        resource_type_filter: TOPIC,
        resource_name_filter: Some("watched-0".into()),
        pattern_type_filter: LITERAL,
        principal_filter: Some("User:watcher".into()),
        host_filter: None,
        operation: ANY,
        permission_type: ANY,
    };
    let request = DeleteAclsRequest { filters: vec![filter] };
    let answer: DeleteAclsResponse = world().login("admin").ask(ApiKey::DeleteAcls, 3, &request).unwrap();
    assert_eq!(answer.filter_results[0].matching_acls.len(), 1);
    assert_eq!(reads(&mut world().login("watcher"), "watched-0"), DENIED, "deleted, and still in force");
    let (_, body) = watcher.receive(ApiKey::Fetch, VERSION).unwrap();
    let ended = FetchResponse::decode(&mut Reader::new(body), VERSION).unwrap();
    assert_eq!(ended.responses[0].partitions[0].error_code, DENIED);
    world().still_serves();
}

/// A fetch session names its partitions once; afterwards they are judged anew all the same.
#[test]
fn a_denial_ends_a_fetch_that_waits_in_a_session() {
    const VERSION: i16 = 11;
    create(&["watched-1", "watched-2"]);
    let rule = |topic, permission| Rule(LITERAL, topic, "User:watcher", READ, permission);
    allow(&[rule("watched-1", ALLOW), rule("watched-2", ALLOW)]);
    let mut watcher = world().login("watcher");
    let topic = |name: &str| FetchTopic {
        topic: name.into(),
        partitions: vec![FetchPartition { partition_max_bytes: 1024, ..Default::default() }],
        ..Default::default()
    };
    let mut request = FetchRequest {
        max_bytes: 1024,
        min_bytes: 1,
        session_epoch: 0,
        topics: vec![topic("watched-1"), topic("watched-2")],
        ..Default::default()
    };
    let opened: FetchResponse = watcher.ask(ApiKey::Fetch, VERSION, &request).unwrap();
    assert_ne!((opened.error_code, opened.session_id), (0, 0), "no session was opened");

    request = FetchRequest {
        session_id: opened.session_id,
        session_epoch: 1,
        max_wait_ms: LONG_WAIT_MS,
        topics: Vec::new(),
        ..request
    };
    watcher.send(ApiKey::Fetch, VERSION, &request).unwrap();
    // Long enough to be waiting; if it were not yet, it would be refused at once, which is as right.
    std::thread::sleep(std::time::Duration::from_millis(300));
    allow(&[rule("watched-2", DENY)]);
    let (_, body) = watcher.receive(ApiKey::Fetch, VERSION).unwrap();
    let ended = FetchResponse::decode(&mut Reader::new(body), VERSION).unwrap();
    let told: Vec<_> =
        ended.responses.iter().map(|topic| (topic.topic.to_string(), topic.partitions[0].error_code)).collect();
    assert_eq!(told, [("watched-2".to_owned(), DENIED)], "the other one has nothing new to tell");

    // Nobody else goes on with the session.
    let stolen = FetchRequest { session_epoch: 2, max_wait_ms: 0, ..request };
    let answer: FetchResponse = world().login("admin").ask(ApiKey::Fetch, VERSION, &stolen).unwrap();
    assert_eq!((answer.error_code, answer.responses.len()), (70, 0), "FETCH_SESSION_ID_NOT_FOUND");
    world().still_serves();
}
