//! Who can log in: names that are allowed, PLAIN users from the JAAS section, SCRAM credentials from the metadata log.
//!
//! Precedent: `PlainServerCallbackHandler`, `CredentialCache`. What Kafka has no counterpart for: a user that does not
//! exist gets a made-up SCRAM credential that looks like one of the others and stays the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use aws_lc_rs::hmac;
use parking_lot::Mutex;
use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::model::scram::{ScramCredential, ScramMechanism};
use crate::model::secret::Secret;

use super::password::{HashCost, PasswordFormatError, StoredPassword};
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

/// The longest name that has a nobody of its length.
const LONGEST_NOBODY: usize = 255;

/// Names that nobody can have, one of each length: finding one takes as long as finding a user whose name is as long.
fn nobodies() -> impl Iterator<Item = Arc<str>> {
    (0..=LONGEST_NOBODY).map(|length| nobody_like(length).into())
}

fn nobody_like(length: usize) -> &'static str {
    static NOBODY: LazyLock<String> = LazyLock::new(|| "\0".repeat(LONGEST_NOBODY));
    NOBODY.get(..length).unwrap_or(&NOBODY)
}

/// The users of one listener's PLAIN mechanism: options `user_NAME="password"` of PlainLoginModule.
#[derive(Default)]
pub struct PlainUsers {
    users: HashMap<Arc<str>, StoredPassword>,
    /// What one check costs, if any password here is hashed: names that do not exist cost the same.
    cost: Option<HashCost>,
    /// Tells this set from every other one of this process.
    generation: u64,
    /// What a name that nobody has is compared with.
    nobody: HashMap<Arc<str>, StoredPassword>,
}

impl fmt::Debug for PlainUsers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainUsers").field("users", &self.users.len()).field("cost", &self.cost).finish_non_exhaustive()
    }
}

impl PlainUsers {
    /// Passwords are clear text, or `$argon2id$…`.
    ///
    /// # Errors
    /// If a name is forbidden or a hash is malformed.
    pub fn new<'a>(users: impl IntoIterator<Item = (&'a str, &'a Secret)>) -> Result<Self, PlainUserError> {
        let mut all = HashMap::new();
        for (user, password) in users {
            check_user_name(user).map_err(|source| PlainUserError::Name { user: user.to_owned(), source })?;
            let stored = StoredPassword::parse(password)
                .map_err(|source| PlainUserError::Password { user: user.to_owned(), source })?;
            all.insert(Arc::from(user), stored);
        }
        let cost = all.values().filter_map(StoredPassword::cost).max();
        static GENERATION: AtomicU64 = AtomicU64::new(1);
        let unguessable = StoredPassword::unguessable();
        let nobody = nobodies().map(|name| (name, unguessable.clone())).collect();
        Ok(Self { users: all, cost, generation: GENERATION.fetch_add(1, Ordering::Relaxed), nobody })
    }

    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// The user's password and true, or nobody's and false, after one look-up that finds and one that does not.
    pub(super) fn find(&self, user: &str) -> (Option<&StoredPassword>, bool) {
        let found = self.users.get(user);
        let nobody = self.nobody.get(if found.is_some() { user } else { nobody_like(user.len()) });
        (found.or(nobody), found.is_some())
    }

    pub(super) fn cost(&self) -> Option<HashCost> {
        self.cost
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation
    }
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
    /// Makes the made-up credentials: theirs alone, so that they can't be computed outside.
    key: hmac::Key,
    /// One writer at a time.
    writer: Mutex<()>,
    /// What a name that nobody has finds.
    nobody: HashTrieMapSync<Arc<str>, ScramCredential>,
}

#[derive(Clone, Default)]
struct Snapshot {
    sha256: Population,
    sha512: Population,
}

/// The users of one mechanism.
#[derive(Clone, Default)]
struct Population {
    users: HashTrieMapSync<Arc<str>, ScramCredential>,
    /// Place on a ring, by a keyed hash of the name → what the credential there looks like. A made-up user takes the
    /// look of the next one: distributed as in the population, and as good as never changing.
    ring: RedBlackTreeMapSync<u64, Look>,
}

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
            .field("sha256", &current.sha256.users.size())
            .field("sha512", &current.sha512.users.size())
            .finish_non_exhaustive()
    }
}

