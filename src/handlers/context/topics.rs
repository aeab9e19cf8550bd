//! Topics as a client may see them.

use std::sync::Arc;

use smallvec::SmallVec;

use super::RequestContext;
use crate::controller::{ControllerRequest, CreateTopic, CreateTopics};
use crate::metadata::image::MetadataImage;
use crate::metadata::topics::{PartitionImage, TopicImage};
use crate::model::acl::AclOperation;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;
use crate::model::topic::{TopicId, TopicName};
use crate::security::authorizer::Action;
use crate::security::authorizer::permit::{Admission, Operation, Permit, Resource, Wanted, op};

/// How a request names a topic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TopicRef<'a> {
    Name(&'a str),
    Id(TopicId),
}

/// What became of a topic that a request names.
///
/// By name a topic that may not be touched and one that does not exist are told apart only to those who may: the
/// authorizer is asked first. By id an unknown one is `Unknown` before anybody is asked, as in Kafka.
#[derive(Debug)]
pub enum TopicAdmission<O: Operation> {
    Granted(Permit<O>, TopicView),
    Denied,
    Unknown,
}

impl<O: Operation> TopicAdmission<O> {
    /// The error for a topic named in this way; `None` if it is granted.
    pub fn error(&self, named: TopicRef<'_>) -> Option<ErrorCode> {
        match (self, named) {
            (Self::Granted(..), _) => None,
            (Self::Denied, _) => Some(ErrorCode::TopicAuthorizationFailed),
            (Self::Unknown, TopicRef::Name(_)) => Some(ErrorCode::UnknownTopicOrPartition),
            (Self::Unknown, TopicRef::Id(_)) => Some(ErrorCode::UnknownTopicId),
        }
    }
}

/// A topic, seen by somebody who may. As of one image.
#[derive(Clone, Debug)]
pub struct TopicView {
    topic: TopicImage,
    image: Arc<MetadataImage>,
}

/// One partition as Metadata tells it.
#[derive(Clone, Debug)]
pub struct PartitionView {
    pub index: i32,
    /// LEADER_NOT_AVAILABLE while there is none.
    pub error: ErrorCode,
    /// -1: none.
    pub leader: i32,
    pub leader_epoch: i32,
    pub replicas: Vec<i32>,
    pub isr: Vec<i32>,
    pub offline: Vec<i32>,
    pub elr: Vec<i32>,
    pub last_known_elr: Vec<i32>,
}

impl TopicView {
    pub fn name(&self) -> &TopicName {
        &self.topic.name
    }

    pub fn id(&self) -> TopicId {
        self.topic.id
    }

    pub fn partition_count(&self) -> usize {
        self.topic.partition_count()
    }

    pub fn has_partition(&self, index: i32) -> bool {
        self.topic.partition(index).is_some()
    }

    /// Leader and its epoch; `None` for a partition that does not exist.
    pub fn leader(&self, index: i32) -> Option<(BrokerId, i32)> {
        self.topic.partition(index).map(|p| (p.leader, p.leader_epoch))
    }

    pub fn replication_factor(&self) -> usize {
        self.topic.partition(0).map_or(0, |p| p.replicas.len())
    }

    /// In order of their index.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionView> {
        self.topic.partitions().map(|(index, partition)| self.partition_view(index, partition))
    }

    fn partition_view(&self, index: i32, partition: &PartitionImage) -> PartitionView {
        let ids = |brokers: &[BrokerId]| brokers.iter().map(|b| b.0).collect::<Vec<i32>>();
        let cluster = &self.image.cluster;
        let is_offline = |broker: &BrokerId| !cluster.is_active(*broker);
        let has_leader = partition.has_leader() && cluster.is_active(partition.leader);
        PartitionView {
            index,
            error: if has_leader { ErrorCode::None } else { ErrorCode::LeaderNotAvailable },
            leader: if has_leader { partition.leader.0 } else { BrokerId::NONE.0 },
            leader_epoch: partition.leader_epoch,
            replicas: ids(&partition.replicas),
            isr: ids(&partition.isr),
            offline: partition.replicas.iter().filter(|b| is_offline(b)).map(|b| b.0).collect(),
            elr: ids(&partition.elr),
            last_known_elr: ids(&partition.last_known_elr),
        }
    }
}

/// A topic's name, and its entry if there is one. `None` stands for an id that nobody knows: there is nothing to judge.
type Found<'a> = Option<(TopicName, Option<&'a TopicImage>)>;

