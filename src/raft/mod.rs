//! KRaft's quorum: who leads the metadata log, in which epoch, and up to where it is committed.
//!
//! A [`Quorum`] takes events and returns actions; whoever owns the log carries them out and reports back. A role consumes
//! itself and returns the next:
//!
//! ```text
//! Unattached --start--> Candidate --own vote on disk--> Leader --resign--> Resigned
//! ```
//!
//! One voter, itself, is all this quorum knows: requests to and from other nodes, followers and observers are absent,
//! and a configuration that names others is refused. What holds for one holds for many: a vote counts only when it is
//! on disk, and the high watermark moves only over what a majority has flushed.
//!
//! Precedent: `KafkaRaftClient` and `QuorumState` (KIP-595, KIP-853). Must not know the log, the disk, or what records
//! mean.

mod candidate;
mod election_state;
mod leader;
mod resigned;
mod unattached;

pub use election_state::{ElectionState, ElectionStateError, FILE_NAME};

use candidate::Candidate;
use leader::Leader;
use resigned::Resigned;
use unattached::Unattached;

use crate::model::time::Mono;
use crate::model::uuid::Uuid;

/// Who takes part.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `node.id`
    pub node_id: i32,
    /// Of the directory that holds the metadata log; part of a vote from kraft.version 1 on.
    pub directory_id: Uuid,
    /// Ids of the voters.
    pub voters: Vec<i32>,
    /// Finalized `kraft.version`.
    pub kraft_version: i16,
}

/// This node can't take part in the quorum that its configuration describes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    #[error("node {node_id} is not among the voters {voters:?} of the metadata quorum")]
    NotAVoter { node_id: i32, voters: Vec<i32> },
    #[error("the metadata quorum has the voters {0:?}, but a quorum of more than one is not available yet")]
    MoreVoters(Vec<i32>),
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// The log was opened: the epoch of its last batch (0 if it has none) and its end.
    Started { last_epoch: i32, log_end: i64 },
    /// The state of the last [`Action::WriteElectionState`] is on disk.
    ElectionStateWritten,
    /// What was appended below `log_end` is on disk.
    Flushed { log_end: i64 },
    /// The node is about to stop.
    Resign,
}

/// What is to be done, in this order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// Replace the file `quorum-state`, durably; then report [`Event::ElectionStateWritten`].
    WriteElectionState(ElectionState),
    /// Append a LeaderChange control batch of this epoch, flush it and report [`Event::Flushed`].
    AppendLeaderChange { epoch: i32, leader_id: i32, voters: Vec<i32> },
    /// Everything below is committed.
    AdvanceHighWatermark(i64),
    /// The LeaderChange is committed: this node may append in this epoch from now on.
    Lead { epoch: i32 },
}

#[derive(Debug)]
enum Role {
    Unattached(Unattached),
    Candidate(Candidate),
    Leader(Leader),
    Resigned(Resigned),
}

/// The next role, and what is to be done on the way.
type Transition = (Role, Vec<Action>);

/// One node's part in the metadata quorum.
#[derive(Debug)]
pub struct Quorum {
    config: Config,
    role: Role,
    since: Mono,
}

impl Quorum {
    /// Starts with what `quorum-state` said, or [`ElectionState::default`] if there is no such file.
    ///
    /// # Errors
    /// The configuration names other voters.
    pub fn new(config: Config, persisted: &ElectionState, now: Mono) -> Result<Self, ConfigError> {
        if !config.voters.contains(&config.node_id) {
            return Err(ConfigError::NotAVoter { node_id: config.node_id, voters: config.voters });
        }
        if config.voters.len() > 1 {
            return Err(ConfigError::MoreVoters(config.voters));
        }
        let role = Role::Unattached(Unattached { epoch: persisted.leader_epoch });
        Ok(Self { config, role, since: now })
    }

    /// Takes in an event. An event that does not concern the role changes nothing.
    pub fn step(&mut self, now: Mono, event: Event) -> Vec<Action> {
        let before = std::mem::discriminant(&self.role);
        let role = std::mem::replace(&mut self.role, Role::Unattached(Unattached { epoch: 0 }));
        let (role, actions) = match (role, event) {
            (Role::Unattached(role), Event::Started { last_epoch, log_end }) => {
                role.started(&self.config, last_epoch, log_end)
            }
            (Role::Candidate(role), Event::ElectionStateWritten) => role.voted(&self.config),
            (Role::Leader(role), Event::ElectionStateWritten) => role.elected(&self.config),
            (Role::Leader(role), Event::Flushed { log_end }) => role.flushed(log_end),
            (Role::Leader(role), Event::Resign) => role.resign(),
            (role, _) => (role, Vec::new()),
        };
        if std::mem::discriminant(&role) != before {
            self.since = now;
        }
        self.role = role;
        actions
    }