impl ScramCredentials {
    /// `node_secret`: at least 32 random bytes that stay the same over restarts.
    pub fn new(node_secret: &[u8]) -> Self {
        let root = hmac::Key::new(hmac::HMAC_SHA256, node_secret);
        let key = hmac::sign(&root, b"schloss scram made-up credentials");
        let nothing: Arc<[u8]> = Arc::new([]);
        let credential = ScramCredential {
            salt: Arc::clone(&nothing),
            stored_key: Arc::clone(&nothing),
            server_key: nothing,
            iterations: ScramMechanism::MIN_ITERATIONS,
        };
        Self {
            current: ArcSwap::default(),
            key: hmac::Key::new(hmac::HMAC_SHA256, key.as_ref()),
            writer: Mutex::new(()),
            nobody: nobodies().map(|name| (name, credential.clone())).collect(),
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
                let place = self.place(mechanism, &user);
                let population = next.of_mut(mechanism);
                if credential.iterations >= ScramMechanism::MIN_ITERATIONS {
                    population.ring.insert_mut(place, Look::of(&credential));
                } else {
                    population.ring.remove_mut(&place);
                }
                population.users.insert_mut(user, credential);
            }
            ScramChange::Remove { user, mechanism } => {
                let place = self.place(mechanism, &user);
                let population = next.of_mut(mechanism);
                population.ring.remove_mut(&place);
                population.users.remove_mut(&user);
            }
        }
    }

    /// Takes the same time for a name that nobody has: one look-up that finds and one that does not.
    pub fn get(&self, mechanism: ScramMechanism, user: &str) -> Option<ScramCredential> {
        let current = self.current.load();
        let found = current.of(mechanism).users.get(user);
        let nobody = self.nobody.get(if found.is_some() { user } else { nobody_like(user.len()) });
        let is_known = found.is_some();
        found.or(nobody).cloned().filter(|_| is_known)
    }

    /// Nobody has any SCRAM credential.
    pub fn is_empty(&self) -> bool {
        let current = self.current.load();
        current.sha256.users.is_empty() && current.sha512.users.is_empty()
    }

    /// A credential for a user without one: looks like the others', is the same every time, and no proof satisfies it.
    pub(super) fn made_up(&self, mechanism: ScramMechanism, user: &str) -> ScramCredential {
        let current = self.current.load();
        let ring = &current.of(mechanism).ring;
        let place = self.place(mechanism, user);
        let next = ring.range(place..).next().or_else(|| ring.iter().next());
        let look = next.map_or(Look::DEFAULT, |(_, look)| *look);
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

    fn place(&self, mechanism: ScramMechanism, user: &str) -> u64 {
        let bytes = self.stream(b"place", mechanism, user, 8);
        bytes.try_into().map_or(0, u64::from_be_bytes)
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
        let once = store.made_up(ScramMechanism::Sha256, "ghost");
        assert_eq!(once, store.made_up(ScramMechanism::Sha256, "ghost"));
        assert_eq!((once.iterations, once.salt.len()), (4096, scram_keys::SALT_LENGTH));
        assert_ne!(once.salt, store.made_up(ScramMechanism::Sha256, "ghost2").salt);
        assert_ne!(once.salt, store.made_up(ScramMechanism::Sha512, "ghost").salt);
        assert_ne!(once.salt, ScramCredentials::new(&[8; 32]).made_up(ScramMechanism::Sha256, "ghost").salt);
        assert_eq!(ScramCredentials::new(&[7; 32]).made_up(ScramMechanism::Sha256, "ghost"), once, "over a restart");
    }

    #[test]
    fn made_up_users_look_like_the_population() {
        let store = ScramCredentials::new(&[7; 32]);
        for i in 0..60 {
            set(&store, &format!("a{i}"), credential(4096, b"0123456789abcdefghijklmnop"));
            set(&store, &format!("b{i}"), credential(8192, &[0xff; 16]));
        }
        set(&store, "weak", credential(100, b"x"));
        let looks: Vec<Look> =
            (0..400).map(|i| Look::of(&store.made_up(ScramMechanism::Sha256, &format!("ghost{i}")))).collect();
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
        assert_eq!(store.get(mechanism, "alice").unwrap().iterations, 8192);
        store.apply([ScramChange::Remove { user, mechanism }]);
        assert!(store.get(mechanism, "alice").is_none());
        assert!(store.get(mechanism, "bob").is_some(), "removing one leaves the others");
        assert!(store.get(ScramMechanism::Sha512, "bob").is_none());
        store.load([]);
        assert!(store.is_empty());
    }
}
