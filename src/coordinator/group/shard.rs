//! One partition of `__consumer_offsets`: its groups, who waits for which append, and whose turn it is.
//!
//! Routing only. A request takes its group's [`Turn`]; what the turn writes is remembered with what has to happen when it
//! is committed or fails.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use crate::model::error_code::ErrorCode;
use crate::model::random::Random;
use crate::model::time::{Mono, Wall};
use crate::protocol::messages::join_group_response::JoinGroupResponse;
use crate::protocol::messages::list_groups_response::ListedGroup;
use crate::protocol::messages::sync_group_response::SyncGroupResponse;
use crate::protocol::wire::DecodeError;

use super::classic::{Group, State};
use super::join::StaticReturn;
use super::member::{Member, MemberId, Protocol, millis};
use super::offsets::PartitionKey;
use super::records::{self, Known};
use super::request::{Action, AppendId, GroupId, GroupRecord, GroupRequest, GroupResponse, ReplyTo};
use super::settings::GroupSettings;
use super::sync::Assigned;
use super::timers::{Timer, Timers};

/// Groups that one shard holds at most.
const MAX_GROUPS: usize = 100_000;

/// The moment, and chance.
#[derive(Debug)]
pub struct Context<'a> {
    pub now: Mono,
    pub wall: Wall,
    pub random: &'a mut dyn Random,
}

/// A partition's groups.
#[derive(Debug)]
pub struct Shard {
    settings: Arc<GroupSettings>,
    groups: BTreeMap<GroupId, Group>,
    timers: Timers,
    writes: Writes,
}

/// What is being written, and what the driver is to do next.
#[derive(Debug, Default)]
pub(super) struct Writes {
    last: u64,
    /// In the order of the appends.
    waiting: VecDeque<(AppendId, Effect)>,
    actions: Vec<Action>,
}

/// What happens when an append is committed, or fails.
#[derive(Debug)]
pub(super) enum Effect {
    /// Nobody waits for it: a group came to be, or lost its last member.
    Nothing,
    /// The leader's assignment is handed out.
    Assigned { group: GroupId, assigned: Assigned },
    /// A static member is back under a new id.
    Returned { group: GroupId, back: StaticReturn },
    /// Positions are set or taken away, and somebody may wait.
    Offsets { group: GroupId, keys: Vec<PartitionKey>, answer: Option<(ReplyTo, GroupResponse)> },
    /// The group is gone, with its positions.
    Deleted { group: GroupId, keys: Vec<PartitionKey>, answer: Option<ReplyTo> },
}

impl Writes {
    pub(super) fn append(&mut self, records: Vec<GroupRecord>, effect: Effect) -> AppendId {
        let id = self.next_id();
        self.last = id.0;
        self.waiting.push_back((id, effect));
        self.actions.push(Action::Append { id, records });
        id
    }

    /// The number of the next append.
    pub(super) fn next_id(&self) -> AppendId {
        AppendId(self.last + 1)
    }

    pub(super) fn answer(&mut self, to: ReplyTo, response: GroupResponse) {
        self.actions.push(Action::Answer { to, response });
    }

    pub(super) fn refuse(&mut self, to: ReplyTo, error: ErrorCode) {
        self.actions.push(Action::Refuse { to, error });
    }

    /// Answers a JoinGroup that came to nothing.
    pub(super) fn refuse_join(&mut self, to: ReplyTo, member_id: &str, error: ErrorCode) {
        let refusal = JoinGroupResponse { error_code: error.code(), member_id: member_id.into(), ..Default::default() };
        self.answer(to, GroupResponse::Join(refusal));
    }

    pub(super) fn refuse_sync(&mut self, to: ReplyTo, error: ErrorCode) {
        self.answer(to, GroupResponse::Sync(SyncGroupResponse { error_code: error.code(), ..Default::default() }));
    }
}

/// One group, and everything that it may change.
pub(super) struct Turn<'a, 'c> {
    pub(super) cx: &'a mut Context<'c>,
    pub(super) settings: &'a GroupSettings,
    pub(super) timers: &'a mut Timers,
    pub(super) writes: &'a mut Writes,
    pub(super) id: GroupId,
    pub(super) group: &'a mut Group,
}

impl Shard {
    /// A shard that has read nothing yet.
    pub fn new(settings: Arc<GroupSettings>) -> Self {
        Self { settings, groups: BTreeMap::new(), timers: Timers::default(), writes: Writes::default() }
    }

