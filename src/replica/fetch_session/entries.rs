//! The partitions of a fetch, and which of them are worth looking at.
//!
//! An entry is *dirty* when its answer would differ from the last one: it is named in this request, its partition moved or
//! changed (told through [`Marks`]), its last answer was an error, or something was left behind. Only dirty entries are
//! read. An entry with records in the answer goes to the tail, so that no partition starves another when an answer is cut
//! by size (`FetchSession.partitionMap`'s order).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::model::topic::{TopicId, TopicName};
use crate::replica::watchers::{Interest, Marks, Watchers};

/// How a client names a topic.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TopicKey {
    Name(TopicName),
    Id(TopicId),
}

/// One partition of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchPartition {
    pub partition: i32,
    pub fetch_offset: i64,
    /// Bytes; the first batch is returned even if it is larger.
    pub max_bytes: i32,
    /// -1: not known to the client.
    pub current_leader_epoch: i32,
    /// -1: not known to the client.
    pub last_fetched_epoch: i32,
    /// The follower's; -1 from consumers.
    pub log_start_offset: i64,
}

/// What is remembered of a partition.
#[derive(Debug)]
pub struct Entry {
    pub topic: TopicKey,
    pub wanted: FetchPartition,
    /// As last answered; -1 before the first answer and after an error, so that the next one differs.
    high_watermark: i64,
    log_start: i64,
    watched: Option<Arc<Watchers>>,
    is_dirty: bool,
    /// The topic that the name meant when it was last resolved.
    meant: Option<TopicId>,
}

/// What a look at a partition found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Seen {
    pub is_error: bool,
    pub is_diverging: bool,
    /// Bytes of records in the answer.
    pub bytes: usize,
    /// There is more to read than the limits allowed.
    pub is_cut: bool,
    pub high_watermark: i64,
    pub log_start: i64,
}

/// The entries of one session or of one request.
#[derive(Debug)]
pub struct Entries {
    /// By slot; bounded by the request's size, and in a session by [`Self::SESSION_LIMIT`].
    slots: Vec<Option<Entry>>,
    free: Vec<u32>,
    index: HashMap<(TopicKey, i32), u32>,
    /// Each slot at most once.
    dirty: VecDeque<u32>,
    marks: Arc<Marks>,
    interest: Interest,
    generation: Option<u64>,
}

impl Entries {
    /// A fetch of more partitions than this gets no session.
    pub const SESSION_LIMIT: usize = 200_000;

