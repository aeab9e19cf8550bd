//! What goes wrong: as a run draws it, and as a test plants it.

use super::chance::Chance;
use crate::log::storage::FaultyDisk;
use crate::log::storage::faulty::{Effect, Fault, Operation};

/// Operations from now within which a planned fault happens, if there are that many.
const SOON: u64 = 60;

/// Faults that no broker could live with, to show that the invariants see them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Planted {
    /// The disk drops what lanes sync.
    DroppedDataSync,
    /// The disk drops what the metadata log syncs.
    DroppedMetadataSync,
    /// The controller applies a record that it did not write.
    UnloggedRecord,
    /// Producers send again without sequences.
    NoSequences,
    /// Lanes stop working.
    DeafLanes,
    /// A crash damages a file that is only ever replaced.
    DamagedQuorumState,
}

/// Plans that one operation of the disk fails.
pub(super) fn plan(disk: &FaultyDisk, chance: &mut Chance) -> Fault {
    let operation = match chance.below(4) {
        0 => Some(Operation::Sync),
        1 => Some(Operation::Write),
        _ => None,
    };
    let bytes = usize::try_from(chance.below(120)).unwrap_or(0);
    let effect = match chance.below(4) {
        0 => Effect::Short(bytes),
        1 => Effect::Full(bytes),
        _ => Effect::Fail,
    };
    let fault = Fault { operation, nth: chance.below(if operation.is_some() { SOON / 6 } else { SOON }), effect };
    disk.plan(fault);
    fault
}
