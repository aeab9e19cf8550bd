//! OffsetFetch v1–10 (all topics from v2, stable offsets KIP-447 from v7, several groups KIP-709 from v8, topic ids KIP-848
//! from v10).
//!
//! Needs Describe on the group (GROUP_AUTHORIZATION_FAILED for it) and on each topic (TOPIC_AUTHORIZATION_FAILED; a list of
//! all leaves it out). What a group never committed is offset -1. A group that does not exist has committed nothing.

use bytes::Bytes;
use bytestring::ByteString;

use super::context::{TopicAdmission, TopicRef};
use super::{LaterReply, Order, Reply, RequestContext, Responder, Response, Spec};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicId;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::offset_fetch_request::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use crate::protocol::messages::offset_fetch_response::{
    OffsetFetchResponse, OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::OffsetFetch, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// An error of the whole group has its own field from this version on.
const GROUP_ERROR_FROM: i16 = 2;
/// Several groups in one request from this version on.
const BATCHED_FROM: i16 = 8;
/// Topics are named by id from this version on.
const TOPIC_IDS_FROM: i16 = 10;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = OffsetFetchRequest::decode(&mut Reader::new(body), version)?;
    let responder = context.responder();
    let require_stable = request.require_stable;
    let groups = groups_of(request, version);
    let mut pending = Vec::with_capacity(groups.len());
    for group in groups {
        pending.push(begin(context, group, version, require_stable).await);
    }
    let asker = super::asker::Asker::new(context);
    Ok(Reply::Later(Box::pin(async move {
        let mut groups = Vec::with_capacity(pending.len());
        for group in pending {
            groups.push(group.complete(&asker.context(), version).await);
        }
        LaterReply::Respond(respond(&responder, groups))
    })))
}

/// The groups of a request of any version.
fn groups_of(request: OffsetFetchRequest, version: i16) -> Vec<OffsetFetchRequestGroup> {
    if version >= BATCHED_FROM {
        return request.groups;
    }
    let topics = request.topics.map(|topics| {
        let of = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            partition_indexes: topic.partition_indexes,
            ..Default::default()
        });
        of.collect()
    });
    vec![OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() }]
}

type Fetched = futures_util::future::BoxFuture<'static, Result<GroupResponse, ErrorCode>>;

/// One group on its way to an answer.
struct Pending {
    group_id: ByteString,
    /// Everything was asked for, so what may not be seen is left out.
    all: bool,
    asked: Vec<OffsetFetchRequestTopics>,
    refusals: Vec<OffsetFetchResponseTopics>,
    fetched: Result<Fetched, ErrorCode>,
}

async fn begin(
    context: &RequestContext<'_>,
    group: OffsetFetchRequestGroup,
    version: i16,
    require_stable: bool,
) -> Pending {
    let asked = group.topics.clone().unwrap_or_default();
    let mut pending = Pending {
        group_id: group.group_id.clone(),
        all: group.topics.is_none(),
        asked,
        refusals: Vec::new(),
        fetched: Err(ErrorCode::None),
    };
    let permit = match context.admit_group::<op::Describe>(&group.group_id).await {
        Ok(permit) => permit,
        Err(code) => return Pending { fetched: Err(code), ..pending },
    };
    let topics = match group.topics {
        None => None,
        Some(topics) => {
            let (refusals, allowed) = sort_out(context, topics, version).await;
            pending.refusals = refusals;
            Some(allowed)
        }
    };
    let request = GroupRequest::FetchOffsets { permit, topics, require_stable };
    Pending { fetched: Ok(context.broker.groups.submit(request)), ..pending }
}

