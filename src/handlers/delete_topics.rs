//! DeleteTopics v1–6 (KIP-4; error texts KIP-599 from v5; by id KIP-516 from v6).
//!
//! Needs Delete on the cluster, or Delete on each topic, and Describe on those that are named. By name, a topic that may
//! not be described is TOPIC_AUTHORIZATION_FAILED whether or not it exists; by id, it is refused with a null name. In profile *strict* the
//! broker's own topics are not deleted by anybody (INVALID_TOPIC_EXCEPTION).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use super::context::{TopicAdmission, TopicRef, TopicView};
use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ControllerRequest, ControllerResponse, DeleteTopic, DeleteTopics};
use crate::model::error_code::ErrorCode;
use crate::model::topic::{TopicId, TopicName};
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
        let error = ApiError::bare(ErrorCode::TopicDeletionDisabled);
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

/// By name or, `true`, by id.
type Permitted = (TopicView, Permit<op::Delete>, bool);

/// A refusal may say the name to those who may describe the topic.
type Found = Result<(TopicView, Permit<op::Delete>), (Option<TopicName>, ErrorCode)>;

/// Topics that may be deleted, each once, and refusals for the rest.
async fn admit(context: &RequestContext<'_>, named: &[Named]) -> (Vec<Permitted>, Vec<DeletableTopicResult>) {
    let references: Vec<TopicRef<'_>> = named
        .iter()
        .map(|(name, id)| match name {
            Some(name) => TopicRef::Name(name),
            None => TopicRef::Id(TopicId(*id)),
        })
        .collect();
    let found = match admit_by_cluster(context, &references).await {
        Some(found) => found,
        None => admit_each(context, &references).await,
    };
    let mut permitted: Vec<Permitted> = Vec::new();
    let mut refusals = Vec::new();
    let mut twice = BTreeSet::new();
    for ((name, asked_id), found) in named.iter().zip(found) {
        let (view, permit) = match found {
            Ok(found) => found,
            Err((shown, code)) => {
                let name = name.as_deref().or(shown.as_ref().map(TopicName::as_str));
                refusals.push(refused(name, *asked_id, &ApiError::of(code)));
                continue;
            }
        };
        let refuse = |id: Uuid, code, text: &str| refused(Some(view.name().as_str()), id, &ApiError::new(code, text));
        if context.broker.settings.strict && view.name().is_internal() {
            let text = "The broker's own topics are not deleted.";
            refusals.push(refuse(*asked_id, ErrorCode::InvalidTopicException, text));
        } else if permitted.iter().any(|(earlier, _, _)| earlier.id() == view.id()) {
            let text = "The provided topic name maps to an ID that was already supplied.";
            refusals.push(refuse(view.id().0, ErrorCode::InvalidRequest, text));
            twice.insert(view.id());
        } else {
            permitted.push((view, permit, name.is_none()));
        }
    }
    permitted.retain(|(view, _, _)| !twice.contains(&view.id()));
    (permitted, refusals)
}

/// Delete on the cluster stands for Describe and Delete on every topic. `None`: there is no such right.
async fn admit_by_cluster(context: &RequestContext<'_>, references: &[TopicRef<'_>]) -> Option<Vec<Found>> {
    let wanted = references.iter().map(|_| Wanted { log_if_denied: false, ..Resource::Cluster.into() }).collect();
    let permits = context.admit::<op::Delete>(wanted).await;
    let permits: Vec<Permit<op::Delete>> = permits.into_iter().map(Admission::granted).collect::<Option<_>>()?;
    let found = permits.into_iter().zip(references).map(|(permit, reference)| {
        let view = context.topic_for(&permit, *reference).ok_or((None, unknown(*reference)))?;
        let permit = permit.narrowed_to_topic(view.id().0, view.name().clone());
        Ok((view, permit.ok_or((None, ErrorCode::TopicAuthorizationFailed))?))
    });
    Some(found.collect())
}

/// By name, existence shows only to those who may describe. By id it shows anyway, and the right to delete is enough.
async fn admit_each(context: &RequestContext<'_>, references: &[TopicRef<'_>]) -> Vec<Found> {
    let described = context.admit_topics::<op::Describe>(references).await;
    let deletable = context.admit_topics::<op::Delete>(references).await;
    let found = references.iter().zip(described).zip(deletable).map(|((reference, described), deletable)| {
        let hidden = described.error(*reference);
        match (reference, hidden, deletable) {
            (TopicRef::Name(_), Some(code), _) => Err((None, code)),
            (_, _, TopicAdmission::Granted(permit, view)) => Ok((view, permit)),
            (_, _, TopicAdmission::Unknown) => Err((None, unknown(*reference))),
            (_, _, TopicAdmission::Denied) => {
                let shown = match described {
                    TopicAdmission::Granted(_, view) => Some(view.name().clone()),
                    TopicAdmission::Denied | TopicAdmission::Unknown => None,
                };
                Err((shown, ErrorCode::TopicAuthorizationFailed))
            }
        }
    });
    found.collect()
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
