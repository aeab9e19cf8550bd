//! Configs that are changed at run time: of topics, brokers, groups and client metrics.
//!
//! Precedent: Kafka's `ConfigurationControlManager` with its two ways, whole resources (`legacyAlterConfigs`) and single
//! operations (`incrementalAlterConfigs`, KIP-339).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::configs::MIN_INSYNC_REPLICAS;
use super::request::ApiError;
use super::{Controller, ControllerResponse, Outcome};
use crate::config::keys::{self, Kind};
use crate::metadata::configs::{ConfigResource, ConfigResourceType};
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::protocol::records::metadata::{ClearElrRecord, ConfigRecord};
use crate::security::authorizer::permit::{Permit, Resource, op};

/// Longest value of a config, in bytes.
const MAX_VALUE: usize = 32_767;

/// `AlterConfigs` and `IncrementalAlterConfigs`.
#[derive(Debug)]
pub struct AlterConfigs {
    pub resources: Vec<AlterResource>,
    pub validate_only: bool,
}

/// What is to become of one resource.
#[derive(Debug)]
pub struct AlterResource {
    /// For the topic, the group or, with everything else, the cluster.
    pub permit: Permit<op::AlterConfigs>,
    /// `ConfigResource.Type`
    pub resource_type: i8,
    /// Empty, for a broker: all of them.
    pub name: Arc<str>,
    pub change: ConfigChange,
}

#[derive(Debug)]
pub enum ConfigChange {
    /// These and no others.
    Replace(Vec<(Arc<str>, Arc<str>)>),
    /// One after another.
    Operations(Vec<(Arc<str>, ConfigOperation)>),
}

/// `AlterConfigOp.OpType`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConfigOperation {
    Set(Arc<str>),
    Delete,
    /// To a list.
    Append(Arc<str>),
    /// From a list.
    Subtract(Arc<str>),
}

type Values = BTreeMap<Arc<str>, Arc<str>>;
/// Names and new values; `None` takes one away.
type Changes = Vec<(Arc<str>, Option<Arc<str>>)>;

impl Controller {
    pub(super) fn alter_configs(&self, request: &AlterConfigs) -> Outcome {
        let mut records = Vec::new();
        let results = request.resources.iter().map(|resource| {
            let changed = self.altered(resource)?;
            records.extend(changed);
            Ok(())
        });
        let results: Vec<Result<(), ApiError>> = results.collect();
        if request.validate_only {
            records.clear();
        }
        Outcome::new(records, ControllerResponse::AlterConfigs(results))
    }

    fn altered(&self, request: &AlterResource) -> Result<Vec<RecordAndVersion>, ApiError> {
        let resource_type = ConfigResourceType(request.resource_type);
        let resource = &ConfigResource { resource_type, name: Arc::clone(&request.name) };
        check_permit(&request.permit, resource)?;
        self.check_exists(resource)?;
        let current: Values = self
            .image
            .configs
            .get(resource)
            .map(|map| map.iter().map(|(name, value)| (Arc::clone(name), Arc::clone(value))).collect())
            .unwrap_or_default();
        let changes = match &request.change {
            ConfigChange::Replace(wanted) => replaced(&current, wanted),
            ConfigChange::Operations(operations) => self.operated(resource, &current, operations)?,
        };
        check_internal(resource, changes.iter().map(|(name, _)| &**name))?;
        let mut after = current;
        for (name, value) in &changes {
            match value {
                Some(value) if value.len() > MAX_VALUE => {
                    let text = "The configuration value cannot be added because it exceeds the maximum value size of \
                                32767 bytes.";
                    return Err(ApiError::new(ErrorCode::InvalidConfig, text));
                }
                Some(value) => drop(after.insert(Arc::clone(name), Arc::clone(value))),
                None => drop(after.remove(name)),
            }
        }
        self.check_values(resource, &after)?;
        Ok(self.records_of(resource, changes))
    }