/// What is refused here, and what the coordinator is asked for.
async fn sort_out(
    context: &RequestContext<'_>,
    asked: Vec<OffsetFetchRequestTopics>,
    version: i16,
) -> (Vec<OffsetFetchResponseTopics>, Vec<OffsetFetchRequestTopics>) {
    let by_id = version >= TOPIC_IDS_FROM;
    let named: Vec<TopicRef<'_>> =
        asked.iter().map(|t| if by_id { TopicRef::Id(TopicId(t.topic_id)) } else { TopicRef::Name(&t.name) }).collect();
    let admissions = context.admit_topics::<op::Describe>(&named).await;
    let (mut refusals, mut allowed) = (Vec::new(), Vec::new());
    for (mut topic, admission) in asked.into_iter().zip(admissions) {
        match admission {
            TopicAdmission::Granted(_, view) => {
                topic.name = view.name().as_str().into();
                allowed.push(topic);
            }
            // Positions may outlive their topic.
            TopicAdmission::Unknown if !by_id => allowed.push(topic),
            TopicAdmission::Unknown => refusals.push(refused_topic(&topic, ErrorCode::UnknownTopicId)),
            TopicAdmission::Denied => refusals.push(refused_topic(&topic, ErrorCode::TopicAuthorizationFailed)),
        }
    }
    (refusals, allowed)
}

impl Pending {
    async fn complete(self, context: &RequestContext<'_>, version: i16) -> OffsetFetchResponseGroup {
        let answer = match self.fetched {
            Ok(fetched) => fetched.await,
            Err(code) => Err(code),
        };
        let topics = match answer {
            Ok(GroupResponse::FetchOffsets(topics)) if self.all => visible(context, topics, version).await,
            Ok(GroupResponse::FetchOffsets(topics)) => topics.into_iter().chain(self.refusals).collect(),
            Ok(_) => return failed(self.group_id, &self.asked, ErrorCode::UnknownServerError, version),
            Err(code) => return failed(self.group_id, &self.asked, code, version),
        };
        OffsetFetchResponseGroup { group_id: self.group_id, topics, ..Default::default() }
    }
}

/// Of all topics those that may be described.
async fn visible(
    context: &RequestContext<'_>,
    topics: Vec<OffsetFetchResponseTopics>,
    version: i16,
) -> Vec<OffsetFetchResponseTopics> {
    let named: Vec<TopicRef<'_>> = topics.iter().map(|topic| TopicRef::Name(&topic.name)).collect();
    let admissions = context.admit_topics_quietly::<op::Describe>(&named).await;
    let mut visible = Vec::with_capacity(topics.len());
    for (mut topic, admission) in topics.into_iter().zip(admissions) {
        match admission {
            TopicAdmission::Granted(_, view) => {
                topic.topic_id = view.id().0;
                visible.push(topic);
            }
            TopicAdmission::Unknown if version < TOPIC_IDS_FROM => visible.push(topic),
            TopicAdmission::Unknown | TopicAdmission::Denied => {}
        }
    }
    visible
}

fn refused_topic(topic: &OffsetFetchRequestTopics, code: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = topic.partition_indexes.iter().map(|partition| OffsetFetchResponsePartitions {
        partition_index: *partition,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Default::default()),
        error_code: code.code(),
    });
    OffsetFetchResponseTopics { name: topic.name.clone(), topic_id: topic.topic_id, partitions: partitions.collect() }
}

/// An error of the whole group; the oldest version says it of each partition.
fn failed(
    group_id: ByteString,
    asked: &[OffsetFetchRequestTopics],
    code: ErrorCode,
    version: i16,
) -> OffsetFetchResponseGroup {
    let topics = match version {
        ..GROUP_ERROR_FROM => asked.iter().map(|topic| refused_topic(topic, code)).collect(),
        _ => Vec::new(),
    };
    OffsetFetchResponseGroup { group_id, topics, error_code: code.code() }
}

fn respond(responder: &Responder, mut groups: Vec<OffsetFetchResponseGroup>) -> Response {
    if responder.version() >= BATCHED_FROM {
        return responder.respond(&OffsetFetchResponse { groups, ..Default::default() });
    }
    let Some(group) = groups.pop() else { return responder.respond(&OffsetFetchResponse::default()) };
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    });
    let response = OffsetFetchResponse { topics: topics.collect(), error_code: group.error_code, ..Default::default() };
    responder.respond(&response)
}
