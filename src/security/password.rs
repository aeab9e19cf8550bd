//! Passwords at rest: argon2id, and who may hash when.
//!
//! One check costs 19 MiB and 18 ms (OWASP's floor), so checks are counted: as many at once as there are cores, a bounded
//! queue that serves addresses in turn, and a cache of what was right a moment ago. Nothing here starts a thread: a
//! [`PasswordCheck`] is run where blocking is allowed, by whoever holds a [`HashPermit`].

use std::cmp::Ordering;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::{constant_time, hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::model::secret::Secret;

/// What one hash costs: memory in KiB, passes, lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HashCost {
    pub memory_kib: u32,
    pub passes: u32,
    pub lanes: u32,
}

impl HashCost {
    /// What new hashes are made with (OWASP: m=19 MiB, t=2, p=1).
    pub const DEFAULT: Self = Self { memory_kib: 19_456, passes: 2, lanes: 1 };
    /// A stored hash that asks for more is refused: it would be a way to stop the broker.
    pub const MAX: Self = Self { memory_kib: 262_144, passes: 16, lanes: 16 };

    fn work(self) -> u64 {
        u64::from(self.memory_kib).saturating_mul(u64::from(self.passes))
    }
}

impl PartialOrd for HashCost {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for HashCost {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.work(), self.lanes, self.passes).cmp(&(other.work(), other.lanes, other.passes))
    }
}

/// The text starts like a hash, but is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFormatError {
    #[error("the password is empty")]
    Empty,
    #[error("not of the form $argon2id$v=19$m=…,t=…,p=…$salt$hash")]
    Malformed,
    #[error("the hash asks for more than m=262144,t=16,p=16")]
    TooCostly,
}

/// No hash could be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be hashed")]
pub struct HashError;

/// A password as it is kept in memory.
#[derive(Clone)]
pub struct StoredPassword(Kind);

#[derive(Clone)]
enum Kind {
    /// Of a clear text only a keyed hash is kept, so that comparing takes the same time whatever is compared.
    Clear(Arc<ClearPassword>),
    Hashed(Arc<HashedPassword>),
}

impl fmt::Debug for StoredPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Clear(_) => "Clear(********)",
            Kind::Hashed(_) => "Hashed(********)",
        })
    }
}

struct ClearPassword {
    key: hmac::Key,
    tag: hmac::Tag,
}

/// argon2id, version 1.3.
struct HashedPassword {
    cost: HashCost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

const HASH_PREFIX: &str = "$argon2id$";
const SALT_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

impl StoredPassword {
    /// Clear text, or the PHC string of an argon2id hash.
    ///
    /// # Errors
    /// If the text is empty, starts like a hash and is none, or asks for too much.
    pub fn parse(text: &Secret) -> Result<Self, PasswordFormatError> {
        let text = text.expose();
        if text.is_empty() {
            return Err(PasswordFormatError::Empty);
        }
        if text.starts_with(HASH_PREFIX) {
            return HashedPassword::parse(text).map(|h| Self(Kind::Hashed(Arc::new(h))));
        }
        Ok(Self(Kind::Clear(Arc::new(ClearPassword::new(text.as_bytes())))))
    }

    pub fn cost(&self) -> Option<HashCost> {
        match &self.0 {
            Kind::Clear(_) => None,
            Kind::Hashed(hashed) => Some(hashed.cost),
        }
    }
}

/// Zeros without randomness.
pub(super) fn random_key() -> [u8; 32] {
    let mut key = [0; 32];
    let _ = rand::fill(&mut key);
    key
}

impl ClearPassword {
    /// Without randomness the key is a constant, and the comparison still right.
    fn new(password: &[u8]) -> Self {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random_key());
        let tag = hmac::sign(&key, password);
        Self { key, tag }
    }

    fn matches(&self, password: &[u8]) -> bool {
        hmac::verify(&self.key, password, self.tag.as_ref()).is_ok()
    }
}

