//! What is said, to the letter where users read it.

use super::*;
use crate::model::resource::ResourcePattern;

fn allow(principal: &str, operation: AclOperation, pattern: ResourcePattern, host: &str) -> AclBinding {
    AclBinding { pattern, principal: principal.into(), host: host.into(), operation, permission: AclPermission::Allow }
}

fn topic(name: &str) -> ResourcePattern {
    ResourcePattern::literal(ResourceType::Topic, name)
}

fn config(name: &str, value: &str) -> Config {
    Config {
        name: name.to_owned(),
        value: Some(value.to_owned()),
        source: "static broker config",
        is_own: false,
        is_secret: false,
    }
}

fn facts() -> Facts {
    let groups = ResourcePattern {
        pattern_type: PatternType::Prefixed,
        ..ResourcePattern::literal(ResourceType::Group, "billing-")
    };
    Facts {
        rules: vec![
            allow("User:billing", AclOperation::Read, topic("orders"), "*"),
            allow("User:billing", AclOperation::Write, topic("invoices"), "10.0.0.7"),
            allow("User:billing", AclOperation::Read, groups, "*"),
        ],
        configs: vec![
            config("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer"),
            config("super.users", "User:admin"),
            config("allow.everyone.if.no.acl.found", "false"),
            config("schloss.profile", "strict"),
        ],
        topics: vec!["invoices".to_owned(), "orders".to_owned()],
    }
}

fn ask(principal: &str, operation: AclOperation, name: &str) -> Question {
    Question {
        principal: principal.parse().unwrap(),
        host: "10.0.0.9".to_owned(),
        operation,
        resource_type: ResourceType::Topic,
        name: name.to_owned(),
    }
}

#[test]
fn a_slip_of_the_name() {
    let answer = explain(&ask("User:billing", AclOperation::Read, "order"), &facts());
    assert!(!answer.is_allowed);
    let expected = "\
DENIED   User:billing   READ   Topic:order   from 10.0.0.9

  1 super user        no     super.users = User:admin
  2 deny rules        none matches
  3 allow rules       none matches; nearest:
      READ Topic:orders (literal)      the name differs: \"order\" / \"orders\"
  4 default           deny   allow.everyone.if.no.acl.found = false  (static broker config)

The topic \"order\" does not exist; \"orders\" does. If the name is right:
  schloss acl allow --user billing read,describe topic order
A consumer needs READ+DESCRIBE on the topic and READ on its group; billing has groups billing-*.
";
    assert_eq!(answer.text, expected);
}

#[test]
fn hosts_operations_and_others() {
    let text = |question| explain(&question, &facts()).text;
    assert!(
        text(ask("User:billing", AclOperation::Write, "invoices")).contains("the host differs: 10.0.0.9 / 10.0.0.7")
    );
    assert!(text(ask("User:billing", AclOperation::Write, "orders")).contains("the operation differs: WRITE / READ"));
    assert!(text(ask("User:carol", AclOperation::Read, "orders")).contains("it is for User:billing"));
    assert!(text(ask("User:carol", AclOperation::Read, "orders")).contains("carol has no groups"));
}

#[test]
fn what_allows_is_named() {
    let answer = explain(&ask("User:billing", AclOperation::Describe, "orders"), &facts());
    assert!(answer.is_allowed);
    assert!(answer.text.contains("3 allow rules       matches: READ Topic:orders (literal) from any host"));
    let answer = explain(&ask("User:admin", AclOperation::Delete, "orders"), &facts());
    assert!(answer.is_allowed && answer.text.contains("1 super user        yes"));
    let mut open = facts();
    open.configs.remove(0);
    assert!(explain(&ask("User:x", AclOperation::Write, "orders"), &open).is_allowed);
}

#[test]
fn a_deny_is_named_with_its_end() {
    let mut facts = facts();
    let mut deny = allow("User:*", AclOperation::All, topic("orders"), "*");
    deny.permission = AclPermission::Deny;
    facts.rules.push(deny);
    let answer = explain(&ask("User:billing", AclOperation::Read, "orders"), &facts);
    assert!(!answer.is_allowed);
    assert!(answer.text.contains("2 deny rules        matches: ALL Topic:orders (literal) from any host"));
    assert!(answer.text.contains("schloss acl remove --deny --principal User:* all topic orders"));
}

#[test]
fn everybody_where_there_is_no_rule() {
    let mut facts = facts();
    facts.configs[2] = config("allow.everyone.if.no.acl.found", "true");
    let answer = explain(&ask("User:x", AclOperation::Read, "free"), &facts);
    assert!(
        answer.is_allowed && answer.text.contains("4 default           allow  allow.everyone.if.no.acl.found = true")
    );
    let answer = explain(&ask("User:x", AclOperation::Read, "orders"), &facts);
    assert!(!answer.is_allowed && answer.text.contains("this one has some"));
}
