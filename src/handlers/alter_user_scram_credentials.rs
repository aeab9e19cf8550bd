//! AlterUserScramCredentials v0 (KIP-554): salted passwords come in, keys are stored.
//!
//! Needs Alter on the cluster, else CLUSTER_AUTHORIZATION_FAILED for each user. Iterations outside 4096–16384 and names
//! that nobody may have are UNACCEPTABLE_CREDENTIAL. Answered when the credentials are in force on this broker.

use std::collections::BTreeSet;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{
    AlterScramCredentials, ApiError, ControllerRequest, ControllerResponse, ScramDeletion, ScramUpsertion,
};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::alter_user_scram_credentials_request::AlterUserScramCredentialsRequest;
use crate::protocol::messages::alter_user_scram_credentials_response::{
    AlterUserScramCredentialsResponse, AlterUserScramCredentialsResult,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::permit::{Permit, Resource, op};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::AlterUserScramCredentials, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = AlterUserScramCredentialsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let results = match context.admit_one::<op::Alter>(Resource::Cluster).await {
        Err(code) => all(&request, &ApiError::of(code)),
        Ok(permit) => {
            let alter = ControllerRequest::AlterScramCredentials(wanted(&request, permit));
            match context.broker.controller.submit(alter).await {
                Ok(ControllerResponse::AlterScramCredentials(results)) => {
                    results.into_iter().map(|(user, result)| outcome(&user, result.err().as_ref())).collect()
                }
                Ok(_) => all(&request, &ApiError::of(ErrorCode::UnknownServerError)),
                Err(error) => all(&request, &ApiError::of(error.code())),
            }
        }
    };
    let response = AlterUserScramCredentialsResponse { results, ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

fn wanted(request: &AlterUserScramCredentialsRequest, permit: Permit<op::Alter>) -> AlterScramCredentials {
    AlterScramCredentials {
        permit,
        deletions: request
            .deletions
            .iter()
            .map(|deletion| ScramDeletion { user: deletion.name.to_string(), mechanism: deletion.mechanism })
            .collect(),
        upsertions: request
            .upsertions
            .iter()
            .map(|upsertion| ScramUpsertion {
                user: upsertion.name.to_string(),
                mechanism: upsertion.mechanism,
                iterations: upsertion.iterations,
                salt: upsertion.salt.to_vec(),
                salted_password: Zeroizing::new(upsertion.salted_password.to_vec()),
            })
            .collect(),
    }
}

/// The same answer for every user of the request.
fn all(request: &AlterUserScramCredentialsRequest, error: &ApiError) -> Vec<AlterUserScramCredentialsResult> {
    let deleted = request.deletions.iter().map(|deletion| &*deletion.name);
    let upserted = request.upsertions.iter().map(|upsertion| &*upsertion.name);
    let users: BTreeSet<&str> = deleted.chain(upserted).collect();
    users.into_iter().map(|user| outcome(user, Some(error))).collect()
}

fn outcome(user: &str, error: Option<&ApiError>) -> AlterUserScramCredentialsResult {
    AlterUserScramCredentialsResult {
        user: user.into(),
        error_code: error.map_or(ErrorCode::None, ApiError::code).code(),
        error_message: error.and_then(ApiError::message).map(Into::into),
    }
}
