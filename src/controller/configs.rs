//! Topic configs: checked when they are set, described when a topic is created.
//!
//! Precedent: Kafka's `ConfigurationControlManager` and `KafkaConfigSchema`. Which configs there are is said by `config/`.

use std::sync::Arc;

use super::Controller;
use super::request::ApiError;
use crate::config::keys::Value;
use crate::config::topic::{Behind, Described, describe, validate_all, value};
use crate::metadata::configs::{ConfigMap, ConfigResource, ConfigResourceType};
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::protocol::records::metadata::{ClearElrRecord, ConfigRecord};

/// Longest value of a config, in bytes.
const MAX_VALUE: usize = 32_767;

pub(super) const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
pub(super) const UNCLEAN_LEADER_ELECTION: &str = "unclean.leader.election.enable";

impl Controller {
    /// The overrides that a new topic asks for; a name given twice has its last value.
    pub(super) fn new_topic_overrides(&self, configs: &[(Arc<str>, Option<Arc<str>>)]) -> Result<ConfigMap, ApiError> {
        let refuse = |text: String| ApiError::new(ErrorCode::InvalidConfig, text);
        let nulls: Vec<&str> = configs.iter().filter(|(_, value)| value.is_none()).map(|(name, _)| &**name).collect();
        if !nulls.is_empty() {
            return Err(refuse(format!("Null value not supported for topic configs: {}", nulls.join(","))));
        }
        let mut overrides = ConfigMap::default();
        for (name, value) in configs {
            let Some(value) = value else { continue };
            if value.len() > MAX_VALUE {
                let text =
                    "The configuration value cannot be added because it exceeds the maximum value size of 32767 bytes.";
                return Err(refuse(text.to_owned()));
            }
            overrides.insert_mut(Arc::clone(name), Arc::clone(value));
        }
        let texts: Vec<(&str, &str)> = overrides.iter().map(|(name, value)| (&**name, &**value)).collect();
        self.behind(|behind| validate_all(&texts, behind)).map_err(refuse)?;
        Ok(overrides)
    }

    /// Records that set `overrides` for a topic.
    pub(super) fn config_records(&self, topic: &str, overrides: &ConfigMap) -> Vec<RecordAndVersion> {
        let mut records: Vec<_> = overrides
            .iter()
            .map(|(name, value)| {
                RecordAndVersion::v0(ConfigRecord {
                    resource_type: ConfigResourceType::TOPIC.0,
                    resource_name: topic.into(),
                    name: (&**name).into(),
                    value: Some((&**value).into()),
                })
            })
            .collect();
        // What makes a replica eligible changes with it (KIP-966).
        if self.is_elr_enabled() && overrides.contains_key(MIN_INSYNC_REPLICAS) {
            records.push(RecordAndVersion::v0(ClearElrRecord { topic_name: topic.into() }));
        }
        records
    }

    pub(super) fn describe_configs(&self, overrides: &ConfigMap) -> Vec<Described> {
        self.behind(|behind| describe(&|name| overrides.get(name).cloned(), behind))
    }

    pub(super) fn is_unclean_election_enabled(&self, topic: &TopicName) -> bool {
        self.effective(topic, UNCLEAN_LEADER_ELECTION) == Value::Bool(true)
    }

    pub(super) fn min_insync_replicas(&self, topic: &TopicName) -> usize {
        let number = self.effective(topic, MIN_INSYNC_REPLICAS).number();
        number.and_then(|number| usize::try_from(number).ok()).unwrap_or(1)
    }

    pub(super) fn is_elr_enabled(&self) -> bool {
        self.image.features.is_elr_enabled()
    }

    pub(super) fn effective(&self, topic: &TopicName, name: &str) -> Value {
        let overrides = self.image.configs.get(&ConfigResource::topic(topic.as_str()));
        self.behind(|behind| value(name, &|name| overrides?.get(name).cloned(), behind))
    }

    /// What stands behind a topic's own values: those of this broker, of all brokers, of its file.
    pub(super) fn behind<T>(&self, ask: impl FnOnce(Behind<'_>) -> T) -> T {
        let configs = &self.image.configs;
        let broker = configs.get(&ConfigResource::broker(self.settings.node_id.0));
        let cluster = configs.get(&ConfigResource::default_broker());
        ask(Behind {
            values: &self.settings.values,
            broker: &|name| broker?.get(name).cloned(),
            cluster: &|name| cluster?.get(name).cloned(),
        })
    }
}
