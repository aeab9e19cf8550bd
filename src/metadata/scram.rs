//! SCRAM credentials.

use std::collections::BTreeSet;
use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::image::InvalidRecord;
use crate::model::error_code::ErrorCode;
use crate::model::scram::{ScramCredential, ScramMechanism};
use crate::protocol::records::metadata::{RemoveUserScramCredentialRecord, UserScramCredentialRecord};

/// Whose credential, for which mechanism.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ScramKey {
    pub user: Arc<str>,
    pub mechanism: ScramMechanism,
}

impl ScramKey {
    pub fn new(user: &str, mechanism: ScramMechanism) -> Self {
        Self { user: user.into(), mechanism }
    }
}

/// One flat map: removing a user can't take a mechanism's other users with it, as Kafka 4.3.1's nested maps do.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct ScramImage {
    credentials: RedBlackTreeMapSync<ScramKey, ScramCredential>,
}

/// What `DescribeUserScramCredentials` says of one user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScramDescription {
    pub user: Arc<str>,
    /// Mechanism and iterations, or the error and its text.
    pub credentials: Result<Vec<(ScramMechanism, i32)>, (ErrorCode, String)>,
}

impl ScramImage {
    pub fn get(&self, user: &str, mechanism: ScramMechanism) -> Option<&ScramCredential> {
        self.credentials.get(&ScramKey::new(user, mechanism))
    }

    /// By user, then mechanism.
    pub fn iter(&self) -> impl Iterator<Item = (&ScramKey, &ScramCredential)> {
        self.credentials.iter()
    }

    pub fn len(&self) -> usize {
        self.credentials.size()
    }

    pub fn is_empty(&self) -> bool {
        self.credentials.is_empty()
    }

    /// What is known of `users`, or of every user where none is named (Kafka's `ScramImage.describe`). Never a salt or key.
    pub fn describe(&self, users: &[&str]) -> Vec<ScramDescription> {
        if users.is_empty() {
            let all: BTreeSet<&Arc<str>> = self.credentials.keys().map(|key| &key.user).collect();
            return all.into_iter().map(|user| self.describe_user(user)).collect();
        }
        let mut seen = BTreeSet::new();
        let mut twice = BTreeSet::new();
        for user in users {
            if !seen.insert(*user) {
                twice.insert(*user);
            }
        }
        let mut described = BTreeSet::new();
        let once = users.iter().filter(|user| described.insert(**user));
        once.map(|user| {
            if twice.contains(user) {
                let text =
                    format!("Cannot describe SCRAM credentials for the same user twice in a single request: {user}");
                return ScramDescription {
                    user: (*user).into(),
                    credentials: Err((ErrorCode::DuplicateResource, text)),
                };
            }
            self.describe_user(user)
        })
        .collect()
    }

    fn describe_user(&self, user: &str) -> ScramDescription {
        let known = |mechanism: ScramMechanism| self.get(user, mechanism).map(|c| (mechanism, c.iterations));
        let found: Vec<_> = ScramMechanism::ALL.into_iter().filter_map(known).collect();
        let credentials = if found.is_empty() {
            let text = format!("Attempt to describe a user credential that does not exist: {user}");
            Err((ErrorCode::ResourceNotFound, text))
        } else {
            Ok(found)
        };
        ScramDescription { user: user.into(), credentials }
    }

    pub(super) fn add(&mut self, record: &UserScramCredentialRecord) -> Result<ScramKey, InvalidRecord> {
        let key = ScramKey::new(&record.name, mechanism(record.mechanism)?);
        let credential = ScramCredential {
            salt: record.salt.as_ref().into(),
            stored_key: record.stored_key.as_ref().into(),
            server_key: record.server_key.as_ref().into(),
            iterations: record.iterations,
        };
        self.credentials.insert_mut(key.clone(), credential);
        Ok(key)
    }

    pub(super) fn remove(&mut self, record: &RemoveUserScramCredentialRecord) -> Result<ScramKey, InvalidRecord> {
        let key = ScramKey::new(&record.name, mechanism(record.mechanism)?);
        self.credentials.remove_mut(&key);
        Ok(key)
    }
}

fn mechanism(code: i8) -> Result<ScramMechanism, InvalidRecord> {
    ScramMechanism::from_code(code).ok_or_else(|| InvalidRecord::new(format!("{code} is not a SCRAM mechanism")))
}
