//! SyncGroup: the leader's assignment is written, then everybody gets a share (`GroupMetadataManager.classicGroupSync`).

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::error_code::ErrorCode;
use crate::protocol::messages::sync_group_request::SyncGroupRequest;
use crate::protocol::messages::sync_group_response::SyncGroupResponse;

use super::classic::State;
use super::member::MemberId;
use super::records;
use super::request::{GroupId, GroupResponse, ReplyTo};
use super::shard::{Effect, Turn};
use super::timers::Slot;

/// What the leader of a generation assigned.
#[derive(Debug)]
pub(super) struct Assigned {
    generation: i32,
    shares: BTreeMap<MemberId, Bytes>,
}

impl Turn<'_, '_> {
    pub(super) fn sync(&mut self, to: ReplyTo, request: SyncGroupRequest) {
        if let Err(error) = self.may_sync(&request) {
            return self.writes.refuse_sync(to, error);
        }
        let id = &*request.member_id;
        match self.group.state {
            State::Empty => self.writes.refuse_sync(to, ErrorCode::UnknownMemberId),
            State::PreparingRebalance => self.writes.refuse_sync(to, ErrorCode::RebalanceInProgress),
            State::CompletingRebalance => {
                if let Some(former) = self.group.await_sync(id, to) {
                    self.writes.refuse_sync(former, ErrorCode::RebalanceInProgress);
                }
                self.has_synced(id);
                if self.group.is_leader(id) {
                    self.assign(&request);
                }
            }
            State::Stable => {
                self.has_synced(id);
                self.answer_sync(to, id);
                self.begin_session(id);
            }
        }
    }

    fn may_sync(&self, request: &SyncGroupRequest) -> Result<(), ErrorCode> {
        self.group.validate_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.group.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |asked: Option<&str>, is: Option<&str>| asked.is_some_and(|asked| Some(asked) != is);
        if differs(request.protocol_type.as_deref(), self.group.protocol_type.as_deref())
            || differs(request.protocol_name.as_deref(), self.group.protocol_name.as_deref())
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    /// The leader has assigned: members that it forgot get nothing.
    fn assign(&mut self, request: &SyncGroupRequest) {
        let mut shares: BTreeMap<MemberId, Bytes> = self.group.ids().into_iter().map(|id| (id, Bytes::new())).collect();
        for share in &request.assignments {
            if let Some(of) = shares.get_mut(&*share.member_id) {
                *of = Bytes::copy_from_slice(&share.assignment);
            }
        }
        let record = records::group(&self.id, self.group, |member| shares.get(&member.id).cloned().unwrap_or_default());
        let assigned = Assigned { generation: self.group.generation, shares };
        self.writes.append(vec![record], Effect::Assigned { group: GroupId::clone(&self.id), assigned });
    }

    /// The assignment is committed. In between another rebalance may have begun: then it is nobody's.
    pub(super) fn assigned(&mut self, assigned: Assigned) {
        if !self.is_of_present(&assigned) {
            return;
        }
        for (id, share) in assigned.shares {
            self.group.set_assignment(&id, share);
        }
        self.group.transition_to(State::Stable, self.cx.wall);
        for id in self.group.ids() {
            if let Some(to) = self.group.take_awaiting_sync(&id) {
                self.answer_sync(to, &id);
                self.begin_session(&id);
            }
        }
    }

    /// The assignment could not be written: who waits is told, and joins again.
    pub(super) fn not_assigned(&mut self, assigned: &Assigned, error: ErrorCode) {
        if self.is_of_present(assigned) {
            self.refuse_syncs(error);
            self.prepare_rebalance();
        }
    }

    fn is_of_present(&self, assigned: &Assigned) -> bool {
        self.group.is(State::CompletingRebalance) && assigned.generation == self.group.generation
    }

    /// Nobody has an assignment any more; those who wait for one are told why.
    pub(super) fn refuse_syncs(&mut self, error: ErrorCode) {
        for id in self.group.ids() {
            self.group.set_assignment(&id, Bytes::new());
            if let Some(to) = self.group.take_awaiting_sync(&id) {
                self.writes.refuse_sync(to, error);
                self.begin_session(&id);
            }
        }
    }

    /// Members of this generation that did not ask for their assignment in time are gone (KIP-559's pending sync).
    pub(super) fn sync_overdue(&mut self, generation: i32) {
        let is_present = generation == self.group.generation
            && matches!(self.group.state, State::CompletingRebalance | State::Stable);
        if !is_present || self.group.pending_sync.is_empty() {
            return;
        }
        let gone: Vec<MemberId> = self.group.pending_sync.iter().cloned().collect();
        gone.iter().for_each(|id| self.remove_member(id));
        self.prepare_rebalance();
    }

    fn has_synced(&mut self, id: &str) {
        self.group.pending_sync.remove(id);
        if self.group.pending_sync.is_empty() {
            self.timers.cancel(&self.id, &Slot::Sync);
        }
    }

    fn answer_sync(&mut self, to: ReplyTo, id: &str) {
        let response = SyncGroupResponse {
            protocol_type: self.group.protocol_type.as_deref().map(Into::into),
            protocol_name: self.group.protocol_name.as_deref().map(Into::into),
            assignment: self.group.member(id).map(|member| member.assignment.clone()).unwrap_or_default(),
            ..Default::default()
        };
        self.writes.answer(to, GroupResponse::Sync(response));
    }
}
