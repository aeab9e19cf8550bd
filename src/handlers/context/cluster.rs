//! Brokers and features as a client sees them. Whoever may connect may see them, as in Kafka.

use std::sync::Arc;

use super::RequestContext;
use crate::metadata::features::FeaturesImage;
use crate::metadata::metadata_version::MetadataVersion;
use crate::metadata::scram::ScramDescription;

/// A broker's address on the listener that the request came in by.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerView {
    pub id: i32,
    pub host: Arc<str>,
    pub port: i32,
    pub rack: Option<Arc<str>>,
    pub is_fenced: bool,
}

/// What this broker could do, and what the cluster has agreed on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Features {
    pub supported: Vec<SupportedFeature>,
    pub finalized: Vec<(Arc<str>, i16)>,
    /// Offset of the last applied metadata record, as Kafka's brokers say it.
    pub epoch: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SupportedFeature {
    pub name: &'static str,
    pub min: i16,
    pub max: i16,
}

/// What clients are shown: only what is built.
const SUPPORTED: [SupportedFeature; 1] = [SupportedFeature {
    name: MetadataVersion::FEATURE,
    min: MetadataVersion::MINIMUM.level(),
    max: MetadataVersion::LATEST.level(),
}];

impl RequestContext<'_> {
    /// The brokers that have an address on this listener, by id; fenced ones only if they are asked for.
    pub fn brokers(&self, with_fenced: bool) -> Vec<BrokerView> {
        let image = self.broker.image.load();
        let listener = self.connection.listener.name.as_str();
        let mut brokers: Vec<BrokerView> = image
            .cluster
            .brokers()
            .filter(|broker| with_fenced || !broker.fenced)
            .filter_map(|broker| {
                let end_point = broker.end_point(listener)?;
                Some(BrokerView {
                    id: broker.id.0,
                    host: Arc::clone(&end_point.host),
                    port: i32::from(end_point.port),
                    rack: broker.rack.clone(),
                    is_fenced: broker.fenced,
                })
            })
            .collect();
        brokers.sort_unstable_by_key(|broker| broker.id);
        brokers
    }

    /// What is known of users' SCRAM credentials, of all if none is named. For those who may Describe the cluster.
    pub fn describe_scram(&self, users: &[&str]) -> Vec<ScramDescription> {
        self.broker.image.load().scram.describe(users)
    }

    pub fn features(&self) -> Features {
        let image = self.broker.image.load();
        let shown = |name: &str| SUPPORTED.iter().any(|feature| feature.name == name);
        let finalized: &FeaturesImage = &image.features;
        Features {
            supported: SUPPORTED.to_vec(),
            finalized: finalized
                .iter()
                .filter(|(name, _)| shown(name))
                .map(|(name, level)| (name.into(), level))
                .collect(),
            epoch: image.offset(),
        }
    }
}
