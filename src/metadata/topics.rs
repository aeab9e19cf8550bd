//! Topics and their partitions.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::image::InvalidRecord;
use crate::model::broker::BrokerId;
use crate::model::topic::{TopicId, TopicName};
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::{
    ClearElrRecord, PartitionChangeRecord, PartitionRecord, RemoveTopicRecord, TopicRecord,
};

/// `PartitionChangeRecord.leader` where the leader stays as it is.
pub const NO_LEADER_CHANGE: i32 = -2;

/// Log directory ids with a meaning of their own (Kafka's `DirectoryId`).
pub mod directory_id {
    use super::Uuid;

    /// A replica from before directories had ids.
    pub const MIGRATING: Uuid = Uuid::ZERO;
    /// A new replica of a broker with several directories, until the broker says where it put it.
    pub const UNASSIGNED: Uuid = Uuid::ONE;
    /// A directory that failed and whose id is not known any more.
    pub const LOST: Uuid = Uuid::TWO;

    /// Ids below 100 are Kafka's own.
    pub fn is_reserved(id: Uuid) -> bool {
        u128::from_be_bytes(*id.as_bytes()) < 100
    }
}

/// Kafka's `LeaderRecoveryState` (KIP-704): RECOVERING after an unclean election.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaderRecoveryState {
    Recovered = 0,
    Recovering = 1,
}

impl LeaderRecoveryState {
    /// `PartitionChangeRecord.leaderRecoveryState` where it stays as it is.
    pub const NO_CHANGE: i8 = -1;

    pub const fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }

    pub const fn code(self) -> i8 {
        self as i8
    }
}

/// Kafka's `PartitionRegistration`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PartitionImage {
    pub replicas: Vec<BrokerId>,
    /// One for each replica, in their order.
    pub directories: Vec<Uuid>,
    pub isr: Vec<BrokerId>,
    pub removing_replicas: Vec<BrokerId>,
    pub adding_replicas: Vec<BrokerId>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<BrokerId>,
    pub last_known_elr: Vec<BrokerId>,
    /// [`BrokerId::NONE`] without one.
    pub leader: BrokerId,
    pub leader_recovery_state: LeaderRecoveryState,
    /// One more whenever a record sets the leader.
    pub leader_epoch: i32,
    /// One more with every record.
    pub partition_epoch: i32,
}

impl PartitionImage {
    pub fn has_leader(&self) -> bool {
        self.leader != BrokerId::NONE
    }

    /// The directory of `broker`'s replica; `None` if it has none.
    pub fn directory(&self, broker: BrokerId) -> Option<Uuid> {
        let at = self.replicas.iter().position(|replica| *replica == broker)?;
        self.directories.get(at).copied()
    }

    fn from_record(record: &PartitionRecord) -> Result<Self, InvalidRecord> {
        let replicas = ids(&record.replicas);
        Ok(Self {
            directories: directories(&record.directories, replicas.len())?,
            replicas,
            isr: ids(&record.isr),
            removing_replicas: ids(&record.removing_replicas),
            adding_replicas: ids(&record.adding_replicas),
            elr: record.eligible_leader_replicas.as_deref().map(ids).unwrap_or_default(),
            last_known_elr: record.last_known_elr.as_deref().map(ids).unwrap_or_default(),
            leader: BrokerId(record.leader),
            leader_recovery_state: recovery_state(record.leader_recovery_state)?,
            leader_epoch: record.leader_epoch,
            partition_epoch: record.partition_epoch,
        })
    }

    /// This partition after `record` (`PartitionRegistration.merge`).
    ///
    /// # Errors
    /// The record names as many directories as there are not replicas, or an unknown recovery state.
    pub fn changed_by(&self, record: &PartitionChangeRecord) -> Result<Self, InvalidRecord> {
        let set = |new: &Option<Vec<i32>>, old: &Vec<BrokerId>| new.as_deref().map_or_else(|| old.clone(), ids);
        let replicas = set(&record.replicas, &self.replicas);
        let directories = match &record.directories {
            Some(new) => directories(new, replicas.len())?,
            None if self.directories.len() == replicas.len() => self.directories.clone(),
            None => directories(&[], replicas.len())?,
        };
        let leader_changes = record.leader != NO_LEADER_CHANGE;
        let leader_recovery_state = match record.leader_recovery_state {
            LeaderRecoveryState::NO_CHANGE => self.leader_recovery_state,
            code => recovery_state(code)?,
        };
        Ok(Self {
            directories,
            isr: set(&record.isr, &self.isr),
            removing_replicas: set(&record.removing_replicas, &self.removing_replicas),
            adding_replicas: set(&record.adding_replicas, &self.adding_replicas),
            elr: set(&record.eligible_leader_replicas, &self.elr),
            last_known_elr: set(&record.last_known_elr, &self.last_known_elr),
            leader: if leader_changes { BrokerId(record.leader) } else { self.leader },
            leader_recovery_state,
            leader_epoch: self.leader_epoch.saturating_add(i32::from(leader_changes)),
            partition_epoch: self.partition_epoch.saturating_add(1),
            replicas,
        })
    }
}

