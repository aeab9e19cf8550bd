//! `schloss topic`: topics, their partitions and configs.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::bail;
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::table::Table;
use super::client::{AdminArgs, Role, Session, confirmed, finish, talk};
use super::config::{Change, alter, described};
use crate::network::outbound::{ClientError, Cluster};
use crate::protocol::messages::create_partitions_request::{CreatePartitionsRequest, CreatePartitionsTopic};
use crate::protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use crate::protocol::messages::delete_records_request::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use crate::protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const TIMEOUT_MS: i32 = 30_000;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a topic
    Create {
        name: String,
        #[arg(short, long)]
        partitions: Option<i32>,
        #[arg(short, long)]
        replication_factor: Option<i16>,
        /// A config of the topic; may be given again
        #[arg(short, long, value_name = "KEY=VALUE", value_parser = super::key_value)]
        config: Vec<(String, String)>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Topics that may be described; internal ones with --internal
    List {
        #[arg(long)]
        internal: bool,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Partitions, leaders, replicas, and configs that differ from the defaults
    Describe {
        name: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Change configs: KEY=VALUE sets, KEY= takes away
    Alter {
        name: String,
        #[arg(value_name = "KEY=VALUE", required = true, value_parser = super::key_value)]
        config: Vec<(String, String)>,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Give a topic more partitions: their number afterwards
    AddPartitions {
        name: String,
        count: i32,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Take records away from the beginning of a partition, up to an offset (or `end`)
    Trim {
        name: String,
        partition: i32,
        offset: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Delete a topic with everything in it
    Delete {
        name: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

pub(super) fn run(verb: &Verb, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(verb, env))
}

fn carry_out(verb: &Verb, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let admin = match verb {
        Verb::Create { admin, .. }
        | Verb::List { admin, .. }
        | Verb::Describe { admin, .. }
        | Verb::Alter { admin, .. }
        | Verb::AddPartitions { admin, .. }
        | Verb::Trim { admin, .. }
        | Verb::Delete { admin, .. } => admin,
    };
    let mut session = Session::open(&admin.connect, env, Role::Admin)?;
    match verb {
        Verb::Create { name, partitions, replication_factor, config, .. } => {
            let configs = config.iter().map(|(key, value)| CreatableTopicConfig {
                name: key.as_str().into(),
                value: Some(value.as_str().into()),
            });
            let topic = CreatableTopic {
                name: name.as_str().into(),
                num_partitions: partitions.unwrap_or(-1),
                replication_factor: replication_factor.unwrap_or(-1),
                configs: configs.collect(),
                ..Default::default()
            };
            let validate_only = admin.dry_run;
            let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, validate_only };
            let made = session.run(async |cluster| {
                let answer = cluster.call(&request).await?;
                let topic = answer.topics.into_iter().next().unwrap_or_default();
                let what = format!("topic {name}");
                let refusal = ClientError::refusal(what, topic.error_code, topic.error_message.as_deref());
                refusal.map_or(Ok(topic), |error| Err(error.into()))
            })?;
            let verb = if validate_only { "Would create" } else { "Created" };
            talk(&format!("{verb} topic {name} with {} partition(s).", made.num_partitions));
        }
        Verb::List { internal, .. } => session.run(async |cluster| {
            let mut table = Table::new(&["TOPIC", "PARTITIONS", "REPLICAS"]);
            let mut topics = cluster.metadata(None).await?.topics;
            topics.sort_by(|a, b| a.name.cmp(&b.name));
            for topic in topics.iter().filter(|topic| *internal || !topic.is_internal) {
                let replicas = topic.partitions.first().map_or(0, |partition| partition.replica_nodes.len());
                let name = topic.name.as_deref().unwrap_or_default();
                table.row(vec![json!(name), json!(topic.partitions.len()), json!(replicas)]);
            }
            Ok(table.print(admin.output)?)
        })?,
        Verb::Describe { name, .. } => session.run(async |cluster| describe(cluster, name, admin).await)?,
        Verb::Alter { name, config, .. } => {
            let changes: Vec<Change> = config.iter().map(Change::of).collect();
            session.run(async |cluster| alter(cluster, TOPIC, name, &changes, admin.dry_run).await)?;
            talk(&format!("{} topic {name}.", if admin.dry_run { "Would change" } else { "Changed" }));
        }
        Verb::AddPartitions { name, count, .. } => {
            let topic = CreatePartitionsTopic { name: name.as_str().into(), count: *count, assignments: None };
            let validate_only = admin.dry_run;
            let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: TIMEOUT_MS, validate_only };
            session.run(async |cluster| {
                let answer = cluster.call(&request).await?;
                let result = answer.results.into_iter().next().unwrap_or_default();
                let what = format!("topic {name}");
                let refusal = ClientError::refusal(what, result.error_code, result.error_message.as_deref());
                refusal.map_or(Ok(()), |error| Err(error.into()))
            })?;
            talk(&format!("{} topic {name}: {count} partitions.", if validate_only { "Would grow" } else { "Grew" }));
        }
        Verb::Trim { name, partition, offset, .. } => {
            let offset: i64 = if offset == "end" { -1 } else { offset.parse()? };
            let question = format!("Records of {name}-{partition} will be gone.");
            if admin.dry_run {
                talk(&format!("Would trim {name}-{partition}."));
            } else if confirmed(admin, &question)? {
                let start = session.run(async |cluster| trim(cluster, name, *partition, offset).await)?;
                talk(&format!("Trimmed {name}-{partition}: it begins at offset {start}."));
            } else {
                return Ok(super::exit::NO);
            }
        }
        Verb::Delete { name, .. } => {
            if admin.dry_run {
                session.run(async |cluster| Ok(cluster.topic(name).await?))?;
                talk(&format!("Would delete topic {name}."));
            } else if confirmed(admin, &format!("Topic {name} and all of its records will be gone."))? {
                session.run(async |cluster| delete(cluster, name).await)?;
                talk(&format!("Deleted topic {name}."));
            } else {
                return Ok(super::exit::NO);
            }
        }
    }
    Ok(0)
}

async fn describe(cluster: &mut Cluster, name: &str, admin: &AdminArgs) -> anyhow::Result<()> {
    let mut topic = cluster.topic(name).await?;
    topic.partitions.sort_by_key(|partition| partition.partition_index);
    let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let mut table = Table::new(&["TOPIC", "PARTITION", "LEADER", "REPLICAS", "ISR"]);
    for partition in &topic.partitions {
        let leader = if partition.leader_id < 0 { Value::Null } else { json!(partition.leader_id) };
        let (replicas, isr) = (ids(&partition.replica_nodes), ids(&partition.isr_nodes));
        table.row(vec![json!(name), json!(partition.partition_index), leader, json!(replicas), json!(isr)]);
    }
    table.print(admin.output)?;
    let configs = described(cluster, TOPIC, name).await?;
    let own: Vec<_> = configs.into_iter().filter(|config| config.is_own).collect();
    if !own.is_empty() {
        let mut table = Table::new(&["CONFIG", "VALUE"]);
        own.into_iter().for_each(|config| table.row(vec![json!(config.name), json!(config.value)]));
        table.print(admin.output)?;
    }
    Ok(())
}

async fn trim(cluster: &mut Cluster, name: &str, partition: i32, offset: i64) -> anyhow::Result<i64> {
    let topic = cluster.topic(name).await?;
    let Some(found) = topic.partitions.iter().find(|found| found.partition_index == partition) else {
        bail!("topic {name} has no partition {partition}");
    };
    let partitions = vec![DeleteRecordsPartition { partition_index: partition, offset }];
    let topics = vec![DeleteRecordsTopic { name: name.into(), partitions }];
    let request = DeleteRecordsRequest { topics, timeout_ms: TIMEOUT_MS };
    let answer = cluster.broker(found.leader_id).await?.call(&request).await?;
    let result = answer.topics.into_iter().next().and_then(|topic| topic.partitions.into_iter().next());
    let result = result.unwrap_or_default();
    match ClientError::refusal(format!("{name}-{partition}"), result.error_code, None) {
        Some(refusal) => Err(refusal.into()),
        None => Ok(result.low_watermark),
    }
}

async fn delete(cluster: &mut Cluster, name: &str) -> anyhow::Result<()> {
    let topic = DeleteTopicState { name: Some(name.into()), ..Default::default() };
    let request = DeleteTopicsRequest { topics: vec![topic], topic_names: vec![name.into()], timeout_ms: TIMEOUT_MS };
    let answer = cluster.call(&request).await?;
    let result = answer.responses.into_iter().next().unwrap_or_default();
    let refusal = ClientError::refusal(format!("topic {name}"), result.error_code, result.error_message.as_deref());
    refusal.map_or(Ok(()), |error| Err(error.into()))
}
