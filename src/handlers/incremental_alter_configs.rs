//! IncrementalAlterConfigs v0–1 (KIP-339): single configs of a resource are set, taken away, added to or cut.
//!
//! Rights and refusals: [`super::config_changes`].

use bytes::Bytes;

use super::config_changes::{Asked, alter, check_names, text};
use super::{Order, Reply, RequestContext, Spec};
use crate::controller::{ApiError, ConfigChange, ConfigOperation};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::ApiKey;
use crate::protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use crate::protocol::messages::incremental_alter_configs_response::{
    AlterConfigsResourceResponse, IncrementalAlterConfigsResponse,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};

pub(super) const SPEC: Spec =
    Spec::new(ApiKey::IncrementalAlterConfigs, Order::Barrier, |context, body| Box::pin(handle(context, body)));

/// `AlterConfigOp.OpType`
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let request = IncrementalAlterConfigsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
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
    let response = IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() };
    Ok(Reply::Now(context.responder().respond(&response)))
}

fn change(resource: &AlterConfigsResource) -> Result<ConfigChange, ApiError> {
    let names = resource.configs.iter().map(|config| &*config.name);
    let is_null = |config: &&AlterableConfig| config.config_operation != DELETE && config.value.is_none();
    check_names(names, resource.configs.iter().filter(is_null).map(|config| &*config.name))?;
    let operation = |config: &AlterableConfig| {
        let value = || text(config.value.as_deref().unwrap_or_default());
        let operation = match config.config_operation {
            SET => ConfigOperation::Set(value()),
            DELETE => ConfigOperation::Delete,
            APPEND => ConfigOperation::Append(value()),
            SUBTRACT => ConfigOperation::Subtract(value()),
            other => {
                let text = format!("Unknown operation type {other}");
                return Err(ApiError::new(ErrorCode::InvalidRequest, text));
            }
        };
        Ok((text(&config.name), operation))
    };
    resource.configs.iter().map(operation).collect::<Result<_, _>>().map(ConfigChange::Operations)
}
