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

/// How far the wall clock may stray from the time that passed between two looks, in milliseconds.
const DRIFT_MS: i64 = 10 * 60 * 1000;

/// Notices that somebody has set the wall clock: what is deleted by age waits then, for one look, for the operator.
#[derive(Debug, Default)]
pub struct WallWatch {
    last: Option<(Wall, Mono)>,
}

impl WallWatch {
    /// How far the wall clock has jumped since the last look, in milliseconds; `None` if it went as time did.
    pub fn jump(&mut self, clock: &dyn Clock) -> Option<i64> {
        let (wall, mono) = (clock.wall(), clock.mono());
        let (last_wall, last_mono) = self.last.replace((wall, mono))?;
        let passed = i64::try_from(mono.since(last_mono).as_millis()).unwrap_or(i64::MAX);
        let jump = wall.0.saturating_sub(last_wall.0).saturating_sub(passed);
        (jump.saturating_abs() > DRIFT_MS).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct At(i64, u64);

    impl Clock for At {
        fn mono(&self) -> Mono {
            Mono(self.1 * 1_000_000)
        }

        fn wall(&self) -> Wall {
            Wall(self.0)
        }
    }

    #[test]
    fn a_clock_that_is_set_is_noticed_once() {
        const HOUR: i64 = 3_600_000;
        const DECADE: i64 = 10 * 365 * 24 * HOUR;
        let mut watch = WallWatch::default();
        let mut jumps = |wall: i64, mono: u64| watch.jump(&At(wall, mono));
        assert_eq!(jumps(DECADE, 5), None, "there is nothing to compare with");
        assert_eq!(jumps(DECADE + HOUR, 5 + HOUR as u64), None, "an hour has passed");
        assert_eq!(jumps(DECADE + HOUR + 9 * 60_000, 5 + HOUR as u64), None, "a small correction");
        assert_eq!(jumps(DECADE * 2, 5 + HOUR as u64), Some(DECADE - HOUR - 9 * 60_000));
        assert_eq!(jumps(DECADE * 2, 5 + HOUR as u64), None, "it was told");
        assert_eq!(jumps(HOUR, 5 + HOUR as u64), Some(HOUR - DECADE * 2));
        assert_eq!(jumps(i64::MAX, 0), Some(i64::MAX - HOUR));
    }
}
