//! A member of a consumer group, of the classic protocol: joins, shares the partitions out where it leads, keeps its place.
//!
//! It shares by Kafka's `range`, the first of the Java client's own list, so that it can be in one group with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::consumer::Partition;
use super::{ClientError, Cluster};
use crate::model::error_code::ErrorCode;
use crate::model::uuid::Uuid;
use crate::protocol::messages::consumer_protocol_assignment::{ConsumerProtocolAssignment, TopicPartition};
use crate::protocol::messages::consumer_protocol_subscription::ConsumerProtocolSubscription;
use crate::protocol::messages::heartbeat_request::HeartbeatRequest;
use crate::protocol::messages::join_group_request::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::protocol::messages::join_group_response::{JoinGroupResponse, JoinGroupResponseMember};
use crate::protocol::messages::leave_group_request::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use crate::protocol::messages::sync_group_request::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::protocol::wire::{Message as _, Reader};

/// `session.timeout.ms` of the Java client.
const SESSION: Duration = Duration::from_secs(45);
/// How long others may take to join again: `max.poll.interval.ms` of the Java client.
const REBALANCE: Duration = Duration::from_secs(300);
/// How often a member says that it is there: `heartbeat.interval.ms` of the Java client.
pub const HEARTBEAT: Duration = Duration::from_secs(3);
const CONSUMER: &str = "consumer";
const RANGE: &str = "range";

/// One member. Its positions are kept by the group.
#[derive(Debug)]
pub struct Member {
    group: String,
    topics: Vec<String>,
    member_id: String,
    generation: i32,
}

impl Member {
    pub fn new(group: &str, topics: &[String]) -> Self {
        Self { group: group.to_owned(), topics: topics.to_vec(), member_id: String::new(), generation: -1 }
    }

    /// Joins, or joins again, and waits for its share.
    ///
    /// # Errors
    /// Kafka's refusal.
    pub async fn join(&mut self, cluster: &mut Cluster) -> Result<Vec<Partition>, ClientError> {
        loop {
            let joined =
                cluster.call_coordinator(&self.group, &self.join_request(), REBALANCE, |a| a.error_code).await?;
            match ErrorCode::from_code(joined.error_code) {
                Some(ErrorCode::None) => {}
                Some(ErrorCode::MemberIdRequired) => {
                    self.member_id = joined.member_id.to_string();
                    continue;
                }
                Some(ErrorCode::UnknownMemberId) => {
                    self.member_id.clear();
                    continue;
                }
                _ => self.refused(joined.error_code)?,
            }
            self.member_id = joined.member_id.to_string();
            self.generation = joined.generation_id;
            let assignments = if joined.leader == joined.member_id && !joined.skip_assignment {
                share_out(cluster, &joined.members).await?
            } else {
                Vec::new()
            };
            let request = self.sync_request(&joined, assignments);
            let synced = cluster.call_coordinator(&self.group, &request, REBALANCE, |a| a.error_code).await?;
            match ErrorCode::from_code(synced.error_code) {
                Some(ErrorCode::None) => return Ok(partitions_of(synced.assignment)),
                Some(ErrorCode::RebalanceInProgress) => {}
                Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => self.member_id.clear(),
                _ => self.refused(synced.error_code)?,
            }
        }
    }

    fn join_request(&self) -> JoinGroupRequest {
        let subscription = ConsumerProtocolSubscription {
            topics: self.topics.iter().map(|topic| topic.as_str().into()).collect(),
            ..Default::default()
        };
        let metadata = versioned(&subscription.to_bytes(0));
        JoinGroupRequest {
            group_id: self.group.as_str().into(),
            session_timeout_ms: ms(SESSION),
            rebalance_timeout_ms: ms(REBALANCE),
            member_id: self.member_id.as_str().into(),
            protocol_type: CONSUMER.into(),
            protocols: vec![JoinGroupRequestProtocol { name: RANGE.into(), metadata }],
            ..Default::default()
        }
    }

