//! DeleteTopics v1–6 (KIP-4; error texts KIP-599 from v5; by id KIP-516 from v6).
//!
//! Needs Delete on the cluster, or Describe and Delete on each topic. By name, a topic that may not be described is
//! TOPIC_AUTHORIZATION_FAILED whether or not it exists; by id, it is refused with a null name. In profile *strict* the
//! broker's own topics are not deleted by anybody (INVALID_TOPIC_EXCEPTION).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::context::{TopicAdmission, TopicRef, TopicView};
use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ControllerRequest, ControllerResponse, DeleteTopic, DeleteTopics};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicId;
use crate::model::uuid::Uuid;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::delete_topics_request::DeleteTopicsRequest;
use crate::protocol::messages::delete_topics_response::{DeletableTopicResult, DeleteTopicsResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Admission, Permit, Resource, Wanted, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DeleteTopics, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// One topic of the request: a name, or an id.
type Named = (Option<ByteString>, Uuid);

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let version = context.header.api_version;
    let request = DeleteTopicsRequest::decode(&mut Reader::new(body), version)?;
    let named: Vec<Named> = if version >= 6 {
        request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id)).collect()
    } else {
        request.topic_names.iter().map(|name| (Some(name.clone()), Uuid::ZERO)).collect()
    };
    let responses = if context.broker.settings.delete_topics {
        let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        delete(context, named, timeout).await
    } else if version < 3 {
        let error = ApiError::new(ErrorCode::InvalidRequest, "Topic deletion is disabled.");
        named.iter().map(|(name, id)| refused(name.as_deref(), *id, &error)).collect()
    } else {
        let error = ApiError::of(ErrorCode::TopicDeletionDisabled);
        named.iter().map(|(name, id)| refused(name.as_deref(), *id, &error)).collect()
    };
    let response = DeleteTopicsResponse { responses, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn delete(context: &RequestContext<'_>, named: Vec<Named>, timeout: Duration) -> Vec<DeletableTopicResult> {
    let (references, mut results) = distinct(named);
    let (topics, more) = admit(context, &references).await;
    results.extend(more);
    if topics.is_empty() {
        return results;
    }
    let asked: Vec<(Option<ByteString>, TopicId)> =
        topics.iter().map(|(view, _, _)| (Some(view.name().as_str().into()), view.id())).collect();
    let request = DeleteTopics {
        topics: topics.into_iter().map(|(_, permit, by_id)| DeleteTopic { permit, by_id }).collect(),
        deadline: Some(context.broker.clock.mono().plus(timeout)),
    };
    let answers = match context.broker.controller.submit(ControllerRequest::DeleteTopics(request)).await {
        Ok(ControllerResponse::DeleteTopics(answers)) => answers,
        Ok(_) => asked.iter().map(|_| Err(ApiError::of(ErrorCode::UnknownServerError))).collect(),
        Err(error) => asked.iter().map(|_| Err(ApiError::of(error.code()))).collect(),
    };
    results.extend(asked.into_iter().zip(answers).map(|((name, id), answer)| match answer {
        Ok(_) => DeletableTopicResult { name, topic_id: id.0, ..Default::default() },
        Err(error) => refused(name.as_deref(), id.0, &error),
    }));
    results
}

/// What the request names once and rightly, and answers for the rest (`ControllerApis.deleteTopics`).
fn distinct(named: Vec<Named>) -> (Vec<Named>, Vec<DeletableTopicResult>) {
    let invalid = |text: &str| ApiError::new(ErrorCode::InvalidRequest, text);
    let (mut names, mut ids): (BTreeMap<ByteString, usize>, BTreeMap<Uuid, usize>) = (BTreeMap::new(), BTreeMap::new());
    let mut results = Vec::new();
    for (name, id) in named {
        match (name, id.is_zero()) {
            (None, true) => {
                results.push(refused(None, Uuid::ZERO, &invalid("Neither topic name nor id were specified.")));
            }
            (Some(name), false) => {
                results.push(refused(Some(&name), id, &invalid("You may not specify both topic name and topic id.")));
            }
            (Some(name), true) => *names.entry(name).or_default() += 1,
            (None, false) => *ids.entry(id).or_default() += 1,
        }
    }
    let mut once = Vec::new();
    for (name, count) in names {
        if count > 1 {
            results.push(refused(Some(&name), Uuid::ZERO, &invalid("Duplicate topic name.")));
        } else {
            once.push((Some(name), Uuid::ZERO));
        }
    }
    for (id, count) in ids {
        if count > 1 {
            results.push(refused(None, id, &invalid("Duplicate topic id.")));
        } else {
            once.push((None, id));
        }
    }
    (once, results)
}

type Permitted = (TopicView, Permit<op::Delete>, bool);

/// Topics that may be deleted, each once, and refusals for the rest.
async fn admit(context: &RequestContext<'_>, named: &[Named]) -> (Vec<Permitted>, Vec<DeletableTopicResult>) {
    let references: Vec<TopicRef<'_>> = named
        .iter()
        .map(|(name, id)| match name {
            Some(name) => TopicRef::Name(name),
            None => TopicRef::Id(TopicId(*id)),
        })
        .collect();
    // Delete on the cluster stands for Describe and Delete on every topic.
    let for_cluster = references.iter().map(|_| Wanted { log_if_denied: false, ..Resource::Cluster.into() }).collect();
    let for_cluster: Vec<_> = context.admit::<op::Delete>(for_cluster).await;
    let described = if for_cluster.iter().all(Admission::is_granted) {
        Vec::new()
    } else {
        context.admit_topics::<op::Describe>(&references).await
    };
    let mut described = described.into_iter();
    let mut candidates = Vec::new();
    let mut refusals = Vec::new();
    for ((named, reference), admission) in named.iter().zip(references).zip(for_cluster) {
        let found = match (admission, described.next()) {
            (Admission::Granted(permit), None) => match context.topic_for(&permit, reference) {
                Some(view) => Ok((view, Some(permit))),
                None => Err(unknown(reference)),
            },
            (_, Some(admission)) => match (admission.error(reference), admission) {
                (None, TopicAdmission::Granted(_, view)) => Ok((view, None)),
                (error, _) => Err(error.unwrap_or(ErrorCode::TopicAuthorizationFailed)),
            },
            (Admission::Refused(..), None) => Err(ErrorCode::TopicAuthorizationFailed),
        };
        match found {
            Ok((view, permit)) => candidates.push((named, view, permit)),
            Err(code) => refusals.push(refused(named.0.as_deref(), named.1, &ApiError::of(code))),
        }
    }
    let mut permitted: Vec<Permitted> = Vec::new();
    let mut seen = BTreeSet::new();
    for (named, view, permit) in candidates {
        let (id, name) = (view.id().0, view.name().clone());
        // Who asked by name is not told the id.
        let refuse = |error: &ApiError| refused(Some(view.name().as_str()), named.1, error);
        let permit = match permit {
            Some(permit) => permit.narrowed_to_topic(id, name).ok_or(ErrorCode::TopicAuthorizationFailed),
            None => context.admit_one::<op::Delete>(Resource::Topic { id, name }).await,
        };
        match permit {
            Err(code) => refusals.push(refuse(&ApiError::of(code))),
            Ok(_) if context.broker.settings.strict && view.name().is_internal() => {
                let text = "The broker's own topics are not deleted.";
                refusals.push(refuse(&ApiError::new(ErrorCode::InvalidTopicException, text)));
            }
            Ok(permit) if seen.insert(id) => permitted.push((view, permit, named.0.is_none())),
            Ok(_) => {
                let text = "The provided topic name maps to an ID that was already supplied.";
                refusals.push(refused(None, id, &ApiError::new(ErrorCode::InvalidRequest, text)));
            }
        }
    }
    (permitted, refusals)
}

fn unknown(named: TopicRef<'_>) -> ErrorCode {
    match named {
        TopicRef::Name(_) => ErrorCode::UnknownTopicOrPartition,
        TopicRef::Id(_) => ErrorCode::UnknownTopicId,
    }
}

fn refused(name: Option<&str>, topic_id: Uuid, error: &ApiError) -> DeletableTopicResult {
    DeletableTopicResult {
        name: name.map(Into::into),
        topic_id,
        error_code: error.code().code(),
        error_message: error.message().map(Into::into),
    }
}
