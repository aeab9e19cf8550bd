//! In which log directory a replica lies (KIP-858).
//!
//! Precedent: `ReplicationControlManager.handleAssignReplicasToDirs`, `handleDirectoriesOffline`.

use super::request::{ControllerError, ControllerResponse};
use super::{Controller, MAX_RECORDS_PER_REQUEST, Outcome};
use crate::metadata::cluster::BrokerImage;
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicIdPartition;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::BrokerRegistrationChangeRecord;

/// `AssignReplicasToDirs`: where the broker put its new replicas.
#[derive(Debug)]
pub struct AssignReplicasToDirs {
    pub broker: BrokerId,
    pub broker_epoch: i64,
    pub assignments: Vec<(Uuid, TopicIdPartition)>,
}

/// What became of one assignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectoryAssignment {
    pub directory: Uuid,
    pub partition: TopicIdPartition,
    pub error: ErrorCode,
}

impl Controller {
    pub(super) fn assign_replicas_to_dirs(&self, request: &AssignReplicasToDirs) -> Result<Outcome, ControllerError> {
        let broker = self.check_broker_epoch(request.broker, request.broker_epoch)?;
        let mut records = Vec::new();
        let results = request.assignments.iter().map(|&(directory, partition)| {
            let error = match self.assign(broker, directory, partition) {
                Ok(record) if records.len() < MAX_RECORDS_PER_REQUEST => {
                    records.extend(record);
                    ErrorCode::None
                }
                Ok(_) => ErrorCode::PolicyViolation,
                Err(error) => error,
            };
            DirectoryAssignment { directory, partition, error }
        });
        let results = results.collect();
        Ok(Outcome::new(records, ControllerResponse::AssignReplicasToDirs(results)))
    }

    fn assign(
        &self,
        broker: &BrokerImage,
        directory: Uuid,
        at: TopicIdPartition,
    ) -> Result<Option<RecordAndVersion>, ErrorCode> {
        let topic = self.image.topics.by_id(at.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
        let partition = topic.partition(at.partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let before = partition.directory(broker.id).ok_or(ErrorCode::NotLeaderOrFollower)?;
        if before == directory {
            return Ok(None);
        }
        let usable = broker.directories.contains(&directory);
        Ok(Some(self.directory_change(topic, at.partition, partition, (broker.id, directory, usable))))
    }

    /// Directories that the broker lost: what lies there can't be led from there.
    pub(super) fn directories_offline(&self, broker: &BrokerImage, offline: &[Uuid]) -> Vec<RecordAndVersion> {
        let remaining: Vec<Uuid> = broker.directories.iter().copied().filter(|id| !offline.contains(id)).collect();
        if remaining.len() == broker.directories.len() {
            return Vec::new();
        }
        let lost = |at: &Uuid| offline.contains(at) && broker.directories.contains(at);
        let mut records = self.elections_for_lost_directories(broker.id, &lost);
        records.push(RecordAndVersion::new(
            BrokerRegistrationChangeRecord {
                broker_id: broker.id.0,
                broker_epoch: broker.epoch,
                log_dirs: remaining,
                ..BrokerRegistrationChangeRecord::default()
            },
            2,
        ));
        records
    }

    fn elections_for_lost_directories(&self, broker: BrokerId, lost: &dyn Fn(&Uuid) -> bool) -> Vec<RecordAndVersion> {
        let changes = super::elections::BrokerChanges { leaves_isr: Some(broker), ..Default::default() };
        self.elections(changes, |partition| {
            let in_sync = partition.isr.contains(&broker) || partition.leader == broker;
            in_sync && partition.directory(broker).as_ref().is_some_and(lost)
        })
    }

    /// Does the broker lead any partition?
    pub(super) fn leads_anything(&self, broker: BrokerId) -> bool {
        self.image.topics.iter().any(|topic| topic.partitions().any(|(_, partition)| partition.leader == broker))
    }
}
