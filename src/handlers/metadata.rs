//! Metadata v0–13 (KIP-4; topic ids KIP-516 from v10, by id from v12; authorized operations KIP-430 from v8).
//!
//! Needs Describe on each topic. A named topic without it is answered TOPIC_AUTHORIZATION_FAILED whether or not it exists,
//! with a zero id; a list of all topics leaves it out. By id a denied topic has a null name, an unknown one is
//! UNKNOWN_TOPIC_ID, as in Kafka. A missing topic is made on the way if `auto.create.topics.enable` and the client allow
//! it and the principal may Create it; the answer is then still UNKNOWN_TOPIC_OR_PARTITION, and the client asks again.

use std::collections::HashSet;

use bytes::Bytes;
use bytestring::ByteString;

use super::context::{TopicAdmission, TopicRef, TopicView};
use super::{Order, Reply, RequestContext, Spec};
use crate::controller::CreateTopic;
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::model::resource::{ResourcePattern, ResourceType};
use crate::model::topic::{TopicId, TopicName};
use crate::model::uuid::Uuid;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::metadata_request::MetadataRequest;
use crate::protocol::messages::metadata_response::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;
use crate::security::authorizer::permit::op;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::Metadata, Order::Overlaps, |context, body| Box::pin(handle(context, body)));

