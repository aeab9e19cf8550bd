//! What the controller is asked and what it answers.

use super::acls::{CreateAcls, DeleteAcls};
use super::alter_configs::AlterConfigs;
use super::brokers::{BrokerHeartbeat, HeartbeatAnswer, RegisterBroker};
use super::directories::{AssignReplicasToDirs, DirectoryAssignment};
use super::elect_leaders::{ElectLeaders, Elected, ListReassignments, Reassignment};
use super::features::{ActivateController, ControllerRegistration};
use super::partitions::CreatePartitions;
use super::producer_ids::{AllocateProducerIds, ProducerIdBlock};
use super::quorum::{DescribeQuorum, DescribedQuorum};
use super::quotas::AlterClientQuotas;
use super::scram::AlterScramCredentials;
use super::topics::{CreateTopics, CreatedTopic, DeleteTopics};
use crate::model::acl::AclBinding;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicName;

/// One request. What a client asked for carries its permits; what brokers and the controller itself ask (everything from
/// `Activate` on) comes from this process, and its form for the network comes with clusters.
#[derive(Debug)]
pub enum ControllerRequest {
    CreateTopics(CreateTopics),
    DeleteTopics(DeleteTopics),
    CreateAcls(CreateAcls),
    DeleteAcls(DeleteAcls),
    AlterScramCredentials(AlterScramCredentials),
    CreatePartitions(CreatePartitions),
    AlterConfigs(AlterConfigs),
    AlterClientQuotas(AlterClientQuotas),
    ElectLeaders(ElectLeaders),
    ListReassignments(ListReassignments),
    DescribeQuorum(DescribeQuorum),
    Activate(ActivateController),
    RegisterController(ControllerRegistration),
    RegisterBroker(RegisterBroker),
    BrokerHeartbeat(BrokerHeartbeat),
    AllocateProducerIds(AllocateProducerIds),
    AssignReplicasToDirs(AssignReplicasToDirs),
}

/// The answer to the request of the same name.
#[derive(Debug)]
pub enum ControllerResponse {
    /// One for each different name, in the order of the request.
    CreateTopics(Vec<CreatedTopic>),
    /// One for each topic of the request: its name, or why it is still there.
    DeleteTopics(Vec<Result<TopicName, ApiError>>),
    /// One for each binding of the request.
    CreateAcls(Vec<Result<(), ApiError>>),
    /// One for each filter of the request: what it removed.
    DeleteAcls(Vec<Result<Vec<AclBinding>, ApiError>>),
    /// One for each different user, in the order of the request.
    AlterScramCredentials(Vec<(String, Result<(), ApiError>)>),
    /// One for each topic of the request.
    CreatePartitions(Vec<Result<(), ApiError>>),
    /// One for each resource of the request.
    AlterConfigs(Vec<Result<(), ApiError>>),
    /// One for each entity of the request.
    AlterClientQuotas(Vec<Result<(), ApiError>>),
    ElectLeaders(Vec<Elected>),
    /// By topic; only those that go on.
    ListReassignments(Vec<(String, Vec<Reassignment>)>),
    DescribeQuorum(DescribedQuorum),
    Activate,
    RegisterController,
    /// The broker's new epoch.
    RegisterBroker {
        epoch: i64,
    },
    BrokerHeartbeat(HeartbeatAnswer),
    AllocateProducerIds(ProducerIdBlock),
    AssignReplicasToDirs(Vec<DirectoryAssignment>),
}

/// What went wrong with one thing among those a request names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .code.name(), .message.as_deref().unwrap_or_default())]
pub struct ApiError {
    code: ErrorCode,
    message: Option<String>,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: Some(message.into()) }
    }

    /// With the text that Kafka gives the code.
    pub fn of(code: ErrorCode) -> Self {
        Self::new(code, code.message())
    }

    /// Without a text, where Kafka sends null.
    pub fn bare(code: ErrorCode) -> Self {
        Self { code, message: None }
    }

    pub fn code(&self) -> ErrorCode {
        self.code
    }

    /// What the response says beside the code.
    pub fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }
}

/// Why a request got no response of its own kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControllerError {
    /// The controller is not active: starting, or stopped.
    #[error("the controller is not active")]
    NotActive,
    /// Too many requests wait already.
    #[error("the controller has too many requests waiting")]
    Overloaded,
    /// The metadata log's disk failed; the broker is going down.
    #[error("the metadata log failed")]
    LogFailed,
    #[error("{0}")]
    Refused(#[from] ApiError),
}

impl ControllerError {
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::NotActive => ErrorCode::NotController,
            Self::Overloaded => ErrorCode::RequestTimedOut,
            Self::LogFailed => ErrorCode::KafkaStorageError,
            Self::Refused(error) => error.code(),
        }
    }
}
