//! Leads an epoch: appends, and says what is committed.
//!
//! Precedent: Kafka's `LeaderState`. Unlike there, the leader's own part in the majority is what it has flushed, not what
//! it has written: in a quorum of one nothing else stands between an answer and a power cut.

use super::resigned::Resigned;
use super::{Action, Config, Role, Transition};

#[derive(Debug)]
pub(super) struct Leader {
    pub(super) epoch: i32,
    /// Where this epoch begins: the offset of its LeaderChange.
    epoch_start: i64,
    high_watermark: Option<i64>,
}

impl Leader {
    pub(super) fn new(epoch: i32, epoch_start: i64) -> Self {
        Self { epoch, epoch_start, high_watermark: None }
    }

    pub(super) fn high_watermark(&self) -> Option<i64> {
        self.high_watermark
    }

    /// Only what is committed in its own epoch makes a leader sure of everything before (Raft, section 5.4.2).
    pub(super) fn is_active(&self) -> bool {
        self.high_watermark.is_some()
    }

    pub(super) fn elected(self, config: &Config) -> Transition {
        let change =
            Action::AppendLeaderChange { epoch: self.epoch, leader_id: config.node_id, voters: config.voters.clone() };
        (Role::Leader(self), vec![change])
    }

    pub(super) fn flushed(mut self, log_end: i64) -> Transition {
        let mut actions = Vec::new();
        if log_end > self.epoch_start && self.high_watermark.is_none_or(|watermark| log_end > watermark) {
            actions.push(Action::AdvanceHighWatermark(log_end));
            if self.high_watermark.is_none() {
                actions.push(Action::Lead { epoch: self.epoch });
            }
            self.high_watermark = Some(log_end);
        }
        (Role::Leader(self), actions)
    }

    /// The file keeps saying who led: the next start raises the epoch whatever it says.
    pub(super) fn resign(self) -> Transition {
        (Role::Resigned(Resigned { epoch: self.epoch }), Vec::new())
    }
}
