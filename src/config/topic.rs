//! A topic's configuration: its own overrides over the broker's keys of the same meaning.
//!
//! The precedent is `LogConfig`; texts are Kafka's. Nothing here knows a log: the floors above hand the values on.

use std::sync::Arc;

use super::keys::{self, Key, Scope, Value};
use super::values::{ConfigSource, Values};
use crate::model::compression::{CompressionType, TimestampType};

/// Every key of a topic, typed. Sizes in bytes; -1 in `retention_*` is "no limit", as in Kafka.
#[derive(Clone, PartialEq, Debug)]
pub struct TopicConfig {
    pub cleanup_delete: bool,
    pub cleanup_compact: bool,
    /// `None` keeps what the producer chose.
    pub compression_type: Option<CompressionType>,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub follower_replication_throttled_replicas: Vec<String>,
    pub index_interval_bytes: i32,
    pub leader_replication_throttled_replicas: Vec<String>,
    pub local_retention_bytes: i64,
    pub local_retention_ms: i64,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

/// One key as DescribeConfigs and CreateTopics answer it.
#[derive(Clone, PartialEq, Debug)]
pub struct Described {
    pub name: Arc<str>,
    /// `None` for null and for secrets.
    pub value: Option<String>,
    pub source: ConfigSource,
    pub read_only: bool,
    pub sensitive: bool,
    /// `None`: a name Kafka does not know.
    pub key: Option<&'static Key>,
    /// The values behind it, the one in force first.
    pub synonyms: Vec<Synonym>,
}

/// A value that would hold if the ones before it were not there.
#[derive(Clone, PartialEq, Debug)]
pub struct Synonym {
    pub name: Arc<str>,
    pub value: Option<String>,
    pub source: ConfigSource,
}

/// Looks a name up among values that were set at run time.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<Arc<str>>;

/// No values set at run time.
pub fn nothing(_: &str) -> Option<Arc<str>> {
    None
}

/// What stands behind a topic's own overrides.
#[derive(Clone, Copy)]
pub struct Behind<'a> {
    /// The node's file, overrides and defaults.
    pub values: &'a Values,
    /// Dynamic values of this broker.
    pub broker: Lookup<'a>,
    /// Dynamic values for all brokers.
    pub cluster: Lookup<'a>,
}

impl std::fmt::Debug for Behind<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Behind").finish_non_exhaustive()
    }
}

impl<'a> Behind<'a> {
    /// Static values alone.
    pub fn fixed(values: &'a Values) -> Self {
        Self { values, broker: &nothing, cluster: &nothing }
    }

    /// The value that was given to a broker key, the strongest.
    fn given(&self, name: &'static str) -> Option<Synonym> {
        self.synonyms(name, &[name]).into_iter().find(|synonym| synonym.source != ConfigSource::Default)
    }

    /// The values behind a broker key, by source and then in the order of `names`; what stands before the first value of
    /// the key itself is left out, as `ConfigHelper.configSynonyms` does.
    pub(super) fn synonyms(&self, name: &'static str, names: &[&'static str]) -> Vec<Synonym> {
        let fixed = |name: &str| {
            let text = self.values.text(name).filter(|text| !text.is_empty());
            let canonical = || self.values.get(name).to_text().map(Arc::from);
            self.values.is_set(name).then(|| text.cloned().or_else(canonical)).flatten()
        };
        let default = |name: &str| self.values.default_value(name).to_text().map(Arc::from);
        let layers: [(Lookup<'_>, ConfigSource); 4] = [
            (self.broker, ConfigSource::DynamicBroker),
            (self.cluster, ConfigSource::DynamicDefaultBroker),
            (&fixed, ConfigSource::StaticBroker),
            (&default, ConfigSource::Default),
        ];
        let all = layers.into_iter().flat_map(|(look_up, source)| {
            names.iter().filter_map(move |name| {
                let value = look_up(name)?.to_string();
                Some(Synonym { name: Arc::from(*name), value: Some(value), source })
            })
        });
        all.skip_while(|synonym| &*synonym.name != name).collect()
    }
}

