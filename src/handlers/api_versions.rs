//! ApiVersions v0–4 (KIP-35; KIP-511 client software and flexible header; KIP-584 features; KIP-1022 features at level 0).
//!
//! Lists exactly the handler table. An unknown version is answered with UNSUPPORTED_VERSION in a body of v0, so that the
//! client can try again; v3 and newer are refused with INVALID_REQUEST where the client's name or version is not made of
//! the characters KIP-511 allows. Versions up to 3 leave out supported features that start at 0: older clients throw on
//! them.

use bytes::Bytes;

use super::{ClientSoftware, Order, Reply, RequestContext, Spec, table};
use crate::model::error_code::ErrorCode;
use crate::protocol::api::{ApiKey, ListenerType};
use crate::protocol::messages::api_versions_request::ApiVersionsRequest;
use crate::protocol::messages::api_versions_response::{
    ApiVersion, ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey,
};
use crate::protocol::wire::{DecodeError, Message as _, Reader};

pub(super) const SPEC: Spec = Spec {
    on_controller_listeners: true,
    before_authentication: true,
    ..Spec::new(ApiKey::ApiVersions, Order::Barrier, |context, body| Box::pin(handle(context, body)))
};

async fn handle(context: &RequestContext<'_>, body: Bytes) -> Result<Reply, DecodeError> {
    let responder = context.responder();
    let versions = ApiKey::ApiVersions.versions();
    if !versions.contains(context.header.api_version) {
        let response = ApiVersionsResponse {
            error_code: ErrorCode::UnsupportedVersion.code(),
            api_keys: vec![entry(ApiKey::ApiVersions, context.listener_type())],
            ..Default::default()
        };
        return Ok(Reply::Now(responder.respond_as(&response, 0, Vec::new())));
    }
    let request = ApiVersionsRequest::decode(&mut Reader::new(body), context.header.api_version)?;
    if context.header.api_version >= 3 {
        let (name, version) = (&*request.client_software_name, &*request.client_software_version);
        if !is_software_text(name) || !is_software_text(version) {
            let response = ApiVersionsResponse { error_code: ErrorCode::InvalidRequest.code(), ..Default::default() };
            return Ok(Reply::Now(responder.respond(&response)));
        }
        *context.connection.software.borrow_mut() = ClientSoftware { name: name.into(), version: version.into() };
    }
    Ok(Reply::Now(responder.respond(&answer(context))))
}

fn answer(context: &RequestContext<'_>) -> ApiVersionsResponse {
    let listener = context.listener_type();
    let served = table().iter().filter(|spec| spec.on_controller_listeners || listener == ListenerType::Broker);
    let features = context.features();
    ApiVersionsResponse {
        error_code: ErrorCode::None.code(),
        api_keys: served.map(|spec| entry(spec.key, listener)).collect(),
        supported_features: features
            .supported
            .into_iter()
            .filter(|feature| context.header.api_version >= 4 || feature.min > 0)
            .map(|feature| SupportedFeatureKey {
                name: feature.name.into(),
                min_version: feature.min,
                max_version: feature.max,
            })
            .collect(),
        finalized_features_epoch: features.epoch,
        finalized_features: features
            .finalized
            .into_iter()
            .map(|(name, level)| FinalizedFeatureKey {
                name: (&*name).into(),
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..Default::default()
    }
}

fn entry(key: ApiKey, listener: ListenerType) -> ApiVersion {
    let announced = key.announced_on(listener).unwrap_or(key.versions());
    ApiVersion { api_key: key.number(), min_version: announced.min, max_version: announced.max }
}

/// `[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?`, as KIP-511 has it.
fn is_software_text(text: &str) -> bool {
    let ends = [text.bytes().next(), text.bytes().next_back()];
    ends.iter().all(|b| b.is_some_and(|b| b.is_ascii_alphanumeric()))
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_texts_are_plain() {
        for good in ["apache-kafka-java", "4.3.1", "a", "librdkafka"] {
            assert!(is_software_text(good), "{good}");
        }
        for bad in ["", " ", "a b", "-a", "a-", "a\n", "é", "\u{1b}[31m"] {
            assert!(!is_software_text(bad), "{bad:?}");
        }
    }
}