impl RequestContext<'_> {
    /// Judges operation `O` on every topic that a request names, in one call; answers in order.
    pub async fn admit_topics<O: Operation>(&self, topics: &[TopicRef<'_>]) -> Vec<TopicAdmission<O>> {
        self.admit_topics_logging::<O>(topics, true).await
    }

    /// The same for a list that leaves out what may not be seen: a denial is nobody's news.
    pub async fn admit_topics_quietly<O: Operation>(&self, topics: &[TopicRef<'_>]) -> Vec<TopicAdmission<O>> {
        self.admit_topics_logging::<O>(topics, false).await
    }

    async fn admit_topics_logging<O: Operation>(
        &self,
        topics: &[TopicRef<'_>],
        log_if_denied: bool,
    ) -> Vec<TopicAdmission<O>> {
        let image = self.broker.image.load_full();
        let found: SmallVec<[Found<'_>; 1]> = topics
            .iter()
            .map(|topic| match topic {
                TopicRef::Name(name) => {
                    let known = image.topics.by_name(name);
                    Some((known.map_or_else(|| TopicName::from(*name), |t| t.name.clone()), known))
                }
                TopicRef::Id(id) => image.topics.by_id(*id).map(|t| (t.name.clone(), Some(t))),
            })
            .collect();
        let wanted = found.iter().flatten().map(|(name, known)| Wanted {
            resource: Resource::Topic { id: known.map_or(TopicId::ZERO, |t| t.id).0, name: name.clone() },
            references: 1,
            log_if_denied,
        });
        let mut admissions = self.admit::<O>(wanted.collect()).await.into_iter();
        found
            .into_iter()
            .map(|found| match (found, admissions.len()) {
                (None, _) => TopicAdmission::Unknown,
                (Some((_, known)), _) => match (admissions.next(), known) {
                    (Some(Admission::Granted(permit)), Some(topic)) => {
                        TopicAdmission::Granted(permit, TopicView { topic: topic.clone(), image: Arc::clone(&image) })
                    }
                    (Some(Admission::Granted(_)), None) => TopicAdmission::Unknown,
                    _ => TopicAdmission::Denied,
                },
            })
            .collect()
    }

    /// Every topic on which `O` is allowed, by name. The others are left out without a word.
    pub async fn all_topics<O: Operation>(&self) -> Vec<TopicView> {
        let image = self.broker.image.load_full();
        let mut names: Vec<&TopicName> = image.topics.iter().map(|topic| &topic.name).collect();
        names.sort_unstable();
        let named: Vec<TopicRef<'_>> = names.iter().map(|name| TopicRef::Name(name.as_str())).collect();
        let admissions = self.admit_topics_logging::<O>(&named, false).await;
        admissions
            .into_iter()
            .filter_map(|admission| match admission {
                TopicAdmission::Granted(_, view) => Some(view),
                _ => None,
            })
            .collect()
    }

    /// Permits to create topics of these names, in order. Create on the cluster is enough for all.
    pub async fn admit_creation<T: AsRef<str>>(&self, names: &[T]) -> Vec<Option<Permit<op::Create>>> {
        let wanted = |resource: Resource, log_if_denied| Wanted { resource, references: 1, log_if_denied };
        let for_cluster: Vec<Wanted> = names.iter().map(|_| wanted(Resource::Cluster, false)).collect();
        let permits = self.admit::<op::Create>(for_cluster).await;
        if permits.iter().all(Admission::is_granted) {
            return permits.into_iter().map(Admission::granted).collect();
        }
        let topic = |name: &T| Resource::Topic { id: TopicId::ZERO.0, name: TopicName::from(name.as_ref()) };
        let for_topics = names.iter().map(|name| wanted(topic(name), true)).collect();
        self.admit::<op::Create>(for_topics).await.into_iter().map(Admission::granted).collect()
    }

    /// Sets off the creation of topics with the broker's defaults (`auto.create.topics.enable`). Nobody waits for it.
    pub fn auto_create_topics(&self, topics: Vec<CreateTopic>) {
        if !topics.is_empty() {
            let request = CreateTopics { topics, validate_only: false, deadline: None };
            drop(self.broker.controller.submit(ControllerRequest::CreateTopics(request)));
        }
    }

    /// A topic for somebody who may Delete on the cluster, and so may know of every one.
    pub fn topic_for(&self, _proof: &Permit<op::Delete>, named: TopicRef<'_>) -> Option<TopicView> {
        let image = self.broker.image.load_full();
        let topic = match named {
            TopicRef::Name(name) => image.topics.by_name(name),
            TopicRef::Id(id) => image.topics.by_id(id),
        };
        topic.cloned().map(|topic| TopicView { topic, image })
    }

    /// Is there a topic of this name? For the broker's own decisions, never for an answer.
    pub fn topic_exists(&self, name: &str) -> bool {
        self.broker.image.load().topics.id(name).is_some()
    }

    /// The operations on a resource that the principal may do, as the bits of KIP-430.
    pub async fn authorized_operations(&self, resource_type: ResourceType, name: &str) -> i32 {
        let operations = operations_of(resource_type);
        let actions: Vec<Action<'_>> = operations
            .iter()
            .map(|operation| Action {
                log_if_allowed: false,
                ..Action::new(*operation, resource_type, name).quiet_if_denied()
            })
            .collect();
        let decisions = self.authorize(&actions).await;
        operations
            .iter()
            .zip(decisions)
            .filter(|(_, decision)| decision.is_allowed())
            .fold(0, |bits, (operation, _)| bits | 1_i32 << operation.code())
    }
}

/// `AclEntry.supportedOperations`
const fn operations_of(resource_type: ResourceType) -> &'static [AclOperation] {
    use AclOperation as O;
    match resource_type {
        ResourceType::Topic => {
            &[O::Read, O::Write, O::Create, O::Describe, O::Delete, O::Alter, O::DescribeConfigs, O::AlterConfigs]
        }
        ResourceType::Group => &[O::Read, O::Describe, O::Delete, O::DescribeConfigs, O::AlterConfigs],
        ResourceType::Cluster => &[
            O::Create,
            O::ClusterAction,
            O::DescribeConfigs,
            O::AlterConfigs,
            O::IdempotentWrite,
            O::Alter,
            O::Describe,
        ],
        ResourceType::TransactionalId => &[O::Describe, O::Write, O::TwoPhaseCommit],
        ResourceType::DelegationToken => &[O::Describe],
        ResourceType::User => &[O::CreateTokens, O::DescribeTokens],
        ResourceType::Unknown | ResourceType::Any => &[],
    }
}