    /// Takes in one record of the log, in the log's order.
    ///
    /// # Errors
    /// A record that can't be read; it is left out.
    pub fn replay(&mut self, key: Bytes, value: Option<Bytes>) -> Result<(), DecodeError> {
        match records::read(key, value)? {
            // A tombstone makes no group.
            Some(Known::Offset { group, position: None, .. }) if !self.has_group(&group) => {}
            Some(Known::Offset { group, key, position }) => {
                self.group_or_new(group.into(), Wall(-1)).offsets.load(key, position);
            }
            Some(Known::Group { group, value: None }) => {
                let emptied = self.groups.get(&*group).is_some_and(|group| group.offsets.is_empty());
                if emptied {
                    self.groups.remove(&*group);
                } else if let Some(loaded) = self.groups.get_mut(&*group) {
                    // Positions behind a tombstone are a simple consumer's.
                    let offsets = std::mem::take(&mut loaded.offsets);
                    *loaded = Group::new(Wall(-1));
                    loaded.offsets = offsets;
                }
            }
            Some(Known::Group { group, value: Some(value) }) => self.load_group(group.into(), value),
            None => {}
        }
        Ok(())
    }

    /// The whole log was read: the members' sessions begin, and groups that hold nothing are forgotten.
    pub fn loaded(&mut self, cx: &mut Context<'_>) -> Vec<Action> {
        let ids: Vec<GroupId> = self.groups.keys().cloned().collect();
        for id in ids {
            let max_size = self.settings.max_size;
            if let Some(mut turn) = self.turn(cx, &id) {
                for member in turn.group.ids() {
                    turn.begin_session(&member);
                }
                if turn.group.len() > max_size {
                    turn.prepare_rebalance();
                }
            }
        }
        self.take_actions()
    }

    /// This broker leads the partition no more: whoever waits asks another one.
    pub fn unload(&mut self) -> Vec<Action> {
        for group in self.groups.values_mut() {
            for id in group.ids() {
                if let Some(to) = group.take_awaiting_join(&id) {
                    self.writes.refuse_join(to, &id, ErrorCode::NotCoordinator);
                }
                if let Some(to) = group.take_awaiting_sync(&id) {
                    self.writes.refuse_sync(to, ErrorCode::NotCoordinator);
                }
            }
        }
        for (_, effect) in std::mem::take(&mut self.writes.waiting) {
            if let Some(to) = effect.waits() {
                self.writes.refuse(to, ErrorCode::NotCoordinator);
            }
        }
        self.groups.clear();
        self.timers = Timers::default();
        self.take_actions()
    }

    /// Judges a request. What it leads to is in the actions, of this call or a later one.
    pub fn request(&mut self, cx: &mut Context<'_>, request: GroupRequest, to: ReplyTo) -> Vec<Action> {
        match request {
            GroupRequest::Join { permit, caller, request } => {
                self.join(cx, to, &permit.resource().name().into(), &caller, &request);
            }
            GroupRequest::Sync { permit, request } => match self.turn(cx, permit.resource().name()) {
                Some(mut turn) => turn.sync(to, request),
                None => self.writes.refuse_sync(to, ErrorCode::UnknownMemberId),
            },
            GroupRequest::Heartbeat { permit, request } => {
                let code = match self.turn(cx, permit.resource().name()) {
                    Some(mut turn) => turn.heartbeat(&request),
                    None => ErrorCode::UnknownMemberId,
                };
                self.writes.answer(to, GroupResponse::Code(code));
            }
            GroupRequest::Leave { permit, request } => {
                let response = match self.turn(cx, permit.resource().name()) {
                    Some(mut turn) => turn.leave(&request.members),
                    None => super::leave::of_no_group(&request.members),
                };
                self.writes.answer(to, GroupResponse::Leave(response));
            }
            GroupRequest::Evict { permit, member_id } => {
                if let Some(mut turn) = self.turn(cx, permit.resource().name()) {
                    turn.evict(&member_id);
                }
                self.writes.answer(to, GroupResponse::Code(ErrorCode::None));
            }
            GroupRequest::CommitOffsets { permit, version, request } => {
                self.commit_offsets(cx, to, &permit.resource().name().into(), version, &request);
            }
            GroupRequest::FetchOffsets { permit, topics, require_stable: _ } => {
                let group = self.groups.get(permit.resource().name());
                self.writes.answer(to, GroupResponse::FetchOffsets(super::commits::fetch(group, topics)));
            }
            GroupRequest::DeleteOffsets { permit, topics } => {
                let response = match self.turn(cx, permit.resource().name()) {
                    Some(mut turn) => turn.delete_offsets(to, topics),
                    None => Some(super::commits::deletion_refused(ErrorCode::GroupIdNotFound)),
                };
                if let Some(response) = response {
                    self.writes.answer(to, GroupResponse::DeleteOffsets(response));
                }
            }
            GroupRequest::Describe { permit, version } => {
                let id = permit.resource().name();
                let described = super::describe::describe(id, self.groups.get(id), version);
                self.writes.answer(to, GroupResponse::Describe(described));
            }
            GroupRequest::Delete { permit } => self.delete(cx, to, permit.resource().name()),
        }
        self.take_actions()
    }