/// A topic and its partitions by number.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicImage {
    pub name: TopicName,
    pub id: TopicId,
    partitions: RedBlackTreeMapSync<i32, Arc<PartitionImage>>,
}

impl TopicImage {
    pub fn partition(&self, index: i32) -> Option<&Arc<PartitionImage>> {
        self.partitions.get(&index)
    }

    /// In the order of their numbers.
    pub fn partitions(&self) -> impl Iterator<Item = (i32, &Arc<PartitionImage>)> {
        self.partitions.iter().map(|(index, partition)| (*index, partition))
    }

    pub fn partition_count(&self) -> usize {
        self.partitions.size()
    }
}

#[derive(Clone, PartialEq, Default, Debug)]
pub struct TopicsImage {
    by_id: HashTrieMapSync<TopicId, TopicImage>,
    ids: RedBlackTreeMapSync<TopicName, TopicId>,
    /// Names with a `.` or `_`, by the name they become in metrics, where both are `_`.
    collisions: HashTrieMapSync<String, RedBlackTreeSetSync<TopicName>>,
}

impl TopicsImage {
    pub fn by_id(&self, id: TopicId) -> Option<&TopicImage> {
        self.by_id.get(&id)
    }

    pub fn by_name(&self, name: &str) -> Option<&TopicImage> {
        self.by_id.get(self.ids.get(name)?)
    }

    pub fn id(&self, name: &str) -> Option<TopicId> {
        self.ids.get(name).copied()
    }

    pub fn partition(&self, id: TopicId, index: i32) -> Option<&Arc<PartitionImage>> {
        self.by_id(id)?.partition(index)
    }

    /// In the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &TopicImage> {
        self.ids.values().filter_map(|id| self.by_id.get(id))
    }

    pub fn len(&self) -> usize {
        self.ids.size()
    }

    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The first topic whose metrics would carry the same name (`Topic.hasCollision`).
    pub fn colliding(&self, name: &str) -> Option<&TopicName> {
        self.collisions.get(&unified(name)?)?.first()
    }

    pub(super) fn add(&mut self, record: &TopicRecord) -> Result<TopicId, InvalidRecord> {
        let (name, id) = (TopicName::from(&*record.name), TopicId(record.topic_id));
        if let Some(other) = self.ids.get(&name) {
            return Err(InvalidRecord::new(format!("topic {name} is there already, with id {other}")));
        }
        if let Some(other) = self.by_id.get(&id) {
            return Err(InvalidRecord::new(format!("topic id {id} is there already, named {}", other.name)));
        }
        if let Some(unified) = unified(name.as_str()) {
            let names = self.collisions.get(&unified).cloned().unwrap_or_default();
            self.collisions.insert_mut(unified, names.insert(name.clone()));
        }
        self.ids.insert_mut(name.clone(), id);
        self.by_id.insert_mut(id, TopicImage { name, id, partitions: RedBlackTreeMapSync::default() });
        Ok(id)
    }

    pub(super) fn add_partition(&mut self, record: &PartitionRecord) -> Result<TopicId, InvalidRecord> {
        let partition = PartitionImage::from_record(record)?;
        self.put(TopicId(record.topic_id), record.partition_id, partition)
    }

    pub(super) fn change_partition(&mut self, record: &PartitionChangeRecord) -> Result<TopicId, InvalidRecord> {
        let (id, index) = (TopicId(record.topic_id), record.partition_id);
        let Some(partition) = self.partition(id, index) else {
            return Err(InvalidRecord::new(format!("topic id {id} has no partition {index}")));
        };
        let changed = partition.changed_by(record)?;
        self.put(id, index, changed)
    }

    pub(super) fn remove(&mut self, record: &RemoveTopicRecord) -> Result<TopicImage, InvalidRecord> {
        let id = TopicId(record.topic_id);
        let Some(topic) = self.by_id.get(&id).cloned() else { return Err(no_topic(id)) };
        self.by_id.remove_mut(&id);
        self.ids.remove_mut(&topic.name);
        if let Some(unified) = unified(topic.name.as_str()) {
            let rest = self.collisions.get(&unified).map(|names| names.remove(&topic.name)).unwrap_or_default();
            if rest.is_empty() {
                self.collisions.remove_mut(&unified);
            } else {
                self.collisions.insert_mut(unified, rest);
            }
        }
        Ok(topic)
    }

    /// Forgets the eligible leader replicas of one topic, or of all where none is named; returns the topics it changed.
    pub(super) fn clear_elr(&mut self, record: &ClearElrRecord) -> Result<Vec<TopicId>, InvalidRecord> {
        let topics: Vec<TopicId> = if record.topic_name.is_empty() {
            self.ids.values().copied().collect()
        } else {
            let unknown = || InvalidRecord::new(format!("no topic is named {}", record.topic_name));
            vec![self.id(&record.topic_name).ok_or_else(unknown)?]
        };
        let mut changed = Vec::new();
        for id in topics {
            let Some(topic) = self.by_id(id) else { continue };
            let with_elr = |p: &PartitionImage| !p.elr.is_empty() || !p.last_known_elr.is_empty();
            let indexes: Vec<i32> = topic.partitions().filter(|(_, p)| with_elr(p)).map(|(index, _)| index).collect();
            for partition_id in indexes {
                let record = PartitionChangeRecord {
                    topic_id: id.0,
                    partition_id,
                    eligible_leader_replicas: Some(Vec::new()),
                    last_known_elr: Some(Vec::new()),
                    ..PartitionChangeRecord::default()
                };
                self.change_partition(&record)?;
                changed.push(id);
            }
        }
        changed.dedup();
        Ok(changed)
    }

    fn put(&mut self, id: TopicId, index: i32, partition: PartitionImage) -> Result<TopicId, InvalidRecord> {
        let Some(topic) = self.by_id.get_mut(&id) else { return Err(no_topic(id)) };
        topic.partitions.insert_mut(index, Arc::new(partition));
        Ok(id)
    }
}