/// "Not asked for" in the fields of authorized operations.
const NO_OPERATIONS: i32 = i32::MIN;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = MetadataRequest::decode(&mut Reader::new(body), version)?;
    let topics = match named_topics(&request, version) {
        Named::All => all_topics(context, &request).await,
        Named::Some(named) => some_topics(context, &request, named).await,
        Named::Invalid => return Ok(Reply::Now(context.responder().respond(&invalid(&request)))),
    };
    let cluster_authorized_operations = if (8..=10).contains(&version) && request.include_cluster_authorized_operations
    {
        cluster_operations(context).await
    } else {
        NO_OPERATIONS
    };
    let brokers = context.brokers(false);
    let response = MetadataResponse {
        controller_id: brokers.first().map_or(-1, |broker| broker.id),
        brokers: brokers
            .into_iter()
            .map(|broker| MetadataResponseBroker {
                node_id: broker.id,
                host: (&*broker.host).into(),
                port: broker.port,
                rack: broker.rack.map(|rack| (&*rack).into()),
            })
            .collect(),
        cluster_id: Some((&*context.broker.cluster_id).into()),
        topics,
        cluster_authorized_operations,
        ..Default::default()
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// The bits of KIP-430 for the cluster: 0 without Describe on it.
pub(super) async fn cluster_operations(context: &RequestContext<'_>) -> i32 {
    if context.is_allowed(Action::cluster(AclOperation::Describe)).await {
        context.authorized_operations(ResourceType::Cluster, ResourcePattern::CLUSTER_NAME).await
    } else {
        0
    }
}

#[derive(Debug)]
enum Named {
    All,
    /// Each once, in the order of the request; the flag: by id.
    Some(Vec<Reference>),
    /// Ids in a version that has no such thing, or neither name nor id: the whole request is invalid.
    Invalid,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Reference {
    Name(ByteString),
    Id(TopicId),
}

impl Reference {
    fn as_ref(&self) -> TopicRef<'_> {
        match self {
            Self::Name(name) => TopicRef::Name(name),
            Self::Id(id) => TopicRef::Id(*id),
        }
    }
}

fn named_topics(request: &MetadataRequest, version: i16) -> Named {
    let Some(topics) = &request.topics else { return Named::All };
    if topics.is_empty() && version == 0 {
        return Named::All;
    }
    if version < 12 && topics.iter().any(|t| t.name.is_none() || !t.topic_id.is_zero()) {
        return Named::Invalid;
    }
    let mut seen = HashSet::new();
    // Once there is an id, names are not looked at.
    let by_id = topics.iter().any(|t| !t.topic_id.is_zero());
    if !by_id && topics.iter().any(|t| t.name.is_none()) {
        return Named::Invalid;
    }
    let references = topics.iter().filter_map(|topic| match (&topic.name, topic.topic_id.is_zero()) {
        (_, false) => Some(Reference::Id(TopicId(topic.topic_id))),
        (Some(name), true) if !by_id => Some(Reference::Name(name.clone())),
        (_, true) => None,
    });
    Named::Some(references.filter(|reference| seen.insert(reference.clone())).collect())
}

/// `MetadataRequest.getErrorResponse`: the topics as they were asked for, and nothing of the cluster.
fn invalid(request: &MetadataRequest) -> MetadataResponse {
    let error_code = ErrorCode::InvalidRequest.code();
    let topics = request.topics.iter().flatten().map(|topic| MetadataResponseTopic {
        error_code,
        name: Some(topic.name.clone().unwrap_or_default()),
        topic_id: topic.topic_id,
        ..Default::default()
    });
    MetadataResponse { topics: topics.collect(), error_code, ..Default::default() }
}

async fn all_topics(context: &RequestContext<'_>, request: &MetadataRequest) -> Vec<MetadataResponseTopic> {
    let mut topics = Vec::new();
    for view in context.all_topics::<op::Describe>().await {
        topics.push(known(context, request, &view).await);
    }
    topics
}

async fn some_topics(
    context: &RequestContext<'_>,
    request: &MetadataRequest,
    named: Vec<Reference>,
) -> Vec<MetadataResponseTopic> {
    let references: Vec<TopicRef<'_>> = named.iter().map(Reference::as_ref).collect();
    let admissions = context.admit_topics::<op::Describe>(&references).await;
    let mut topics = Vec::with_capacity(named.len());
    let mut missing = Vec::new();
    for (reference, admission) in references.iter().zip(admissions) {
        let error = admission.error(*reference);
        match (admission, *reference) {
            (TopicAdmission::Granted(_, view), _) => topics.push(known(context, request, &view).await),
            (TopicAdmission::Unknown, TopicRef::Name(name)) => {
                missing.push(topics.len());
                let topic_authorized_operations = topic_operations(context, request, name).await;
                topics.push(MetadataResponseTopic { topic_authorized_operations, ..unknown(name) });
            }
            (_, TopicRef::Name(name)) => topics.push(failed(error, Some(name), Uuid::ZERO)),
            (_, TopicRef::Id(id)) => topics.push(failed(error, None, id.0)),
        }
    }
    create_missing(context, request, &mut topics, &missing).await;
    topics
}

async fn known(context: &RequestContext<'_>, request: &MetadataRequest, view: &TopicView) -> MetadataResponseTopic {
    let topic_authorized_operations = topic_operations(context, request, view.name().as_str()).await;
    MetadataResponseTopic {
        name: Some(view.name().as_str().into()),
        topic_id: view.id().0,
        is_internal: view.name().is_internal(),
        partitions: view
            .partitions()
            .map(|partition| MetadataResponsePartition {
                error_code: partition.error.code(),
                partition_index: partition.index,
                leader_id: partition.leader,
                leader_epoch: partition.leader_epoch,
                replica_nodes: partition.replicas,
                isr_nodes: partition.isr,
                offline_replicas: partition.offline,
            })
            .collect(),
        topic_authorized_operations,
        ..Default::default()
    }
}

async fn topic_operations(context: &RequestContext<'_>, request: &MetadataRequest, name: &str) -> i32 {
    if request.include_topic_authorized_operations {
        context.authorized_operations(ResourceType::Topic, name).await
    } else {
        NO_OPERATIONS
    }
}

fn unknown(name: &str) -> MetadataResponseTopic {
    let error = if TopicName::check_new(name).is_ok() {
        ErrorCode::UnknownTopicOrPartition
    } else {
        ErrorCode::InvalidTopicException
    };
    MetadataResponseTopic {
        is_internal: TopicName::is_internal_name(name),
        ..failed(Some(error), Some(name), Uuid::ZERO)
    }
}

fn failed(error: Option<ErrorCode>, name: Option<&str>, topic_id: Uuid) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.unwrap_or(ErrorCode::UnknownServerError).code(),
        name: name.map(Into::into),
        topic_id,
        ..Default::default()
    }
}

/// Sets off the creation of missing topics; those the principal may not create are denied instead.
async fn create_missing(
    context: &RequestContext<'_>,
    request: &MetadataRequest,
    topics: &mut [MetadataResponseTopic],
    missing: &[usize],
) {
    if missing.is_empty() || !request.allow_auto_topic_creation || !context.broker.settings.auto_create_topics {
        return;
    }
    let names: Vec<ByteString> =
        missing.iter().filter_map(|at| topics.get(*at)).filter_map(|topic| topic.name.clone()).collect();
    let permits = context.admit_creation(&names).await;
    let mut wanted = Vec::new();
    for ((at, name), permit) in missing.iter().zip(names).zip(permits) {
        let Some(topic) = topics.get_mut(*at) else { continue };
        match permit {
            None => topic.error_code = ErrorCode::TopicAuthorizationFailed.code(),
            Some(permit) if topic.error_code == ErrorCode::UnknownTopicOrPartition.code() => {
                wanted.push(CreateTopic::with_defaults(permit, &name));
            }
            Some(_) => {}
        }
    }
    context.auto_create_topics(wanted);
}