    /// Everything up to this append is committed: what rests on it happens, and is answered.
    pub fn committed(&mut self, cx: &mut Context<'_>, append: AppendId) -> Vec<Action> {
        while let Some((id, effect)) = self.writes.waiting.pop_front_if(|(id, _)| *id <= append) {
            self.take_effect(cx, id, effect);
        }
        self.take_actions()
    }

    /// This append came to nothing, and nothing of it is left in the log.
    pub fn append_failed(&mut self, cx: &mut Context<'_>, append: AppendId, error: ErrorCode) -> Vec<Action> {
        if let Some(at) = self.writes.waiting.iter().position(|(id, _)| *id == append)
            && let Some((id, effect)) = self.writes.waiting.remove(at)
        {
            self.take_back(cx, id, effect, error);
        }
        self.take_actions()
    }

    /// When [`Self::timers`] is to be called next.
    pub fn next_timer(&self) -> Option<Mono> {
        self.timers.next()
    }

    /// What is due.
    pub fn timers(&mut self, cx: &mut Context<'_>) -> Vec<Action> {
        while let Some((group, timer)) = self.timers.pop(cx.now) {
            if let Some(mut turn) = self.turn(cx, &group) {
                match timer {
                    Timer::Session(member) => turn.session_over(&member),
                    Timer::InitialDelay { delay, remaining } => turn.initial_delay_over(delay, remaining),
                    Timer::Join => turn.complete_join(),
                    Timer::Sync { generation } => turn.sync_overdue(generation),
                }
            }
        }
        self.take_actions()
    }

    /// The groups in these states and of these types, in any letter case; empty filters take everything. Who may see which
    /// is the caller's to judge.
    pub fn list(&self, states: &[String], types: &[String]) -> Vec<ListedGroup> {
        super::describe::list(&self.groups, states, types)
    }

    /// Groups with members, positions or neither.
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    pub(super) fn group_ids(&self) -> Vec<GroupId> {
        self.groups.keys().cloned().collect()
    }

