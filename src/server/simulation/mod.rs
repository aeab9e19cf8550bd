//! The whole broker from one seed: log, lanes, cleaner, metadata log, controller and group coordinator, on a disk in memory that
//! fails and loses power, under clocks that jump.
//!
//! [`world::World`] draws every step: who works, who asks, what fails, when the power goes. What the server runs on
//! threads and tasks is the same code here, called by hand. Whatever happens goes into the [`story`], which is the same
//! byte for byte for the same seed, and past the [`invariants`], each of which has a test that shows it broken by a
//! planted fault. Precedent: the event simulation of Kafka's raft tests, TigerBeetle's VOPR.

mod chance;
mod cleaner;
mod clients;
mod faults;
mod invariants;
mod life;
mod node;
mod replay;
mod story;
mod tests;
mod world;

use invariants::Violation;

use super::metadata_log::LogFailure;

/// Why a step did not end.
#[derive(Debug)]
enum Halt {
    /// The broker can't go on.
    Failed(LogFailure),
    Broken(Violation),
}

impl From<LogFailure> for Halt {
    fn from(failure: LogFailure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Violation> for Halt {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}
