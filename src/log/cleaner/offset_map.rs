//! Which offset a key was last seen at (`SkimpyOffsetMap`): a fixed table of hashes, so that its memory is known.
//!
//! Two keys with the same hash would be one key, and the older record lost. Kafka takes MD5, where a client can make two
//! such keys; half of a SHA-256 it can't.

use aws_lc_rs::digest::{SHA256, digest};

use crate::log::width::to_usize;

/// Bytes of a slot: hash and offset.
pub const SLOT_BYTES: u64 = 24;

/// The memory of one compaction (`log.cleaner.dedupe.buffer.size`, `log.cleaner.io.buffer.load.factor`).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MapLimits {
    /// At most so many slots of [`SLOT_BYTES`] each; at least one.
    pub slots: u64,
    /// How full the table may get, in thousandths.
    pub load_per_mille: u64,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    hash: [u8; 16],
    /// -1: free.
    offset: i64,
}

/// Latest offsets by key.
#[derive(Debug)]
pub struct OffsetMap {
    slots: Vec<Slot>,
    keys: usize,
    keys_max: usize,
    latest_offset: i64,
}

impl OffsetMap {
    /// An empty map with room for `keys`, or as many of them as the limits allow, but for one at least.
    pub fn new(keys: u64, limits: MapLimits) -> Self {
        let load = limits.load_per_mille.clamp(1, 1000);
        let wanted = keys.saturating_mul(1000).div_ceil(load).saturating_add(1);
        let slots = wanted.min(limits.slots).max(2);
        // One slot stays free: it ends every search.
        let keys_max = (slots.saturating_mul(load) / 1000).clamp(1, slots - 1);
        let free = Slot { hash: [0; 16], offset: -1 };
        Self { slots: vec![free; to_usize(slots)], keys: 0, keys_max: to_usize(keys_max), latest_offset: -1 }
    }

    /// Every record up to here is in the map; -1 before the first.
    pub const fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// All up to `offset` was looked at.
    pub fn seen_to(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    /// Notes a key's newest offset. `false` when there is no room for another key.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = hash_of(key);
        let at = self.find(&hash);
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if slot.offset < 0 {
            if self.keys >= self.keys_max {
                return false;
            }
            self.keys += 1;
        }
        *slot = Slot { hash, offset };
        self.seen_to(offset);
        true
    }

    /// The newest offset of a key.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let found = self.slots.get(self.find(&hash_of(key)))?;
        (found.offset >= 0).then_some(found.offset)
    }

    /// Where this hash is, or would be.
    fn find(&self, hash: &[u8; 16]) -> usize {
        let count = self.slots.len();
        let start = hash.first_chunk::<8>().map_or(0, |first| u64::from_be_bytes(*first));
        let mut at = to_usize(start % crate::log::width::to_u64(count));
        while self.slots.get(at).is_some_and(|slot| slot.offset >= 0 && slot.hash != *hash) {
            at = (at + 1) % count;
        }
        at
    }
}

fn hash_of(key: &[u8]) -> [u8; 16] {
    let digest = digest(&SHA256, key);
    digest.as_ref().first_chunk::<16>().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: MapLimits = MapLimits { slots: 1 << 20, load_per_mille: 900 };

    #[test]
    fn a_key_has_its_newest_offset() {
        let mut map = OffsetMap::new(1000, WIDE);
        for offset in 0..3000_i64 {
            assert!(map.put(format!("key {}", offset % 1000).as_bytes(), offset));
        }
        assert_eq!(map.latest_offset(), 2999);
        for key in 0..1000 {
            assert_eq!(map.get(format!("key {key}").as_bytes()), Some(2000 + key));
        }
        assert_eq!(map.get(b"another"), None);
    }

    #[test]
    fn a_full_map_takes_only_keys_it_has() {
        for (slots, load_per_mille, room) in [(10, 500, 5), (10, 1000, 9), (0, 900, 1), (10, 0, 1)] {
            let mut map = OffsetMap::new(1 << 30, MapLimits { slots, load_per_mille });
            let put = (0..20_i64).take_while(|n| map.put(&n.to_be_bytes(), *n)).count();
            assert_eq!(put, room, "{slots} slots at {load_per_mille}");
            assert_eq!(map.latest_offset(), room as i64 - 1);
            assert!(map.put(&0_i64.to_be_bytes(), 50));
            assert_eq!(map.get(&0_i64.to_be_bytes()), Some(50));
            assert_eq!(map.get(&99_i64.to_be_bytes()), None);
        }
    }
}
