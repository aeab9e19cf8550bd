//! SCRAM credentials: set and deleted.
//!
//! Precedent: Kafka's `ScramControlManager` (KIP-554). The client sends the salted password; what is stored of it is what
//! RFC 5802 section 3 says. Names that would pass for a wildcard or for nobody are refused at creation already.

use std::collections::BTreeMap;
use std::fmt;

use zeroize::Zeroizing;

use super::acls::for_cluster;
use super::request::{ApiError, ControllerResponse};
use super::{Controller, MAX_RECORDS_PER_REQUEST, Outcome};
use crate::metadata::scram::ScramKey;
use crate::metadata::snapshot::{RecordAndVersion, scram_record};
use crate::model::error_code::ErrorCode;
use crate::model::scram::ScramMechanism;
use crate::protocol::records::metadata::RemoveUserScramCredentialRecord;
use crate::security::authorizer::permit::{Permit, op};
use crate::security::credentials::check_user_name;
use crate::security::sasl::scram_keys::credential_from_salted;

/// `AlterUserScramCredentials`.
#[derive(Debug)]
pub struct AlterScramCredentials {
    /// For the cluster.
    pub permit: Permit<op::Alter>,
    pub deletions: Vec<ScramDeletion>,
    pub upsertions: Vec<ScramUpsertion>,
}

#[derive(Debug)]
pub struct ScramDeletion {
    pub user: String,
    /// As on the wire: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    pub mechanism: i8,
}

pub struct ScramUpsertion {
    pub user: String,
    /// As on the wire: 1 SCRAM-SHA-256, 2 SCRAM-SHA-512.
    pub mechanism: i8,
    pub iterations: i32,
    pub salt: Vec<u8>,
    pub salted_password: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for ScramUpsertion {
    /// Neither salt nor salted password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("ScramUpsertion");
        out.field("user", &self.user).field("mechanism", &self.mechanism).field("iterations", &self.iterations);
        out.finish_non_exhaustive()
    }
}

impl Controller {
    pub(super) fn alter_scram_credentials(&self, request: AlterScramCredentials) -> Outcome {
        let mut users = Users::default();
        let permitted = for_cluster(&request.permit);
        for deletion in request.deletions {
            let record = permitted.clone().and_then(|()| self.deletion(&deletion));
            users.note(deletion.user, record);
        }
        for upsertion in request.upsertions {
            let record = permitted.clone().and_then(|()| self.upsertion(&upsertion));
            users.note(upsertion.user, record);
        }
        users.outcome()
    }

    fn deletion(&self, deletion: &ScramDeletion) -> Result<RecordAndVersion, ApiError> {
        check_not_empty(&deletion.user)?;
        let mechanism = mechanism(deletion.mechanism)?;
        if self.image.scram.get(&deletion.user, mechanism).is_none() {
            let text = "Attempt to delete a user credential that does not exist";
            return Err(ApiError::new(ErrorCode::ResourceNotFound, text));
        }
        let record = RemoveUserScramCredentialRecord { name: (&*deletion.user).into(), mechanism: mechanism.code() };
        Ok(RecordAndVersion::v0(record))
    }

    fn upsertion(&self, upsertion: &ScramUpsertion) -> Result<RecordAndVersion, ApiError> {
        let refuse = |text: &str| Err(ApiError::new(ErrorCode::UnacceptableCredential, text));
        check_not_empty(&upsertion.user)?;
        let mechanism = mechanism(upsertion.mechanism)?;
        if upsertion.iterations < ScramMechanism::MIN_ITERATIONS {
            return refuse("Too few iterations");
        }
        if upsertion.iterations > ScramMechanism::MAX_ITERATIONS {
            return refuse("Too many iterations");
        }
        if let Err(error) = check_user_name(&upsertion.user) {
            return refuse(&format!("Username is not acceptable: {}", error.reason()));
        }
        // Kafka fails here with UNKNOWN_SERVER_ERROR.
        if upsertion.salted_password.is_empty() {
            return refuse("Salted password must not be empty");
        }
        let ScramUpsertion { salt, salted_password, iterations, .. } = upsertion;
        let credential = credential_from_salted(mechanism, salted_password, salt, *iterations);
        Ok(RecordAndVersion::v0(scram_record(&ScramKey::new(&upsertion.user, mechanism), &credential)))
    }
}

/// Users in the order they came, each with its record or its error.
#[derive(Default)]
struct Users {
    order: Vec<String>,
    results: BTreeMap<String, Result<RecordAndVersion, ApiError>>,
}

impl Users {
    fn note(&mut self, user: String, result: Result<RecordAndVersion, ApiError>) {
        match self.results.get_mut(&user) {
            // The first error stays; a second change of whatever mechanism is one too many.
            Some(Err(_)) => {}
            Some(first) => {
                let text = "A user credential cannot be altered twice in the same request";
                *first = Err(ApiError::new(ErrorCode::DuplicateResource, text));
            }
            None => {
                self.order.push(user.clone());
                self.results.insert(user, result);
            }
        }
    }

    fn outcome(mut self) -> Outcome {
        let mut records = Vec::new();
        let results = self.order.into_iter().filter_map(|user| {
            let result = self.results.remove(&user)?;
            let result = result.and_then(|record| {
                if records.len() == MAX_RECORDS_PER_REQUEST {
                    let text = "Unable to perform excessively large batch operation.";
                    return Err(ApiError::new(ErrorCode::PolicyViolation, text));
                }
                records.push(record);
                Ok(())
            });
            Some((user, result))
        });
        let results = results.collect();
        Outcome::new(records, ControllerResponse::AlterScramCredentials(results))
    }
}

fn check_not_empty(user: &str) -> Result<(), ApiError> {
    if user.is_empty() {
        return Err(ApiError::new(ErrorCode::UnacceptableCredential, "Username must not be empty"));
    }
    Ok(())
}

fn mechanism(code: i8) -> Result<ScramMechanism, ApiError> {
    let unknown = || ApiError::new(ErrorCode::UnsupportedSaslMechanism, "Unknown SCRAM mechanism");
    ScramMechanism::from_code(code).ok_or_else(unknown)
}
