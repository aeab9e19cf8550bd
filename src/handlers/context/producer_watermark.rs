//! Which producer ids there can be.

use super::RequestContext;
use crate::model::producer::ProducerId;

impl RequestContext<'_> {
    /// Did nobody ever hand this id out? Ids are given in blocks that are committed before the first of them is used, so
    /// one past the last block was made up (Kafka takes those). Without an id there is nothing to doubt.
    pub fn is_invented(&self, id: ProducerId) -> bool {
        id.0 >= self.broker.image.load().producer_ids.next() && !id.is_none()
    }
}
