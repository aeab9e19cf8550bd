//! Taking over: what a new active controller writes first, and which features it lets be finalized.
//!
//! Precedent: Kafka's `ActivationRecordsGenerator`, `BootstrapMetadata`, `ControllerRegistrationManager`. What our own
//! format finalizes is `metadata.version` alone: other features are announced when they work.

use super::request::ControllerResponse;
use super::{Controller, Outcome};
use crate::metadata::cluster::{EndPoint, FeatureRange};
use crate::metadata::configs::ConfigResourceType;
use crate::metadata::features::FeaturesImage;
use crate::metadata::metadata_version::MetadataVersion;
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::register_controller_record::{ControllerEndpoint, ControllerFeature};
use crate::protocol::records::metadata::{
    AbortTransactionRecord, BeginTransactionRecord, ConfigRecord, EndTransactionRecord, FeatureLevelRecord,
    MetadataRecord, RegisterControllerRecord,
};

/// This node was elected.
#[derive(Clone, Debug)]
pub struct ActivateController {
    /// What `bootstrap.checkpoint` holds; written if the log holds nothing.
    pub bootstrap: Vec<RecordAndVersion>,
}

/// What the controller says about itself (KIP-919).
#[derive(Clone, Debug)]
pub struct ControllerRegistration {
    pub incarnation_id: Uuid,
    /// Controller listeners; none where only this process' broker asks.
    pub end_points: Vec<EndPoint>,
}

impl FeaturesImage {
    /// The ranges that this broker registers with: what it implements, and the levels that were finalized before it
    /// came, which it keeps without lowering them. Clients are shown only the former.
    pub fn supported_ranges(&self) -> Vec<FeatureRange> {
        let range = |name: &str, min, max| FeatureRange { name: name.into(), min, max };
        let own = range(MetadataVersion::FEATURE, MetadataVersion::MINIMUM.level(), MetadataVersion::LATEST.level());
        let found = self.iter().filter(|(name, _)| *name != MetadataVersion::FEATURE);
        std::iter::once(own).chain(found.map(|(name, level)| range(name, 0, level))).collect()
    }
}

impl Controller {
    pub(super) fn activate(&self, request: &ActivateController) -> Outcome {
        let mut records = Vec::new();
        if self.image.in_transaction() {
            // The controller before this one died in the middle: whatever it was, it did not happen.
            let reason = Some("Controller failover".into());
            records.push(RecordAndVersion::v0(AbortTransactionRecord { reason }));
        }
        if self.image.settled().features.metadata_version().is_none() {
            records.append(&mut bootstrap(&request.bootstrap));
        }
        Outcome::new(records, ControllerResponse::Activate)
    }

    /// Says where this controller is found and what it supports.
    pub(super) fn register_controller(&self, registration: &ControllerRegistration) -> Outcome {
        let version = self.image.features.metadata_version_or_minimum();
        let supported = version.is_controller_registration_supported();
        let records = supported.then(|| self.controller_record(registration)).into_iter().collect();
        Outcome::new(records, ControllerResponse::RegisterController)
    }

    fn controller_record(&self, registration: &ControllerRegistration) -> RecordAndVersion {
        let end_point = |e: &EndPoint| ControllerEndpoint {
            name: (&*e.name).into(),
            host: (&*e.host).into(),
            port: e.port,
            security_protocol: e.security_protocol,
        };
        let feature = |f: FeatureRange| ControllerFeature {
            name: (&*f.name).into(),
            min_supported_version: f.min,
            max_supported_version: f.max,
        };
        RecordAndVersion::v0(RegisterControllerRecord {
            controller_id: self.settings.node_id.0,
            incarnation_id: registration.incarnation_id,
            zk_migration_ready: false,
            end_points: registration.end_points.iter().map(end_point).collect(),
            features: self.image.features.supported_ranges().into_iter().map(feature).collect(),
        })
    }
}

/// Records that a new log begins with, in a transaction where the level knows them.
fn bootstrap(records: &[RecordAndVersion]) -> Vec<RecordAndVersion> {
    let version = finalized(records).unwrap_or(MetadataVersion::LATEST);
    let mut all = Vec::new();
    if version.is_metadata_transaction_supported() {
        let name = Some("Bootstrap records".into());
        all.push(RecordAndVersion::v0(BeginTransactionRecord { name }));
    }
    if finalized(records).is_none() {
        let name = MetadataVersion::FEATURE.into();
        all.push(RecordAndVersion::v0(FeatureLevelRecord { name, feature_level: version.level() }));
    }
    all.extend_from_slice(records);
    let elr = records.iter().any(|record| match &record.record {
        MetadataRecord::FeatureLevel(r) => &*r.name == FeaturesImage::ELIGIBLE_LEADER_REPLICAS && r.feature_level >= 1,
        _ => false,
    });
    if elr {
        // With ELR the cluster's default decides who is eligible, so it has to be in the log.
        all.push(RecordAndVersion::v0(ConfigRecord {
            resource_type: ConfigResourceType::BROKER.0,
            resource_name: "".into(),
            name: super::configs::MIN_INSYNC_REPLICAS.into(),
            value: Some("1".into()),
        }));
    }
    if version.is_metadata_transaction_supported() {
        all.push(RecordAndVersion::v0(EndTransactionRecord::default()));
    }
    all
}

fn finalized(records: &[RecordAndVersion]) -> Option<MetadataVersion> {
    records.iter().find_map(|record| match &record.record {
        MetadataRecord::FeatureLevel(r) if &*r.name == MetadataVersion::FEATURE => {
            MetadataVersion::from_level(r.feature_level).ok()
        }
        _ => None,
    })
}
