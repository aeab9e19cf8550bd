//! JoinGroup (`GroupMetadataManager.classicGroupJoin`).

use std::sync::Arc;

use crate::model::error_code::ErrorCode;
use crate::protocol::messages::join_group_request::JoinGroupRequest;
use crate::protocol::messages::join_group_response::JoinGroupResponse;

use super::classic::State;
use super::member::{Joining, Member, MemberId};
use super::records;
use super::request::{Caller, GroupId, GroupResponse, ReplyTo};
use super::shard::{Context, Effect, Shard, Turn};
use super::timers::{Slot, Timer};

/// From this version on a member without an id gets one first, and comes back with it (KIP-394).
const KNOWN_MEMBER_ID_FROM: i16 = 4;
/// From this version on a leader that comes back can be told to skip the assignment (KIP-814).
const SKIP_ASSIGNMENT_FROM: i16 = 9;
/// Ids of one group that are given out and did not come back, at most.
const MAX_PENDING: usize = 10_000;
/// What the members of one group may bring together, in bytes. A group that can be written has far less.
const MAX_GROUP_BYTES: usize = 64 * 1024 * 1024;

/// A static member came back under a new id while its group was stable: it is told so when that is committed.
#[derive(Debug)]
pub(super) struct StaticReturn {
    instance: Arc<str>,
    from: MemberId,
    to: MemberId,
    former: Joining,
    version: i16,
    /// Who led before.
    leader: Option<MemberId>,
    reply: ReplyTo,
}

impl Shard {
    pub(super) fn join(
        &mut self,
        cx: &mut Context<'_>,
        to: ReplyTo,
        id: &GroupId,
        caller: &Caller,
        request: &JoinGroupRequest,
    ) {
        if let Err(error) = self.may_join(id, request) {
            return self.writes().refuse_join(to, &request.member_id, error);
        }
        let is_new = !self.has_group(id);
        if !self.make_group(id, cx.wall) {
            return self.writes().refuse_join(to, &request.member_id, ErrorCode::CoordinatorNotAvailable);
        }
        let Some(mut turn) = self.turn(cx, id) else { return };
        let before = turn.writes.next_id();
        turn.join(to, caller, request);
        if is_new && turn.writes.next_id() == before {
            let record = records::new_group(id, turn.group);
            turn.writes.append(vec![record], Effect::Nothing);
        }
    }

    fn may_join(&self, id: &GroupId, request: &JoinGroupRequest) -> Result<(), ErrorCode> {
        let settings = self.settings();
        if id.is_empty() {
            return Err(ErrorCode::InvalidGroupId);
        }
        let allowed = settings.min_session_timeout_ms..=settings.max_session_timeout_ms;
        if !allowed.contains(&request.session_timeout_ms) {
            return Err(ErrorCode::InvalidSessionTimeout);
        }
        if !request.member_id.is_empty() && !self.has_group(id) {
            return Err(ErrorCode::UnknownMemberId);
        }
        Ok(())
    }
}

impl Turn<'_, '_> {
    fn join(&mut self, to: ReplyTo, caller: &Caller, request: &JoinGroupRequest) {
        let joining = Joining::new(request, caller.version);
        let is_full = self.group.size().saturating_add(joining.size()) > MAX_GROUP_BYTES;
        if is_full || !self.has_room_for(&request.member_id) {
            self.group.remove(&request.member_id);
            return self.writes.refuse_join(to, "", ErrorCode::GroupMaxSizeReached);
        }
        if !self.group.supports(&request.protocol_type, &joining.protocols) {
            return self.writes.refuse_join(to, &request.member_id, ErrorCode::InconsistentGroupProtocol);
        }
        if request.member_id.is_empty() {
            self.join_new(to, caller, request, joining);
        } else {
            self.join_existing(to, caller, request, joining);
        }
    }