    fn sync_request(
        &self,
        joined: &JoinGroupResponse,
        assignments: Vec<SyncGroupRequestAssignment>,
    ) -> SyncGroupRequest {
        SyncGroupRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.member_id.as_str().into(),
            protocol_type: Some(CONSUMER.into()),
            protocol_name: joined.protocol_name.clone(),
            assignments,
            ..Default::default()
        }
    }

    /// Says that it is there. False: join again.
    ///
    /// # Errors
    /// Kafka's refusal.
    pub async fn heartbeat(&mut self, cluster: &mut Cluster) -> Result<bool, ClientError> {
        let request = HeartbeatRequest {
            group_id: self.group.as_str().into(),
            generation_id: self.generation,
            member_id: self.member_id.as_str().into(),
            ..Default::default()
        };
        let answer = cluster.call_coordinator(&self.group, &request, Duration::ZERO, |a| a.error_code).await?;
        self.is_in(answer.error_code)
    }

    /// Is it still a member of the present generation, by what an answer says?
    fn is_in(&mut self, code: i16) -> Result<bool, ClientError> {
        match ErrorCode::from_code(code) {
            Some(ErrorCode::None) => Ok(true),
            Some(ErrorCode::RebalanceInProgress) => Ok(false),
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.member_id.clear();
                Ok(false)
            }
            _ => self.refused(code).map(|()| false),
        }
    }

    fn refused(&self, code: i16) -> Result<(), ClientError> {
        ClientError::refusal(format!("group {}", self.group), code, None).map_or(Ok(()), Err)
    }

    /// Where the group stands in these partitions; those it has never stood in are left out.
    ///
    /// # Errors
    /// Kafka's refusal.
    pub async fn committed(
        &self,
        cluster: &mut Cluster,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, i64>, ClientError> {
        committed(cluster, &self.group, Some(partitions)).await
    }

    /// Moves the group to these positions. False: it may not any more, and is to join again.
    ///
    /// # Errors
    /// Kafka's refusal.
    pub async fn commit(
        &mut self,
        cluster: &mut Cluster,
        positions: &BTreeMap<Partition, i64>,
    ) -> Result<bool, ClientError> {
        let mut code = commit(cluster, &self.group, (self.generation, &self.member_id), positions).await?;
        if code == ErrorCode::RebalanceInProgress.code() {
            // Positions are taken until the new generation begins: the next answer tells.
            code = ErrorCode::None.code();
        }
        self.is_in(code)
    }

    /// Leaves, so that others need not wait until it is missed.
    ///
    /// # Errors
    /// The group can't be told.
    pub async fn leave(&mut self, cluster: &mut Cluster) -> Result<(), ClientError> {
        let member_id = self.member_id.as_str();
        let identity = MemberIdentity { member_id: member_id.into(), ..Default::default() };
        let request = LeaveGroupRequest {
            group_id: self.group.as_str().into(),
            member_id: member_id.into(),
            members: vec![identity],
        };
        cluster.call_coordinator(&self.group, &request, Duration::ZERO, |a| a.error_code).await?;
        self.member_id.clear();
        Ok(())
    }
}

