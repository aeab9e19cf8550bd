//! `schloss health`: can this cluster be used?

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::json;

use super::client::table::Output;
use super::client::{AdminArgs, Role, Session, finish, say, talk};
use super::exit;
use crate::network::outbound::{ClientError, Cluster};
use crate::protocol::messages::describe_cluster_request::DescribeClusterRequest;
use crate::protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use crate::protocol::messages::describe_quorum_request::{DescribeQuorumRequest, PartitionData, TopicData};
use crate::protocol::messages::metadata_response::MetadataResponseTopic;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Are brokers, quorum and partitions ready for clients? (What is asked if nothing is said.)
    #[arg(long, conflicts_with = "live")]
    ready: bool,
    /// Does a broker answer at all?
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Health {
    running: Vec<i32>,
    fenced: Vec<i32>,
    quorum_leader: Option<i32>,
    offline: usize,
    under_min_isr: usize,
}

impl Health {
    fn is_ready(&self) -> bool {
        !self.running.is_empty()
            && self.fenced.is_empty()
            && self.quorum_leader.is_some()
            && self.offline == 0
            && self.under_min_isr == 0
    }

    fn text(&self) -> String {
        let ids = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let named = |of: &[i32], state| (!of.is_empty()).then(|| format!("broker {} {state}", ids(of)));
        let brokers = [named(&self.running, "RUNNING"), named(&self.fenced, "FENCED")].into_iter().flatten();
        let brokers = brokers.collect::<Vec<_>>().join(", ");
        let leader =
            self.quorum_leader.map_or_else(|| "no quorum leader".to_owned(), |id| format!("quorum leader {id}"));
        let state = if self.is_ready() { "ready" } else { "not ready" };
        format!(
            "{state}  {brokers}, {leader}, {} offline partitions, {} under min ISR",
            self.offline, self.under_min_isr
        )
    }
}

pub(super) fn run(args: &Arguments, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(args, env))
}

fn carry_out(args: &Arguments, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let mut session = Session::open(&args.admin.connect, env, Role::Admin)?;
    if args.live {
        let answered = session.run(async |cluster| Ok(cluster.metadata(Some(&[])).await?));
        return match answered {
            Ok(_) => say("live").map(|()| 0).map_err(Into::into),
            Err(error) => no(&error),
        };
    }
    match session.run(look) {
        Ok(health) => {
            match args.admin.output {
                Output::Text => say(&health.text())?,
                Output::Json => say(&json!({
                    "ready": health.is_ready(),
                    "running": health.running,
                    "fenced": health.fenced,
                    "quorum_leader": health.quorum_leader,
                    "offline_partitions": health.offline,
                    "under_min_isr": health.under_min_isr,
                })
                .to_string())?,
            }
            Ok(if health.is_ready() { 0 } else { exit::NO })
        }
        Err(error) => no(&error),
    }
}

fn no(error: &anyhow::Error) -> anyhow::Result<u8> {
    talk(&format!("not ready  {error:#}"));
    Ok(exit::NO)
}

async fn look(cluster: &mut Cluster) -> anyhow::Result<Health> {
    let request = DescribeClusterRequest { include_fenced_brokers: true, ..Default::default() };
    let described = cluster.call(&request).await?;
    if let Some(refusal) = ClientError::refusal("cluster", described.error_code, described.error_message.as_deref()) {
        return Err(refusal.into());
    }
    let mut health = Health::default();
    for broker in described.brokers {
        if broker.is_fenced { health.fenced.push(broker.broker_id) } else { health.running.push(broker.broker_id) }
    }
    health.quorum_leader = quorum_leader(cluster).await?;
    let topics = cluster.metadata(None).await?.topics;
    let least = min_isr(cluster, &topics).await?;
    for topic in &topics {
        let name = topic.name.as_deref().unwrap_or_default();
        let least = least.get(name).copied().unwrap_or(1);
        health.offline += topic.partitions.iter().filter(|partition| partition.leader_id < 0).count();
        health.under_min_isr += topic.partitions.iter().filter(|partition| partition.isr_nodes.len() < least).count();
    }
    Ok(health)
}

async fn quorum_leader(cluster: &mut Cluster) -> anyhow::Result<Option<i32>> {
    let partitions = vec![PartitionData { partition_index: 0 }];
    let topics = vec![TopicData { topic_name: "__cluster_metadata".into(), partitions }];
    let answer = cluster.call(&DescribeQuorumRequest { topics }).await?;
    if let Some(refusal) = ClientError::refusal("quorum", answer.error_code, answer.error_message.as_deref()) {
        return Err(refusal.into());
    }
    let partition = answer.topics.first().and_then(|topic| topic.partitions.first());
    Ok(partition.map(|partition| partition.leader_id).filter(|id| *id >= 0))
}

/// `min.insync.replicas` of every topic.
async fn min_isr(cluster: &mut Cluster, topics: &[MetadataResponseTopic]) -> anyhow::Result<BTreeMap<String, usize>> {
    let resources = topics.iter().filter_map(|topic| {
        Some(DescribeConfigsResource {
            resource_type: 2,
            resource_name: topic.name.clone()?,
            configuration_keys: Some(vec!["min.insync.replicas".into()]),
        })
    });
    let answer = cluster.call(&DescribeConfigsRequest { resources: resources.collect(), ..Default::default() }).await?;
    let of = |config: Option<&str>| config.and_then(|value| value.parse().ok()).unwrap_or(1);
    let results = answer.results.iter();
    Ok(results
        .map(|result| {
            let value = result.configs.first().and_then(|config| config.value.as_deref());
            (result.resource_name.to_string(), of(value))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_enough_for_not_ready() {
        let ready = Health { running: vec![1], quorum_leader: Some(1), ..Health::default() };
        let text = "ready  broker 1 RUNNING, quorum leader 1, 0 offline partitions, 0 under min ISR";
        assert_eq!(ready.text(), text);
        let others = [
            Health { offline: 1, running: vec![1], quorum_leader: Some(1), ..Health::default() },
            Health { under_min_isr: 1, running: vec![1], quorum_leader: Some(1), ..Health::default() },
            Health { fenced: vec![2], running: vec![1], quorum_leader: Some(1), ..Health::default() },
            Health { running: vec![1], ..Health::default() },
            Health::default(),
        ];
        assert!(others.iter().all(|health| !health.is_ready()));
        assert!(others[2].text().starts_with("not ready  broker 1 RUNNING, broker 2 FENCED, quorum leader 1"));
    }
}
