//! Knows an epoch and no leader: how every node starts.

use super::candidate::Candidate;
use super::{Config, Role, Transition};

#[derive(Debug)]
pub(super) struct Unattached {
    pub(super) epoch: i32,
}

impl Unattached {
    /// Nobody else could lead, so no election timeout is waited for. The log can be ahead of the file, which may be lost
    /// or older than a batch that was written since.
    pub(super) fn started(self, config: &Config, last_epoch: i32, log_end: i64) -> Transition {
        let candidate = Candidate { epoch: self.epoch.max(last_epoch).saturating_add(1), log_end };
        let vote = candidate.vote(config);
        (Role::Candidate(candidate), vec![vote])
    }
}
