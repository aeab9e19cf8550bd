use std::collections::BTreeMap;

use super::{Event, Invariant, Place, Violation};

/// What idempotent producers sent stands once and in their order. A value is `producer.number`.
pub(in super::super) struct NothingDoubledOrReordered;

impl Invariant for NothingDoubledOrReordered {
    fn check(&mut self, event: &Event<'_>) -> Result<(), Violation> {
        let Event::ReadThrough { place, records } = event else { return Ok(()) };
        let mut last: BTreeMap<&str, u64> = BTreeMap::new();
        for (at, value) in *records {
            let (producer, number) = value.split_once('.').unwrap();
            let number = number.parse().unwrap();
            if last.insert(producer, number).is_some_and(|last| last >= number) {
                let what = format!("{value} at {at} of {} does not follow", Place(*place));
                return Err(Violation::new("NothingDoubledOrReordered", what));
            }
        }
        Ok(())
    }
}
