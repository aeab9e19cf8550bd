//! Who can log in: names that are allowed, PLAIN users from the JAAS section, SCRAM credentials from the metadata log.
//!
//! Precedent: `PlainServerCallbackHandler`, `CredentialCache`. What Kafka has no counterpart for: a user that does not
//! exist gets a made-up SCRAM credential that looks like one of the others and stays the same.

use std::collections::HashMap;
use std::fmt;
use std::hint::select_unpredictable;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use aws_lc_rs::{constant_time, hmac};
use parking_lot::Mutex;
use rpds::RedBlackTreeMapSync;

use crate::model::scram::{ScramCredential, ScramMechanism};
use crate::model::secret::Secret;

use super::password::{HashCost, PasswordFormatError, StoredPassword, random_key};
use super::sasl::scram_keys;

/// Why nobody may have this name, neither at creation nor at login.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("user name {}", self.reason())]
pub enum UserNameError {
    Empty,
    /// `User:*` means everybody in an ACL.
    Wildcard,
    /// `User:ANONYMOUS` is whoever did not log in.
    Anonymous,
    Control,
}

impl UserNameError {
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Empty => "is empty",
            Self::Wildcard => "\"*\" means everybody in an ACL",
            Self::Anonymous => "\"ANONYMOUS\" is whoever did not log in",
            Self::Control => "holds a control character",
        }
    }
}

/// May somebody have this name?
///
/// # Errors
/// If the name would be taken for something else by an ACL or a log.
pub fn check_user_name(name: &str) -> Result<(), UserNameError> {
    match name {
        "" => Err(UserNameError::Empty),
        "*" => Err(UserNameError::Wildcard),
        "ANONYMOUS" => Err(UserNameError::Anonymous),
        _ if name.chars().any(char::is_control) => Err(UserNameError::Control),
        _ => Ok(()),
    }
}

/// A user of PlainLoginModule that can't be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlainUserError {
    #[error("user_{user}: {source}")]
    Name { user: String, source: UserNameError },
    #[error("user_{user}: {source}")]
    Password { user: String, source: PasswordFormatError },
}

/// The users of one listener's PLAIN mechanism: options `user_NAME="password"` of PlainLoginModule.
///
/// Found by a keyed hash of the name, in as many steps whoever is looked for. A name that nobody has ends at somebody
/// else's password, as far away in memory as its own would be; whatever the comparison says, it is refused.
pub struct PlainUsers {
    key: hmac::Key,
    /// Hashes of the names in their order.
    places: Vec<u128>,
    /// Passwords in the same order.
    stored: Vec<StoredPassword>,
    /// What one check costs, if any password here is hashed: names that do not exist cost the same.
    cost: Option<HashCost>,
    /// Tells this set from every other one of this process.
    generation: u64,
}

impl Default for PlainUsers {
    fn default() -> Self {
        Self::of(Vec::new())
    }
}

impl fmt::Debug for PlainUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainUsers")
            .field("users", &self.places.len())
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

impl PlainUsers {
    /// Passwords are clear text, or `$argon2id$…`. Of a name that comes twice the last password counts.
    ///
    /// # Errors
    /// If a name is forbidden or a hash is malformed.
    pub fn new<'a>(users: impl IntoIterator<Item = (&'a str, &'a Secret)>) -> Result<Self, PlainUserError> {
        let mut all = HashMap::new();
        for (user, password) in users {
            check_user_name(user).map_err(|source| PlainUserError::Name { user: user.to_owned(), source })?;
            let stored = StoredPassword::parse(password)
                .map_err(|source| PlainUserError::Password { user: user.to_owned(), source })?;
            all.insert(user, stored);
        }
        Ok(Self::of(all.into_iter().collect()))
    }

    fn of(users: Vec<(&str, StoredPassword)>) -> Self {
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &random_key());
        let cost = users.iter().filter_map(|(_, stored)| stored.cost()).max();
        let mut placed: Vec<_> = users.into_iter().map(|(user, stored)| (place(&key, user), stored)).collect();
        placed.sort_by_key(|(place, _)| *place);
        let (places, stored) = placed.into_iter().unzip();
        Self { key, places, stored, cost, generation: GENERATION.fetch_add(1, Ordering::Relaxed) }
    }

    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The user's password and true, or another's and false.
    pub(super) fn find(&self, user: &str) -> (Option<&StoredPassword>, bool) {
        let wanted = place(&self.key, user);
        let at = self.places.partition_point(|place| *place < wanted);
        let at = select_unpredictable(at < self.places.len(), at, 0);
        (self.stored.get(at), self.places.get(at) == Some(&wanted))
    }

    pub(super) fn cost(&self) -> Option<HashCost> {
        self.cost
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
}