    pub fn new(interest: Interest) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            index: HashMap::new(),
            dirty: VecDeque::new(),
            marks: Arc::default(),
            interest,
            generation: None,
        }
    }

    pub fn len(&self) -> usize {
        self.index.len()
    }

    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Where the partitions of this fetch leave their marks.
    pub fn marks(&self) -> &Arc<Marks> {
        &self.marks
    }

    pub fn get(&self, slot: u32) -> Option<&Entry> {
        self.slots.get(usize::try_from(slot).ok()?)?.as_ref()
    }

    /// Names a partition, new or again: it becomes dirty. A partition named twice counts as named last.
    pub fn put(&mut self, topic: TopicKey, wanted: FetchPartition) {
        let key = (topic, wanted.partition);
        let slot = match self.index.get(&key) {
            Some(&slot) => {
                if let Some(entry) = self.entry_mut(slot) {
                    entry.wanted = wanted;
                }
                slot
            }
            None => self.insert(key, wanted),
        };
        self.touch(slot);
    }

    fn insert(&mut self, key: (TopicKey, i32), wanted: FetchPartition) -> u32 {
        let entry = Entry {
            topic: key.0.clone(),
            wanted,
            high_watermark: -1,
            log_start: -1,
            watched: None,
            is_dirty: false,
            meant: None,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None => {
                self.slots.push(None);
                u32::try_from(self.slots.len() - 1).unwrap_or(u32::MAX)
            }
        };
        if let Some(place) = usize::try_from(slot).ok().and_then(|at| self.slots.get_mut(at)) {
            *place = Some(entry);
        }
        self.index.insert(key, slot);
        slot
    }

    /// The client no longer wants this partition.
    pub fn forget(&mut self, topic: TopicKey, partition: i32) {
        let Some(slot) = self.index.remove(&(topic, partition)) else { return };
        if let Some(entry) = usize::try_from(slot).ok().and_then(|at| self.slots.get_mut(at)).and_then(Option::take) {
            if entry.is_dirty {
                self.dirty.retain(|dirty| *dirty != slot);
            }
            if let Some(watchers) = entry.watched {
                watchers.unwatch(&self.marks, slot);
            }
            self.free.push(slot);
        }
    }

    /// Another kind of reader than before goes on with this session.
    pub fn read_as(&mut self, interest: Interest) {
        if self.interest != interest {
            self.interest = interest;
            for slot in self.occupied() {
                self.unwatch(slot);
                self.touch(slot);
            }
        }
    }

    /// Takes the marks that partitions have left. Call it before looking, and look at partitions only afterwards.
    pub fn take_marks(&mut self) {
        let taken = self.marks.take();
        let slots = if taken.all { self.occupied() } else { taken.slots };
        for slot in slots {
            self.touch(slot);
        }
    }

    /// Everything is worth a look: rights may have changed.
    pub fn touch_all(&mut self) {
        for slot in self.occupied() {
            self.touch(slot);
        }
    }

    /// The entries to look at, in order.
    pub fn dirty(&self) -> impl Iterator<Item = (u32, &Entry)> {
        self.dirty.iter().filter_map(|slot| Some((*slot, self.get(*slot)?)))
    }

    /// The entry's topic is `id` now. False if it was another before: a topic deleted and made again is not the one that
    /// was fetched from, and is said to be missing once.
    pub fn means(&mut self, slot: u32, id: TopicId) -> bool {
        self.entry_mut(slot).is_none_or(|entry| entry.meant.replace(id).is_none_or(|before| before == id))
    }

    /// By which generation of the rules the answers are judged. If it has moved, everything is worth a look.
    pub fn judged_by(&mut self, generation: u64) {
        if self.generation != Some(generation) && self.generation.replace(generation).is_some() {
            self.touch_all();
        }
    }

    /// Has `slot` marked when the partition behind `watchers` moves. Look at the partition after this call.
    pub fn watch(&mut self, slot: u32, watchers: &Arc<Watchers>) {
        let (marks, interest) = (Arc::clone(&self.marks), self.interest);
        let Some(entry) = self.entry_mut(slot) else { return };
        if entry.watched.as_ref().is_some_and(|known| Arc::ptr_eq(known, watchers)) {
            return;
        }
        if let Some(old) = entry.watched.replace(Arc::clone(watchers)) {
            old.unwatch(&marks, slot);
        }
        watchers.watch(&marks, slot, interest);
    }

    /// The partition is not there: nothing can mark this entry.
    pub fn unwatch(&mut self, slot: u32) {
        let marks = Arc::clone(&self.marks);
        if let Some(watchers) = self.entry_mut(slot).and_then(|entry| entry.watched.take()) {
            watchers.unwatch(&marks, slot);
        }
    }

    /// `CachedPartition.maybeUpdateResponseData`: must an answer mention this partition?
    pub fn differs(&self, slot: u32, seen: &Seen) -> bool {
        self.get(slot).is_some_and(|entry| {
            seen.bytes > 0
                || seen.is_error
                || seen.is_diverging
                || entry.high_watermark != seen.high_watermark
                || entry.log_start != seen.log_start
        })
    }

    /// Looked at, and the fetch goes on waiting: what has nothing to say needs no second look.
    pub fn settle_waiting(&mut self, seen: impl IntoIterator<Item = (u32, Seen)>) {
        for (slot, seen) in seen {
            let keep = self.differs(slot, &seen) || seen.is_cut;
            if let Some(entry) = self.entry_mut(slot) {
                entry.is_dirty = keep;
            }
        }
        self.drop_clean();
    }

    /// Looked at, and answered.
    pub fn settle_answered(&mut self, seen: impl IntoIterator<Item = (u32, Seen)>) {
        let mut tail = Vec::new();
        for (slot, seen) in seen {
            let Some(entry) = self.entry_mut(slot) else { continue };
            if seen.is_error {
                entry.high_watermark = -1;
            } else {
                entry.high_watermark = seen.high_watermark;
                entry.log_start = seen.log_start;
            }
            // What was sent is sent again until the client names the next offset.
            let keep = seen.is_error || seen.is_diverging || seen.bytes > 0 || seen.is_cut;
            let was_dirty = std::mem::replace(&mut entry.is_dirty, keep && seen.bytes == 0);
            if seen.bytes > 0 {
                tail.push(slot);
            } else if keep && !was_dirty {
                self.dirty.push_back(slot);
            }
        }
        self.drop_clean();
        for slot in tail {
            self.touch(slot);
        }
    }

    fn drop_clean(&mut self) {
        let slots = &self.slots;
        self.dirty.retain(|slot| {
            let entry = usize::try_from(*slot).ok().and_then(|at| slots.get(at)).and_then(Option::as_ref);
            entry.is_some_and(|entry| entry.is_dirty)
        });
    }

    fn touch(&mut self, slot: u32) {
        if let Some(entry) = self.entry_mut(slot)
            && !std::mem::replace(&mut entry.is_dirty, true)
        {
            self.dirty.push_back(slot);
        }
    }

    fn entry_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.slots.get_mut(usize::try_from(slot).ok()?)?.as_mut()
    }

    fn occupied(&self) -> Vec<u32> {
        (0..).zip(&self.slots).filter(|(_, entry)| entry.is_some()).map(|(slot, _)| slot).collect()
    }
}

