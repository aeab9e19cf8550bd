//! The examples under `policies/acl/` decide as their tables say.

use super::super::native::{NativeAuthorizer, Settings};
use super::super::validate::check_new_acl;
use super::super::*;
use crate::model::acl::AclPermission;
use crate::model::resource::PatternType;

/// The lines of a table as fields, without its head and its comments.
fn table<'t, const N: usize>(text: &'t str, head: &str) -> Vec<[&'t str; N]> {
    let mut lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(lines.next(), Some(head));
    lines
        .map(|line| {
            let fields: Vec<&str> = line.splitn(N, ',').collect();
            fields.try_into().unwrap_or_else(|_| panic!("{N} fields: {line}"))
        })
        .collect()
}

/// `DescribeConfigs` → DESCRIBE_CONFIGS, as kafka-acls spells operations.
fn operation(text: &str) -> AclOperation {
    let same = |o: &AclOperation| o.name().replace('_', "").eq_ignore_ascii_case(text);
    AclOperation::CONCRETE.into_iter().chain([AclOperation::All]).find(same).unwrap_or_else(|| panic!("{text}"))
}

fn resource_type(text: &str) -> ResourceType {
    ResourceType::CONCRETE.into_iter().find(|t| t.log_name() == text).unwrap_or_else(|| panic!("{text}"))
}

fn rules(text: &str) -> Vec<AclBinding> {
    let rows = table::<7>(text, "permission,principal,host,operation,resource,pattern,name");
    rows.into_iter()
        .map(|[permission, principal, host, operation_name, resource, pattern, name]| AclBinding {
            pattern: ResourcePattern {
                resource_type: resource_type(resource),
                name: name.into(),
                pattern_type: if pattern == "prefixed" { PatternType::Prefixed } else { PatternType::Literal },
            },
            principal: principal.into(),
            host: host.into(),
            operation: operation(operation_name),
            permission: if permission == "Deny" { AclPermission::Deny } else { AclPermission::Allow },
        })
        .collect()
}

fn check(rules_text: &str, cases: &str) {
    let rules = rules(rules_text);
    for rule in &rules {
        assert_eq!(check_new_acl(rule, true), Ok(()), "{rule}");
    }
    let authorizer = NativeAuthorizer::new(Settings { strict: true, ..Settings::default() });
    authorizer.load(rules.into_iter().enumerate().map(|(i, rule)| (Uuid::from_u128(i as u128 + 1), rule)), 1);
    authorizer.complete_initial_load();
    let listener = ListenerName::new("SASL_SSL");
    for [who, host, what, resource, name, expected, why] in
        table::<7>(cases, "principal,host,operation,resource,name,expected,why")
    {
        let principal = who.parse().unwrap();
        let requester = Requester { principal: &principal, host, listener: &listener, request: "Test" };
        let action = Action::new(operation(what), resource_type(resource), name);
        let decision = authorizer.authorize(&requester, &[action]).into_ready().unwrap()[0];
        assert!(["allowed", "denied"].contains(&expected));
        assert_eq!(decision.is_allowed(), expected == "allowed", "{who} {what} {resource}:{name} from {host}: {why}");
    }
}

macro_rules! policies {
    ($($folder:ident),*) => {$(
        #[test]
        fn $folder() {
            check(
                include_str!(concat!("../../../../policies/acl/", stringify!($folder), "/rules.csv")),
                include_str!(concat!("../../../../policies/acl/", stringify!($folder), "/cases.csv")),
            );
        }
    )*};
}

policies!(orders, tenants);
