//! LeaveGroup, of one or many members (KIP-345), and members whose right was taken away.

use crate::model::error_code::ErrorCode;
use crate::protocol::messages::leave_group_request::MemberIdentity;
use crate::protocol::messages::leave_group_response::{LeaveGroupResponse, MemberResponse};

use super::classic::State;
use super::shard::Turn;
use super::timers::Slot;

/// Nobody is a member of a group that does not exist.
pub(super) fn of_no_group(members: &[MemberIdentity]) -> LeaveGroupResponse {
    let members = members.iter().map(|member| answer(member, ErrorCode::UnknownMemberId)).collect();
    LeaveGroupResponse { members, ..Default::default() }
}

impl Turn<'_, '_> {
    pub(super) fn leave(&mut self, members: &[MemberIdentity]) -> LeaveGroupResponse {
        let members: Vec<MemberResponse> = members
            .iter()
            .map(|member| answer(member, self.leave_one(member).err().unwrap_or(ErrorCode::None)))
            .collect();
        if members.iter().any(|member| member.error_code == ErrorCode::None.code()) {
            self.go_on();
        }
        LeaveGroupResponse { members, ..Default::default() }
    }

    /// As if the member had left.
    pub(super) fn evict(&mut self, id: &str) {
        if self.group.has(id) || self.group.pending_join.contains(id) {
            self.remove_member(id);
            self.go_on();
        }
    }

    fn leave_one(&mut self, member: &MemberIdentity) -> Result<(), ErrorCode> {
        let instance = member.group_instance_id.as_deref();
        if member.member_id.is_empty() {
            // An administrator takes a static member away by its name.
            let id = instance.and_then(|instance| self.group.static_member(instance)).cloned();
            self.remove_member(&id.ok_or(ErrorCode::UnknownMemberId)?);
            return Ok(());
        }
        if self.group.pending_join.remove(&*member.member_id) {
            self.timers.cancel(&self.id, &Slot::Session((&*member.member_id).into()));
            return Ok(());
        }
        self.group.validate_member(&member.member_id, instance)?;
        self.remove_member(&member.member_id);
        Ok(())
    }

    fn go_on(&mut self) {
        match self.group.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(),
            State::PreparingRebalance => self.rebalance_or_complete_join(),
            State::Empty => {}
        }
    }
}

fn answer(member: &MemberIdentity, error: ErrorCode) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id.clone(),
        group_instance_id: member.group_instance_id.clone(),
        error_code: error.code(),
    }
}
