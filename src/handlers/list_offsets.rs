//! ListOffsets v1–11: earliest, latest, by time (KIP-79; v7 the newest record, KIP-734; v8 and v9 what is local and what is
//! tiered, KIP-405 and KIP-1005; v11 what waits for upload, KIP-1023).
//!
//! Needs Describe on each topic. Nothing is tiered here: -4 is the earliest offset, -5 and -6 find nothing, and the timeout
//! of v10, which is for remote storage, has nothing to limit. Searches by time may read from the disk: they run on the
//! blocking pool, one task a request. As from Kafka, a topic or partition that is named twice is answered once, with
//! INVALID_REQUEST for the partition, a topic without partitions is left out, and topics that are refused come last.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use bytestring::ByteString;

use super::asker::{after_writes, writes_before};
use super::context::{TopicAdmission, TopicRef};
use super::{CloseReason, LaterReply, Order, Reply, RequestContext, Spec};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::compression::Decompressor;
use crate::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use crate::protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::replica::partition::{IsolationLevel, OffsetError, OffsetQuery, Partition};
use crate::replica::reader::TopicDescriber;
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::ListOffsets, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// The replica id of a client that is no replica.
const CONSUMER: i32 = -1;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = ListOffsetsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let responder = context.responder();
    let (plan, isolation) = (admit(context, &request).await, isolation(&request));
    let Some(isolation) = isolation.or(plan.topics.is_empty().then_some(IsolationLevel::LogEnd)) else {
        let topics = request.topics.iter().map(|topic| failed(topic, ErrorCode::UnknownServerError)).collect();
        return Ok(Reply::Now(responder.respond(&ListOffsetsResponse { topics, ..Default::default() })));
    };
    let writes = writes_before(context);
    if writes.is_empty() && !plan.searches() {
        return Ok(Reply::Now(responder.respond(&plan.answer(isolation))));
    }
    Ok(Reply::Later(Box::pin(async move {
        after_writes(writes).await;
        if !plan.searches() {
            return LaterReply::Respond(responder.respond(&plan.answer(isolation)));
        }
        match tokio::task::spawn_blocking(move || plan.answer(isolation)).await {
            Ok(response) => LaterReply::Respond(responder.respond(&response)),
            Err(_) => LaterReply::Close(CloseReason::Protocol("a search for offsets was abandoned")),
        }
    })))
}

/// How far the asker sees; `None` for an isolation level that does not exist.
fn isolation(request: &ListOffsetsRequest) -> Option<IsolationLevel> {
    match (request.replica_id, request.isolation_level) {
        (CONSUMER, 0) => Some(IsolationLevel::ReadUncommitted),
        (CONSUMER, 1) => Some(IsolationLevel::ReadCommitted),
        (_, 0 | 1) => Some(IsolationLevel::LogEnd),
        _ => None,
    }
}

/// What `timestamp` asks for in a request of this version; `None` for what is not known there
/// (`ReplicaManager.isListOffsetsTimestampUnsupported`).
fn query(timestamp: i64, version: i16) -> Option<OffsetQuery> {
    let (since, query) = match timestamp {
        0.. => (1, OffsetQuery::Timestamp(timestamp)),
        -1 => (1, OffsetQuery::Latest),
        -2 => (1, OffsetQuery::Earliest),
        -3 => (7, OffsetQuery::MaxTimestamp),
        -4 => (8, OffsetQuery::Earliest),
        -5 => (9, OffsetQuery::Tiered),
        -6 => (11, OffsetQuery::Tiered),
        _ => return None,
    };
    (version >= since).then_some(query)
}

/// A request whose topics were judged: it can be answered anywhere.
struct Plan {
    version: i16,
    topics: Vec<TopicPlan>,
    denied: Vec<ListOffsetsTopicResponse>,
}

struct TopicPlan {
    name: ByteString,
    partitions: Vec<(i32, Result<Search, ErrorCode>)>,
}

struct Search {
    describer: Arc<TopicDescriber>,
    partition: Arc<Partition>,
    query: OffsetQuery,
    current_leader_epoch: i32,
}

