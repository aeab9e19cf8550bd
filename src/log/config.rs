//! What a log must know of its topic's configuration, as typed values (`LogConfig`).
//!
//! Filled by the floors above from topic and broker configuration; nothing here reads a key.

use std::time::Duration;

use crate::model::compression::TimestampType;

/// `cleanup.policy`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    pub delete: bool,
    pub compact: bool,
}

/// One topic's settings. Sizes in bytes, times in milliseconds; `None` is Kafka's -1: without limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LogConfig {
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
    /// `segment.jitter.ms`
    pub segment_jitter_ms: i64,
    /// `retention.ms`
    pub retention_ms: Option<i64>,
    /// `retention.bytes`
    pub retention_bytes: Option<u64>,
    /// `cleanup.policy`
    pub cleanup_policy: CleanupPolicy,
    /// `delete.retention.ms`: how long a compaction keeps tombstones.
    pub delete_retention_ms: i64,
    /// `min.cleanable.dirty.ratio`, in millionths.
    pub min_cleanable_dirty_ppm: u32,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`; `None`: without limit.
    pub max_compaction_lag_ms: Option<i64>,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `segment.index.bytes`
    pub segment_index_bytes: u32,
    /// `max.message.bytes`
    pub max_message_bytes: u32,
    /// `flush.messages`: sync after so many records; `None`: leave it to the page cache.
    pub flush_messages: Option<u64>,
    /// `flush.ms`
    pub flush_ms: Option<i64>,
    /// `file.delete.delay.ms`
    pub file_delete_delay: Duration,
    /// `preallocate`
    pub preallocate: bool,
    /// `message.timestamp.type`
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `min.insync.replicas`
    pub min_insync_replicas: u32,
    /// `producer.id.expiration.ms`, a broker key.
    pub producer_id_expiration_ms: i64,
    /// Producers a partition remembers at most; past it the one idle for longest is forgotten.
    pub producers_max: usize,
}

impl LogConfig {
    const HOUR_MS: i64 = 60 * 60 * 1000;

    /// The longest a segment stays the active one: only closed segments are compacted, so `max.compaction.lag.ms` may
    /// shorten it (`LogConfig.maxSegmentMs`).
    pub fn active_ms_max(&self) -> i64 {
        match self.max_compaction_lag_ms {
            Some(lag) if self.cleanup_policy.compact => lag.min(self.segment_ms),
            _ => self.segment_ms,
        }
    }
}

impl Default for LogConfig {
    /// Apache Kafka 4.3's defaults.
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: 7 * 24 * Self::HOUR_MS,
            segment_jitter_ms: 0,
            retention_ms: Some(7 * 24 * Self::HOUR_MS),
            retention_bytes: None,
            cleanup_policy: CleanupPolicy { delete: true, compact: false },
            delete_retention_ms: 24 * Self::HOUR_MS,
            min_cleanable_dirty_ppm: 500_000,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: None,
            index_interval_bytes: 4096,
            segment_index_bytes: 10 << 20,
            max_message_bytes: 1024 * 1024 + 12,
            flush_messages: None,
            flush_ms: None,
            file_delete_delay: Duration::from_secs(60),
            preallocate: false,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: Self::HOUR_MS,
            min_insync_replicas: 1,
            producer_id_expiration_ms: 24 * Self::HOUR_MS,
            producers_max: 100_000,
        }
    }
}