impl HashedPassword {
    fn parse(text: &str) -> Result<Self, PasswordFormatError> {
        use PasswordFormatError::Malformed;
        let mut parts = text.strip_prefix(HASH_PREFIX).ok_or(Malformed)?.split('$');
        let (Some("v=19"), Some(cost), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Malformed);
        };
        let mut numbers = cost.split(',');
        let mut number = |key: &str| -> Result<u32, PasswordFormatError> {
            let text = numbers.next().and_then(|n| n.strip_prefix(key)).ok_or(Malformed)?;
            text.parse().map_err(|_| Malformed)
        };
        let cost = HashCost { memory_kib: number("m=")?, passes: number("t=")?, lanes: number("p=")? };
        if numbers.next().is_some() {
            return Err(Malformed);
        }
        let max = HashCost::MAX;
        if cost.memory_kib > max.memory_kib || cost.passes > max.passes || cost.lanes > max.lanes {
            return Err(PasswordFormatError::TooCostly);
        }
        let decode = |text| STANDARD_NO_PAD.decode(text).map_err(|_| Malformed);
        let (salt, hash) = (decode(salt)?, decode(hash)?);
        if !(8..=64).contains(&salt.len()) || !(16..=64).contains(&hash.len()) || cost.params(hash.len()).is_err() {
            return Err(Malformed);
        }
        Ok(Self { cost, salt, hash })
    }

    fn matches(&self, password: &[u8]) -> bool {
        let hash = self.cost.hash(password, &self.salt, self.hash.len());
        hash.is_ok_and(|h| constant_time::verify_slices_are_equal(&h, &self.hash).is_ok())
    }
}

impl HashCost {
    fn params(self, length: usize) -> Result<Params, HashError> {
        Params::new(self.memory_kib, self.passes, self.lanes, Some(length)).map_err(|_| HashError)
    }

    fn hash(self, password: &[u8], salt: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, HashError> {
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, self.params(length)?);
        let mut out = Zeroizing::new(vec![0; length]);
        argon2.hash_password_into(password, salt, &mut out).map_err(|_| HashError)?;
        Ok(out)
    }

    /// Does the work of one hash and keeps nothing.
    fn waste(self, password: &[u8]) {
        let _ = std::hint::black_box(self.hash(password, &[0; SALT_BYTES], HASH_BYTES));
    }
}

/// The PHC string of a password: what a JAAS file may hold instead of the clear text. Blocks for tens of milliseconds.
///
/// # Errors
/// If the system gives no randomness or no memory.
pub fn hash_password(password: &Secret) -> Result<String, HashError> {
    let mut salt = [0; SALT_BYTES];
    rand::fill(&mut salt).map_err(|_| HashError)?;
    let cost = HashCost::DEFAULT;
    let hash = cost.hash(password.expose().as_bytes(), &salt, HASH_BYTES)?;
    let HashCost { memory_kib, passes, lanes } = cost;
    let (salt, hash) = (STANDARD_NO_PAD.encode(salt), STANDARD_NO_PAD.encode(&*hash));
    Ok(format!("{HASH_PREFIX}v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}"))
}

/// Work that blocks: one comparison that costs the same for a right, a wrong and an unknown user.
#[derive(Debug)]
pub struct PasswordCheck {
    /// The user's, or another's.
    stored: Option<StoredPassword>,
    is_known: bool,
    /// What a check costs on this listener, if it costs anything.
    cost: Option<HashCost>,
    password: Secret,
}

impl PasswordCheck {
    pub(super) fn new(
        stored: Option<StoredPassword>,
        is_known: bool,
        cost: Option<HashCost>,
        password: Secret,
    ) -> Self {
        Self { stored, is_known, cost, password }
    }

    /// False where running takes microseconds and may happen anywhere.
    pub fn is_costly(&self) -> bool {
        self.cost.is_some()
    }

    /// Is it the user's password?
    pub fn run(&self) -> bool {
        let password = self.password.expose().as_bytes();
        let matches = match self.stored.as_ref().map(|s| &s.0) {
            Some(Kind::Hashed(hashed)) => hashed.matches(password),
            other => {
                if let Some(cost) = self.cost {
                    cost.waste(password);
                }
                matches!(other, Some(Kind::Clear(clear)) if clear.matches(password))
            }
        };
        matches && self.is_known
    }
}

/// Too many checks are waiting, in all or from this address. Close the connection without a word: clients try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many password checks waiting")]
pub struct GateFull;

