//! The bounded set of sessions (`FetchSessionCache`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;
use crate::replica::doorbell::Wakes;
use crate::replica::watchers::Interest;

use super::entries::{Entries, FetchPartition, TopicKey};
use super::{FetchContext, FetchSession, SessionError, SessionState};

/// All sessions of this broker, in at most `max.incremental.fetch.session.cache.slots` slots.
#[derive(Debug)]
pub struct FetchSessionCache {
    slots: usize,
    sessions: Mutex<HashMap<i32, Slot>>,
}

#[derive(Debug)]
struct Slot {
    session: Arc<FetchSession>,
    last_used: Mono,
    /// Partitions when last used: between two evictable sessions the larger one stays.
    size: usize,
}

/// The session part of a Fetch request, and what it names.
#[derive(Debug)]
pub struct FetchNames {
    pub session_id: i32,
    pub session_epoch: i32,
    pub uses_topic_ids: bool,
    pub interest: Interest,
    pub wanted: Vec<(TopicKey, FetchPartition)>,
    pub forgotten: Vec<(TopicKey, i32)>,
}

/// Who may have a session.
#[derive(Debug, Clone)]
pub struct SessionOwner {
    pub principal: KafkaPrincipal,
    /// A follower, by right of ClusterAction.
    pub privileged: bool,
}

impl FetchSessionCache {
    /// A session idle for longer may be evicted by any newcomer; a younger one only by a better one
    /// (`FetchSession.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
    const EVICTION: Duration = Duration::from_secs(120);
    /// One principal has at most this part of the slots: beyond it, its new sessions replace its own.
    const PRINCIPAL_SHARE: usize = 2;
    /// Partitions of all sessions together, some 200 bytes each. Where this is reached there are no new sessions, and one
    /// that grows ends: its client goes on without.
    pub const PARTITIONS_LIMIT: usize = 1_000_000;

    pub fn new(slots: usize) -> Self {
        Self { slots, sessions: Mutex::default() }
    }

