//! Topics: made and deleted.
//!
//! Precedent: Kafka's `ReplicationControlManager.createTopics` and `deleteTopics`, with what `ControllerApis` does around
//! them (duplicates, `__cluster_metadata`). Texts and codes are Kafka's, as recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::placement::{UsableBroker, place};
use super::random::uuid;
use super::request::{ApiError, ControllerResponse};
use super::{Context, Controller, MAX_RECORDS_PER_REQUEST, Outcome};
use crate::config::topic::Described;
use crate::metadata::configs::ConfigMap;
use crate::metadata::snapshot::{RecordAndVersion, numbers};
use crate::metadata::topics::directory_id;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::random::Random;
use crate::model::time::Mono;
use crate::model::topic::{TopicId, TopicName};
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::{PartitionRecord, RemoveTopicRecord, TopicRecord};
use crate::security::authorizer::permit::{Permit, Resource, op};

/// `CreateTopics`, and topics that are made when first asked for.
#[derive(Debug)]
pub struct CreateTopics {
    pub topics: Vec<CreateTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
    /// Past this nothing is made any more (the request's timeout).
    pub deadline: Option<Mono>,
}

/// One topic to make.
#[derive(Debug)]
pub struct CreateTopic {
    /// For the cluster, or for a topic of this name.
    pub permit: Permit<op::Create>,
    pub name: String,
    /// -1: the broker's default, or as many as are assigned.
    pub num_partitions: i32,
    /// -1: the broker's default, or as assigned.
    pub replication_factor: i16,
    /// Replicas by partition; empty: the controller places them.
    pub assignments: Vec<(i32, Vec<BrokerId>)>,
    pub configs: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// May the answer describe the new topic's configs?
    pub describe: bool,
}

impl CreateTopic {
    /// A topic with the broker's defaults, as Metadata makes one.
    pub fn with_defaults(permit: Permit<op::Create>, name: &str) -> Self {
        Self {
            permit,
            name: name.to_owned(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: Vec::new(),
            configs: Vec::new(),
            describe: false,
        }
    }
}

/// What became of a name.
#[derive(Debug)]
pub struct CreatedTopic {
    pub name: String,
    pub result: Result<TopicCreation, ApiError>,
}

/// A topic that was made, or would have been.
#[derive(Debug)]
pub struct TopicCreation {
    pub id: TopicId,
    pub num_partitions: i32,
    pub replication_factor: i16,
    /// `None`: the asker may not describe them.
    pub configs: Option<Vec<Described>>,
}

/// `DeleteTopics`.
#[derive(Debug)]
pub struct DeleteTopics {
    pub topics: Vec<DeleteTopic>,
    /// Past this nothing is deleted any more.
    pub deadline: Option<Mono>,
}

/// One topic to delete, the one whose id is in the permit.
#[derive(Debug)]
pub struct DeleteTopic {
    pub permit: Permit<op::Delete>,
    /// Was it asked for by id? Decides the code should it be gone by now.
    pub by_id: bool,
}

/// Kafka's `MAX_PARTITIONS_PER_BATCH`, over all topics of a request.
const MAX_PARTITIONS_PER_REQUEST: i64 = 10_000;

impl Controller {
    pub(super) fn create_topics(&self, cx: &mut Context<'_>, request: CreateTopics) -> Outcome {
        let CreateTopics { topics, validate_only, deadline } = request;
        let mut named: BTreeMap<&str, usize> = BTreeMap::new();
        for topic in &topics {
            *named.entry(&topic.name).or_default() += 1;
        }
        let twice: BTreeSet<String> =
            named.into_iter().filter(|(_, count)| *count > 1).map(|(name, _)| name.to_owned()).collect();
        let (duplicates, topics): (Vec<_>, Vec<_>) = topics.into_iter().partition(|topic| twice.contains(&topic.name));
        let mut records = Vec::new();
        let mut results: Vec<CreatedTopic> = match self.whole_request(cx.now, deadline, &topics) {
            Ok(()) => topics.iter().map(|topic| self.create(cx.random, topic, &mut records)).collect(),
            Err(error) => refused(topics.iter().map(|topic| topic.name.clone()), &error),
        };
        if records.len() > MAX_RECORDS_PER_REQUEST {
            let text = "Unable to perform excessively large batch operation.";
            results = refused(results.into_iter().map(|r| r.name), &ApiError::new(ErrorCode::PolicyViolation, text));
            records.clear();
        }
        let duplicates: BTreeSet<String> = duplicates.into_iter().map(|topic| topic.name).collect();
        let duplicate = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
        results.extend(refused(duplicates.into_iter(), &duplicate));
        if validate_only {
            records.clear();
        }
        Outcome::new(records, ControllerResponse::CreateTopics(results))
    }