/// Lets so many checks run at once; the others wait, and addresses take turns.
#[derive(Debug)]
pub struct HashGate {
    state: Mutex<GateState>,
    limit: usize,
}

#[derive(Debug, Default)]
struct GateState {
    running: usize,
    next_id: u64,
    waiting: HashMap<u64, Waiting>,
    /// Ids in order of arrival, by address; ids that gave up are skipped.
    queues: HashMap<IpAddr, VecDeque<u64>>,
    turns: VecDeque<IpAddr>,
}

#[derive(Debug)]
struct Waiting {
    waker: Waker,
    granted: bool,
}

impl HashGate {
    /// Waiting checks, from all addresses.
    pub const MAX_WAITING: usize = 4096;
    /// Waiting checks from one address.
    pub const MAX_WAITING_PER_ADDRESS: usize = 1024;

    /// `limit`: checks at once; the number of cores.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), limit: limit.max(1) })
    }

    /// Waits for a turn. Whoever waits brings the deadline.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Enter {
        Enter { gate: Arc::clone(self), address, id: None }
    }
}

impl GateState {
    fn enqueue(&mut self, address: IpAddr, waker: Waker) -> Result<u64, GateFull> {
        let queue = self.queues.entry(address).or_default();
        let full = self.waiting.len() >= HashGate::MAX_WAITING || queue.len() >= HashGate::MAX_WAITING_PER_ADDRESS;
        if full {
            return Err(GateFull);
        }
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        if queue.is_empty() {
            self.turns.push_back(address);
        }
        queue.push_back(id);
        self.waiting.insert(id, Waiting { waker, granted: false });
        Ok(id)
    }

    /// Hands a finished check's place to the next address in turn.
    fn release(&mut self) {
        while let Some(address) = self.turns.pop_front() {
            let Some(queue) = self.queues.get_mut(&address) else { continue };
            let next = queue.pop_front();
            if queue.is_empty() {
                self.queues.remove(&address);
            } else {
                self.turns.push_back(address);
            }
            if let Some(waiting) = next.and_then(|id| self.waiting.get_mut(&id)) {
                waiting.granted = true;
                waiting.waker.wake_by_ref();
                return;
            }
        }
        self.running = self.running.saturating_sub(1);
    }

    fn give_up(&mut self, address: IpAddr, id: u64) {
        match self.waiting.remove(&id) {
            Some(Waiting { granted: true, .. }) => self.release(),
            Some(_) => {
                if let Some(queue) = self.queues.get_mut(&address) {
                    queue.retain(|other| *other != id);
                    if queue.is_empty() {
                        self.queues.remove(&address);
                        self.turns.retain(|other| *other != address);
                    }
                }
            }
            None => {}
        }
    }
}

/// Future of a [`HashPermit`]. Dropping it gives the place in the queue up.
#[derive(Debug)]
pub struct Enter {
    gate: Arc<HashGate>,
    address: IpAddr,
    id: Option<u64>,
}

impl Future for Enter {
    type Output = Result<HashPermit, GateFull>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let gate = Arc::clone(&self.gate);
        let mut state = gate.state.lock();
        match self.id {
            None if state.running < gate.limit => state.running = state.running.saturating_add(1),
            None => match state.enqueue(self.address, context.waker().clone()) {
                Ok(id) => {
                    self.id = Some(id);
                    return Poll::Pending;
                }
                Err(full) => return Poll::Ready(Err(full)),
            },
            Some(id) => match state.waiting.get_mut(&id) {
                Some(waiting) if !waiting.granted => {
                    waiting.waker.clone_from(context.waker());
                    return Poll::Pending;
                }
                _ => {
                    state.waiting.remove(&id);
                    self.id = None;
                }
            },
        }
        drop(state);
        Poll::Ready(Ok(HashPermit(gate)))
    }
}

impl Drop for Enter {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.gate.state.lock().give_up(self.address, id);
        }
    }
}

/// The right to run one check. Goes with the check to the thread that runs it.
#[derive(Debug)]
pub struct HashPermit(Arc<HashGate>);