/// Is this a legal value for this key of a topic?
///
/// # Errors
/// Kafka's text.
pub fn validate(name: &str, text: &str) -> Result<Value, String> {
    keys::topic(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?.validate(text)
}

/// Would a topic with these overrides be legal?
///
/// # Errors
/// Kafka's text for the first thing that is wrong (`LogConfig.validate`: names, values, then what contradicts).
pub fn validate_all(overrides: &[(&str, &str)], behind: Behind<'_>) -> Result<(), String> {
    if let Some((name, _)) = overrides.iter().find(|(name, _)| keys::topic(name).is_none()) {
        return Err(format!("Unknown topic config name: {name}"));
    }
    for (name, text) in overrides {
        validate(name, text)?;
    }
    let over = |name: &str| overrides.iter().rev().find(|(key, _)| *key == name).map(|(_, text)| Arc::from(*text));
    let number = |name: &str| value(name, &over, behind).number().unwrap_or(0);
    let (min, max) = (number("min.compaction.lag.ms"), number("max.compaction.lag.ms"));
    if min > max {
        return Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        ));
    }
    if value("remote.storage.enable", &over, behind) == Value::Bool(true) {
        return Err(
            "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log \
                    storage."
                .to_owned(),
        );
    }
    Ok(())
}

/// The value of one topic key in force.
pub fn value(name: &str, overrides: Lookup<'_>, behind: Behind<'_>) -> Value {
    let Some(key) = keys::topic(name) else { return Value::Null };
    if let Some(value) = overrides(name).and_then(|text| key.parse(&text).ok()) {
        return value;
    }
    for synonym in keys::topic_synonyms(name) {
        let Some(text) = behind.given(synonym.broker_key).and_then(|found| found.value) else { continue };
        if let Some(value) = scaled(key, &text, synonym.factor) {
            return value;
        }
    }
    let default = keys::topic_synonyms(name).first().map(|first| behind.values.default_value(first.broker_key));
    match default {
        Some(default) if default != Value::Null => {
            default.to_text().and_then(|text| key.parse(&text).ok()).unwrap_or(Value::Null)
        }
        _ => key.default_value(),
    }
}

/// A broker key's text in the topic key's unit. Negative means "no limit" and stays.
fn scaled(key: &Key, text: &str, factor: i64) -> Option<Value> {
    if factor == 1 {
        return key.parse(text).ok();
    }
    let number: i64 = text.trim().parse().ok()?;
    Some(Value::Long(if number < 0 { -1 } else { number.saturating_mul(factor) }))
}

