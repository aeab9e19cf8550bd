//! Client quotas: stored and listed (`ClientQuotaControlManager`, KIP-546).

use std::net::IpAddr;
use std::sync::Arc;

use super::request::ApiError;
use super::{Controller, ControllerResponse, Outcome};
use crate::metadata::client_quotas::ClientQuotaEntity;
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::error_code::ErrorCode;
use crate::protocol::records::metadata::ClientQuotaRecord;
use crate::protocol::records::metadata::client_quota_record::EntityData;
use crate::security::authorizer::permit::{Permit, op};

const USER: &str = "user";
const CLIENT_ID: &str = "client-id";
const IP: &str = "ip";
/// What a fraction may be before a whole number is none.
const EPSILON: f64 = 1e-6;

/// `AlterClientQuotas`.
#[derive(Debug)]
pub struct AlterClientQuotas {
    /// For the cluster.
    pub permit: Permit<op::AlterConfigs>,
    pub entries: Vec<AlterQuotaEntity>,
    pub validate_only: bool,
}

/// What is to become of one entity's quotas.
#[derive(Debug)]
pub struct AlterQuotaEntity {
    /// Types and names, `None` for the default.
    pub entity: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Names and values; `None` takes the quota away.
    pub values: Vec<(Arc<str>, Option<f64>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Long,
    Double,
    Int,
}

impl Controller {
    pub(super) fn alter_client_quotas(&self, request: &AlterClientQuotas) -> Outcome {
        let mut records = Vec::new();
        let results = request.entries.iter().map(|entry| {
            records.extend(self.altered_quotas(entry)?);
            Ok(())
        });
        let results: Vec<Result<(), ApiError>> = results.collect();
        if request.validate_only {
            records.clear();
        }
        Outcome::new(records, ControllerResponse::AlterClientQuotas(results))
    }

    fn altered_quotas(&self, entry: &AlterQuotaEntity) -> Result<Vec<RecordAndVersion>, ApiError> {
        let keys = keys_for(&entry.entity)?;
        let entity = ClientQuotaEntity::new(entry.entity.clone());
        let current = self.image.client_quotas.get(&entity);
        let mut records = Vec::new();
        for (name, value) in &entry.values {
            match value {
                None if current.is_none_or(|current| !current.contains_key(name)) => {}
                None => records.push(record(&entity, name, None)),
                Some(value) => {
                    check_value(keys, name, *value)?;
                    records.push(record(&entity, name, Some(*value)));
                }
            }
        }
        Ok(records)
    }
}

fn record(entity: &ClientQuotaEntity, name: &str, value: Option<f64>) -> RecordAndVersion {
    let part = |(entity_type, entity_name): &(Arc<str>, Option<Arc<str>>)| EntityData {
        entity_type: (&**entity_type).into(),
        entity_name: entity_name.as_deref().map(Into::into),
    };
    RecordAndVersion::v0(ClientQuotaRecord {
        entity: entity.parts().iter().map(part).collect(),
        key: name.into(),
        value: value.unwrap_or_default(),
        remove: value.is_none(),
    })
}

/// The quotas that an entity can have, if it is one.
fn keys_for(entity: &[(Arc<str>, Option<Arc<str>>)]) -> Result<&'static [(&'static str, Kind)], ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    if entity.is_empty() {
        return refuse("Invalid empty client quota entity".to_owned());
    }
    for (entity_type, name) in entity {
        if ![USER, CLIENT_ID, IP].contains(&&**entity_type) {
            return refuse(format!("Unhandled client quota entity type: {entity_type}"));
        }
        if name.as_deref() == Some("") {
            return refuse(format!("Empty {entity_type} not supported"));
        }
    }
    let of = |wanted: &str| entity.iter().find(|(entity_type, _)| &**entity_type == wanted);
    let Some((_, ip)) = of(IP) else {
        return Ok(&[
            ("producer_byte_rate", Kind::Long),
            ("consumer_byte_rate", Kind::Long),
            ("request_percentage", Kind::Double),
            ("controller_mutation_rate", Kind::Double),
        ]);
    };
    if entity.len() > 1 {
        let text = "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId";
        return refuse(text.to_owned());
    }
    match ip {
        Some(ip) if ip.parse::<IpAddr>().is_err() => refuse(format!("{ip} is not a valid IP or resolvable host.")),
        _ => Ok(&[("connection_creation_rate", Kind::Int)]),
    }
}

fn check_value(keys: &[(&str, Kind)], name: &str, value: f64) -> Result<(), ApiError> {
    let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
    let Some((_, kind)) = keys.iter().find(|(known, _)| *known == name) else {
        return refuse(format!("Invalid configuration key {name}"));
    };
    let too_large = match kind {
        Kind::Int if value > f64::from(i32::MAX) => Some("an INT"),
        Kind::Long if value > 9.2e18 => Some("a LONG"),
        Kind::Double | Kind::Int | Kind::Long => None,
    };
    if let Some(kind) = too_large {
        return refuse(format!("Proposed value for {name} is too large for {kind}."));
    }
    if *kind != Kind::Double && (value % 1.0).abs() > EPSILON {
        return refuse(format!("{name} cannot be a fractional value."));
    }
    Ok(())
}
