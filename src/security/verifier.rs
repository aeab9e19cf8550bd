//! The only place where a claim becomes an identity.
//!
//! A mechanism ends in a [`VerifyRequest`]; this answers it: at once for SCRAM and for what was right a moment ago, or
//! with a [`PasswordCheck`] to be run where blocking is allowed. Failures from one address for one user are answered
//! later and later.

use std::collections::hash_map::RandomState;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use parking_lot::Mutex;

use crate::model::listener::ListenerName;
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;

use super::credentials::{PlainUsers, ScramCredentials};
use super::password::{HashGate, PasswordCheck};
use super::sasl::cause::{Cause, Reason};
use super::sasl::session::{Environment, SaslEnvironment};
use super::sasl::{PasswordClaim, SaslMechanism, SaslServer, VerifyRequest};

/// What one listener offers: its mechanisms and who can log in by them.
#[derive(Debug)]
pub struct ListenerLogins {
    /// In the order that a refused handshake lists them.
    pub mechanisms: Vec<SaslMechanism>,
    plain: Arc<PlainUsers>,
    scram: Arc<ScramCredentials>,
    environment: SaslEnvironment,
}

impl ListenerLogins {
    /// `None` only if rsasl refuses its own configuration.
    pub fn new(mechanisms: Vec<SaslMechanism>, plain: Arc<PlainUsers>, environment: Environment) -> Option<Self> {
        let scram = Arc::clone(&environment.scram);
        Some(Self { mechanisms, plain, scram, environment: SaslEnvironment::new(environment)? })
    }

    /// Starts an exchange; `None` if the listener does not offer a mechanism of this name.
    pub fn start(&self, mechanism: &str) -> Option<SaslServer> {
        let mechanism = SaslMechanism::from_name(mechanism).filter(|m| self.mechanisms.contains(m))?;
        SaslServer::start(mechanism, &self.environment)
    }
}

/// Who can log in where, and the verifier that decides: one per broker.
#[derive(Debug)]
pub struct Logins {
    pub verifier: Verifier,
    listeners: HashMap<ListenerName, ListenerLogins>,
}

impl Logins {
    /// `listeners`: those that speak SASL.
    pub fn new(verifier: Verifier, listeners: impl IntoIterator<Item = (ListenerName, ListenerLogins)>) -> Self {
        Self { verifier, listeners: listeners.into_iter().collect() }
    }

    /// No listener speaks SASL.
    pub fn none() -> Self {
        Self::new(Verifier::new(1, FailureDelay::Growing), [])
    }

    /// Starts an exchange; `None` if the listener does not offer a mechanism of this name.
    pub fn start(&self, listener: &ListenerName, mechanism: &str) -> Option<SaslServer> {
        self.listeners.get(listener)?.start(mechanism)
    }

    /// Answers a mechanism's request.
    pub fn verify(&self, listener: &ListenerName, request: VerifyRequest) -> Verdict {
        match self.listeners.get(listener) {
            Some(logins) => self.verifier.verify(request, logins),
            None => Verdict::Refused(Cause::new(Reason::NoUsers, Some(request.user()))),
        }
    }
}

/// Somebody who has proved to be who they say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    user: Arc<str>,
    /// What the mechanism still has to tell the client.
    pub final_message: Vec<u8>,
    /// The client is one that sends its nonce twice (librdkafka before 2.6.1).
    pub doubled_nonce: bool,
}

impl Identity {
    pub fn principal(&self) -> KafkaPrincipal {
        KafkaPrincipal::user(&self.user)
    }
}

/// What the verifier makes of a request.
#[derive(Debug)]
pub enum Verdict {
    Accepted(Identity),
    Refused(Cause),
    /// Run the check with a permit of the [`HashGate`], then [`Verifier::conclude`].
    Check(PendingCheck),
}

/// A password check under way.
#[derive(Debug)]
pub struct PendingCheck {
    pub check: Arc<PasswordCheck>,
    user: Arc<str>,
    known: bool,
    no_users: bool,
    acts_for_another: bool,
    cache_key: CacheKey,
}

impl PendingCheck {
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// How long a failed login waits for its answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FailureDelay {
    /// `connection.failed.authentication.delay.ms`
    Fixed(Duration),
    /// *strict*: one second, doubled with every further failure of this user from this address, at most ten.
    Growing,
}

/// Shared by all listeners and connections of the broker.
pub struct Verifier {
    gate: Arc<HashGate>,
    failures: Mutex<Failures>,
    delay: FailureDelay,
    cache: Mutex<VerifiedCache>,
    cache_root: hmac::Key,
    lines: Mutex<Lines>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier").field("delay", &self.delay).finish_non_exhaustive()
    }
}

