//! The state of one classic group: members, votes, generation (`ClassicGroup`).
//!
//! Nothing here answers anybody or sets a deadline: that is the turn's ([`super::shard::Turn`]).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::model::error_code::ErrorCode;
use crate::model::time::Wall;
use crate::protocol::messages::join_group_response::JoinGroupResponseMember;

use super::member::{Joining, Member, MemberId, Protocol};
use super::offsets::Offsets;
use super::request::ReplyTo;
use super::subscription;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No members; positions may remain.
    Empty,
    /// Members join.
    PreparingRebalance,
    /// All have joined; the leader makes the assignment.
    CompletingRebalance,
    /// Everybody has, or can get, an assignment.
    Stable,
}

impl State {
    /// As Kafka's tools print it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
        }
    }
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) state: State,
    /// The state before this one.
    pub(super) before: State,
    /// When the state came to be; `None` if a record that does not say so made it.
    pub(super) since: Option<Wall>,
    pub(super) generation: i32,
    pub(super) protocol_type: Option<String>,
    pub(super) protocol_name: Option<String>,
    pub(super) leader: Option<MemberId>,
    /// Boxed: most groups have one or a few, and a node of the tree has room for eleven.
    members: BTreeMap<MemberId, Box<Member>>,
    statics: BTreeMap<Arc<str>, MemberId>,
    /// Ids that were given out and did not come back yet.
    pub(super) pending_join: BTreeSet<MemberId>,
    /// Members that did not ask for their assignment yet.
    pub(super) pending_sync: BTreeSet<MemberId>,
    /// How many members can take part in a protocol.
    supported: BTreeMap<String, usize>,
    awaiting_join: usize,
    /// Bytes of protocols that members brought.
    size: usize,
    /// Somebody came while the first rebalance waited.
    pub(super) new_member_added: bool,
    /// What the members read, if they are consumers and say so.
    subscribed: Option<BTreeSet<String>>,
    pub(super) offsets: Offsets,
}

impl Group {
    pub(super) fn new(now: Wall) -> Self {
        Self {
            state: State::Empty,
            before: State::Empty,
            since: Some(now),
            generation: 0,
            protocol_type: None,
            protocol_name: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            supported: BTreeMap::new(),
            awaiting_join: 0,
            size: 0,
            new_member_added: false,
            subscribed: None,
            offsets: Offsets::default(),
        }
    }

    pub(super) fn is(&self, state: State) -> bool {
        self.state == state
    }

    pub(super) fn transition_to(&mut self, state: State, now: Wall) {
        self.before = self.state;
        self.state = state;
        self.since = Some(now);
    }

    pub(super) fn len(&self) -> usize {
        self.members.len()
    }

    pub(super) fn has_members(&self) -> bool {
        !self.members.is_empty()
    }

    pub(super) fn has(&self, id: &str) -> bool {
        self.members.contains_key(id)
    }

    pub(super) fn member(&self, id: &str) -> Option<&Member> {
        self.members.get(id).map(|member| &**member)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().map(|member| &**member)
    }

    pub(super) fn ids(&self) -> Vec<MemberId> {
        self.members.keys().cloned().collect()
    }

    pub(super) fn is_leader(&self, id: &str) -> bool {
        self.leader.as_deref() == Some(id)
    }

    /// The member that has this `group.instance.id` now.
    pub(super) fn static_member(&self, instance: &str) -> Option<&MemberId> {
        self.statics.get(instance)
    }

    pub(super) fn awaiting_join(&self) -> usize {
        self.awaiting_join
    }

