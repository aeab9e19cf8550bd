//! Where the replicas of new partitions go.
//!
//! Precedent: Kafka's `StripedReplicaPlacer`: leaders go round the unfenced brokers, replicas stripe over the racks,
//! fenced brokers are taken only where unfenced ones do not suffice, and nobody twice. The lists are shuffled, and again
//! after every round.

use std::collections::BTreeMap;

use super::random::{below, shuffle};
use crate::model::broker::BrokerId;
use crate::model::random::Random;

/// A broker that may hold replicas.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct UsableBroker {
    pub(super) id: BrokerId,
    pub(super) rack: Option<std::sync::Arc<str>>,
    pub(super) fenced: bool,
}

/// Why there is no placement; the texts are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum PlacementError {
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i16),
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {usable} broker(s) are registered or \
         some brokers have all their log directories cordoned."
    )]
    TooFew { wanted: i16, usable: usize },
    #[error("All brokers are currently fenced, or have all their log directories cordoned.")]
    AllFenced,
}

/// Replicas of `partitions` partitions, the preferred leader first.
pub(super) fn place(
    brokers: &[UsableBroker],
    partitions: usize,
    replication_factor: i16,
    random: &mut dyn Random,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let replicas = match usize::try_from(replication_factor) {
        Ok(replicas) if replicas > 0 => replicas,
        _ => return Err(PlacementError::NotPositive(replication_factor)),
    };
    if brokers.len() < replicas {
        return Err(PlacementError::TooFew { wanted: replication_factor, usable: brokers.len() });
    }
    if brokers.iter().all(|broker| broker.fenced) {
        return Err(PlacementError::AllFenced);
    }
    let mut racks = Racks::new(brokers, random);
    Ok((0..partitions).map(|_| racks.next(replicas, random)).collect())
}

/// Replicas of partitions that come after `first` others of their topic (`StripedReplicaPlacer` starts there).
pub(super) fn place_from(
    brokers: &[UsableBroker],
    first: usize,
    partitions: usize,
    replication_factor: i16,
    random: &mut dyn Random,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let placed = place(brokers, partitions + first % brokers.len().max(1), replication_factor, random)?;
    Ok(placed.into_iter().skip(first % brokers.len().max(1)).collect())
}

/// Brokers that are handed out in turn; every round starts one further.
#[derive(Default)]
struct Ring {
    brokers: Vec<BrokerId>,
    round: usize,
    start: usize,
    taken: usize,
}

impl Ring {
    fn next(&mut self, round: usize) -> Option<BrokerId> {
        if self.brokers.is_empty() {
            return None;
        }
        if self.round != round {
            self.round = round;
            self.taken = 0;
            self.start = (self.start + 1) % self.brokers.len();
        }
        if self.taken == self.brokers.len() {
            return None;
        }
        let at = (self.start + self.taken) % self.brokers.len();
        self.taken += 1;
        self.brokers.get(at).copied()
    }

    fn shuffle(&mut self, random: &mut dyn Random) {
        self.start = below(random, self.brokers.len());
        shuffle(random, &mut self.brokers);
        self.taken = 0;
    }
}

#[derive(Default)]
struct Rack {
    unfenced: Ring,
    fenced: Ring,
}

struct Racks {
    racks: Vec<Rack>,
    unfenced: usize,
    /// Partitions since the last shuffle.
    round: usize,
    first: usize,
}

impl Racks {
    fn new(brokers: &[UsableBroker], random: &mut dyn Random) -> Self {
        let mut by_name: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        for broker in brokers {
            let rack = by_name.entry(broker.rack.as_deref()).or_default();
            let ring = if broker.fenced { &mut rack.fenced } else { &mut rack.unfenced };
            ring.brokers.push(broker.id);
        }
        let unfenced = brokers.iter().filter(|broker| !broker.fenced).count();
        let mut racks = Self { racks: by_name.into_values().collect(), unfenced, round: 0, first: 0 };
        racks.first = below(random, racks.racks.len());
        racks.shuffle(random);
        racks
    }

