//! How far a group came: one position a partition, with those that are written but not committed yet.

use std::collections::{BTreeMap, VecDeque};

use crate::model::uuid::Uuid;

use super::request::AppendId;

/// A committed position (`OffsetAndMetadata`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) offset: i64,
    /// -1 if it is not known.
    pub(super) leader_epoch: i32,
    pub(super) metadata: String,
    /// Milliseconds since 1970.
    pub(super) commit_timestamp: i64,
    /// When clients of an old time wanted it forgotten.
    pub(super) expire_timestamp: Option<i64>,
    /// Zero if the client named the topic only by its name.
    pub(super) topic_id: Uuid,
}

/// A topic's name and a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PartitionKey {
    pub(super) topic: String,
    pub(super) partition: i32,
}

#[derive(Debug, Default)]
struct Slot {
    committed: Option<Position>,
    /// In the order of their appends; `None` takes the position away.
    pending: VecDeque<(AppendId, Option<Position>)>,
}

/// All positions of a group.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    /// Boxed: a group that reads one partition has not to keep room for eleven.
    topics: BTreeMap<String, BTreeMap<i32, Box<Slot>>>,
}

impl Offsets {
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Partitions that there is something of.
    pub(super) fn len(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }

    /// What is committed.
    pub(super) fn get(&self, topic: &str, partition: i32) -> Option<&Position> {
        self.topics.get(topic)?.get(&partition)?.committed.as_ref()
    }

    /// Is there a position, committed or on its way?
    pub(super) fn has(&self, topic: &str, partition: i32) -> bool {
        let slot = self.topics.get(topic).and_then(|partitions| partitions.get(&partition));
        slot.is_some_and(|slot| match slot.pending.back() {
            Some((_, latest)) => latest.is_some(),
            None => slot.committed.is_some(),
        })
    }

    /// All that is committed, by topic.
    pub(super) fn committed(&self) -> impl Iterator<Item = (&str, Vec<(i32, &Position)>)> {
        self.topics.iter().filter_map(|(topic, partitions)| {
            let committed: Vec<_> = partitions
                .iter()
                .filter_map(|(partition, slot)| Some((*partition, slot.committed.as_ref()?)))
                .collect();
            (!committed.is_empty()).then_some((topic.as_str(), committed))
        })
    }

    /// Every partition that there is something of.
    pub(super) fn keys(&self) -> Vec<PartitionKey> {
        let of = |(topic, partitions): (&String, &BTreeMap<i32, Box<Slot>>)| {
            let topic = topic.clone();
            let keys =
                partitions.keys().map(move |partition| PartitionKey { topic: topic.clone(), partition: *partition });
            keys.collect::<Vec<_>>()
        };
        self.topics.iter().flat_map(of).collect()
    }

    /// The partitions of one topic that there is something of.
    pub(super) fn keys_of(&self, topic: &str) -> Vec<PartitionKey> {
        let partitions = self.topics.get(topic).into_iter().flat_map(BTreeMap::keys);
        partitions.map(|partition| PartitionKey { topic: topic.to_owned(), partition: *partition }).collect()
    }

    /// Sets a position from the log.
    pub(super) fn load(&mut self, key: PartitionKey, position: Option<Position>) {
        let slot = self.topics.entry(key.topic.clone()).or_default().entry(key.partition).or_default();
        slot.committed = position;
        self.tidy(&key);
    }

    /// A position is being written.
    pub(super) fn write(&mut self, key: &PartitionKey, append: AppendId, position: Option<Position>) {
        let partitions = self.topics.entry(key.topic.clone()).or_default();
        partitions.entry(key.partition).or_default().pending.push_back((append, position));
    }

    /// The append is committed, with all before it.
    pub(super) fn commit(&mut self, key: &PartitionKey, append: AppendId) {
        if let Some(slot) = self.slot(key) {
            while let Some((_, position)) = slot.pending.pop_front_if(|(id, _)| *id <= append) {
                slot.committed = position;
            }
        }
        self.tidy(key);
    }

    /// The append failed: nothing of it is left.
    pub(super) fn revert(&mut self, key: &PartitionKey, append: AppendId) {
        if let Some(slot) = self.slot(key) {
            slot.pending.retain(|(id, _)| *id != append);
        }
        self.tidy(key);
    }

    fn slot(&mut self, key: &PartitionKey) -> Option<&mut Slot> {
        self.topics.get_mut(&key.topic)?.get_mut(&key.partition).map(|slot| &mut **slot)
    }

    /// Forgets what holds nothing.
    fn tidy(&mut self, key: &PartitionKey) {
        if let Some(partitions) = self.topics.get_mut(&key.topic) {
            partitions.retain(|partition, slot| {
                *partition != key.partition || slot.committed.is_some() || !slot.pending.is_empty()
            });
            if partitions.is_empty() {
                self.topics.remove(&key.topic);
            }
        }
    }
}
