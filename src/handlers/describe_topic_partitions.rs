//! DescribeTopicPartitions v0 (KIP-966): topics page by page, with eligible leader replicas.
//!
//! Needs Describe on each topic; a list of all topics leaves out what may not be seen. Topics come in the order of their
//! names, from the cursor on, with at most as many partitions as the client and `max.request.partition.size.limit` allow.

use std::collections::BTreeSet;

use bytes::Bytes;

use super::context::{TopicAdmission, TopicRef, TopicView};
use super::{Order, Reply, RequestContext, Spec};
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;
use crate::model::topic::TopicName;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_topic_partitions_request::{self, DescribeTopicPartitionsRequest};
use crate::protocol::messages::describe_topic_partitions_response::{
    self, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeTopicPartitions, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeTopicPartitionsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    if !is_cursor_valid(&request) {
        let topics = request.topics.iter().map(|topic| refused(&topic.name, ErrorCode::InvalidRequest)).collect();
        let response = DescribeTopicPartitionsResponse { topics, ..Default::default() };
        return Ok(Reply::Now(context.responder().respond(&response)));
    }
    let cursor = Cursor::of(&request);
    let mut page = Page {
        left: usize::try_from(request.response_partition_limit.min(context.broker.settings.max_partitions_per_page))
            .unwrap_or(0)
            .max(1),
        topics: Vec::new(),
        next: None,
    };
    if request.topics.is_empty() {
        for view in context.all_topics::<op::Describe>().await {
            if view.name().as_str() >= cursor.topic.as_str() {
                page.add(context, &view, &cursor).await;
            }
        }
    } else {
        let names: BTreeSet<&str> =
            request.topics.iter().map(|topic| &*topic.name).filter(|name| *name >= cursor.topic.as_str()).collect();
        let references: Vec<TopicRef<'_>> = names.iter().map(|name| TopicRef::Name(name)).collect();
        let admissions = context.admit_topics::<op::Describe>(&references).await;
        let mut denied = Vec::new();
        for (name, admission) in names.into_iter().zip(admissions) {
            match admission {
                TopicAdmission::Granted(_, view) => page.add(context, &view, &cursor).await,
                TopicAdmission::Unknown => page.add_unknown(context, name).await,
                TopicAdmission::Denied => denied.push(refused(name, ErrorCode::TopicAuthorizationFailed)),
            }
        }
        page.topics.extend(denied);
    }
    let response =
        DescribeTopicPartitionsResponse { topics: page.topics, next_cursor: page.next, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// A cursor names a topic of the request's list, if it has one, and no partition below 0.
fn is_cursor_valid(request: &DescribeTopicPartitionsRequest) -> bool {
    request.cursor.as_ref().is_none_or(|cursor| {
        let is_listed = request.topics.is_empty() || request.topics.iter().any(|t| t.name == cursor.topic_name);
        is_listed && cursor.partition_index >= 0
    })
}

/// Where the page before this one ended.
struct Cursor {
    topic: String,
    partition: i32,
}

impl Cursor {
    fn of(request: &DescribeTopicPartitionsRequest) -> Self {
        match &request.cursor {
            Some(describe_topic_partitions_request::Cursor { topic_name, partition_index }) => {
                Self { topic: topic_name.to_string(), partition: *partition_index }
            }
            None => Self { topic: String::new(), partition: 0 },
        }
    }

    fn first_partition(&self, topic: &str) -> i32 {
        if topic == self.topic { self.partition } else { 0 }
    }
}

struct Page {
    /// Partitions that still fit.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    /// Where the next page begins; once set, nothing more is added.
    next: Option<describe_topic_partitions_response::Cursor>,
}

impl Page {
    async fn add(&mut self, context: &RequestContext<'_>, view: &TopicView, cursor: &Cursor) {
        if self.next.is_some() {
            return;
        }
        let name = view.name().as_str();
        let first = cursor.first_partition(name);
        if self.left == 0 {
            self.next = Some(next(name, first));
            return;
        }
        let mut partitions: Vec<_> = view.partitions().filter(|p| p.index >= first).take(self.left + 1).collect();
        if partitions.len() > self.left {
            self.next = partitions.pop().map(|p| next(name, p.index));
        }
        self.left -= partitions.len();
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(name.into()),
            topic_id: view.id().0,
            is_internal: view.name().is_internal(),
            partitions: partitions
                .into_iter()
                .map(|p| DescribeTopicPartitionsResponsePartition {
                    error_code: p.error.code(),
                    partition_index: p.index,
                    leader_id: p.leader,
                    leader_epoch: p.leader_epoch,
                    replica_nodes: p.replicas,
                    isr_nodes: p.isr,
                    eligible_leader_replicas: Some(p.elr),
                    last_known_elr: Some(p.last_known_elr),
                    offline_replicas: p.offline,
                })
                .collect(),
            topic_authorized_operations: context.authorized_operations(ResourceType::Topic, name).await,
            ..Default::default()
        });
    }

    async fn add_unknown(&mut self, context: &RequestContext<'_>, name: &str) {
        if self.next.is_some() {
            return;
        }
        if self.left == 0 {
            self.next = Some(next(name, 0));
            return;
        }
        let topic_authorized_operations = context.authorized_operations(ResourceType::Topic, name).await;
        self.topics.push(DescribeTopicPartitionsResponseTopic { topic_authorized_operations, ..unknown(name) });
    }
}

fn next(topic: &str, partition_index: i32) -> describe_topic_partitions_response::Cursor {
    describe_topic_partitions_response::Cursor { topic_name: topic.into(), partition_index }
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let valid = TopicName::check_new(name).is_ok();
    let code = if valid { ErrorCode::UnknownTopicOrPartition } else { ErrorCode::InvalidTopicException };
    DescribeTopicPartitionsResponseTopic { is_internal: TopicName::is_internal_name(name), ..refused(name, code) }
}

fn refused(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    DescribeTopicPartitionsResponseTopic { error_code: code.code(), name: Some(name.into()), ..Default::default() }
}