    /// The epoch this node is in.
    pub fn epoch(&self) -> i32 {
        match &self.role {
            Role::Unattached(role) => role.epoch,
            Role::Candidate(role) => role.epoch,
            Role::Leader(role) => role.epoch,
            Role::Resigned(role) => role.epoch,
        }
    }

    /// `None` before anything is known to be committed in this epoch.
    pub fn high_watermark(&self) -> Option<i64> {
        match &self.role {
            Role::Leader(role) => role.high_watermark(),
            _ => None,
        }
    }

    /// May this node append?
    pub fn is_active(&self) -> bool {
        matches!(&self.role, Role::Leader(role) if role.is_active())
    }

    /// When it took its role.
    pub fn since(&self) -> Mono {
        self.since
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(voters: &[i32]) -> Config {
        Config { node_id: 1, directory_id: Uuid::from_u128(500), voters: voters.to_vec(), kraft_version: 0 }
    }

    fn quorum(epoch: i32) -> Quorum {
        let persisted = ElectionState { leader_epoch: epoch, ..ElectionState::default() };
        Quorum::new(config(&[1]), &persisted, Mono(0)).unwrap()
    }

    #[test]
    fn a_sole_voter_leads_once_its_vote_and_its_first_batch_are_on_disk() {
        let mut quorum = quorum(4);
        let actions = quorum.step(Mono(1), Event::Started { last_epoch: 3, log_end: 10 });
        let [Action::WriteElectionState(vote)] = &*actions else { panic!("{actions:?}") };
        assert_eq!((vote.leader_epoch, vote.voted_id, vote.leader_id), (5, 1, -1));
        assert!(!quorum.is_active());

        let actions = quorum.step(Mono(2), Event::ElectionStateWritten);
        let [Action::WriteElectionState(won)] = &*actions else { panic!("{actions:?}") };
        assert_eq!((won.leader_epoch, won.voted_id, won.leader_id), (5, -1, 1));

        let actions = quorum.step(Mono(3), Event::ElectionStateWritten);
        assert_eq!(actions, [Action::AppendLeaderChange { epoch: 5, leader_id: 1, voters: vec![1] }]);
        assert_eq!((quorum.high_watermark(), quorum.is_active()), (None, false));

        let actions = quorum.step(Mono(4), Event::Flushed { log_end: 11 });
        assert_eq!(actions, [Action::AdvanceHighWatermark(11), Action::Lead { epoch: 5 }]);
        assert!(quorum.is_active());
        assert_eq!(quorum.step(Mono(5), Event::Flushed { log_end: 11 }), []);
        assert_eq!(quorum.step(Mono(6), Event::Flushed { log_end: 20 }), [Action::AdvanceHighWatermark(20)]);
    }

    #[test]
    fn what_was_committed_before_is_committed_again_only_with_the_new_epoch() {
        let mut quorum = quorum(0);
        quorum.step(Mono(1), Event::Started { last_epoch: 0, log_end: 10 });
        quorum.step(Mono(1), Event::ElectionStateWritten);
        quorum.step(Mono(1), Event::ElectionStateWritten);
        // Something older was flushed, the LeaderChange at 10 was not.
        assert_eq!(quorum.step(Mono(1), Event::Flushed { log_end: 10 }), []);
        assert_eq!(quorum.high_watermark(), None);
    }

    #[test]
    fn the_epoch_is_above_the_file_and_the_log() {
        for (file, log, epoch) in [(0, 0, 1), (0, 3, 4), (7, 3, 8)] {
            let mut quorum = quorum(file);
            quorum.step(Mono(1), Event::Started { last_epoch: log, log_end: 0 });
            assert_eq!(quorum.epoch(), epoch);
        }
    }

    #[test]
    fn who_resigned_leads_no_more() {
        let mut quorum = quorum(0);
        quorum.step(Mono(1), Event::Started { last_epoch: 0, log_end: 0 });
        quorum.step(Mono(1), Event::ElectionStateWritten);
        quorum.step(Mono(1), Event::ElectionStateWritten);
        quorum.step(Mono(1), Event::Flushed { log_end: 1 });
        assert!(quorum.is_active());
        assert_eq!(quorum.step(Mono(9), Event::Resign), []);
        assert!(!quorum.is_active());
        assert_eq!(quorum.step(Mono(9), Event::Flushed { log_end: 2 }), []);
        assert_eq!((quorum.epoch(), quorum.since()), (1, Mono(9)));
    }

    #[test]
    fn other_voters_are_refused() {
        let refused = |voters: &[i32]| Quorum::new(config(voters), &ElectionState::default(), Mono(0)).unwrap_err();
        assert_eq!(refused(&[2]), ConfigError::NotAVoter { node_id: 1, voters: vec![2] });
        assert_eq!(refused(&[1, 2, 3]), ConfigError::MoreVoters(vec![1, 2, 3]));
    }
}
