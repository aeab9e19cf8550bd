//! What AlterConfigs and IncrementalAlterConfigs have in common: who may, what this broker can judge by itself, and the
//! way to the controller (`ConfigAdminManager`).
//!
//! Needs AlterConfigs on the topic (else TOPIC_AUTHORIZATION_FAILED), on the group (GROUP_AUTHORIZATION_FAILED), on the
//! cluster for everything else (CLUSTER_AUTHORIZATION_FAILED). What the request itself says is wrong, another broker and
//! what a broker can't change come before the right, whether a topic exists after it. Broker configs that can't change
//! while a broker runs are refused, as are the levels of its loggers.

use std::collections::HashSet;
use std::sync::Arc;

use super::RequestContext;
use super::context::{TopicAdmission, TopicRef};
use crate::config::tls::{StoredTls, reconfigurable};
use crate::config::{dynamic, topic};
use crate::controller::{
    AlterConfigs, AlterResource, ApiError, ConfigChange, ConfigOperation, ControllerRequest, ControllerResponse,
};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::security::authorizer::permit::{Permit, Resource, op};

/// `ConfigResource.Type`
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
pub(super) const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;
const GROUP: i8 = 32;

/// One resource of a request.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) resource_type: i8,
    pub(super) name: String,
    /// `Err`: what the request itself says is no change.
    pub(super) change: Result<ConfigChange, ApiError>,
}

/// What became of the resources, in their order.
pub(super) async fn alter(
    context: &RequestContext<'_>,
    asked: Vec<Asked>,
    validate_only: bool,
) -> Vec<Result<(), ApiError>> {
    let mut seen = HashSet::new();
    let mut twice = HashSet::new();
    for one in &asked {
        if !seen.insert((one.resource_type, one.name.clone())) {
            twice.insert((one.resource_type, one.name.clone()));
        }
    }
    let mut outcomes = Vec::with_capacity(asked.len());
    let mut resources = Vec::new();
    for one in asked {
        let outcome = if twice.contains(&(one.resource_type, one.name.clone())) {
            Err(ApiError::new(ErrorCode::InvalidRequest, "Each resource must appear at most once."))
        } else {
            judge(context, one).await
        };
        outcomes.push(outcome.map(|resource| resources.push(resource)));
    }
    let mut answers = submit(context, resources, validate_only).await.into_iter();
    let mut of_controller = || answers.next().unwrap_or(Err(ApiError::of(ErrorCode::UnknownServerError)));
    outcomes.into_iter().map(|outcome| outcome.and_then(|()| of_controller())).collect()
}

async fn submit(
    context: &RequestContext<'_>,
    resources: Vec<AlterResource>,
    validate_only: bool,
) -> Vec<Result<(), ApiError>> {
    if resources.is_empty() {
        return Vec::new();
    }
    let count = resources.len();
    let request = ControllerRequest::AlterConfigs(AlterConfigs { resources, validate_only });
    match context.broker.controller.submit(request).await {
        Ok(ControllerResponse::AlterConfigs(results)) => results,
        Ok(_) => vec![Err(ApiError::of(ErrorCode::UnknownServerError)); count],
        Err(error) => vec![Err(ApiError::of(error.code())); count],
    }
}

/// What is for the controller, or why it is refused here.
async fn judge(context: &RequestContext<'_>, asked: Asked) -> Result<AlterResource, ApiError> {
    let Asked { resource_type, name, change } = asked;
    let change = change?;
    if resource_type == BROKER {
        check_broker(context, &name, &change)?;
    }
    let permit = admit(context, resource_type, &name, &change).await?;
    match resource_type {
        BROKER => check_certificates(context, &name, &change).await?,
        BROKER_LOGGER => {
            let own = context.broker.node_id.0;
            if name.parse().is_ok_and(|id: i32| id != own) {
                let text = format!("Unexpected node id. Expected {own}, but received {name}");
                return Err(ApiError::new(ErrorCode::InvalidRequest, text));
            }
            let text = "The levels of this broker's loggers can't be seen or changed while it runs";
            return Err(ApiError::new(ErrorCode::InvalidRequest, text));
        }
        CLIENT_METRICS if name.is_empty() => {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Subscription name can't be empty"));
        }
        GROUP if name.is_empty() => {
            return Err(ApiError::new(ErrorCode::InvalidRequest, "Default group resources are not allowed."));
        }
        _ => {}
    }
    Ok(AlterResource { permit, resource_type, name: name.into(), change })
}

