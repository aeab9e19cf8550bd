//! Ids and shuffles.

use crate::metadata::topics::directory_id;
use crate::model::random::Random;
use crate::model::uuid::Uuid;

/// A new id that stands for nothing else (`Uuid.randomUuid`).
pub(super) fn uuid(random: &mut dyn Random) -> Uuid {
    loop {
        let mut bytes = [0; 16];
        random.fill(&mut bytes);
        if let Some(id) = Uuid::from_random(bytes).filter(|id| !directory_id::is_reserved(*id)) {
            return id;
        }
    }
}

/// A number below `bound`; 0 for a bound of 0. Its slight bias does not matter where replicas are spread.
pub(super) fn below(random: &mut dyn Random, bound: usize) -> usize {
    let mut bytes = [0; 8];
    random.fill(&mut bytes);
    let drawn = u64::from_le_bytes(bytes) % u64::try_from(bound.max(1)).unwrap_or(1);
    usize::try_from(drawn).unwrap_or(0)
}

/// Fisher and Yates.
pub(super) fn shuffle<T>(random: &mut dyn Random, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, below(random, last + 1));
    }
}
