//! Which bindings a DescribeAcls or DeleteAcls asks for (`AclBindingFilter`).

use std::sync::Arc;

use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};

/// `None` matches anything. `Any` matches anything too; `Match` asks which bindings would apply to a resource of this name.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AclFilter {
    pub resource_type: ResourceType,
    pub name: Option<Arc<str>>,
    pub pattern_type: PatternType,
    pub principal: Option<Arc<str>>,
    pub host: Option<Arc<str>>,
    pub operation: AclOperation,
    pub permission: AclPermission,
}

impl AclFilter {
    /// `AclBindingFilter.ANY`
    pub const ANY: Self = Self {
        resource_type: ResourceType::Any,
        name: None,
        pattern_type: PatternType::Any,
        principal: None,
        host: None,
        operation: AclOperation::Any,
        permission: AclPermission::Any,
    };

    /// The pattern side holds a value this version does not know.
    pub fn is_pattern_unknown(&self) -> bool {
        self.resource_type == ResourceType::Unknown || self.pattern_type == PatternType::Unknown
    }

    /// The entry side holds a value this version does not know.
    pub fn is_entry_unknown(&self) -> bool {
        self.operation == AclOperation::Unknown || self.permission == AclPermission::Unknown
    }

    /// `AclBindingFilter.matches`: no wildcard is understood on the entry side, `User:*` selects only itself.
    pub fn matches(&self, binding: &AclBinding) -> bool {
        self.matches_pattern(&binding.pattern)
            && self.principal.as_deref().is_none_or(|p| p == &*binding.principal)
            && self.host.as_deref().is_none_or(|h| h == &*binding.host)
            && (self.operation == AclOperation::Any || self.operation == binding.operation)
            && (self.permission == AclPermission::Any || self.permission == binding.permission)
    }

    /// `ResourcePatternFilter.matches`
    fn matches_pattern(&self, pattern: &ResourcePattern) -> bool {
        if self.resource_type != ResourceType::Any && self.resource_type != pattern.resource_type {
            return false;
        }
        let any_kind = matches!(self.pattern_type, PatternType::Any | PatternType::Match);
        if !any_kind && self.pattern_type != pattern.pattern_type {
            return false;
        }
        let Some(name) = self.name.as_deref() else { return true };
        if self.pattern_type != PatternType::Match {
            return name == &*pattern.name;
        }
        match pattern.pattern_type {
            PatternType::Literal => name == &*pattern.name || &*pattern.name == ResourcePattern::WILDCARD,
            PatternType::Prefixed => name.starts_with(&*pattern.name),
            // A stored binding is literal or prefixed; anything else in a log selects nothing.
            PatternType::Unknown | PatternType::Any | PatternType::Match => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(pattern_type: PatternType, name: &str) -> AclBinding {
        AclBinding {
            pattern: ResourcePattern { resource_type: ResourceType::Topic, name: name.into(), pattern_type },
            principal: "User:alice".into(),
            host: "*".into(),
            operation: AclOperation::Read,
            permission: AclPermission::Allow,
        }
    }

    #[test]
    fn match_selects_whatever_applies_to_the_name() {
        let f = AclFilter { name: Some("orders".into()), pattern_type: PatternType::Match, ..AclFilter::ANY };
        assert!(f.matches(&binding(PatternType::Literal, "orders")));
        assert!(f.matches(&binding(PatternType::Literal, "*")));
        assert!(f.matches(&binding(PatternType::Prefixed, "ord")));
        assert!(!f.matches(&binding(PatternType::Prefixed, "orders2")));
        assert!(!f.matches(&binding(PatternType::Literal, "order")));
    }

    #[test]
    fn any_and_literal_compare_the_name_itself() {
        let any = AclFilter { name: Some("ord".into()), ..AclFilter::ANY };
        assert!(any.matches(&binding(PatternType::Literal, "ord")));
        assert!(any.matches(&binding(PatternType::Prefixed, "ord")));
        assert!(!any.matches(&binding(PatternType::Literal, "*")));
        let literal = AclFilter { pattern_type: PatternType::Literal, ..any };
        assert!(!literal.matches(&binding(PatternType::Prefixed, "ord")));
    }

    #[test]
    fn the_entry_side_knows_no_wildcards() {
        let f = AclFilter { principal: Some("User:*".into()), ..AclFilter::ANY };
        assert!(!f.matches(&binding(PatternType::Literal, "a")));
        let f = AclFilter { host: Some("10.0.0.1".into()), ..AclFilter::ANY };
        assert!(!f.matches(&binding(PatternType::Literal, "a")));
        let f = AclFilter { operation: AclOperation::All, ..AclFilter::ANY };
        assert!(!f.matches(&binding(PatternType::Literal, "a")));
    }
}
