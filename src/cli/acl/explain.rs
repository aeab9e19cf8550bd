//! Why somebody may or may not: the broker's rules, judged by the same authorizer that a broker runs.

use std::fmt::Write as _;

use crate::cli::config::Config;
use crate::config::nearest::nearest;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::listener::ListenerName;
use crate::model::principal::KafkaPrincipal;
use crate::model::resource::{PatternType, ResourceType};
use crate::model::uuid::Uuid;
use crate::security::authorizer::native::{NativeAuthorizer, Settings};
use crate::security::authorizer::{Action, Authorizer as _, Decision, Requester, Rule};

use super::rule::{host_text, resource_text, rule_text};

/// At most so many rules that nearly match are shown.
const NEAREST: usize = 3;

/// What is asked. Nobody in it need exist.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) principal: KafkaPrincipal,
    pub(super) host: String,
    pub(super) operation: AclOperation,
    pub(super) resource_type: ResourceType,
    pub(super) name: String,
}

/// What the broker says it judges by.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// Every rule there is.
    pub(super) rules: Vec<AclBinding>,
    /// Every config of the broker.
    pub(super) configs: Vec<Config>,
    /// Topics that may be seen by who asks.
    pub(super) topics: Vec<String>,
}

impl Facts {
    fn config(&self, name: &str) -> (&str, &'static str) {
        let found = self.configs.iter().find(|config| config.name == name);
        found.map_or(("", "default"), |config| (config.value.as_deref().unwrap_or(""), config.source))
    }

    fn settings(&self) -> Settings {
        let super_users = self.config("super.users").0.split(';').filter_map(|user| user.trim().parse().ok());
        Settings {
            super_users: super_users.collect(),
            super_user_listeners: None,
            allow_everyone_if_no_acl_found: self.config("allow.everyone.if.no.acl.found").0 == "true",
            strict: self.config("schloss.profile").0 == "strict",
        }
    }
}

/// The answer and its text.
#[derive(Debug)]
pub(super) struct Explanation {
    pub(super) is_allowed: bool,
    pub(super) text: String,
}

pub(super) fn explain(question: &Question, facts: &Facts) -> Explanation {
    if facts.config("authorizer.class.name").0.is_empty() {
        let text =
            format!("ALLOWED  {}\n\n  no authorizer is configured: everybody may do everything\n", asked(question));
        return Explanation { is_allowed: true, text };
    }
    let settings = facts.settings();
    let is_super_user = settings.super_users.contains(&question.principal);
    let decision = decide(question, facts, settings);
    let is_allowed = decision.as_ref().is_some_and(Decision::is_allowed);
    let rule = match decision.as_ref().map(Decision::rule) {
        Some(Rule::Acl(id)) => facts.rules.get(index_of(id)),
        _ => None,
    };
    let verdict = if is_allowed { "ALLOWED" } else { "DENIED " };
    let mut text = format!("{verdict}  {}\n\n", asked(question));
    let yes_no = if is_super_user { "yes" } else { "no" };
    let _ = writeln!(text, "  1 super user        {yes_no:<6} super.users = {}", facts.config("super.users").0);
    if !is_super_user {
        rules_and_default(&mut text, question, facts, rule);
        if !is_allowed {
            text.push_str(&advice(question, facts, rule));
        }
    }
    Explanation { is_allowed, text }
}

fn asked(question: &Question) -> String {
    let Question { principal, host, operation, resource_type, name } = question;
    let host = if host == AclBinding::WILDCARD_HOST { "any host" } else { host };
    let operation = operation.name();
    format!(
        "{}:{}   {operation}   {}:{name}   from {host}",
        principal.kind(),
        principal.name(),
        resource_type.log_name()
    )
}

fn decide(question: &Question, facts: &Facts, settings: Settings) -> Option<Decision> {
    let authorizer = NativeAuthorizer::new(settings);
    let numbered = facts.rules.iter().enumerate().map(|(index, rule)| (id_of(index), rule.clone()));
    authorizer.load(numbered, 0);
    authorizer.complete_initial_load();
    let listener = ListenerName::new("explain");
    let who =
        Requester { principal: &question.principal, host: &question.host, listener: &listener, request: "explain" };
    let action = Action::new(question.operation, question.resource_type, &question.name);
    authorizer.authorize(&who, &[action]).into_ready()?.into_iter().next()
}