    /// `acceptJoiningMember`
    fn has_room_for(&self, id: &str) -> bool {
        let max_size = self.settings.max_size;
        match self.group.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waits = self.group.member(id).is_some_and(|member| member.awaiting_join.is_some());
                waits || self.group.awaiting_join() < max_size
            }
            State::CompletingRebalance | State::Stable => self.group.has(id) || self.group.len() < max_size,
        }
    }

    fn join_new(&mut self, to: ReplyTo, caller: &Caller, request: &JoinGroupRequest, joining: Joining) {
        let instance = request.group_instance_id.as_deref();
        let id = self.new_member_id(instance.unwrap_or(&caller.client_id));
        if let Some(instance) = instance {
            match self.group.static_member(instance).cloned() {
                Some(former) => self.return_static(to, caller.version, joining, &former, id),
                None => self.add_member(to, caller, request, joining, id),
            }
        } else if caller.version >= KNOWN_MEMBER_ID_FROM {
            if self.group.pending_join.len() >= MAX_PENDING {
                return self.writes.refuse_join(to, "", ErrorCode::GroupMaxSizeReached);
            }
            self.group.pending_join.insert(MemberId::clone(&id));
            let until = self.cx.now.plus(joining.session_timeout);
            self.timers.set(&self.id, Timer::Session(MemberId::clone(&id)), until);
            self.writes.refuse_join(to, &id, ErrorCode::MemberIdRequired);
        } else {
            self.add_member(to, caller, request, joining, id);
        }
    }

    fn join_existing(&mut self, to: ReplyTo, caller: &Caller, request: &JoinGroupRequest, joining: Joining) {
        let id = &*request.member_id;
        if self.group.pending_join.contains(id) {
            // Static members never are.
            return self.add_member(to, caller, request, joining, id.into());
        }
        if let Err(error) = self.group.validate_member(id, request.group_instance_id.as_deref()) {
            return self.writes.refuse_join(to, id, error);
        }
        let same = self.group.member(id).is_some_and(|member| member.matches(&joining));
        match self.group.state {
            State::PreparingRebalance => self.update_member(to, id, joining),
            // Perhaps it did not get its answer.
            State::CompletingRebalance if same => self.answer_join(to, id),
            // A leader that comes back wants to assign again; nothing changes for the others.
            State::Stable if same && !self.group.is_leader(id) => self.answer_join(to, id),
            State::CompletingRebalance | State::Stable => self.update_member(to, id, joining),
            State::Empty => self.writes.refuse_join(to, "", ErrorCode::UnknownMemberId),
        }
    }

    /// What the present generation is, for one of its members.
    fn answer_join(&mut self, to: ReplyTo, id: &str) {
        let response = self.joined(id);
        self.writes.answer(to, GroupResponse::Join(response));
    }

    /// The answer to a member of the present generation.
    pub(super) fn joined(&self, id: &str) -> JoinGroupResponse {
        let group = &*self.group;
        JoinGroupResponse {
            generation_id: group.generation,
            protocol_type: group.protocol_type.as_deref().map(Into::into),
            protocol_name: group.protocol_name.as_deref().map(Into::into),
            leader: group.leader.as_deref().unwrap_or_default().into(),
            member_id: id.into(),
            members: if group.is_leader(id) { group.current_members() } else { Vec::new() },
            ..Default::default()
        }
    }

    fn add_member(&mut self, to: ReplyTo, caller: &Caller, request: &JoinGroupRequest, joining: Joining, id: MemberId) {
        let instance = request.group_instance_id.as_deref().map(Arc::from);
        let mut member = Member::new(MemberId::clone(&id), instance, caller, joining);
        member.awaiting_join = Some(to);
        if self.group.is(State::PreparingRebalance) && self.group.generation == 0 {
            self.group.new_member_added = true;
        }
        self.group.add(member, &request.protocol_type);
        self.begin_session(&id);
        self.rebalance_or_complete_join();
    }

    fn update_member(&mut self, to: ReplyTo, id: &str, joining: Joining) {
        if let Some(former) = self.group.update(id, joining, Some(to)) {
            // It asked twice: the first answer would be as good, but nobody may be there to get it.
            self.writes.refuse_join(former, id, ErrorCode::RebalanceInProgress);
        }
        self.rebalance_or_complete_join();
    }

    /// `updateStaticMemberThenRebalanceOrCompleteJoin`
    fn return_static(&mut self, to: ReplyTo, version: i16, joining: Joining, from: &MemberId, id: MemberId) {
        let leader = self.group.leader.clone();
        let Some(member) = self.group.member(from) else { return };
        let former = Joining {
            protocols: member.protocols.clone(),
            rebalance_timeout: member.rebalance_timeout,
            session_timeout: member.session_timeout,
        };
        let Some(instance) = member.instance.clone() else { return };
        self.rename(from, MemberId::clone(&id));
        self.group.update(&id, joining, Some(to));
        match self.group.state {
            State::Stable if self.group.protocol_name == self.group.select_protocol() => {
                let back = StaticReturn { instance, from: from.clone(), to: id, former, version, leader, reply: to };
                let record = records::group(&self.id, self.group, |member| member.assignment.clone());
                self.writes.append(vec![record], Effect::Returned { group: GroupId::clone(&self.id), back });
            }
            // The leader may already be assigning to the former id.
            State::CompletingRebalance => self.prepare_rebalance(),
            State::Stable | State::PreparingRebalance | State::Empty => self.rebalance_or_complete_join(),
        }
    }

    /// Gives a static member's place to another id; who spoke for the former one is fenced.
    fn rename(&mut self, from: &MemberId, id: MemberId) {
        let waited = self.group.replace_static(from, MemberId::clone(&id)).unwrap_or_default();
        if let Some(to) = waited.0 {
            self.writes.refuse_join(to, from, ErrorCode::FencedInstanceId);
        }
        if let Some(to) = waited.1 {
            self.writes.refuse_sync(to, ErrorCode::FencedInstanceId);
        }
        self.timers.cancel(&self.id, &Slot::Session(from.clone()));
        self.begin_session(&id);
    }

    /// The new id is written: its member goes on where the former one was.
    pub(super) fn returned(&mut self, back: StaticReturn) {
        if self.group.member(&back.to).and_then(|member| member.awaiting_join) != Some(back.reply) {
            // Something else has answered it.
            return;
        }
        self.group.take_awaiting_join(&back.to);
        let is_leader = self.group.is_leader(&back.to);
        let mut response = self.joined(&back.to);
        if back.version >= SKIP_ASSIGNMENT_FROM {
            response.skip_assignment = is_leader;
        } else {
            // Told that it leads it would assign; told that its former id does, it asks for its assignment.
            response.members = Vec::new();
            response.leader = back.leader.as_deref().unwrap_or_default().into();
        }
        self.writes.answer(back.reply, GroupResponse::Join(response));
    }

    /// The new id could not be written: the former one is the member again.
    pub(super) fn not_returned(&mut self, back: StaticReturn, error: ErrorCode) {
        if self.group.static_member(&back.instance) != Some(&back.to) {
            return;
        }
        self.group.update(&back.to, back.former, None);
        self.group.replace_static(&back.to, MemberId::clone(&back.from));
        self.timers.cancel(&self.id, &Slot::Session(back.to));
        self.begin_session(&back.from);
        self.writes.refuse_join(back.reply, "", error);
    }

    /// A new id: who it is from, and a random UUID of version 4.
    fn new_member_id(&mut self, from: &str) -> MemberId {
        let mut bytes = [0; 16];
        self.cx.random.fill(&mut bytes);
        let id = u128::from_be_bytes(bytes) & !(0xf << 76) & !(0b11 << 62) | 4 << 76 | 0b10 << 62;
        let hex = format!("{id:032x}");
        let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
        format!("{from}-{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)).into()
    }
}
