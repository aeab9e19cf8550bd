//! What handlers may see: the broker's services, and the authorized views of the metadata image.
//!
//! The only file in `handlers/` that names the image (`tests/laws.rs`): a topic's name, id and partitions leave it only
//! together with the authorizer's answer.

mod cluster;
mod configs;
mod groups;
mod hosted;
mod leaders;
mod producer_watermark;
mod producers;
mod quotas;
mod topics;

use std::rc::Rc;
use std::sync::Arc;

pub use cluster::{BrokerView, Features, SupportedFeature};
#[cfg(test)]
pub(crate) use groups::NoGroups;
pub use groups::{GroupListing, GroupTopicLines, Groups};
pub use leaders::{CurrentLeader, KnownTopic};
pub use producers::{ProducerIds, ProducerLines};
pub use quotas::{QuotaEntry, QuotaFilter};
pub use topics::{PartitionView, TopicAdmission, TopicRef, TopicView};

use arc_swap::ArcSwap;
use futures_util::future::BoxFuture;

use super::connection::Connection;
use super::reply::Responder;

use crate::config::BrokerConfig;
use crate::controller::{ControllerError, ControllerRequest, ControllerResponse};
use crate::metadata::image::MetadataImage;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Clock;
use crate::protocol::api::ListenerType;
use crate::protocol::header::RequestHeader;
use crate::replica::manager::ReplicaManager;
use crate::security::authorizer::permit::{Admission, Operation, Permit, Resource, Wanted, admit};
use crate::security::authorizer::{Action, Authorizer, Decision, Requester};
use crate::security::tls::Certificates;
use crate::security::verifier::Logins;

/// The metadata image as of the last committed offset: one handle, swapped by its publisher.
pub type ImageHandle = Arc<ArcSwap<MetadataImage>>;

/// The way to the active controller, wherever it is.
pub trait ControllerClient: Send + Sync + std::fmt::Debug {
    /// Hands a request over. The future is done when what it wrote is committed and in force on this broker; dropping it
    /// cancels nothing.
    fn submit(&self, request: ControllerRequest) -> BoxFuture<'static, Result<ControllerResponse, ControllerError>>;
}

/// What handlers need of the configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `schloss.profile=strict`
    pub strict: bool,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `delete.topic.enable`
    pub delete_topics: bool,
    /// `max.request.partition.size.limit`
    pub max_partitions_per_page: i32,
}

/// The broker's services, shared by all connections.
#[derive(Debug)]
pub struct Broker {
    pub node_id: BrokerId,
    pub cluster_id: Arc<str>,
    pub settings: Settings,
    pub image: ImageHandle,
    pub authorizer: Arc<dyn Authorizer>,
    pub replicas: Arc<ReplicaManager>,
    pub controller: Arc<dyn ControllerClient>,
    /// The broker's file, overrides and defaults: what DescribeConfigs answers from.
    pub config: Arc<BrokerConfig>,
    /// Who can log in on the listeners that speak SASL.
    pub logins: Arc<Logins>,
    /// What the listeners that speak TLS serve.
    pub certificates: Arc<Certificates>,
    /// Ids for idempotent producers.
    pub producer_ids: Arc<dyn ProducerIds>,
    pub producer_lines: ProducerLines,
    /// The group coordinator.
    pub groups: Arc<dyn Groups>,
    pub group_topic_lines: GroupTopicLines,
    pub clock: Arc<dyn Clock>,
}

/// One request: who asks, on which connection, what broker answers.
#[derive(Debug)]
pub struct RequestContext<'a> {
    pub broker: &'a Arc<Broker>,
    pub connection: &'a Rc<Connection>,
    pub header: &'a RequestHeader,
}

impl RequestContext<'_> {
    pub fn responder(&self) -> Responder {
        Responder::new(self.header.response(), self.header.api_version)
    }

    pub fn listener_type(&self) -> ListenerType {
        if self.connection.listener.is_controller { ListenerType::Controller } else { ListenerType::Broker }
    }

    /// Whose request it is; ANONYMOUS for a request that is answered before there is anybody.
    pub fn principal(&self) -> KafkaPrincipal {
        self.connection.principal().unwrap_or_else(KafkaPrincipal::anonymous)
    }

    /// One decision per action, all by one generation of the rules.
    pub async fn authorize(&self, actions: &[Action<'_>]) -> Vec<Decision> {
        let principal = self.principal();
        self.broker.authorizer.authorize(&self.requester(&principal), actions).await
    }

    pub async fn is_allowed(&self, action: Action<'_>) -> bool {
        self.authorize(&[action]).await.first().is_some_and(Decision::is_allowed)
    }

    /// Permits for what is wanted, or refusals, in order, all by one generation of the rules.
    pub async fn admit<O: Operation>(&self, wanted: Vec<Wanted>) -> Vec<Admission<O>> {
        let principal = self.principal();
        let answer = admit::<O>(&*self.broker.authorizer, &self.requester(&principal), self.connection.id, wanted);
        answer.await
    }

    /// A permit for one resource.
    ///
    /// # Errors
    /// Kafka's error for such a resource.
    pub async fn admit_one<O: Operation>(&self, resource: Resource) -> Result<Permit<O>, ErrorCode> {
        let refusal = refusal(&resource);
        let admission = self.admit::<O>(vec![resource.into()]).await.pop();
        admission.and_then(Admission::granted).ok_or(refusal)
    }

    fn requester<'p>(&'p self, principal: &'p KafkaPrincipal) -> Requester<'p> {
        Requester {
            principal,
            host: &self.connection.host,
            listener: &self.connection.listener.name,
            request: self.header.api_key.name(),
        }
    }
}

/// What a client is told that may not touch such a resource.
pub fn refusal(resource: &Resource) -> ErrorCode {
    match resource {
        Resource::Topic { .. } => ErrorCode::TopicAuthorizationFailed,
        Resource::Group(_) => ErrorCode::GroupAuthorizationFailed,
        Resource::Cluster => ErrorCode::ClusterAuthorizationFailed,
        Resource::TransactionalId(_) => ErrorCode::TransactionalIdAuthorizationFailed,
        Resource::DelegationToken(_) | Resource::User(_) => ErrorCode::DelegationTokenAuthorizationFailed,
    }
}
