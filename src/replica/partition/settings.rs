//! What a partition must know of its topic's configuration.

use std::sync::Arc;

use crate::log::config::LogConfig;
use crate::log::validator::TargetCompression;

/// One topic's settings, as the lane and the connections need them.
#[derive(Clone, Debug, Default)]
pub struct PartitionSettings {
    pub log: Arc<LogConfig>,
    /// `compression.type`; `None` is `producer`.
    pub compression: Option<TargetCompression>,
}

impl PartitionSettings {
    /// `min.insync.replicas`
    pub fn min_insync_replicas(&self) -> usize {
        usize::try_from(self.log.min_insync_replicas).unwrap_or(usize::MAX)
    }
}
