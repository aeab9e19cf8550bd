//! The key to the data path.
//!
//! A [`Permit`] is typed by operation and bound to resource, principal, connection and generation of the rules. Only
//! [`admit`] makes one from an authorizer's answer, and [`Permit::internal`] for the broker's own work. It can't be cloned
//! or built elsewhere, so a forgotten check does not compile, and a revoked right shows in its generation.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::acl::AclOperation;
use crate::model::principal::KafkaPrincipal;
use crate::model::resource::{ResourcePattern, ResourceType};
use crate::model::topic::TopicName;
use crate::model::uuid::Uuid;

use super::{Action, Answer, Authorizer, Decision, Requester};

mod sealed {
    pub trait Sealed {}
}

/// An operation as a type, see [`op`].
pub trait Operation: sealed::Sealed + 'static {
    const OPERATION: AclOperation;
}

/// The operations.
pub mod op {
    use super::{AclOperation, Operation, sealed};

    macro_rules! operations {
        ($($name:ident),*) => {$(
            #[derive(Debug)]
            pub enum $name {}
            impl sealed::Sealed for $name {}
            impl Operation for $name {
                const OPERATION: AclOperation = AclOperation::$name;
            }
        )*};
    }

    operations!(
        Read,
        Write,
        Create,
        Delete,
        Alter,
        Describe,
        ClusterAction,
        DescribeConfigs,
        AlterConfigs,
        IdempotentWrite,
        CreateTokens,
        DescribeTokens,
        TwoPhaseCommit
    );
}

/// What a permit is for. A topic is its id; the name is there for messages.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Resource {
    Topic { id: Uuid, name: TopicName },
    Group(Arc<str>),
    Cluster,
    TransactionalId(Arc<str>),
    DelegationToken(Arc<str>),
    User(Arc<str>),
}

impl Resource {
    pub fn resource_type(&self) -> ResourceType {
        match self {
            Self::Topic { .. } => ResourceType::Topic,
            Self::Group(_) => ResourceType::Group,
            Self::Cluster => ResourceType::Cluster,
            Self::TransactionalId(_) => ResourceType::TransactionalId,
            Self::DelegationToken(_) => ResourceType::DelegationToken,
            Self::User(_) => ResourceType::User,
        }
    }

    /// The text that bindings speak of.
    pub fn name(&self) -> &str {
        match self {
            Self::Topic { name, .. } => name.as_str(),
            Self::Cluster => ResourcePattern::CLUSTER_NAME,
            Self::Group(name) | Self::TransactionalId(name) | Self::DelegationToken(name) | Self::User(name) => name,
        }
    }

    /// The topic's id, if it is a topic.
    pub fn topic_id(&self) -> Option<Uuid> {
        match self {
            Self::Topic { id, .. } => Some(*id),
            _ => None,
        }
    }
}

/// Why the broker itself may pass. Every call site is listed in `tests/laws.rs`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reason {
    /// Offsets and groups are written to `__consumer_offsets`.
    GroupCoordinator,
    /// A follower's log is filled from its leader's.
    Replication,
    /// Topics that quickstart or the first FindCoordinator makes.
    InternalTopic,
    /// What a command line does before any listener is open.
    Setup,
    /// Tests of rooms that take a permit.
    #[cfg(test)]
    Test,
}

#[derive(Debug)]
enum Source {
    Granted { principal: KafkaPrincipal, connection: u64, generation: u64 },
    Internal(Reason),
}

/// One principal, one operation, one resource, one generation of the rules. Consumed where it opens something.
pub struct Permit<O: Operation> {
    resource: Resource,
    source: Source,
    operation: PhantomData<fn() -> O>,
}

impl<O: Operation> Permit<O> {
    /// For what the broker does on its own behalf.
    pub fn internal(reason: Reason, resource: Resource) -> Self {
        Self { resource, source: Source::Internal(reason), operation: PhantomData }
    }

    fn granted(who: KafkaPrincipal, connection: u64, decision: &Decision, resource: Resource) -> Self {
        let source = Source::Granted { principal: who, connection, generation: decision.generation() };
        Self { resource, source, operation: PhantomData }
    }

    pub fn resource(&self) -> &Resource {
        &self.resource
    }

    /// The topic's id, if the permit is for a topic.
    pub fn topic_id(&self) -> Option<Uuid> {
        self.resource.topic_id()
    }

    /// Whose right it is; `None` is the broker itself.
    pub fn principal(&self) -> Option<&KafkaPrincipal> {
        match &self.source {
            Source::Granted { principal, .. } => Some(principal),
            Source::Internal(_) => None,
        }
    }

