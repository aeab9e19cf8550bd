//! Elections that somebody asks for (`ReplicationControlManager.electLeaders`, KIP-460), and the list of reassignments.

use super::request::ApiError;
use super::{Controller, ControllerResponse, Outcome};
use crate::metadata::snapshot::RecordAndVersion;
use crate::metadata::topics::{LeaderRecoveryState, PartitionImage, TopicImage};
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::protocol::records::metadata::PartitionChangeRecord;
use crate::security::authorizer::permit::{Permit, op};

/// `ElectLeaders`.
#[derive(Debug)]
pub struct ElectLeaders {
    /// For the cluster.
    pub permit: Permit<op::Alter>,
    pub election: ElectionType,
    /// `None`: every partition that needs it.
    pub partitions: Option<Vec<(String, Vec<i32>)>>,
}

/// `ElectionType`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica is to lead.
    Preferred,
    /// Any replica is to lead, even if records are lost.
    Unclean,
}

/// What became of the partitions of a topic.
pub type Elected = (String, Vec<(i32, Result<(), ApiError>)>);

/// `ListPartitionReassignments`.
#[derive(Debug)]
pub struct ListReassignments {
    /// For the cluster.
    pub permit: Permit<op::Describe>,
    /// `None`: all there are.
    pub partitions: Option<Vec<(String, Vec<i32>)>>,
}

/// A partition whose replicas are being changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reassignment {
    pub partition: i32,
    pub replicas: Vec<BrokerId>,
    pub adding: Vec<BrokerId>,
    pub removing: Vec<BrokerId>,
}

impl Controller {
    pub(super) fn elect_leaders(&self, request: &ElectLeaders) -> Outcome {
        let mut records = Vec::new();
        let elected: Vec<Elected> = match &request.partitions {
            Some(wanted) => wanted
                .iter()
                .map(|(topic, partitions)| {
                    let of_partition =
                        |index: &i32| (*index, self.elect(topic, *index, request.election, &mut records));
                    (topic.clone(), partitions.iter().map(of_partition).collect())
                })
                .collect(),
            None => {
                let mut elected = Vec::new();
                for topic in self.image.topics.iter() {
                    let name = topic.name.as_str();
                    let mut results = Vec::new();
                    for (index, _) in topic.partitions() {
                        let result = self.elect(name, index, request.election, &mut records);
                        // Of all partitions only those are told of that are not as they should be.
                        if result.as_ref().err().map(ApiError::code) != Some(ErrorCode::ElectionNotNeeded) {
                            results.push((index, result));
                        }
                    }
                    elected.push((name.to_owned(), results));
                }
                elected
            }
        };
        Outcome::new(records, ControllerResponse::ElectLeaders(elected))
    }

    fn elect(
        &self,
        topic_name: &str,
        index: i32,
        election: ElectionType,
        records: &mut Vec<RecordAndVersion>,
    ) -> Result<(), ApiError> {
        let unknown = |text: String| ApiError::new(ErrorCode::UnknownTopicOrPartition, text);
        let topic =
            self.image.topics.by_name(topic_name).ok_or_else(|| unknown(format!("No such topic as {topic_name}")))?;
        let partition =
            topic.partition(index).ok_or_else(|| unknown(format!("No such partition as {topic_name}-{index}")))?;
        let preferred = partition.replicas.first().copied().unwrap_or(BrokerId::NONE);
        let is_needed = match election {
            ElectionType::Preferred => partition.leader != preferred,
            ElectionType::Unclean => !partition.has_leader(),
        };
        if !is_needed {
            return Err(ApiError::of(ErrorCode::ElectionNotNeeded));
        }
        let is_active = |id: BrokerId| self.image.cluster.is_active(id);
        let (leader, loses) = match election {
            ElectionType::Preferred if is_active(preferred) && partition.isr.contains(&preferred) => (preferred, false),
            ElectionType::Preferred => return Err(ApiError::of(ErrorCode::PreferredLeaderNotAvailable)),
            ElectionType::Unclean => {
                let in_sync = partition.isr.iter().chain(&partition.elr).copied().find(|id| is_active(*id));
                let any = partition.replicas.iter().copied().find(|id| is_active(*id));
                match (in_sync, any) {
                    (Some(leader), _) => (leader, false),
                    (None, Some(leader)) => (leader, true),
                    (None, None) => return Err(ApiError::of(ErrorCode::EligibleLeadersNotAvailable)),
                }
            }
        };
        records.push(self.leader_change(topic, index, partition, leader, loses));
        Ok(())
    }

    fn leader_change(
        &self,
        topic: &TopicImage,
        index: i32,
        partition: &PartitionImage,
        leader: BrokerId,
        loses: bool,
    ) -> RecordAndVersion {
        let alone = loses || !partition.isr.contains(&leader);
        let record = PartitionChangeRecord {
            partition_id: index,
            topic_id: topic.id.0,
            leader: leader.0,
            isr: alone.then(|| vec![leader.0]),
            leader_recovery_state: if loses {
                LeaderRecoveryState::Recovering as i8
            } else {
                LeaderRecoveryState::NO_CHANGE
            },
            ..PartitionChangeRecord::default()
        };
        let version = self.image.features.metadata_version_or_minimum().partition_record_version();
        RecordAndVersion::new(record, version)
    }

    pub(super) fn list_reassignments(&self, request: &ListReassignments) -> Outcome {
        let is_wanted = |topic: &str, index: i32| match &request.partitions {
            None => true,
            Some(wanted) => wanted.iter().any(|(name, indexes)| name == topic && indexes.contains(&index)),
        };
        let mut found = Vec::new();
        for topic in self.image.topics.iter() {
            let name = topic.name.as_str();
            let ongoing = topic.partitions().filter(|(index, partition)| {
                let is_reassigned = !partition.adding_replicas.is_empty() || !partition.removing_replicas.is_empty();
                is_reassigned && is_wanted(name, *index)
            });
            let ongoing: Vec<Reassignment> = ongoing
                .map(|(index, partition)| Reassignment {
                    partition: index,
                    replicas: partition.replicas.clone(),
                    adding: partition.adding_replicas.clone(),
                    removing: partition.removing_replicas.clone(),
                })
                .collect();
            if !ongoing.is_empty() {
                found.push((name.to_owned(), ongoing));
            }
        }
        Outcome::new(Vec::new(), ControllerResponse::ListReassignments(found))
    }
}
