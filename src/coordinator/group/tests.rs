//! Groups, driven by hand: by the paths that clients take here, by chance in [`storm`].

mod storm;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::request::GroupRecord;
use super::{Action, AppendId, Caller, Context, GroupRequest, GroupResponse, GroupSettings, ReplyTo, Shard};
use crate::model::error_code::ErrorCode;
use crate::model::random::Random;
use crate::model::time::{Mono, Wall};
use crate::model::uuid::Uuid;
use crate::protocol::messages::describe_groups_response::DescribedGroup;
use crate::protocol::messages::heartbeat_request::HeartbeatRequest;
use crate::protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::protocol::messages::join_group_response::JoinGroupResponse;
use crate::protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic};
use crate::protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use crate::protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::protocol::messages::sync_group_response::SyncGroupResponse;
use crate::security::authorizer::permit::{Operation, Permit, Reason, Resource};

const GROUP: &str = "g";
/// From this version on a member gets its id first.
const NEWEST: i16 = 9;
/// The last version that joins at once.
const AT_ONCE: i16 = 3;

/// SplitMix64.
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }
}

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            *byte = self.next().to_le_bytes()[0];
        }
    }
}

/// A shard, its log and its clocks.
struct House {
    shard: Shard,
    chance: Chance,
    now: Mono,
    wall: Wall,
    /// What is committed.
    log: Vec<GroupRecord>,
    /// What is written and neither committed nor failed.
    pending: Vec<(AppendId, Vec<GroupRecord>)>,
    /// Commits whatever is written, at once.
    commits: bool,
    answers: BTreeMap<u64, Result<GroupResponse, ErrorCode>>,
    asked: u64,
}

fn settings() -> GroupSettings {
    GroupSettings { min_session_timeout_ms: 1000, initial_rebalance_delay: Duration::ZERO, ..Default::default() }
}

fn permit<O: Operation>(group: &str) -> Permit<O> {
    Permit::internal(Reason::Test, Resource::Group(group.into()))
}

impl House {
    fn new() -> Self {
        Self::with(settings())
    }

    fn with(settings: GroupSettings) -> Self {
        Self {
            shard: Shard::new(Arc::new(settings)),
            chance: Chance(7),
            now: Mono(0),
            wall: Wall(1_000_000),
            log: Vec::new(),
            pending: Vec::new(),
            commits: true,
            answers: BTreeMap::new(),
            asked: 0,
        }
    }

    fn work(&mut self, work: impl FnOnce(&mut Shard, &mut Context<'_>) -> Vec<Action>) {
        let mut cx = Context { now: self.now, wall: self.wall, random: &mut self.chance };
        for action in work(&mut self.shard, &mut cx) {
            let (to, answer) = match action {
                Action::Append { id, records } => {
                    self.pending.push((id, records));
                    continue;
                }
                Action::Answer { to, response } => (to, Ok(response)),
                Action::Refuse { to, error } => (to, Err(error)),
            };
            let twice = self.answers.insert(to.0, answer);
            assert_eq!(twice, None, "{to:?} was answered twice");
        }
        if self.commits && !self.pending.is_empty() {
            self.commit();
        }
    }

    /// Commits what is written first.
    fn commit(&mut self) {
        let (id, records) = self.pending.remove(0);
        self.log.extend(records);
        self.work(|shard, cx| shard.committed(cx, id));
    }

    fn fail(&mut self, error: ErrorCode) {
        let (id, _) = self.pending.remove(0);
        self.work(|shard, cx| shard.append_failed(cx, id, error));
    }

    fn ask(&mut self, request: GroupRequest) -> u64 {
        self.asked += 1;
        let to = self.asked;
        self.work(|shard, cx| shard.request(cx, request, ReplyTo(to)));
        to
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.plus(time);
        self.wall.0 += i64::try_from(time.as_millis()).unwrap();
        self.work(Shard::timers);
    }

    #[track_caller]
    fn joined(&mut self, to: u64) -> JoinGroupResponse {
        match self.answers.get(&to) {
            Some(Ok(GroupResponse::Join(response))) => response.clone(),
            other => panic!("{to}: {other:?}"),
        }
    }

    #[track_caller]
    fn synced(&mut self, to: u64) -> SyncGroupResponse {
        match self.answers.get(&to) {
            Some(Ok(GroupResponse::Sync(response))) => response.clone(),
            other => panic!("{to}: {other:?}"),
        }
    }

    #[track_caller]
    fn code(&mut self, to: u64) -> ErrorCode {
        match self.answers.get(&to) {
            Some(Ok(GroupResponse::Code(code))) => *code,
            other => panic!("{to}: {other:?}"),
        }
    }

    fn waits(&self, to: u64) -> bool {
        !self.answers.contains_key(&to)
    }

    fn join(&mut self, member: &str, version: i16, instance: Option<&str>) -> u64 {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"m") };
        let request = JoinGroupRequest {
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 30_000,
            member_id: member.into(),
            group_instance_id: instance.map(Into::into),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let caller = Caller { client_id: "c".into(), client_host: "/10.0.0.1".into(), version };
        self.ask(GroupRequest::Join { permit: permit(GROUP), caller, request })
    }