    /// The connection that asked; `None` is the broker itself.
    pub fn connection(&self) -> Option<u64> {
        match &self.source {
            Source::Granted { connection, .. } => Some(*connection),
            Source::Internal(_) => None,
        }
    }

    /// Why the broker itself passes; `None` is a right that a principal has.
    pub fn reason(&self) -> Option<Reason> {
        match self.source {
            Source::Granted { .. } => None,
            Source::Internal(reason) => Some(reason),
        }
    }

    /// Were the rules of `generation` the ones that granted this? Internal permits are always current.
    pub fn is_current(&self, generation: u64) -> bool {
        match &self.source {
            Source::Granted { generation: granted, .. } => *granted == generation,
            Source::Internal(_) => true,
        }
    }

    /// The generation that granted this, to be stored where a right is looked at again later (fetch sessions).
    pub fn generation(&self) -> Option<u64> {
        match &self.source {
            Source::Granted { generation, .. } => Some(*generation),
            Source::Internal(_) => None,
        }
    }
}

impl Permit<op::Delete> {
    /// Delete on the cluster is enough for any topic (`ControllerApis.deleteTopics`): the same right, for one of them.
    /// `None` for a permit that is not for the cluster.
    pub fn narrowed_to_topic(self, id: Uuid, name: TopicName) -> Option<Self> {
        let for_cluster = self.resource == Resource::Cluster;
        for_cluster.then_some(Self { resource: Resource::Topic { id, name }, ..self })
    }
}

impl<O: Operation> fmt::Debug for Permit<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("operation", &O::OPERATION.name())
            .field("resource", &self.resource)
            .field("source", &self.source)
            .finish()
    }
}

/// One resource that a request names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wanted {
    pub resource: Resource,
    /// How often the request names it.
    pub references: u32,
    /// False where a denial only leaves the resource out of a list.
    pub log_if_denied: bool,
}

impl From<Resource> for Wanted {
    fn from(resource: Resource) -> Self {
        Self { resource, references: 1, log_if_denied: true }
    }
}

/// What became of one wanted resource.
#[derive(Debug)]
pub enum Admission<O: Operation> {
    Granted(Permit<O>),
    Refused(Resource, Decision),
}

impl<O: Operation> Admission<O> {
    pub fn granted(self) -> Option<Permit<O>> {
        match self {
            Self::Granted(permit) => Some(permit),
            Self::Refused(..) => None,
        }
    }

    pub fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }

    pub fn resource(&self) -> &Resource {
        match self {
            Self::Granted(permit) => permit.resource(),
            Self::Refused(resource, _) => resource,
        }
    }
}

/// As many as most requests name are judged without memory of their own.
const FEW: usize = 2;

/// Asks for operation `O` on every resource, in one call and by one generation of the rules; answers in order.
pub fn admit<O: Operation>(
    authorizer: &dyn Authorizer,
    who: &Requester<'_>,
    connection: u64,
    wanted: Vec<Wanted>,
) -> Answer<Vec<Admission<O>>> {
    let actions: SmallVec<[Action<'_>; FEW]> = wanted
        .iter()
        .map(|w| Action {
            references: w.references,
            log_if_denied: w.log_if_denied,
            ..Action::new(O::OPERATION, w.resource.resource_type(), w.resource.name())
        })
        .collect();
    let answer = authorizer.authorize(who, &actions);
    drop(actions);
    let principal = who.principal.clone();
    answer.map(move |decisions| {
        // An engine that answers short leaves the rest refused.
        let mut decisions = decisions.into_iter();
        wanted
            .into_iter()
            .map(|w| match decisions.next() {
                Some(decision) if decision.is_allowed() => {
                    Admission::Granted(Permit::granted(principal.clone(), connection, &decision, w.resource))
                }
                Some(decision) => Admission::Refused(w.resource, decision),
                None => Admission::Refused(w.resource, Decision::NO_ANSWER),
            })
            .collect()
    })
}

/// The same for one resource.
pub fn admit_one<O: Operation>(
    authorizer: &dyn Authorizer,
    who: &Requester<'_>,
    connection: u64,
    resource: Resource,
) -> Answer<Result<Permit<O>, Decision>> {
    admit::<O>(authorizer, who, connection, vec![resource.into()]).map(|mut admissions| match admissions.pop() {
        Some(Admission::Granted(permit)) => Ok(permit),
        Some(Admission::Refused(_, decision)) => Err(decision),
        None => Err(Decision::NO_ANSWER),
    })
}
