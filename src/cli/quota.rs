//! `schloss quota`: how much users, clients and addresses may use.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::json;

use super::client::table::Table;
use super::client::{AdminArgs, Role, Session, finish, talk};
use crate::network::outbound::{ClientError, Cluster};
use crate::protocol::messages::alter_client_quotas_request::{AlterClientQuotasRequest, EntityData, EntryData, OpData};
use crate::protocol::messages::describe_client_quotas_request::DescribeClientQuotasRequest;

/// Short names of Kafka's quotas, and what their values are.
const KEYS: [(&str, &str, Unit); 5] = [
    ("produce", "producer_byte_rate", Unit::BytesPerSecond),
    ("fetch", "consumer_byte_rate", Unit::BytesPerSecond),
    ("request", "request_percentage", Unit::Percent),
    ("mutation", "controller_mutation_rate", Unit::PerSecond),
    ("connection", "connection_creation_rate", Unit::PerSecond),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    BytesPerSecond,
    Percent,
    PerSecond,
}

/// Who a quota is for. The word `default` is everybody of that kind who has none of his own.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Entity {
    #[arg(short, long)]
    user: Option<String>,
    #[arg(short, long)]
    client_id: Option<String>,
    #[arg(long, conflicts_with_all = ["user", "client_id"])]
    ip: Option<String>,
}