    pub(super) fn turn<'a, 'c>(&'a mut self, cx: &'a mut Context<'c>, id: &str) -> Option<Turn<'a, 'c>> {
        let (id, _) = self.groups.get_key_value(id)?;
        let id = GroupId::clone(id);
        let group = self.groups.get_mut(&id)?;
        Some(Turn { cx, settings: &self.settings, timers: &mut self.timers, writes: &mut self.writes, id, group })
    }

    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.writes.actions)
    }

    fn group_or_new(&mut self, id: GroupId, now: Wall) -> &mut Group {
        self.groups.entry(id).or_insert_with(|| Group::new(now))
    }

    /// Makes a group if there is room. False if there is none.
    pub(super) fn make_group(&mut self, id: &GroupId, now: Wall) -> bool {
        let has_room = self.groups.contains_key(id) || self.groups.len() < MAX_GROUPS;
        if has_room {
            self.group_or_new(GroupId::clone(id), now);
        }
        has_room
    }

    pub(super) fn has_group(&self, id: &str) -> bool {
        self.groups.contains_key(id)
    }

    pub(super) fn writes(&mut self) -> &mut Writes {
        &mut self.writes
    }

    pub(super) fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Takes a group away, with its deadlines.
    pub(super) fn forget(&mut self, id: &GroupId) {
        if let Some(group) = self.groups.remove(id) {
            self.timers.cancel(id, &super::timers::Slot::Join);
            self.timers.cancel(id, &super::timers::Slot::Sync);
            for member in group.ids().into_iter().chain(group.pending_join) {
                self.timers.cancel(id, &super::timers::Slot::Session(member));
            }
        }
    }

    pub(super) fn group_mut(&mut self, id: &str) -> Option<&mut Group> {
        self.groups.get_mut(id)
    }

    fn load_group(
        &mut self,
        id: GroupId,
        value: crate::protocol::records::group::group_metadata_value::GroupMetadataValue,
    ) {
        let offsets = self.groups.remove(&id).map(|former| former.offsets).unwrap_or_default();
        let mut group = Group::new(Wall(-1));
        group.since = Some(value.current_state_timestamp).filter(|at| *at != -1).map(Wall);
        group.generation = value.generation;
        group.protocol_type = Some(value.protocol_type.to_string()).filter(|text| !text.is_empty());
        group.protocol_name = value.protocol.as_deref().map(str::to_owned);
        group.leader = value.leader.as_deref().map(MemberId::from);
        let protocol = value.protocol.as_deref().unwrap_or_default();
        let members = value.members.into_iter().map(|member| Member {
            id: MemberId::from(&*member.member_id),
            instance: member.group_instance_id.as_deref().map(Into::into),
            client_id: member.client_id.to_string(),
            client_host: member.client_host.to_string(),
            rebalance_timeout: millis(match member.rebalance_timeout {
                -1 => member.session_timeout,
                timeout => timeout,
            }),
            session_timeout: millis(member.session_timeout),
            protocols: vec![Protocol {
                name: protocol.to_owned(),
                metadata: Bytes::copy_from_slice(&member.subscription),
            }],
            assignment: Bytes::copy_from_slice(&member.assignment),
            is_new: false,
            awaiting_join: None,
            awaiting_sync: None,
        });
        group.load(members.collect(), &value.protocol_type);
        group.offsets = offsets;
        self.groups.insert(id, group);
    }

    fn take_effect(&mut self, cx: &mut Context<'_>, append: AppendId, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Assigned { group, assigned } => {
                if let Some(mut turn) = self.turn(cx, &group) {
                    turn.assigned(assigned);
                }
            }
            Effect::Returned { group, back } => {
                if let Some(mut turn) = self.turn(cx, &group) {
                    turn.returned(back);
                }
            }
            Effect::Offsets { group, keys, answer } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    keys.iter().for_each(|key| group.offsets.commit(key, append));
                }
                if let Some((to, response)) = answer {
                    self.writes.answer(to, response);
                }
            }
            Effect::Deleted { group, keys, answer } => {
                if let Some(left) = self.groups.get_mut(&group) {
                    keys.iter().for_each(|key| left.offsets.commit(key, append));
                    // It may have been filled again while the tombstone was written.
                    if left.is(State::Empty) && left.offsets.is_empty() && left.pending_join.is_empty() {
                        self.forget(&group);
                    }
                }
                if let Some(to) = answer {
                    self.writes.answer(to, GroupResponse::Code(ErrorCode::None));
                }
            }
        }
    }

    fn take_back(&mut self, cx: &mut Context<'_>, append: AppendId, effect: Effect, error: ErrorCode) {
        match effect {
            Effect::Nothing => {}
            Effect::Assigned { group, assigned } => {
                if let Some(mut turn) = self.turn(cx, &group) {
                    turn.not_assigned(&assigned, of_group(error));
                }
            }
            Effect::Returned { group, back } => {
                if let Some(mut turn) = self.turn(cx, &group) {
                    turn.not_returned(back, of_group(error));
                }
            }
            Effect::Offsets { group, keys, answer } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    keys.iter().for_each(|key| group.offsets.revert(key, append));
                }
                if let Some((to, _)) = answer {
                    self.writes.refuse(to, of_operation(error));
                }
            }
            Effect::Deleted { group, keys, answer } => {
                if let Some(group) = self.groups.get_mut(&group) {
                    keys.iter().for_each(|key| group.offsets.revert(key, append));
                }
                if let Some(to) = answer {
                    self.writes.refuse(to, of_operation(error));
                }
            }
        }
    }
}

impl Effect {
    /// Who waits for nothing but this.
    fn waits(&self) -> Option<ReplyTo> {
        match self {
            // Their members wait, and are answered as members.
            Self::Nothing | Self::Assigned { .. } | Self::Returned { .. } => None,
            Self::Offsets { answer, .. } => answer.as_ref().map(|(to, _)| *to),
            Self::Deleted { answer, .. } => *answer,
        }
    }
}

/// What members are told when their group can't be written
/// (`GroupMetadataManager.appendGroupMetadataErrorToResponseError`).
fn of_group(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::NotEnoughReplicas | ErrorCode::RequestTimedOut => {
            ErrorCode::CoordinatorNotAvailable
        }
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        other => other,
    }
}

/// What others are told (`CoordinatorOperationExceptionHelper`).
fn of_operation(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::NotEnoughReplicasAfterAppend => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::InvalidCommitOffsetSize
        }
        other => of_group(other),
    }
}
