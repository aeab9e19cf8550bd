//! Topic configs: checked when they are set, described when a topic is created.
//!
//! Precedent: Kafka's `ConfigurationControlManager` and `KafkaConfigSchema`.

use std::fmt;
use std::sync::Arc;

use super::Controller;
use super::request::ApiError;
use crate::metadata::configs::{ConfigMap, ConfigResource, ConfigResourceType};
use crate::metadata::features::FeaturesImage;
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::protocol::records::metadata::{ClearElrRecord, ConfigRecord};

/// What is known about the configs a topic can have.
pub trait TopicConfigSchema: fmt::Debug + Send + Sync {
    /// Would a topic with these overrides be a legal one?
    ///
    /// # Errors
    /// Kafka's text of what is wrong.
    fn validate(&self, overrides: &ConfigMap) -> Result<(), String>;

    /// The value in force: the topic's own, else the cluster's default for brokers, else this broker's. `None` for an
    /// unknown name.
    fn effective(
        &self,
        name: &str,
        overrides: Option<&ConfigMap>,
        cluster_defaults: Option<&ConfigMap>,
    ) -> Option<Arc<str>>;

    /// Every config of a topic by name, as CreateTopics v5+ answers.
    fn describe(&self, overrides: Option<&ConfigMap>, cluster_defaults: Option<&ConfigMap>) -> Vec<DescribedConfig>;
}

/// One config of a topic as a client sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedConfig {
    pub name: Arc<str>,
    /// `None` where it is a secret.
    pub value: Option<Arc<str>>,
    pub read_only: bool,
    /// `DescribeConfigsResponse.ConfigSource`
    pub source: i8,
    pub sensitive: bool,
}

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
        self.settings.topic_configs.validate(&overrides).map_err(refuse)?;
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

    pub(super) fn describe_configs(&self, overrides: &ConfigMap) -> Vec<DescribedConfig> {
        self.settings.topic_configs.describe(Some(overrides), self.cluster_defaults())
    }

    pub(super) fn is_unclean_election_enabled(&self, topic: &TopicName) -> bool {
        self.effective(topic, UNCLEAN_LEADER_ELECTION).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    pub(super) fn min_insync_replicas(&self, topic: &TopicName) -> usize {
        self.effective(topic, MIN_INSYNC_REPLICAS).and_then(|value| value.parse().ok()).unwrap_or(1)
    }

    pub(super) fn is_elr_enabled(&self) -> bool {
        self.image.features.level(FeaturesImage::ELIGIBLE_LEADER_REPLICAS) >= 1
    }

    fn effective(&self, topic: &TopicName, name: &str) -> Option<Arc<str>> {
        let overrides = self.image.configs.get(&ConfigResource::topic(topic.as_str()));
        self.settings.topic_configs.effective(name, overrides, self.cluster_defaults())
    }

    fn cluster_defaults(&self) -> Option<&ConfigMap> {
        self.image.configs.get(&ConfigResource::default_broker())
    }
}