async fn admit(
    context: &RequestContext<'_>,
    resource_type: i8,
    name: &str,
    change: &ConfigChange,
) -> Result<Permit<op::AlterConfigs>, ApiError> {
    let admitted = match resource_type {
        TOPIC => {
            let admissions = context.admit_topics::<op::AlterConfigs>(&[TopicRef::Name(name)]).await;
            match admissions.into_iter().next() {
                Some(TopicAdmission::Granted(permit, _)) => Ok(permit),
                Some(TopicAdmission::Unknown) => {
                    check_for_a_topic(name, change)?;
                    let text = format!("The topic '{name}' does not exist.");
                    return Err(ApiError::new(ErrorCode::UnknownTopicOrPartition, text));
                }
                Some(TopicAdmission::Denied) | None => Err(ErrorCode::TopicAuthorizationFailed),
            }
        }
        GROUP => context.admit_group::<op::AlterConfigs>(name).await,
        // Kafka has no text here.
        BROKER_LOGGER => return context.admit_one::<op::AlterConfigs>(Resource::Cluster).await.map_err(ApiError::bare),
        BROKER | CLIENT_METRICS => context.admit_one::<op::AlterConfigs>(Resource::Cluster).await,
        other => {
            let text = format!("Unknown resource type {other}");
            return Err(ApiError::new(ErrorCode::InvalidRequest, text));
        }
    };
    admitted.map_err(ApiError::of)
}

/// A broker's configs are judged by the broker itself.
fn check_broker(context: &RequestContext<'_>, name: &str, change: &ConfigChange) -> Result<(), ApiError> {
    let invalid = |text: String| ApiError::new(ErrorCode::InvalidRequest, text);
    if !name.is_empty() {
        let own = context.broker.node_id.0;
        let id: i32 = name.parse().map_err(|_| invalid(format!("Node id must be an integer, but it is: {name}")))?;
        if id != own {
            return Err(invalid(format!("Unexpected broker id, expected {own}, but received {id}")));
        }
    }
    dynamic::check(&new_values(change), !name.is_empty()).map_err(invalid)
}

/// Certificates are judged by reading their files: only for those who may change them.
async fn check_certificates(context: &RequestContext<'_>, name: &str, change: &ConfigChange) -> Result<(), ApiError> {
    let before = context.stored_certificates();
    let mut after = if matches!(change, ConfigChange::Replace(_)) { StoredTls::new() } else { before.clone() };
    let mut renews = false;
    for (name, value) in new_values(change).into_iter().filter(|(name, _)| reconfigurable(name).is_some()) {
        renews = true;
        match value {
            Some(value) => after.insert(text(name), text(value)),
            None => after.remove(name),
        };
    }
    if name.is_empty() || !renews && after == before {
        return Ok(());
    }
    let certificates = Arc::clone(&context.broker.certificates);
    let checked = tokio::task::spawn_blocking(move || certificates.check(&after)).await;
    let checked = checked.map_err(|_| ApiError::of(ErrorCode::UnknownServerError))?;
    checked.map_err(|text| ApiError::new(ErrorCode::InvalidRequest, text))
}

/// Names, and the values they get.
fn new_values(change: &ConfigChange) -> Vec<(&str, Option<&str>)> {
    match change {
        ConfigChange::Replace(values) => values.iter().map(|(name, value)| (&**name, Some(&**value))).collect(),
        ConfigChange::Operations(operations) => operations
            .iter()
            .map(|(name, operation)| match operation {
                ConfigOperation::Set(value) | ConfigOperation::Append(value) => (&**name, Some(&**value)),
                ConfigOperation::Delete | ConfigOperation::Subtract(_) => (&**name, None),
            })
            .collect(),
    }
}

/// That a topic does not exist is told only of a name and of values that one could have.
fn check_for_a_topic(name: &str, change: &ConfigChange) -> Result<(), ApiError> {
    if let Err(error) = TopicName::check_new(name) {
        return Err(ApiError::new(ErrorCode::InvalidTopicException, error.sentence(name)));
    }
    for (name, value) in new_values(change) {
        if let Some(value) = value {
            topic::validate(name, value).map_err(|text| ApiError::new(ErrorCode::InvalidConfig, text))?;
        }
    }
    Ok(())
}

/// Refuses a change that names a config twice, or sets one to nothing.
pub(super) fn check_names<'a>(
    names: impl Iterator<Item = &'a str> + Clone,
    nulls: impl Iterator<Item = &'a str>,
) -> Result<(), ApiError> {
    let mut seen = HashSet::new();
    if names.clone().any(|name| !seen.insert(name)) {
        return Err(ApiError::new(ErrorCode::InvalidRequest, "Error due to duplicate config keys"));
    }
    let nulls: Vec<&str> = nulls.collect();
    if !nulls.is_empty() {
        let text = format!("Null value not supported for : {}", nulls.join(", "));
        return Err(ApiError::new(ErrorCode::InvalidRequest, text));
    }
    Ok(())
}

/// A name or a value as it is kept.
pub(super) fn text(text: &str) -> Arc<str> {
    text.into()
}
