use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Invariant, Place, Violation};
use crate::model::topic::{TopicId, TopicIdPartition};

/// What was acknowledged is there, where the answer said.
#[derive(Default)]
pub(in super::super) struct NothingAcknowledgedLost {
    values: BTreeMap<TopicIdPartition, BTreeMap<i64, String>>,
    /// Read since the last start.
    read: BTreeSet<TopicIdPartition>,
    doomed: BTreeSet<TopicId>,
}

impl Invariant for NothingAcknowledgedLost {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        let broken = |what| Violation::new("NothingAcknowledgedLost", what);
        match event {
            Event::Acknowledged { place, .. } if self.doomed.contains(&place.topic_id) => {}
            Event::Acknowledged { place, base_offset, values } => {
                let known = self.values.entry(*place).or_default();
                known.extend((*base_offset..).zip(values.iter().cloned()));
            }
            Event::BatchRefused { place, value, why } => {
                return Err(broken(format!("{value} is refused by {}: {why}", Place(*place))));
            }
            Event::ReadThrough { place, records } => {
                self.read.insert(*place);
                let found: BTreeMap<i64, &str> = records.iter().map(|(at, value)| (*at, &**value)).collect();
                for (at, value) in self.values.get(place).into_iter().flatten() {
                    match found.get(at) {
                        Some(found) if found == value => {}
                        found => {
                            return Err(broken(format!("{value} at {at} of {}: found {found:?}", Place(*place))));
                        }
                    }
                }
            }
            Event::Started => self.read.clear(),
            Event::Settled { .. } => {
                if let Some(place) = self.values.keys().find(|place| !self.read.contains(place)) {
                    return Err(broken(format!("{} is not there", Place(*place))));
                }
            }
            Event::TopicDoomed { topic } => {
                self.doomed.insert(*topic);
                self.values.retain(|place, _| place.topic_id != *topic);
            }
            _ => {}
        }
        Ok(())
    }
}
