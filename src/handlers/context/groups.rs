//! Groups as handlers reach them: the coordinator's mailbox, and the topic that holds their state.

use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::{BrokerView, RequestContext};
use crate::controller::{ControllerRequest, CreateTopic, CreateTopics};
use crate::coordinator::group::{Caller, GroupRequest, GroupResponse, partition_of};
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;
use crate::protocol::messages::list_groups_response::ListedGroup;
use crate::security::authorizer::permit::{Admission, Operation, Permit, Reason, Resource, Wanted};

/// What ListGroups asks for; empty filters take everything.
#[derive(Debug, Clone, Default)]
pub struct GroupListing {
    pub states: Vec<String>,
    pub types: Vec<String>,
}

/// The group coordinator of this broker.
pub trait Groups: Send + Sync + std::fmt::Debug {
    /// Hands a request over, at once: the order of calls is the order of effects. Dropping the future cancels nothing. The
    /// error is one about the whole request: another coordinator, one that loads, or a failed write.
    fn submit(&self, request: GroupRequest) -> BoxFuture<'static, Result<GroupResponse, ErrorCode>>;

    /// Every group that this broker coordinates, for the caller to show to those who may see it.
    fn list(&self, listing: GroupListing) -> BoxFuture<'static, Result<Vec<ListedGroup>, ErrorCode>>;
}

impl RequestContext<'_> {
    /// A permit for a group.
    ///
    /// # Errors
    /// GROUP_AUTHORIZATION_FAILED
    pub async fn admit_group<O: Operation>(&self, group: &str) -> Result<Permit<O>, ErrorCode> {
        self.admit_one::<O>(Resource::Group(group.into())).await
    }

    /// Permits for groups, in order; `None` where it is refused.
    pub async fn admit_groups<O: Operation>(&self, groups: &[&str], log_if_denied: bool) -> Vec<Option<Permit<O>>> {
        let wanted = groups.iter().map(|group| Wanted {
            resource: Resource::Group((*group).into()),
            references: 1,
            log_if_denied,
        });
        self.admit::<O>(wanted.collect()).await.into_iter().map(Admission::granted).collect()
    }

    /// Who asks, for the coordinator.
    pub fn caller(&self) -> Caller {
        Caller {
            client_id: self.header.client_id.as_deref().unwrap_or_default().to_owned(),
            client_host: format!("/{}", self.connection.host),
            version: self.header.api_version,
        }
    }

    /// The broker that coordinates a group, for clients of this listener.
    ///
    /// # Errors
    /// COORDINATOR_NOT_AVAILABLE while there is none; the topic of the groups is made at the first question.
    pub fn group_coordinator(&self, group: &str) -> Result<BrokerView, ErrorCode> {
        let image = self.broker.image.load();
        let Some(topic) = image.topics.by_name(TopicName::CONSUMER_OFFSETS) else {
            self.create_group_topic();
            return Err(ErrorCode::CoordinatorNotAvailable);
        };
        let partitions = i32::try_from(topic.partition_count()).unwrap_or(i32::MAX);
        let leader = topic.partition(partition_of(group, partitions)).map(|partition| partition.leader);
        let coordinator = self.brokers(false).into_iter().find(|broker| Some(broker.id) == leader.map(|id| id.0));
        coordinator.ok_or(ErrorCode::CoordinatorNotAvailable)
    }

    /// Sets off the creation of `__consumer_offsets`. Nobody waits for it; asking again while it is made does no harm.
    fn create_group_topic(&self) {
        let settings = &self.broker.config.settings;
        let image = self.broker.image.load();
        let brokers = i16::try_from(image.cluster.brokers().count()).unwrap_or(i16::MAX).max(1);
        let wanted = settings.offsets_topic_replication_factor;
        // More copies than there are brokers can't be had: a single node would never serve a group.
        let replication_factor = if brokers == 1 { 1 } else { wanted };
        if replication_factor < wanted && self.broker.group_topic_lines.first() {
            tracing::warn!(
                target: "schloss.groups",
                "{} is made with one replica, not with offsets.topic.replication.factor={wanted}: there is one broker",
                TopicName::CONSUMER_OFFSETS
            );
        }
        let permit = Permit::internal(Reason::InternalTopic, Resource::Cluster);
        let config = |name: &str, value: String| (Arc::from(name), Some(Arc::from(value)));
        let topic = CreateTopic {
            num_partitions: settings.offsets_topic_num_partitions,
            replication_factor,
            configs: vec![
                config("compression.type", "producer".to_owned()),
                config("cleanup.policy", "compact".to_owned()),
                config("segment.bytes", settings.offsets_topic_segment_bytes.to_string()),
            ],
            ..CreateTopic::with_defaults(permit, TopicName::CONSUMER_OFFSETS)
        };
        let request = CreateTopics { topics: vec![topic], validate_only: false, deadline: None };
        drop(self.broker.controller.submit(ControllerRequest::CreateTopics(request)));
    }
}

/// True once: what is said of the groups' topic is said once.
#[derive(Debug, Default)]
pub struct GroupTopicLines(std::sync::atomic::AtomicBool);

impl GroupTopicLines {
    fn first(&self) -> bool {
        !self.0.swap(true, std::sync::atomic::Ordering::Relaxed)
    }
}

/// A coordinator of nothing, for tests of other things.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct NoGroups;

#[cfg(test)]
impl Groups for NoGroups {
    fn submit(&self, _: GroupRequest) -> BoxFuture<'static, Result<GroupResponse, ErrorCode>> {
        Box::pin(std::future::ready(Err(ErrorCode::NotCoordinator)))
    }

    fn list(&self, _: GroupListing) -> BoxFuture<'static, Result<Vec<ListedGroup>, ErrorCode>> {
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}
