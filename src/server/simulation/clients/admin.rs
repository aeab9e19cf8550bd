//! An administrator: topics, rules and credentials, one change of each at a time.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot::error::TryRecvError;
use zeroize::Zeroizing;

use super::Turn;
use crate::controller::{
    AlterScramCredentials, ApiError, ControllerError, ControllerRequest, ControllerResponse, CreateAcls, CreateTopic,
    CreateTopics, DeleteAcls, DeleteTopic, DeleteTopics, ScramDeletion, ScramUpsertion,
};
use crate::metadata::image::MetadataImage;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::resource::{ResourcePattern, ResourceType};
use crate::model::scram::ScramMechanism;
use crate::security::authorizer::filter::AclFilter;
use crate::security::authorizer::permit::{Operation, Permit, Reason, Resource};
use crate::server::simulation::Halt;
use crate::server::simulation::invariants::{Event, Outcome, Subject};
use crate::server::simulation::node::Answer;

#[derive(Default)]
pub(in super::super) struct Admin {
    asked: BTreeMap<Subject, Answer<ControllerResponse, ControllerError>>,
    changes: u64,
}

impl Admin {
    /// Changes one of a few things, unless a change of it is on its way.
    pub(in super::super) fn change(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let name = turn.chance.below(3);
        let subject = match turn.chance.below(3) {
            0 => Subject::Topic(format!("t{name}")),
            1 => Subject::Acl(format!("a{name}")),
            _ => Subject::Scram(format!("u{name}")),
        };
        if self.asked.contains_key(&subject) {
            return Ok(());
        }
        self.changes += 1;
        let image = turn.node.image();
        let (to, request) = match &subject {
            Subject::Topic(name) => change_topic(turn, &image, name)?,
            Subject::Acl(user) => change_acl(turn, user),
            Subject::Scram(user) => change_credential(turn, &image, user, self.changes),
        };
        turn.story.tell(&Event::ChangeAsked { subject: &subject, to: to.as_deref() })?;
        let answer = turn.node.ask_controller(request)?;
        self.asked.insert(subject, answer);
        Ok(())
    }

    /// Takes in what was answered.
    pub(in super::super) fn hear(&mut self, turn: &mut Turn<'_>) -> Result<(), Halt> {
        let mut ended = Vec::new();
        self.asked.retain(|subject, answer| match answer.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(answer) => {
                ended.push((subject.clone(), outcome(answer)));
                false
            }
            Err(TryRecvError::Closed) => {
                ended.push((subject.clone(), Outcome::Unknown));
                false
            }
        });
        for (subject, outcome) in &ended {
            turn.story.tell(&Event::ChangeEnded { subject, outcome: *outcome })?;
        }
        Ok(())
    }

    /// The broker is gone, and with it every answer that did not come yet.
    pub(in super::super) fn disconnected(&mut self) -> Vec<Subject> {
        std::mem::take(&mut self.asked).into_keys().collect()
    }
}

fn outcome(answer: Result<ControllerResponse, ControllerError>) -> Outcome {
    let of = |result: Option<Result<(), ApiError>>| match result {
        Some(Ok(())) => Outcome::Done,
        Some(Err(error)) => Outcome::Refused(error.code()),
        None => Outcome::Unknown,
    };
    match answer {
        Ok(ControllerResponse::CreateTopics(mut topics)) => of(topics.pop().map(|topic| topic.result.map(drop))),
        Ok(ControllerResponse::DeleteTopics(mut topics)) => of(topics.pop().map(|deleted| deleted.map(drop))),
        Ok(ControllerResponse::CreateAcls(mut acls)) => of(acls.pop()),
        Ok(ControllerResponse::DeleteAcls(mut acls)) => of(acls.pop().map(|deleted| deleted.map(drop))),
        Ok(ControllerResponse::AlterScramCredentials(mut users)) => of(users.pop().map(|(_, result)| result)),
        Err(ControllerError::Refused(error)) => Outcome::Refused(error.code()),
        Ok(_) | Err(_) => Outcome::Unknown,
    }
}

fn of_cluster<O: Operation>() -> Permit<O> {
    Permit::internal(Reason::Test, Resource::Cluster)
}

/// Makes a topic, or deletes the one that is there.
fn change_topic(
    turn: &mut Turn<'_>,
    image: &MetadataImage,
    name: &str,
) -> Result<(Option<String>, ControllerRequest), Halt> {
    let Some(topic) = image.topics.by_name(name) else {
        return Ok((Some("there".to_owned()), create_topic(name, 2, &[])));
    };
    turn.story.tell(&Event::TopicDoomed { topic: topic.id })?;
    let permit = Permit::internal(Reason::Test, Resource::Topic { id: topic.id.0, name: topic.name.clone() });
    let topics = vec![DeleteTopic { permit, by_id: true }];
    Ok((None, ControllerRequest::DeleteTopics(DeleteTopics { topics, deadline: None })))
}

pub(in super::super) fn create_topic(name: &str, partitions: i32, configs: &[(&str, &str)]) -> ControllerRequest {
    let configs = configs.iter().map(|(name, value)| (Arc::from(*name), Some(Arc::from(*value))));
    let topic = CreateTopic {
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.collect(),
        ..CreateTopic::with_defaults(of_cluster(), name)
    };
    ControllerRequest::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false, deadline: None })
}

/// Adds a rule of its user, or takes all of them away.
fn change_acl(turn: &mut Turn<'_>, user: &str) -> (Option<String>, ControllerRequest) {
    let principal: Arc<str> = format!("User:{user}").into();
    if turn.chance.once_in(2) {
        let filter = AclFilter { principal: Some(principal), ..AclFilter::ANY };
        return (None, ControllerRequest::DeleteAcls(DeleteAcls { permit: of_cluster(), filters: vec![filter] }));
    }
    let binding = AclBinding {
        pattern: ResourcePattern::literal(ResourceType::Topic, "t"),
        principal,
        host: "*".into(),
        operation: AclOperation::Read,
        permission: AclPermission::Allow,
    };
    let request = CreateAcls { permit: of_cluster(), bindings: vec![binding] };
    (Some("there".to_owned()), ControllerRequest::CreateAcls(request))
}

/// Gives a user a password, or takes it away.
fn change_credential(
    turn: &mut Turn<'_>,
    image: &MetadataImage,
    user: &str,
    change: u64,
) -> (Option<String>, ControllerRequest) {
    let (mut deletions, mut upsertions) = (Vec::new(), Vec::new());
    let is_there = image.scram.get(user, ScramMechanism::Sha256).is_some();
    let to = if is_there && turn.chance.once_in(2) {
        deletions.push(ScramDeletion { user: user.to_owned(), mechanism: 1 });
        None
    } else {
        let salt = format!("salt {change}");
        upsertions.push(ScramUpsertion {
            user: user.to_owned(),
            mechanism: 1,
            iterations: 4096,
            salt: salt.clone().into_bytes(),
            salted_password: Zeroizing::new(b"salted password of somebody".to_vec()),
        });
        Some(salt)
    };
    let request = AlterScramCredentials { permit: of_cluster(), deletions, upsertions };
    (to, ControllerRequest::AlterScramCredentials(request))
}