/// Rules have ids in a broker; here it is their place in the list, behind the zero that is no id.
fn id_of(index: usize) -> Uuid {
    Uuid::from_u128(u128::try_from(index).unwrap_or(0) + 1)
}

fn index_of(id: Uuid) -> usize {
    usize::try_from(u128::from_be_bytes(*id.as_bytes()).wrapping_sub(1)).unwrap_or(usize::MAX)
}

fn rules_and_default(text: &mut String, question: &Question, facts: &Facts, rule: Option<&AclBinding>) {
    let matched = |permission| rule.filter(|rule| rule.permission == permission);
    if let Some(deny) = matched(AclPermission::Deny) {
        let _ = writeln!(text, "  2 deny rules        matches: {} {}", rule_text(deny), host_text(&deny.host));
        text.push_str("                      (a deny rule wins over every allow rule)\n");
        return;
    }
    text.push_str("  2 deny rules        none matches\n");
    if let Some(allow) = matched(AclPermission::Allow) {
        let _ = writeln!(text, "  3 allow rules       matches: {} {}", rule_text(allow), host_text(&allow.host));
        return;
    }
    let near = near_misses(question, &facts.rules);
    if near.is_empty() {
        text.push_str("  3 allow rules       none matches\n");
    } else {
        text.push_str("  3 allow rules       none matches; nearest:\n");
        for (rule, difference) in near {
            let _ = writeln!(text, "      {:<33}{difference}", rule_text(rule));
        }
    }
    let (everyone, source) = facts.config("allow.everyone.if.no.acl.found");
    let is_open = everyone == "true";
    let default = if is_open && !facts.rules.iter().any(|rule| is_about(rule, question)) { "allow" } else { "deny" };
    let _ = writeln!(text, "  4 default           {default:<6} allow.everyone.if.no.acl.found = {is_open}  ({source})");
    if is_open && default == "deny" {
        text.push_str("                             (which speaks of resources without any rule; this one has some)\n");
    }
}

/// Is the rule about this resource, whoever it names?
fn is_about(rule: &AclBinding, question: &Question) -> bool {
    rule.pattern.resource_type == question.resource_type && name_matches(rule, &question.name)
}

fn name_matches(rule: &AclBinding, name: &str) -> bool {
    match rule.pattern.pattern_type {
        PatternType::Prefixed => name.starts_with(&*rule.pattern.name),
        _ => &*rule.pattern.name == name || &*rule.pattern.name == "*",
    }
}

fn principal_matches(rule: &AclBinding, principal: &KafkaPrincipal) -> bool {
    let text = format!("{}:{}", principal.kind(), principal.name());
    *rule.principal == *text || *rule.principal == *AclBinding::WILDCARD_PRINCIPAL
}

/// Does an ALLOW of `rule` cover this operation? (`AclEntry`: what implies Describe and DescribeConfigs.)
fn operation_matches(rule: &AclBinding, operation: AclOperation) -> bool {
    use AclOperation::{All, Alter, AlterConfigs, Delete, Describe, DescribeConfigs, Read, Write};
    match (rule.operation, operation) {
        (All, _) => true,
        (Read | Write | Delete | Alter, Describe) | (AlterConfigs, DescribeConfigs) => true,
        (has, wanted) => has == wanted,
    }
}

