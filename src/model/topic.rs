//! Topics and partitions.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use super::uuid::Uuid;

/// A topic's name. Any text: whether it is a legal name for a new topic is [`TopicName::check_new`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicName(Arc<str>);

/// Why `org.apache.kafka.common.internals.Topic.validate` refuses a name; the texts are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TopicNameError {
    #[error("the empty string is not allowed")]
    Empty,
    #[error("'.' is not allowed")]
    Dot,
    #[error("'..' is not allowed")]
    DotDot,
    #[error("the length of the name is longer than the max allowed length 249")]
    TooLong,
    #[error("contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'")]
    Character,
}

impl TopicNameError {
    /// Kafka's sentence about `name`.
    pub fn sentence(self, name: &str) -> String {
        let what = match self {
            Self::TooLong => {
                format!("the length of '{name}' is longer than the max allowed length {}", TopicName::MAX_LENGTH)
            }
            Self::Character => format!("'{name}' {self}"),
            Self::Empty | Self::Dot | Self::DotDot => self.to_string(),
        };
        format!("Topic name is invalid: {what}")
    }
}

impl TopicName {
    /// Kafka's `Topic.MAX_NAME_LENGTH`, in characters.
    pub const MAX_LENGTH: usize = 249;
    pub const CLUSTER_METADATA: &'static str = "__cluster_metadata";
    pub const CONSUMER_OFFSETS: &'static str = "__consumer_offsets";
    pub const TRANSACTION_STATE: &'static str = "__transaction_state";
    pub const SHARE_GROUP_STATE: &'static str = "__share_group_state";
    /// What only Schloss knows (see `ARCHITECTURE.md`, decision 4).
    pub const SCHLOSS_STATE: &'static str = "__schloss_state";

    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Topics that belong to the broker: never written by clients (`Topic.isInternal`, and our own).
    pub fn is_internal(&self) -> bool {
        Self::is_internal_name(&self.0)
    }

    pub fn is_internal_name(name: &str) -> bool {
        matches!(name, Self::CONSUMER_OFFSETS | Self::TRANSACTION_STATE | Self::SHARE_GROUP_STATE | Self::SCHLOSS_STATE)
    }

    /// `Topic.validate`: may a topic of this name be created?
    ///
    /// # Errors
    /// The first rule the name breaks, in Kafka's order.
    pub fn check_new(name: &str) -> Result<(), TopicNameError> {
        match name {
            "" => Err(TopicNameError::Empty),
            "." => Err(TopicNameError::Dot),
            ".." => Err(TopicNameError::DotDot),
            _ if name.chars().count() > Self::MAX_LENGTH => Err(TopicNameError::TooLong),
            _ if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-')) => {
                Err(TopicNameError::Character)
            }
            _ => Ok(()),
        }
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for TopicName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// A topic's identity: a deleted topic made again under its name has another one (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct TopicId(pub Uuid);

impl TopicId {
    pub const ZERO: Self = Self(Uuid::ZERO);
    /// `Uuid.METADATA_TOPIC_ID`
    pub const CLUSTER_METADATA: Self = Self(Uuid::ONE);
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// One partition of one incarnation of a topic: the key of everything that must survive delete-and-create-again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicIdPartition {
    pub topic_id: TopicId,
    pub partition: i32,
}

/// A partition by name: directory names, checkpoint files, log lines.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    pub topic: TopicName,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        Self { topic: TopicName::new(topic), partition }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.topic, self.partition)
    }
}
