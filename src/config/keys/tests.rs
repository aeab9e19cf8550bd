//! Kafka's texts, observed on 4.3.1 (`ConfigDef.parseType`, then the validator), and the shape of the table.

use super::*;

fn texts(table: fn(&str) -> Option<&'static Key>, rows: &[(&str, &str, Result<&str, &str>)]) {
    for (name, text, expected) in rows {
        let key = table(name).unwrap_or_else(|| panic!("{name}"));
        let found = key.validate(text).map(|value| value.to_text().unwrap_or_default());
        assert_eq!(found.as_deref().map_err(String::as_str), *expected, "{name}={text:?}");
    }
}

#[test]
fn broker_keys_answer_with_kafkas_texts() {
    texts(broker, BROKER_TEXTS);
}

#[test]
fn topic_keys_answer_with_kafkas_texts() {
    texts(topic, TOPIC_TEXTS);
}

const BROKER_TEXTS: &[(&str, &str, Result<&str, &str>)] = &[
    ("num.io.threads", "abc", Err("Invalid value abc for configuration num.io.threads: Not a number of type INT")),
    ("num.io.threads", "0", Err("Invalid value 0 for configuration num.io.threads: Value must be at least 1")),
    ("num.io.threads", " 5 ", Ok("5")),
    ("num.io.threads", "", Err("Invalid value  for configuration num.io.threads: Not a number of type INT")),
    (
        "num.io.threads",
        "99999999999",
        Err("Invalid value 99999999999 for configuration num.io.threads: Not a number of type INT"),
    ),
    ("num.io.threads", "1.5", Err("Invalid value 1.5 for configuration num.io.threads: Not a number of type INT")),
    ("num.io.threads", "+5", Ok("5")),
    ("log.retention.ms", "x", Err("Invalid value x for configuration log.retention.ms: Not a number of type LONG")),
    (
        "offsets.topic.replication.factor",
        "40000",
        Err("Invalid value 40000 for configuration offsets.topic.replication.factor: Not a number of type SHORT"),
    ),
    (
        "offsets.topic.replication.factor",
        "x",
        Err("Invalid value x for configuration offsets.topic.replication.factor: Not a number of type SHORT"),
    ),
    (
        "log.cleaner.min.cleanable.ratio",
        "2",
        Err("Invalid value 2.0 for configuration log.cleaner.min.cleanable.ratio: Value must be no more than 1"),
    ),
    (
        "log.cleaner.min.cleanable.ratio",
        "x",
        Err("Invalid value x for configuration log.cleaner.min.cleanable.ratio: Not a number of type DOUBLE"),
    ),
    ("log.cleaner.min.cleanable.ratio", "0.25", Ok("0.25")),
    ("log.cleaner.io.max.bytes.per.second", "1000000", Ok("1000000.0")),
    (
        "auto.create.topics.enable",
        "yes",
        Err("Invalid value yes for configuration auto.create.topics.enable: Expected value to be either true or false"),
    ),
    ("auto.create.topics.enable", "TRUE", Ok("true")),
    ("auto.create.topics.enable", " true ", Ok("true")),
    (
        "compression.type",
        "foo",
        Err(
            "Invalid value foo for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
    ),
    (
        "compression.gzip.level",
        "0",
        Err("Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"),
    ),
    (
        "compression.gzip.level",
        "10",
        Err("Invalid value 10 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1"),
    ),
    (
        "compression.lz4.level",
        "0",
        Err("Invalid value 0 for configuration compression.lz4.level: Value must be at least 1"),
    ),
    (
        "log.cleanup.policy",
        "foo",
        Err("Invalid value foo for configuration log.cleanup.policy: String must be one of: compact, delete"),
    ),
    ("log.cleanup.policy", "compact,delete", Ok("compact,delete")),
    ("log.cleanup.policy", "delete,delete", Err("Configuration 'log.cleanup.policy' values must not be duplicated.")),
    ("log.cleanup.policy", "", Ok("")),
    ("log.cleanup.policy", "delete, compact", Ok("delete,compact")),
    ("log.cleanup.policy", "delete,,compact", Err("Configuration 'log.cleanup.policy' values must not be empty.")),
    ("log.dirs", "", Err("Configuration 'log.dirs' must not be empty. Valid values include: any non-empty value")),
    ("log.dirs", "a,,b", Err("Configuration 'log.dirs' values must not be empty.")),
    ("log.dirs", "a,a", Err("Configuration 'log.dirs' values must not be duplicated.")),
    ("log.dir", "", Err("Configuration 'log.dir' must not be empty. Valid values include: any non-empty value")),
    ("listeners", "", Err("Configuration 'listeners' must not be empty. Valid values include: any non-empty value")),
    ("listeners", "A,A", Err("Configuration 'listeners' values must not be duplicated.")),
    (
        "advertised.listeners",
        "",
        Err("Configuration 'advertised.listeners' must not be empty. Valid values include: any non-empty value"),
    ),
    (
        "ssl.client.auth",
        "foo",
        Err("Invalid value foo for configuration ssl.client.auth: String must be one of: required, requested, none"),
    ),
    (
        "ssl.client.auth",
        "Required",
        Err(
            "Invalid value Required for configuration ssl.client.auth: String must be one of: required, requested, none",
        ),
    ),
    (
        "security.inter.broker.protocol",
        "foo",
        Err(
            "Invalid value foo for configuration security.inter.broker.protocol: String must be one of: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
        ),
    ),
    (
        "security.inter.broker.protocol",
        "ssl",
        Err(
            "Invalid value ssl for configuration security.inter.broker.protocol: String must be one of: PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL",
        ),
    ),
    (
        "log.message.timestamp.type",
        "createtime",
        Err(
            "Invalid value createtime for configuration log.message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
        ),
    ),
    (
        "process.roles",
        "",
        Err("Configuration 'process.roles' must not be empty. Valid values include: [broker, controller]"),
    ),
    (
        "process.roles",
        "foo",
        Err("Invalid value foo for configuration process.roles: String must be one of: broker, controller"),
    ),
    ("process.roles", "broker,broker", Err("Configuration 'process.roles' values must not be duplicated.")),
    ("node.id", "-1", Err("Invalid value -1 for configuration node.id: Value must be at least 0")),
    ("broker.id", "-5", Ok("-5")),
    ("authorizer.class.name", "", Ok("")),
    ("controller.quorum.voters", "", Ok("")),
    ("controller.quorum.voters", "1@a:1", Ok("1@a:1")),
    (
        "controller.quorum.voters",
        "foo",
        Err(
            "Invalid configuration value for controller.quorum.voters. Each entry should be in the form `{id}@{host}:{port}`.",
        ),
    ),
    (
        "controller.quorum.voters",
        "1@a",
        Err(
            "Failed to parse host name from entry 1@a for the configuration controller.quorum.voters. Each entry should be in the form `{id}@{host}:{port}`.",
        ),
    ),
    ("controller.quorum.voters", "x@a:1", Err("Failed to parse voter ID as an integer from x")),
    (
        "controller.quorum.voters",
        "1@a:x",
        Err(
            "Failed to parse host name from entry 1@a:x for the configuration controller.quorum.voters. Each entry should be in the form `{id}@{host}:{port}`.",
        ),
    ),
    ("controller.quorum.voters", "1@a:1,1@b:2", Ok("1@a:1,1@b:2")),
    ("controller.quorum.voters", "1@a:99999", Err("port out of range:99999")),
    (
        "controller.quorum.bootstrap.servers",
        "a",
        Err(
            "Failed to parse host name from a for the configuration controller.quorum.bootstrap.servers. Each entry should be in the form \"{host}:{port}\"",
        ),
    ),
    ("controller.quorum.bootstrap.servers", "a:1", Ok("a:1")),
    (
        "controller.quorum.bootstrap.servers",
        "a:b",
        Err(
            "Failed to parse host name from a:b for the configuration controller.quorum.bootstrap.servers. Each entry should be in the form \"{host}:{port}\"",
        ),
    ),
    ("sasl.enabled.mechanisms", "", Ok("")),
    (
        "sasl.enabled.mechanisms",
        "PLAIN,PLAIN",
        Err("Configuration 'sasl.enabled.mechanisms' values must not be duplicated."),
    ),
    (
        "group.consumer.migration.policy",
        "foo",
        Err(
            "Invalid value foo for configuration group.consumer.migration.policy: String must be one of (case insensitive): DISABLED, DOWNGRADE, UPGRADE, BIDIRECTIONAL",
        ),
    ),
    ("group.consumer.migration.policy", "upgrade", Ok("upgrade")),
    (
        "group.coordinator.rebalance.protocols",
        "foo",
        Err(
            "Invalid value foo for configuration group.coordinator.rebalance.protocols: String must be one of: consumer, classic, share, streams",
        ),
    ),
    (
        "remote.log.metadata.manager.class.name",
        "",
        Err("Invalid value  for configuration remote.log.metadata.manager.class.name: String must be non-empty"),
    ),
    ("ssl.keystore.password", " abc ", Ok("[hidden]")),
    ("ssl.keystore.location", " abc ", Ok("abc")),
    ("ssl.enabled.protocols", "TLSv1", Ok("TLSv1")),
    (
        "controller.listener.names",
        "",
        Err("Configuration 'controller.listener.names' must not be empty. Valid values include: any non-empty value"),
    ),
    ("early.start.listeners", "", Ok("")),
    (
        "controller.listener.names",
        "A,A",
        Err("Configuration 'controller.listener.names' values must not be duplicated."),
    ),
    ("sasl.kerberos.principal.to.local.rules", "", Ok("")),
    ("metric.reporters", "", Ok("")),
    ("ssl.cipher.suites", "", Ok("")),
];

const TOPIC_TEXTS: &[(&str, &str, Result<&str, &str>)] = &[
    ("segment.bytes", "1", Err("Invalid value 1 for configuration segment.bytes: Value must be at least 1048576")),
    ("segment.bytes", "x", Err("Invalid value x for configuration segment.bytes: Not a number of type INT")),
    ("retention.ms", "-2", Err("Invalid value -2 for configuration retention.ms: Value must be at least -1")),
    (
        "min.insync.replicas",
        "0",
        Err("Invalid value 0 for configuration min.insync.replicas: Value must be at least 1"),
    ),
    (
        "cleanup.policy",
        "foo",
        Err("Invalid value foo for configuration cleanup.policy: String must be one of: compact, delete"),
    ),
    ("cleanup.policy", "", Ok("")),
    ("cleanup.policy", "compact,compact", Err("Configuration 'cleanup.policy' values must not be duplicated.")),
    (
        "leader.replication.throttled.replicas",
        "foo",
        Err(
            "Invalid value [foo] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
    ),
    ("leader.replication.throttled.replicas", "*", Ok("*")),
    ("leader.replication.throttled.replicas", "0:1,1:2", Ok("0:1,1:2")),
    (
        "leader.replication.throttled.replicas",
        "0:1,*",
        Err(
            "Invalid value [0:1, *] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
    ),
    ("leader.replication.throttled.replicas", "", Ok("")),
    (
        "leader.replication.throttled.replicas",
        "none",
        Err(
            "Invalid value [none] for configuration leader.replication.throttled.replicas: leader.replication.throttled.replicas must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        ),
    ),
    ("leader.replication.throttled.replicas", "0:1,0:1", Ok("0:1,0:1")),
    (
        "min.cleanable.dirty.ratio",
        "1.5",
        Err("Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"),
    ),
    ("min.cleanable.dirty.ratio", "0.1", Ok("0.1")),
    (
        "compression.type",
        "none",
        Err(
            "Invalid value none for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
    ),
    (
        "compression.type",
        "GZIP",
        Err(
            "Invalid value GZIP for configuration compression.type: String must be one of: uncompressed, zstd, lz4, snappy, gzip, producer",
        ),
    ),
    (
        "message.timestamp.type",
        "x",
        Err(
            "Invalid value x for configuration message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
        ),
    ),
    (
        "preallocate",
        "x",
        Err("Invalid value x for configuration preallocate: Expected value to be either true or false"),
    ),
    ("retention.bytes", "-5", Ok("-5")),
    (
        "segment.index.bytes",
        "3",
        Err("Invalid value 3 for configuration segment.index.bytes: Value must be at least 4"),
    ),
    ("segment.jitter.ms", "-1", Err("Invalid value -1 for configuration segment.jitter.ms: Value must be at least 0")),
];

#[test]
fn the_table_is_sorted_and_its_defaults_are_valid() {
    for table in [BROKER, SCHLOSS, LEGACY, TOPIC, GROUP] {
        for pair in table.windows(2) {
            assert!(pair[0].name < pair[1].name, "{} before {}", pair[0].name, pair[1].name);
        }
        for key in table {
            if let Default::Text(text) = key.default {
                let value = key.parse(text).unwrap_or_else(|error| panic!("{}: {error}", key.name));
                let valid = key.validate(text);
                assert!(valid.is_ok(), "{}: {valid:?}", key.name);
                if key.kind != Kind::Password {
                    assert_eq!(value.to_text().as_deref(), Some(text), "{}", key.name);
                }
            }
            assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}", key.name);
        }
    }
}

#[test]
fn no_name_is_in_two_broker_tables() {
    let mut names: Vec<_> = broker_names().collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    assert_eq!(BROKER.len(), 363);
}

/// A key that should protect and is not built must refuse, not be silent; JVM names without meaning are the exception.
#[test]
fn keys_that_protect_are_used_or_refused() {
    let jvm = [
        "ssl.endpoint.identification.algorithm",
        "ssl.keymanager.algorithm",
        "ssl.provider",
        "ssl.secure.random.implementation",
        "ssl.trustmanager.algorithm",
    ];
    for key in BROKER.iter().filter(|key| is_protecting(key.name) && key.status == Status::Quiet) {
        assert!(jvm.contains(&key.name), "{}", key.name);
    }
}

#[test]
fn topic_keys_find_their_broker_keys() {
    for (topic_key, synonyms) in TOPIC_SYNONYMS {
        assert!(topic(topic_key).is_some(), "{topic_key}");
        for synonym in *synonyms {
            assert!(kafka_broker(synonym.broker_key).is_some(), "{}", synonym.broker_key);
        }
    }
    assert_eq!(topic_synonyms("retention.ms")[2].factor, 3_600_000);
    assert_eq!(broker_synonyms("log.retention.hours")[0], "log.retention.ms");
    assert!(topic_synonyms("leader.replication.throttled.replicas").is_empty());
}

#[test]
fn doubles_print_as_java_prints_them() {
    let text = |value: f64| Value::Double(value).to_text().unwrap();
    assert_eq!(text(f64::MAX), "1.7976931348623157E308");
    assert_eq!(text(1_000_000.0), "1000000.0");
    assert_eq!(text(1e7), "1.0E7");
    assert_eq!(text(0.0001), "1.0E-4");
    assert_eq!(text(0.05), "0.05");
}