fn ms(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Version 0 stands before what consumers say to one another.
fn versioned(bytes: &Bytes) -> Bytes {
    [&[0, 0], bytes.as_ref()].concat().into()
}

/// Where a group stands: in these partitions, or in all it has ever stood in.
///
/// # Errors
/// Kafka's refusal.
pub async fn committed(
    cluster: &mut Cluster,
    group: &str,
    partitions: Option<&[Partition]>,
) -> Result<BTreeMap<Partition, i64>, ClientError> {
    let ids = topic_ids(cluster).await?;
    let topics = partitions.map(|partitions| {
        let by_topic = by_topic(partitions.iter().map(|partition| (partition, ())));
        let topics = by_topic.into_iter().map(|(name, partitions)| OffsetFetchRequestTopics {
            name: name.into(),
            topic_id: ids.get(name).copied().unwrap_or_default(),
            partition_indexes: partitions.into_iter().map(|(index, ())| index).collect(),
        });
        topics.collect()
    });
    let wanted = OffsetFetchRequestGroup { group_id: group.into(), topics, ..Default::default() };
    let request = OffsetFetchRequest { groups: vec![wanted], ..Default::default() };
    let code = |answer: &crate::protocol::messages::offset_fetch_response::OffsetFetchResponse| {
        answer.groups.first().map_or(0, |group| group.error_code)
    };
    let answer = cluster.call_coordinator(group, &request, Duration::ZERO, code).await?;
    let found = answer.groups.into_iter().next().unwrap_or_default();
    if let Some(refusal) = ClientError::refusal(format!("group {group}"), found.error_code, None) {
        return Err(refusal);
    }
    let mut positions = BTreeMap::new();
    for topic in found.topics {
        let by_id = || ids.iter().find(|(_, id)| **id == topic.topic_id).map(|(name, _)| name.clone());
        let name = if topic.name.is_empty() { by_id() } else { Some(topic.name.to_string()) };
        let Some(name) = name else { continue };
        for found in topic.partitions {
            let partition = Partition { topic: name.clone(), index: found.partition_index };
            if let Some(refusal) = ClientError::refusal(partition.to_string(), found.error_code, None) {
                return Err(refusal);
            }
            if found.committed_offset >= 0 {
                positions.insert(partition, found.committed_offset);
            }
        }
    }
    Ok(positions)
}

/// Moves a group: as a member of a generation, or as an operator (generation -1, no member) of a group that is empty. The first
/// error of the answer.
///
/// # Errors
/// The coordinator can't be asked.
pub async fn commit(
    cluster: &mut Cluster,
    group: &str,
    (generation, member_id): (i32, &str),
    positions: &BTreeMap<Partition, i64>,
) -> Result<i16, ClientError> {
    let ids = topic_ids(cluster).await?;
    let by_topic = by_topic(positions.iter().map(|(partition, offset)| (partition, *offset)));
    let topics = by_topic.into_iter().map(|(name, partitions)| OffsetCommitRequestTopic {
        name: name.into(),
        topic_id: ids.get(name).copied().unwrap_or_default(),
        partitions: partitions
            .into_iter()
            .map(|(partition_index, committed_offset)| OffsetCommitRequestPartition {
                partition_index,
                committed_offset,
                committed_metadata: Some("".into()),
                ..Default::default()
            })
            .collect(),
    });
    let request = OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: generation,
        member_id: member_id.into(),
        topics: topics.collect(),
        ..Default::default()
    };
    let code = |answer: &crate::protocol::messages::offset_commit_response::OffsetCommitResponse| {
        let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).find(|code| *code != 0).unwrap_or(0)
    };
    let answer = cluster.call_coordinator(group, &request, Duration::ZERO, code).await?;
    Ok(code(&answer))
}

async fn topic_ids(cluster: &mut Cluster) -> Result<BTreeMap<String, Uuid>, ClientError> {
    let topics = cluster.metadata(None).await?.topics;
    Ok(topics.into_iter().filter_map(|topic| Some((topic.name?.to_string(), topic.topic_id))).collect())
}

fn by_topic<'a, T>(partitions: impl Iterator<Item = (&'a Partition, T)>) -> BTreeMap<&'a str, Vec<(i32, T)>> {
    let mut by_topic: BTreeMap<&str, Vec<(i32, T)>> = BTreeMap::new();
    for (partition, value) in partitions {
        by_topic.entry(&partition.topic).or_default().push((partition.index, value));
    }
    by_topic
}

/// Everybody's share (`RangeAssignor`).
async fn share_out(
    cluster: &mut Cluster,
    members: &[JoinGroupResponseMember],
) -> Result<Vec<SyncGroupRequestAssignment>, ClientError> {
    let wanted: Vec<(&JoinGroupResponseMember, Vec<String>)> =
        members.iter().map(|member| (member, topics_of(&member.metadata))).collect();
    let names: BTreeSet<&str> = wanted.iter().flat_map(|(_, topics)| topics.iter().map(String::as_str)).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let answer = cluster.metadata(Some(&names)).await?;
    let counts: BTreeMap<String, i32> = answer
        .topics
        .into_iter()
        .filter_map(|topic| Some((topic.name?.to_string(), i32::try_from(topic.partitions.len()).ok()?)))
        .collect();
    let claims: Vec<Claim> = wanted
        .iter()
        .map(|(member, topics)| Claim {
            member_id: member.member_id.to_string(),
            instance_id: member.group_instance_id.as_ref().map(ToString::to_string),
            topics: topics.clone(),
        })
        .collect();
    let shares = range(&claims, &counts);
    Ok(shares
        .into_iter()
        .map(|(member_id, share)| {
            let by_topic = by_topic(share.iter().map(|partition| (partition, ())));
            let assigned_partitions = by_topic.into_iter().map(|(topic, partitions)| TopicPartition {
                topic: topic.into(),
                partitions: partitions.into_iter().map(|(index, ())| index).collect(),
            });
            let assignment =
                ConsumerProtocolAssignment { assigned_partitions: assigned_partitions.collect(), user_data: None };
            SyncGroupRequestAssignment { member_id: member_id.into(), assignment: versioned(&assignment.to_bytes(0)) }
        })
        .collect())
}

