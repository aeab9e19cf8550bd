//! DescribeUserScramCredentials v0 (KIP-554): mechanisms and iterations, never salt or keys.
//!
//! Needs Describe on the cluster. Without it CLUSTER_AUTHORIZATION_FAILED is answered; Kafka 4.3.1 never answers a denied
//! request for all users.

use bytes::Bytes;

use super::{Order, Reply, RequestContext, Spec};
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use crate::protocol::messages::describe_user_scram_credentials_response::{
    CredentialInfo, DescribeUserScramCredentialsResponse, DescribeUserScramCredentialsResult,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeUserScramCredentials, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeUserScramCredentialsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let response = if context.is_allowed(Action::cluster(AclOperation::Describe)).await {
        describe(context, &request)
    } else {
        denied(&request)
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

/// One entry for each user asked for, without saying whom, and no texts.
fn denied(request: &DescribeUserScramCredentialsRequest) -> DescribeUserScramCredentialsResponse {
    let error_code = ErrorCode::ClusterAuthorizationFailed.code();
    let entry = DescribeUserScramCredentialsResult { error_code, error_message: None, ..Default::default() };
    let results = request.users.iter().flatten().map(|_| entry.clone()).collect();
    DescribeUserScramCredentialsResponse { error_code, error_message: None, results, ..Default::default() }
}

fn describe(
    context: &RequestContext<'_>,
    request: &DescribeUserScramCredentialsRequest,
) -> DescribeUserScramCredentialsResponse {
    let users: Vec<&str> = request.users.iter().flatten().map(|user| &*user.name).collect();
    let results = context.describe_scram(&users).into_iter().map(|described| {
        let user = (&*described.user).into();
        match described.credentials {
            Ok(credentials) => DescribeUserScramCredentialsResult {
                user,
                credential_infos: credentials
                    .into_iter()
                    .map(|(mechanism, iterations)| CredentialInfo { mechanism: mechanism.code(), iterations })
                    .collect(),
                ..Default::default()
            },
            Err((code, message)) => DescribeUserScramCredentialsResult {
                user,
                error_code: code.code(),
                error_message: Some(message.into()),
                ..Default::default()
            },
        }
    });
    DescribeUserScramCredentialsResponse { results: results.collect(), ..Default::default() }
}
