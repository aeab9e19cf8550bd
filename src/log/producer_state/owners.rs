//! Whose producers a partition remembers, so that nobody's are forgotten because of somebody else's.
//!
//! Known only of producers that wrote since the start: neither the log nor Kafka's snapshots say who wrote. Precedent: none;
//! Kafka's table has no bound at all.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

use crate::model::principal::KafkaPrincipal;

/// Who wrote, as far as is known: a hash, so that an entry stays small. Two of one hash share their part.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Owner(u64);

impl Owner {
    /// Not known, or the broker itself.
    pub const NOBODY: Self = Self(0);

    pub fn of(principal: &KafkaPrincipal) -> Self {
        // Never that of nobody.
        Self(BuildHasherDefault::<DefaultHasher>::default().hash_one(principal) | 1)
    }
}

/// The owners of a partition's producers; those of nobody are left out.
#[derive(Debug, Default)]
pub(super) struct Owners {
    of: HashMap<i64, Owner>,
    counts: HashMap<Owner, usize>,
}

impl Owners {
    pub(super) fn note(&mut self, producer_id: i64, owner: Owner) {
        if owner == Owner::NOBODY || self.is_owner(owner, producer_id) {
            return;
        }
        self.forget(producer_id);
        self.of.insert(producer_id, owner);
        *self.counts.entry(owner).or_default() += 1;
    }

    pub(super) fn forget(&mut self, producer_id: i64) {
        let Some(owner) = self.of.remove(&producer_id) else { return };
        if let Some(count) = self.counts.get_mut(&owner) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&owner);
            }
        }
    }

    /// How many producers are known to be this owner's.
    pub(super) fn count(&self, owner: Owner) -> usize {
        self.counts.get(&owner).copied().unwrap_or(0)
    }

    pub(super) fn is_owner(&self, owner: Owner, producer_id: i64) -> bool {
        self.of.get(&producer_id) == Some(&owner)
    }

    pub(super) fn clear(&mut self) {
        self.of.clear();
        self.counts.clear();
    }
}