/// Where a name stands, and nobody can say which other name would stand there too.
fn place(key: &hmac::Key, user: &str) -> u128 {
    let tag = hmac::sign(key, user.as_bytes());
    tag.as_ref().first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes))
}

/// What the metadata log says about SCRAM users.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ScramChange {
    Set { user: Arc<str>, mechanism: ScramMechanism, credential: ScramCredential },
    Remove { user: Arc<str>, mechanism: ScramMechanism },
}

/// All SCRAM credentials. Fed by the publisher of metadata changes, read by every login without a lock.
pub struct ScramCredentials {
    current: ArcSwap<Snapshot>,
    /// Makes the made-up credentials and the places: theirs alone, so that they can't be computed outside.
    key: hmac::Key,
    /// One writer at a time.
    writer: Mutex<()>,
}

#[derive(Clone, Default)]
struct Snapshot {
    sha256: Population,
    sha512: Population,
}

/// The users of one mechanism, on a ring: each stands where a keyed hash of its name says.
///
/// A user that does not exist takes the look of the next one: distributed as in the population, and as good as never
/// changing. So both are looked for in the same way, and end at a credential that is as far away in memory.
#[derive(Clone, Default)]
struct Population(RedBlackTreeMapSync<u128, ScramCredential>);

impl Population {
    /// All of them, those from `place` on first. The search never ends early: a user at this very place takes no fewer steps.
    fn starting_at(&self, place: u128) -> impl Iterator<Item = (&u128, &ScramCredential)> {
        let from = place.checked_sub(1).map_or(Bound::Unbounded, Bound::Excluded);
        self.0.range((from, Bound::Unbounded)).chain(self.0.iter())
    }

    /// The credential at this place and true, or the next one and false.
    fn at(&self, place: u128) -> (Option<&ScramCredential>, bool) {
        let next = self.starting_at(place).next();
        (next.map(|(_, credential)| credential), next.is_some_and(|(found, _)| *found == place))
    }

    /// What whoever stands at this place looks like. Who can't log in is no example.
    fn look(&self, place: u128) -> Look {
        let is_strong = |credential: &ScramCredential| credential.iterations >= ScramMechanism::MIN_ITERATIONS;
        let mut strong = self.starting_at(place).take(MOST_LOOKED_AT).filter(|(_, credential)| is_strong(credential));
        strong.next().map_or(Look::DEFAULT, |(_, credential)| Look::of(credential))
    }
}

/// What a login needs to know of a name.
#[derive(Debug)]
pub(super) struct Found {
    /// The user's, or another's.
    pub own: ScramCredential,
    pub is_known: bool,
    /// Looks like the others', is the same every time, and no proof satisfies it. Made for everybody.
    pub made_up: ScramCredential,
    /// There is one for the other mechanism.
    pub has_other: bool,
    /// Nobody has any SCRAM credential.
    pub is_empty: bool,
}

/// As near in memory as one that was just made.
fn copy(credential: &ScramCredential) -> ScramCredential {
    ScramCredential {
        salt: (*credential.salt).into(),
        stored_key: (*credential.stored_key).into(),
        server_key: (*credential.server_key).into(),
        iterations: credential.iterations,
    }
}

/// Looks at all of both.
fn is_same(one: &ScramCredential, other: &ScramCredential) -> bool {
    let same = |one: &[u8], other: &[u8]| constant_time::verify_slices_are_equal(one, other).is_ok();
    same(&one.salt, &other.salt)
        & same(&one.stored_key, &other.stored_key)
        & same(&one.server_key, &other.server_key)
        & (one.iterations == other.iterations)
}

/// Credentials that are looked at for one that can log in: a crowd of those that can't must not cost every login.
const MOST_LOOKED_AT: usize = 100;

/// What a peer sees of a credential before it has proved anything.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Look {
    iterations: i32,
    salt_length: usize,
    /// Salts of Kafka's tools are digits and lower case letters.
    salt_is_text: bool,
}

impl Look {
    /// Where there is nobody to look like.
    const DEFAULT: Self =
        Self { iterations: ScramMechanism::MIN_ITERATIONS, salt_length: scram_keys::SALT_LENGTH, salt_is_text: true };

    fn of(credential: &ScramCredential) -> Self {
        let text = |b: &u8| b.is_ascii_digit() || b.is_ascii_lowercase();
        Self {
            iterations: credential.iterations,
            salt_length: credential.salt.len(),
            salt_is_text: credential.salt.iter().all(text),
        }
    }
}

impl fmt::Debug for ScramCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_struct("ScramCredentials")
            .field("sha256", &current.sha256.0.size())
            .field("sha512", &current.sha512.0.size())
            .finish_non_exhaustive()
    }
}