    fn shuffle(&mut self, random: &mut dyn Random) {
        shuffle(random, &mut self.racks);
        for rack in &mut self.racks {
            rack.unfenced.shuffle(random);
            rack.fenced.shuffle(random);
        }
    }

    /// One partition's replicas. There are enough brokers, and an unfenced one among them.
    fn next(&mut self, replicas: usize, random: &mut dyn Random) -> Vec<BrokerId> {
        if self.round == self.unfenced {
            // Every ring starts its rounds anew, or a new round 0 would be taken for the old one.
            self.shuffle(random);
            self.round = 0;
            for rack in &mut self.racks {
                rack.unfenced.round = 0;
                rack.fenced.round = 0;
            }
        }
        let count = self.racks.len();
        let start = self.first % count.max(1);
        let mut placed = Vec::with_capacity(replicas);
        // The leader: the first rack from here on that has an unfenced broker.
        let order: Vec<usize> = (0..count).map(|i| (start + i) % count).collect();
        let round = self.round;
        let leader_rack = order.iter().copied().find(|&at| {
            let leader = self.racks.get_mut(at).and_then(|rack| rack.unfenced.next(round));
            placed.extend(leader);
            leader.is_some()
        });
        // The others: rack by rack, in the first turn not from the leader's.
        for turn in 0.. {
            let before = placed.len();
            for &at in &order {
                if placed.len() == replicas {
                    break;
                }
                if turn == 0 && leader_rack == Some(at) {
                    continue;
                }
                if let Some(rack) = self.racks.get_mut(at) {
                    placed.extend(rack.unfenced.next(round).or_else(|| rack.fenced.next(round)));
                }
            }
            if placed.len() == replicas || (turn > 0 && placed.len() == before) {
                break;
            }
        }
        self.round += 1;
        self.first = (start + 1) % count.max(1);
        placed
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::tests::Seeded;
    use super::*;

    fn broker(id: i32, rack: Option<&str>, fenced: bool) -> UsableBroker {
        UsableBroker { id: BrokerId(id), rack: rack.map(Into::into), fenced }
    }

    #[test]
    fn one_broker_gets_everything() {
        let placed = place(&[broker(1, None, false)], 3, 1, &mut Seeded::new(1)).unwrap();
        assert_eq!(placed, vec![vec![BrokerId(1)]; 3]);
    }

    #[test]
    fn replicas_are_spread_over_racks_and_leaders_over_brokers() {
        let brokers: Vec<_> = (0..6).map(|id| broker(id, Some(["a", "b", "c"][id as usize % 3]), false)).collect();
        let placed = place(&brokers, 600, 3, &mut Seeded::new(7)).unwrap();
        let mut leaders = BTreeMap::new();
        for replicas in &placed {
            let racks: BTreeSet<_> = replicas.iter().map(|id| id.0 % 3).collect();
            assert_eq!(racks.len(), 3, "{replicas:?}");
            *leaders.entry(replicas[0]).or_insert(0) += 1;
        }
        assert_eq!(leaders.len(), 6);
        assert!(leaders.values().all(|led| (80..=120).contains(led)), "{leaders:?}");
    }

    #[test]
    fn fenced_brokers_come_last_and_never_lead() {
        let brokers = [broker(1, None, true), broker(2, None, false), broker(3, None, true)];
        for replicas in place(&brokers, 20, 2, &mut Seeded::new(3)).unwrap() {
            assert_eq!(replicas[0], BrokerId(2));
            assert_ne!(replicas[1], BrokerId(2));
        }
        for replicas in place(&brokers, 20, 3, &mut Seeded::new(3)).unwrap() {
            assert_eq!(replicas.iter().collect::<BTreeSet<_>>().len(), 3);
        }
    }

    #[test]
    fn says_why_there_is_no_placement() {
        let refused = |brokers: &[UsableBroker], factor| place(brokers, 1, factor, &mut Seeded::new(1)).unwrap_err();
        assert_eq!(refused(&[broker(1, None, false)], 2), PlacementError::TooFew { wanted: 2, usable: 1 });
        assert_eq!(refused(&[broker(1, None, true)], 1), PlacementError::AllFenced);
        assert_eq!(refused(&[], 0), PlacementError::NotPositive(0));
    }
}