impl Verifier {
    /// `cores`: password hashes at once.
    pub fn new(cores: usize, delay: FailureDelay) -> Self {
        let mut root = [0; 32];
        let random = rand::fill(&mut root).is_ok();
        Self {
            gate: HashGate::new(cores),
            failures: Mutex::new(Failures::default()),
            delay,
            // Without a secret key nothing is remembered.
            cache: Mutex::new(VerifiedCache {
                limit: if random { VerifiedCache::LIMIT } else { 0 },
                ..Default::default()
            }),
            cache_root: hmac::Key::new(hmac::HMAC_SHA256, &root),
            lines: Mutex::new(Lines::default()),
        }
    }

    pub fn gate(&self) -> &Arc<HashGate> {
        &self.gate
    }

    /// Answers a mechanism's request.
    pub fn verify(&self, request: VerifyRequest, logins: &ListenerLogins) -> Verdict {
        match request {
            VerifyRequest::Scram(proof) => {
                let (user, doubled_nonce) = (Arc::clone(&proof.user), proof.doubled_nonce);
                match proof.verify(&logins.scram) {
                    Ok(final_message) => Verdict::Accepted(Identity { user, final_message, doubled_nonce }),
                    Err(cause) => Verdict::Refused(cause),
                }
            }
            VerifyRequest::Password(claim) => self.verify_password(claim, &logins.plain),
        }
    }

    fn verify_password(&self, claim: PasswordClaim, users: &PlainUsers) -> Verdict {
        let PasswordClaim { user, password, acts_for_another } = claim;
        let (stored, known) = users.find(&user);
        let cache_key = self.cache_key(users, &user, password.expose());
        let pending = PendingCheck {
            known,
            no_users: users.is_empty(),
            check: Arc::new(PasswordCheck::new(stored.cloned(), known, users.cost(), password)),
            user,
            acts_for_another,
            cache_key,
        };
        if !pending.check.is_costly() {
            let right = pending.check.run();
            return self.judge(pending, right);
        }
        if self.cache.lock().contains(&pending.cache_key) {
            return self.judge(pending, true);
        }
        Verdict::Check(pending)
    }

    /// After the check has run: what it means.
    pub fn conclude(&self, pending: PendingCheck, right: bool) -> Verdict {
        if right {
            self.cache.lock().insert(pending.cache_key);
        }
        self.judge(pending, right)
    }

    fn judge(&self, pending: PendingCheck, right: bool) -> Verdict {
        let PendingCheck { user, known, no_users, acts_for_another, .. } = pending;
        let reason = match (right, known) {
            // Only a known user's password can have been right.
            (true, true) if acts_for_another => Reason::AuthorizationIdDiffers,
            (true, true) => {
                return Verdict::Accepted(Identity { user, final_message: Vec::new(), doubled_nonce: false });
            }
            (false, true) => Reason::WrongPassword,
            (_, false) if no_users => Reason::NoUsers,
            (_, false) => Reason::UnknownUser,
        };
        Verdict::Refused(Cause::new(reason, Some(&user)))
    }

    /// How long this failure waits for its answer.
    pub fn failed(&self, address: IpAddr, user: Option<&str>, now: Mono) -> Duration {
        match self.delay {
            FailureDelay::Fixed(delay) => delay,
            FailureDelay::Growing => self.failures.lock().failed(address, user.unwrap_or_default(), now),
        }
    }

    /// Forgets this user's failures from this address.
    pub fn succeeded(&self, address: IpAddr, user: &str) {
        if self.delay == FailureDelay::Growing {
            self.failures.lock().succeeded(address, user);
        }
    }

    /// May a line about a failed login be written now? Gives the number of lines that were not since the last one.
    pub fn line_about_failure(&self, now: Mono) -> Option<u64> {
        self.lines.lock().failure(now)
    }

    /// True once for each address and client version: a line about a client that sends its nonce twice.
    pub fn line_about_client(&self, address: IpAddr, client: &str) -> bool {
        self.lines.lock().client(address, client)
    }

