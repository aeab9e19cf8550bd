//! What Kafka 4.3.1 answered to DescribeConfigs and CreateTopics, and how a topic's values come together.

use super::*;
use crate::config::broker_config::{BrokerConfig, Sources};

/// The node the answers were recorded on, as far as it matters.
fn values() -> Arc<Values> {
    let overrides = [
        ("node.id", "1"),
        ("process.roles", "broker,controller"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "1@127.0.0.1:28409"),
        ("listeners", "PLAINTEXT://127.0.0.1:28402,CONTROLLER://127.0.0.1:28409"),
        ("log.segment.delete.delay.ms", "500"),
        ("ssl.key.password", "hunter2"),
        ("my.plugin.key", "x"),
    ];
    let overrides = overrides.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Arc::clone(BrokerConfig::load(Sources { overrides, ..Sources::default() }).unwrap().config.values())
}

fn one(of: &'static [(&'static str, &'static str)]) -> impl Fn(&str) -> Option<Arc<str>> {
    move |name| of.iter().find(|(key, _)| *key == name).map(|(_, value)| Arc::from(*value))
}

fn line(described: &Described) -> String {
    let value = described.value.as_deref().unwrap_or("null");
    let synonyms: Vec<String> = described
        .synonyms
        .iter()
        .map(|s| format!("{}:{}={}", s.source.wire_id(), s.name, s.value.as_deref().unwrap_or("null")))
        .collect();
    let flags = format!("{}{}", u8::from(described.read_only), u8::from(described.sensitive));
    format!("{} {value} {} {flags} {}", described.name, described.source.wire_id(), synonyms.join(" "))
        .trim_end()
        .to_owned()
}

const CLUSTER: &[(&str, &str)] = &[("log.retention.ms", "777"), ("log.roll.ms", "888888")];
const BROKER: &[(&str, &str)] = &[("log.roll.ms", "999999")];

/// Name, value, source, read-only and sensitive, synonyms (sources by their number on the wire).
#[test]
fn a_topic_is_described_as_kafka_does() {
    let values = values();
    let (broker, cluster) = (one(BROKER), one(CLUSTER));
    let behind = Behind { values: &values, broker: &broker, cluster: &cluster };
    let topic = one(&[("retention.ms", "1000"), ("cleanup.policy", "compact,delete")]);
    let described = describe(&topic, behind);
    assert_eq!(described.len(), 33);
    let of = |name: &str| described.iter().find(|d| &*d.name == name).map(line).unwrap();
    for expected in [
        "cleanup.policy compact,delete 1 00 1:cleanup.policy=compact,delete 5:log.cleanup.policy=delete",
        "file.delete.delay.ms 500 4 00 4:log.segment.delete.delay.ms=500 5:log.segment.delete.delay.ms=60000",
        "flush.ms 9223372036854775807 5 00",
        "follower.replication.throttled.replicas  5 00",
        "min.cleanable.dirty.ratio 0.5 5 00 5:log.cleaner.min.cleanable.ratio=0.5",
        "remote.storage.enable false 5 00",
        "retention.ms 1000 1 00 1:retention.ms=1000 3:log.retention.ms=777 5:log.retention.hours=168",
        "segment.jitter.ms 0 5 00",
        "segment.ms 999999 2 00 2:log.roll.ms=999999 3:log.roll.ms=888888 5:log.roll.hours=168",
    ] {
        assert_eq!(of(expected.split(' ').next().unwrap()), expected);
    }
}

