//! DescribeClientQuotas v0–1 (KIP-546).
//!
//! Needs DescribeConfigs on the cluster, else CLUSTER_AUTHORIZATION_FAILED.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::context::QuotaFilter;
use super::{Order, Reply, RequestContext, Spec};
use crate::controller::ApiError;
use crate::model::acl::AclOperation;
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::describe_client_quotas_request::DescribeClientQuotasRequest;
use crate::protocol::messages::describe_client_quotas_response::{
    DescribeClientQuotasResponse, EntityData, EntryData, ValueData,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};
use crate::security::authorizer::Action;

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::DescribeClientQuotas, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// `DescribeClientQuotasRequest` match types.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const SPECIFIED: i8 = 2;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = DescribeClientQuotasRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let response = match describe(context, &request).await {
        Ok(entries) => DescribeClientQuotasResponse { entries: Some(entries), ..Default::default() },
        Err(error) => DescribeClientQuotasResponse {
            error_code: error.code().code(),
            error_message: error.message().map(Into::into),
            entries: None,
            ..Default::default()
        },
    };
    Ok(Reply::Now(context.responder().respond(&response)))
}

async fn describe(
    context: &RequestContext<'_>,
    request: &DescribeClientQuotasRequest,
) -> Result<Vec<EntryData>, ApiError> {
    if !context.is_allowed(Action::cluster(AclOperation::DescribeConfigs)).await {
        return Err(ApiError::bare(ErrorCode::ClusterAuthorizationFailed));
    }
    let filters = filters(request)?;
    let entries = context.client_quotas(&filters, request.strict).into_iter().map(|(entity, values)| EntryData {
        entity: entity
            .into_iter()
            .map(|(entity_type, name)| EntityData {
                entity_type: (&*entity_type).into(),
                entity_name: name.map(|name| (&*name).into()),
            })
            .collect(),
        values: values.into_iter().map(|(key, value)| ValueData { key: (&*key).into(), value }).collect(),
    });
    Ok(entries.collect())
}

/// What each type of entity must be (`ClientQuotasImage.describe`).
fn filters(request: &DescribeClientQuotasRequest) -> Result<BTreeMap<String, QuotaFilter>, ApiError> {
    let invalid = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let mut filters = BTreeMap::new();
    for component in &request.components {
        let entity_type = &*component.entity_type;
        if entity_type.is_empty() {
            return invalid("Invalid empty entity type.".to_owned());
        }
        if filters.contains_key(entity_type) {
            return invalid(format!("Entity type {entity_type} cannot appear more than once in the filter."));
        }
        if !["user", "client-id", "ip"].contains(&entity_type) {
            let text = format!("Unsupported entity type {entity_type}");
            return Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        }
        let filter = match (component.match_type, component.r#match.as_deref()) {
            (EXACT, Some(name)) => QuotaFilter::Name(name.to_owned()),
            (EXACT, None) => {
                return invalid("Request specified MATCH_TYPE_EXACT, but set match string to null.".to_owned());
            }
            (DEFAULT, None) => QuotaFilter::Default,
            (SPECIFIED, None) => QuotaFilter::Any,
            (DEFAULT, Some(_)) => {
                let text = "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.";
                return invalid(text.to_owned());
            }
            (SPECIFIED, Some(_)) => {
                let text = "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.";
                return invalid(text.to_owned());
            }
            (other, _) => return invalid(format!("Unknown match type {other}")),
        };
        filters.insert(entity_type.to_owned(), filter);
    }
    if filters.contains_key("ip") && filters.len() > 1 {
        let text = "Invalid entity filter component combination. IP filter component should not be used with user or \
                    clientId filter component.";
        return invalid(text.to_owned());
    }
    Ok(filters)
}