/// Allow rules that one thing keeps from matching, the likeliest slip first.
fn near_misses<'a>(question: &Question, rules: &'a [AclBinding]) -> Vec<(&'a AclBinding, String)> {
    let mut found: Vec<(u8, &AclBinding, String)> = Vec::new();
    for rule in rules.iter().filter(|rule| rule.permission == AclPermission::Allow) {
        if rule.pattern.resource_type != question.resource_type {
            continue;
        }
        let name = name_matches(rule, &question.name);
        let host = *rule.host == *AclBinding::WILDCARD_HOST || *rule.host == *question.host;
        let operation = operation_matches(rule, question.operation);
        let who = principal_matches(rule, &question.principal);
        let rule_name = &*rule.pattern.name;
        let miss = match (who, name, host, operation) {
            (true, false, true, true) if nearest(&question.name, [rule_name]).is_some() => {
                (0, format!("the name differs: {:?} / {rule_name:?}", question.name))
            }
            (true, true, false, true) => (1, format!("the host differs: {} / {}", question.host, rule.host)),
            (true, true, true, false) => {
                (2, format!("the operation differs: {} / {}", question.operation.name(), rule.operation.name()))
            }
            (false, true, true, true) => (3, format!("it is for {}", rule.principal)),
            _ => continue,
        };
        found.push((miss.0, rule, miss.1));
    }
    found.sort_by_key(|(rank, ..)| *rank);
    found.into_iter().take(NEAREST).map(|(_, rule, difference)| (rule, difference)).collect()
}

fn advice(question: &Question, facts: &Facts, rule: Option<&AclBinding>) -> String {
    let user = match question.principal.kind() {
        KafkaPrincipal::USER => format!("--user {}", question.principal.name()),
        kind => format!("--principal {kind}:{}", question.principal.name()),
    };
    let kind = question.resource_type.name().to_ascii_lowercase().replace('_', "-");
    let name = if question.resource_type == ResourceType::Cluster { "" } else { &question.name };
    if let Some(deny) = rule {
        let operation = deny.operation.name().to_ascii_lowercase().replace('_', "-");
        let host =
            if *deny.host == *AclBinding::WILDCARD_HOST { String::new() } else { format!(" --host {}", deny.host) };
        let resource = resource_text(&deny.pattern);
        let named = resource.split_once(':').map_or("", |(_, name)| name);
        let who = &deny.principal;
        return format!(
            "\nIf it should not be denied:\n  schloss acl remove --deny --principal {who}{host} {operation} {kind} {named}\n"
        );
    }
    let mut text = String::from("\n");
    let topics = facts.topics.iter().map(String::as_str);
    let is_unknown = question.resource_type == ResourceType::Topic && !facts.topics.contains(&question.name);
    match nearest(&question.name, topics).filter(|_| is_unknown) {
        Some(near) => {
            let _ =
                writeln!(text, "The topic {:?} does not exist; {near:?} does. If the name is right:", question.name);
        }
        None => text.push_str("If it should be allowed:\n"),
    }
    let operations = match (question.resource_type, question.operation) {
        (ResourceType::Topic, AclOperation::Read) => "read,describe".to_owned(),
        (ResourceType::Topic, AclOperation::Write) => "write,describe".to_owned(),
        (_, operation) => operation.name().to_ascii_lowercase().replace('_', "-"),
    };
    let command = format!("  schloss acl allow {user} {operations} {kind} {name}");
    let _ = writeln!(text, "{}", command.trim_end());
    if question.resource_type == ResourceType::Topic {
        text.push_str(&needs(question, facts));
    }
    text
}

/// What else clients ask for: the first refusal is seldom the last.
fn needs(question: &Question, facts: &Facts) -> String {
    match question.operation {
        AclOperation::Read => {
            let groups: Vec<String> = facts
                .rules
                .iter()
                .filter(|rule| rule.pattern.resource_type == ResourceType::Group)
                .filter(|rule| rule.permission == AclPermission::Allow && principal_matches(rule, &question.principal))
                .filter(|rule| operation_matches(rule, AclOperation::Read))
                .map(|rule| resource_text(&rule.pattern).trim_start_matches("Group:").to_owned())
                .collect();
            let has = if groups.is_empty() { "no groups".to_owned() } else { format!("groups {}", groups.join(", ")) };
            let user = question.principal.name();
            format!("A consumer needs READ+DESCRIBE on the topic and READ on its group; {user} has {has}.\n")
        }
        AclOperation::Write => "A producer needs WRITE+DESCRIBE on the topic.\n".to_owned(),
        AclOperation::Describe => {
            "Kafka asks DESCRIBE first; to produce it will also need WRITE, to consume READ.\n".to_owned()
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
