//! A cleaner that takes one step at a time over the groups' topic.

use futures_util::FutureExt as _;

use super::node::Node;
use crate::log::cleaner::offset_map::MapLimits;
use crate::log::cleaner::{CleanedSegment, Compaction};
use crate::model::topic::{TopicIdPartition, TopicName};

/// Keys of a round: more than a run has.
const LIMITS: MapLimits = MapLimits { slots: 1_000, load_per_mille: 900 };

/// A round, and where it stands.
pub(super) struct Round {
    partition: TopicIdPartition,
    compaction: Compaction,
    written: Option<CleanedSegment>,
}

impl Node {
    /// Begins a round, writes its next segment, has that put in place, or ends the round.
    pub(super) fn clean(&mut self) -> Option<String> {
        let Some(mut round) = self.round.take() else {
            self.round = self.begin_round();
            return self.round.is_some().then(|| "a round of compaction begins".to_owned());
        };
        let partition = round.partition;
        if let Some(written) = round.written.take() {
            let placed = self.replicas.put_in_place(partition, written);
            self.drain_lanes();
            // Otherwise the log has changed under the round, which ends.
            self.round = matches!(placed.now_or_never(), Some(Ok(true))).then_some(round);
            return None;
        }
        match round.compaction.next(LIMITS, &mut |_| true) {
            Ok(Some(written)) => {
                round.written = Some(written);
                self.round = Some(round);
                None
            }
            Ok(None) => {
                let first_dirty = round.compaction.first_dirty_after();
                self.logs.compacted(partition, first_dirty);
                Some(format!("compacted up to {first_dirty}"))
            }
            Err(error) => Some(format!("a round of compaction ends: {error}")),
        }
    }

    fn begin_round(&mut self) -> Option<Round> {
        let of_groups = |name: &TopicName| name.as_str() == TopicName::CONSUMER_OFFSETS;
        for partition in self.hosted().iter().filter(|partition| of_groups(&partition.name().topic)) {
            let id = partition.id();
            let begun = self.replicas.begin_compaction(id, self.logs.first_dirty(&id));
            self.drain_lanes();
            if let Some(Ok(Some(compaction))) = begun.now_or_never() {
                return Some(Round { partition: id, compaction, written: None });
            }
        }
        None
    }
}
