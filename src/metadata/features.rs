//! Finalized features (KIP-584).

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::metadata_version::{MetadataVersion, UnknownMetadataVersion};
use crate::protocol::records::metadata::FeatureLevelRecord;

/// Which features are finalized, at which level. A feature at level 0 is absent.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct FeaturesImage {
    metadata_version: Option<MetadataVersion>,
    others: RedBlackTreeMapSync<Arc<str>, i16>,
}

impl FeaturesImage {
    /// KIP-966.
    pub const ELIGIBLE_LEADER_REPLICAS: &'static str = "eligible.leader.replicas.version";
    pub const GROUP: &'static str = "group.version";
    pub const TRANSACTION: &'static str = "transaction.version";

    /// `None` before the first record; such an image can't be written to.
    pub fn metadata_version(&self) -> Option<MetadataVersion> {
        self.metadata_version
    }

    /// What decides record versions: the finalized level, or the oldest as long as there is none.
    pub fn metadata_version_or_minimum(&self) -> MetadataVersion {
        self.metadata_version.unwrap_or(MetadataVersion::MINIMUM)
    }

    /// Level of a feature; 0 if it is not finalized.
    pub fn level(&self, name: &str) -> i16 {
        if name == MetadataVersion::FEATURE {
            return self.metadata_version.map_or(0, MetadataVersion::level);
        }
        self.others.get(name).copied().unwrap_or(0)
    }

    /// Every finalized feature: `metadata.version` first, the others by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, i16)> {
        let first = self.metadata_version.map(|version| (MetadataVersion::FEATURE, version.level()));
        first.into_iter().chain(self.others.iter().map(|(name, level)| (&**name, *level)))
    }

    /// Are eligible leader replicas kept (KIP-966)?
    pub fn is_elr_enabled(&self) -> bool {
        self.level(Self::ELIGIBLE_LEADER_REPLICAS) >= 1
    }

    pub(super) fn apply(&mut self, record: &FeatureLevelRecord) -> Result<(), UnknownMetadataVersion> {
        let name: &str = &record.name;
        if name == MetadataVersion::FEATURE {
            self.metadata_version = Some(MetadataVersion::from_level(record.feature_level)?);
        } else if record.feature_level == 0 {
            self.others.remove_mut(name);
        } else {
            self.others.insert_mut(name.into(), record.feature_level);
        }
        Ok(())
    }
}
