//! Groups: positions, members and memory that somebody wants who must not have them.

use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use schloss::protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use schloss::protocol::messages::heartbeat_request::HeartbeatRequest;
use schloss::protocol::messages::heartbeat_response::HeartbeatResponse;
use schloss::protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use schloss::protocol::messages::join_group_response::JoinGroupResponse;
use schloss::protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use schloss::protocol::messages::leave_group_response::LeaveGroupResponse;
use schloss::protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use schloss::protocol::messages::offset_commit_response::OffsetCommitResponse;
use schloss::protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use schloss::protocol::messages::sync_group_response::SyncGroupResponse;
use schloss::protocol::wire::{Message as _, Reader};

use super::acls::{ALLOW, LITERAL, READ, Rule, add_for, allow, create};
use super::{closes, request, world};
use crate::client::Client;

const GROUP: i8 = 3;
const GROUP_DENIED: i16 = 30;

/// The group's coordinator is ready: its topic is there and loaded.
fn find(client: &mut Client, group: &str) {
    let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
    for _ in 0..200 {
        let answer: FindCoordinatorResponse = client.ask(ApiKey::FindCoordinator, 4, &request).unwrap();
        if answer.coordinators[0].error_code == 0 {
            let beat = HeartbeatRequest { group_id: group.into(), ..Default::default() };
            let answer: HeartbeatResponse = client.ask(ApiKey::Heartbeat, 4, &beat).unwrap();
            // Not loading (14), not somebody else's (16).
            if ![14, 15, 16].contains(&answer.error_code) {
                return;
            }
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    panic!("no coordinator of {group}");
}

fn join_request(group: &str, member_id: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 30_000,
        rebalance_timeout_ms: 30_000,
        member_id: member_id.into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"m") }],
        ..Default::default()
    }
}

fn join(client: &mut Client, request: &JoinGroupRequest) -> JoinGroupResponse {
    client.ask(ApiKey::JoinGroup, 9, request).unwrap()
}

/// A dynamic member's two steps into an empty group; its id and generation.
fn become_member(client: &mut Client, group: &str) -> (String, i32) {
    find(client, group);
    let asked = join(client, &join_request(group, ""));
    assert_eq!(asked.error_code, 79);
    let joined = join(client, &join_request(group, &asked.member_id));
    assert_eq!(joined.error_code, 0);
    sync(client, group, &joined);
    (joined.member_id.to_string(), joined.generation_id)
}

fn sync(client: &mut Client, group: &str, joined: &JoinGroupResponse) {
    let assignment = SyncGroupRequestAssignment { member_id: joined.member_id.clone(), ..Default::default() };
    let request = SyncGroupRequest {
        group_id: group.into(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        assignments: vec![assignment],
        ..Default::default()
    };
    let answer: SyncGroupResponse = client.ask(ApiKey::SyncGroup, 3, &request).unwrap();
    assert_eq!(answer.error_code, 0);
}

fn heartbeat(client: &mut Client, group: &str, member_id: &str, generation_id: i32) -> i16 {
    let (group_id, member_id) = (group.into(), member_id.into());
    let request = HeartbeatRequest { group_id, generation_id, member_id, ..Default::default() };
    let answer: HeartbeatResponse = client.ask(ApiKey::Heartbeat, 4, &request).unwrap();
    answer.error_code
}

fn commit_request(group: &str, topic: &str, partitions: i32, metadata: &str) -> OffsetCommitRequest {
    let partitions = (0..partitions).map(|partition_index| OffsetCommitRequestPartition {
        partition_index,
        committed_offset: 1,
        committed_metadata: Some(metadata.into()),
        ..Default::default()
    });
    let topics =
        vec![OffsetCommitRequestTopic { name: topic.into(), partitions: partitions.collect(), ..Default::default() }];
    OffsetCommitRequest { group_id: group.into(), generation_id_or_member_epoch: -1, topics, ..Default::default() }
}

/// Case 98.
#[test]
fn positions_with_more_than_fits() {
    let world = world();
    create(&["t98"]);
    let mut client = world.login("admin");
    find(&mut client, "g98");
    let mut code = |metadata: &str| {
        let request = commit_request("g98", "t98", 1, metadata);
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 9, &request).unwrap();
        answer.topics[0].partitions[0].error_code
    };
    // What counts is what Java counts: UTF-16.
    assert_eq!((code(&"x".repeat(4096)), code(&"x".repeat(4097))), (0, 12));
    assert_eq!((code(&"é".repeat(4096)), code(&"𝄞".repeat(2049))), (0, 12));
    let before = world.resident_kib();
    for _ in 0..5 {
        let request = commit_request("g98", "t98", 100_000, "");
        let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 9, &request).unwrap();
        let partitions = &answer.topics[0].partitions;
        assert_eq!(partitions.len(), 100_000);
        // Only one of them exists.
        assert_eq!(partitions.iter().filter(|partition| partition.error_code == 3).count(), 99_999);
    }
    let grown = world.resident_kib().saturating_sub(before);
    assert!(grown < 128 * 1024, "a request of 100,000 partitions left {grown} KiB behind");
    world.still_serves();
}