impl ScramCredentials {
    /// `node_secret`: at least 32 random bytes that stay the same over restarts.
    pub fn new(node_secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, node_secret);
        let key = hmac::sign(&root, b"schloss scram made-up credentials");
        Self {
            current: ArcSwap::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            writer: Mutex::new(()),
        }
    }

    pub fn apply(&self, changes: impl IntoIterator<Item = ScramChange>) {
        let _writer = self.writer.lock();
        let mut next = Snapshot::clone(&self.current.load());
        for change in changes {
            self.change(&mut next, change);
        }
        self.current.store(Arc::new(next));
    }

    /// Replaces everything, as after loading a snapshot of the metadata.
    pub fn load(&self, all: impl IntoIterator<Item = (Arc<str>, ScramMechanism, ScramCredential)>) {
        let _writer = self.writer.lock();
        let mut next = Snapshot::default();
        for (user, mechanism, credential) in all {
            self.change(&mut next, ScramChange::Set { user, mechanism, credential });
        }
        self.current.store(Arc::new(next));
    }

    fn change(&self, next: &mut Snapshot, change: ScramChange) {
        match change {
            ScramChange::Set { user, mechanism, credential } => {
                next.of_mut(mechanism).0.insert_mut(place(&self.key, &user), credential);
            }
            ScramChange::Remove { user, mechanism } => {
                next.of_mut(mechanism).0.remove_mut(&place(&self.key, &user));
            }
        }
    }

    /// Is this, still, the user's credential? In the same time for a user that does not exist.
    pub(super) fn is_current(&self, mechanism: ScramMechanism, user: &str, credential: &ScramCredential) -> bool {
        let current = self.current.load();
        let (now, is_known) = current.of(mechanism).at(place(&self.key, user));
        now.is_some_and(|now| is_same(now, credential)) & is_known
    }

    /// All that a login asks, in the same time whoever exists.
    pub(super) fn find(&self, mechanism: ScramMechanism, user: &str) -> Found {
        let current = self.current.load();
        let place = place(&self.key, user);
        let (own, is_known) = current.of(mechanism).at(place);
        let (_, has_other) = current.of(mechanism.other()).at(place);
        let made_up = self.made_up(mechanism, user, current.of(mechanism).look(place));
        Found { own: copy(own.unwrap_or(&made_up)), is_known, made_up, has_other, is_empty: current.is_empty() }
    }

    fn made_up(&self, mechanism: ScramMechanism, user: &str, look: Look) -> ScramCredential {
        let mut salt = self.stream(b"salt", mechanism, user, look.salt_length);
        if look.salt_is_text {
            salt.iter_mut().for_each(|b| *b = scram_keys::base36(*b));
        }
        ScramCredential {
            salt: salt.into(),
            stored_key: self.stream(b"stored", mechanism, user, mechanism.key_len()).into(),
            server_key: self.stream(b"server", mechanism, user, mechanism.key_len()).into(),
            iterations: look.iterations,
        }
    }

    /// So many bytes that only this node can compute: HMAC in counter mode over purpose, mechanism and name.
    fn stream(&self, purpose: &[u8], mechanism: ScramMechanism, user: &str, length: usize) -> Vec<u8> {
        /// Longer than any salt that a request can bring and a client takes.
        const MAX_LENGTH: usize = 64 * 1024;
        let length = length.min(MAX_LENGTH);
        let mut out = Vec::with_capacity(length);
        let mut counter = 0_u32;
        while out.len() < length {
            let mut context = hmac::Context::with_key(&self.key);
            context.update(purpose);
            context.update(&[0]);
            context.update(mechanism.name().as_bytes());
            context.update(&counter.to_be_bytes());
            context.update(user.as_bytes());
            out.extend_from_slice(context.sign().as_ref());
            counter = counter.wrapping_add(1);
        }
        out.truncate(length);
        out
    }
}

impl Snapshot {
    fn is_empty(&self) -> bool {
        self.sha256.0.is_empty() && self.sha512.0.is_empty()
    }

    fn of(&self, mechanism: ScramMechanism) -> &Population {
        match mechanism {
            ScramMechanism::Sha256 => &self.sha256,
            ScramMechanism::Sha512 => &self.sha512,
        }
    }