impl Entity {
    fn data(&self) -> anyhow::Result<Vec<EntityData>> {
        let parts = [("user", &self.user), ("client-id", &self.client_id), ("ip", &self.ip)];
        let data: Vec<EntityData> = parts
            .into_iter()
            .filter_map(|(kind, name)| {
                let name = name.as_deref()?;
                let entity_name = (name != "default").then(|| name.into());
                Some(EntityData { entity_type: kind.into(), entity_name })
            })
            .collect();
        if data.is_empty() {
            bail!("say for whom: --user, --client-id, both, or --ip (NAME or default)");
        }
        Ok(data)
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Set quotas: produce=10MB/s fetch=20MB/s request=50% mutation=10 connection=5
    Set {
        #[command(flatten)]
        entity: Entity,
        #[arg(value_name = "QUOTA=VALUE", required = true, value_parser = quota)]
        quotas: Vec<(String, f64)>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Every quota there is
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take quotas away: those that are named
    Remove {
        #[command(flatten)]
        entity: Entity,
        #[arg(value_name = "QUOTA", required = true, value_parser = key)]
        quotas: Vec<String>,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

/// Kafka's name of a quota, by it or by the short one.
fn key(name: &str) -> Result<String, String> {
    let found = KEYS.iter().find(|(short, whole, _)| name == *short || name == *whole);
    let names = || KEYS.map(|(short, ..)| short).join(", ");
    found.map(|(_, whole, _)| (*whole).to_owned()).ok_or_else(|| format!("it is none of {}", names()))
}

/// `produce=10MB/s`
fn quota(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not QUOTA=VALUE"))?;
    let key = key(name)?;
    let unit = KEYS.iter().find(|(_, whole, _)| *whole == key).map_or(Unit::PerSecond, |(.., unit)| *unit);
    let value = value.trim_end_matches("/s");
    let digits = value.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(value.len());
    let (number, suffix) = value.split_at(digits);
    let number: f64 = number.parse().map_err(|_| format!("{value:?} is no number"))?;
    let factor = match (unit, suffix.to_ascii_uppercase().as_str()) {
        (_, "" | "B") => 1.0,
        (Unit::Percent, "%") => 1.0,
        (Unit::BytesPerSecond, "K" | "KB") => 1e3,
        (Unit::BytesPerSecond, "KIB") => 1024.0,
        (Unit::BytesPerSecond, "M" | "MB") => 1e6,
        (Unit::BytesPerSecond, "MIB") => 1024.0 * 1024.0,
        (Unit::BytesPerSecond, "G" | "GB") => 1e9,
        (Unit::BytesPerSecond, "GIB") => 1024.0 * 1024.0 * 1024.0,
        _ => return Err(format!("{suffix:?} is no unit of {name}")),
    };
    Ok((key, number * factor))
}

pub(super) fn run(verb: &Verb, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(verb, env))
}

fn carry_out(verb: &Verb, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let (Verb::Set { admin, .. } | Verb::List { admin } | Verb::Remove { admin, .. }) = verb;
    let mut session = Session::open(&admin.connect, env, Role::Admin)?;
    match verb {
        Verb::Set { entity, quotas, .. } => {
            let ops = quotas.iter().map(|(key, value)| op(key, Some(*value))).collect();
            let data = entity.data()?;
            let name = shown(&data);
            session.run(async |cluster| alter(cluster, data, ops, admin.dry_run).await)?;
            talk(&format!("{} quotas of {name}.", if admin.dry_run { "Would set" } else { "Set" }));
        }
        Verb::Remove { entity, quotas, .. } => {
            let ops = quotas.iter().map(|key| op(key, None)).collect();
            let data = entity.data()?;
            let name = shown(&data);
            session.run(async |cluster| alter(cluster, data, ops, admin.dry_run).await)?;
            talk(&format!("{} quotas of {name}.", if admin.dry_run { "Would remove" } else { "Removed" }));
        }
        Verb::List { .. } => {
            let answer = session.run(async |cluster| {
                let answer = cluster.call(&DescribeClientQuotasRequest::default()).await?;
                let refusal = ClientError::refusal("quotas", answer.error_code, answer.error_message.as_deref());
                refusal.map_or(Ok(answer), |error| Err(error.into()))
            })?;
            let mut rows: Vec<(String, String, f64)> = Vec::new();
            for entry in answer.entries.unwrap_or_default() {
                let parts = entry.entity.iter();
                let parts: Vec<EntityData> = parts
                    .map(|part| EntityData {
                        entity_type: part.entity_type.clone(),
                        entity_name: part.entity_name.clone(),
                    })
                    .collect();
                rows.extend(entry.values.iter().map(|value| (shown(&parts), value.key.to_string(), value.value)));
            }
            rows.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
            let mut table = Table::new(&["ENTITY", "QUOTA", "VALUE"]);
            rows.into_iter().for_each(|(entity, key, value)| table.row(vec![json!(entity), json!(key), json!(value)]));
            table.print(admin.output)?;
        }
    }
    Ok(0)
}

fn op(key: &str, value: Option<f64>) -> OpData {
    OpData { key: key.into(), value: value.unwrap_or(0.0), remove: value.is_none() }
}

/// `user alice, client-id default`
fn shown(entity: &[EntityData]) -> String {
    let mut parts: Vec<String> = entity
        .iter()
        .map(|part| format!("{} {}", part.entity_type, part.entity_name.as_deref().unwrap_or("default")))
        .collect();
    parts.sort_by(|a, b| b.cmp(a));
    parts.join(", ")
}

async fn alter(
    cluster: &mut Cluster,
    entity: Vec<EntityData>,
    ops: Vec<OpData>,
    validate_only: bool,
) -> anyhow::Result<()> {
    let what = shown(&entity);
    let request = AlterClientQuotasRequest { entries: vec![EntryData { entity, ops }], validate_only };
    let answer = cluster.call(&request).await?;
    let entry = answer.entries.first().context("the broker says nothing of it")?;
    let refusal = ClientError::refusal(what, entry.error_code, entry.error_message.as_deref());
    refusal.map_or(Ok(()), |error| Err(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_with_units() {
        let read = |text: &str| quota(text).map(|(key, value)| format!("{key} {value}"));
        assert_eq!(read("produce=10MB/s"), Ok("producer_byte_rate 10000000".to_owned()));
        assert_eq!(read("fetch=1.5KiB"), Ok("consumer_byte_rate 1536".to_owned()));
        assert_eq!(read("request=50%"), Ok("request_percentage 50".to_owned()));
        assert_eq!(read("controller_mutation_rate=7"), Ok("controller_mutation_rate 7".to_owned()));
        for wrong in ["produce", "x=1", "produce=", "produce=1%", "request=1MB", "produce=-1"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