    /// What is wrong with all of it at once.
    fn whole_request(&self, now: Mono, deadline: Option<Mono>, topics: &[CreateTopic]) -> Result<(), ApiError> {
        if deadline.is_some_and(|deadline| now >= deadline) {
            return Err(ApiError::bare(ErrorCode::RequestTimedOut));
        }
        let partitions = |topic: &CreateTopic| match (topic.assignments.len(), topic.num_partitions) {
            (0, -1) => i64::from(self.settings.default_partitions),
            (0, partitions) => i64::from(partitions),
            (assigned, _) => i64::try_from(assigned).unwrap_or(i64::MAX),
        };
        if topics.iter().map(partitions).fold(0, i64::saturating_add) > MAX_PARTITIONS_PER_REQUEST {
            let text = "Excessively large number of partitions per request.";
            return Err(ApiError::new(ErrorCode::PolicyViolation, text));
        }
        Ok(())
    }

    fn create(
        &self,
        random: &mut dyn Random,
        topic: &CreateTopic,
        records: &mut Vec<RecordAndVersion>,
    ) -> CreatedTopic {
        let result = self.try_create(random, topic).map(|(creation, mut new)| {
            records.append(&mut new);
            creation
        });
        CreatedTopic { name: topic.name.clone(), result }
    }

    fn try_create(
        &self,
        random: &mut dyn Random,
        topic: &CreateTopic,
    ) -> Result<(TopicCreation, Vec<RecordAndVersion>), ApiError> {
        self.check_name(topic)?;
        let overrides = self.new_topic_overrides(&topic.configs)?;
        let partitions = if topic.assignments.is_empty() { self.placed(random, topic)? } else { self.assigned(topic)? };
        let id = TopicId(uuid(random));
        let creation = TopicCreation {
            id,
            num_partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
            replication_factor: partitions
                .first()
                .map_or(0, |first| i16::try_from(first.replicas.len()).unwrap_or(i16::MAX)),
            configs: topic.describe.then(|| self.describe_configs(&overrides)),
        };
        Ok((creation, self.creation_records(&topic.name, id, &overrides, partitions)))
    }

    fn check_name(&self, topic: &CreateTopic) -> Result<(), ApiError> {
        let name = &*topic.name;
        let permitted = match topic.permit.resource() {
            Resource::Cluster => true,
            Resource::Topic { name: permitted, .. } => permitted.as_str() == name,
            _ => false,
        };
        if !permitted {
            return Err(ApiError::of(ErrorCode::TopicAuthorizationFailed));
        }
        if name == TopicName::CLUSTER_METADATA {
            let text = format!("Creation of internal topic {name} is prohibited.");
            return Err(ApiError::new(ErrorCode::InvalidRequest, text));
        }
        if let Err(error) = TopicName::check_new(name) {
            return Err(ApiError::new(ErrorCode::InvalidTopicException, error.sentence(name)));
        }
        if self.image.topics.id(name).is_some() {
            return Err(ApiError::new(ErrorCode::TopicAlreadyExists, format!("Topic '{name}' already exists.")));
        }
        if let Some(other) = self.image.topics.colliding(name) {
            let text = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(ApiError::new(ErrorCode::InvalidTopicException, text));
        }
        Ok(())
    }

