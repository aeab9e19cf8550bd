//! More partitions for a topic (`ReplicationControlManager.createPartitions`).

use super::placement::place_from;
use super::request::ApiError;
use super::{Context, Controller, ControllerResponse, Outcome};
use crate::metadata::snapshot::RecordAndVersion;
use crate::metadata::topics::TopicImage;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::time::Mono;
use crate::model::topic::TopicId;
use crate::protocol::records::metadata::PartitionRecord;
use crate::security::authorizer::permit::{Permit, op};

/// Partitions that one request may add, over all its topics (`MAX_PARTITIONS_PER_BATCH`).
const MAX_PARTITIONS_PER_REQUEST: i64 = 10_000;

/// `CreatePartitions`.
#[derive(Debug)]
pub struct CreatePartitions {
    pub topics: Vec<GrowTopic>,
    pub validate_only: bool,
    /// Past this nothing is made any more.
    pub deadline: Option<Mono>,
}

/// One topic to grow, the one whose id is in the permit.
#[derive(Debug)]
pub struct GrowTopic {
    pub permit: Permit<op::Alter>,
    /// How many partitions it is to have.
    pub count: i32,
    /// Replicas of the new partitions; `None`: the controller places them.
    pub assignments: Option<Vec<Vec<BrokerId>>>,
}

impl Controller {
    pub(super) fn create_partitions(&self, cx: &mut Context<'_>, request: &CreatePartitions) -> Outcome {
        let late = request.deadline.is_some_and(|deadline| cx.now >= deadline);
        let mut records = Vec::new();
        let mut left = MAX_PARTITIONS_PER_REQUEST;
        let results = request.topics.iter().map(|topic| {
            if late {
                return Err(ApiError::bare(ErrorCode::RequestTimedOut));
            }
            records.extend(self.grown(cx, topic, &mut left)?);
            Ok(())
        });
        let results: Vec<Result<(), ApiError>> = results.collect();
        if request.validate_only {
            records.clear();
        }
        Outcome::new(records, ControllerResponse::CreatePartitions(results))
    }

    fn grown(
        &self,
        cx: &mut Context<'_>,
        request: &GrowTopic,
        left: &mut i64,
    ) -> Result<Vec<RecordAndVersion>, ApiError> {
        let id = request.permit.topic_id().map(TopicId);
        let unknown = || ApiError::bare(ErrorCode::UnknownTopicOrPartition);
        let topic = id.and_then(|id| self.image.topics.by_id(id)).ok_or_else(unknown)?;
        let size = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        let additional = additional(topic, size, request.count)?;
        *left -= i64::from(additional);
        if *left < 0 {
            let text = "Excessively large number of partitions per request.";
            return Err(ApiError::new(ErrorCode::PolicyViolation, text));
        }
        let factor = topic.partitions().next().map_or(1, |(_, partition)| partition.replicas.len());
        let replicas = match &request.assignments {
            Some(assignments) => self.assigned_partitions(assignments, additional, size, factor)?,
            None => {
                let count = usize::try_from(additional).unwrap_or(0);
                let factor = i16::try_from(factor).unwrap_or(i16::MAX);
                let first = usize::try_from(size).unwrap_or(0);
                place_from(&self.usable_brokers(), first, count, factor, cx.random).map_err(|cause| {
                    let text = format!("Unable to replicate the partition {factor} time(s): {cause}");
                    ApiError::new(ErrorCode::InvalidReplicationFactor, text)
                })?
            }
        };
        let version = self.image.features.metadata_version_or_minimum().partition_record_version();
        let record = |(index, replicas): (i32, Vec<BrokerId>)| {
            let isr = self.active_of(&replicas);
            let partition = self.partition(index, &replicas, &isr);
            RecordAndVersion::new(PartitionRecord { topic_id: topic.id.0, ..partition }, version)
        };
        Ok((size..).zip(replicas).map(record).collect())
    }

    fn assigned_partitions(
        &self,
        assignments: &[Vec<BrokerId>],
        additional: i32,
        first: i32,
        factor: usize,
    ) -> Result<Vec<Vec<BrokerId>>, ApiError> {
        let refuse = |text: String| ApiError::new(ErrorCode::InvalidReplicaAssignment, text);
        if i32::try_from(assignments.len()) != Ok(additional) {
            return Err(refuse(format!(
                "Attempted to add {additional} additional partition(s), but only {} assignment(s) were specified.",
                assignments.len()
            )));
        }
        for (index, replicas) in (first..).zip(assignments) {
            self.check_assignment(replicas, Some(factor))?;
            if self.active_of(replicas).is_empty() {
                return Err(refuse(format!(
                    "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                     controlled shutdown."
                )));
            }
        }
        Ok(assignments.to_vec())
    }
}

/// How many partitions are missing.
fn additional(topic: &TopicImage, size: i32, count: i32) -> Result<i32, ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidPartitions, text));
    if count == size {
        return refuse(format!("Topic already has {size} partition(s)."));
    }
    if count < size {
        return refuse(format!(
            "The topic {} currently has {size} partition(s); {count} would not be an increase.",
            topic.name
        ));
    }
    Ok(count - size)
}