    fn sync(&mut self, member: &str, generation: i32, shares: &[(&str, &'static [u8])]) -> u64 {
        let share = |(member, share): &(&str, &'static [u8])| SyncGroupRequestAssignment {
            member_id: (*member).into(),
            assignment: Bytes::from_static(share),
        };
        let request = SyncGroupRequest {
            generation_id: generation,
            member_id: member.into(),
            assignments: shares.iter().map(share).collect(),
            ..Default::default()
        };
        self.ask(GroupRequest::Sync { permit: permit(GROUP), request })
    }

    fn heartbeat(&mut self, member: &str, generation: i32) -> ErrorCode {
        let request = HeartbeatRequest { generation_id: generation, member_id: member.into(), ..Default::default() };
        let to = self.ask(GroupRequest::Heartbeat { permit: permit(GROUP), request });
        self.code(to)
    }

    fn leave(&mut self, member: &str, instance: Option<&str>) -> i16 {
        let identity = MemberIdentity {
            member_id: member.into(),
            group_instance_id: instance.map(Into::into),
            ..Default::default()
        };
        let request = LeaveGroupRequest { members: vec![identity], ..Default::default() };
        let to = self.ask(GroupRequest::Leave { permit: permit(GROUP), request });
        match &self.answers[&to] {
            Ok(GroupResponse::Leave(response)) => response.members[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    fn commit_offset(&mut self, offset: i64, generation: i32, member: &str) -> u64 {
        let partition = OffsetCommitRequestPartition {
            partition_index: 0,
            committed_offset: offset,
            committed_metadata: Some("x".into()),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic { name: "t".into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: generation,
            member_id: member.into(),
            topics: vec![topic],
            ..Default::default()
        };
        self.ask(GroupRequest::CommitOffsets { permit: permit(GROUP), version: 9, request })
    }

    #[track_caller]
    fn commit_code(&mut self, to: u64) -> i16 {
        match &self.answers[&to] {
            Ok(GroupResponse::CommitOffsets(response)) => response.topics[0].partitions[0].error_code,
            other => panic!("{other:?}"),
        }
    }

    fn committed(&mut self) -> i64 {
        let topic = OffsetFetchRequestTopics { name: "t".into(), topic_id: Uuid::ZERO, partition_indexes: vec![0] };
        let topics = Some(vec![topic]);
        let to = self.ask(GroupRequest::FetchOffsets { permit: permit(GROUP), topics, require_stable: true });
        match &self.answers[&to] {
            Ok(GroupResponse::FetchOffsets(topics)) => topics[0].partitions[0].committed_offset,
            other => panic!("{other:?}"),
        }
    }

    fn described(&mut self) -> DescribedGroup {
        let to = self.ask(GroupRequest::Describe { permit: permit(GROUP), version: 5 });
        match &self.answers[&to] {
            Ok(GroupResponse::Describe(group)) => group.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn state(&mut self) -> String {
        self.described().group_state.to_string()
    }

    /// One member that joins at once and has its assignment.
    fn settle_one(&mut self) -> String {
        let joined = self.join("", AT_ONCE, None);
        self.pass(Duration::ZERO);
        let id = self.joined(joined).member_id.to_string();
        let synced = self.sync(&id, 1, &[(&id, b"all")]);
        assert_eq!(self.synced(synced).assignment, "all");
        id
    }

    /// What a coordinator finds that reads the log.
    fn reloaded(&self) -> Self {
        let mut other = Self::with(settings());
        (other.now, other.wall) = (self.now, self.wall);
        for record in &self.log {
            other.shard.replay(record.key.clone(), record.value.clone()).unwrap();
        }
        other.work(Shard::loaded);
        other
    }
}

#[test]
fn groups_lie_where_kafka_looks_for_them() {
    for (group, partition) in [("g-classic", 18), ("console-consumer-1", 24), ("my-group", 12), ("", 0)] {
        assert_eq!(super::partition_of(group, 50), partition, "{group}");
    }
    assert_eq!(super::partition_of("polygenelubricants", 50), 0, "the hash without an absolute value");
}

#[test]
fn an_id_first_then_a_generation() {
    let mut house = House::new();
    let first = house.join("", NEWEST, None);
    let answer = house.joined(first);
    assert_eq!(answer.error_code, ErrorCode::MemberIdRequired.code());
    let id = answer.member_id.to_string();
    assert!(id.starts_with("c-") && id.len() == 38, "{id}");
    let joined = house.join(&id, NEWEST, None);
    house.pass(Duration::ZERO);
    let answer = house.joined(joined);
    assert_eq!((answer.error_code, answer.generation_id, &*answer.leader), (0, 1, &*id));
    assert_eq!(answer.members.len(), 1);
    let synced = house.sync(&id, 1, &[(&id, b"all")]);
    assert_eq!(house.synced(synced).assignment, "all");
    assert_eq!(house.heartbeat(&id, 1), ErrorCode::None);
    assert_eq!(house.state(), "Stable");
}

#[test]
fn an_id_that_does_not_come_back_is_forgotten() {
    let mut house = House::new();
    let first = house.join("", NEWEST, None);
    let id = house.joined(first).member_id.to_string();
    house.pass(Duration::from_secs(11));
    let late = house.join(&id, NEWEST, None);
    assert_eq!(house.joined(late).error_code, ErrorCode::UnknownMemberId.code());
}

#[test]
fn the_first_rebalance_waits_as_long_as_members_come() {
    let delay = Duration::from_secs(3);
    let mut house = House::with(GroupSettings { initial_rebalance_delay: delay, ..settings() });
    let first = house.join("", AT_ONCE, None);
    house.pass(Duration::from_secs(2));
    let second = house.join("", AT_ONCE, None);
    house.pass(Duration::from_secs(2));
    assert!(house.waits(first) && house.waits(second));
    house.pass(Duration::from_secs(3));
    let (first, second) = (house.joined(first), house.joined(second));
    assert_eq!((first.generation_id, second.generation_id), (1, 1));
    assert_eq!(first.members.len() + second.members.len(), 2, "only the leader is told the members");
}

#[test]
fn a_second_member_and_a_follower_s_share() {
    let mut house = House::new();
    let first = house.settle_one();
    let joining = house.join("", AT_ONCE, None);
    assert!(house.waits(joining));
    assert_eq!(house.heartbeat(&first, 1), ErrorCode::RebalanceInProgress);
    let again = house.join(&first, AT_ONCE, None);
    let (leader, second) = (house.joined(again), house.joined(joining));
    assert_eq!((leader.generation_id, &*leader.leader, leader.members.len()), (2, &*first, 2));
    let second = second.member_id.to_string();
    let waiting = house.sync(&second, 2, &[]);
    assert!(house.waits(waiting));
    let old = house.sync(&first, 1, &[]);
    assert_eq!(house.synced(old).error_code, ErrorCode::IllegalGeneration.code());
    let leads = house.sync(&first, 2, &[(&first, b"a"), (&second, b"b"), ("nobody", b"x")]);
    assert_eq!((house.synced(leads).assignment, house.synced(waiting).assignment), ("a".into(), "b".into()));
    // Once more, for whoever did not hear it.
    let more = house.sync(&second, 2, &[]);
    assert_eq!(house.synced(more).assignment, "b");
}

#[test]
fn who_does_not_join_again_in_time_is_gone() {
    let mut house = House::new();
    let first = house.settle_one();
    let joining = house.join("", AT_ONCE, None);
    house.pass(Duration::from_secs(5));
    assert_eq!(house.heartbeat(&first, 1), ErrorCode::RebalanceInProgress);
    house.pass(Duration::from_secs(9));
    assert_eq!(house.heartbeat(&first, 1), ErrorCode::RebalanceInProgress);
    house.pass(Duration::from_secs(9));
    assert_eq!(house.heartbeat(&first, 1), ErrorCode::RebalanceInProgress);
    house.pass(Duration::from_secs(8));
    assert_eq!(house.joined(joining).generation_id, 2);
    assert_eq!(house.heartbeat(&first, 1), ErrorCode::UnknownMemberId);
}

#[test]
fn a_silent_member_is_gone_and_the_group_is_empty() {
    let mut house = House::new();
    let only = house.settle_one();
    house.pass(Duration::from_secs(9));
    assert_eq!(house.heartbeat(&only, 1), ErrorCode::None);
    house.pass(Duration::from_secs(11));
    assert_eq!(house.state(), "Empty");
    assert_eq!(house.reloaded().described().group_state, "Empty");
}

#[test]
fn a_member_that_never_asks_for_its_assignment_is_gone() {
    let mut house = House::new();
    let first = house.settle_one();
    let joining = house.join("", AT_ONCE, None);
    let again = house.join(&first, AT_ONCE, None);
    assert_eq!(house.joined(again).generation_id, 2);
    let second = house.joined(joining).member_id.to_string();
    let leads = house.sync(&first, 2, &[(&first, b"a"), (&second, b"b")]);
    assert_eq!(house.synced(leads).error_code, 0);
    for _ in 0..6 {
        house.pass(Duration::from_secs(6));
        // It is heard of, and yet does not sync.
        house.heartbeat(&second, 2);
        house.heartbeat(&first, 2);
    }
    assert_eq!(house.heartbeat(&second, 2), ErrorCode::UnknownMemberId);
    assert_eq!(house.heartbeat(&first, 2), ErrorCode::RebalanceInProgress);
}

#[test]
fn a_static_member_comes_back_without_a_rebalance() {
    let mut house = House::new();
    let joined = house.join("", NEWEST, Some("i"));
    house.pass(Duration::ZERO);
    let first = house.joined(joined).member_id.to_string();
    assert!(first.starts_with("i-"), "{first}");
    house.sync(&first, 1, &[(&first, b"all")]);
    let back = house.join("", NEWEST, Some("i"));
    let answer = house.joined(back);
    assert_eq!((answer.generation_id, answer.skip_assignment), (1, true));
    let second = answer.member_id.to_string();
    assert_ne!(first, second);
    let request = HeartbeatRequest {
        generation_id: 1,
        member_id: (&*first).into(),
        group_instance_id: Some("i".into()),
        ..Default::default()
    };
    let fenced = house.ask(GroupRequest::Heartbeat { permit: permit(GROUP), request });
    assert_eq!(house.code(fenced), ErrorCode::FencedInstanceId);
    let synced = house.sync(&second, 1, &[]);
    assert_eq!(house.synced(synced).assignment, "all");
    // And after a restart of the coordinator.
    let mut other = house.reloaded();
    assert_eq!(other.heartbeat(&second, 1), ErrorCode::None);
    assert_eq!(other.described(), house.described());
}

#[test]
fn a_static_member_that_can_t_be_written_is_who_it_was() {
    let mut house = House::new();
    let joined = house.join("", NEWEST, Some("i"));
    house.pass(Duration::ZERO);
    let first = house.joined(joined).member_id.to_string();
    house.sync(&first, 1, &[(&first, b"all")]);
    house.commits = false;
    let back = house.join("", NEWEST, Some("i"));
    assert!(house.waits(back));
    house.fail(ErrorCode::NotLeaderOrFollower);
    assert_eq!(house.joined(back).error_code, ErrorCode::NotCoordinator.code());
    assert_eq!(house.heartbeat(&first, 1), ErrorCode::None);
}

#[test]
fn an_assignment_that_can_t_be_written_is_nobody_s() {
    let mut house = House::new();
    let joined = house.join("", AT_ONCE, None);
    house.pass(Duration::ZERO);
    let id = house.joined(joined).member_id.to_string();
    house.commits = false;
    let synced = house.sync(&id, 1, &[(&id, b"all")]);
    assert!(house.waits(synced), "an answer rests on what is committed");
    house.fail(ErrorCode::NotEnoughReplicas);
    assert_eq!(house.synced(synced).error_code, ErrorCode::CoordinatorNotAvailable.code());
    assert_eq!(house.state(), "PreparingRebalance");
    let again = house.join(&id, AT_ONCE, None);
    assert_eq!(house.joined(again).generation_id, 2);
}

#[test]
fn an_assignment_of_a_generation_that_is_over_is_nobody_s() {
    let mut house = House::new();
    let joined = house.join("", AT_ONCE, None);
    house.pass(Duration::ZERO);
    let id = house.joined(joined).member_id.to_string();
    house.commits = false;
    let synced = house.sync(&id, 1, &[(&id, b"all")]);
    let joining = house.join("", AT_ONCE, None);
    assert_eq!(house.synced(synced).error_code, ErrorCode::RebalanceInProgress.code());
    house.commit();
    assert_eq!(house.state(), "PreparingRebalance");
    assert!(house.waits(joining));
}

#[test]
fn leaving() {
    let mut house = House::new();
    assert_eq!(house.leave("m", None), ErrorCode::UnknownMemberId.code(), "no group");
    let first = house.settle_one();
    assert_eq!(house.leave("nobody", None), ErrorCode::UnknownMemberId.code());
    assert_eq!(house.leave("", Some("i")), ErrorCode::UnknownMemberId.code());
    assert_eq!(house.leave(&first, Some("i")), ErrorCode::UnknownMemberId.code());
    let joining = house.join("", AT_ONCE, None);
    assert_eq!(house.leave(&first, None), 0);
    assert_eq!(house.joined(joining).generation_id, 2, "nobody is waited for any more");
}

#[test]
fn a_right_that_is_gone_is_as_good_as_leaving() {
    let mut house = House::new();
    let first = house.settle_one();
    house.ask(GroupRequest::Evict { permit: permit(GROUP), member_id: first.clone() });
    assert_eq!(house.heartbeat(&first, 1), ErrorCode::UnknownMemberId);
    assert_eq!(house.state(), "Empty");
}

#[test]
fn who_asks_twice_is_answered_twice() {
    let mut house = House::new();
    house.settle_one();
    let once = house.join("", AT_ONCE, None);
    // The id of a member that waits is not known to it; a static one's is.
    let with_instance = house.join("", NEWEST, Some("i"));
    let again = house.join("", NEWEST, Some("i"));
    assert_eq!(house.joined(with_instance).error_code, ErrorCode::FencedInstanceId.code());
    assert!(house.waits(once) && house.waits(again));
}

#[test]
fn positions_are_read_when_they_are_committed() {
    let mut house = House::new();
    assert_eq!(house.committed(), -1);
    house.commits = false;
    let to = house.commit_offset(5, -1, "");
    assert!(house.waits(to));
    assert_eq!(house.committed(), -1);
    house.commit();
    assert_eq!((house.commit_code(to), house.committed()), (0, 5));
    let to = house.commit_offset(6, -1, "");
    house.fail(ErrorCode::NotLeaderOrFollower);
    assert_eq!(house.answers[&to], Err(ErrorCode::NotCoordinator));
    assert_eq!((house.committed(), house.reloaded().committed()), (5, 5));
}

#[test]
fn who_may_commit() {
    let mut house = House::new();
    let code = |house: &mut House, generation, member: &str| {
        let to = house.commit_offset(1, generation, member);
        house.commit_code(to)
    };
    assert_eq!(code(&mut house, 3, "m"), ErrorCode::GroupIdNotFound.code());
    let first = house.settle_one();
    assert_eq!(code(&mut house, 1, &first), 0);
    assert_eq!(code(&mut house, 2, &first), ErrorCode::IllegalGeneration.code());
    assert_eq!(code(&mut house, 1, "nobody"), ErrorCode::UnknownMemberId.code());
    assert_eq!(code(&mut house, -1, ""), ErrorCode::UnknownMemberId.code(), "others manage this group");
    house.join("", AT_ONCE, None);
    assert_eq!(code(&mut house, 1, &first), 0, "what was done before the rebalance is kept");
    house.join(&first, AT_ONCE, None);
    assert_eq!(code(&mut house, 2, &first), ErrorCode::RebalanceInProgress.code());
}

#[test]
fn positions_expire_when_their_group_is_empty_for_long() {
    let retention = Duration::from_secs(3600);
    let mut house = House::with(GroupSettings { offsets_retention: retention, ..settings() });
    let first = house.settle_one();
    house.commit_offset(5, 1, &first);
    house.wall.0 += 4_000_000;
    house.work(Shard::expire);
    assert_eq!(house.committed(), 5, "its members read it, or may");
    assert_eq!(house.leave(&first, None), 0);
    house.work(Shard::expire);
    assert_eq!(house.committed(), 5);
    house.wall.0 += 4_000_000;
    house.work(Shard::expire);
    assert_eq!((house.committed(), house.shard.len()), (-1, 0));
    assert!(house.reloaded().shard.is_empty());
}

#[test]
fn a_deleted_topic_s_positions_go() {
    let mut house = House::new();
    house.commit_offset(5, -1, "");
    house.work(|shard, cx| shard.forget_topics(cx, |topic| topic != "t"));
    assert_eq!((house.committed(), house.reloaded().committed()), (-1, -1));
}

#[test]
fn deleting_groups_and_positions() {
    let mut house = House::new();
    let none = house.ask(GroupRequest::Delete { permit: permit(GROUP) });
    assert_eq!(house.code(none), ErrorCode::GroupIdNotFound);
    let first = house.settle_one();
    house.commit_offset(5, 1, &first);
    let full = house.ask(GroupRequest::Delete { permit: permit(GROUP) });
    assert_eq!(house.code(full), ErrorCode::NonEmptyGroup);
    let topics = || {
        let partition = OffsetDeleteRequestPartition { partition_index: 0 };
        vec![OffsetDeleteRequestTopic { name: "t".into(), partitions: vec![partition] }]
    };
    // Its subscription can't be read, so it may read anything.
    let read = house.ask(GroupRequest::DeleteOffsets { permit: permit(GROUP), topics: topics() });
    let deleted = |house: &House, to: u64| match &house.answers[&to] {
        Ok(GroupResponse::DeleteOffsets(response)) => response.topics[0].partitions[0].error_code,
        other => panic!("{other:?}"),
    };
    assert_eq!(deleted(&house, read), ErrorCode::GroupSubscribedToTopic.code());
    house.leave(&first, None);
    let gone = house.ask(GroupRequest::DeleteOffsets { permit: permit(GROUP), topics: topics() });
    assert_eq!((deleted(&house, gone), house.committed()), (0, -1));
    house.commit_offset(7, -1, "");
    let empty = house.ask(GroupRequest::Delete { permit: permit(GROUP) });
    assert_eq!((house.code(empty), house.committed(), house.shard.len()), (ErrorCode::None, -1, 0));
    assert!(house.reloaded().shard.is_empty());
}

#[test]
fn a_full_group_takes_nobody() {
    let mut house = House::with(GroupSettings { max_size: 1, ..settings() });
    house.settle_one();
    let refused = house.join("", AT_ONCE, None);
    assert_eq!(house.joined(refused).error_code, ErrorCode::GroupMaxSizeReached.code());
}

#[test]
fn whoever_waits_is_sent_elsewhere_when_the_partition_moves() {
    let mut house = House::new();
    house.settle_one();
    let joining = house.join("", AT_ONCE, None);
    house.commits = false;
    let committing = house.commit_offset(1, -1, "x");
    house.work(|shard, _| shard.unload());
    assert_eq!(house.joined(joining).error_code, ErrorCode::NotCoordinator.code());
    assert!(!house.waits(committing));
}
