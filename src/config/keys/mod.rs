//! Every configuration key there is, as one table, and what can be derived from a line of it.
//!
//! The precedent is Kafka's `ConfigDef` (`KafkaConfig`, `LogConfig`, `GroupConfig`): parsing, validation and their error
//! texts are the same, because tools show them and people match on them. DescribeConfigs, AlterConfigs, the readers of
//! files and `explain KEY` use this and nothing beside it. Does not know what a value is used for.

use std::fmt;

pub use value::Value;

pub(crate) mod value;

/// One line of the table.
#[derive(Debug, PartialEq)]
pub struct Key {
    pub name: &'static str,
    pub kind: Kind,
    pub default: Default,
    pub valid: Valid,
    pub mode: Mode,
    pub scope: Scope,
    pub importance: Importance,
    pub status: Status,
    pub doc: &'static str,
}

/// `ConfigDef.Type`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Kind {
    /// As Kafka's error texts print it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }

    /// `DescribeConfigsResponse.ConfigType`
    pub const fn wire_id(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }
}

/// What holds when nobody sets the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Default {
    Text(&'static str),
    Null,
    /// There is none: somebody must.
    Required,
}

/// `ConfigDef.Validator`
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Valid {
    Any,
    AtLeast(i64),
    Between(i64, i64),
    Fraction(f64, f64),
    OneOf(&'static [&'static str]),
    OneOfAnyCase(&'static [&'static str]),
    List { of: &'static [&'static str], may_be_empty: bool },
    NonEmptyString,
    GzipLevel,
    ThrottledReplicas,
    QuorumVoters,
    BootstrapServers,
    OffsetReset,
}

/// Whether and how a broker key changes without a restart (`DynamicBrokerConfig`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Mode {
    ReadOnly,
    PerBroker,
    ClusterWide,
}

impl Mode {
    pub const fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read-only",
            Self::PerBroker => "per-broker",
            Self::ClusterWide => "cluster-wide",
        }
    }
}

/// Where a key may stand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Scope {
    /// As it is.
    Node,
    /// Also with `listener.name.<listener>.` in front.
    Listener,
    /// Also with `listener.name.<listener>.<mechanism>.` in front.
    Mechanism,
    /// As it is, but Kafka does not document it and DescribeConfigs leaves it out unless it is set.
    Internal,
    /// Only as a dynamic value.
    Dynamic,
    /// A key Kafka had once.
    Legacy,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Importance {
    High,
    Medium,
    Low,
}

/// What Schloss does with a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Status {
    Used,
    /// Accepted, without effect so far.
    Quiet,
    /// The start is refused unless the key is at its default: it is meant to protect, or asks for what is not there.
    Refused,
}

impl Key {
    /// Whether the value is never shown.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// Parses a text as this key's type.
    ///
    /// # Errors
    /// Kafka's text (`ConfigDef.parseType`).
    pub fn parse(&self, text: &str) -> Result<Value, String> {
        value::parse(self, text)
    }

    /// Parses and checks a text.
    ///
    /// # Errors
    /// Kafka's text: not of this type, or not a valid value.
    pub fn validate(&self, text: &str) -> Result<Value, String> {
        let value = self.parse(text)?;
        value::check(self, &value)?;
        Ok(value)
    }

    /// The default as a value; `Null` when there is none.
    pub fn default_value(&self) -> Value {
        match self.default {
            Default::Text(text) => self.parse(text).unwrap_or(Value::Null),
            Default::Null | Default::Required => Value::Null,
        }
    }

    /// Whether a value is what would hold anyway. An empty text is as good as none where the default is null.
    pub fn is_default(&self, value: &Value) -> bool {
        *value == self.default_value()
            || (self.default == Default::Null && matches!(value, Value::Text(text) if text.is_empty()))
    }

    /// The names of the valid values, if they can be listed.
    pub fn valid_names(&self) -> &'static [&'static str] {
        match self.valid {
            Valid::OneOf(names) | Valid::OneOfAnyCase(names) | Valid::List { of: names, .. } => names,
            _ => &[],
        }
    }
}

impl fmt::Display for Valid {
    /// As Kafka's documentation prints a validator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => Ok(()),
            Self::AtLeast(low) => write!(f, "[{low},...]"),
            Self::Between(low, high) => write!(f, "[{low},...,{high}]"),
            Self::Fraction(low, high) => write!(f, "[{low},...,{high}]"),
            Self::OneOf(names) => write!(f, "[{}]", names.join(", ")),
            Self::OneOfAnyCase(names) => write!(f, "(case insensitive) [{}]", names.join(", ")),
            Self::List { of: [], .. } => Ok(()),
            Self::List { of, .. } => write!(f, "[{}]", of.join(", ")),
            Self::NonEmptyString => f.write_str("non-empty string"),
            Self::GzipLevel => f.write_str("[1,...,9] or -1"),
            Self::ThrottledReplicas => f.write_str("[partitionId]:[brokerId],[partitionId]:[brokerId],..."),
            Self::QuorumVoters | Self::BootstrapServers => f.write_str("non-empty list"),
            Self::OffsetReset => f.write_str("[latest, earliest, by_duration:PnDTnHnMn.nS]"),
        }
    }
}

