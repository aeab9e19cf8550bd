//! The memory that requests may occupy, one budget for the whole broker (`queued.max.request.bytes`).
//!
//! Kafka's `SimpleMemoryPool` is the precedent: a request is admitted if *anything* is free, so no frame is ever too big
//! for the budget and nobody holds one part of a request while waiting for another; the overshoot is one frame. Beyond
//! Kafka: shares (a connection that holds an eighth, or a principal that holds half, waits until it gives some back) and
//! a reserve for small frames and for the requests that keep a cluster together.
//!
//! Who waits is served in order of arrival, except that somebody who waits for his own share stands in nobody's way.
//! Must not know: what a frame is, tokio, clocks.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::model::principal::KafkaPrincipal;

/// Frames up to this size may draw on the reserve.
pub const SMALL_FRAME_BYTES: u64 = 64 * 1024;

/// A connection that holds this part of a pool waits.
const CONNECTION_SHARE: u64 = 8;
/// A principal that holds this part of a pool waits.
const PRINCIPAL_SHARE: u64 = 2;
/// The part of the budget that is set aside for urgent requests.
const RESERVE_SHARE: u64 = 16;
/// The part of the machine's (or cgroup's) memory that the budget takes when no key says otherwise.
const MACHINE_SHARE: u64 = 4;

/// The budget when `queued.max.request.bytes` is not set: a quarter of the memory this process may use.
pub const fn default_budget_bytes(machine_bytes: u64) -> u64 {
    machine_bytes / MACHINE_SHARE
}

/// What a claim may draw on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Urgency {
    /// The common pool only.
    Ordinary,
    /// The common pool, else the reserve: frames of at most [`SMALL_FRAME_BYTES`], inter-broker, controller and group
    /// requests.
    Urgent,
}

/// The broker's memory for requests. Shared by all threads.
pub struct Budget {
    capacity: [u64; POOLS],
    state: Mutex<State>,
}

const COMMON: usize = 0;
const RESERVE: usize = 1;
const POOLS: usize = 2;

#[derive(Default)]
struct State {
    used: [u64; POOLS],
    /// One entry for every principal with an account: never more than there are connections.
    principals: HashMap<KafkaPrincipal, Principal>,
    /// In order of arrival; never more than one for each request that is being read.
    waiting: BTreeMap<u64, Waiter>,
    next_ticket: u64,
}

#[derive(Default)]
struct Principal {
    share: Arc<Share>,
    accounts: usize,
}

struct Waiter {
    account: Arc<Account>,
    bytes: u64,
    urgency: Urgency,
    granted: Option<usize>,
    waker: Option<Waker>,
}

/// What one holder has from each pool. Changed under the budget's lock only, which orders the changes.
#[derive(Default)]
struct Share([AtomicU64; POOLS]);

/// One connection's claim on the budget, bound to its principal.
pub struct Account {
    budget: Arc<Budget>,
    principal: KafkaPrincipal,
    of_connection: Share,
    of_principal: Arc<Share>,
}

/// Bytes that are taken; given back when dropped.
pub struct Reservation {
    account: Arc<Account>,
    pool: usize,
    bytes: u64,
}

/// A claim that waits for its turn. Dropping it gives up the place in the queue.
pub struct Reserve {
    account: Arc<Account>,
    bytes: u64,
    urgency: Urgency,
    ticket: Option<u64>,
}

impl Budget {
    /// A budget of `bytes`, of which a sixteenth is the reserve.
    pub fn new(bytes: u64) -> Arc<Self> {
        let reserve = (bytes / RESERVE_SHARE).max(1);
        let common = bytes.saturating_sub(reserve).max(1);
        Arc::new(Self { capacity: [common, reserve], state: Mutex::default() })
    }

    /// Opens the account of one connection that speaks for `principal`.
    pub fn account(self: &Arc<Self>, principal: &KafkaPrincipal) -> Arc<Account> {
        let mut state = self.state.lock();
        let entry = state.principals.entry(principal.clone()).or_default();
        entry.accounts += 1;
        let of_principal = Arc::clone(&entry.share);
        drop(state);
        Arc::new(Account {
            budget: Arc::clone(self),
            principal: principal.clone(),
            of_connection: Share::default(),
            of_principal,
        })
    }

    /// Bytes taken now, reserve included.
    pub fn used_bytes(&self) -> u64 {
        self.state.lock().used.iter().sum()
    }

    /// Bytes of the whole budget, reserve included.
    pub fn capacity_bytes(&self) -> u64 {
        self.capacity.iter().sum()
    }

    /// How many claims wait.
    pub fn waiting(&self) -> usize {
        self.state.lock().waiting.len()
    }

