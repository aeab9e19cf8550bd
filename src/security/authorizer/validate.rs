//! What CreateAcls and DeleteAcls refuse (`AclApis.handleCreateAcls`, `AclControlManager.validateNewAcl`).

use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::error_code::ErrorCode;
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};

use super::filter::AclFilter;
use super::host::{HostText, classify_host};

/// Why a binding or a filter is refused; every one is INVALID_REQUEST. The texts up to `Principal` are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AclError {
    #[error("The only valid name for the CLUSTER resource is kafka-cluster")]
    ClusterName,
    #[error("Invalid empty resource name")]
    EmptyName,
    #[error("Invalid resourceType {}", .0.name())]
    ResourceType(ResourceType),
    #[error("Invalid patternType {}", .0.name())]
    PatternType(PatternType),
    #[error("Invalid operation {}", .0.name())]
    Operation(AclOperation),
    #[error("Invalid permissionType {}", .0.name())]
    Permission(AclPermission),
    #[error(
        "Could not parse principal from `{0}` (no colon is present separating the principal type from the principal name)"
    )]
    Principal(String),
    #[error("Unknown patternFilter.")]
    UnknownPatternFilter,
    #[error("Unknown entryFilter.")]
    UnknownEntryFilter,
    #[error(
        "Host `{host}` would never match: hosts are compared as text with the address as Java prints it, which is `{java}`"
    )]
    HostSpelling { host: String, java: String },
    #[error("Host `{0}` would never match: it is neither * nor an IP address (no names, no networks)")]
    Host(String),
}

impl AclError {
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidRequest
    }
}

/// Checks a binding that CreateAcls wants to add. `strict` also refuses hosts that can never match.
///
/// # Errors
/// The first rule that is broken, in Kafka's order.
pub fn check_new_acl(acl: &AclBinding, strict: bool) -> Result<(), AclError> {
    let ResourcePattern { resource_type, name, pattern_type } = &acl.pattern;
    if *resource_type == ResourceType::Cluster && &**name != ResourcePattern::CLUSTER_NAME {
        return Err(AclError::ClusterName);
    }
    if name.is_empty() {
        return Err(AclError::EmptyName);
    }
    if matches!(resource_type, ResourceType::Unknown | ResourceType::Any) {
        return Err(AclError::ResourceType(*resource_type));
    }
    if !matches!(pattern_type, PatternType::Literal | PatternType::Prefixed) {
        return Err(AclError::PatternType(*pattern_type));
    }
    if matches!(acl.operation, AclOperation::Unknown | AclOperation::Any) {
        return Err(AclError::Operation(acl.operation));
    }
    if !matches!(acl.permission, AclPermission::Allow | AclPermission::Deny) {
        return Err(AclError::Permission(acl.permission));
    }
    if !acl.principal.contains(':') {
        return Err(AclError::Principal(acl.principal.to_string()));
    }
    if strict {
        match classify_host(&acl.host) {
            HostText::Exact => {}
            HostText::Misspelled(java) => return Err(AclError::HostSpelling { host: acl.host.to_string(), java }),
            HostText::NotAnAddress => return Err(AclError::Host(acl.host.to_string())),
        }
    }
    Ok(())
}

/// Checks a filter of DeleteAcls.
///
/// # Errors
/// If a part holds a value that this version does not know.
pub fn check_filter(filter: &AclFilter) -> Result<(), AclError> {
    if filter.is_pattern_unknown() {
        return Err(AclError::UnknownPatternFilter);
    }
    if filter.is_entry_unknown() {
        return Err(AclError::UnknownEntryFilter);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acl() -> AclBinding {
        AclBinding {
            pattern: ResourcePattern::literal(ResourceType::Topic, "orders"),
            principal: "User:alice".into(),
            host: "*".into(),
            operation: AclOperation::Read,
            permission: AclPermission::Allow,
        }
    }

    fn pattern(resource_type: ResourceType, name: &str, pattern_type: PatternType) -> AclBinding {
        AclBinding { pattern: ResourcePattern { resource_type, name: name.into(), pattern_type }, ..acl() }
    }

    #[test]
    fn refuses_what_kafka_refuses() {
        assert_eq!(check_new_acl(&acl(), true), Ok(()));
        let cases = [
            (
                pattern(ResourceType::Cluster, "other", PatternType::Literal),
                "The only valid name for the CLUSTER resource is kafka-cluster",
            ),
            (pattern(ResourceType::Topic, "", PatternType::Prefixed), "Invalid empty resource name"),
            (pattern(ResourceType::Any, "a", PatternType::Literal), "Invalid resourceType ANY"),
            (pattern(ResourceType::Topic, "a", PatternType::Match), "Invalid patternType MATCH"),
            (AclBinding { operation: AclOperation::Any, ..acl() }, "Invalid operation ANY"),
            (AclBinding { permission: AclPermission::Any, ..acl() }, "Invalid permissionType ANY"),
            (
                AclBinding { principal: "alice".into(), ..acl() },
                "Could not parse principal from `alice` (no colon is present separating the principal type from the principal name)",
            ),
        ];
        for (acl, text) in cases {
            assert_eq!(check_new_acl(&acl, false).unwrap_err().to_string(), text);
        }
        assert_eq!(check_new_acl(&pattern(ResourceType::Cluster, "kafka-cluster", PatternType::Literal), true), Ok(()));
    }

    #[test]
    fn strict_refuses_hosts_that_never_match_and_names_javas_spelling() {
        let loopback = AclBinding { host: "::1".into(), ..acl() };
        assert_eq!(check_new_acl(&loopback, false), Ok(()));
        let text = check_new_acl(&loopback, true).unwrap_err().to_string();
        assert!(text.contains("`0:0:0:0:0:0:0:1`"), "{text}");
        assert!(check_new_acl(&AclBinding { host: "db.example".into(), ..acl() }, true).is_err());
    }
}