/// Turns the lines of the table into [`Key`]s.
macro_rules! keys {
    ($table:ident: $doc:literal
     $($name:literal $kind:ident $default:tt $valid:tt $mode:ident $scope:ident $importance:ident $status:ident $text:literal;)*) => {
        #[doc = $doc]
        pub static $table: &[Key] = &[$(Key {
            name: $name,
            kind: column!(kind $kind),
            default: column!(default $default),
            valid: column!(valid $valid),
            mode: column!(mode $mode),
            scope: column!(scope $scope),
            importance: column!(importance $importance),
            status: column!(status $status),
            doc: $text,
        }),*];
    };
}

macro_rules! column {
    (kind boolean) => { Kind::Boolean };
    (kind string) => { Kind::String };
    (kind int) => { Kind::Int };
    (kind short) => { Kind::Short };
    (kind long) => { Kind::Long };
    (kind double) => { Kind::Double };
    (kind list) => { Kind::List };
    (kind class) => { Kind::Class };
    (kind password) => { Kind::Password };
    (default null) => { Default::Null };
    (default required) => { Default::Required };
    (default $text:literal) => { Default::Text($text) };
    (valid (any)) => { Valid::Any };
    (valid (at_least $low:literal)) => { Valid::AtLeast($low) };
    (valid (between $low:literal, $high:literal)) => { Valid::Between($low, $high) };
    (valid (fraction $low:literal, $high:literal)) => { Valid::Fraction($low, $high) };
    (valid (one_of $($name:literal)*)) => { Valid::OneOf(&[$($name),*]) };
    (valid (one_of_any_case $($name:literal)*)) => { Valid::OneOfAnyCase(&[$($name),*]) };
    (valid (list)) => { Valid::List { of: &[], may_be_empty: true } };
    (valid (list of $($name:literal)*)) => { Valid::List { of: &[$($name),*], may_be_empty: true } };
    (valid (non_empty list)) => { Valid::List { of: &[], may_be_empty: false } };
    (valid (non_empty list of $($name:literal)*)) => { Valid::List { of: &[$($name),*], may_be_empty: false } };
    (valid (non_empty string)) => { Valid::NonEmptyString };
    (valid (gzip_level)) => { Valid::GzipLevel };
    (valid (throttled_replicas)) => { Valid::ThrottledReplicas };
    (valid (voters)) => { Valid::QuorumVoters };
    (valid (bootstrap_servers)) => { Valid::BootstrapServers };
    (valid (offset_reset)) => { Valid::OffsetReset };
    (mode fixed) => { Mode::ReadOnly };
    (mode broker) => { Mode::PerBroker };
    (mode cluster) => { Mode::ClusterWide };
    (scope node) => { Scope::Node };
    (scope listener) => { Scope::Listener };
    (scope mechanism) => { Scope::Mechanism };
    (scope internal) => { Scope::Internal };
    (scope dynamic) => { Scope::Dynamic };
    (scope legacy) => { Scope::Legacy };
    (importance high) => { Importance::High };
    (importance medium) => { Importance::Medium };
    (importance low) => { Importance::Low };
    (status used) => { Status::Used };
    (status quiet) => { Status::Quiet };
    (status refused) => { Status::Refused };
}

mod table;

pub use table::{BROKER, GROUP, LEGACY, SCHLOSS, TOPIC};

fn find(table: &'static [Key], name: &str) -> Option<&'static Key> {
    table.binary_search_by(|key| key.name.cmp(name)).ok().and_then(|at| table.get(at))
}

/// A key of a broker or controller, ours and the abandoned ones included.
pub fn broker(name: &str) -> Option<&'static Key> {
    [BROKER, SCHLOSS, LEGACY].into_iter().find_map(|table| find(table, name))
}

/// A key that Kafka 4.3.1 itself has for brokers: what DescribeConfigs lists.
pub fn kafka_broker(name: &str) -> Option<&'static Key> {
    find(BROKER, name)
}

pub fn topic(name: &str) -> Option<&'static Key> {
    find(TOPIC, name)
}

pub fn group(name: &str) -> Option<&'static Key> {
    find(GROUP, name)
}

/// Every name a broker's file may hold.
pub fn broker_names() -> impl Iterator<Item = &'static str> {
    [BROKER, SCHLOSS, LEGACY].into_iter().flatten().map(|key| key.name)
}