    /// Bytes that members brought.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// All that are known have asked to join, and nobody is expected.
    pub(super) fn all_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending_join.is_empty()
    }

    /// The longest that any member may take.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    pub(super) fn is_of_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(subscription::CONSUMER)
    }

    /// Can somebody with these protocols be a member?
    pub(super) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.is(State::Empty) {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|protocol| self.by_all(&protocol.name))
    }

    fn by_all(&self, protocol: &str) -> bool {
        self.supported.get(protocol).copied().unwrap_or(0) == self.members.len()
    }

    /// Is this one a member, and the only one of its name?
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID
    pub(super) fn validate_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(current) if **current != *id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.has(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    pub(super) fn add(&mut self, member: Member, protocol_type: &str) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.to_owned());
        }
        self.leader.get_or_insert_with(|| MemberId::clone(&member.id));
        if let Some(instance) = &member.instance {
            self.statics.insert(Arc::clone(instance), MemberId::clone(&member.id));
        }
        self.pending_join.remove(&member.id);
        self.count(&member.protocols);
        self.awaiting_join += usize::from(member.awaiting_join.is_some());
        self.members.insert(MemberId::clone(&member.id), Box::new(member));
    }

    /// Takes a member, or an id that was given out, away.
    pub(super) fn remove(&mut self, id: &str) -> Option<Member> {
        self.pending_join.remove(id);
        self.pending_sync.remove(id);
        let member = self.members.remove(id)?;
        self.discount(&member.protocols);
        self.awaiting_join -= usize::from(member.awaiting_join.is_some());
        if let Some(instance) = &member.instance
            && self.statics.get(instance) == Some(&member.id)
        {
            self.statics.remove(instance);
        }
        if self.is_leader(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(*member)
    }

    /// Takes in what a member says now. Who waited for its former request is returned.
    pub(super) fn update(&mut self, id: &str, joining: Joining, reply: Option<ReplyTo>) -> Option<ReplyTo> {
        let member = self.members.get_mut(id)?;
        let former = std::mem::replace(&mut member.protocols, joining.protocols);
        member.rebalance_timeout = joining.rebalance_timeout;
        member.session_timeout = joining.session_timeout;
        let protocols = member.protocols.clone();
        let waited = std::mem::replace(&mut member.awaiting_join, reply);
        self.awaiting_join += usize::from(reply.is_some());
        self.awaiting_join -= usize::from(waited.is_some());
        self.discount(&former);
        self.count(&protocols);
        waited
    }

    /// Gives a static member's place to its new id. Returns the member as it is now and who waited for its former one.
    pub(super) fn replace_static(&mut self, from: &str, to: MemberId) -> Option<(Option<ReplyTo>, Option<ReplyTo>)> {
        let mut member = self.members.remove(from)?;
        let waited = (member.awaiting_join.take(), member.awaiting_sync.take());
        self.awaiting_join -= usize::from(waited.0.is_some());
        if self.is_leader(from) {
            self.leader = Some(MemberId::clone(&to));
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(Arc::clone(instance), MemberId::clone(&to));
        }
        if self.pending_sync.remove(from) {
            self.pending_sync.insert(MemberId::clone(&to));
        }
        member.id = MemberId::clone(&to);
        self.members.insert(to, member);
        Some(waited)
    }

    /// Whoever waits for this member's JoinGroup waits no more.
    pub(super) fn take_awaiting_join(&mut self, id: &str) -> Option<ReplyTo> {
        let waited = self.members.get_mut(id)?.awaiting_join.take()?;
        self.awaiting_join -= 1;
        Some(waited)
    }

    /// Whoever waits for this member's SyncGroup waits no more.
    pub(super) fn take_awaiting_sync(&mut self, id: &str) -> Option<ReplyTo> {
        self.members.get_mut(id)?.awaiting_sync.take()
    }

    /// A SyncGroup waits; who waited for an earlier one is returned.
    pub(super) fn await_sync(&mut self, id: &str, reply: ReplyTo) -> Option<ReplyTo> {
        self.members.get_mut(id)?.awaiting_sync.replace(reply)
    }

    pub(super) fn set_assignment(&mut self, id: &str, assignment: Bytes) {
        if let Some(member) = self.members.get_mut(id) {
            member.assignment = assignment;
        }
    }

    pub(super) fn is_in_a_generation(&mut self, id: &str) {
        if let Some(member) = self.members.get_mut(id) {
            member.is_new = false;
        }
    }

    /// The leader has joined again, or somebody who has takes its place. False if nobody has joined.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let Some(leader) = self.leader.as_deref().and_then(|id| self.members.get(id)) else { return false };
        if leader.awaiting_join.is_some() {
            return true;
        }
        let joined = self.members.values().find(|member| member.awaiting_join.is_some());
        let Some(joined) = joined.map(|member| MemberId::clone(&member.id)) else { return false };
        self.leader = Some(joined);
        true
    }

    /// The protocol that all can take part in and most prefer; of equals the first by name.
    pub(super) fn select_protocol(&self) -> Option<String> {
        let mut votes: BTreeMap<&str, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(vote) = member.protocols.iter().find(|protocol| self.by_all(&protocol.name)) {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.to_owned())
    }

    /// The joined members become a generation: the leader is to assign. Without members the group is empty.
    pub(super) fn begin_generation(&mut self, now: Wall) {
        self.generation += 1;
        self.pending_sync.clear();
        let next = if self.has_members() { State::CompletingRebalance } else { State::Empty };
        self.protocol_name = self.select_protocol();
        self.subscribed = self.read_subscriptions();
        self.transition_to(next, now);
    }

    /// What members say to the protocol chosen, for the leader.
    pub(super) fn current_members(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol_name.as_deref().unwrap_or_default();
        let of = |member: &Member| JoinGroupResponseMember {
            member_id: (&*member.id).into(),
            group_instance_id: member.instance.as_deref().map(Into::into),
            metadata: member.metadata(protocol),
        };
        self.members().map(of).collect()
    }

    /// Does a member read this topic? Consumers that can't be understood may read anything.
    pub(super) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.subscribed.as_ref().map_or(self.is_of_consumers(), |topics| topics.contains(topic))
    }

    pub(super) fn knows_subscriptions(&self) -> bool {
        self.subscribed.is_some()
    }

    fn read_subscriptions(&self) -> Option<BTreeSet<String>> {
        self.protocol_type.as_ref()?;
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol_name.as_deref().filter(|_| self.is_of_consumers())?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            topics.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(topics)
    }

    /// What a record says: a finished generation, or an empty group.
    pub(super) fn load(&mut self, members: Vec<Member>, protocol_type: &str) {
        for member in members {
            self.add(member, protocol_type);
        }
        self.state = if self.has_members() { State::Stable } else { State::Empty };
        self.before = self.state;
        self.subscribed = self.read_subscriptions();
    }

    fn count(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            *self.supported.entry(protocol.name.clone()).or_default() += 1;
            self.size += protocol.name.len() + protocol.metadata.len();
        }
    }

    fn discount(&mut self, protocols: &[Protocol]) {
        for protocol in protocols {
            self.size -= protocol.name.len() + protocol.metadata.len();
            if let Some(count) = self.supported.get_mut(&protocol.name) {
                *count -= 1;
                if *count == 0 {
                    self.supported.remove(&protocol.name);
                }
            }
        }
    }
}