fn no_topic(id: TopicId) -> InvalidRecord {
    InvalidRecord::new(format!("no topic has id {id}"))
}

/// `Topic.unifyCollisionChars`; `None` for a name that can't collide because it has neither character.
fn unified(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

fn ids(numbers: &[i32]) -> Vec<BrokerId> {
    numbers.iter().copied().map(BrokerId).collect()
}

/// A record from before directories had ids names none: each is then MIGRATING.
fn directories(named: &[Uuid], replicas: usize) -> Result<Vec<Uuid>, InvalidRecord> {
    if named.is_empty() {
        return Ok(vec![directory_id::MIGRATING; replicas]);
    }
    if named.len() != replicas {
        return Err(InvalidRecord::new(format!("{} directories for {replicas} replicas", named.len())));
    }
    Ok(named.to_vec())
}

fn recovery_state(code: i8) -> Result<LeaderRecoveryState, InvalidRecord> {
    LeaderRecoveryState::from_code(code).ok_or_else(|| InvalidRecord::new(format!("{code} is not a recovery state")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, id: u128) -> TopicRecord {
        TopicRecord { name: name.into(), topic_id: Uuid::from_u128(id) }
    }

    #[test]
    fn names_that_differ_in_dots_collide() {
        let mut topics = TopicsImage::default();
        topics.add(&topic("a.b", 200)).unwrap();
        topics.add(&topic("plain", 201)).unwrap();
        assert_eq!(topics.colliding("a_b").map(TopicName::as_str), Some("a.b"));
        assert_eq!(topics.colliding("a.b.c"), None);
        assert_eq!(topics.colliding("plain"), None);
        topics.remove(&RemoveTopicRecord { topic_id: Uuid::from_u128(200) }).unwrap();
        assert_eq!(topics.colliding("a_b"), None);
    }

    #[test]
    fn epochs_rise_as_kafka_counts_them() {
        let before = PartitionImage::from_record(&PartitionRecord {
            replicas: vec![1],
            isr: vec![1],
            leader: 1,
            leader_epoch: 0,
            partition_epoch: 0,
            ..PartitionRecord::default()
        })
        .unwrap();
        assert_eq!(before.directories, [directory_id::MIGRATING]);
        let moved = PartitionChangeRecord { directories: Some(vec![Uuid::from_u128(500)]), ..Default::default() };
        let moved = before.changed_by(&moved).unwrap();
        assert_eq!((moved.leader_epoch, moved.partition_epoch), (0, 1));
        let stopped = moved.changed_by(&PartitionChangeRecord { leader: -1, ..Default::default() }).unwrap();
        assert_eq!((stopped.leader_epoch, stopped.partition_epoch, stopped.has_leader()), (1, 2, false));
        let led = stopped.changed_by(&PartitionChangeRecord { leader: 1, ..Default::default() }).unwrap();
        assert_eq!((led.leader_epoch, led.partition_epoch, led.leader), (2, 3, BrokerId(1)));
        assert!(led.changed_by(&PartitionChangeRecord { leader_recovery_state: 7, ..Default::default() }).is_err());
    }
}
