//! Where a run's chance and time come from: its seed.

use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::model::random::Random;
use crate::model::time::{Clock, Mono, Wall};

/// SplitMix64.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Another stream, which does not repeat this one.
    pub(super) fn branch(&mut self) -> Self {
        Self(self.next())
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start)
    }

    /// True once in `many`.
    pub(super) fn once_in(&mut self, many: u64) -> bool {
        self.below(many) == 0
    }

    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let at = self.below(u64::try_from(items.len()).ok()?);
        items.get(usize::try_from(at).ok()?)
    }
}

impl Random for Chance {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Clocks that the run moves.
#[derive(Debug)]
pub(super) struct VirtualClock {
    mono: AtomicU64,
    wall: AtomicI64,
}

impl VirtualClock {
    pub(super) fn new() -> Self {
        Self { mono: AtomicU64::new(1_000_000_000_000), wall: AtomicI64::new(1_700_000_000_000) }
    }

    /// Time passes on both clocks.
    pub(super) fn pass(&self, time: Duration) {
        self.mono.fetch_add(u64::try_from(time.as_nanos()).unwrap(), Ordering::Relaxed);
        self.jump(i64::try_from(time.as_millis()).unwrap());
    }

    /// Somebody sets the wall clock.
    pub(super) fn jump(&self, by_ms: i64) {
        self.wall.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for VirtualClock {
    fn mono(&self) -> Mono {
        Mono(self.mono.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Wall {
        Wall(self.wall.load(Ordering::Relaxed))
    }
}