async fn admit(context: &RequestContext<'_>, request: &ListOffsetsRequest) -> Plan {
    let version = context.header.api_version;
    let topics = Topics::of(request);
    let named: Vec<TopicRef<'_>> = topics.names.iter().map(|name| TopicRef::Name(name)).collect();
    let admissions = context.admit_topics::<op::Describe>(&named).await;
    let mut plan = Plan { version, topics: Vec::new(), denied: Vec::new() };
    for ((name, partitions), admission) in topics.names.iter().zip(&topics.partitions).zip(admissions) {
        let (view, describer) = match admission {
            TopicAdmission::Denied => {
                let again = request.topics.iter().filter(|topic| topic.name == **name);
                plan.denied.extend(again.map(|topic| failed(topic, ErrorCode::TopicAuthorizationFailed)));
                continue;
            }
            TopicAdmission::Granted(permit, view) => {
                (Some(view), Some(Arc::new(context.broker.replicas.describer(permit))))
            }
            TopicAdmission::Unknown => (None, None),
        };
        let search = |asked: &Asked<'_>| {
            if asked.is_repeated {
                return Err(ErrorCode::InvalidRequest);
            }
            let query = query(asked.partition.timestamp, version).ok_or(ErrorCode::UnsupportedVersion)?;
            let (Some(view), Some(describer)) = (&view, &describer) else {
                return Err(ErrorCode::UnknownTopicOrPartition);
            };
            let partition = context.hosted(view.id(), view.partition_count(), asked.partition.partition_index)?;
            let current_leader_epoch = asked.partition.current_leader_epoch;
            Ok(Search { describer: Arc::clone(describer), partition, query, current_leader_epoch })
        };
        if partitions.is_empty() {
            continue;
        }
        let partitions = partitions.iter().map(|asked| (asked.partition.partition_index, search(asked))).collect();
        plan.topics.push(TopicPlan { name: (*name).clone(), partitions });
    }
    plan
}

/// A request's topics and partitions, each once, in the order in which they are first named.
struct Topics<'a> {
    names: Vec<&'a ByteString>,
    /// Of the name at the same place.
    partitions: Vec<Vec<Asked<'a>>>,
}

struct Asked<'a> {
    partition: &'a ListOffsetsPartition,
    is_repeated: bool,
}

impl<'a> Topics<'a> {
    fn of(request: &'a ListOffsetsRequest) -> Self {
        let (mut seen, mut repeated) = (HashSet::new(), HashSet::new());
        for (topic, partition) in pairs(request) {
            if !seen.insert((&*topic.name, partition.partition_index)) {
                repeated.insert((&*topic.name, partition.partition_index));
            }
        }
        let mut topics = Self { names: Vec::new(), partitions: Vec::new() };
        let mut places: HashMap<&str, usize> = HashMap::new();
        for topic in &request.topics {
            let place = *places.entry(&topic.name).or_insert_with(|| {
                topics.names.push(&topic.name);
                topics.partitions.push(Vec::new());
                topics.names.len() - 1
            });
            let Some(partitions) = topics.partitions.get_mut(place) else { continue };
            for partition in &topic.partitions {
                let pair = (&*topic.name, partition.partition_index);
                if seen.remove(&pair) {
                    partitions.push(Asked { partition, is_repeated: repeated.contains(&pair) });
                }
            }
        }
        topics
    }
}

fn pairs(request: &ListOffsetsRequest) -> impl Iterator<Item = (&ListOffsetsTopic, &ListOffsetsPartition)> {
    request.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
}

impl Plan {
    /// May the answer have to wait for the disk?
    fn searches(&self) -> bool {
        let mut searches = self.topics.iter().flat_map(|topic| &topic.partitions).filter_map(|(_, s)| s.as_ref().ok());
        searches.any(|search| search.query.searches())
    }

    fn answer(self, isolation: IsolationLevel) -> ListOffsetsResponse {
        let Self { version, topics, denied } = self;
        let mut decompressor = Decompressor::default();
        let mut answer = |(index, search): (i32, Result<Search, ErrorCode>)| match search {
            Ok(search) => search.answer(index, isolation, version, &mut decompressor),
            Err(code) => error(index, code),
        };
        let mut topics: Vec<ListOffsetsTopicResponse> = topics
            .into_iter()
            .map(|TopicPlan { name, partitions }| ListOffsetsTopicResponse {
                name,
                partitions: partitions.into_iter().map(&mut answer).collect(),
            })
            .collect();
        topics.extend(denied);
        ListOffsetsResponse { topics, ..Default::default() }
    }
}