/// Case 99: an id that was seen, a name that is taken, a generation that is over, no right at all.
#[test]
fn a_group_that_somebody_wants_to_take_over() {
    let world = world();
    for user in ["u99", "u99b"] {
        assert_eq!(add_for(GROUP, LITERAL, "g99", &format!("User:{user}"), "*", READ, ALLOW), 0);
    }
    create(&["t99"]);
    allow(&[Rule(LITERAL, "t99", "User:u99b", READ, ALLOW)]);
    let mut honest = world.login("u99");
    let (member_id, generation) = become_member(&mut honest, "g99");

    let mut hijacker = world.login("u99b");
    // Guessed, or with one character changed.
    let mut near = member_id.clone();
    let last = if near.pop() == Some('0') { '1' } else { '0' };
    near.push(last);
    for guess in ["test-00000000-0000-0000-0000-000000000000", &near] {
        assert_eq!(heartbeat(&mut hijacker, "g99", guess, generation), 25, "{guess}");
        assert_eq!(join(&mut hijacker, &join_request("g99", guess)).error_code, 25, "{guess}");
        let mut request = commit_request("g99", "t99", 1, "");
        request.generation_id_or_member_epoch = generation;
        request.member_id = guess.into();
        let answer: OffsetCommitResponse = hijacker.ask(ApiKey::OffsetCommit, 9, &request).unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, 25, "{guess}");
        let identity = MemberIdentity { member_id: guess.into(), ..Default::default() };
        let request = LeaveGroupRequest { group_id: "g99".into(), members: vec![identity], ..Default::default() };
        let answer: LeaveGroupResponse = hijacker.ask(ApiKey::LeaveGroup, 4, &request).unwrap();
        assert_eq!((answer.error_code, answer.members[0].error_code), (0, 25), "{guess}");
    }
    // An operator's commit is none while there are members.
    let request = commit_request("g99", "t99", 1, "");
    let answer: OffsetCommitResponse = hijacker.ask(ApiKey::OffsetCommit, 9, &request).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, 25);
    assert_eq!(heartbeat(&mut honest, "g99", &member_id, generation - 1), 22);
    assert_eq!(heartbeat(&mut honest, "g99", &member_id, generation), 0, "the honest member notices nothing");

    let mut nobody = world.login("nobody");
    assert_eq!(heartbeat(&mut nobody, "g99", &member_id, generation), GROUP_DENIED);
    assert_eq!(join(&mut nobody, &join_request("g99", "")).error_code, GROUP_DENIED);
    let request = commit_request("g99", "t99", 1, "");
    let answer: OffsetCommitResponse = nobody.ask(ApiKey::OffsetCommit, 9, &request).unwrap();
    assert_eq!(answer.topics[0].partitions[0].error_code, GROUP_DENIED);
    world.still_serves();
}

/// Case 99: of two with one instance id the newer one stays.
#[test]
fn a_static_member_that_comes_twice() {
    let world = world();
    let mut first = world.login("admin");
    find(&mut first, "g99-static");
    let static_request = |member_id: &str| JoinGroupRequest {
        group_instance_id: Some("i-1".into()),
        ..join_request("g99-static", member_id)
    };
    let older = join(&mut first, &static_request(""));
    assert_eq!(older.error_code, 0);
    sync(&mut first, "g99-static", &older);
    let mut second = world.login("admin");
    let newer = join(&mut second, &static_request(""));
    assert_eq!(newer.error_code, 0);
    assert_ne!(newer.member_id, older.member_id);
    let beat = HeartbeatRequest {
        group_id: "g99-static".into(),
        generation_id: older.generation_id,
        member_id: older.member_id.clone(),
        group_instance_id: Some("i-1".into()),
    };
    let answer: HeartbeatResponse = first.ask(ApiKey::Heartbeat, 4, &beat).unwrap();
    assert_eq!(answer.error_code, 82);
    assert_eq!(join(&mut first, &static_request(&older.member_id)).error_code, 82);
    world.still_serves();
}

