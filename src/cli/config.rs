//! `schloss config`: values that change without a restart, of topics and brokers.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::client::table::Table;
use super::client::{AdminArgs, Role, Session, finish, talk};
use crate::network::outbound::{ClientError, Cluster};
use crate::protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use crate::protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// One value and where it comes from
    Get {
        /// topic/NAME, broker/ID or broker (all of them)
        resource: String,
        key: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Set values
    Set {
        resource: String,
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = super::key_value)]
        values: Vec<(String, String)>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take values away: what stands behind them holds again
    Unset {
        resource: String,
        #[arg(required = true)]
        keys: Vec<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Every value, with where it comes from
    List {
        resource: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// One config as a broker tells it.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) name: String,
    /// `None` for a secret.
    pub(super) value: Option<String>,
    pub(super) source: &'static str,
    /// Set on this very resource.
    pub(super) is_own: bool,
    pub(super) is_secret: bool,
}

/// What is to become of one config.
#[derive(Debug)]
pub(super) struct Change {
    key: String,
    /// `None` takes it away.
    value: Option<String>,
}

impl Change {
    /// An empty value takes a config away.
    pub(super) fn of((key, value): &(String, String)) -> Self {
        Self { key: key.clone(), value: Some(value.clone()).filter(|value| !value.is_empty()) }
    }
}

pub(super) fn run(verb: &Verb, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(verb, env))
}

fn carry_out(verb: &Verb, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let (Verb::Get { resource, admin, .. }
    | Verb::Set { resource, admin, .. }
    | Verb::Unset { resource, admin, .. }
    | Verb::List { resource, admin }) = verb;
    let (resource_type, name) = resource_of(resource)?;
    let mut session = Session::open(&admin.connect, env, Role::Admin)?;
    match verb {
        Verb::Get { key, .. } => {
            let configs = session.run(async |cluster| described(cluster, resource_type, name).await)?;
            let found = configs.into_iter().find(|config| config.name == *key);
            let found = found.with_context(|| format!("{resource} has no config {key}"))?;
            let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
            table.row(vec![json!(found.name), json!(shown(&found)), json!(found.source)]);
            table.print(admin.output)?;
        }
        Verb::List { .. } => {
            let configs = session.run(async |cluster| described(cluster, resource_type, name).await)?;
            let mut table = Table::new(&["KEY", "VALUE", "FROM"]);
            configs.iter().for_each(|c| table.row(vec![json!(c.name), json!(shown(c)), json!(c.source)]));
            table.print(admin.output)?;
        }
        Verb::Set { values, .. } => {
            let changes: Vec<Change> =
                values.iter().map(|(key, value)| Change { key: key.clone(), value: Some(value.clone()) }).collect();
            session.run(async |cluster| alter(cluster, resource_type, name, &changes, admin.dry_run).await)?;
            talk(&format!("{} {resource}.", if admin.dry_run { "Would change" } else { "Changed" }));
        }
        Verb::Unset { keys, .. } => {
            let changes: Vec<Change> = keys.iter().map(|key| Change { key: key.clone(), value: None }).collect();
            session.run(async |cluster| alter(cluster, resource_type, name, &changes, admin.dry_run).await)?;
            talk(&format!("{} {resource}.", if admin.dry_run { "Would change" } else { "Changed" }));
        }
    }
    Ok(0)
}

/// `topic/orders`, `broker/1`, `broker`
fn resource_of(text: &str) -> anyhow::Result<(i8, &str)> {
    match text.split_once('/').unwrap_or((text, "")) {
        ("topic" | "topics", name) if !name.is_empty() => Ok((2, name)),
        ("broker" | "brokers", name) => Ok((4, name)),
        ("group" | "groups", name) if !name.is_empty() => Ok((32, name)),
        _ => bail!("'{text}' is none of topic/NAME, broker/ID, broker, group/NAME"),
    }
}

fn shown(config: &Config) -> Option<&str> {
    if config.is_secret { Some("[hidden]") } else { config.value.as_deref() }
}

/// Every config of a resource, by name.
pub(super) async fn described(cluster: &mut Cluster, resource_type: i8, name: &str) -> anyhow::Result<Vec<Config>> {
    let resource = DescribeConfigsResource { resource_type, resource_name: name.into(), configuration_keys: None };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = cluster.call(&request).await?;
    let result = answer.results.into_iter().next().unwrap_or_default();
    if let Some(refusal) = ClientError::refusal(name, result.error_code, result.error_message.as_deref()) {
        return Err(refusal.into());
    }
    let own = match resource_type {
        2 => 1,
        32 => 8,
        _ if name.is_empty() => 3,
        _ => 2,
    };
    let mut configs: Vec<Config> = result
        .configs
        .into_iter()
        .map(|config| Config {
            name: config.name.to_string(),
            value: config.value.map(|value| value.to_string()).filter(|_| !config.is_sensitive),
            source: source(config.config_source),
            is_own: config.config_source == own,
            is_secret: config.is_sensitive,
        })
        .collect();
    configs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(configs)
}

/// `ConfigEntry.ConfigSource` in words.
const fn source(id: i8) -> &'static str {
    match id {
        1 => "topic",
        2 => "dynamic broker config",
        3 => "dynamic default of all brokers",
        4 => "static broker config",
        5 => "default",
        8 => "group",
        _ => "unknown",
    }
}

/// Sets configs and takes them away.
pub(super) async fn alter(
    cluster: &mut Cluster,
    resource_type: i8,
    name: &str,
    changes: &[Change],
    validate_only: bool,
) -> anyhow::Result<()> {
    let configs = changes.iter().map(|change| AlterableConfig {
        name: change.key.as_str().into(),
        config_operation: i8::from(change.value.is_none()),
        value: change.value.as_deref().map(Into::into),
    });
    let resource = AlterConfigsResource { resource_type, resource_name: name.into(), configs: configs.collect() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only };
    let answer = cluster.call(&request).await?;
    let result = answer.responses.into_iter().next().unwrap_or_default();
    let refusal = ClientError::refusal(name, result.error_code, result.error_message.as_deref());
    refusal.map_or(Ok(()), |error| Err(error.into()))
}
