//! One line per key and interval: a peer that repeats itself can't fill the log.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::model::time::Mono;

/// Remembers when each key was last let through. Holds at most `capacity` keys; while it is full, unknown keys are held
/// back and counted, so that a flood of new addresses can't fill the log either.
#[derive(Debug)]
pub struct OncePer<K> {
    interval: Duration,
    capacity: usize,
    seen: HashMap<K, Seen>,
    swept: Option<Mono>,
    overflow: u64,
}

#[derive(Debug)]
struct Seen {
    at: Mono,
    held_back: u64,
}

impl<K: Eq + Hash> OncePer<K> {
    pub fn new(interval: Duration, capacity: usize) -> Self {
        Self { interval, capacity, seen: HashMap::new(), swept: None, overflow: 0 }
    }

    /// `Some(n)` if a line about this key may be written now; `n` were held back since the last one.
    pub fn permit(&mut self, key: K, now: Mono) -> Option<u64> {
        if let Some(seen) = self.seen.get_mut(&key) {
            if now.since(seen.at) < self.interval {
                seen.held_back += 1;
                return None;
            }
            seen.at = now;
            return Some(std::mem::take(&mut seen.held_back));
        }
        if self.seen.len() >= self.capacity {
            self.sweep(now);
        }
        if self.seen.len() >= self.capacity {
            self.overflow += 1;
            return None;
        }
        self.seen.insert(key, Seen { at: now, held_back: 0 });
        Some(std::mem::take(&mut self.overflow))
    }

    /// Forgets keys whose interval is over; at most eight times an interval, for the table may be large.
    fn sweep(&mut self, now: Mono) {
        if self.swept.is_some_and(|at| now.since(at) < self.interval / 8) {
            return;
        }
        self.swept = Some(now);
        let interval = self.interval;
        self.seen.retain(|_, seen| now.since(seen.at) < interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn at(seconds: u64) -> Mono {
        Mono::default().plus(Duration::from_secs(seconds))
    }

    #[test]
    fn one_line_per_key_and_interval() {
        let mut once = OncePer::new(MINUTE, 10);
        assert_eq!(once.permit("a", at(0)), Some(0));
        assert_eq!(once.permit("a", at(1)), None);
        assert_eq!(once.permit("a", at(59)), None);
        assert_eq!(once.permit("b", at(59)), Some(0));
        assert_eq!(once.permit("a", at(60)), Some(2));
    }

    #[test]
    fn the_table_is_bounded_and_recovers() {
        let mut once = OncePer::new(MINUTE, 100);
        let let_through = (0..10_000).filter(|key| once.permit(*key, at(0)).is_some()).count();
        assert_eq!(let_through, 100);
        assert_eq!(once.seen.len(), 100);
        assert_eq!(once.permit(20_000, at(61)), Some(9_900));
    }
}
