//! The active controller: decides what the metadata log is to say next.
//!
//! A [`Controller`] decides against the latest image, everything that was appended whether committed or not, and answers
//! with records and a response. Its image changes only in `apply`, when the records were appended; the response leaves
//! when they are committed. Beside the image it keeps soft state that is lost with it: when which broker was last heard.
//! One file a subject, as Kafka has one control manager a subject.
//!
//! Precedent: Kafka's `QuorumController` and its control managers. Must not know the log, raft, clocks, threads or bytes
//! on a wire: time, ids and randomness are arguments.

mod acls;
mod alter_configs;
mod brokers;
mod configs;
mod directories;
mod elect_leaders;
mod elections;
mod features;
mod partitions;
mod placement;
mod producer_ids;
mod quorum;
mod quotas;
mod random;
mod request;
mod scram;
mod topics;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub use crate::model::random::Random;
pub use acls::{CreateAcls, DeleteAcls};
pub use alter_configs::{AlterConfigs, AlterResource, ConfigChange, ConfigOperation};
pub use brokers::{BrokerHeartbeat, HeartbeatAnswer, RegisterBroker};
pub use directories::{AssignReplicasToDirs, DirectoryAssignment};
pub use elect_leaders::{ElectLeaders, Elected, ElectionType, ListReassignments, Reassignment};
pub use features::{ActivateController, ControllerRegistration};
pub use partitions::{CreatePartitions, GrowTopic};
pub use producer_ids::{AllocateProducerIds, ProducerIdBlock};
pub use quorum::{DescribeQuorum, DescribedQuorum, QuorumState};
pub use quotas::{AlterClientQuotas, AlterQuotaEntity};
pub use request::{ApiError, ControllerError, ControllerRequest, ControllerResponse};
pub use scram::{AlterScramCredentials, ScramDeletion, ScramUpsertion};
pub use topics::{CreateTopic, CreateTopics, CreatedTopic, DeleteTopic, DeleteTopics, TopicCreation};

use crate::config::BrokerConfig;
use crate::config::profile::Profile;
use crate::config::values::Values;
use crate::metadata::delta::Touched;
use crate::metadata::image::{ApplyError, MetadataImage};
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::broker::BrokerId;
use crate::model::time::Mono;
use crate::protocol::records::metadata::MetadataRecord;

/// Most records of one request (`QuorumController.MAX_RECORDS_PER_USER_OP`).
pub const MAX_RECORDS_PER_REQUEST: usize = 10_000;

/// What the controller knows from the broker's own configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    pub cluster_id: Arc<str>,
    /// `node.id`
    pub node_id: BrokerId,
    /// `num.partitions`
    pub default_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `broker.session.timeout.ms`
    pub session_timeout: Duration,
    /// Profile *strict*: hosts that can never match and the deletion of internal topics are refused.
    pub strict: bool,
    /// Every key of the node, behind the configs of topics.
    pub values: Arc<Values>,
}

impl Settings {
    /// Those of a node of a cluster.
    pub fn new(config: &BrokerConfig, cluster_id: &str) -> Self {
        let settings = &config.settings;
        let session_ms = u64::try_from(settings.broker_session_timeout_ms).unwrap_or(0);
        Self {
            cluster_id: cluster_id.into(),
            node_id: config.node_id,
            default_partitions: settings.num_partitions,
            default_replication_factor: i16::try_from(settings.default_replication_factor).unwrap_or(i16::MAX),
            session_timeout: Duration::from_millis(session_ms),
            strict: config.profile == Profile::Strict,
            values: Arc::clone(config.values()),
        }
    }
}

/// What a decision may depend on besides the image.
#[derive(Debug)]
pub struct Context<'a> {
    pub now: Mono,
    /// Offset of the first record that this decision writes.
    pub next_offset: i64,
    pub quorum: QuorumState,
    pub random: &'a mut dyn Random,
}

