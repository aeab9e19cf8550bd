//! Access control entries.

use std::fmt;
use std::sync::Arc;

use super::resource::ResourcePattern;

/// `org.apache.kafka.common.acl.AclOperation`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AclOperation {
    Unknown = 0,
    Any = 1,
    All = 2,
    Read = 3,
    Write = 4,
    Create = 5,
    Delete = 6,
    Alter = 7,
    Describe = 8,
    ClusterAction = 9,
    DescribeConfigs = 10,
    AlterConfigs = 11,
    IdempotentWrite = 12,
    CreateTokens = 13,
    DescribeTokens = 14,
    TwoPhaseCommit = 15,
}

impl AclOperation {
    /// The operations a request can need.
    pub const CONCRETE: [Self; 13] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::Delete,
        Self::Alter,
        Self::Describe,
        Self::ClusterAction,
        Self::DescribeConfigs,
        Self::AlterConfigs,
        Self::IdempotentWrite,
        Self::CreateTokens,
        Self::DescribeTokens,
        Self::TwoPhaseCommit,
    ];

    pub const fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Any,
            2 => Self::All,
            3 => Self::Read,
            4 => Self::Write,
            5 => Self::Create,
            6 => Self::Delete,
            7 => Self::Alter,
            8 => Self::Describe,
            9 => Self::ClusterAction,
            10 => Self::DescribeConfigs,
            11 => Self::AlterConfigs,
            12 => Self::IdempotentWrite,
            13 => Self::CreateTokens,
            14 => Self::DescribeTokens,
            15 => Self::TwoPhaseCommit,
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
            Self::All => "ALL",
            Self::Read => "READ",
            Self::Write => "WRITE",
            Self::Create => "CREATE",
            Self::Delete => "DELETE",
            Self::Alter => "ALTER",
            Self::Describe => "DESCRIBE",
            Self::ClusterAction => "CLUSTER_ACTION",
            Self::DescribeConfigs => "DESCRIBE_CONFIGS",
            Self::AlterConfigs => "ALTER_CONFIGS",
            Self::IdempotentWrite => "IDEMPOTENT_WRITE",
            Self::CreateTokens => "CREATE_TOKENS",
            Self::DescribeTokens => "DESCRIBE_TOKENS",
            Self::TwoPhaseCommit => "TWO_PHASE_COMMIT",
        }
    }
}

/// `org.apache.kafka.common.acl.AclPermissionType`
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum AclPermission {
    Unknown = 0,
    Any = 1,
    Deny = 2,
    Allow = 3,
}

impl AclPermission {
    pub const fn from_code(code: i8) -> Self {
        match code {
            1 => Self::Any,
            2 => Self::Deny,
            3 => Self::Allow,
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
            Self::Deny => "DENY",
            Self::Allow => "ALLOW",
        }
    }
}

/// One rule: who, from where, may or may not do what on which resource.
///
/// `principal` is `Type:name` text or `User:*`; `host` is the text Java prints for an address, or `*`: both are compared
/// byte for byte, as `StandardAuthorizer` does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AclBinding {
    pub pattern: ResourcePattern,
    pub principal: Arc<str>,
    pub host: Arc<str>,
    pub operation: AclOperation,
    pub permission: AclPermission,
}

impl AclBinding {
    /// Matches every host.
    pub const WILDCARD_HOST: &'static str = "*";
    /// Matches every principal of type `User`.
    pub const WILDCARD_PRINCIPAL: &'static str = "User:*";
}

impl fmt::Display for AclBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "(pattern={}, entry=(principal={}, host={}, operation={}, permissionType={}))",
            self.pattern,
            self.principal,
            self.host,
            self.operation.name(),
            self.permission.name()
        )
    }
}
