//! Ids for idempotent producers, out of blocks that the controller hands out (KIP-730; Kafka's `RPCProducerIdManager`).

use std::future::Future;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Broker, RequestContext};
use crate::controller::{AllocateProducerIds, ControllerRequest, ControllerResponse, ProducerIdBlock};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::model::resource::ResourceType;

/// The next block is asked for when less than this part of the current one is left.
const PREFETCH_PART: i64 = 10;

/// The ids that this broker has been given.
#[derive(Debug, Default)]
pub struct ProducerIds(Mutex<Blocks>);

#[derive(Debug, Default)]
struct Blocks {
    /// The next id, and the first that is not ours any more.
    next: i64,
    end: i64,
    len: i64,
    /// Asked for ahead.
    following: Option<ProducerIdBlock>,
    is_asking: bool,
}

/// What is to be done for an id.
#[derive(Debug, PartialEq, Eq)]
enum Take {
    Id {
        id: i64,
        /// Ask for the next block: nobody else does, and it is nearly time.
        prefetch: bool,
    },
    Empty,
}

impl ProducerIds {
    fn take(&self) -> Take {
        let mut blocks = self.0.lock();
        if blocks.next >= blocks.end {
            let Some(following) = blocks.following.take() else { return Take::Empty };
            blocks.begin(following);
        }
        let id = blocks.next;
        blocks.next += 1;
        let is_low = blocks.end - blocks.next < blocks.len / PREFETCH_PART;
        let prefetch = is_low && blocks.following.is_none() && !blocks.is_asking;
        blocks.is_asking |= prefetch;
        Take::Id { id, prefetch }
    }

    /// A block has come. Ids are given out once, whoever asked for the block.
    fn add(&self, block: ProducerIdBlock) {
        let mut blocks = self.0.lock();
        blocks.is_asking = false;
        if blocks.next >= blocks.end && blocks.following.is_none() {
            blocks.begin(block);
        } else {
            // Two asked at once: one block is lost, and ids are plenty.
            blocks.following = Some(block);
        }
    }

    fn failed(&self) {
        self.0.lock().is_asking = false;
    }
}

impl Blocks {
    fn begin(&mut self, block: ProducerIdBlock) {
        self.next = block.first;
        self.len = i64::from(block.len);
        self.end = block.first.saturating_add(self.len);
    }
}

impl RequestContext<'_> {
    /// A producer id that nobody else has. COORDINATOR_LOAD_IN_PROGRESS while the controller gives none: the client asks
    /// again.
    pub fn next_producer_id(&self) -> impl Future<Output = Result<i64, ErrorCode>> + use<> {
        let broker = Arc::clone(self.broker);
        async move {
            loop {
                match broker.producer_ids.take() {
                    Take::Id { id, prefetch } => {
                        if prefetch {
                            let broker = Arc::clone(&broker);
                            tokio::task::spawn_local(async move { ask_for_block(&broker).await });
                        }
                        return Ok(id);
                    }
                    Take::Empty => ask_for_block(&broker).await?,
                }
            }
        }
    }

    /// May the principal do this on at least one resource of the type?
    pub async fn is_allowed_any(&self, operation: AclOperation, resource_type: ResourceType) -> bool {
        let principal = self.principal();
        let who = self.requester(&principal);
        self.broker.authorizer.authorize_by_resource_type(&who, operation, resource_type).await.is_allowed()
    }
}

async fn ask_for_block(broker: &Broker) -> Result<(), ErrorCode> {
    let broker_epoch = broker.image.load().cluster.broker(broker.node_id).map_or(-1, |known| known.epoch);
    let request = AllocateProducerIds { broker: broker.node_id, broker_epoch };
    match broker.controller.submit(ControllerRequest::AllocateProducerIds(request)).await {
        Ok(ControllerResponse::AllocateProducerIds(block)) => {
            broker.producer_ids.add(block);
            Ok(())
        }
        outcome => {
            tracing::warn!(target: "schloss.handlers", ?outcome, "the controller gave no producer ids");
            broker.producer_ids.failed();
            Err(ErrorCode::CoordinatorLoadInProgress)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_on_from_block_to_block() {
        let ids = ProducerIds::default();
        assert_eq!(ids.take(), Take::Empty);
        ids.add(ProducerIdBlock { first: 1000, len: 20 });
        for id in 1000..1018 {
            assert_eq!(ids.take(), Take::Id { id, prefetch: false });
        }
        assert_eq!(ids.take(), Take::Id { id: 1018, prefetch: true });
        assert_eq!(ids.take(), Take::Id { id: 1019, prefetch: false }, "somebody asks already");
        assert_eq!(ids.take(), Take::Empty);
        ids.add(ProducerIdBlock { first: 5000, len: 20 });
        assert_eq!(ids.take(), Take::Id { id: 5000, prefetch: false });
    }

    #[test]
    fn a_block_that_came_early_waits_and_a_failure_is_tried_again() {
        let ids = ProducerIds::default();
        ids.add(ProducerIdBlock { first: 0, len: 10 });
        (0..9).for_each(|_| drop(ids.take()));
        assert_eq!(ids.take(), Take::Id { id: 9, prefetch: true });
        ids.failed();
        assert_eq!(ids.take(), Take::Empty);
        ids.add(ProducerIdBlock { first: 10, len: 10 });
        ids.add(ProducerIdBlock { first: 20, len: 10 });
        let taken: Vec<_> = (0..20).map(|_| ids.take()).collect();
        assert!(matches!(taken[19], Take::Id { id: 29, .. }));
    }
}