    /// Partitions as the request assigns them.
    fn assigned(&self, topic: &CreateTopic) -> Result<Vec<PartitionRecord>, ApiError> {
        let invalid = |text: &str| Err(ApiError::new(ErrorCode::InvalidRequest, text));
        if topic.replication_factor != -1 {
            return invalid("A manual partition assignment was specified, but replication factor was not set to -1.");
        }
        if topic.num_partitions != -1 {
            return invalid("A manual partition assignment was specified, but numPartitions was not set to -1.");
        }
        let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        let mut partitions = BTreeMap::new();
        let mut expected = None;
        for (index, replicas) in &topic.assignments {
            if partitions.contains_key(index) {
                return refuse(format!("Found multiple manual partition assignments for partition {index}"));
            }
            self.check_assignment(replicas, expected)?;
            expected = Some(replicas.len());
            let isr = self.active_of(replicas);
            if isr.is_empty() {
                return refuse(format!(
                    "All brokers specified in the manual partition assignment for partition {index} are fenced or in \
                     controlled shutdown."
                ));
            }
            partitions.insert(*index, self.partition(*index, replicas, &isr));
        }
        if (0..).zip(partitions.keys()).any(|(at, index): (i32, _)| at != *index) {
            return refuse("partitions should be a consecutive 0-based integer sequence".to_owned());
        }
        Ok(partitions.into_values().collect())
    }