    pub fn len(&self) -> usize {
        self.sessions.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// `FetchManager.newContext`: what this request is about.
    ///
    /// # Errors
    /// [`SessionError`]: the whole request is refused.
    pub fn context(&self, names: FetchNames, owner: &SessionOwner, now: Mono) -> Result<FetchContext, SessionError> {
        if matches!(names.session_epoch, FetchSession::INITIAL_EPOCH | FetchSession::FINAL_EPOCH) {
            self.close(names.session_id, owner);
            let is_final = names.session_epoch == FetchSession::FINAL_EPOCH;
            let entries = all(names);
            return Ok(if is_final { FetchContext::Sessionless(entries) } else { FetchContext::Full(entries) });
        }
        let mut sessions = self.sessions.lock();
        let slot = sessions
            .get_mut(&names.session_id)
            .filter(|slot| slot.session.principal == owner.principal)
            .ok_or(SessionError::NotFound)?;
        let session = Arc::clone(&slot.session);
        let mut state = session.lock();
        if state.epoch != names.session_epoch {
            return Err(SessionError::WrongEpoch);
        }
        if session.uses_topic_ids != names.uses_topic_ids {
            return Err(SessionError::TopicIds);
        }
        state.entries.read_as(names.interest);
        for (topic, partition) in &names.forgotten {
            state.entries.forget(topic.clone(), *partition);
        }
        for (topic, wanted) in &names.wanted {
            state.entries.put(topic.clone(), wanted.clone());
        }
        let (before, len) = (slot.size, state.entries.len());
        slot.size = len;
        slot.last_used = now;
        let is_too_large =
            len > Entries::SESSION_LIMIT || (len > before && partitions(&sessions) > Self::PARTITIONS_LIMIT);
        if len == 0 || is_too_large {
            sessions.remove(&names.session_id);
            drop(state);
            return Ok(FetchContext::Sessionless(all(names)));
        }
        let epoch = FetchSession::next_epoch(state.epoch);
        state.epoch = epoch;
        drop(state);
        Ok(FetchContext::Incremental { session, epoch })
    }

    /// Remembers the entries of a full fetch that is answered now. Returns the new session's id, or 0 when no slot could be
    /// had. `random` is drawn from until it gives an id that is positive and not taken.
    pub fn remember(
        &self,
        entries: Entries,
        uses_topic_ids: bool,
        owner: &SessionOwner,
        now: Mono,
        mut random: impl FnMut() -> i32,
    ) -> i32 {
        /// Ids are 31 random bits: so many draws fail only if the source of randomness has.
        const DRAWS: usize = 64;
        if entries.len() > Entries::SESSION_LIMIT {
            return FetchSession::NO_ID;
        }
        let mut sessions = self.sessions.lock();
        let size = entries.len();
        if partitions(&sessions) + size > Self::PARTITIONS_LIMIT {
            return FetchSession::NO_ID;
        }
        if !self.make_room(&mut sessions, owner, size, now) {
            return FetchSession::NO_ID;
        }
        let id = (0..DRAWS).map(|_| random()).find(|id| *id > 0 && !sessions.contains_key(id));
        let Some(id) = id else { return FetchSession::NO_ID };
        let session = FetchSession {
            id,
            principal: owner.principal.clone(),
            privileged: owner.privileged,
            created: now,
            uses_topic_ids,
            state: Mutex::new(SessionState { epoch: FetchSession::next_epoch(FetchSession::INITIAL_EPOCH), entries }),
        };
        sessions.insert(id, Slot { session: Arc::new(session), last_used: now, size });
        id
    }

    /// The rules of the authorizer have changed: every entry of every session is worth a look.
    pub fn authorization_changed(&self, wakes: &mut Wakes) {
        for slot in self.sessions.lock().values() {
            let marks = Arc::clone(slot.session.lock().entries.marks());
            marks.mark_all(wakes);
        }
    }

    fn close(&self, id: i32, owner: &SessionOwner) {
        let mut sessions = self.sessions.lock();
        if sessions.get(&id).is_some_and(|slot| slot.session.principal == owner.principal) {
            sessions.remove(&id);
        }
    }

    /// `FetchSessionCacheShard.tryEvict`, and a principal's share before it.
    fn make_room(&self, sessions: &mut HashMap<i32, Slot>, owner: &SessionOwner, size: usize, now: Mono) -> bool {
        if self.slots == 0 {
            return false;
        }
        let share = (self.slots / Self::PRINCIPAL_SHARE).max(1);
        let own = sessions.iter().filter(|(_, slot)| slot.session.principal == owner.principal);
        if !owner.privileged && own.clone().count() >= share {
            let oldest = own.min_by_key(|(_, slot)| slot.last_used).map(|(id, _)| *id);
            return oldest.is_some_and(|id| sessions.remove(&id).is_some());
        }
        if sessions.len() < self.slots {
            return true;
        }
        let idle = sessions
            .iter()
            .min_by_key(|(_, slot)| slot.last_used)
            .filter(|(_, slot)| now.since(slot.last_used) > Self::EVICTION);
        let worse = || {
            let evictable = sessions.iter().filter(|(_, slot)| {
                let is_old = now.since(slot.session.created) > Self::EVICTION;
                is_old || (owner.privileged && !slot.session.privileged)
            });
            // A consumer's session gives way before a follower's, a small one before a large one.
            evictable
                .min_by_key(|(id, slot)| (slot.session.privileged, slot.size, **id))
                .filter(|(_, slot)| (slot.session.privileged, slot.size) < (owner.privileged, size))
        };
        let victim = idle.or_else(worse).map(|(id, _)| *id);
        victim.is_some_and(|id| sessions.remove(&id).is_some())
    }
}

/// Partitions of all sessions. As many steps as there are slots.
fn partitions(sessions: &HashMap<i32, Slot>) -> usize {
    sessions.values().map(|slot| slot.size).sum()
}

fn all(names: FetchNames) -> Entries {
    let mut entries = Entries::new(names.interest);
    for (topic, wanted) in names.wanted {
        entries.put(topic, wanted);
    }
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn owner(name: &str) -> SessionOwner {
        SessionOwner { principal: KafkaPrincipal::user(name), privileged: false }
    }

    fn follower(name: &str) -> SessionOwner {
        SessionOwner { privileged: true, ..owner(name) }
    }

    fn wanted(topic: &str, partition: i32) -> (TopicKey, FetchPartition) {
        let wanted = FetchPartition {
            partition,
            fetch_offset: 0,
            max_bytes: 1,
            current_leader_epoch: -1,
            last_fetched_epoch: -1,
            log_start_offset: -1,
        };
        (TopicKey::Name(topic.into()), wanted)
    }

    fn names(session_id: i32, session_epoch: i32, wanted: Vec<(TopicKey, FetchPartition)>) -> FetchNames {
        FetchNames {
            session_id,
            session_epoch,
            uses_topic_ids: false,
            interest: Interest::HighWatermark,
            wanted,
            forgotten: Vec::new(),
        }
    }

    fn open(cache: &FetchSessionCache, owner: &SessionOwner, partitions: i32, now: u64, id: i32) -> i32 {
        let wanted = (0..partitions).map(|at| wanted("t", at)).collect();
        match cache.context(names(0, 0, wanted), owner, Mono(now)).unwrap() {
            FetchContext::Full(entries) => cache.remember(entries, false, owner, Mono(now), || id),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn epochs_go_up_and_wrong_ones_are_refused() {
        let (cache, alice) = (FetchSessionCache::new(10), owner("alice"));
        assert_eq!(open(&cache, &alice, 2, 0, 7), 7);
        for epoch in 1..4 {
            let FetchContext::Incremental { session, epoch: next } =
                cache.context(names(7, epoch, vec![]), &alice, Mono(0)).unwrap()
            else {
                panic!("not incremental")
            };
            assert_eq!((session.id(), next, session.lock().entries.len()), (7, epoch + 1, 2));
        }
        let refused = |id, epoch| cache.context(names(id, epoch, vec![]), &alice, Mono(0)).unwrap_err();
        assert_eq!(refused(7, 9), SessionError::WrongEpoch);
        assert_eq!(refused(8, 1), SessionError::NotFound);
        assert_eq!(refused(0, 5), SessionError::NotFound);
        assert_eq!(refused(0, -5), SessionError::NotFound);
        let by_id = FetchNames { uses_topic_ids: true, ..names(7, 4, vec![]) };
        assert_eq!(cache.context(by_id, &alice, Mono(0)).unwrap_err(), SessionError::TopicIds);
        assert_eq!(FetchSession::next_epoch(i32::MAX), 1);
    }

    #[test]
    fn a_session_belongs_to_its_principal() {
        let (cache, alice, eve) = (FetchSessionCache::new(10), owner("alice"), owner("eve"));
        open(&cache, &alice, 1, 0, 7);
        assert_eq!(cache.context(names(7, 1, vec![]), &eve, Mono(0)).unwrap_err(), SessionError::NotFound);
        cache.context(names(7, -1, vec![]), &eve, Mono(0)).unwrap();
        assert_eq!(cache.len(), 1, "nor can another close it");
        cache.context(names(7, -1, vec![]), &alice, Mono(0)).unwrap();
        assert!(cache.is_empty());
    }

    #[test]
    fn an_emptied_session_ends() {
        let (cache, alice) = (FetchSessionCache::new(10), owner("alice"));
        open(&cache, &alice, 1, 0, 7);
        let forget = FetchNames { forgotten: vec![(TopicKey::Name("t".into()), 0)], ..names(7, 1, vec![]) };
        assert!(
            matches!(cache.context(forget, &alice, Mono(0)).unwrap(), FetchContext::Sessionless(e) if e.is_empty())
        );
        assert!(cache.is_empty());
    }

    #[test]
    fn one_principal_cannot_take_every_slot() {
        let (cache, alice, eve) = (FetchSessionCache::new(4), owner("alice"), owner("eve"));
        open(&cache, &alice, 1, 0, 1);
        for id in 2..100 {
            assert_eq!(open(&cache, &eve, 50, 0, id), id);
        }
        assert_eq!(cache.len(), 3);
        assert!(cache.context(names(1, 1, vec![]), &alice, Mono(0)).is_ok());
    }

    #[test]
    fn all_sessions_together_are_bounded() {
        let (cache, alice) = (FetchSessionCache::new(1000), owner("alice"));
        let limit = i32::try_from(Entries::SESSION_LIMIT).unwrap();
        let fits = FetchSessionCache::PARTITIONS_LIMIT / Entries::SESSION_LIMIT;
        for id in 1..=i32::try_from(fits).unwrap() {
            assert_eq!(open(&cache, &alice, limit, 0, id), id);
        }
        assert_eq!(open(&cache, &owner("bob"), 1, 0, 99), 0);
        let grown = names(1, 1, vec![wanted("u", 0)]);
        assert!(matches!(cache.context(grown, &alice, Mono(0)).unwrap(), FetchContext::Sessionless(_)));
        assert_eq!(open(&cache, &owner("bob"), 1, 0, 99), 99, "the session that grew has made room");
    }

    #[test]
    fn a_full_cache_keeps_what_is_in_use() {
        let cache = FetchSessionCache::new(2);
        open(&cache, &owner("a"), 5, 0, 1);
        open(&cache, &owner("b"), 5, MINUTE, 2);
        assert_eq!(open(&cache, &owner("c"), 9, MINUTE, 3), 0, "both are young");
        assert_eq!(open(&cache, &follower("broker"), 1, MINUTE, 3), 3, "a follower replaces a consumer");
        assert_eq!(open(&cache, &owner("c"), 9, MINUTE * 10, 4), 4, "an idle one gives way");
    }

    #[test]
    fn an_old_small_session_gives_way_to_a_larger_one() {
        let (cache, alice, bob) = (FetchSessionCache::new(2), owner("a"), owner("b"));
        open(&cache, &alice, 5, 0, 1);
        open(&cache, &bob, 7, 0, 2);
        cache.context(names(1, 1, vec![]), &alice, Mono(MINUTE * 3)).unwrap();
        cache.context(names(2, 1, vec![]), &bob, Mono(MINUTE * 3)).unwrap();
        assert_eq!(open(&cache, &owner("c"), 5, MINUTE * 3, 3), 0);
        assert_eq!(open(&cache, &owner("c"), 6, MINUTE * 3, 3), 3);
        assert!(cache.context(names(1, 2, vec![]), &alice, Mono(0)).is_err(), "the smaller one went");
    }
}
