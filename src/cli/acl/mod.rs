//! `schloss acl`: who may do what, and why.

mod explain;
pub(super) mod rule;

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::json;

use self::explain::{Facts, Question, explain};
use self::rule::{Operations, Resource, create, delete, describe, operation, principal, required, table, told};
use super::client::table::Output;
use super::client::{AdminArgs, Role, Session, confirmed, finish, say, talk};
use super::config::described;
use super::exit;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::resource::{PatternType, ResourceType};
use crate::network::outbound::Cluster;
use crate::security::authorizer::filter::AclFilter;

/// `ConfigResource.Type`
const BROKER: i8 = 4;

/// Whom a rule is about.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Who {
    /// A user by name; * is every user
    #[arg(short, long, conflicts_with = "principal")]
    user: Option<String>,
    /// A principal, for example User:CN=orders-app
    #[arg(long, value_name = "TYPE:NAME")]
    principal: Option<String>,
}

/// A rule in words.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct RuleArgs {
    #[command(flatten)]
    who: Who,
    /// One address, or * for any
    #[arg(long, default_value = "*")]
    host: String,
    /// all, read, write, create, delete, alter, describe and so on, several with commas
    operations: Operations,
    #[command(flatten)]
    resource: Resource,
    #[command(flatten)]
    admin: AdminArgs,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Allow somebody something
    Allow(RuleArgs),
    /// Deny somebody something: deny rules win over allow rules
    Deny(RuleArgs),
    /// Rules that apply to somebody or something, or all of them
    List {
        #[command(flatten)]
        who: Who,
        /// Only rules about this type
        #[arg(value_name = "TYPE", value_parser = rule::resource_type)]
        kind: Option<ResourceType>,
        /// Only rules that apply to this name
        name: Option<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take rules away, exactly those that are named
    Remove {
        #[command(flatten)]
        who: Who,
        /// Rules from this host only
        #[arg(long)]
        host: Option<String>,
        /// Deny rules instead of allow rules
        #[arg(long)]
        deny: bool,
        /// The operations of the rules; nothing is every rule of whoever is named
        #[arg(requires = "kind")]
        operations: Option<Operations>,
        /// topic, group, cluster, transactional-id, delegation-token or user
        #[arg(value_name = "TYPE", value_parser = rule::resource_type)]
        kind: Option<ResourceType>,
        /// As in `allow`: NAME* are the rules that say so
        name: Option<String>,
        /// A * at the end of the name is part of it
        #[arg(long)]
        literal: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Say whether somebody may do something, and which rule decides. Exit code 0: he may; 3: he may not
    Explain {
        #[command(flatten)]
        who: Who,
        /// Where he comes from
        #[arg(long, default_value = "*")]
        host: String,
        #[arg(value_parser = operation)]
        operation: AclOperation,
        #[command(flatten)]
        resource: Resource,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

pub(super) fn run(verb: &Verb, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(verb, env))
}

fn carry_out(verb: &Verb, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    match verb {
        Verb::Allow(args) => add(args, AclPermission::Allow, env),
        Verb::Deny(args) => add(args, AclPermission::Deny, env),
        Verb::List { who, kind, name, admin } => {
            let mut session = Session::open(&admin.connect, env, Role::Admin)?;
            let principal = principal(who.user.as_deref(), who.principal.as_deref())?;
            let filter = AclFilter {
                resource_type: kind.unwrap_or(ResourceType::Any),
                name: name.as_deref().map(Into::into),
                pattern_type: if name.is_some() { PatternType::Match } else { PatternType::Any },
                principal: principal.map(|who| format!("{}:{}", who.kind(), who.name()).into()),
                ..AclFilter::ANY
            };
            let bindings = session.run(async |cluster| describe(cluster, &filter).await)?;
            table(&bindings).print(admin.output)?;
            Ok(0)
        }
        Verb::Remove { who, host, deny, operations, kind, name, literal, admin } => {
            let resource = kind.map(|kind| Resource::new(kind, name.clone(), *literal));
            let principal = required(principal(who.user.as_deref(), who.principal.as_deref())?)?;
            let filter = AclFilter {
                principal: Some(format!("{}:{}", principal.kind(), principal.name()).into()),
                host: host.as_deref().map(Into::into),
                ..AclFilter::ANY
            };
            let filter = match &resource {
                Some(resource) => {
                    let pattern = resource.pattern()?;
                    let (resource_type, pattern_type) = (pattern.resource_type, pattern.pattern_type);
                    AclFilter { resource_type, name: Some(pattern.name), pattern_type, ..filter }
                }
                None => filter,
            };
            let permission = match (deny, &resource) {
                (true, _) => AclPermission::Deny,
                (false, Some(_)) => AclPermission::Allow,
                (false, None) => AclPermission::Any,
            };
            let mut session = Session::open(&admin.connect, env, Role::Admin)?;
            let operations = operations.as_ref().map_or(&[][..], |operations| &operations.0);
            remove(&mut session, AclFilter { permission, ..filter }, operations, admin)
        }
        Verb::Explain { who, host, operation, resource, admin } => {
            let question = Question {
                principal: required(principal(who.user.as_deref(), who.principal.as_deref())?)?,
                host: host.clone(),
                operation: *operation,
                resource_type: resource.kind,
                name: resource.name()?.to_owned(),
            };
            let mut session = Session::open(&admin.connect, env, Role::Admin)?;
            let facts = session.run(facts).map_err(|error| {
                error
                    .context("explain needs DESCRIBE on the cluster (rules) and DESCRIBE_CONFIGS on it (configuration)")
            })?;
            let answer = explain(&question, &facts);
            match admin.output {
                Output::Text => say(answer.text.trim_end())?,
                Output::Json => say(&json!({"allowed": answer.is_allowed, "text": answer.text}).to_string())?,
            }
            talk(
                "(judged here by the rules of Schloss, from the broker's ACLs and configuration; nobody was asked as this user)",
            );
            Ok(if answer.is_allowed { 0 } else { exit::NO })
        }
    }
}

fn add(args: &RuleArgs, permission: AclPermission, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let who = required(principal(args.who.user.as_deref(), args.who.principal.as_deref())?)?;
    let pattern = args.resource.pattern()?;
    let bindings: Vec<AclBinding> = args
        .operations
        .0
        .iter()
        .map(|operation| AclBinding {
            pattern: pattern.clone(),
            principal: format!("{}:{}", who.kind(), who.name()).into(),
            host: args.host.as_str().into(),
            operation: *operation,
            permission,
        })
        .collect();
    let mut session = Session::open(&args.admin.connect, env, Role::Admin)?;
    let is_allow = permission == AclPermission::Allow;
    let verb = match (is_allow, args.admin.dry_run) {
        (true, false) => "Granted",
        (true, true) => "Would grant",
        (false, false) => "Denied ",
        (false, true) => "Would deny",
    };
    if !args.admin.dry_run {
        session.run(async |cluster| Ok(create(cluster, &bindings).await?))?;
    }
    let note = if is_allow { "" } else { "   (deny rules win over allow rules)" };
    for line in told(verb, &bindings) {
        talk(&format!("{line}   {}:{}{note}", who.kind(), who.name()));
    }
    Ok(0)
}

fn remove(
    session: &mut Session,
    filter: AclFilter,
    operations: &[AclOperation],
    admin: &AdminArgs,
) -> anyhow::Result<u8> {
    let mut found = session.run(async |cluster| describe(cluster, &filter).await)?;
    found.retain(|binding| operations.is_empty() || operations.contains(&binding.operation));
    if found.is_empty() {
        bail!("no rule is like that: schloss acl list shows what there is");
    }
    table(&found).print(admin.output)?;
    if admin.dry_run {
        talk(&format!("Would remove {} rule(s).", found.len()));
        return Ok(0);
    }
    if !confirmed(admin, &format!("These {} rule(s) will be gone.", found.len()))? {
        return Ok(exit::NO);
    }
    session.run(async |cluster| Ok(delete(cluster, &found).await?))?;
    talk(&format!("Removed {} rule(s).", found.len()));
    Ok(0)
}

/// What a broker judges by, as it tells.
async fn facts(cluster: &mut Cluster) -> anyhow::Result<Facts> {
    let metadata = cluster.metadata(None).await?;
    let topics = metadata.topics.iter().filter_map(|topic| Some(topic.name.as_ref()?.to_string())).collect();
    let rules = describe(cluster, &AclFilter::ANY).await?;
    let Some(broker) = metadata.brokers.first() else { bail!("no broker is known") };
    let configs = described(cluster, BROKER, &broker.node_id.to_string()).await?;
    Ok(Facts { rules, configs, topics })
}
