//! `schloss group`: who reads what in a group, how far it is, and where it goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use serde_json::{Value, json};

use super::client::start::{Start, end_of};
use super::client::table::Table;
use super::client::{AdminArgs, Role, Session, confirmed, finish, talk};
use super::exit;
use crate::model::error_code::ErrorCode;
use crate::model::time::Clock as _;
use crate::network::outbound::{ClientError, Cluster, Partition, commit, committed, partitions_of};
use crate::protocol::messages::delete_groups_request::DeleteGroupsRequest;
use crate::protocol::messages::describe_groups_request::DescribeGroupsRequest;
use crate::protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use crate::protocol::messages::list_groups_request::ListGroupsRequest;
use crate::server::clock::SystemClock;

/// What a group is called that is not there.
const DEAD: &str = "Dead";

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Groups that may be described
    List {
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// State, positions, ends, lag, and who reads which partition
    Describe {
        group: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// The members and what they read
    Members {
        group: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Move a group that has no members: --to start, end, an offset, -N (before the end) or @TIME
    Seek {
        group: String,
        /// TOPIC or TOPIC:PARTITION; nothing is everything the group has a position in
        topics: Vec<String>,
        #[arg(long, allow_hyphen_values = true, value_parser = Start::parse)]
        to: Start,
        #[command(flatten)]
        admin: AdminArgs,
    },
    /// Delete a group that has no members, with its positions
    Delete {
        group: String,
        #[command(flatten)]
        admin: AdminArgs,
    },
}

pub(super) fn run(verb: &Verb, env: &BTreeMap<String, String>) -> ExitCode {
    finish(carry_out(verb, env))
}

fn carry_out(verb: &Verb, env: &BTreeMap<String, String>) -> anyhow::Result<u8> {
    let (Verb::List { admin }
    | Verb::Describe { admin, .. }
    | Verb::Members { admin, .. }
    | Verb::Seek { admin, .. }
    | Verb::Delete { admin, .. }) = verb;
    let mut session = Session::open(&admin.connect, env, Role::Admin)?;
    match verb {
        Verb::List { .. } => session.run(async |cluster| list(cluster, admin).await)?,
        Verb::Describe { group, .. } => session.run(async |cluster| describe(cluster, group, admin).await)?,
        Verb::Members { group, .. } => session.run(async |cluster| members(cluster, group, admin).await)?,
        Verb::Seek { group, topics, to, .. } => {
            return session.run(async |cluster| seek(cluster, group, topics, to, admin).await);
        }
        Verb::Delete { group, .. } => {
            session.run(async |cluster| described(cluster, group).await)?;
            if admin.dry_run {
                talk(&format!("Would delete group {group}."));
            } else if confirmed(admin, &format!("Group {group} and its positions will be gone."))? {
                session.run(async |cluster| delete(cluster, group).await)?;
                talk(&format!("Deleted group {group}."));
            } else {
                return Ok(exit::NO);
            }
        }
    }
    Ok(0)
}

/// Every broker knows the groups that it coordinates.
async fn list(cluster: &mut Cluster, admin: &AdminArgs) -> anyhow::Result<()> {
    let brokers: Vec<i32> = cluster.metadata(Some(&[])).await?.brokers.iter().map(|broker| broker.node_id).collect();
    let mut groups = BTreeMap::new();
    for broker in brokers {
        let answer = cluster.broker(broker).await?.call(&ListGroupsRequest::default()).await?;
        if let Some(refusal) = ClientError::refusal("groups", answer.error_code, None) {
            return Err(refusal.into());
        }
        groups.extend(answer.groups.into_iter().map(|group| (group.group_id.to_string(), group)));
    }
    let mut table = Table::new(&["GROUP", "STATE", "TYPE", "PROTOCOL"]);
    for (name, group) in groups {
        let (state, kind, protocol) = (&*group.group_state, &*group.group_type, &*group.protocol_type);
        table.row(vec![json!(name), json!(state), json!(kind), json!(protocol)]);
    }
    Ok(table.print(admin.output)?)
}

/// A group that is there.
async fn described(cluster: &mut Cluster, group: &str) -> anyhow::Result<DescribedGroup> {
    let request = DescribeGroupsRequest { groups: vec![group.into()], ..Default::default() };
    let code = |answer: &crate::protocol::messages::describe_groups_response::DescribeGroupsResponse| {
        answer.groups.first().map_or(0, |group| group.error_code)
    };
    let answer = cluster.call_coordinator(group, &request, Duration::ZERO, code).await?;
    let found = answer.groups.into_iter().next().unwrap_or_default();
    if *found.group_state == *DEAD || found.error_code == ErrorCode::GroupIdNotFound.code() {
        bail!("there is no group {group}");
    }
    let refusal = ClientError::refusal(format!("group {group}"), found.error_code, found.error_message.as_deref());
    refusal.map_or(Ok(found), |error| Err(error.into()))
}

async fn describe(cluster: &mut Cluster, group: &str, admin: &AdminArgs) -> anyhow::Result<()> {
    let found = described(cluster, group).await?;
    let coordinator = cluster.coordinator(group).await?;
    let stands = committed(cluster, group, None).await?;
    let mut readers: BTreeMap<Partition, &DescribedGroupMember> = BTreeMap::new();
    for member in &found.members {
        readers.extend(assigned(member).into_iter().map(|partition| (partition, member)));
    }
    let mut partitions: BTreeSet<Partition> = stands.keys().cloned().collect();
    partitions.extend(readers.keys().cloned());
    let mut rows = Table::new(&["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER", "HOST"]);
    let mut total = 0;
    for partition in partitions {
        // A topic may be gone since its positions were kept.
        let end = end_of(cluster, &partition).await.ok();
        let position = stands.get(&partition).copied();
        let lag = end.zip(position).map(|(end, position)| (end - position).max(0));
        total += lag.unwrap_or(0);
        let reader = readers.get(&partition);
        let member = reader.map(|member| member.member_id.to_string());
        let host = reader.map(|member| member.client_host.trim_start_matches('/').to_owned());
        rows.row(vec![
            json!(partition.topic),
            json!(partition.index),
            json!(position),
            json!(end),
            json!(lag),
            json!(member),
            json!(host),
        ]);
    }
    let mut table = Table::new(&["GROUP", "STATE", "MEMBERS", "COORDINATOR", "LAG"]);
    let (state, count) = (&*found.group_state, found.members.len());
    table.row(vec![json!(group), json!(state), json!(count), json!(coordinator), json!(total)]);
    table.print(admin.output)?;
    Ok(rows.print(admin.output)?)
}

fn assigned(member: &DescribedGroupMember) -> Vec<Partition> {
    partitions_of(member.member_assignment.clone())
}

async fn members(cluster: &mut Cluster, group: &str, admin: &AdminArgs) -> anyhow::Result<()> {
    let found = described(cluster, group).await?;
    let mut table = Table::new(&["MEMBER", "HOST", "CLIENT ID", "INSTANCE", "PARTITIONS"]);
    for member in &found.members {
        let partitions: Vec<String> = assigned(member).iter().map(ToString::to_string).collect();
        let instance = member.group_instance_id.as_ref().map_or(Value::Null, |instance| json!(&**instance));
        table.row(vec![
            json!(&*member.member_id),
            json!(member.client_host.trim_start_matches('/')),
            json!(&*member.client_id),
            instance,
            json!(partitions.join(",")),
        ]);
    }
    Ok(table.print(admin.output)?)
}

async fn seek(
    cluster: &mut Cluster,
    group: &str,
    topics: &[String],
    to: &Start,
    admin: &AdminArgs,
) -> anyhow::Result<u8> {
    let stands = committed(cluster, group, None).await?;
    let partitions = if topics.is_empty() { stands.keys().cloned().collect() } else { named(cluster, topics).await? };
    if partitions.is_empty() {
        bail!("group {group} has no positions: name the topics");
    }
    let now = SystemClock::new().wall();
    let mut positions = BTreeMap::new();
    let mut table = Table::new(&["TOPIC", "PARTITION", "COMMITTED", "NEW", "END"]);
    for partition in partitions {
        let end = end_of(cluster, &partition).await?;
        let first = Start::Beginning.resolve(cluster, &partition, end, now).await?;
        let new = to.resolve(cluster, &partition, end, now).await?.clamp(first, end);
        let old = stands.get(&partition).copied();
        table.row(vec![json!(partition.topic), json!(partition.index), json!(old), json!(new), json!(end)]);
        positions.insert(partition, new);
    }
    table.print(admin.output)?;
    if admin.dry_run {
        talk("Nothing was moved.");
        return Ok(0);
    }
    if !confirmed(admin, &format!("Group {group} goes on from there."))? {
        return Ok(exit::NO);
    }
    let code = commit(cluster, group, (-1, ""), &positions).await?;
    let hint = "the group has members, which keep their positions themselves: stop them first";
    match ClientError::refusal(format!("group {group}"), code, None) {
        None => talk(&format!("Moved group {group}.")),
        Some(refusal) if refusal.code() == Some(ErrorCode::UnknownMemberId) => {
            return Err(anyhow::Error::from(refusal).context(hint));
        }
        Some(refusal) => return Err(refusal.into()),
    }
    Ok(0)
}

/// `orders` is all of its partitions, `orders:3` one.
async fn named(cluster: &mut Cluster, topics: &[String]) -> anyhow::Result<BTreeSet<Partition>> {
    let mut partitions = BTreeSet::new();
    for text in topics {
        let (topic, index) = match text.rsplit_once(':') {
            Some((topic, index)) => {
                let index: i32 = index.parse().with_context(|| format!("{text} is no TOPIC:PARTITION"))?;
                (topic, Some(index))
            }
            None => (text.as_str(), None),
        };
        let found = cluster.topic(topic).await?;
        let all = found.partitions.iter().map(|partition| partition.partition_index);
        let wanted: Vec<i32> = all.filter(|found| index.is_none_or(|index| index == *found)).collect();
        if wanted.is_empty() {
            bail!("{text} does not exist");
        }
        partitions.extend(wanted.into_iter().map(|index| Partition { topic: topic.to_owned(), index }));
    }
    Ok(partitions)
}

async fn delete(cluster: &mut Cluster, group: &str) -> anyhow::Result<()> {
    let request = DeleteGroupsRequest { groups_names: vec![group.into()] };
    let code = |answer: &crate::protocol::messages::delete_groups_response::DeleteGroupsResponse| {
        answer.results.first().map_or(0, |result| result.error_code)
    };
    let answer = cluster.call_coordinator(group, &request, Duration::ZERO, code).await?;
    let refusal = ClientError::refusal(format!("group {group}"), code(&answer), None);
    refusal.map_or(Ok(()), |error| Err(error.into()))
}