impl TopicConfig {
    /// The configuration of a topic with these overrides.
    pub fn resolve(overrides: Lookup<'_>, behind: Behind<'_>) -> Self {
        let of = |name: &str| value(name, overrides, behind);
        let long = |name: &str| of(name).number().unwrap_or(0);
        let int = |name: &str| i32::try_from(long(name)).unwrap_or(i32::MAX);
        let list = |name: &str| if let Value::List(items) = of(name) { items } else { Vec::new() };
        let bool = |name: &str| of(name) == Value::Bool(true);
        let text = |name: &str| if let Value::Text(text) = of(name) { text } else { String::new() };
        let policy = list("cleanup.policy");
        Self {
            cleanup_delete: policy.iter().any(|one| one == "delete"),
            cleanup_compact: policy.iter().any(|one| one == "compact"),
            compression_type: compression(&text("compression.type")),
            compression_gzip_level: int("compression.gzip.level"),
            compression_lz4_level: int("compression.lz4.level"),
            compression_zstd_level: int("compression.zstd.level"),
            delete_retention_ms: long("delete.retention.ms"),
            file_delete_delay_ms: long("file.delete.delay.ms"),
            flush_messages: long("flush.messages"),
            flush_ms: long("flush.ms"),
            follower_replication_throttled_replicas: list("follower.replication.throttled.replicas"),
            index_interval_bytes: int("index.interval.bytes"),
            leader_replication_throttled_replicas: list("leader.replication.throttled.replicas"),
            local_retention_bytes: long("local.retention.bytes"),
            local_retention_ms: long("local.retention.ms"),
            max_compaction_lag_ms: long("max.compaction.lag.ms"),
            max_message_bytes: int("max.message.bytes"),
            message_timestamp_after_max_ms: long("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: long("message.timestamp.before.max.ms"),
            message_timestamp_type: match text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: if let Value::Double(ratio) = of("min.cleanable.dirty.ratio") {
                ratio
            } else {
                0.5
            },
            min_compaction_lag_ms: long("min.compaction.lag.ms"),
            min_insync_replicas: int("min.insync.replicas"),
            preallocate: bool("preallocate"),
            retention_bytes: long("retention.bytes"),
            retention_ms: long("retention.ms"),
            // `internal.segment.bytes` is how Kafka's own tests get small segments.
            segment_bytes: match of("internal.segment.bytes") {
                Value::Int(bytes) => bytes,
                _ => int("segment.bytes"),
            },
            segment_index_bytes: int("segment.index.bytes"),
            segment_jitter_ms: long("segment.jitter.ms"),
            segment_ms: long("segment.ms"),
            unclean_leader_election_enable: bool("unclean.leader.election.enable"),
        }
    }
}

fn compression(name: &str) -> Option<CompressionType> {
    match name {
        "uncompressed" => Some(CompressionType::None),
        "gzip" => Some(CompressionType::Gzip),
        "snappy" => Some(CompressionType::Snappy),
        "lz4" => Some(CompressionType::Lz4),
        "zstd" => Some(CompressionType::Zstd),
        _ => None,
    }
}

/// Every key of a topic, as DescribeConfigs lists them (`ConfigHelper.createTopicConfigEntry`).
pub fn describe(overrides: Lookup<'_>, behind: Behind<'_>) -> Vec<Described> {
    let shown = keys::TOPIC.iter().filter(|key| key.scope != Scope::Internal || overrides(key.name).is_some());
    shown.map(|key| describe_one(key, overrides, behind)).collect()
}

fn describe_one(key: &'static Key, overrides: Lookup<'_>, behind: Behind<'_>) -> Described {
    let mut synonyms: Vec<Synonym> = overrides(key.name)
        .map(|text| Synonym { name: key.name.into(), value: Some(text.to_string()), source: ConfigSource::Topic })
        .into_iter()
        .collect();
    let names: Vec<&str> = keys::topic_synonyms(key.name).iter().map(|synonym| synonym.broker_key).collect();
    if let Some(first) = names.first() {
        synonyms.extend(behind.synonyms(first, &names));
    }
    Described {
        name: key.name.into(),
        value: value(key.name, overrides, behind).to_text(),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        read_only: false,
        sensitive: key.is_sensitive(),
        key: Some(key),
        synonyms,
    }
}

/// One key of a broker, as DescribeConfigs lists it (`ConfigHelper.createBrokerConfigEntry`). `per_broker` is false when
/// the defaults of all brokers were asked for.
pub fn describe_broker(name: &str, behind: Behind<'_>, per_broker: bool) -> Described {
    let Some(key) = keys::kafka_broker(name) else {
        let base = keys::of_a_listener(name);
        let key = base.or_else(|| keys::broker(name));
        let own = [
            (ConfigSource::DynamicBroker, (behind.broker)(name).map(|text| text.to_string())),
            (ConfigSource::StaticBroker, behind.values.text(name).map(|text| text.to_string())),
        ];
        let own = own.into_iter().filter_map(|(source, text)| Some((source, text?)));
        let mut synonyms: Vec<Synonym> =
            own.map(|(source, text)| Synonym { name: name.into(), value: Some(text), source }).collect();
        // Behind a listener's own value stands that of all.
        synonyms.extend(base.iter().flat_map(|key| behind.synonyms(key.name, &[key.name])));
        // A name that nobody knows may be a plug-in's secret: never shown. Kafka does not know the authorizer's own either.
        let sensitive = key.is_none_or(Key::is_sensitive);
        if sensitive {
            synonyms.iter_mut().for_each(|synonym| synonym.value = None);
        }
        let value = synonyms.first().and_then(|first| first.value.clone());
        let source = synonyms.first().map_or(ConfigSource::StaticBroker, |first| first.source);
        return Described { name: name.into(), value, source, read_only: true, sensitive, key, synonyms };
    };
    let names = match keys::broker_synonyms(key.name) {
        [] => vec![key.name],
        names => names.to_vec(),
    };
    let mut synonyms = behind.synonyms(key.name, &names);
    if !per_broker {
        synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
    }
    let dynamic = (behind.broker)(key.name).or_else(|| (behind.cluster)(key.name));
    let value = dynamic.and_then(|text| key.parse(&text).ok()).unwrap_or_else(|| behind.values.get(key.name));
    let sensitive = key.is_sensitive();
    if sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    Described {
        name: key.name.into(),
        value: value.to_text().filter(|_| !sensitive),
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        read_only: key.mode == keys::Mode::ReadOnly,
        sensitive,
        key: Some(key),
        synonyms,
    }
}

/// The names DescribeConfigs lists for a broker: Kafka's documented keys, and whatever else was written, in the file or
/// as a dynamic config.
pub fn broker_names<'a>(values: &'a Values, dynamic: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let documented = keys::BROKER.iter().filter(|key| !matches!(key.scope, Scope::Internal | Scope::Dynamic));
    let mut names: Vec<&str> = documented.map(|key| key.name).chain(values.names()).chain(dynamic).collect();
    names.sort_unstable();
    names.dedup();
    names
}

#[cfg(test)]
mod tests;
