//! The keys that are used, as fields of the right type.

use super::keys::Value;

/// A value as the type a field wants. `None` only if table and field disagree, which a test rules out.
trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Bool(value) = value { Some(*value) } else { None }
    }
}

impl FromValue for i16 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Short(value) = value { Some(*value) } else { None }
    }
}

impl FromValue for i32 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Int(value) = value { Some(*value) } else { None }
    }
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Long(value) = value { Some(*value) } else { None }
    }
}

impl FromValue for f64 {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Double(value) = value { Some(*value) } else { None }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::Text(value) = value { Some(value.clone()) } else { None }
    }
}

impl FromValue for Vec<String> {
    fn from_value(value: &Value) -> Option<Self> {
        if let Value::List(value) = value { Some(value.clone()) } else { None }
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        if *value == Value::Null { Some(None) } else { T::from_value(value).map(Some) }
    }
}

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty = $name:literal;)*) => {
        /// Typed values of the keys that parts of the broker use directly. Each field is its key with `_` for `.`; keys of
        /// topics are in [`super::topic::TopicConfig`], those of listeners in their [`super::broker_config::ListenerConfig`].
        #[derive(Clone, PartialEq, Debug)]
        pub struct Settings { $($(#[$doc])* pub $field: $type,)* }

        impl Settings {
            /// Names of the keys in here.
            pub const NAMES: &'static [&'static str] = &[$($name),*];

            /// # Errors
            /// The name of a key whose value is not of the field's type.
            pub(super) fn new(value: impl Fn(&'static str) -> Value) -> Result<Self, &'static str> {
                Ok(Self { $($field: FromValue::from_value(&value($name)).ok_or($name)?,)* })
            }
        }
    };
}

settings! {
    auto_create_topics_enable: bool = "auto.create.topics.enable";
    broker_heartbeat_interval_ms: i32 = "broker.heartbeat.interval.ms";
    broker_rack: Option<String> = "broker.rack";
    broker_session_timeout_ms: i32 = "broker.session.timeout.ms";
    connection_failed_authentication_delay_ms: i32 = "connection.failed.authentication.delay.ms";
    connections_max_idle_ms: i64 = "connections.max.idle.ms";
    connections_max_reauth_ms: i64 = "connections.max.reauth.ms";
    cordoned_log_dirs: Vec<String> = "cordoned.log.dirs";
    default_replication_factor: i32 = "default.replication.factor";
    delete_topic_enable: bool = "delete.topic.enable";
    fetch_max_bytes: i32 = "fetch.max.bytes";
    group_initial_rebalance_delay_ms: i32 = "group.initial.rebalance.delay.ms";
    group_max_session_timeout_ms: i32 = "group.max.session.timeout.ms";
    group_max_size: i32 = "group.max.size";
    group_min_session_timeout_ms: i32 = "group.min.session.timeout.ms";
    initial_broker_registration_timeout_ms: i32 = "initial.broker.registration.timeout.ms";
    log_cleaner_backoff_ms: i64 = "log.cleaner.backoff.ms";
    log_cleaner_dedupe_buffer_size: i64 = "log.cleaner.dedupe.buffer.size";
    log_cleaner_enable: bool = "log.cleaner.enable";
    log_cleaner_io_buffer_load_factor: f64 = "log.cleaner.io.buffer.load.factor";
    log_cleaner_io_max_bytes_per_second: f64 = "log.cleaner.io.max.bytes.per.second";
    log_cleaner_threads: i32 = "log.cleaner.threads";
    log_flush_offset_checkpoint_interval_ms: i32 = "log.flush.offset.checkpoint.interval.ms";
    log_flush_scheduler_interval_ms: i64 = "log.flush.scheduler.interval.ms";
    log_flush_start_offset_checkpoint_interval_ms: i32 = "log.flush.start.offset.checkpoint.interval.ms";
    log_initial_task_delay_ms: i64 = "log.initial.task.delay.ms";
    log_retention_check_interval_ms: i64 = "log.retention.check.interval.ms";
    max_connection_creation_rate: i32 = "max.connection.creation.rate";
    max_connections: i32 = "max.connections";
    max_connections_per_ip: i32 = "max.connections.per.ip";
    max_incremental_fetch_session_cache_slots: i32 = "max.incremental.fetch.session.cache.slots";
    max_request_partition_size_limit: i32 = "max.request.partition.size.limit";
    message_max_bytes: i32 = "message.max.bytes";
    metadata_log_max_record_bytes_between_snapshots: i64 = "metadata.log.max.record.bytes.between.snapshots";
    metadata_log_max_snapshot_interval_ms: i64 = "metadata.log.max.snapshot.interval.ms";
    metadata_log_segment_bytes: i32 = "metadata.log.segment.bytes";
    metadata_log_segment_ms: i64 = "metadata.log.segment.ms";
    metadata_max_idle_interval_ms: i32 = "metadata.max.idle.interval.ms";
    metadata_max_retention_bytes: i64 = "metadata.max.retention.bytes";
    metadata_max_retention_ms: i64 = "metadata.max.retention.ms";
    min_insync_replicas: i32 = "min.insync.replicas";
    num_network_threads: i32 = "num.network.threads";
    num_partitions: i32 = "num.partitions";
    num_recovery_threads_per_data_dir: i32 = "num.recovery.threads.per.data.dir";
    offset_metadata_max_bytes: i32 = "offset.metadata.max.bytes";
    offsets_retention_check_interval_ms: i64 = "offsets.retention.check.interval.ms";
    offsets_retention_minutes: i32 = "offsets.retention.minutes";
    offsets_topic_compression_codec: i32 = "offsets.topic.compression.codec";
    offsets_topic_num_partitions: i32 = "offsets.topic.num.partitions";
    offsets_topic_replication_factor: i16 = "offsets.topic.replication.factor";
    offsets_topic_segment_bytes: i32 = "offsets.topic.segment.bytes";
    producer_id_expiration_check_interval_ms: i32 = "producer.id.expiration.check.interval.ms";
    producer_id_expiration_ms: i32 = "producer.id.expiration.ms";
    /// -1 takes a share of the machine's memory.
    queued_max_request_bytes: i64 = "queued.max.request.bytes";
    queued_max_requests: i32 = "queued.max.requests";
    replica_high_watermark_checkpoint_interval_ms: i64 = "replica.high.watermark.checkpoint.interval.ms";
    replica_lag_time_max_ms: i64 = "replica.lag.time.max.ms";
    request_timeout_ms: i32 = "request.timeout.ms";
    sasl_mechanism_inter_broker_protocol: String = "sasl.mechanism.inter.broker.protocol";
    sasl_server_max_receive_size: i32 = "sasl.server.max.receive.size";
    socket_listen_backlog_size: i32 = "socket.listen.backlog.size";
    /// -1 leaves it to the system.
    socket_receive_buffer_bytes: i32 = "socket.receive.buffer.bytes";
    socket_request_max_bytes: i32 = "socket.request.max.bytes";
    /// -1 leaves it to the system.
    socket_send_buffer_bytes: i32 = "socket.send.buffer.bytes";
    transaction_state_log_min_isr: i32 = "transaction.state.log.min.isr";
    transaction_state_log_num_partitions: i32 = "transaction.state.log.num.partitions";
    transaction_state_log_replication_factor: i16 = "transaction.state.log.replication.factor";
    transaction_state_log_segment_bytes: i32 = "transaction.state.log.segment.bytes";
    unclean_leader_election_enable: bool = "unclean.leader.election.enable";
}

#[cfg(test)]
mod tests {
    use super::super::keys::{self, Status};
    use super::*;
    use crate::config::values::Values;

    #[test]
    fn every_field_has_its_key_and_type() {
        let settings = Settings::new(|name| Values::default().get(name)).unwrap();
        assert_eq!(settings.num_network_threads, 3);
        assert_eq!(settings.broker_rack, None);
        for name in Settings::NAMES {
            assert_eq!(keys::kafka_broker(name).map(|key| key.status), Some(Status::Used), "{name}");
        }
    }
}
