//! From one generation to the next: who must join, how long the others wait, who is gone.

use std::time::Duration;

use crate::model::error_code::ErrorCode;
use crate::protocol::messages::heartbeat_request::HeartbeatRequest;

use super::classic::State;
use super::member::MemberId;
use super::records;
use super::request::GroupResponse;
use super::shard::{Effect, Turn};
use super::timers::{Slot, Timer};

/// How long a member that nothing was ever heard of may take to join
/// (`ConsumerGroup` session for new members in Kafka: five minutes).
const NEW_MEMBER_TIMEOUT: Duration = Duration::from_secs(5 * 60);

impl Turn<'_, '_> {
    /// Heartbeats are judged by the latest state.
    pub(super) fn heartbeat(&mut self, request: &HeartbeatRequest) -> ErrorCode {
        let id = &*request.member_id;
        if let Err(error) = self.group.validate_member(id, request.group_instance_id.as_deref()) {
            return error;
        }
        if request.generation_id != self.group.generation {
            return ErrorCode::IllegalGeneration;
        }
        match self.group.state {
            State::Empty => ErrorCode::UnknownMemberId,
            State::PreparingRebalance => {
                self.begin_session(id);
                ErrorCode::RebalanceInProgress
            }
            State::CompletingRebalance | State::Stable => {
                self.begin_session(id);
                ErrorCode::None
            }
        }
    }

    /// The member was heard of: from now on it may be silent for its session, or, while it is new, for longer.
    pub(super) fn begin_session(&mut self, id: &str) {
        let Some(member) = self.group.member(id) else { return };
        let timeout = if member.is_new { NEW_MEMBER_TIMEOUT } else { member.session_timeout };
        let timer = Timer::Session(MemberId::clone(&member.id));
        self.timers.set(&self.id, timer, self.cx.now.plus(timeout));
    }

    /// A member was silent for too long.
    pub(super) fn session_over(&mut self, id: &MemberId) {
        if self.group.pending_join.remove(id) {
            if self.group.is(State::PreparingRebalance) && self.group.all_joined() {
                self.complete_join();
            }
            return;
        }
        let is_gone = self.group.member(id).is_some_and(|member| !member.may_be_silent());
        if is_gone {
            self.remove_member(id);
            self.after_removal();
        }
    }

    /// Takes a member away; whoever waits for it is told to come again as another.
    pub(super) fn remove_member(&mut self, id: &str) {
        if let Some(to) = self.group.take_awaiting_join(id) {
            self.writes.refuse_join(to, "", ErrorCode::UnknownMemberId);
        }
        if let Some(to) = self.group.take_awaiting_sync(id) {
            self.writes.refuse_sync(to, ErrorCode::UnknownMemberId);
        }
        self.group.remove(id);
        self.timers.cancel(&self.id, &Slot::Session(id.into()));
    }

    /// The others go on without those who were removed.
    pub(super) fn after_removal(&mut self) {
        match self.group.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(),
            State::PreparingRebalance if self.group.all_joined() => self.complete_join(),
            State::PreparingRebalance | State::Empty => {}
        }
    }

    /// Somebody joined or joined again.
    pub(super) fn rebalance_or_complete_join(&mut self) {
        if !self.group.is(State::PreparingRebalance) {
            return self.prepare_rebalance();
        }
        // The first rebalance waits for its delay.
        if self.group.before != State::Empty {
            self.complete_join_or_wait();
        }
    }

    /// Everybody is to join again.
    pub(super) fn prepare_rebalance(&mut self) {
        if self.group.is(State::CompletingRebalance) {
            self.refuse_syncs(ErrorCode::RebalanceInProgress);
        }
        self.timers.cancel(&self.id, &Slot::Sync);
        let is_first = self.group.is(State::Empty);
        self.group.transition_to(State::PreparingRebalance, self.cx.wall);
        if is_first {
            let delay = self.settings.initial_rebalance_delay;
            let remaining = self.group.rebalance_timeout().saturating_sub(delay);
            self.wait_initially(delay, remaining);
        } else {
            self.complete_join_or_wait();
        }
    }

    fn wait_initially(&mut self, delay: Duration, remaining: Duration) {
        self.timers.set(&self.id, Timer::InitialDelay { delay, remaining }, self.cx.now.plus(delay));
    }

    /// The first rebalance waits on as long as members come.
    pub(super) fn initial_delay_over(&mut self, delay: Duration, remaining: Duration) {
        if self.group.new_member_added && !remaining.is_zero() {
            self.group.new_member_added = false;
            let next = self.settings.initial_rebalance_delay.min(remaining);
            self.wait_initially(next, remaining.saturating_sub(delay));
        } else {
            self.complete_join();
        }
    }

    fn complete_join_or_wait(&mut self) {
        if self.group.all_joined() {
            self.complete_join();
        } else if !self.timers.is_set(&self.id, &Slot::Join) {
            // Who comes late moves nobody's deadline.
            let until = self.cx.now.plus(self.group.rebalance_timeout());
            self.timers.set(&self.id, Timer::Join, until);
        }
    }

    /// Those who have joined are the next generation (`completeClassicGroupJoin`).
    pub(super) fn complete_join(&mut self) {
        self.timers.cancel(&self.id, &Slot::Join);
        if !self.group.is(State::PreparingRebalance) {
            return;
        }
        let gone: Vec<MemberId> = self
            .group
            .members()
            .filter(|member| member.awaiting_join.is_none() && member.instance.is_none())
            .map(|member| MemberId::clone(&member.id))
            .collect();
        gone.iter().for_each(|id| self.remove_member(id));
        if !self.group.elect_joined_leader() && self.group.has_members() {
            // Only static members are left, and none has come back: until their sessions end.
            let until = self.cx.now.plus(self.group.rebalance_timeout());
            return self.timers.set(&self.id, Timer::Join, until);
        }
        self.group.begin_generation(self.cx.wall);
        self.group.new_member_added = false;
        if self.group.is(State::Empty) {
            let record = records::group(&self.id, self.group, |member| member.assignment.clone());
            self.writes.append(vec![record], Effect::Nothing);
            return;
        }
        for id in self.group.ids() {
            let response = self.joined(&id);
            if let Some(to) = self.group.take_awaiting_join(&id) {
                self.writes.answer(to, GroupResponse::Join(response));
            }
            self.group.is_in_a_generation(&id);
            self.begin_session(&id);
            self.group.pending_sync.insert(id);
        }
        let until = self.cx.now.plus(self.group.rebalance_timeout());
        self.timers.set(&self.id, Timer::Sync { generation: self.group.generation }, until);
    }
}
