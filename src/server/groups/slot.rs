//! One partition of `__consumer_offsets` as its driver sees it, and how it is written.

use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::sync::Arc;

use crate::coordinator::group::request::GroupRecord;
use crate::coordinator::group::{AppendId, Shard};
use crate::model::compression::CompressionType;
use crate::model::error_code::ErrorCode;
use crate::model::time::Wall;
use crate::model::topic::{TopicIdPartition, TopicName};
use crate::protocol::record_batch::BatchBuilder;
use crate::replica::access::AccessError;
use crate::replica::delayed_produce::ProduceWait;
use crate::replica::lane::command::Acks;
use crate::replica::manager::ReplicaManager;
use crate::replica::produce_error::ProduceError;
use crate::security::authorizer::permit::{Permit, Reason, Resource};

/// A partition that this broker leads, in one leader epoch.
#[derive(Debug)]
pub(super) enum Slot {
    Loading {
        leader_epoch: i32,
    },
    Serving {
        leader_epoch: i32,
        shard: Box<Shard>,
        pending: VecDeque<AppendId>,
        done: BTreeMap<AppendId, Outcome>,
    },
    /// Its log can't be read.
    Failed {
        leader_epoch: i32,
    },
}

pub(super) type Outcome = Result<(), ErrorCode>;

/// An append that came to its end.
#[derive(Debug)]
pub(super) struct Appended {
    pub(super) partition: i32,
    pub(super) leader_epoch: i32,
    pub(super) id: AppendId,
    pub(super) outcome: Outcome,
}

impl Slot {
    pub(super) fn serving(leader_epoch: i32, shard: Shard) -> Self {
        Self::Serving { leader_epoch, shard: Box::new(shard), pending: VecDeque::new(), done: BTreeMap::new() }
    }

    pub(super) fn leader_epoch(&self) -> i32 {
        match self {
            Self::Loading { leader_epoch } | Self::Serving { leader_epoch, .. } | Self::Failed { leader_epoch } => {
                *leader_epoch
            }
        }
    }

    pub(super) fn appending(&mut self, id: AppendId) {
        if let Self::Serving { pending, .. } = self {
            pending.push_back(id);
        }
    }

    /// What is settled now: this append, if all before it are, and those behind it that are done.
    pub(super) fn settle(&mut self, id: AppendId, outcome: Outcome) -> Vec<(AppendId, Outcome)> {
        let Self::Serving { pending, done, .. } = self else { return Vec::new() };
        done.insert(id, outcome);
        let mut settled = Vec::new();
        while let Some(first) = pending.front().copied()
            && let Some(outcome) = done.remove(&first)
        {
            pending.pop_front();
            settled.push((first, outcome));
        }
        settled
    }
}

/// Hands records to the partition's lane, now and as one batch. The future is done when all in-sync replicas have them.
///
/// A lane without room refuses at once: a coordinator that waited would write in another order than it decided.
pub(super) fn append(
    replicas: &Arc<ReplicaManager>,
    place: TopicIdPartition,
    records: &[GroupRecord],
    codec: CompressionType,
    now: Wall,
) -> impl Future<Output = Outcome> + use<> {
    let wait = enqueue(replicas, place, records, codec, now);
    async move {
        let wait = wait?;
        poll_fn(|context| wait.poll_done(context)).await;
        match wait.finish().pop() {
            Some(Ok(_)) => Ok(()),
            Some(Err(error)) => Err(error.code()),
            None => Err(ErrorCode::KafkaStorageError),
        }
    }
}

fn enqueue(
    replicas: &Arc<ReplicaManager>,
    place: TopicIdPartition,
    records: &[GroupRecord],
    codec: CompressionType,
    now: Wall,
) -> Result<ProduceWait, ErrorCode> {
    let partition = replicas.find(place).ok_or(ErrorCode::NotLeaderOrFollower)?;
    // What the runtime of Kafka's coordinator writes: no producer, and sequence 0.
    let mut batch = BatchBuilder::new(0).producer(-1, -1, 0).compression(codec);
    for record in records {
        batch
            .append(now.0, Some(&record.key), record.value.as_deref(), &[])
            .map_err(|_| ErrorCode::RecordListTooLarge)?;
    }
    let name = TopicName::from(TopicName::CONSUMER_OFFSETS);
    let resource = Resource::Topic { id: place.topic_id.0, name };
    let writer = replicas.writer(Permit::internal(Reason::GroupCoordinator, resource));
    let (wait, mut slots) = ProduceWait::new(1);
    let slot = slots.next().ok_or(ErrorCode::KafkaStorageError)?;
    match writer.append(&partition, batch.build(), Acks::All, true, now, slot) {
        Ok(_) => Ok(wait),
        Err(full) => {
            full.refuse(ProduceError::Access(AccessError::StorageFailed));
            Err(ErrorCode::NotEnoughReplicas)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_are_settled_in_their_order() {
        let mut slot = Slot::serving(3, Shard::new(Arc::default()));
        (1..=3).for_each(|id| slot.appending(AppendId(id)));
        assert!(slot.settle(AppendId(2), Ok(())).is_empty());
        let failed = Err(ErrorCode::NotLeaderOrFollower);
        assert_eq!(slot.settle(AppendId(1), failed), [(AppendId(1), failed), (AppendId(2), Ok(()))]);
        assert_eq!(slot.settle(AppendId(3), Ok(())), [(AppendId(3), Ok(()))]);
    }
}