    fn check_exists(&self, resource: &ConfigResource) -> Result<(), ApiError> {
        let name = &*resource.name;
        match resource.resource_type {
            ConfigResourceType::TOPIC if self.image.topics.id(name).is_none() => {
                let text = format!("The topic '{name}' does not exist.");
                Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, text))
            }
            ConfigResourceType::BROKER if !name.is_empty() => {
                let invalid = || ApiError::new(ErrorCode::InvalidRequest, format!("Invalid broker name {name}"));
                let id: i32 = name.parse().map_err(|_| invalid())?;
                match self.image.cluster.broker(BrokerId(id)) {
                    Some(_) => Ok(()),
                    None => {
                        let text = format!("No broker with id {id} found.");
                        Err(ApiError::new(ErrorCode::BrokerIdNotRegistered, text))
                    }
                }
            }
            _ => Ok(()),
        }
    }

    /// What the operations make of the present values, in the order of the request.
    fn operated(
        &self,
        resource: &ConfigResource,
        current: &Values,
        operations: &[(Arc<str>, ConfigOperation)],
    ) -> Result<Changes, ApiError> {
        let mut changes = Vec::with_capacity(operations.len());
        for (name, operation) in operations {
            let value = match operation {
                ConfigOperation::Set(value) => Some(Arc::clone(value)),
                ConfigOperation::Delete => None,
                ConfigOperation::Append(parts) => {
                    let mut list = self.list_of(resource, current, name, "APPEND")?;
                    for part in parts.split(',') {
                        if !list.iter().any(|known| known == part) {
                            list.push(part.to_owned());
                        }
                    }
                    Some(list.join(",").into())
                }
                ConfigOperation::Subtract(parts) => {
                    let mut list = self.list_of(resource, current, name, "SUBTRACT")?;
                    for part in parts.split(',') {
                        if let Some(at) = list.iter().position(|known| known == part) {
                            list.remove(at);
                        }
                    }
                    Some(list.join(",").into())
                }
            };
            // For brokers a record is written even if nothing changes: it has them read their files again (KAFKA-14136).
            let changes_nothing = current.get(name) == value.as_ref();
            if !changes_nothing || resource.resource_type == ConfigResourceType::BROKER {
                changes.push((Arc::clone(name), value));
            }
        }
        Ok(changes)
    }

    /// The present list behind a config.
    fn list_of(
        &self,
        resource: &ConfigResource,
        current: &Values,
        name: &str,
        operation: &str,
    ) -> Result<Vec<String>, ApiError> {
        let key = match resource.resource_type {
            ConfigResourceType::TOPIC => keys::topic(name),
            ConfigResourceType::BROKER => keys::kafka_broker(name),
            ConfigResourceType::GROUP => keys::group(name),
            _ => None,
        };
        if key.is_none_or(|key| key.kind != Kind::List) {
            let text = format!("Can't {operation} to key {name} because its type is not LIST.");
            return Err(ApiError::new(ErrorCode::InvalidConfig, text));
        }
        let text = match (current.get(name), resource.resource_type) {
            (Some(text), _) => text.to_string(),
            (None, ConfigResourceType::TOPIC) => {
                let topic = TopicName::from(&*resource.name);
                self.effective(&topic, name).to_text().unwrap_or_default()
            }
            (None, _) => self.settings.values.get(name).to_text().unwrap_or_default(),
        };
        Ok(text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
    }

    /// Are the values that would then hold any good?
    fn check_values(&self, resource: &ConfigResource, after: &Values) -> Result<(), ApiError> {
        let invalid = |text: String| ApiError::new(ErrorCode::InvalidConfig, text);
        match resource.resource_type {
            ConfigResourceType::TOPIC => {
                if let Err(error) = TopicName::check_new(&resource.name) {
                    return Err(ApiError::new(ErrorCode::InvalidTopicException, error.sentence(&resource.name)));
                }
                let texts: Vec<(&str, &str)> = after.iter().map(|(name, value)| (&**name, &**value)).collect();
                self.behind(|behind| crate::config::topic::validate_all(&texts, behind)).map_err(invalid)
            }
            // The broker that was asked has judged them.
            ConfigResourceType::BROKER => Ok(()),
            ConfigResourceType::GROUP => {
                for (name, value) in after {
                    let key = keys::group(name).ok_or_else(|| invalid(format!("Unknown group config name: {name}")))?;
                    key.validate(value).map_err(invalid)?;
                }
                Ok(())
            }
            ConfigResourceType::CLIENT_METRICS => {
                let known = ["interval.ms", "match", "metrics"];
                match after.keys().find(|name| !known.contains(&&***name)) {
                    Some(name) => Err(ApiError::new(
                        ErrorCode::InvalidRequest,
                        format!("Unknown client metrics configuration: {name}"),
                    )),
                    None => Ok(()),
                }
            }
            other => {
                let text = format!("Unknown resource type {}. Should be TOPIC or BROKER.", other.0);
                Err(ApiError::new(ErrorCode::InvalidRequest, text))
            }
        }
    }

    fn records_of(&self, resource: &ConfigResource, changes: Changes) -> Vec<RecordAndVersion> {
        let touches_isr = changes.iter().any(|(name, _)| &**name == MIN_INSYNC_REPLICAS);
        let mut records: Vec<_> = changes
            .into_iter()
            .map(|(name, value)| {
                RecordAndVersion::v0(ConfigRecord {
                    resource_type: resource.resource_type.0,
                    resource_name: (&*resource.name).into(),
                    name: (&*name).into(),
                    value: value.map(|value| (&*value).into()),
                })
            })
            .collect();
        // What makes a replica eligible changes with it (KIP-966).
        if touches_isr && self.is_elr_enabled() && resource.resource_type == ConfigResourceType::TOPIC {
            records.push(RecordAndVersion::v0(ClearElrRecord { topic_name: (&*resource.name).into() }));
        }
        records
    }
}

