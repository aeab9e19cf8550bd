//! Blocks of producer ids (KIP-730).

use super::image::InvalidRecord;
use crate::protocol::records::metadata::ProducerIdsRecord;

#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ProducerIdsImage {
    next: Option<i64>,
}

impl ProducerIdsImage {
    /// Ids of one block (`ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`).
    pub const BLOCK: i64 = 1000;

    /// The first id that no broker was given.
    pub fn next(&self) -> i64 {
        self.next.unwrap_or(0)
    }

    /// Was any block given out?
    pub fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    pub(super) fn apply(&mut self, record: &ProducerIdsRecord) -> Result<(), InvalidRecord> {
        if record.next_producer_id < self.next() {
            let text = format!("the next producer id {} is below {}", record.next_producer_id, self.next());
            return Err(InvalidRecord::new(text));
        }
        self.next = Some(record.next_producer_id);
        Ok(())
    }
}
