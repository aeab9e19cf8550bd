//! The image as records: what a snapshot holds.
//!
//! Precedent: `MetadataImage.write`, whose order is kept; every record in the version of the finalized level.

use super::image::MetadataImage;
use super::metadata_version::MetadataVersion;
use super::topics::{PartitionImage, TopicImage, directory_id};
use crate::model::broker::BrokerId;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata as records;
use crate::protocol::records::metadata::MetadataRecord;

/// A record and the version it is written in (Kafka's `ApiMessageAndVersion`).
#[derive(Clone, PartialEq, Debug)]
pub struct RecordAndVersion {
    pub record: MetadataRecord,
    pub version: i16,
}

impl RecordAndVersion {
    pub fn new(record: impl Into<MetadataRecord>, version: i16) -> Self {
        Self { record: record.into(), version }
    }

    /// A record of which there is only version 0.
    pub fn v0(record: impl Into<MetadataRecord>) -> Self {
        Self::new(record, 0)
    }
}

/// Records that make `image` of an empty one. No transaction may be open in it.
pub fn records(image: &MetadataImage) -> Vec<RecordAndVersion> {
    let version = image.features.metadata_version_or_minimum();
    let mut out = Vec::new();
    features(image, &mut out);
    cluster(image, version, &mut out);
    for topic in image.topics.iter() {
        out.push(RecordAndVersion::v0(records::TopicRecord { name: topic.name.as_str().into(), topic_id: topic.id.0 }));
        out.extend(topic.partitions().map(|(index, partition)| partition_record(topic, index, partition, version)));
    }
    configs(image, &mut out);
    client_quotas(image, &mut out);
    if !image.producer_ids.is_empty() {
        let next_producer_id = image.producer_ids.next();
        let record = records::ProducerIdsRecord { broker_id: -1, broker_epoch: -1, next_producer_id };
        out.push(RecordAndVersion::v0(record));
    }
    acls(image, &mut out);
    scram(image, &mut out);
    out.extend(image.delegation_tokens.iter().cloned().map(RecordAndVersion::v0));
    out
}

/// A partition as it stands, in a record of the version that `version` says.
pub fn partition_record(
    topic: &TopicImage,
    index: i32,
    partition: &PartitionImage,
    version: MetadataVersion,
) -> RecordAndVersion {
    let with_ids = partition.directories.iter().any(|id| *id != directory_id::MIGRATING);
    let some = |ids: &[BrokerId]| (!ids.is_empty()).then(|| numbers(ids));
    let record = records::PartitionRecord {
        partition_id: index,
        topic_id: topic.id.0,
        replicas: numbers(&partition.replicas),
        isr: numbers(&partition.isr),
        removing_replicas: numbers(&partition.removing_replicas),
        adding_replicas: numbers(&partition.adding_replicas),
        leader: partition.leader.0,
        leader_recovery_state: partition.leader_recovery_state.code(),
        leader_epoch: partition.leader_epoch,
        partition_epoch: partition.partition_epoch,
        directories: if with_ids { partition.directories.clone() } else { Vec::new() },
        eligible_leader_replicas: some(&partition.elr),
        last_known_elr: some(&partition.last_known_elr),
    };
    RecordAndVersion::new(record, version.partition_record_version())
}

/// Broker ids as a record holds them.
pub fn numbers(ids: &[BrokerId]) -> Vec<i32> {
    ids.iter().map(|id| id.0).collect()
}

fn features(image: &MetadataImage, out: &mut Vec<RecordAndVersion>) {
    out.extend(image.features.iter().map(|(name, feature_level)| {
        RecordAndVersion::v0(records::FeatureLevelRecord { name: name.into(), feature_level })
    }));
}

