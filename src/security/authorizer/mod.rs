//! What a principal may do, and the value that says why.
//!
//! Precedent: `org.apache.kafka.server.authorizer.Authorizer`. Differences: the answer is a [`Decision`], never a bool,
//! and may be [`Answer::Pending`], so that a policy server fits behind the same trait as the engine in memory.

pub mod audit;
pub mod filter;
pub mod host;
mod index;
pub mod native;
pub mod open;
pub mod permit;
pub mod validate;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Future, IntoFuture};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either, Ready, ready};

use crate::model::acl::{AclBinding, AclOperation};
use crate::model::listener::ListenerName;
use crate::model::principal::KafkaPrincipal;
use crate::model::resource::{ResourcePattern, ResourceType};
use crate::model::uuid::Uuid;

use filter::AclFilter;

/// Decides. One per broker, shared by all connections.
pub trait Authorizer: Send + Sync + fmt::Debug {
    /// One decision per action, in order. All actions of one call are judged by one generation of the rules.
    fn authorize(&self, who: &Requester<'_>, actions: &[Action<'_>]) -> Answer<Vec<Decision>>;

    /// May `who` do `operation` on at least one resource of this type? (KIP-679, `Authorizer.authorizeByResourceType`.)
    fn authorize_by_resource_type(
        &self,
        who: &Requester<'_>,
        operation: AclOperation,
        resource_type: ResourceType,
    ) -> Answer<Decision>;

    /// Moves whenever a decision could come out differently. Never goes back.
    fn generation(&self) -> u64;

    /// The rule behind a decision, as Kafka's audit log prints it: `DefaultDeny`, `MatchingAcl(acl=StandardAcl[…])`.
    fn rule_text(&self, rule: Rule) -> String;

    /// The bindings that a filter selects, or `None` where this engine keeps no ACLs (SECURITY_DISABLED on the wire).
    fn acls(&self, filter: &AclFilter) -> Option<Vec<AclBinding>>;
}

/// Who asks, from where, through which door, with which request.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    pub principal: &'a KafkaPrincipal,
    /// The peer's address as Java prints it, see [`host::java_host_text`].
    pub host: &'a str,
    pub listener: &'a ListenerName,
    /// Kafka's name of the API, for the audit line: `Metadata`.
    pub request: &'a str,
}

/// What is asked: one operation on one resource (`org.apache.kafka.server.authorizer.Action`).
#[derive(Clone, Copy, Debug)]
pub struct Action<'a> {
    pub operation: AclOperation,
    pub resource_type: ResourceType,
    pub name: &'a str,
    /// How often the request names the resource (`resourceReferenceCount`).
    pub references: u32,
    /// False for checks that only filter a list.
    pub log_if_allowed: bool,
    pub log_if_denied: bool,
}

impl<'a> Action<'a> {
    /// An action that both outcomes of are worth a line.
    pub fn new(operation: AclOperation, resource_type: ResourceType, name: &'a str) -> Self {
        Self { operation, resource_type, name, references: 1, log_if_allowed: true, log_if_denied: true }
    }

    /// An action on the cluster itself.
    pub fn cluster(operation: AclOperation) -> Self {
        Self::new(operation, ResourceType::Cluster, ResourcePattern::CLUSTER_NAME)
    }

    /// The same, without a line when denied: for lists that leave out what may not be seen.
    pub fn quiet_if_denied(self) -> Self {
        Self { log_if_denied: false, ..self }
    }

    pub fn references(self, count: u32) -> Self {
        Self { references: count, ..self }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    Allowed,
    Denied,
}

/// Which rule decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    SuperUser,
    /// The binding of this id in the metadata log.
    Acl(Uuid),
    /// Nothing matched, and `allow.everyone.if.no.acl.found` is set.
    DefaultAllow,
    DefaultDeny,
    /// The rules are still being loaded.
    NotReady,
    /// No authorizer is configured.
    Open,
}

/// Allowed or not, by which rule, as of which state of the rules. Its text is made when somebody reads it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decision {
    verdict: Verdict,
    rule: Rule,
    generation: u64,
    metadata_offset: i64,
}

impl Decision {
    /// An engine that gave no answer has refused.
    const NO_ANSWER: Self = Self { verdict: Verdict::Denied, rule: Rule::NotReady, generation: 0, metadata_offset: -1 };

    /// Engines only: everyone else receives decisions.
    fn new(verdict: Verdict, rule: Rule, generation: u64, metadata_offset: i64) -> Self {
        Self { verdict, rule, generation, metadata_offset }
    }

    pub fn is_allowed(&self) -> bool {
        self.verdict == Verdict::Allowed
    }

    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    pub fn rule(&self) -> Rule {
        self.rule
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The last metadata offset whose changes are surely in the rules that decided.
    pub fn metadata_offset(&self) -> i64 {
        self.metadata_offset
    }
}

/// At once, or later. `.await` works on both.
pub enum Answer<T> {
    Ready(T),
    Pending(BoxFuture<'static, T>),
}

impl<T: Send + 'static> Answer<T> {
    pub fn map<U>(self, f: impl FnOnce(T) -> U + Send + 'static) -> Answer<U> {
        match self {
            Self::Ready(value) => Answer::Ready(f(value)),
            Self::Pending(future) => Answer::Pending(future.map(f).boxed()),
        }
    }
}

impl<T> Answer<T> {
    /// The value if it is there already.
    pub fn into_ready(self) -> Option<T> {
        match self {
            Self::Ready(value) => Some(value),
            Self::Pending(_) => None,
        }
    }
}

impl<T> IntoFuture for Answer<T> {
    type Output = T;
    type IntoFuture = Either<Ready<T>, BoxFuture<'static, T>>;

    fn into_future(self) -> Self::IntoFuture {
        match self {
            Self::Ready(value) => Either::Left(ready(value)),
            Self::Pending(future) => Either::Right(future),
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready(value) => f.debug_tuple("Ready").field(value).finish(),
            Self::Pending(_) => f.write_str("Pending"),
        }
    }
}

/// Wraps a future as a pending answer.
pub fn pending<T>(future: impl Future<Output = T> + Send + 'static) -> Answer<T> {
    Answer::Pending(future.boxed())
}
