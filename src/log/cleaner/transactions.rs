//! What a compaction knows of transactions while it walks the log (`CleanedTransactionMetadata`).
//!
//! Records of an aborted transaction are dropped; its marker, and its entry in the transaction index, stay until no batch
//! of it is left, so that no reader of committed records takes an aborted one for committed.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::log::transaction_index::AbortedTxn;
use crate::protocol::control::EndTxnMarker;
use crate::protocol::record_batch::BatchHeader;

/// Transactions open at the place that was reached.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// Still to come, by first offset.
    aborted: VecDeque<AbortedTxn>,
    /// Begun and to be aborted, by producer; and whether a batch of it was met.
    aborting: HashMap<i64, (AbortedTxn, bool)>,
    /// Producers with a batch of a transaction that was not aborted.
    committing: HashSet<i64>,
}

/// What becomes of a control batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Marker {
    /// It ends nothing that is left: it may go once its time is over.
    Unneeded,
    Needed,
    /// It aborts what is left of this transaction.
    Aborts(AbortedTxn),
}

impl Transactions {
    /// The aborted transactions of the segments that come next.
    pub(super) fn expect(&mut self, found: impl IntoIterator<Item = AbortedTxn>) {
        self.aborted.extend(found);
        self.aborted.make_contiguous().sort_unstable_by_key(|txn| txn.first_offset);
    }

    /// Is this data batch part of an aborted transaction?
    pub(super) fn is_aborted(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborting.get_mut(&header.producer_id) {
            Some((_, met)) => {
                *met = true;
                true
            }
            None => {
                self.committing.insert(header.producer_id);
                false
            }
        }
    }

    /// What a control batch ends; `None` for one that was emptied or ends no transaction.
    pub(super) fn end(&mut self, header: &BatchHeader, marker: Option<EndTxnMarker>) -> Marker {
        self.begin_up_to(header.last_offset());
        if header.records_count == 0 {
            return Marker::Unneeded;
        }
        let Some(marker) = marker else { return Marker::Needed };
        let is_unneeded = if marker.committed {
            !self.committing.remove(&header.producer_id)
        } else {
            match self.aborting.remove(&header.producer_id) {
                Some((txn, true)) => return Marker::Aborts(txn),
                _ => true,
            }
        };
        if is_unneeded { Marker::Unneeded } else { Marker::Needed }
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(txn) = self.aborted.front()
            && txn.first_offset <= offset
        {
            self.aborting.entry(txn.producer_id).or_insert((*txn, false));
            self.aborted.pop_front();
        }
    }
}
