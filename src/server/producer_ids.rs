//! Producer ids out of blocks of the controller's: the next block is asked for before the present one is used up.
//!
//! Precedent: Kafka's `RPCProducerIdManager` (KIP-730). Nobody waits here: without a block there is no id, and clients ask
//! again. Ids of a block that a stopped broker had left are lost, as in Kafka; there are 2^63.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::controller::ControllerHandle;
use crate::controller::{AllocateProducerIds, ControllerError, ControllerRequest, ControllerResponse, ProducerIdBlock};
use crate::handlers::context::ProducerIds;
use crate::model::broker::BrokerId;
use crate::model::producer::ProducerId;

/// How long the broker waits before it asks again for what it was refused.
const RETRY_BACKOFF: Duration = Duration::from_millis(50);
/// The next block is asked for when a tenth of the present one is left.
const PREFETCH_AT_LEFT: i32 = 10;

/// The ids that are at hand, and the wish for more.
#[derive(Debug, Default)]
pub struct ProducerIdBlocks {
    blocks: Mutex<Blocks>,
    wanted: Notify,
}

impl ProducerIds for ProducerIdBlocks {
    fn next(&self) -> Option<ProducerId> {
        let (id, wants_more) = {
            let mut blocks = self.blocks.lock();
            (blocks.next(), blocks.wants_more())
        };
        if wants_more {
            self.wanted.notify_one();
        }
        id
    }
}

impl ProducerIdBlocks {
    /// Fetches blocks for ever, the first one at once.
    pub async fn refill(
        self: Arc<Self>,
        broker: BrokerId,
        broker_epoch: watch::Receiver<i64>,
        controller: ControllerHandle,
    ) {
        loop {
            while self.blocks.lock().wants_more() {
                let request = AllocateProducerIds { broker, broker_epoch: *broker_epoch.borrow() };
                match controller.submit(ControllerRequest::AllocateProducerIds(request)).await {
                    Ok(ControllerResponse::AllocateProducerIds(block)) => self.blocks.lock().add(block),
                    Ok(_) => tokio::time::sleep(RETRY_BACKOFF).await,
                    // Refused for as long as the broker is not registered, and when it is going down.
                    Err(error) => {
                        report(&error);
                        tokio::time::sleep(RETRY_BACKOFF).await;
                    }
                }
            }
            self.wanted.notified().await;
        }
    }
}

fn report(error: &ControllerError) {
    tracing::debug!(target: "schloss.transactions", "no block of producer ids: {error}");
}

/// What is left of the present block, and the one after it.
#[derive(Debug, Default)]
struct Blocks {
    current: Option<Remaining>,
    following: Option<ProducerIdBlock>,
}

#[derive(Debug)]
struct Remaining {
    next: i64,
    left: i32,
    /// Of the whole block.
    len: i32,
}

impl Blocks {
    fn next(&mut self) -> Option<ProducerId> {
        if self.current.as_ref().is_none_or(|current| current.left <= 0) {
            self.current =
                self.following.take().map(|ProducerIdBlock { first, len }| Remaining { next: first, left: len, len });
        }
        let current = self.current.as_mut().filter(|current| current.left > 0)?;
        let id = ProducerId(current.next);
        current.next += 1;
        current.left -= 1;
        Some(id)
    }

    fn wants_more(&self) -> bool {
        let is_low = |current: &Remaining| current.left <= current.len / PREFETCH_AT_LEFT;
        self.following.is_none() && self.current.as_ref().is_none_or(is_low)
    }

    /// Only when more is wanted.
    fn add(&mut self, block: ProducerIdBlock) {
        self.following = Some(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn block(first: i64) -> ProducerIdBlock {
        ProducerIdBlock { first, len: 1000 }
    }

    #[test]
    fn the_next_block_is_wanted_before_the_last_id_is_gone() {
        let mut blocks = Blocks::default();
        assert!(blocks.wants_more());
        assert_eq!(blocks.next(), None);
        blocks.add(block(5000));
        assert!(!blocks.wants_more());
        let first: Vec<i64> = (0..899).map(|_| blocks.next().unwrap().0).collect();
        assert_eq!(first, (5000..5899).collect::<Vec<_>>());
        assert!(!blocks.wants_more());
        assert_eq!(blocks.next(), Some(ProducerId(5899)));
        assert!(blocks.wants_more());
        blocks.add(block(9000));
        assert!(!blocks.wants_more());
        let rest: Vec<i64> = (0..101).map(|_| blocks.next().unwrap().0).collect();
        assert_eq!(rest, (5900..6000).chain([9000]).collect::<Vec<_>>());
    }

    #[test]
    fn without_a_block_there_is_no_id() {
        let mut blocks = Blocks::default();
        blocks.add(ProducerIdBlock { first: 3, len: 1 });
        assert_eq!(blocks.next(), Some(ProducerId(3)));
        assert!(blocks.wants_more());
        assert_eq!(blocks.next(), None);
        assert_eq!(blocks.next(), None);
        blocks.add(block(1000));
        assert_eq!(blocks.next(), Some(ProducerId(1000)));
    }

    #[test]
    fn whoever_takes_the_last_ids_wakes_the_one_who_asks_for_more() {
        let ids = ProducerIdBlocks::default();
        ids.blocks.lock().add(ProducerIdBlock { first: 0, len: 2 });
        let mut woken = polled(&ids);
        assert_eq!(ids.next(), Some(ProducerId(0)));
        assert!(woken().is_none());
        assert_eq!(ids.next(), Some(ProducerId(1)));
        assert!(woken().is_some());
    }

    /// Polls the wish for more.
    fn polled(ids: &ProducerIdBlocks) -> impl FnMut() -> Option<()> + '_ {
        use futures_util::FutureExt as _;
        let mut waiting = Box::pin(ids.wanted.notified());
        move || waiting.as_mut().now_or_never()
    }
}
