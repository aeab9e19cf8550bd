//! A member of a consumer group: it joins, has its shares handed out, commits, falls silent, leaves.

use std::collections::BTreeMap;

use bytes::Bytes;
use tokio::sync::oneshot::error::TryRecvError;

use super::Turn;
use crate::coordinator::group::{Caller, GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::model::uuid::Uuid;
use crate::protocol::messages::heartbeat_request::HeartbeatRequest;
use crate::protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use crate::protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_fetch_request::OffsetFetchRequestTopics;
use crate::protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::security::authorizer::permit::{Operation, Permit, Reason, Resource};
use crate::server::simulation::Halt;
use crate::server::simulation::invariants::{Event, Outcome};
use crate::server::simulation::node::Answer;

/// What the members share: the partitions of a topic.
pub(in super::super) const TOPIC: &str = "shared";
pub(in super::super) const SHARES: i32 = 4;
const GROUP: &str = "g";

type Asked = Answer<GroupResponse, ErrorCode>;

pub(in super::super) struct Member {
    /// Empty before the coordinator gave one.
    id: String,
    state: State,
}

enum State {
    Outside,
    Joining(Asked),
    Syncing { generation: i32, asked: Asked },
    Stable { generation: i32, shares: Vec<i32> },
}

/// Commits of all members, and what they read back.
#[derive(Default)]
pub(in super::super) struct Positions {
    asked: BTreeMap<u64, Asked>,
    last: u64,
}

impl Member {
    pub(in super::super) fn new() -> Self {
        Self { id: String::new(), state: State::Outside }
    }

    /// The broker is gone, and with it every answer.
    pub(in super::super) fn disconnected(&mut self) {
        if !matches!(self.state, State::Stable { .. }) {
            self.state = State::Outside;
        }
    }

    pub(in super::super) fn act(&mut self, turn: &mut Turn<'_>, positions: &mut Positions) -> Result<(), Halt> {
        match &mut self.state {
            State::Outside => self.join(turn),
            State::Joining(asked) => match asked.try_recv() {
                Err(TryRecvError::Empty) => {}
                Ok(Ok(GroupResponse::Join(joined))) => self.joined(turn, &joined),
                _ => self.state = State::Outside,
            },
            State::Syncing { generation, asked } => match asked.try_recv() {
                Err(TryRecvError::Empty) => {}
                Ok(Ok(GroupResponse::Sync(synced))) if synced.error_code == 0 => {
                    let shares: Vec<i32> = synced.assignment.iter().map(|share| i32::from(*share)).collect();
                    let (generation, member) = (*generation, &*self.id);
                    turn.story.tell(&Event::Assigned { generation, member, shares: &shares })?;
                    self.state = State::Stable { generation, shares };
                }
                Ok(Ok(GroupResponse::Sync(synced))) => self.refused(synced.error_code),
                _ => self.state = State::Outside,
            },
            State::Stable { generation, shares } => match turn.chance.below(20) {
                0 => self.fall_silent(turn),
                1 => self.leave(turn),
                2..10 => {
                    if let Some(share) = turn.chance.pick(shares) {
                        positions.commit(turn, &self.id, *generation, *share)?;
                    }
                }
                _ => self.heartbeat(turn),
            },
        }
        Ok(())
    }

    fn join(&mut self, turn: &mut Turn<'_>) {
        let protocol = JoinGroupRequestProtocol { name: "range".into(), metadata: Bytes::from_static(b"m") };
        let request = JoinGroupRequest {
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 4_000,
            member_id: (&*self.id).into(),
            protocol_type: "consumer".into(),
            protocols: vec![protocol],
            ..Default::default()
        };
        let caller = Caller { client_id: "c".into(), client_host: "/10.0.0.1".into(), version: 9 };
        self.state = State::Joining(turn.node.ask_groups(GroupRequest::Join { permit: permit(), caller, request }));
    }

    fn joined(&mut self, turn: &mut Turn<'_>, joined: &JoinGroupResponse) {
        if joined.error_code == ErrorCode::MemberIdRequired.code() {
            self.id = joined.member_id.to_string();
            return self.join(turn);
        }
        if joined.error_code != 0 {
            return self.refused(joined.error_code);
        }
        self.id = joined.member_id.to_string();
        let generation = joined.generation_id;
        // Whoever leads hands out the shares in turn.
        let members = &joined.members;
        let share_out = |(at, member): (usize, &JoinGroupResponseMember)| {
            let own = (0..SHARES).filter(|share| usize::try_from(*share).unwrap() % members.len() == at);
            let assignment = own.map(|share| u8::try_from(share).unwrap()).collect::<Vec<_>>().into();
            SyncGroupRequestAssignment { member_id: member.member_id.clone(), assignment }
        };
        let request = SyncGroupRequest {
            generation_id: generation,
            member_id: (&*self.id).into(),
            assignments: members.iter().enumerate().map(share_out).collect(),
            ..Default::default()
        };
        let asked = turn.node.ask_groups(GroupRequest::Sync { permit: permit(), request });
        self.state = State::Syncing { generation, asked };
    }

    fn refused(&mut self, code: i16) {
        if code == ErrorCode::UnknownMemberId.code() {
            self.id.clear();
        }
        self.state = State::Outside;
    }

    fn heartbeat(&mut self, turn: &mut Turn<'_>) {
        let State::Stable { generation, .. } = self.state else { return };
        let request =
            HeartbeatRequest { generation_id: generation, member_id: (&*self.id).into(), ..Default::default() };
        let mut asked = turn.node.ask_groups(GroupRequest::Heartbeat { permit: permit(), request });
        let Ok(Ok(GroupResponse::Code(code))) = asked.try_recv() else { return };
        if code != ErrorCode::None {
            self.refused(code.code());
        }
    }

    /// Whoever comes back after that is somebody else.
    fn fall_silent(&mut self, turn: &mut Turn<'_>) {
        turn.story.say(format_args!("{} falls silent", self.id));
        *self = Self::new();
    }

    fn leave(&mut self, turn: &mut Turn<'_>) {
        let identity = MemberIdentity { member_id: (&*self.id).into(), ..Default::default() };
        let request = LeaveGroupRequest { members: vec![identity], ..Default::default() };
        drop(turn.node.ask_groups(GroupRequest::Leave { permit: permit(), request }));
        turn.story.say(format_args!("{} leaves", self.id));
        *self = Self::new();
    }
}

impl Positions {
    /// Commits a position that was never committed before. Outside of any generation it is -1, without a member.
    pub(in super::super) fn commit(
        &mut self,
        turn: &mut Turn<'_>,
        member: &str,
        generation: i32,
        share: i32,
    ) -> Result<(), Halt> {
        self.last += 1;
        let (number, offset) = (self.last, i64::try_from(self.last).unwrap());
        let partition = OffsetCommitRequestPartition {
            partition_index: share,
            committed_offset: offset,
            committed_metadata: Some("".into()),
            ..Default::default()
        };
        let topic = OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetCommitRequest {
            generation_id_or_member_epoch: generation,
            member_id: member.into(),
            topics: vec![topic],
            ..Default::default()
        };
        turn.story.tell(&Event::CommitAsked { number, share, generation, offset })?;
        let asked = turn.node.ask_groups(GroupRequest::CommitOffsets { permit: permit(), version: 9, request });
        self.asked.insert(number, asked);
        self.hear(turn)
    }

    /// Takes in what was answered.
    pub(in super::super) fn hear(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let mut ended = Vec::new();
        self.asked.retain(|number, asked| {
            let outcome = match asked.try_recv() {
                Err(TryRecvError::Empty) => return true,
                Ok(Ok(GroupResponse::CommitOffsets(answer))) => {
                    match ErrorCode::from_code(answer.topics[0].partitions[0].error_code) {
                        Some(ErrorCode::None) => Outcome::Done,
                        Some(code) => Outcome::Refused(code),
                        None => Outcome::Unknown,
                    }
                }
                // Not led here, or not written as far as the coordinator knows.
                _ => Outcome::Unknown,
            };
            ended.push((*number, outcome));
            false
        });
        ended
            .into_iter()
            .try_for_each(|(number, outcome)| Ok(turn.story.tell(&Event::CommitEnded { number, outcome })?))
    }

    /// Asks where the group stands.
    pub(in super::super) fn read(turn: &mut Turn<'_>) -> Result<(), Halt> {
        let partition_indexes = (0..SHARES).collect();
        let topic = OffsetFetchRequestTopics { name: TOPIC.into(), topic_id: Uuid::ZERO, partition_indexes };
        let request = GroupRequest::FetchOffsets { permit: permit(), topics: Some(vec![topic]), require_stable: true };
        let Ok(Ok(GroupResponse::FetchOffsets(topics))) = turn.node.ask_groups(request).try_recv() else {
            return Ok(());
        };
        for found in topics.iter().flat_map(|topic| &topic.partitions) {
            let (share, offset) = (found.partition_index, found.committed_offset);
            turn.story.tell(&Event::PositionRead { share, offset })?;
        }
        Ok(())
    }

    /// The broker is gone, and with it every answer that did not come yet.
    pub(in super::super) fn disconnected(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.asked).into_keys().collect()
    }
}

fn permit<O: Operation>() -> Permit<O> {
    Permit::internal(Reason::Test, Resource::Group(GROUP.into()))
}
