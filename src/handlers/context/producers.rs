//! What idempotent producers need, and what those are told that want transactions.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::RequestContext;
use crate::model::acl::AclOperation;
use crate::model::producer::ProducerId;
use crate::model::resource::ResourceType;
use crate::model::time::Mono;
use crate::telemetry::once_per::OncePer;
use crate::telemetry::printable::Printable;

/// How often one principal's transactional ids get a line.
const LINE_INTERVAL: Duration = Duration::from_secs(60);
/// Principals that are remembered for it.
const REMEMBERED: usize = 1000;

/// Ids for idempotent producers, out of blocks that the controller gave this broker (KIP-730).
pub trait ProducerIds: Send + Sync + std::fmt::Debug {
    /// An id that nobody had before. `None` while no block is there; the next one is asked for.
    fn next(&self) -> Option<ProducerId>;
}

/// Writes down who wanted transactions, once a while.
#[derive(Debug)]
pub struct TransactionLines {
    lines: Mutex<OncePer<Arc<str>>>,
}

impl Default for TransactionLines {
    fn default() -> Self {
        Self { lines: Mutex::new(OncePer::new(LINE_INTERVAL, REMEMBERED)) }
    }
}

impl TransactionLines {
    fn permit(&self, principal: Arc<str>, now: Mono) -> Option<u64> {
        self.lines.lock().permit(principal, now)
    }
}

impl RequestContext<'_> {
    /// May the principal do `operation` on at least one resource of this type?
    pub async fn is_allowed_on_any(&self, operation: AclOperation, resource_type: ResourceType) -> bool {
        let principal = self.principal();
        let requester = self.requester(&principal);
        self.broker.authorizer.authorize_by_resource_type(&requester, operation, resource_type).await.is_allowed()
    }

    /// Tells the operator that a transactional id was refused, but not by an ACL. The client is told
    /// TRANSACTIONAL_ID_AUTHORIZATION_FAILED, the one answer after which clients do not try again for ever.
    pub fn report_transactions_unavailable(&self, transactional_id: &str) {
        let principal = self.principal().to_string();
        if self.broker.transaction_lines.permit(principal.as_str().into(), self.broker.clock.mono()).is_some() {
            tracing::warn!(
                target: "schloss.transactions",
                "{}: transactional id {} of {} was refused. No ACL forbids it: transactions are not available yet",
                self.header.api_key.name(),
                Printable::new(transactional_id),
                Printable::new(&principal),
            );
        }
    }
}