    pub(super) fn check_assignment(&self, replicas: &[BrokerId], expected: Option<usize>) -> Result<(), ApiError> {
        let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidReplicaAssignment, text));
        if replicas.is_empty() {
            return refuse("The manual partition assignment includes an empty replica list.".to_owned());
        }
        let mut sorted = replicas.to_vec();
        sorted.sort();
        let mut before = None;
        for id in sorted {
            if self.image.cluster.broker(id).is_none() {
                return refuse(format!(
                    "The manual partition assignment includes broker {id}, but no such broker is registered."
                ));
            }
            if before == Some(id) {
                return refuse(format!("The manual partition assignment includes the broker {id} more than once."));
            }
            before = Some(id);
        }
        if let Some(expected) = expected.filter(|expected| *expected != replicas.len()) {
            return refuse(format!(
                "The manual partition assignment includes a partition with {} replica(s), but this is not consistent with \
                 previous partitions, which have {expected} replica(s).",
                replicas.len()
            ));
        }
        Ok(())
    }

    /// Partitions as the controller places them.
    fn placed(&self, random: &mut dyn Random, topic: &CreateTopic) -> Result<Vec<PartitionRecord>, ApiError> {
        if topic.replication_factor < -1 || topic.replication_factor == 0 {
            let text = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(ApiError::new(ErrorCode::InvalidReplicationFactor, text));
        }
        if topic.num_partitions < -1 || topic.num_partitions == 0 {
            let text = "Number of partitions was set to an invalid non-positive value.";
            return Err(ApiError::new(ErrorCode::InvalidPartitions, text));
        }
        let default = |given: i32, default: i32| if given == -1 { default } else { given };
        let partitions = default(topic.num_partitions, self.settings.default_partitions);
        let factor = if topic.replication_factor == -1 {
            self.settings.default_replication_factor
        } else {
            topic.replication_factor
        };
        let refuse = |cause: String| {
            let text = format!("Unable to replicate the partition {factor} time(s): {cause}");
            ApiError::new(ErrorCode::InvalidReplicationFactor, text)
        };
        let count = usize::try_from(partitions).unwrap_or(0);
        let placement =
            place(&self.usable_brokers(), count, factor, random).map_err(|error| refuse(error.to_string()))?;
        (0..)
            .zip(placement)
            .map(|(index, replicas)| {
                let isr = self.active_of(&replicas);
                if isr.is_empty() {
                    return Err(refuse("All brokers are currently fenced or in controlled shutdown.".to_owned()));
                }
                Ok(self.partition(index, &replicas, &isr))
            })
            .collect()
    }

    pub(super) fn usable_brokers(&self) -> Vec<UsableBroker> {
        let usable = self.image.cluster.brokers().filter(|broker| {
            let cordoned = broker.cordoned_directories.as_deref().unwrap_or_default();
            broker.directories.is_empty() || broker.directories.iter().any(|id| !cordoned.contains(id))
        });
        usable.map(|b| UsableBroker { id: b.id, rack: b.rack.clone(), fenced: b.fenced }).collect()
    }

    pub(super) fn active_of(&self, replicas: &[BrokerId]) -> Vec<BrokerId> {
        replicas.iter().copied().filter(|id| self.image.cluster.is_active(*id)).collect()
    }

    pub(super) fn partition(&self, index: i32, replicas: &[BrokerId], isr: &[BrokerId]) -> PartitionRecord {
        let with_directories = self.image.features.metadata_version_or_minimum().is_directory_assignment_supported();
        let directory = |id: &BrokerId| self.new_replica_directory(*id);
        PartitionRecord {
            partition_id: index,
            replicas: numbers(replicas),
            isr: numbers(isr),
            leader: isr.first().map_or(BrokerId::NONE.0, |id| id.0),
            leader_epoch: 0,
            partition_epoch: 0,
            directories: if with_directories { replicas.iter().map(directory).collect() } else { Vec::new() },
            ..PartitionRecord::default()
        }
    }

    /// A broker with one directory has no choice; one with several says later what it chose.
    fn new_replica_directory(&self, id: BrokerId) -> Uuid {
        match self.image.cluster.broker(id).map(|broker| broker.directories.as_slice()) {
            Some([only]) => *only,
            Some([_, ..]) => directory_id::UNASSIGNED,
            _ => directory_id::MIGRATING,
        }
    }

    fn creation_records(
        &self,
        name: &str,
        id: TopicId,
        overrides: &ConfigMap,
        partitions: Vec<PartitionRecord>,
    ) -> Vec<RecordAndVersion> {
        let version = self.image.features.metadata_version_or_minimum().partition_record_version();
        let mut records = vec![RecordAndVersion::v0(TopicRecord { name: name.into(), topic_id: id.0 })];
        records.append(&mut self.config_records(name, overrides));
        records.extend(
            partitions
                .into_iter()
                .map(|partition| RecordAndVersion::new(PartitionRecord { topic_id: id.0, ..partition }, version)),
        );
        records
    }

    pub(super) fn delete_topics(&self, cx: &Context<'_>, request: &DeleteTopics) -> Outcome {
        let late = request.deadline.is_some_and(|deadline| cx.now >= deadline);
        let mut deleted = BTreeSet::new();
        let results = request.topics.iter().map(|topic| {
            if late {
                return Err(ApiError::bare(ErrorCode::RequestTimedOut));
            }
            let (id, name) = self.deletable(topic)?;
            deleted.insert(id);
            Ok(name)
        });
        let results = results.collect();
        let remove = |id: TopicId| RecordAndVersion::v0(RemoveTopicRecord { topic_id: id.0 });
        Outcome::new(deleted.into_iter().map(remove).collect(), ControllerResponse::DeleteTopics(results))
    }

    fn deletable(&self, topic: &DeleteTopic) -> Result<(TopicId, TopicName), ApiError> {
        let unknown = if topic.by_id { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        let id =
            topic.permit.topic_id().map(TopicId).ok_or_else(|| ApiError::of(ErrorCode::TopicAuthorizationFailed))?;
        let name = self.image.topics.by_id(id).ok_or_else(|| ApiError::of(unknown))?.name.clone();
        if self.settings.strict && name.is_internal() && topic.permit.reason().is_none() {
            let text = format!("Topic {name} is internal and cannot be deleted.");
            return Err(ApiError::new(ErrorCode::InvalidTopicException, text));
        }
        Ok((id, name))
    }
}

fn refused(names: impl Iterator<Item = String>, error: &ApiError) -> Vec<CreatedTopic> {
    names.map(|name| CreatedTopic { name, result: Err(error.clone()) }).collect()
}