    fn of_mut(&mut self, mechanism: ScramMechanism) -> &mut Population {
        match mechanism {
            ScramMechanism::Sha256 => &mut self.sha256,
            ScramMechanism::Sha512 => &mut self.sha512,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(iterations: i32, salt: &[u8]) -> ScramCredential {
        scram_keys::credential_from_salted(ScramMechanism::Sha256, b"salted", salt, iterations)
    }

    fn set(store: &ScramCredentials, user: &str, credential: ScramCredential) {
        store.apply([ScramChange::Set { user: user.into(), mechanism: ScramMechanism::Sha256, credential }]);
    }

    fn made_up(store: &ScramCredentials, user: &str) -> ScramCredential {
        store.find(ScramMechanism::Sha256, user).made_up
    }

    #[test]
    fn every_user_is_found_and_nobody_else() {
        let passwords: Vec<Secret> = (0..100).map(|i| Secret::new(format!("password {i}"))).collect();
        let names: Vec<String> = (0..100).map(|i| format!("user{i}")).collect();
        let users = PlainUsers::new(names.iter().map(String::as_str).zip(&passwords)).unwrap();
        let store = ScramCredentials::new(&[7; 32]);
        for (i, name) in names.iter().enumerate() {
            set(&store, name, credential(4096 + i32::try_from(i).unwrap(), b"salt"));
        }
        for (i, name) in names.iter().enumerate() {
            assert!(users.find(name).1, "{name}");
            let found = store.find(ScramMechanism::Sha256, name);
            let own = found.own;
            assert_eq!(own.iterations, 4096 + i32::try_from(i).unwrap());
            assert!(found.is_known && !found.has_other && !found.is_empty);
            assert!(store.is_current(ScramMechanism::Sha256, name, &own));
            assert!(!store.is_current(ScramMechanism::Sha256, name, &credential(1, b"salt")));
            let other = store.find(ScramMechanism::Sha512, name);
            assert!(!other.is_known && other.has_other);
            let nobody = format!("{name}x");
            assert!(!users.find(&nobody).1 && !store.find(ScramMechanism::Sha256, &nobody).is_known);
            assert!(!store.is_current(ScramMechanism::Sha256, &nobody, &own));
        }
        assert!(!PlainUsers::default().find("user0").1);
    }

    #[test]
    fn some_names_are_nobodys() {
        for bad in ["", "*", "ANONYMOUS", "a\0", "a\r", "\u{85}"] {
            assert!(check_user_name(bad).is_err(), "{bad:?}");
        }
        for good in ["alice", "User:alice", "**", "anonymous", "CN=a,O=b", "é"] {
            assert_eq!(check_user_name(good), Ok(()), "{good:?}");
        }
        assert!(matches!(PlainUsers::new([("*", &Secret::new("x"))]), Err(PlainUserError::Name { .. })));
    }

    #[test]
    fn a_made_up_credential_is_stable_and_differs_by_name_and_node() {
        let store = ScramCredentials::new(&[7; 32]);
        let once = made_up(&store, "ghost");
        assert_eq!(once, made_up(&store, "ghost"));
        assert_eq!((once.iterations, once.salt.len()), (4096, scram_keys::SALT_LENGTH));
        assert_ne!(once.salt, made_up(&store, "ghost2").salt);
        assert_ne!(once.salt, store.find(ScramMechanism::Sha512, "ghost").made_up.salt);
        assert_ne!(once.salt, made_up(&ScramCredentials::new(&[8; 32]), "ghost").salt);
        assert_eq!(made_up(&ScramCredentials::new(&[7; 32]), "ghost"), once, "over a restart");
    }

    #[test]
    fn made_up_users_look_like_the_population() {
        let store = ScramCredentials::new(&[7; 32]);
        for i in 0..60 {
            set(&store, &format!("a{i}"), credential(4096, b"0123456789abcdefghijklmnop"));
            set(&store, &format!("b{i}"), credential(8192, &[0xff; 16]));
        }
        set(&store, "weak", credential(100, b"x"));
        let looks: Vec<Look> = (0..400).map(|i| Look::of(&made_up(&store, &format!("ghost{i}")))).collect();
        let share = looks.iter().filter(|l| l.iterations == 8192).count();
        assert!((100..300).contains(&share), "{share} of 400");
        for look in looks {
            match look.iterations {
                4096 => assert_eq!((look.salt_length, look.salt_is_text), (26, true)),
                8192 => assert_eq!((look.salt_length, look.salt_is_text), (16, false)),
                other => panic!("{other} iterations"),
            }
        }
    }

    #[test]
    fn removing_and_setting_follow_any_order_of_batches() {
        let store = ScramCredentials::new(&[7; 32]);
        let (user, mechanism) = (Arc::<str>::from("alice"), ScramMechanism::Sha256);
        set(&store, "alice", credential(4096, b"s1"));
        set(&store, "bob", credential(4096, b"s2"));
        store.apply([
            ScramChange::Remove { user: Arc::clone(&user), mechanism },
            ScramChange::Set { user: Arc::clone(&user), mechanism, credential: credential(8192, b"s3") },
        ]);
        let is_known = |name: &str| store.find(mechanism, name).is_known;
        assert_eq!(store.find(mechanism, "alice").own.iterations, 8192);
        store.apply([ScramChange::Remove { user, mechanism }]);
        assert!(!is_known("alice"));
        assert!(is_known("bob"), "removing one leaves the others");
        assert!(!store.find(ScramMechanism::Sha512, "bob").is_known);
        store.load([]);
        assert!(store.find(mechanism, "bob").is_empty);
    }
}
