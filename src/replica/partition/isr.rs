//! Which replicas are in sync, and how many must be (KIP-966).

use std::collections::BTreeSet;

use crate::model::broker::BrokerId;

/// The in-sync replicas of a partition as the controller last said.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Isr {
    members: BTreeSet<BrokerId>,
    replicas: usize,
}

/// `acks=all` and fewer replicas in sync than the topic asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the number of in-sync replicas, {in_sync}, is below the minimum of {min}")]
pub struct TooFewInSync {
    pub in_sync: usize,
    pub min: usize,
}

impl Isr {
    /// `replicas` is the size of the assignment.
    pub fn new(members: impl IntoIterator<Item = BrokerId>, replicas: usize) -> Self {
        Self { members: members.into_iter().collect(), replicas }
    }

    pub fn contains(&self, broker: BrokerId) -> bool {
        self.members.contains(&broker)
    }

    pub fn members(&self) -> impl Iterator<Item = BrokerId> + '_ {
        self.members.iter().copied()
    }

    /// Are there enough for `min.insync.replicas`? A topic that asks for more than it has replicas asks for all of them
    /// (`Partition.effectiveMinIsr`).
    ///
    /// # Errors
    /// [`TooFewInSync`]
    pub fn check(&self, min_insync_replicas: usize) -> Result<(), TooFewInSync> {
        let min = min_insync_replicas.min(self.replicas.max(1));
        let in_sync = self.members.len();
        if in_sync < min { Err(TooFewInSync { in_sync, min }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_asked_than_there_are() {
        let isr = Isr::new([BrokerId(1)], 1);
        assert_eq!(isr.check(2), Ok(()));
        let isr = Isr::new([BrokerId(1)], 3);
        assert_eq!(isr.check(2), Err(TooFewInSync { in_sync: 1, min: 2 }));
        assert_eq!(Isr::new([], 1).check(1), Err(TooFewInSync { in_sync: 0, min: 1 }));
    }
}
