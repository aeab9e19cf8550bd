//! Who talks to the broker, and tells the invariants what they saw.

pub(super) mod admin;
pub(super) mod consumer;
pub(super) mod member;
pub(super) mod producer;

use admin::Admin;
use consumer::Consumer;
use member::{Member, Positions};
use producer::Producer;

use super::Halt;
use super::chance::{Chance, VirtualClock};
use super::invariants::{Event, Outcome, Violation};
use super::node::Node;
use super::story::Story;
use crate::model::topic::TopicIdPartition;

/// What a client works with for one step.
pub(super) struct Turn<'a> {
    pub(super) node: &'a mut Node,
    pub(super) chance: &'a mut Chance,
    pub(super) clock: &'a VirtualClock,
    pub(super) story: &'a mut Story,
}

/// All of them.
pub(super) struct Clients {
    pub(super) producers: Vec<Producer>,
    pub(super) members: Vec<Member>,
    pub(super) positions: Positions,
    pub(super) consumer: Consumer,
    pub(super) admin: Admin,
}

impl Clients {
    pub(super) fn new(are_idempotent: bool) -> Self {
        Self {
            producers: (0..3).map(|number| Producer::new(number, are_idempotent)).collect(),
            members: (0..3).map(|_| Member::new()).collect(),
            positions: Positions::default(),
            consumer: Consumer::default(),
            admin: Admin::default(),
        }
    }

    /// Somebody writes to one of the partitions that clients may write to.
    pub(super) fn produce(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let places = places(turn.node);
        let at = turn.chance.below(3);
        match (self.producers.get_mut(usize::try_from(at).unwrap()), turn.chance.pick(&places)) {
            (Some(producer), Some(place)) => producer.write(turn, *place),
            _ => Ok(()),
        }
    }

    pub(super) fn consume(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let places = places(turn.node);
        match turn.chance.pick(&places) {
            Some(place) => self.consumer.poll(turn, *place),
            None => Ok(()),
        }
    }

    pub(super) fn take_part(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let at = turn.chance.below(3);
        match self.members.get_mut(usize::try_from(at).unwrap()) {
            Some(member) => member.act(turn, &mut self.positions),
            None => Ok(()),
        }
    }

    /// Takes in what was answered.
    pub(super) fn hear(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        self.producers.iter_mut().try_for_each(|producer| producer.go_on(turn))?;
        self.positions.hear(turn)?;
        self.admin.hear(turn)
    }

    /// The broker is gone: what was not answered may have been done.
    pub(super) fn disconnected(&mut self, story: &mut Story) -> Result<(), Violation> {
        self.producers.iter_mut().for_each(Producer::disconnected);
        self.members.iter_mut().for_each(Member::disconnected);
        for number in self.positions.disconnected() {
            story.tell(&Event::CommitEnded { number, outcome: Outcome::Unknown })?;
        }
        for subject in self.admin.disconnected() {
            story.tell(&Event::ChangeEnded { subject: &subject, outcome: Outcome::Unknown })?;
        }
        Ok(())
    }

    pub(super) fn unanswered(&self) -> usize {
        self.producers.iter().map(Producer::unanswered).sum()
    }
}

/// Partitions that are not the broker's own.
pub(super) fn places(node: &Node) -> Vec<TopicIdPartition> {
    let hosted = node.hosted();
    hosted.iter().filter(|partition| !partition.name().topic.is_internal()).map(|partition| partition.id()).collect()
}
