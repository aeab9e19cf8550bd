use std::collections::BTreeMap;

use super::{Event, Invariant, Place, Violation};
use crate::model::topic::TopicIdPartition;

/// What a consumer once read is read there for ever.
#[derive(Default)]
pub(in super::super) struct ReadsStay {
    read: BTreeMap<TopicIdPartition, BTreeMap<i64, String>>,
}

impl ReadsStay {
    fn note(&mut self, place: TopicIdPartition, at: i64, value: &str) -> Result<(), Violation> {
        let known = self.read.entry(place).or_default().entry(at).or_insert_with(|| value.to_owned());
        if known == value {
            return Ok(());
        }
        Err(Violation::new("ReadsStay", format!("{at} of {} was {known}, and is {value}", Place(place))))
    }
}

impl Invariant for ReadsStay {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::Read { place, offset, value } => self.note(*place, *offset, value)?,
            Event::ReadThrough { place, records } => {
                for (at, value) in *records {
                    self.note(*place, *at, value)?;
                }
                let known = self.read.get(place).map_or(0, BTreeMap::len);
                if known > records.len() {
                    let what = format!("{known} records of {} were read, {} are there", Place(*place), records.len());
                    return Err(Violation::new("ReadsStay", what));
                }
            }
            Event::TopicDoomed { topic } => self.read.retain(|place, _| place.topic_id != *topic),
            _ => {}
        }
        Ok(())
    }
}