impl Drop for HashPermit {
    fn drop(&mut self) {
        self.0.state.lock().release();
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[test]
    fn a_hash_recognises_its_password_only() {
        let phc = hash_password(&Secret::new("right")).unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        let stored = StoredPassword::parse(&Secret::new(phc)).unwrap();
        let check = |p: &str| PasswordCheck::new(Some(stored.clone()), true, stored.cost(), Secret::new(p)).run();
        assert!(check("right"));
        assert!(!check("wrong"));
    }

    /// Made with the reference implementation: `echo -n password | argon2 somesalt -id -t 2 -k 64 -p 1 -e`.
    #[test]
    fn reads_hashes_of_other_tools() {
        let text = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        let stored = StoredPassword::parse(&Secret::new(text)).unwrap();
        assert!(PasswordCheck::new(Some(stored), true, None, Secret::new("password")).run());
    }

    #[test]
    fn refuses_malformed_and_costly_hashes() {
        for bad in [
            "$argon2id$",
            "$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$",
            "$argon2id$v=19$m=1,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
            "$argon2id$v=19$m=65536,t=0,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc",
        ] {
            assert_eq!(StoredPassword::parse(&Secret::new(bad)).unwrap_err(), PasswordFormatError::Malformed, "{bad}");
        }
        let costly = "$argon2id$v=19$m=4194304,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
        assert_eq!(StoredPassword::parse(&Secret::new(costly)).unwrap_err(), PasswordFormatError::TooCostly);
        assert_eq!(StoredPassword::parse(&Secret::new("")).unwrap_err(), PasswordFormatError::Empty);
        // Anything else is a clear text, other hashes too.
        assert_eq!(StoredPassword::parse(&Secret::new("$argon2i$x")).unwrap().cost(), None);
    }

    #[derive(Default)]
    struct Flag(Mutex<bool>);

    impl Wake for Flag {
        fn wake(self: Arc<Self>) {
            *self.0.lock() = true;
        }
    }

    fn poll(enter: &mut Enter) -> Poll<Result<HashPermit, GateFull>> {
        let waker = Arc::new(Flag::default()).into();
        Pin::new(enter).poll(&mut Context::from_waker(&waker))
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    #[test]
    fn addresses_take_turns_at_the_gate() {
        let gate = HashGate::new(1);
        let Poll::Ready(Ok(first)) = poll(&mut gate.enter(address(1))) else { panic!("the gate is empty") };
        let mut many: Vec<Enter> = (0..5).map(|_| gate.enter(address(1))).collect();
        assert!(many.iter_mut().all(|e| poll(e).is_pending()));
        let mut other = gate.enter(address(2));
        assert!(poll(&mut other).is_pending());
        drop(first);
        let Poll::Ready(Ok(second)) = poll(&mut many[0]) else { panic!("first come") };
        assert!(poll(&mut many[1]).is_pending());
        drop(second);
        assert!(poll(&mut many[1]).is_pending(), "it is the other address's turn");
        let Poll::Ready(Ok(third)) = poll(&mut other) else { panic!("its turn") };
        // One that was granted and one that still waits give up; nothing is lost.
        drop(third);
        drop(many.remove(1));
        drop(many.remove(2));
        let Poll::Ready(Ok(fourth)) = poll(&mut many[1]) else { panic!("the place of the one that gave up") };
        drop(fourth);
        drop(many);
        let state = gate.state.lock();
        assert_eq!((state.running, state.waiting.len(), state.queues.len(), state.turns.len()), (0, 0, 0, 0));
    }

    #[test]
    fn the_queue_is_bounded() {
        let gate = HashGate::new(1);
        let Poll::Ready(Ok(_running)) = poll(&mut gate.enter(address(1))) else { panic!("the gate is empty") };
        let mut waiting = Vec::new();
        for _ in 0..HashGate::MAX_WAITING_PER_ADDRESS {
            let mut enter = gate.enter(address(1));
            assert!(poll(&mut enter).is_pending());
            waiting.push(enter);
        }
        assert!(matches!(poll(&mut gate.enter(address(1))), Poll::Ready(Err(GateFull))));
        assert!(poll(&mut gate.enter(address(2))).is_pending(), "others still may");
    }
}