/// A decision: records, one atomic batch of them or none, and what to answer when they are committed.
#[derive(Debug)]
pub struct Outcome {
    pub records: Vec<RecordAndVersion>,
    pub response: ControllerResponse,
}

impl Outcome {
    fn new(records: Vec<RecordAndVersion>, response: ControllerResponse) -> Self {
        Self { records, response }
    }
}

/// The controller of a cluster, as long as its node leads the metadata quorum.
#[derive(Debug)]
pub struct Controller {
    settings: Settings,
    image: MetadataImage,
    sessions: BTreeMap<BrokerId, brokers::Session>,
}

impl Controller {
    /// Takes over with `image`, which holds everything that was appended so far.
    pub fn new(settings: Settings, image: MetadataImage, now: Mono) -> Self {
        let sessions = image.cluster.brokers().map(|broker| (broker.id, brokers::Session::new(now))).collect();
        Self { settings, image, sessions }
    }

    /// Everything that was appended so far.
    pub fn image(&self) -> &MetadataImage {
        &self.image
    }

    /// Decides. The image stays as it is: the caller appends the records and applies them.
    ///
    /// # Errors
    /// The request as a whole is refused; nothing is to be written.
    pub fn decide(&mut self, cx: &mut Context<'_>, request: ControllerRequest) -> Result<Outcome, ControllerError> {
        match request {
            ControllerRequest::Activate(request) => Ok(self.activate(&request)),
            ControllerRequest::RegisterController(request) => Ok(self.register_controller(&request)),
            ControllerRequest::CreateTopics(request) => Ok(self.create_topics(cx, request)),
            ControllerRequest::DeleteTopics(request) => Ok(self.delete_topics(cx, &request)),
            ControllerRequest::CreateAcls(request) => Ok(self.create_acls(cx, request)),
            ControllerRequest::DeleteAcls(request) => Ok(self.delete_acls(&request)),
            ControllerRequest::AlterScramCredentials(request) => Ok(self.alter_scram_credentials(request)),
            ControllerRequest::CreatePartitions(request) => Ok(self.create_partitions(cx, &request)),
            ControllerRequest::AlterConfigs(request) => Ok(self.alter_configs(&request)),
            ControllerRequest::AlterClientQuotas(request) => Ok(self.alter_client_quotas(&request)),
            ControllerRequest::ElectLeaders(request) => Ok(self.elect_leaders(&request)),
            ControllerRequest::ListReassignments(request) => Ok(self.list_reassignments(&request)),
            ControllerRequest::DescribeQuorum(_) => Ok(self.describe_quorum(cx)),
            ControllerRequest::RegisterBroker(request) => self.register_broker(cx, request),
            ControllerRequest::BrokerHeartbeat(request) => self.broker_heartbeat(cx, &request),
            ControllerRequest::AllocateProducerIds(request) => self.allocate_producer_ids(&request),
            ControllerRequest::AssignReplicasToDirs(request) => self.assign_replicas_to_dirs(&request),
        }
    }

    /// Fences brokers whose session is over; `None` if there is none. Call it several times within a session's length.
    pub fn expire_sessions(&mut self, now: Mono) -> Option<Vec<RecordAndVersion>> {
        self.fence_stale_brokers(now)
    }

    /// Takes in a record that was appended.
    ///
    /// # Errors
    /// It does not fit the image: the log was not written by this controller, or this controller has a bug.
    pub fn apply(&mut self, offset: i64, record: &MetadataRecord) -> Result<(), ApplyError> {
        self.image.apply(offset, record)
    }

    /// The same, and adds to `touched` what the record was about.
    ///
    /// # Errors
    /// As there.
    pub fn apply_noting(
        &mut self,
        offset: i64,
        record: &MetadataRecord,
        touched: &mut Touched,
    ) -> Result<(), ApplyError> {
        self.image.apply_noting(offset, record, touched)
    }
}

#[cfg(test)]
mod tests;