impl Search {
    fn answer(
        &self,
        partition_index: i32,
        isolation: IsolationLevel,
        version: i16,
        decompressor: &mut Decompressor,
    ) -> ListOffsetsPartitionResponse {
        match self.describer.offset(&self.partition, self.query, isolation, self.current_leader_epoch, decompressor) {
            Ok(None) => ListOffsetsPartitionResponse { partition_index, ..Default::default() },
            Ok(Some(found)) => ListOffsetsPartitionResponse {
                partition_index,
                timestamp: found.timestamp,
                offset: found.offset,
                leader_epoch: found.leader_epoch.unwrap_or(-1),
                ..Default::default()
            },
            // Clients of that age do not know the other error.
            Err(OffsetError::NotAvailable) if version < 5 => error(partition_index, ErrorCode::LeaderNotAvailable),
            Err(failure) => error(partition_index, failure.code()),
        }
    }
}

fn failed(topic: &ListOffsetsTopic, code: ErrorCode) -> ListOffsetsTopicResponse {
    let partitions = topic.partitions.iter().map(|asked| error(asked.partition_index, code)).collect();
    ListOffsetsTopicResponse { name: topic.name.clone(), partitions }
}

fn error(partition_index: i32, code: ErrorCode) -> ListOffsetsPartitionResponse {
    ListOffsetsPartitionResponse { partition_index, error_code: code.code(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_version_knows_its_timestamps() {
        assert_eq!(query(0, 1), Some(OffsetQuery::Timestamp(0)));
        assert_eq!(query(-1, 1), Some(OffsetQuery::Latest));
        assert_eq!(query(-2, 1), Some(OffsetQuery::Earliest));
        for (timestamp, since, answer) in [
            (-3, 7, OffsetQuery::MaxTimestamp),
            (-4, 8, OffsetQuery::Earliest),
            (-5, 9, OffsetQuery::Tiered),
            (-6, 11, OffsetQuery::Tiered),
        ] {
            assert_eq!(query(timestamp, since - 1), None);
            assert_eq!(query(timestamp, since), Some(answer));
        }
        assert_eq!(query(-7, 11), None);
        assert_eq!(query(i64::MIN, 11), None);
    }

    #[test]
    fn only_consumers_stop_at_what_is_committed() {
        let level = |replica_id, isolation_level| {
            isolation(&ListOffsetsRequest { replica_id, isolation_level, ..Default::default() })
        };
        assert_eq!(level(-1, 0), Some(IsolationLevel::ReadUncommitted));
        assert_eq!(level(-1, 1), Some(IsolationLevel::ReadCommitted));
        assert_eq!(level(-2, 1), Some(IsolationLevel::LogEnd));
        assert_eq!(level(3, 0), Some(IsolationLevel::LogEnd));
        assert_eq!(level(-1, 2), None);
    }

    #[test]
    fn what_is_named_twice_is_answered_once() {
        let partition = |partition_index| ListOffsetsPartition { partition_index, ..Default::default() };
        let topic = |name: &'static str, partitions: &[i32]| ListOffsetsTopic {
            name: name.into(),
            partitions: partitions.iter().map(|index| partition(*index)).collect(),
        };
        let request = ListOffsetsRequest {
            topics: vec![topic("a", &[0, 1, 1]), topic("b", &[0]), topic("a", &[2, 0])],
            ..Default::default()
        };
        let topics = Topics::of(&request);
        let asked: Vec<(&str, Vec<(i32, bool)>)> = topics
            .names
            .iter()
            .zip(&topics.partitions)
            .map(|(name, partitions)| {
                (&***name, partitions.iter().map(|a| (a.partition.partition_index, a.is_repeated)).collect())
            })
            .collect();
        assert_eq!(asked, [("a", vec![(0, true), (1, true), (2, false)]), ("b", vec![(0, false)])]);
    }
}
