//! What rights are about.

use std::fmt;
use std::sync::Arc;

/// `org.apache.kafka.common.resource.ResourceType`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ResourceType {
    Unknown = 0,
    Any = 1,
    Topic = 2,
    Group = 3,
    Cluster = 4,
    TransactionalId = 5,
    DelegationToken = 6,
    User = 7,
}

impl ResourceType {
    /// The types a binding can name.
    pub const CONCRETE: [Self; 6] =
        [Self::Topic, Self::Group, Self::Cluster, Self::TransactionalId, Self::DelegationToken, Self::User];

    pub const fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Any,
            2 => Self::Topic,
            3 => Self::Group,
            4 => Self::Cluster,
            5 => Self::TransactionalId,
            6 => Self::DelegationToken,
            7 => Self::User,
            _ => Self::Unknown,
        }
    }

    pub const fn code(self) -> i8 {
        self as i8
    }

    /// As `kafka-acls` prints it: `TOPIC`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Any => "ANY",
            Self::Topic => "TOPIC",
            Self::Group => "GROUP",
            Self::Cluster => "CLUSTER",
            Self::TransactionalId => "TRANSACTIONAL_ID",
            Self::DelegationToken => "DELEGATION_TOKEN",
            Self::User => "USER",
        }
    }

    /// As the authorizer's log prints it (`SecurityUtils.resourceTypeName`): `Topic`, `TransactionalId`.
    pub const fn log_name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Any => "Any",
            Self::Topic => "Topic",
            Self::Group => "Group",
            Self::Cluster => "Cluster",
            Self::TransactionalId => "TransactionalId",
            Self::DelegationToken => "DelegationToken",
            Self::User => "User",
        }
    }
}

/// `org.apache.kafka.common.resource.PatternType`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum PatternType {
    Unknown = 0,
    Any = 1,
    Match = 2,
    Literal = 3,
    Prefixed = 4,
}

impl PatternType {
    pub const fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Any,
            2 => Self::Match,
            3 => Self::Literal,
            4 => Self::Prefixed,
            _ => Self::Unknown,
        }
    }

    pub const fn code(self) -> i8 {
        self as i8
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN",
            Self::Any => "ANY",
            Self::Match => "MATCH",
            Self::Literal => "LITERAL",
            Self::Prefixed => "PREFIXED",
        }
    }
}

/// A type, a name and how the name is meant.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ResourcePattern {
    pub resource_type: ResourceType,
    pub name: Arc<str>,
    pub pattern_type: PatternType,
}

impl ResourcePattern {
    /// `ResourcePattern.WILDCARD_RESOURCE`
    pub const WILDCARD: &'static str = "*";
    /// The one name a cluster has (`Resource.CLUSTER_NAME`).
    pub const CLUSTER_NAME: &'static str = "kafka-cluster";

    pub fn literal(resource_type: ResourceType, name: &str) -> Self {
        Self { resource_type, name: name.into(), pattern_type: PatternType::Literal }
    }

    pub fn cluster() -> Self {
        Self::literal(ResourceType::Cluster, Self::CLUSTER_NAME)
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ResourcePattern(resourceType={}, name={}, patternType={})",
            self.resource_type.name(),
            self.name,
            self.pattern_type.name()
        )
    }
}
