//! What the metadata says about a partition: who leads it, since when, and who is in sync.

use crate::model::broker::BrokerId;

/// The facts of a `PartitionRecord`, as far as the replica needs them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    pub leader: BrokerId,
    pub leader_epoch: i32,
    pub partition_epoch: i32,
    pub replicas: Vec<BrokerId>,
    pub isr: Vec<BrokerId>,
}
