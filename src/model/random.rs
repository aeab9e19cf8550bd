//! Where chance comes from.

use std::fmt;

/// Random bytes: the machine's in production, a seed's in the simulator.
pub trait Random: fmt::Debug {
    fn fill(&mut self, bytes: &mut [u8]);
}