    /// The pool that admits this claim now.
    fn admits(&self, state: &State, account: &Account, urgency: Urgency) -> Option<usize> {
        let pools: &[usize] = match urgency {
            Urgency::Ordinary => &[COMMON],
            Urgency::Urgent => &[COMMON, RESERVE],
        };
        pools.iter().copied().find(|&pool| {
            let capacity = self.capacity[pool];
            state.used[pool] < capacity
                && account.of_connection.held(pool) < (capacity / CONNECTION_SHARE).max(1)
                && account.of_principal.held(pool) < (capacity / PRINCIPAL_SHARE).max(1)
        })
    }

    fn take(state: &mut State, account: &Account, pool: usize, bytes: u64) {
        state.used[pool] += bytes;
        account.of_connection.add(pool, bytes);
        account.of_principal.add(pool, bytes);
    }

    fn give_back(&self, account: &Account, pool: usize, bytes: u64) {
        let mut state = self.state.lock();
        state.used[pool] -= bytes;
        account.of_connection.sub(pool, bytes);
        account.of_principal.sub(pool, bytes);
        let woken = self.grant(&mut state);
        drop(state);
        woken.into_iter().for_each(Waker::wake);
    }

    /// Grants what can be granted, oldest claim first, until neither pool has anything left.
    fn grant(&self, state: &mut State) -> Vec<Waker> {
        let mut woken = Vec::new();
        if state.waiting.is_empty() {
            return woken;
        }
        let mut waiting = std::mem::take(&mut state.waiting);
        for waiter in waiting.values_mut().filter(|w| w.granted.is_none()) {
            if (0..POOLS).all(|pool| state.used[pool] >= self.capacity[pool]) {
                break;
            }
            if let Some(pool) = self.admits(state, &waiter.account, waiter.urgency) {
                Self::take(state, &waiter.account, pool, waiter.bytes);
                waiter.granted = Some(pool);
                woken.extend(waiter.waker.take());
            }
        }
        state.waiting = waiting;
        woken
    }
}

impl Account {
    /// Takes `bytes` if anything is free and no share is used up; never waits.
    pub fn try_reserve(self: &Arc<Self>, bytes: u64, urgency: Urgency) -> Option<Reservation> {
        let mut state = self.budget.state.lock();
        let pool = self.budget.admits(&state, self, urgency)?;
        Budget::take(&mut state, self, pool, bytes);
        Some(Reservation { account: Arc::clone(self), pool, bytes })
    }

    /// Takes `bytes` as soon as anything is free and no share is used up.
    pub fn reserve(self: &Arc<Self>, bytes: u64, urgency: Urgency) -> Reserve {
        Reserve { account: Arc::clone(self), bytes, urgency, ticket: None }
    }

    /// Bytes this connection holds.
    pub fn held_bytes(&self) -> u64 {
        (0..POOLS).map(|pool| self.of_connection.held(pool)).sum()
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let mut state = self.budget.state.lock();
        if let Some(entry) = state.principals.get_mut(&self.principal) {
            entry.accounts -= 1;
            if entry.accounts == 0 {
                state.principals.remove(&self.principal);
            }
        }
    }
}

impl Share {
    fn held(&self, pool: usize) -> u64 {
        self.0[pool].load(Ordering::Relaxed)
    }

    fn add(&self, pool: usize, bytes: u64) {
        self.0[pool].fetch_add(bytes, Ordering::Relaxed);
    }