impl Drop for Entries {
    fn drop(&mut self) {
        for slot in self.occupied() {
            self.unwatch(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::doorbell::Wakes;
    use crate::replica::watchers::Advance;

    fn key(name: &str) -> TopicKey {
        TopicKey::Name(name.into())
    }

    fn partition(partition: i32, fetch_offset: i64) -> FetchPartition {
        FetchPartition {
            partition,
            fetch_offset,
            max_bytes: 1000,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            log_start_offset: -1,
        }
    }

    fn dirty(entries: &Entries) -> Vec<i32> {
        entries.dirty().map(|(_, entry)| entry.wanted.partition).collect()
    }

    fn seen(bytes: usize, high_watermark: i64) -> Seen {
        Seen { bytes, high_watermark, ..Seen::default() }
    }

    #[test]
    fn records_send_a_partition_to_the_tail() {
        let mut entries = Entries::new(Interest::HighWatermark);
        (0..3).for_each(|at| entries.put(key("t"), partition(at, 0)));
        assert_eq!(dirty(&entries), [0, 1, 2]);
        let cut = Seen { is_cut: true, ..seen(0, 4) };
        entries.settle_answered([(0, seen(100, 4)), (1, cut), (2, cut)]);
        assert_eq!(dirty(&entries), [1, 2, 0]);
        entries.settle_answered([(1, seen(100, 4)), (2, cut), (0, cut)]);
        assert_eq!(dirty(&entries), [2, 0, 1]);
    }

    #[test]
    fn what_has_nothing_to_say_is_looked_at_once() {
        let mut entries = Entries::new(Interest::HighWatermark);
        entries.put(key("t"), partition(0, 4));
        assert!(entries.differs(0, &seen(0, 4)), "never answered");
        entries.settle_answered([(0, seen(0, 4))]);
        assert_eq!(dirty(&entries), [0; 0]);
        assert!(!entries.differs(0, &seen(0, 4)));
        assert!(entries.differs(0, &seen(0, 5)));
        // An error is repeated until it is gone, and its end is told.
        entries.put(key("t"), partition(0, 99));
        entries.settle_answered([(0, Seen { is_error: true, ..seen(0, -1) })]);
        assert_eq!(dirty(&entries), [0]);
        assert!(entries.differs(0, &seen(0, 4)));
    }

    #[test]
    fn a_moved_high_watermark_waits_for_the_next_answer() {
        let mut entries = Entries::new(Interest::HighWatermark);
        entries.put(key("t"), partition(0, 4));
        entries.settle_answered([(0, seen(0, 4))]);
        entries.touch_all();
        entries.settle_waiting([(0, seen(0, 5))]);
        assert_eq!(dirty(&entries), [0]);
        entries.settle_waiting([(0, seen(0, 4))]);
        assert_eq!(dirty(&entries), [0; 0]);
    }

    #[test]
    fn marks_make_dirty_until_forgotten() {
        let watchers = Arc::new(Watchers::default());
        let mut entries = Entries::new(Interest::HighWatermark);
        entries.put(key("t"), partition(0, 4));
        entries.put(key("u"), partition(0, 4));
        entries.watch(0, &watchers);
        entries.settle_answered([(0, seen(0, 4)), (1, seen(0, 4))]);
        watchers.advanced(Advance { high_watermark: Some(10), ..Advance::default() }, &mut Wakes::default());
        entries.take_marks();
        assert_eq!(entries.dirty().map(|(slot, _)| slot).collect::<Vec<_>>(), [0]);
        entries.forget(key("t"), 0);
        assert!(watchers.is_empty());
        assert_eq!(dirty(&entries), [0; 0]);
        entries.put(key("v"), partition(7, 0));
        assert_eq!(entries.dirty().map(|(slot, _)| slot).collect::<Vec<_>>(), [0], "the slot is used again");
        entries.watch(0, &watchers);
        drop(entries);
        assert!(watchers.is_empty());
    }

    #[test]
    fn named_twice_counts_as_named_last() {
        let mut entries = Entries::new(Interest::HighWatermark);
        entries.put(key("t"), partition(0, 0));
        entries.put(key("t"), partition(0, 26));
        assert_eq!(entries.len(), 1);
        assert_eq!(entries.get(0).unwrap().wanted.fetch_offset, 26);
    }
}
