//! AlterConfigs v0–2 (KIP-133): the configs of a resource become these and no others.
//!
//! Rights and refusals: [`super::config_changes`].

use bytes::Bytes;

use super::config_changes::{Asked, BROKER_LOGGER, alter, check_names, text};
use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ConfigChange};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::alter_configs_request::{AlterConfigsRequest, AlterConfigsResource};
use crate::protocol::messages::alter_configs_response::{AlterConfigsResourceResponse, AlterConfigsResponse};
use crate::protocol::wire::{DecodeError, Message as _, Reader};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::AlterConfigs, Order::Barrier, |context, body| Box::pin(handle(context, body)));

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = AlterConfigsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    let asked = request.resources.iter().map(|resource| Asked {
        resource_type: resource.resource_type,
        name: resource.resource_name.to_string(),
        change: change(resource),
    });
    let results = alter(context, asked.collect(), request.validate_only).await;
    let responses = request.resources.iter().zip(results).map(|(resource, result)| {
        let error = result.err();
        AlterConfigsResourceResponse {
            error_code: error.as_ref().map_or(ErrorCode::None, ApiError::code).code(),
            error_message: error.as_ref().and_then(ApiError::message).map(Into::into),
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.clone(),
        }
    });
    let response = AlterConfigsResponse { responses: responses.collect(), ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

fn change(resource: &AlterConfigsResource) -> Result<ConfigChange, ApiError> {
    if resource.resource_type == BROKER_LOGGER {
        // Loggers came after this API.
        let text = format!("Unknown resource type {BROKER_LOGGER}");
        return Err(ApiError::new(ErrorCode::InvalidRequest, text));
    }
    let names = resource.configs.iter().map(|config| &*config.name);
    let nulls = resource.configs.iter().filter(|config| config.value.is_none()).map(|config| &*config.name);
    check_names(names, nulls)?;
    let values = resource.configs.iter();
    let values = values.map(|config| (text(&config.name), text(config.value.as_deref().unwrap_or_default())));
    Ok(ConfigChange::Replace(values.collect()))
}
