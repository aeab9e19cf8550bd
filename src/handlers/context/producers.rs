//! What idempotent producers need, and what those are told that want transactions.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::RequestContext;
use crate::log::validator::RecordError;
use crate::model::acl::AclOperation;
use crate::model::producer::ProducerId;
use crate::model::resource::ResourceType;
use crate::model::topic::{TopicName, TopicPartition};
use crate::telemetry::once_per::OncePer;
use crate::telemetry::printable::Printable;

/// How often one principal gets a line of a kind.
const LINE_INTERVAL: Duration = Duration::from_secs(60);
/// Principals, and topics they write to, that are remembered for it.
const REMEMBERED: usize = 1000;

/// Ids for idempotent producers, out of blocks that the controller gave this broker (KIP-730).
pub trait ProducerIds: Send + Sync + std::fmt::Debug {
    /// An id that nobody had before. `None` while no block is there; the next one is asked for.
    fn next(&self) -> Option<ProducerId>;
}

/// Writes down whose records were refused and who wanted transactions, once a while each.
#[derive(Debug)]
pub struct ProducerLines {
    transactions: Mutex<OncePer<Arc<str>>>,
    records: Mutex<OncePer<(Arc<str>, TopicName)>>,
}

impl Default for ProducerLines {
    fn default() -> Self {
        Self {
            transactions: Mutex::new(OncePer::new(LINE_INTERVAL, REMEMBERED)),
            records: Mutex::new(OncePer::new(LINE_INTERVAL, REMEMBERED)),
        }
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
        let now = self.broker.clock.mono();
        let permit = self.broker.producer_lines.transactions.lock().permit(principal.as_str().into(), now);
        if permit.is_some() {
            tracing::warn!(
                target: "schloss.transactions",
                "{}: transactional id {} of {} was refused. No ACL forbids it: transactions are not available yet",
                self.header.api_key.name(),
                Printable::new(transactional_id),
                Printable::new(&principal),
            );
        }
    }

    /// Tells the operator whose records for a topic are no good and why: Kafka's answer has a code for most, and no text.
    pub fn report_refused_records(&self, partition: &TopicPartition, error: &RecordError) {
        let principal = self.principal().to_string();
        let key = (principal.as_str().into(), partition.topic.clone());
        let permit = self.broker.producer_lines.records.lock().permit(key, self.broker.clock.mono());
        let Some(held_back) = permit else { return };
        let more = if held_back > 0 { format!(" ({held_back} more like it)") } else { String::new() };
        tracing::warn!(
            target: "schloss.handlers",
            "Produce: records of {} from {} for {partition} were refused, {}: {error}{more}",
            Printable::new(&principal),
            self.connection.host,
            error.code().name(),
        );
    }
}
