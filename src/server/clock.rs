//! The machine's clocks: the only place that asks for the time.
#![allow(clippy::disallowed_methods, reason = "this is the file that may")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::model::time::{Clock, Mono, Wall};

/// Monotonic time since this value was made, and the wall clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        Self { start: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn mono(&self) -> Mono {
        // One at least, so that zero can mean "never". 2^64 nanoseconds are 584 years.
        Mono(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_add(1))
    }

    fn wall(&self) -> Wall {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Wall(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
