//! Access control entries: added and removed.
//!
//! Precedent: Kafka's `AclControlManager`. Which bindings are legal is said by `security/authorizer`.

use std::collections::BTreeSet;

use super::random::uuid;
use super::request::{ApiError, ControllerResponse};
use super::{Context, Controller, MAX_RECORDS_PER_REQUEST, Outcome};
use crate::metadata::snapshot::{RecordAndVersion, acl_record};
use crate::model::acl::AclBinding;
use crate::model::error_code::ErrorCode;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::RemoveAccessControlEntryRecord;
use crate::security::authorizer::filter::AclFilter;
use crate::security::authorizer::permit::{Permit, Resource, op};
use crate::security::authorizer::validate::{check_filter, check_new_acl};

/// `CreateAcls`.
#[derive(Debug)]
pub struct CreateAcls {
    /// For the cluster.
    pub permit: Permit<op::Alter>,
    pub bindings: Vec<AclBinding>,
}

/// `DeleteAcls`.
#[derive(Debug)]
pub struct DeleteAcls {
    /// For the cluster.
    pub permit: Permit<op::Alter>,
    pub filters: Vec<AclFilter>,
}

impl Controller {
    pub(super) fn create_acls(&self, cx: &mut Context<'_>, request: CreateAcls) -> Outcome {
        if let Err(error) = for_cluster(&request.permit) {
            let results = request.bindings.iter().map(|_| Err(error.clone())).collect();
            return Outcome::new(Vec::new(), ControllerResponse::CreateAcls(results));
        }
        let mut records = Vec::new();
        let mut added = BTreeSet::new();
        let results = request.bindings.into_iter().map(|binding| {
            check_new_acl(&binding, self.settings.strict)
                .map_err(|error| ApiError::new(ErrorCode::InvalidRequest, error.to_string()))?;
            // One that is there already, or twice in the request, is a success without a record.
            if !self.image.acls.contains(&binding) && !added.contains(&binding) {
                if records.len() == MAX_RECORDS_PER_REQUEST {
                    let text = "Unable to perform excessively large batch operation.";
                    return Err(ApiError::new(ErrorCode::PolicyViolation, text));
                }
                records.push(RecordAndVersion::v0(acl_record(uuid(cx.random), &binding)));
                added.insert(binding);
            }
            Ok(())
        });
        let results = results.collect();
        Outcome::new(records, ControllerResponse::CreateAcls(results))
    }

    pub(super) fn delete_acls(&self, request: &DeleteAcls) -> Outcome {
        let mut removed: BTreeSet<Uuid> = BTreeSet::new();
        let permitted = for_cluster(&request.permit);
        let results = request.filters.iter().map(|filter| {
            permitted.clone()?;
            check_filter(filter).map_err(|error| ApiError::new(ErrorCode::InvalidRequest, error.to_string()))?;
            let mut matching: Vec<_> = self.image.acls.iter().filter(|(_, binding)| filter.matches(binding)).collect();
            let new = matching.iter().filter(|(id, _)| !removed.contains(*id)).count();
            if removed.len() + new > MAX_RECORDS_PER_REQUEST {
                let text = "Cannot remove more than 10000 acls in a single delete operation.";
                return Err(ApiError::new(ErrorCode::InvalidRequest, text));
            }
            removed.extend(matching.iter().map(|(id, _)| **id));
            matching.sort_by_key(|(_, binding)| *binding);
            Ok(matching.into_iter().map(|(_, binding)| binding.clone()).collect())
        });
        let results = results.collect();
        let remove = |id| RecordAndVersion::v0(RemoveAccessControlEntryRecord { id });
        Outcome::new(removed.into_iter().map(remove).collect(), ControllerResponse::DeleteAcls(results))
    }
}

/// Rights over ACLs and credentials are rights over the cluster.
pub(super) fn for_cluster(permit: &Permit<op::Alter>) -> Result<(), ApiError> {
    match permit.resource() {
        Resource::Cluster => Ok(()),
        _ => Err(ApiError::of(ErrorCode::ClusterAuthorizationFailed)),
    }
}