/// A permit is for what is changed, and for nothing else.
fn check_permit(permit: &Permit<op::AlterConfigs>, resource: &ConfigResource) -> Result<(), ApiError> {
    let (fits, code) = match (resource.resource_type, permit.resource()) {
        (ConfigResourceType::TOPIC, Resource::Topic { name, .. }) => {
            (name.as_str() == &*resource.name, ErrorCode::TopicAuthorizationFailed)
        }
        (ConfigResourceType::TOPIC, _) => (false, ErrorCode::TopicAuthorizationFailed),
        (ConfigResourceType::GROUP, Resource::Group(name)) => {
            (**name == *resource.name, ErrorCode::GroupAuthorizationFailed)
        }
        (ConfigResourceType::GROUP, _) => (false, ErrorCode::GroupAuthorizationFailed),
        (_, permitted) => (*permitted == Resource::Cluster, ErrorCode::ClusterAuthorizationFailed),
    };
    if fits { Ok(()) } else { Err(ApiError::of(code)) }
}

/// The broker's own topics are compacted and kept: whoever could change that could make it forget.
fn check_internal<'a>(resource: &ConfigResource, mut changed: impl Iterator<Item = &'a str>) -> Result<(), ApiError> {
    if resource.resource_type != ConfigResourceType::TOPIC || !TopicName::is_internal_name(&resource.name) {
        return Ok(());
    }
    match changed.find(|name| *name == "cleanup.policy" || name.starts_with("retention.")) {
        Some(name) => {
            let text = format!("{name} of the internal topic {} can't be changed.", resource.name);
            Err(ApiError::new(ErrorCode::PolicyViolation, text))
        }
        None => Ok(()),
    }
}

/// The changes that leave these values and no others.
fn replaced(current: &Values, wanted: &[(Arc<str>, Arc<str>)]) -> Changes {
    let mut changes: Changes = wanted
        .iter()
        .filter(|(name, value)| current.get(name) != Some(value))
        .map(|(name, value)| (Arc::clone(name), Some(Arc::clone(value))))
        .collect();
    let is_wanted = |name: &Arc<str>| wanted.iter().any(|(wanted, _)| wanted == name);
    changes.extend(current.keys().filter(|name| !is_wanted(name)).map(|name| (Arc::clone(name), None)));
    changes
}
