//! Asks to lead. Its own vote is the first and, alone, the majority; it counts once it is on disk.

use super::election_state::ElectionState;
use super::leader::Leader;
use super::{Action, Config, Role, Transition};

#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) epoch: i32,
    pub(super) log_end: i64,
}

impl Candidate {
    pub(super) fn vote(&self, config: &Config) -> Action {
        Action::WriteElectionState(ElectionState {
            leader_epoch: self.epoch,
            voted_id: config.node_id,
            voted_directory_id: config.directory_id,
            ..ElectionState::unknown(config)
        })
    }

    pub(super) fn voted(self, config: &Config) -> Transition {
        let won =
            ElectionState { leader_id: config.node_id, leader_epoch: self.epoch, ..ElectionState::unknown(config) };
        let leader = Leader::new(self.epoch, self.log_end);
        (Role::Leader(leader), vec![Action::WriteElectionState(won)])
    }
}
