use std::collections::BTreeMap;

use super::{Event, Invariant, Place, Violation};
use crate::model::topic::TopicIdPartition;

/// A leader's high watermark never moves back, not over a crash either.
#[derive(Default)]
pub(in super::super) struct MonotoneHighWatermark {
    seen: BTreeMap<TopicIdPartition, i64>,
}

impl Invariant for MonotoneHighWatermark {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        match event {
            Event::HighWatermark { place, offset } => {
                let seen = self.seen.insert(*place, *offset).unwrap_or(0);
                if *offset < seen {
                    let what = format!("{} was at {seen}, and is at {offset}", Place(*place));
                    return Err(Violation::new("MonotoneHighWatermark", what));
                }
            }
            Event::TopicDoomed { topic } => self.seen.retain(|place, _| place.topic_id != *topic),
            _ => {}
        }
        Ok(())
    }
}
