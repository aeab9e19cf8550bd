//! The file `quorum-state`: epoch, leader and vote, as Kafka writes it.
//!
//! Precedent: `FileQuorumStateStore`, `QuorumStateData`. One line of JSON without a newline; version 0 as long as
//! kraft.version is 0, version 1 from then on.

use serde::{Deserialize, Serialize};

use super::Config;
use crate::model::uuid::Uuid;

/// In the directory of `__cluster_metadata-0`.
pub const FILE_NAME: &str = "quorum-state";

/// What a node must not forget.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ElectionState {
    /// -1: none is known.
    pub leader_id: i32,
    pub leader_epoch: i32,
    /// -1: nobody was voted for in this epoch.
    pub voted_id: i32,
    pub voted_directory_id: Uuid,
    /// Of the quorum, in version 0 only.
    pub voters: Vec<i32>,
    /// 0 or 1.
    pub version: i16,
}

/// The file does not hold an election state.
#[derive(Debug, thiserror::Error)]
pub enum ElectionStateError {
    #[error("quorum-state is not what Kafka writes: {0}")]
    Json(#[from] serde_json::Error),
    #[error("data_version {0} of quorum-state is not known")]
    Version(i16),
    #[error("quorum-state has the leader epoch {0}")]
    Epoch(i32),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version0 {
    #[serde(default)]
    cluster_id: String,
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    applied_offset: i64,
    current_voters: Option<Vec<Voter>>,
    #[serde(rename = "data_version")]
    version: i16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version1 {
    leader_id: i32,
    leader_epoch: i32,
    voted_id: i32,
    voted_directory_id: String,
    #[serde(rename = "data_version")]
    version: i16,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Voter {
    voter_id: i32,
}

#[derive(Deserialize)]
struct AnyVersion {
    #[serde(rename = "data_version")]
    version: i16,
}

impl Default for ElectionState {
    /// A node that never heard of an election.
    fn default() -> Self {
        Self {
            leader_id: -1,
            leader_epoch: 0,
            voted_id: -1,
            voted_directory_id: Uuid::ZERO,
            voters: Vec::new(),
            version: 0,
        }
    }
}

impl ElectionState {
    /// Neither leader nor vote, of the version that the quorum writes.
    pub(super) fn unknown(config: &Config) -> Self {
        Self { voters: config.voters.clone(), version: i16::from(config.kraft_version >= 1), ..Self::default() }
    }

    /// # Errors
    /// The text is no election state, or one of a version from the future.
    pub fn parse(text: &str) -> Result<Self, ElectionStateError> {
        let state = match serde_json::from_str::<AnyVersion>(text)?.version {
            0 => {
                let read: Version0 = serde_json::from_str(text)?;
                Self {
                    leader_id: read.leader_id,
                    leader_epoch: read.leader_epoch,
                    voted_id: read.voted_id,
                    voted_directory_id: Uuid::ZERO,
                    voters: read.current_voters.unwrap_or_default().iter().map(|voter| voter.voter_id).collect(),
                    version: 0,
                }
            }
            1 => {
                let read: Version1 = serde_json::from_str(text)?;
                Self {
                    leader_id: read.leader_id,
                    leader_epoch: read.leader_epoch,
                    voted_id: read.voted_id,
                    voted_directory_id: read.voted_directory_id.parse().unwrap_or(Uuid::ZERO),
                    voters: Vec::new(),
                    version: 1,
                }
            }
            other => return Err(ElectionStateError::Version(other)),
        };
        if state.leader_epoch < 0 { Err(ElectionStateError::Epoch(state.leader_epoch)) } else { Ok(state) }
    }

    /// The file's content.
    pub fn text(&self) -> String {
        let json = if self.version == 0 {
            serde_json::to_string(&Version0 {
                cluster_id: String::new(),
                leader_id: self.leader_id,
                leader_epoch: self.leader_epoch,
                voted_id: self.voted_id,
                applied_offset: 0,
                current_voters: Some(self.voters.iter().map(|id| Voter { voter_id: *id }).collect()),
                version: 0,
            })
        } else {
            serde_json::to_string(&Version1 {
                leader_id: self.leader_id,
                leader_epoch: self.leader_epoch,
                voted_id: self.voted_id,
                voted_directory_id: self.voted_directory_id.to_string(),
                version: 1,
            })
        };
        // Numbers and strings always have a JSON form.
        json.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_kafkas_text() {
        let kafka = [
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/kafka-4.3.1/metadata-static/quorum-state"
            )),
            include_str!(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/fixtures/kafka-4.3.1/metadata-dynamic/quorum-state"
            )),
        ];
        for (version, text) in kafka.into_iter().enumerate() {
            let state = ElectionState::parse(text).unwrap();
            assert_eq!((state.leader_id, state.leader_epoch, state.voted_id), (1, 3, -1));
            assert_eq!(usize::try_from(state.version).unwrap(), version);
            assert_eq!(state.text(), text);
        }
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "{}", "{\"data_version\":2}", "{\"leaderId\":1,\"data_version\":0}"] {
            assert!(ElectionState::parse(text).is_err(), "{text}");
        }
        let negative = ElectionState { leader_epoch: -1, ..ElectionState::default() }.text();
        assert!(matches!(ElectionState::parse(&negative), Err(ElectionStateError::Epoch(-1))));
    }
}
