//! Delegation tokens (KIP-900), kept as they came: nothing here issues or checks one yet, and nothing loses one.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::protocol::records::metadata::{DelegationTokenRecord, RemoveDelegationTokenRecord};

#[derive(Clone, PartialEq, Default, Debug)]
pub struct DelegationTokensImage {
    by_id: RedBlackTreeMapSync<Arc<str>, DelegationTokenRecord>,
}

impl DelegationTokensImage {
    pub fn get(&self, id: &str) -> Option<&DelegationTokenRecord> {
        self.by_id.get(id)
    }

    pub fn iter(&self) -> impl Iterator<Item = &DelegationTokenRecord> {
        self.by_id.values()
    }

    pub(super) fn add(&mut self, record: &DelegationTokenRecord) {
        self.by_id.insert_mut((&*record.token_id).into(), record.clone());
    }

    pub(super) fn remove(&mut self, record: &RemoveDelegationTokenRecord) {
        self.by_id.remove_mut(&*record.token_id);
    }
}