    /// Names the set of users, so that the same name and password on another listener, or after a change of the
    /// stored password, is another key.
    fn cache_key(&self, users: &PlainUsers, user: &str, password: &str) -> CacheKey {
        let mut context = hmac::Context::with_key(&self.cache_root);
        context.update(&users.generation().to_be_bytes());
        context.update(&u64::try_from(user.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(user.as_bytes());
        context.update(password.as_bytes());
        let mut key = [0; 32];
        key.iter_mut().zip(context.sign().as_ref()).for_each(|(k, b)| *k = *b);
        key
    }
}

type CacheKey = [u8; 32];

/// Names and passwords that were right. Holds keyed hashes only; the oldest go first.
#[derive(Default)]
struct VerifiedCache {
    limit: usize,
    keys: HashSet<CacheKey>,
    order: VecDeque<CacheKey>,
}

impl VerifiedCache {
    /// Entries.
    const LIMIT: usize = 16_384;

    fn contains(&self, key: &CacheKey) -> bool {
        self.keys.contains(key)
    }

    fn insert(&mut self, key: CacheKey) {
        if self.limit == 0 || !self.keys.insert(key) {
            return;
        }
        self.order.push_back(key);
        while self.order.len() > self.limit {
            if let Some(oldest) = self.order.pop_front() {
                self.keys.remove(&oldest);
            }
        }
    }
}

/// Failures by address and user.
#[derive(Default)]
struct Failures {
    hasher: RandomState,
    counts: HashMap<(IpAddr, u64), (u32, Mono)>,
    /// In order of first failure; what is forgotten first.
    order: VecDeque<(IpAddr, u64)>,
}

impl Failures {
    /// Pairs that are remembered.
    const LIMIT: usize = 16_384;
    const FIRST: Duration = Duration::from_secs(1);
    const LONGEST: Duration = Duration::from_secs(10);
    /// After so long without a failure the count starts anew.
    const FORGOTTEN_AFTER: Duration = Duration::from_secs(300);

    fn failed(&mut self, address: IpAddr, user: &str, now: Mono) -> Duration {
        let key = (address, self.hasher.hash_one(user));
        let (count, last) = *self.counts.entry(key).or_insert_with(|| {
            self.order.push_back(key);
            (0, now)
        });
        let count = if now.since(last) > Self::FORGOTTEN_AFTER { 0 } else { count };
        self.counts.insert(key, (count.saturating_add(1), now));
        while self.order.len() > Self::LIMIT {
            if let Some(oldest) = self.order.pop_front() {
                self.counts.remove(&oldest);
            }
        }
        Self::FIRST.saturating_mul(1 << count.min(4)).min(Self::LONGEST)
    }

    fn succeeded(&mut self, address: IpAddr, user: &str) {
        let key = (address, self.hasher.hash_one(user));
        if self.counts.remove(&key).is_some() {
            self.order.retain(|k| *k != key);
        }
    }
}

/// Keeps failing peers from filling the log.
#[derive(Default)]
struct Lines {
    window: Mono,
    written: u32,
    suppressed: u64,
    hasher: RandomState,
    clients: HashSet<u64>,
}

impl Lines {
    /// Lines about failed logins per second.
    const PER_SECOND: u32 = 100;
    /// Clients that are remembered; past that nobody is told any more.
    const MAX_CLIENTS: usize = 1024;

    fn failure(&mut self, now: Mono) -> Option<u64> {
        if now.since(self.window) >= Duration::from_secs(1) {
            (self.window, self.written) = (now, 0);
        }
        if self.written >= Self::PER_SECOND {
            self.suppressed = self.suppressed.saturating_add(1);
            return None;
        }
        self.written = self.written.saturating_add(1);
        Some(std::mem::take(&mut self.suppressed))
    }

    fn client(&mut self, address: IpAddr, client: &str) -> bool {
        self.clients.len() < Self::MAX_CLIENTS && self.clients.insert(self.hasher.hash_one((address, client)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_rest_is_counted() {
        let mut lines = Lines::default();
        let second = |s: u64| Mono(s * 1_000_000_000);
        let written = (0..500).filter(|_| lines.failure(second(1)).is_some()).count();
        assert_eq!(written, 100);
        assert_eq!(lines.failure(second(2)), Some(400));
        assert_eq!(lines.failure(second(2)), Some(0));
        let address = [10, 0, 0, 1].into();
        assert!(lines.client(address, "librdkafka 1.9"));
        assert!(!lines.client(address, "librdkafka 1.9"));
        assert!(lines.client(address, "librdkafka 2.0"));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut cache = VerifiedCache { limit: 2, ..Default::default() };
        for key in [[1; 32], [2; 32], [2; 32], [3; 32]] {
            cache.insert(key);
        }
        assert_eq!([1, 2, 3].map(|k| cache.contains(&[k; 32])), [false, true, true]);
        let mut failures = Failures::default();
        for i in 0..Failures::LIMIT + 10 {
            failures.failed([10, 0, 0, 1].into(), &i.to_string(), Mono(0));
        }
        assert_eq!((failures.counts.len(), failures.order.len()), (Failures::LIMIT, Failures::LIMIT));
    }
}