/// Case 99: what is random in a member's id is 122 bits, and never the same.
#[test]
fn ids_of_members_are_not_to_be_guessed() {
    let world = world();
    let mut client = world.login("admin");
    find(&mut client, "g99-ids");
    let mut seen = std::collections::HashSet::new();
    for _ in 0..1000 {
        let answer = join(&mut client, &join_request("g99-ids", ""));
        assert_eq!(answer.error_code, 79);
        let uuid = answer.member_id.strip_prefix("test-").unwrap().to_owned();
        let bytes = uuid.replace('-', "");
        assert_eq!((uuid.len(), bytes.len(), &uuid[14..15]), (36, 32, "4"), "a random UUID");
        assert!(bytes.bytes().all(|b| b.is_ascii_hexdigit()));
        assert!(seen.insert(uuid), "the same id twice");
    }
    world.still_serves();
}

/// Case 100: sessions that end at once or never, and more than memory holds.
#[test]
fn joins_that_want_too_much() {
    let world = world();
    let mut client = world.login("admin");
    find(&mut client, "g100");
    for (session_timeout_ms, code) in [(1, 26), (0, 26), (-1, 26), (86_400_000, 26), (5999, 26), (6000, 79)] {
        let request = JoinGroupRequest { session_timeout_ms, ..join_request("g100", "") };
        assert_eq!(join(&mut client, &request).error_code, code, "{session_timeout_ms} ms");
    }
    // Metadata of which a gigabyte is declared and nothing sent.
    let mut body = join_request("g100", "").to_bytes(5).to_vec();
    let at = body.windows(5).position(|window| window == b"\0\0\0\x01m").unwrap();
    body[at..at + 4].copy_from_slice(&(1_i32 << 30).to_be_bytes());
    let mut liar = world.login("admin");
    liar.send_frame(&request(11, 5, false, &body)).unwrap();
    closes(&mut liar, "a gigabyte of metadata");

    // Members that come and never come back: the ids they were given are counted.
    let before = world.resident_kib();
    let (mut given, mut refused) = (0, 0);
    for _ in 0..11 {
        for _ in 0..1000 {
            client.send(ApiKey::JoinGroup, 9, &join_request("g100-pending", "")).unwrap();
        }
        for _ in 0..1000 {
            let (_, body) = client.receive(ApiKey::JoinGroup, 9).unwrap();
            match JoinGroupResponse::decode(&mut Reader::new(body), 9).unwrap().error_code {
                79 => given += 1,
                81 => refused += 1,
                other => panic!("{other}"),
            }
        }
    }
    assert_eq!((given, refused), (10_000, 1_000));

    // Metadata that is sent: a group holds 64 MiB of it.
    let big = |member_id: &str| JoinGroupRequest {
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), metadata: vec![1; 30 << 20].into() }],
        ..join_request("g100-big", member_id)
    };
    let asked = join(&mut client, &join_request("g100-big", ""));
    let mut codes = vec![join(&mut client, &big(&asked.member_id)).error_code];
    let mut members = Vec::new();
    for _ in 0..3 {
        let mut member = world.login("admin");
        let asked = join(&mut member, &join_request("g100-big", ""));
        member.send(ApiKey::JoinGroup, 9, &big(&asked.member_id)).unwrap();
        members.push(member);
    }
    // Those that were let in wait for one another; who was not is told.
    let mut last = members.pop().unwrap();
    let (_, body) = last.receive(ApiKey::JoinGroup, 9).unwrap();
    codes.push(JoinGroupResponse::decode(&mut Reader::new(body), 9).unwrap().error_code);
    assert_eq!(codes, [0, 81]);
    let grown = world.resident_kib().saturating_sub(before);
    assert!(grown < 400 * 1024, "{grown} KiB for one group");
    world.still_serves();
}
