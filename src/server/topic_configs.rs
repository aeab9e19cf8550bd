//! A topic's configuration as its log and its partition need it.

use std::sync::Arc;
use std::time::Duration;

use super::dynamic;
use crate::config::topic::TopicConfig;
use crate::config::{self, BrokerConfig};
use crate::log::config::{CleanupPolicy, LogConfig};
use crate::log::validator::TargetCompression;
use crate::metadata::configs::ConfigResource;
use crate::metadata::image::MetadataImage;
use crate::model::compression::CompressionType;
use crate::replica::partition::settings::PartitionSettings;

/// What holds for the partitions of a topic: its overrides, over the dynamic values of broker and cluster, over the file.
pub fn partition_settings(config: &BrokerConfig, image: &MetadataImage, topic: &str) -> PartitionSettings {
    let overrides = |name: &str| image.configs.value(&ConfigResource::topic(topic), name).cloned();
    dynamic::behind(config, image, |behind| {
        let topic = TopicConfig::resolve(&overrides, behind);
        let level = match topic.compression_type {
            Some(CompressionType::Gzip) => Some(topic.compression_gzip_level),
            Some(CompressionType::Lz4) => Some(topic.compression_lz4_level),
            Some(CompressionType::Zstd) => Some(topic.compression_zstd_level),
            _ => None,
        };
        let producer_id_expiration_ms = config::dynamic::settings(config, behind).producer_id_expiration_ms;
        PartitionSettings {
            log: Arc::new(log_config(&topic, producer_id_expiration_ms.into())),
            compression: topic.compression_type.map(|codec| TargetCompression { codec, level }),
        }
    })
}

fn log_config(topic: &TopicConfig, producer_id_expiration_ms: i64) -> LogConfig {
    let limit = |value: i64| u64::try_from(value).ok();
    let size = |value: i32| u32::try_from(value).unwrap_or(0);
    LogConfig {
        segment_bytes: size(topic.segment_bytes),
        segment_ms: topic.segment_ms,
        segment_jitter_ms: topic.segment_jitter_ms,
        retention_ms: Some(topic.retention_ms).filter(|ms| *ms >= 0),
        retention_bytes: limit(topic.retention_bytes),
        cleanup_policy: CleanupPolicy { delete: topic.cleanup_delete, compact: topic.cleanup_compact },
        delete_retention_ms: topic.delete_retention_ms,
        min_cleanable_dirty_ppm: ppm(topic.min_cleanable_dirty_ratio),
        min_compaction_lag_ms: topic.min_compaction_lag_ms,
        max_compaction_lag_ms: Some(topic.max_compaction_lag_ms).filter(|ms| *ms != i64::MAX),
        index_interval_bytes: size(topic.index_interval_bytes),
        segment_index_bytes: size(topic.segment_index_bytes),
        max_message_bytes: size(topic.max_message_bytes),
        flush_messages: limit(topic.flush_messages).filter(|_| topic.flush_messages != i64::MAX),
        flush_ms: Some(topic.flush_ms).filter(|ms| *ms != i64::MAX),
        file_delete_delay: Duration::from_millis(limit(topic.file_delete_delay_ms).unwrap_or(0)),
        preallocate: topic.preallocate,
        timestamp_type: topic.message_timestamp_type,
        timestamp_before_max_ms: topic.message_timestamp_before_max_ms,
        timestamp_after_max_ms: topic.message_timestamp_after_max_ms,
        min_insync_replicas: size(topic.min_insync_replicas),
        producer_id_expiration_ms,
        ..LogConfig::default()
    }
}

/// A ratio from 0 to 1 in millionths.
fn ppm(ratio: f64) -> u32 {
    (ratio.clamp(0.0, 1.0) * 1e6).round() as u32
}
