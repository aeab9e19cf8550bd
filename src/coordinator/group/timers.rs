//! Deadlines of groups and members: one each, moved or taken away as the group moves on.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use crate::model::time::Mono;

use super::member::MemberId;
use super::request::GroupId;

/// What is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Timer {
    /// A member was not heard of in time, or did not come back with the id it was given.
    Session(MemberId),
    /// The first rebalance of an empty group waits for more members: `delay` was waited for, `remaining` may still be.
    InitialDelay { delay: Duration, remaining: Duration },
    /// Members had time to join.
    Join,
    /// Members of this generation had time to ask for their assignment.
    Sync { generation: i32 },
}

/// What a group has one deadline for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Slot {
    Session(MemberId),
    Join,
    Sync,
}

impl Timer {
    fn slot(&self) -> Slot {
        match self {
            Self::Session(member) => Slot::Session(member.clone()),
            Self::InitialDelay { .. } | Self::Join => Slot::Join,
            Self::Sync { .. } => Slot::Sync,
        }
    }
}

/// As many as there are groups and members.
#[derive(Debug, Default)]
pub(super) struct Timers {
    due: BTreeMap<(Mono, u64), (GroupId, Timer)>,
    armed: HashMap<(GroupId, Slot), (Mono, u64)>,
    count: u64,
}

impl Timers {
    /// Sets a deadline, in place of an earlier one for the same thing.
    pub(super) fn set(&mut self, group: &GroupId, timer: Timer, at: Mono) {
        let slot = timer.slot();
        self.cancel(group, &slot);
        self.count += 1;
        let place = (at, self.count);
        self.armed.insert((GroupId::clone(group), slot), place);
        self.due.insert(place, (GroupId::clone(group), timer));
    }

    pub(super) fn is_set(&self, group: &GroupId, slot: &Slot) -> bool {
        self.armed.contains_key(&(GroupId::clone(group), slot.clone()))
    }

    pub(super) fn cancel(&mut self, group: &GroupId, slot: &Slot) {
        if let Some(place) = self.armed.remove(&(GroupId::clone(group), slot.clone())) {
            self.due.remove(&place);
        }
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Option<Mono> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the earliest deadline, if it is over.
    pub(super) fn pop(&mut self, now: Mono) -> Option<(GroupId, Timer)> {
        if self.next()? > now {
            return None;
        }
        let (_, (group, timer)) = self.due.pop_first()?;
        self.armed.remove(&(GroupId::clone(&group), timer.slot()));
        Some((group, timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_deadline_a_thing_and_the_earliest_first() {
        let (a, b) = (GroupId::from("a"), GroupId::from("b"));
        let session = |id: &str| Timer::Session(MemberId::from(id));
        let mut timers = Timers::default();
        timers.set(&a, session("m"), Mono(5));
        timers.set(&b, session("m"), Mono(3));
        timers.set(&a, Timer::Join, Mono(9));
        timers.set(&a, session("m"), Mono(7));
        timers.set(&a, Timer::InitialDelay { delay: Duration::ZERO, remaining: Duration::ZERO }, Mono(4));
        timers.set(&b, Timer::Sync { generation: 1 }, Mono(1));
        timers.cancel(&b, &Slot::Sync);
        assert_eq!(timers.pop(Mono(2)), None);
        assert_eq!(timers.pop(Mono(3)), Some((b, session("m"))));
        assert_eq!(timers.next(), Some(Mono(4)));
        assert!(matches!(timers.pop(Mono(99)), Some((_, Timer::InitialDelay { .. }))));
        assert_eq!(timers.pop(Mono(99)), Some((a, session("m"))));
        assert_eq!(timers.pop(Mono(99)), None);
        assert!(timers.armed.is_empty());
    }
}
