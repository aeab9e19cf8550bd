//! Forgetting: positions that nobody renewed, groups that hold nothing, topics that are gone, groups that are deleted.

use crate::model::error_code::ErrorCode;

use super::classic::{Group, State};
use super::offsets::{PartitionKey, Position};
use super::records;
use super::request::{Action, GroupId, GroupResponse, ReplyTo};
use super::shard::{Context, Effect, Shard};

impl Shard {
    /// Takes away what `offsets.retention.minutes` is over for, and groups without members and positions. To be called
    /// every `offsets.retention.check.interval.ms`.
    pub fn expire(&mut self, cx: &mut Context<'_>) -> Vec<Action> {
        let retention = i64::try_from(self.settings().offsets_retention.as_millis()).unwrap_or(i64::MAX);
        for id in self.group_ids() {
            let Some(mut turn) = self.turn(cx, &id) else { continue };
            let now = turn.cx.wall.0;
            let over: Vec<PartitionKey> = expired(turn.group, now, retention);
            if over.len() == turn.group.offsets.len() && holds_nobody(turn.group) {
                self.delete_with(&id, over, None);
            } else if !over.is_empty() {
                turn.write_offsets(over.into_iter().map(|key| (key, None)).collect(), None);
            }
        }
        self.take_actions()
    }

    /// Takes the positions in topics away that no longer exist.
    pub fn forget_topics(&mut self, cx: &mut Context<'_>, exists: impl Fn(&str) -> bool) -> Vec<Action> {
        for id in self.group_ids() {
            let Some(mut turn) = self.turn(cx, &id) else { continue };
            let gone: Vec<_> = turn
                .group
                .offsets
                .committed()
                .filter(|(topic, _)| !exists(topic))
                .map(|(topic, _)| topic.to_owned())
                .collect();
            let gone: Vec<_> = gone.iter().flat_map(|topic| turn.group.offsets.keys_of(topic)).collect();
            if !gone.is_empty() {
                turn.write_offsets(gone.into_iter().map(|key| (key, None)).collect(), None);
            }
        }
        self.take_actions()
    }

    /// DeleteGroups, of one.
    pub(super) fn delete(&mut self, _cx: &mut Context<'_>, to: ReplyTo, id: &str) {
        let verdict = match self.group_mut(id) {
            None => Err(ErrorCode::GroupIdNotFound),
            Some(group) if !group.is(State::Empty) => Err(ErrorCode::NonEmptyGroup),
            Some(group) => Ok(group.offsets.keys()),
        };
        match verdict {
            Ok(keys) => self.delete_with(&id.into(), keys, Some(to)),
            Err(error) => self.writes().answer(to, GroupResponse::Code(error)),
        }
    }

    /// Tombstones for positions and group, in one batch.
    fn delete_with(&mut self, id: &GroupId, keys: Vec<PartitionKey>, answer: Option<ReplyTo>) {
        let mut written: Vec<_> = keys.iter().map(|key| records::offset(id, key, None)).collect();
        written.push(records::group_tombstone(id));
        let effect = Effect::Deleted { group: GroupId::clone(id), keys: keys.clone(), answer };
        let append = self.writes().append(written, effect);
        if let Some(group) = self.group_mut(id) {
            keys.iter().for_each(|key| group.offsets.write(key, append, None));
        }
    }
}

/// Without members, and without anybody who was given an id and may come.
fn holds_nobody(group: &Group) -> bool {
    group.is(State::Empty) && group.pending_join.is_empty()
}

/// `ClassicGroup.offsetExpirationCondition`: an empty group's positions age from when it became empty, those of consumers
/// that read other topics now and those of simple consumers from their commit.
fn expired(group: &Group, now: i64, retention: i64) -> Vec<PartitionKey> {
    let since: Box<dyn Fn(&Position) -> i64> = match (&group.protocol_type, group.state) {
        (Some(_), State::Empty) => {
            let since = group.since.map(|since| since.0);
            Box::new(move |position| since.unwrap_or(position.commit_timestamp))
        }
        (Some(_), State::Stable) if group.is_of_consumers() && group.knows_subscriptions() => {
            Box::new(|position| position.commit_timestamp)
        }
        (Some(_), _) => return Vec::new(),
        (None, _) => Box::new(|position| position.commit_timestamp),
    };
    let is_over = |position: &Position| match position.expire_timestamp {
        Some(at) => now >= at,
        None => now.saturating_sub(since(position)) >= retention,
    };
    let mut over = Vec::new();
    for (topic, positions) in group.offsets.committed().filter(|(topic, _)| !group.is_subscribed_to(topic)) {
        let of_topic = positions.iter().filter(|(_, position)| is_over(position));
        over.extend(of_topic.map(|(partition, _)| PartitionKey { topic: topic.to_owned(), partition: *partition }));
    }
    over
}