    fn sub(&self, pool: usize, bytes: u64) {
        self.0[pool].fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Reservation {
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Gives back everything above `bytes`.
    pub fn shrink(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        if surplus > 0 {
            self.bytes = bytes;
            self.account.budget.give_back(&self.account, self.pool, surplus);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.account.budget.give_back(&self.account, self.pool, self.bytes);
        }
    }
}

impl Future for Reserve {
    type Output = Reservation;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Reservation> {
        let this = self.get_mut();
        let budget = &this.account.budget;
        let mut state = budget.state.lock();
        let pool = match this.ticket {
            // Whoever could have been served before us was served when something became free.
            None => budget.admits(&state, &this.account, this.urgency).inspect(|&pool| {
                Budget::take(&mut state, &this.account, pool, this.bytes);
            }),
            Some(ticket) => match state.waiting.get_mut(&ticket) {
                Some(Waiter { granted: Some(pool), .. }) => {
                    let pool = *pool;
                    state.waiting.remove(&ticket);
                    Some(pool)
                }
                Some(waiter) => {
                    waiter.waker = Some(cx.waker().clone());
                    return Poll::Pending;
                }
                None => None,
            },
        };
        if let Some(pool) = pool {
            this.ticket = None;
            let bytes = this.bytes;
            drop(state);
            return Poll::Ready(Reservation { account: Arc::clone(&this.account), pool, bytes });
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        let waiter = Waiter {
            account: Arc::clone(&this.account),
            bytes: this.bytes,
            urgency: this.urgency,
            granted: None,
            waker: Some(cx.waker().clone()),
        };
        state.waiting.insert(ticket, waiter);
        this.ticket = Some(ticket);
        Poll::Pending
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let waiter = self.account.budget.state.lock().waiting.remove(&ticket);
        if let Some(Waiter { granted: Some(pool), bytes, .. }) = waiter {
            self.account.budget.give_back(&self.account, pool, bytes);
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget").field("used", &self.used_bytes()).field("capacity", &self.capacity).finish()
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("principal", &self.principal).field("held", &self.held_bytes()).finish()
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation").field("bytes", &self.bytes).finish()
    }
}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("bytes", &self.bytes).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn poll(reserve: &mut Pin<&mut Reserve>) -> Option<Reservation> {
        match reserve.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(reservation) => Some(reservation),
            Poll::Pending => None,
        }
    }

    fn user(budget: &Arc<Budget>, name: &str) -> Arc<Account> {
        budget.account(&KafkaPrincipal::user(name))
    }

    #[test]
    fn a_frame_larger_than_the_budget_is_admitted_when_anything_is_free() {
        let budget = Budget::new(16 * MIB);
        let big = user(&budget, "a").try_reserve(100 * MIB, Urgency::Ordinary).unwrap();
        assert_eq!(budget.used_bytes(), 100 * MIB);
        assert!(user(&budget, "b").try_reserve(1, Urgency::Ordinary).is_none());
        drop(big);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn small_frames_have_a_reserve_when_the_pool_is_used_up() {
        let budget = Budget::new(16 * MIB);
        let _big = user(&budget, "a").try_reserve(100 * MIB, Urgency::Ordinary).unwrap();
        let account = user(&budget, "b");
        assert!(account.try_reserve(1000, Urgency::Ordinary).is_none());
        let small = account.try_reserve(1000, Urgency::Urgent);
        assert!(small.is_some());
    }

    #[test]
    fn a_connection_with_an_eighth_waits_and_blocks_nobody() {
        let budget = Budget::new(16 * MIB);
        let greedy = user(&budget, "a");
        let first = greedy.try_reserve(2 * MIB, Urgency::Ordinary).unwrap();
        let mut second = pin!(greedy.reserve(MIB, Urgency::Ordinary));
        assert!(poll(&mut second).is_none());
        assert!(user(&budget, "b").try_reserve(MIB, Urgency::Ordinary).is_some());
        let mut other = pin!(user(&budget, "c").reserve(MIB, Urgency::Ordinary));
        assert!(poll(&mut other).is_some(), "a waiter for his own share stands in nobody's way");
        drop(first);
        assert!(poll(&mut second).is_some());
    }

    #[test]
    fn a_principal_with_half_waits_over_all_its_connections() {
        let budget = Budget::new(16 * MIB);
        let held: Vec<_> = (0..8).filter_map(|_| user(&budget, "a").try_reserve(2 * MIB, Urgency::Ordinary)).collect();
        assert_eq!(held.len(), 4, "four times 2 MiB reach half of 15 MiB");
        assert!(user(&budget, "b").try_reserve(MIB, Urgency::Ordinary).is_some());
    }

    #[test]
    fn waiters_are_served_in_order_and_a_dropped_one_gives_up_its_place() {
        let budget = Budget::new(16 * MIB);
        let all = user(&budget, "a").try_reserve(20 * MIB, Urgency::Ordinary).unwrap();
        let mut first = Box::pin(user(&budget, "b").reserve(20 * MIB, Urgency::Ordinary));
        let mut second = pin!(user(&budget, "c").reserve(20 * MIB, Urgency::Ordinary));
        assert!(poll(&mut first.as_mut()).is_none());
        assert!(poll(&mut second).is_none());
        drop(all);
        assert!(poll(&mut second).is_none(), "the grant went to the first");
        drop(first);
        assert!(poll(&mut second).is_some());
        assert_eq!(budget.waiting(), 0);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn shrinking_gives_back_and_wakes() {
        let budget = Budget::new(16 * MIB);
        let mut all = user(&budget, "a").try_reserve(15 * MIB, Urgency::Ordinary).unwrap();
        let mut next = pin!(user(&budget, "b").reserve(MIB, Urgency::Ordinary));
        assert!(poll(&mut next).is_none());
        all.shrink(MIB);
        assert!(poll(&mut next).is_some());
        assert_eq!(all.bytes(), MIB);
    }

    #[test]
    fn a_principal_without_accounts_is_forgotten() {
        let budget = Budget::new(MIB);
        let account = user(&budget, "a");
        assert_eq!(budget.state.lock().principals.len(), 1);
        drop(account);
        assert_eq!(budget.state.lock().principals.len(), 0);
    }
}
