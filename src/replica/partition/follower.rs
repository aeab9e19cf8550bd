//! A replica that copies from the leader.

use crate::model::broker::BrokerId;

use super::assignment::Assignment;

/// Follows `leader` in `epoch`. What it fetches and appends belongs to the fetcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Follower {
    pub leader: BrokerId,
    pub epoch: i32,
}

impl Follower {
    pub fn new(assignment: &Assignment) -> Self {
        Self { leader: assignment.leader, epoch: assignment.leader_epoch }
    }
}