#[test]
fn a_broker_is_described_as_kafka_does() {
    let values = values();
    let (broker, cluster) = (one(BROKER), one(CLUSTER));
    let behind = Behind { values: &values, broker: &broker, cluster: &cluster };
    for expected in [
        "broker.id 1 4 10 4:broker.id=1 5:broker.id=-1",
        "node.id 1 4 10 4:node.id=1",
        "controller.quorum.voters 1@127.0.0.1:28409 4 10 4:controller.quorum.voters=1@127.0.0.1:28409 5:controller.quorum.voters=",
        "log.flush.interval.ms null 5 00",
        "log.retention.hours 168 5 10 5:log.retention.hours=168",
        "log.retention.minutes null 5 10",
        "log.retention.ms 777 3 00 3:log.retention.ms=777 5:log.retention.hours=168",
        "log.roll.jitter.ms null 5 00",
        "log.roll.ms 999999 2 00 2:log.roll.ms=999999 3:log.roll.ms=888888 5:log.roll.hours=168",
        "alter.config.policy.class.name null 5 10",
        "ssl.keystore.password null 5 01",
        "ssl.key.password null 4 01 4:ssl.key.password=null",
        "security.inter.broker.protocol PLAINTEXT 5 10 5:security.inter.broker.protocol=PLAINTEXT",
        "my.plugin.key null 4 11 4:my.plugin.key=null",
    ] {
        assert_eq!(line(&describe_broker(expected.split(' ').next().unwrap(), behind, true)), expected);
    }
    let defaults = describe_broker("log.roll.ms", Behind { broker: &nothing, ..behind }, false);
    assert_eq!(line(&defaults), "log.roll.ms 888888 3 00 3:log.roll.ms=888888");
    let names = broker_names(&values, std::iter::empty());
    assert_eq!(names.iter().filter(|name| keys::kafka_broker(name).is_some()).count(), 340);
    assert!(names.contains(&"my.plugin.key"));
}

#[test]
fn illegal_topics_get_kafkas_texts() {
    let values = values();
    let text = |overrides: &[(&str, &str)]| validate_all(overrides, Behind::fixed(&values)).err().unwrap_or_default();
    assert_eq!(
        text(&[("segment.bytes", "1")]),
        "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576"
    );
    assert_eq!(text(&[("foo", "1")]), "Unknown topic config name: foo");
    assert_eq!(
        text(&[("retention.ms", "x")]),
        "Invalid value x for configuration retention.ms: Not a number of type LONG"
    );
    assert_eq!(
        text(&[("min.compaction.lag.ms", "10"), ("max.compaction.lag.ms", "5")]),
        "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)"
    );
    assert_eq!(
        text(&[("remote.storage.enable", "true")]),
        "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
    );
    assert_eq!(text(&[("retention.bytes", "-2"), ("internal.segment.bytes", "1")]), "");
}

#[test]
fn a_topic_takes_what_it_does_not_say_from_the_broker() {
    let overrides: Vec<(String, String)> =
        [("broker.id", "1"), ("log.retention.minutes", "5"), ("log.roll.hours", "2"), ("message.max.bytes", "2000")]
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
    let config = BrokerConfig::load(Sources { overrides, ..Sources::default() }).unwrap().config;
    let behind = Behind::fixed(config.values());
    let plain = TopicConfig::resolve(&nothing, behind);
    assert_eq!((plain.retention_ms, plain.segment_ms, plain.max_message_bytes), (300_000, 7_200_000, 2000));
    assert_eq!((plain.cleanup_delete, plain.cleanup_compact, plain.compression_type), (true, false, None));
    assert_eq!((plain.flush_messages, plain.flush_ms, plain.segment_jitter_ms), (i64::MAX, i64::MAX, 0));
    let own = one(&[("retention.ms", "-1"), ("cleanup.policy", "compact"), ("compression.type", "zstd")]);
    let own = TopicConfig::resolve(&own, behind);
    assert_eq!((own.retention_ms, own.cleanup_delete, own.cleanup_compact), (-1, false, true));
    assert_eq!(own.compression_type, Some(CompressionType::Zstd));
    let cluster = one(&[("log.retention.ms", "9")]);
    let dynamic = TopicConfig::resolve(&nothing, Behind { cluster: &cluster, ..behind });
    assert_eq!(dynamic.retention_ms, 9);
}
