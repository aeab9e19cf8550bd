//! Two kinds of time that do not mix.

use std::time::Duration;

/// A point on the monotonic clock, in nanoseconds since some start: intervals, deadlines, sessions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Mono(pub u64);

impl Mono {
    /// Time from `earlier` to `self`; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This point plus `duration`, at most the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)))
    }
}

/// A point on the wall clock, in milliseconds since 1970: timestamps in records, expiry, retention.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Wall(pub i64);

/// Where time comes from: the machine in production, a seed in the simulator.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    fn mono(&self) -> Mono;
    fn wall(&self) -> Wall;
}