/// The key behind `listener.name.<listener>.[<mechanism>.]<key>`.
pub fn of_a_listener(name: &str) -> Option<&'static Key> {
    let (_, rest) = name.strip_prefix("listener.name.")?.split_once('.')?;
    kafka_broker(rest).or_else(|| kafka_broker(rest.split_once('.')?.1))
}

/// A broker key that gives a topic key its default, and the factor from its unit to the topic key's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TopicSynonym {
    pub broker_key: &'static str,
    pub factor: i64,
}

const fn same(broker_key: &'static str) -> TopicSynonym {
    TopicSynonym { broker_key, factor: 1 }
}

const MS_PER_MINUTE: i64 = 60_000;
const MS_PER_HOUR: i64 = 3_600_000;

/// `ServerTopicConfigSynonyms`: topic key, and the broker keys behind it, the strongest first.
pub static TOPIC_SYNONYMS: &[(&str, &[TopicSynonym])] = &[
    ("cleanup.policy", &[same("log.cleanup.policy")]),
    ("compression.gzip.level", &[same("compression.gzip.level")]),
    ("compression.lz4.level", &[same("compression.lz4.level")]),
    ("compression.type", &[same("compression.type")]),
    ("compression.zstd.level", &[same("compression.zstd.level")]),
    ("delete.retention.ms", &[same("log.cleaner.delete.retention.ms")]),
    ("file.delete.delay.ms", &[same("log.segment.delete.delay.ms")]),
    ("flush.messages", &[same("log.flush.interval.messages")]),
    ("flush.ms", &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")]),
    ("index.interval.bytes", &[same("log.index.interval.bytes")]),
    ("local.retention.bytes", &[same("log.local.retention.bytes")]),
    ("local.retention.ms", &[same("log.local.retention.ms")]),
    ("max.compaction.lag.ms", &[same("log.cleaner.max.compaction.lag.ms")]),
    ("max.message.bytes", &[same("message.max.bytes")]),
    ("message.timestamp.after.max.ms", &[same("log.message.timestamp.after.max.ms")]),
    ("message.timestamp.before.max.ms", &[same("log.message.timestamp.before.max.ms")]),
    ("message.timestamp.type", &[same("log.message.timestamp.type")]),
    ("min.cleanable.dirty.ratio", &[same("log.cleaner.min.cleanable.ratio")]),
    ("min.compaction.lag.ms", &[same("log.cleaner.min.compaction.lag.ms")]),
    ("min.insync.replicas", &[same("min.insync.replicas")]),
    ("preallocate", &[same("log.preallocate")]),
    ("retention.bytes", &[same("log.retention.bytes")]),
    (
        "retention.ms",
        &[
            same("log.retention.ms"),
            TopicSynonym { broker_key: "log.retention.minutes", factor: MS_PER_MINUTE },
            TopicSynonym { broker_key: "log.retention.hours", factor: MS_PER_HOUR },
        ],
    ),
    ("segment.bytes", &[same("log.segment.bytes")]),
    ("segment.index.bytes", &[same("log.index.size.max.bytes")]),
    (
        "segment.jitter.ms",
        &[same("log.roll.jitter.ms"), TopicSynonym { broker_key: "log.roll.jitter.hours", factor: MS_PER_HOUR }],
    ),
    ("segment.ms", &[same("log.roll.ms"), TopicSynonym { broker_key: "log.roll.hours", factor: MS_PER_HOUR }]),
    ("unclean.leader.election.enable", &[same("unclean.leader.election.enable")]),
];

/// The broker keys behind a topic key; empty if it has none.
pub fn topic_synonyms(topic_key: &str) -> &'static [TopicSynonym] {
    TOPIC_SYNONYMS.iter().find(|(key, _)| *key == topic_key).map_or(&[], |(_, synonyms)| synonyms)
}

/// `DynamicBrokerConfig.brokerConfigSynonyms`: the broker keys that together decide this one, the strongest first. A key
/// that stands alone gives nothing.
pub fn broker_synonyms(name: &str) -> &'static [&'static str] {
    static GROUPS: &[&[&str]] = &[
        &["log.retention.ms", "log.retention.minutes", "log.retention.hours"],
        &["log.roll.ms", "log.roll.hours"],
        &["log.roll.jitter.ms", "log.roll.jitter.hours"],
    ];
    if name == "log.flush.interval.ms" {
        return &["log.flush.interval.ms", "log.flush.scheduler.interval.ms"];
    }
    GROUPS.iter().find(|group| group.contains(&name)).copied().unwrap_or(&[])
}

/// Prefixes of keys that are meant to protect: unknown or not built is never silent there.
const PROTECTING: [&str; 8] =
    ["ssl.", "sasl.", "security.", "listener.", "authorizer.", "super.", "principal.", "allow."];

/// Whether an operator would believe that a key of this name protects something.
pub fn is_protecting(name: &str) -> bool {
    PROTECTING.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests;