/// Who wants what.
#[derive(Debug, Clone)]
struct Claim {
    member_id: String,
    instance_id: Option<String>,
    topics: Vec<String>,
}

/// Topic by topic, neighbouring partitions to members in order: static ones by their instance first, then by member id.
fn range(claims: &[Claim], counts: &BTreeMap<String, i32>) -> BTreeMap<String, Vec<Partition>> {
    let mut claims: Vec<&Claim> = claims.iter().collect();
    claims.sort_by_key(|claim| (claim.instance_id.is_none(), claim.instance_id.clone(), claim.member_id.clone()));
    let mut shares: BTreeMap<String, Vec<Partition>> =
        claims.iter().map(|claim| (claim.member_id.clone(), Vec::new())).collect();
    for (topic, count) in counts {
        let takers: Vec<&&Claim> = claims.iter().filter(|claim| claim.topics.contains(topic)).collect();
        let takers_count = i32::try_from(takers.len()).unwrap_or(i32::MAX);
        let (each, more) = (count.checked_div(takers_count).unwrap_or(0), count.checked_rem(takers_count).unwrap_or(0));
        let mut next = 0;
        for (at, taker) in (0..).zip(takers) {
            let end = next + each + i32::from(at < more);
            let share = shares.entry(taker.member_id.clone()).or_default();
            share.extend((next..end).map(|index| Partition { topic: topic.clone(), index }));
            next = end;
        }
    }
    shares
}

/// The topics of a subscription in any version; none if it can't be read.
fn topics_of(metadata: &Bytes) -> Vec<String> {
    let mut r = Reader::new(metadata.clone());
    let read = r.i16().and_then(|_| ConsumerProtocolSubscription::decode(&mut r, 0));
    read.map(|read| read.topics.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

/// The partitions of an assignment in any version; none if it can't be read.
pub fn partitions_of(assignment: Bytes) -> Vec<Partition> {
    let mut r = Reader::new(assignment);
    let read = r.i16().and_then(|_| ConsumerProtocolAssignment::decode(&mut r, 0)).unwrap_or_default();
    let topics = read.assigned_partitions.into_iter();
    let partitions = topics.flat_map(|assigned| {
        let topic = assigned.topic.to_string();
        assigned.partitions.into_iter().map(move |index| Partition { topic: topic.clone(), index })
    });
    partitions.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(member_id: &str, instance_id: Option<&str>, topics: &[&str]) -> Claim {
        Claim {
            member_id: member_id.to_owned(),
            instance_id: instance_id.map(str::to_owned),
            topics: topics.iter().map(|topic| (*topic).to_owned()).collect(),
        }
    }

    #[test]
    fn shares_of_range() {
        let counts = [("t".to_owned(), 5), ("u".to_owned(), 1)].into();
        let claims = [claim("c", None, &["t", "u"]), claim("b", None, &["t"]), claim("z", Some("1"), &["t"])];
        let shares = range(&claims, &counts);
        let texts = |member: &str| shares[member].iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts("z"), ["t-0", "t-1"]);
        assert_eq!(texts("b"), ["t-2", "t-3"]);
        assert_eq!(texts("c"), ["t-4", "u-0"]);
    }

    #[test]
    fn nobody_takes_a_topic_that_nobody_wants() {
        let counts = [("t".to_owned(), 3)].into();
        assert!(range(&[claim("a", None, &[])], &counts)["a"].is_empty());
        assert!(range(&[], &counts).is_empty());
    }

    #[test]
    fn an_assignment_is_read_back() {
        let assigned = vec![TopicPartition { topic: "t".into(), partitions: vec![3, 1] }];
        let assignment = ConsumerProtocolAssignment { assigned_partitions: assigned, user_data: None };
        let partitions = partitions_of(versioned(&assignment.to_bytes(0)));
        assert_eq!(partitions.iter().map(ToString::to_string).collect::<Vec<_>>(), ["t-3", "t-1"]);
        assert!(partitions_of(Bytes::new()).is_empty());
    }
}