fn cluster(image: &MetadataImage, version: MetadataVersion, out: &mut Vec<RecordAndVersion>) {
    for broker in image.cluster.brokers() {
        let end_points = broker.end_points.iter().map(|e| records::register_broker_record::BrokerEndpoint {
            name: (&*e.name).into(),
            host: (&*e.host).into(),
            port: e.port,
            security_protocol: e.security_protocol,
        });
        let features = broker.features.iter().map(|f| records::register_broker_record::BrokerFeature {
            name: (&*f.name).into(),
            min_supported_version: f.min,
            max_supported_version: f.max,
        });
        let record = records::RegisterBrokerRecord {
            broker_id: broker.id.0,
            is_migrating_zk_broker: broker.is_migrating_zk_broker,
            incarnation_id: broker.incarnation_id,
            broker_epoch: broker.epoch,
            end_points: end_points.collect(),
            features: features.collect(),
            rack: broker.rack.as_deref().map(Into::into),
            fenced: broker.fenced,
            in_controlled_shutdown: broker.in_controlled_shutdown,
            log_dirs: broker.directories.clone(),
            cordoned_log_dirs: broker.cordoned_directories.clone(),
        };
        out.push(RecordAndVersion::new(record, version.register_broker_record_version()));
    }
    if !version.is_controller_registration_supported() {
        return;
    }
    for controller in image.cluster.controllers() {
        let end_points =
            controller.end_points.iter().map(|e| records::register_controller_record::ControllerEndpoint {
                name: (&*e.name).into(),
                host: (&*e.host).into(),
                port: e.port,
                security_protocol: e.security_protocol,
            });
        let features = controller.features.iter().map(|f| records::register_controller_record::ControllerFeature {
            name: (&*f.name).into(),
            min_supported_version: f.min,
            max_supported_version: f.max,
        });
        out.push(RecordAndVersion::v0(records::RegisterControllerRecord {
            controller_id: controller.id,
            incarnation_id: controller.incarnation_id,
            zk_migration_ready: controller.zk_migration_ready,
            end_points: end_points.collect(),
            features: features.collect(),
        }));
    }
}

fn configs(image: &MetadataImage, out: &mut Vec<RecordAndVersion>) {
    let mut resources: Vec<_> = image.configs.iter().collect();
    resources.sort_by_key(|(resource, _)| *resource);
    for (resource, map) in resources {
        out.extend(map.iter().map(|(name, value)| {
            RecordAndVersion::v0(records::ConfigRecord {
                resource_type: resource.resource_type.0,
                resource_name: (&*resource.name).into(),
                name: (&**name).into(),
                value: Some((&**value).into()),
            })
        }));
    }
}

fn client_quotas(image: &MetadataImage, out: &mut Vec<RecordAndVersion>) {
    for (entity, quotas) in image.client_quotas.iter() {
        let data = |(kind, name): &(std::sync::Arc<str>, Option<std::sync::Arc<str>>)| {
            records::client_quota_record::EntityData {
                entity_type: (&**kind).into(),
                entity_name: name.as_deref().map(Into::into),
            }
        };
        let parts: Vec<_> = entity.parts().iter().map(data).collect();
        out.extend(quotas.iter().map(|(key, value)| {
            RecordAndVersion::v0(records::ClientQuotaRecord {
                entity: parts.clone(),
                key: (&**key).into(),
                value: *value,
                remove: false,
            })
        }));
    }
}

fn acls(image: &MetadataImage, out: &mut Vec<RecordAndVersion>) {
    let mut acls: Vec<(&Uuid, _)> = image.acls.iter().collect();
    acls.sort_by_key(|(id, _)| **id);
    out.extend(acls.into_iter().map(|(id, binding)| RecordAndVersion::v0(acl_record(*id, binding))));
}

/// The record that adds `binding` under `id`.
pub fn acl_record(id: Uuid, binding: &crate::model::acl::AclBinding) -> records::AccessControlEntryRecord {
    records::AccessControlEntryRecord {
        id,
        resource_type: binding.pattern.resource_type.code(),
        resource_name: (&*binding.pattern.name).into(),
        pattern_type: binding.pattern.pattern_type.code(),
        principal: (&*binding.principal).into(),
        host: (&*binding.host).into(),
        operation: binding.operation.code(),
        permission_type: binding.permission.code(),
    }
}

fn scram(image: &MetadataImage, out: &mut Vec<RecordAndVersion>) {
    out.extend(image.scram.iter().map(|(key, credential)| RecordAndVersion::v0(scram_record(key, credential))));
}

/// The record that sets `credential` for `key`.
pub fn scram_record(
    key: &super::scram::ScramKey,
    credential: &crate::model::scram::ScramCredential,
) -> records::UserScramCredentialRecord {
    records::UserScramCredentialRecord {
        name: (&*key.user).into(),
        mechanism: key.mechanism.code(),
        salt: credential.salt.to_vec().into(),
        stored_key: credential.stored_key.to_vec().into(),
        server_key: credential.server_key.to_vec().into(),
        iterations: credential.iterations,
    }
}
