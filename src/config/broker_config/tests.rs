//! Whole configurations: what Kafka 4.3.1 says to them, and what we add.

#![allow(clippy::disallowed_methods)]

use super::*;
use crate::config::authorization::AuthorizerKind;
use crate::config::catalogue::Lang;
use crate::config::diagnostics::Style;
use crate::config::tls::{ClientAuth, TlsVersion};
use crate::model::principal::KafkaPrincipal;

fn pairs(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

fn load(text: &str) -> Result<Loaded, Diagnostics> {
    BrokerConfig::load(Sources { overrides: pairs(text), ..Sources::default() })
}

fn codes(diagnostics: &[Diagnostic]) -> Vec<&'static str> {
    diagnostics.iter().map(|d| d.code.name()).collect()
}

fn errors(text: &str) -> Vec<&'static str> {
    let found = load(text).err().unwrap_or_default();
    found.iter().filter(|d| d.severity == Severity::Error).map(|d| d.code.name()).collect()
}

const KRAFT: &str = "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
    controller.quorum.voters=1@l:2\nlisteners=PLAINTEXT://:1,CONTROLLER://:2\n";

const MAP: &str = "listener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,\
    SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,EXT:SASL_SSL,external:PLAINTEXT";

/// Changes to [`KRAFT`] (`-key` takes one away, `@MAP` is [`MAP`]) and what `new KafkaConfig` answered.
const OBSERVED: &[(&str, Result<(), &str>)] = &[
    (
        "-controller.listener.names;;-controller.quorum.voters;;-listeners;;process.roles=broker",
        Err("Missing required configuration \"controller.listener.names\" which has no default value."),
    ),
    (
        "-controller.listener.names;;-controller.quorum.voters;;-listeners",
        Err("Missing required configuration \"controller.listener.names\" which has no default value."),
    ),
    ("-node.id;;broker.id=1;;controller.listener.names=C;;listeners=PLAINTEXT://:1,C://:2", Ok(())),
    ("controller.listener.names=C;;listeners=PLAINTEXT://:1,C://:2", Ok(())),
    ("", Ok(())),
    ("broker.id=2", Err("You must set `node.id` to the same value as `broker.id`.")),
    (
        "-controller.quorum.voters",
        Err(
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of bootstrap controllers or controller.quorum.voters must contain a parseable set of controllers.",
        ),
    ),
    (
        "controller.quorum.voters=2@l:2",
        Err(
            "If process.roles contains the 'controller' role, the node id 1 must be included in the set of voters controller.quorum.voters=Set(2)",
        ),
    ),
    (
        "-controller.listener.names;;process.roles=broker;;listeners=PLAINTEXT://:1;;controller.quorum.voters=2@l:2",
        Err("Missing required configuration \"controller.listener.names\" which has no default value."),
    ),
    (
        "-controller.listener.names;;process.roles=controller;;listeners=CONTROLLER://:2",
        Err("Missing required configuration \"controller.listener.names\" which has no default value."),
    ),
    (
        "controller.listener.names=X",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    (
        "controller.listener.names=PLAINTEXT;;listeners=PLAINTEXT://:1",
        Err(
            "There must be at least one broker advertised listener. Perhaps all listeners appear in controller.listener.names?",
        ),
    ),
    (
        "inter.broker.listener.name=CONTROLLER",
        Err(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are PLAINTEXT",
        ),
    ),
    (
        "inter.broker.listener.name=FOO",
        Err(
            "Listener with name FOO defined in inter.broker.listener.name not found in listener.security.protocol.map.",
        ),
    ),
    (
        "inter.broker.listener.name=PLAINTEXT;;security.inter.broker.protocol=PLAINTEXT",
        Err("Only one of inter.broker.listener.name and security.inter.broker.protocol should be set."),
    ),
    (
        "security.inter.broker.protocol=SSL",
        Err(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are PLAINTEXT",
        ),
    ),
    (
        "listeners=SSL://:1,CONTROLLER://:2",
        Err(
            "Error creating broker listeners from '[SSL://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    (
        "listeners=PLAINTEXT://:1,PLAINTEXT://:3,CONTROLLER://:2",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://:1, PLAINTEXT://:3, CONTROLLER://:2]': Each listener must have a different name, listeners: [PLAINTEXT://:1, PLAINTEXT://:3, CONTROLLER://:2]",
        ),
    ),
    (
        "listeners=PLAINTEXT://:1,CONTROLLER://:1",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://:1, CONTROLLER://:1]': Each listener must have a different port, listeners: [PLAINTEXT://:1, CONTROLLER://:1]",
        ),
    ),
    (
        "listeners=PLAINTEXT://:1,FOO://:3,CONTROLLER://:2",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://:1, FOO://:3, CONTROLLER://:2]': No security protocol defined for listener FOO",
        ),
    ),
    (
        "listeners=PLAINTEXT:1,CONTROLLER://:2",
        Err(
            "Error creating broker listeners from '[PLAINTEXT:1, CONTROLLER://:2]': Unable to parse PLAINTEXT:1 to a broker endpoint",
        ),
    ),
    (
        "listeners=PLAINTEXT://a:b,CONTROLLER://:2",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://a:b, CONTROLLER://:2]': Unable to parse PLAINTEXT://a:b to a broker endpoint",
        ),
    ),
    (
        "advertised.listeners=PLAINTEXT://0.0.0.0:1",
        Err("advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."),
    ),
    (
        "listeners=PLAINTEXT://0.0.0.0:1,CONTROLLER://:2",
        Err("advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."),
    ),
    ("listeners=PLAINTEXT://[::]:1,CONTROLLER://:2", Ok(())),
    (
        "advertised.listeners=FOO://a:1;;listener.security.protocol.map=FOO:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        Err(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are FOO",
        ),
    ),
    ("advertised.listeners=PLAINTEXT://a:1,CONTROLLER://a:2", Ok(())),
    ("advertised.listeners=PLAINTEXT://:0", Ok(())),
    ("listeners=PLAINTEXT://:0,CONTROLLER://:0", Ok(())),
    (
        "listener.security.protocol.map=PLAINTEXT:FOO,CONTROLLER:PLAINTEXT",
        Err("Invalid security protocol `FOO` defined in listener.security.protocol.map"),
    ),
    (
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PLAINTEXT:SSL",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    (
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    (
        "listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT",
        Err(
            "Error creating broker listeners from '[SASL_PLAINTEXT://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    (
        "listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT;;sasl.enabled.mechanisms=PLAIN",
        Err(
            "Error creating broker listeners from '[SASL_PLAINTEXT://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    (
        "listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT;;sasl.enabled.mechanisms=PLAIN;;sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256",
        Err(
            "Error creating broker listeners from '[SASL_PLAINTEXT://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    (
        "listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT;;sasl.enabled.mechanisms=PLAIN;;sasl.mechanism.inter.broker.protocol=PLAIN",
        Err(
            "Error creating broker listeners from '[SASL_PLAINTEXT://:1, CONTROLLER://:2]': No security protocol defined for listener CONTROLLER",
        ),
    ),
    ("offsets.topic.compression.codec=9", Err("Unknown compression type id: 9")),
    ("log.retention.ms=0", Err("log.retention.ms must be unlimited (-1) or, greater than or equal to 1")),
    ("log.roll.ms=0", Err("log.roll.ms must be greater than or equal to 1")),
    ("log.retention.hours=0", Err("log.retention.ms must be unlimited (-1) or, greater than or equal to 1")),
    (
        "queued.max.request.bytes=100",
        Err("queued.max.request.bytes must be larger or equal to socket.request.max.bytes"),
    ),
    (
        "max.connections.per.ip=0",
        Err("max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."),
    ),
    ("max.connections.per.ip=0;;max.connections.per.ip.overrides=127.0.0.1:5", Ok(())),
    (
        "max.connections.per.ip.overrides=_x!:5",
        Err("max.connections.per.ip.overrides contains invalid addresses : _x!"),
    ),
    (
        "connections.max.idle.ms=100",
        Err(
            "connection.failed.authentication.delay.ms=100 should always be less than connections.max.idle.ms=100 to prevent failed authentication responses from timing out",
        ),
    ),
    (
        "connection.failed.authentication.delay.ms=600000",
        Err(
            "connection.failed.authentication.delay.ms=600000 should always be less than connections.max.idle.ms=600000 to prevent failed authentication responses from timing out",
        ),
    ),
    (
        "replica.fetch.wait.max.ms=100000",
        Err(
            "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary socket timeouts",
        ),
    ),
    (
        "replica.lag.time.max.ms=100",
        Err(
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent frequent changes in ISR",
        ),
    ),
    (
        "log.cleaner.dedupe.buffer.size=100",
        Err("log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread."),
    ),
    (
        "log.message.timestamp.type=x",
        Err(
            "Invalid value x for configuration log.message.timestamp.type: String must be one of: CreateTime, LogAppendTime",
        ),
    ),
    (
        "log.dirs=/a;;cordoned.log.dirs=/b",
        Err("All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : /b"),
    ),
    ("zookeeper.connect=foo", Ok(())),
    ("-controller.quorum.voters;;controller.quorum.bootstrap.servers=a:1", Ok(())),
    ("controller.quorum.bootstrap.servers=a:1;;controller.quorum.voters=1@a:2", Ok(())),
    (
        "early.start.listeners=FOO",
        Err(
            "early.start.listeners contains listener FOO, but this is not contained in listeners or controller.listener.names",
        ),
    ),
    ("socket.send.buffer.bytes=-5", Ok(())),
    ("ssl.principal.mapping.rules=FOO", Ok(())),
    ("group.min.session.timeout.ms=9000000", Ok(())),
    (
        "transaction.max.timeout.ms=0",
        Err("Invalid value 0 for configuration transaction.max.timeout.ms: Value must be at least 1"),
    ),
    (
        "listeners=PLAINTEXT://1.2.3.4:1,X://1.2.3.4:1,CONTROLLER://:2;;listener.security.protocol.map=X:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://1.2.3.4:1, X://1.2.3.4:1, CONTROLLER://:2]': If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, listeners: [PLAINTEXT://1.2.3.4:1, X://1.2.3.4:1, CONTROLLER://:2], port: 1",
        ),
    ),
    (
        "listeners=PLAINTEXT://1.2.3.4:1,X://[::1]:1,CONTROLLER://:2;;listener.security.protocol.map=X:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        Ok(()),
    ),
    (
        "listeners=PLAINTEXT://a:1,X://b:1,CONTROLLER://:2;;listener.security.protocol.map=X:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://a:1, X://b:1, CONTROLLER://:2]': Each listener must have a different port, listeners: [PLAINTEXT://a:1, X://b:1, CONTROLLER://:2]",
        ),
    ),
    (
        "advertised.listeners=PLAINTEXT://a:1,X://a:1;;listener.security.protocol.map=X:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        Err(
            "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found PLAINTEXT,X. The valid options based on the current configuration are PLAINTEXT,CONTROLLER",
        ),
    ),
    (
        "advertised.listeners=PLAINTEXT://a:1,PLAINTEXT://b:1",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://a:1, PLAINTEXT://b:1]': Each listener must have a different name, listeners: [PLAINTEXT://a:1, PLAINTEXT://b:1]",
        ),
    ),
    (
        "listeners=PLAINTEXT://:1,CONTROLLER://:2,X://:3;;advertised.listeners=PLAINTEXT://a:1,X://a:1;;listener.security.protocol.map=X:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        Ok(()),
    ),
    (
        "@MAP;;listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT;;sasl.enabled.mechanisms=PLAIN",
        Err(
            "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for inter-broker communication",
        ),
    ),
    (
        "@MAP;;listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT;;sasl.enabled.mechanisms=PLAIN;;sasl.mechanism.inter.broker.protocol=SCRAM-SHA-256",
        Err(
            "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used for inter-broker communication",
        ),
    ),
    (
        "@MAP;;listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2",
        Err(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options based on currently configured listeners are SASL_PLAINTEXT",
        ),
    ),
    ("@MAP;;listeners=external://:1,CONTROLLER://:2;;inter.broker.listener.name=external", Ok(())),
    ("max.connections.per.ip.overrides=a:1", Ok(())),
    ("max.connections.per.ip.overrides=localhost:5,127.0.0.1:6", Ok(())),
    (
        "max.connections.per.ip.overrides=[::1]:5",
        Err("max.connections.per.ip.overrides contains invalid addresses : [::1]"),
    ),
    ("max.connections.per.ip.overrides=::1:5", Ok(())),
    ("max.connections.per.ip.overrides=a:b", Err("For input string: \"b\"")),
    ("max.connections.per.ip.overrides=a:-1", Ok(())),
    ("max.connections.per.ip.overrides=a:1,a:2", Ok(())),
    ("super.users=User:a,User:b", Ok(())),
    ("authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", Ok(())),
    ("sasl.enabled.mechanisms=FOO", Ok(())),
    ("broker.id=7", Err("You must set `node.id` to the same value as `broker.id`.")),
    ("early.start.listeners=PLAINTEXT", Ok(())),
    ("broker.session.timeout.ms=10", Ok(())),
    (
        "controller.listener.names=CONTROLLER,FOO",
        Err(
            "controller.listener.names must only contain values appearing in the 'listeners' configuration when running the KRaft controller role",
        ),
    ),
    (
        "controlled.shutdown.enable=x",
        Err("Invalid value x for configuration controlled.shutdown.enable: Expected value to be either true or false"),
    ),
    ("num.replica.alter.log.dirs.threads=0", Ok(())),
    ("transaction.two.phase.commit.enable=true", Ok(())),
    ("log.message.timestamp.difference.max.ms=5", Ok(())),
    ("queued.max.request.bytes=0", Ok(())),
    ("sasl.server.max.receive.size=-1", Ok(())),
    ("unstable.api.versions.enable=true", Ok(())),
    (
        "group.coordinator.rebalance.protocols=",
        Err(
            "Configuration 'group.coordinator.rebalance.protocols' must not be empty. Valid values include: [consumer, classic, share, streams]",
        ),
    ),
    ("security.inter.broker.protocol=PLAINTEXT", Ok(())),
    (
        "advertised.listeners=PLAINTEXT://a",
        Err(
            "Error creating broker listeners from '[PLAINTEXT://a]': Unable to parse PLAINTEXT://a to a broker endpoint",
        ),
    ),
];

/// Where we differ from Kafka on purpose: changes, our errors, why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "-node.id;;-process.roles;;-controller.listener.names;;-controller.quorum.voters;;listeners=A://:1",
        "L0001",
        "no process.roles: a file of the ZooKeeper days",
    ),
    ("-process.roles;;-controller.listener.names;;-controller.quorum.voters;;-listeners", "", "the same"),
    ("process.roles=broker;;listeners=PLAINTEXT://:1", "L0006", "no other nodes yet"),
    ("process.roles=broker;;controller.quorum.voters=2@l:2", "L0006", "no other nodes yet"),
    ("process.roles=controller", "L0006", "no other nodes yet"),
    ("listeners=PLAINTEXT://a:99999,CONTROLLER://:2", "L0002", "Kafka fails when it binds"),
    ("listener.security.protocol.map=PLAINTEXT", "L0001", "Kafka ends its text with Java's index error"),
    ("max.connections.per.ip.overrides=foo", "P0303", "Kafka ends its text with Java's index error"),
    ("principal.builder.class=java.lang.String", "P0403", "no class is loaded"),
    ("sasl.oauthbearer.jwks.endpoint.url=foo", "P0403", "not built"),
    (
        "@MAP;;listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT",
        "L0003",
        "GSSAPI is not built",
    ),
    (
        "@MAP;;listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT;;sasl.enabled.mechanisms=PLAIN;;sasl.mechanism.inter.broker.protocol=PLAIN",
        "J0040",
        "Kafka fails when it opens the listener",
    ),
    (
        "@MAP;;listeners=SASL_PLAINTEXT://:1,CONTROLLER://:2;;security.inter.broker.protocol=SASL_PLAINTEXT;;listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN;;sasl.mechanism.inter.broker.protocol=PLAIN",
        "J0040",
        "Kafka fails when it opens the listener",
    ),
    ("super.users=foo", "A0002", "Kafka fails when it makes the authorizer"),
    ("authorizer.class.name=foo", "A0001", "Kafka fails when it makes the authorizer"),
    ("listener.name.plaintext.ssl.client.auth=foo", "P0302", "Kafka does not look"),
    ("listener.name.plaintext.max.connections=x", "P0302", "Kafka fails when it opens the listener"),
    ("listener.name.foo.max.connections=1", "P0404", "Kafka does not look"),
    ("node.id=x", "P0302", "Kafka names broker.id"),
    ("group.consumer.min.heartbeat.interval.ms=20000", "", "groups are not built"),
    ("group.coordinator.rebalance.protocols=consumer", "", "groups are not built"),
    ("group.consumer.assignors=foo", "", "groups are not built"),
    ("log.cleaner.threads=0", "", "Kafka divides by zero"),
    ("advertised.listeners=PLAINTEXT://a:1;;listener.name.foo.x=1", "P0404", "Kafka does not look"),
    ("process.roles=broker;;controller.quorum.voters=2@h:1;;listeners=PLAINTEXT://:1", "L0006", "no other nodes yet"),
    ("process.roles=controller;;listeners=CONTROLLER://:1", "L0006", "no other nodes yet"),
    (
        "process.roles=controller;;listeners=CONTROLLER://:1;;advertised.listeners=PLAINTEXT://a:1",
        "L0006",
        "no other nodes yet",
    ),
];

fn changed(changes: &str) -> String {
    let mut lines: Vec<String> = KRAFT.lines().map(str::to_owned).collect();
    for change in changes.split(";;").filter(|change| !change.is_empty()) {
        let change = if change == "@MAP" { MAP } else { change };
        let key = change.strip_prefix('-').unwrap_or(change);
        let key = key.split('=').next().unwrap_or_default().to_owned();
        lines.retain(|line| line.split('=').next() != Some(&key));
        if !change.starts_with('-') {
            lines.push(change.to_owned());
        }
    }
    lines.join("\n")
}

#[test]
fn kafka_says_the_same() {
    let mut wrong = Vec::new();
    for (changes, kafka) in OBSERVED {
        let ours = load(&changed(changes));
        let texts: Vec<String> = match &ours {
            Ok(_) => Vec::new(),
            Err(found) => found.iter().filter(|d| d.severity == Severity::Error).map(|d| d.message(Lang::En)).collect(),
        };
        let same = match kafka {
            Ok(()) => ours.is_ok(),
            Err(text) => texts.iter().any(|ours| ours == text),
        };
        if !same {
            wrong.push(format!("{changes}\n  kafka {kafka:?}\n  ours  {texts:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn differences_are_written_down() {
    for (changes, ours, why) in DIFFERENT {
        assert_eq!(errors(&changed(changes)).join(" "), *ours, "{changes}: {why}");
    }
}

/// The active keys of the default file of Kafka 2.0.
const OF_2_0: &str = "broker.id=0\nnum.network.threads=3\nnum.io.threads=8\nsocket.send.buffer.bytes=102400\n\
    socket.receive.buffer.bytes=102400\nsocket.request.max.bytes=104857600\nlog.dirs=/tmp/kafka-logs\nnum.partitions=1\n\
    num.recovery.threads.per.data.dir=1\noffsets.topic.replication.factor=1\n\
    transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\nlog.retention.hours=168\n\
    log.segment.bytes=1073741824\nlog.retention.check.interval.ms=300000\nzookeeper.connect=localhost:2181\n\
    zookeeper.connection.timeout.ms=6000\ngroup.initial.rebalance.delay.ms=0\n";

const NOTES_JAAS: &str = "KafkaServer {\n       org.apache.kafka.common.security.plain.PlainLoginModule required\n       \
    username=\"admin\"\n       password=\"admin-secret\"\n       user_admin=\"admin-secret\"\n       \
    user_alice=\"alice-secret\";\n};\n";

fn write(dir: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

#[test]
fn a_file_of_the_zookeeper_days_starts_as_both() {
    let loaded = load(OF_2_0).unwrap();
    let config = &loaded.config;
    assert_eq!(config.node_id, BrokerId(0));
    assert_eq!(config.roles, Roles { broker: true, controller: true });
    assert!(config.formats_itself);
    assert_eq!(config.log_dirs, [PathBuf::from("/tmp/kafka-logs")]);
    assert_eq!(config.controller_listeners().count(), 0);
    let listener = config.broker_listeners().next().unwrap();
    assert_eq!((listener.name.as_str(), listener.port, listener.host.as_str()), ("PLAINTEXT", 9092, ""));
    assert!(!listener.advertised_host.is_empty());
    assert_eq!(config.settings.socket_request_max_bytes, 104_857_600);
    assert_eq!(loaded.translations.len(), 3, "{:?}", loaded.translations);
    assert_eq!(config.authorization.kind, AuthorizerKind::None);
    assert_eq!(codes(&loaded.warnings), ["A0110", "L0110"]);
}

#[test]
fn the_notes_chapter_on_authentication_loads_unchanged() {
    let dir = tempfile::tempdir().unwrap();
    let jaas = write(&dir, "kafka_server_jaas.conf", NOTES_JAAS);
    let text = format!(
        "{OF_2_0}listeners=SASL_PLAINTEXT://127.0.0.1:9092\nsecurity.inter.broker.protocol=SASL_PLAINTEXT\n\
         sasl.mechanism.inter.broker.protocol=PLAIN\nsasl.enabled.mechanisms=PLAIN\n"
    );
    let file = write(&dir, "server.properties", &text);
    let options = format!("-Djava.security.auth.login.config={}", jaas.display());
    let env = BTreeMap::from([("KAFKA_OPTS".to_owned(), options)]);
    let sources = Sources { file: Some(file), env, ..Sources::default() };
    let loaded = BrokerConfig::load(sources.clone()).unwrap_or_else(|errors| panic!("{errors}"));
    let listener = &loaded.config.listeners[0];
    assert_eq!(listener.sasl_mechanisms, ["PLAIN"]);
    let plain = &listener.jaas["PLAIN"];
    assert_eq!(plain.users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(), ["admin", "alice"]);
    assert_eq!(plain.inter_broker.as_ref().unwrap().0, "admin");
    assert!(codes(&loaded.warnings).contains(&"J0202"));
    for class in ["kafka.security.auth.SimpleAclAuthorizer", "kafka.security.authorizer.AclAuthorizer"] {
        let overrides = vec![("authorizer.class.name".to_owned(), class.to_owned())];
        let loaded = BrokerConfig::load(Sources { overrides, ..sources.clone() }).unwrap();
        assert_eq!(loaded.config.authorization.kind, AuthorizerKind::Native);
    }
    let strict = vec![("schloss.profile".to_owned(), "strict".to_owned())];
    let refused = BrokerConfig::load(Sources { overrides: strict, ..sources }).unwrap_err();
    assert!(refused.iter().any(|d| d.code == Code::J0202 && d.severity == Severity::Error), "{refused}");
    assert!(!refused.to_string().contains("alice-secret"), "{refused}");
}

#[test]
fn old_addresses_become_listeners() {
    let loaded =
        load("broker.id=3\nhost.name=master\nport=9095\nadvertised.host.name=kafka.example\nadvertised.port=19095")
            .unwrap();
    let listener = &loaded.config.listeners[0];
    assert_eq!((listener.host.as_str(), listener.port), ("master", 9095));
    assert_eq!((listener.advertised_host.as_str(), listener.advertised_port), ("kafka.example", 19095));
    let both = load("broker.id=3\nhost.name=master\nlisteners=PLAINTEXT://:9093").unwrap();
    assert_eq!((both.config.listeners[0].host.as_str(), both.config.listeners[0].port), ("", 9093));
}

#[test]
fn a_missing_id_is_chosen_once_and_then_kept() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!("log.dirs={}", dir.path().display());
    let first = load(&text).unwrap();
    assert_eq!(first.config.node_id, BrokerId(1));
    assert!(codes(&first.warnings).contains(&"P0311"));
    write(&dir, "meta.properties", "version=1\nnode.id=7\ncluster.id=x\n");
    let second = load(&text).unwrap();
    assert_eq!(second.config.node_id, BrokerId(7));
    assert!(!codes(&second.warnings).contains(&"P0311"));
}

#[test]
fn misspelt_keys_refuse_where_they_would_protect() {
    assert_eq!(errors("ssl.clinet.auth=required"), ["P0401"]);
    assert_eq!(errors("super.user=User:a"), ["P0401"]);
    assert_eq!(errors("listner.name.x.y=1"), [""; 0]);
    assert_eq!(errors("listener.name.plaintext.ssl.clinet.auth=none"), ["P0401"]);
    assert_eq!(errors("listener.name.plaintext.num.partitions=3"), ["P0406"]);
    assert_eq!(errors("listener.name.ext.max.connections=3"), ["P0404"]);
    assert_eq!(errors("sasl.login.class=x.Y"), ["P0403"]);
    assert_eq!(errors("sasl.kerberos.kinit.cmd=/usr/bin/kinit"), [""; 0]);
    let loaded = load("num.partition=3").unwrap();
    let unknown = loaded.warnings.iter().find(|d| d.code == Code::P0402).unwrap();
    assert_eq!(unknown.label(Lang::En), "did you mean num.partitions ?");
}

#[test]
fn the_life_of_a_session_is_the_mechanisms_own_or_the_listeners_or_the_nodes() {
    let text =
        "listeners=SASL_PLAINTEXT://127.0.0.1:1,OTHER://127.0.0.1:2\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\n\
                listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,OTHER:SASL_PLAINTEXT\n\
                inter.broker.listener.name=OTHER\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
                connections.max.reauth.ms=3000\nlistener.name.other.connections.max.reauth.ms=2000\n\
                listener.name.other.scram-sha-512.connections.max.reauth.ms=-1\n\
                listener.name.sasl_plaintext.plain.connections.max.reauth.ms=1000\n\
                listener.name.sasl_plaintext.plain.sasl.jaas.config=JAAS user_a=\"b\";\n\
                listener.name.other.plain.sasl.jaas.config=JAAS username=\"a\" password=\"b\" user_a=\"b\";"
            .replace("JAAS", "org.apache.kafka.common.security.plain.PlainLoginModule required");
    let config = load(&text).unwrap().config;
    let lives: Vec<Vec<i64>> =
        config.listeners.iter().map(|l| l.connections_max_reauth_ms.values().copied().collect()).collect();
    assert_eq!(lives, [[1000, 3000], [2000, -1]]);
    assert_eq!(config.settings.connections_max_reauth_ms, 3000);
}

#[test]
fn an_error_points_into_the_file_and_at_the_override() {
    let dir = tempfile::tempdir().unwrap();
    let file =
        write(&dir, "server.properties", "broker.id=1\n\nssl.clinet.auth=required\nnum.partitions = 1 #default\n");
    let overrides = vec![("num.io.threads".to_owned(), "x".to_owned())];
    let errors = BrokerConfig::load(Sources { file: Some(file.clone()), overrides, ..Sources::default() }).unwrap_err();
    let short = errors.render(Lang::En, Style::Short);
    let path = file.display();
    assert!(short.contains(&format!("{path}:3:1: error[P0401]")), "{short}");
    assert!(short.contains(&format!("{path}:4:18: error[P0302]: Invalid value 1 #default")), "{short}");
    assert!(short.contains("command line --override:1:16: error[P0302]"), "{short}");
}

#[test]
fn overrides_stand_above_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = write(&dir, "server.properties", "broker.id=1\nnum.partitions=2\n");
    let overrides = vec![("num.partitions".to_owned(), "5".to_owned())];
    let loaded = BrokerConfig::load(Sources { file: Some(file), overrides, ..Sources::default() }).unwrap();
    assert_eq!(loaded.config.settings.num_partitions, 5);
    assert_eq!(loaded.config.effective("num.partitions"), Value::Int(5));
    assert_eq!(loaded.config.state_dir, dir.path().join(".schloss"));
}

#[test]
fn the_profile_decides_what_is_open() {
    let strict = |text: &str| errors(&format!("schloss.profile=strict\nbroker.id=1\n{text}"));
    let open = "listeners=PLAINTEXT://:9092";
    assert_eq!(strict(open), ["L0110"]);
    assert_eq!(strict(&format!("{open}\nschloss.allow.plaintext.listeners=PLAINTEXT")), [""; 0]);
    assert_eq!(strict(&format!("{open}\nschloss.allow.plaintext.listeners=PLAINTXT")), ["P0404", "L0110"]);
    assert_eq!(strict("listeners=PLAINTEXT://127.0.0.1:9092"), [""; 0]);
    assert_eq!(strict("listeners=PLAINTEXT://[::1]:9092"), [""; 0]);
    let local = "listeners=PLAINTEXT://localhost:9092";
    assert_eq!(strict(&format!("{local}\nallow.everyone.if.no.acl.found=true")), ["A0111"]);
    assert_eq!(strict(&format!("{local}\nallow.everyone.if.no.acl.found=true\nschloss.allow.everyone=true")), [""; 0]);
    assert_eq!(strict(&format!("{local}\nsuper.users=User:ANONYMOUS")), ["A0004"]);
    assert_eq!(strict(&format!("{local}\nauthorizer.class.name=org.openpolicyagent.kafka.OpaAuthorizer")), ["A0001"]);
    let config = load(&format!("schloss.profile=strict\nbroker.id=1\n{local}")).unwrap().config;
    assert_eq!(config.authorization.kind, AuthorizerKind::Native);
    assert!(!config.settings.auto_create_topics_enable);
    let dev =
        load("schloss.profile=dev\nbroker.id=1\nlisteners=PLAINTEXT://:9092\nsuper.users=User:ANONYMOUS").unwrap();
    assert_eq!(codes(&dev.warnings), [""; 0]);
    assert_eq!(errors("schloss.profile=lax"), ["P0302"]);
}

#[test]
fn super_users_are_separated_by_semicolons() {
    let config = load("broker.id=1\nsuper.users=User:a; User:CN=b,O=c ;").unwrap().config;
    assert_eq!(config.authorization.super_users, [KafkaPrincipal::user("a"), KafkaPrincipal::user("CN=b,O=c")]);
    assert_eq!(config.authorization.super_user_listeners, None);
    let strict = load("schloss.profile=strict\nbroker.id=1\nlisteners=PLAINTEXT://localhost:1").unwrap().config;
    assert_eq!(strict.authorization.super_user_listeners, Some(Vec::new()));
    let named =
        "schloss.profile=strict\nbroker.id=1\nlisteners=PLAINTEXT://localhost:1\nschloss.super.users.listeners=";
    let one = load(&format!("{named}plaintext")).unwrap().config.authorization.super_user_listeners;
    assert_eq!(one, Some(vec![ListenerName::new("PLAINTEXT")]));
    assert_eq!(load(&format!("{named}*")).unwrap().config.authorization.super_user_listeners, None);
    let comma = load("broker.id=1\nsuper.users=User:a,User:b").unwrap();
    assert!(codes(&comma.warnings).contains(&"A0003"));
}

#[test]
fn jaas_is_chosen_by_listener_and_mechanism() {
    let dir = tempfile::tempdir().unwrap();
    let plain = "org.apache.kafka.common.security.plain.PlainLoginModule required";
    let jaas = format!("KafkaServer {{ {plain} user_a=\"1x\"; }};\next.KafkaServer {{ {plain} user_b=\"2x\"; }};\n");
    let jaas = write(&dir, "jaas.conf", &jaas);
    let text = format!(
        "broker.id=1\nlisteners=INT://127.0.0.1:1,EXT://127.0.0.1:2,OWN://127.0.0.1:3\n\
         listener.security.protocol.map=INT:SASL_PLAINTEXT,EXT:SASL_PLAINTEXT,OWN:SASL_PLAINTEXT\n\
         inter.broker.listener.name=INT\nsasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
         listener.name.own.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512\nlistener.name.own.max.connections=7\n\
         listener.name.own.plain.sasl.jaas.config={plain} user_c=\"3x\";"
    );
    let load = |text: &str, jaas: Option<PathBuf>| {
        BrokerConfig::load(Sources { overrides: pairs(text), jaas, ..Sources::default() })
    };
    let config = load(&text, Some(jaas)).unwrap_or_else(|errors| panic!("{errors}")).config;
    let users: Vec<Vec<&str>> =
        config.listeners.iter().map(|l| l.jaas["PLAIN"].users.iter().map(|u| u.name.as_str()).collect()).collect();
    assert_eq!(users, [["a"], ["b"], ["c"]]);
    assert_eq!(config.listeners[2].sasl_mechanisms, ["PLAIN", "SCRAM-SHA-512"]);
    assert_eq!((config.listeners[1].max_connections, config.listeners[2].max_connections), (i32::MAX, 7));
    assert_eq!(
        load(&text, None).unwrap_err().iter().find(|d| d.severity == Severity::Error).unwrap().code,
        Code::J0040
    );
    let broken = text.replace("user_c=\"3x\";", "user_c=\"3x\"");
    let refused = load(&broken, None).unwrap_err();
    assert!(refused.iter().any(|d| d.code == Code::J0004), "{refused}");
    assert!(!refused.to_string().contains("3x"));
    let gssapi = text.replace("sasl.enabled.mechanisms=PLAIN\n", "sasl.enabled.mechanisms=GSSAPI,PLAIN\n");
    assert!(load(&gssapi, None).unwrap_err().iter().any(|d| d.code == Code::L0004));
}

fn pem(dir: &tempfile::TempDir) -> (PathBuf, String, String) {
    let signed = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (key, certificate) = (signed.signing_key.serialize_pem(), signed.cert.pem());
    (write(dir, "server.pem", &format!("{key}{certificate}")), key, certificate)
}

fn ssl(extra: &str) -> String {
    format!("broker.id=1\nlisteners=SSL://127.0.0.1:1\nsecurity.inter.broker.protocol=SSL\n{extra}")
}

#[test]
fn tls_is_read_from_pem() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let (path, key, certificate) = pem(&dir);
    let ca = write(&dir, "ca.crt", &certificate);
    let store = format!("ssl.keystore.type=PEM\nssl.keystore.location={}\n", path.display());
    let loaded = load(&ssl(&store)).unwrap();
    assert!(codes(&loaded.warnings).contains(&"C0104"));
    let strict = format!("schloss.profile=strict\n{}", ssl(&store));
    assert_eq!(errors(&strict), ["C0104"]);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let tls = load(&strict).unwrap().config.listeners[0].tls.clone().unwrap();
    assert_eq!((tls.client_auth, tls.versions), (ClientAuth::None, vec![TlsVersion::V1_2, TlsVersion::V1_3]));
    assert!(tls.keystore.text.expose().contains("PRIVATE KEY") && tls.truststore.is_none());

    let trusted = format!("{store}ssl.truststore.type=PEM\nssl.truststore.location={}\n", ca.display());
    assert_eq!(errors(&ssl(&format!("{store}ssl.client.auth=required"))), ["C0111"]);
    let tls = load(&ssl(&format!(
        "{trusted}listener.name.ssl.ssl.client.auth=required\nssl.enabled.protocols=TLSv1,TLSv1.3"
    )));
    let tls = tls.unwrap().config.listeners[0].tls.clone().unwrap();
    assert_eq!((tls.client_auth, tls.versions), (ClientAuth::Required, vec![TlsVersion::V1_3]));

    let sources = Sources {
        overrides: [
            pairs(&ssl("ssl.keystore.type=PEM")),
            vec![("ssl.keystore.key".into(), key.clone()), ("ssl.keystore.certificate.chain".into(), certificate)],
        ]
        .concat(),
        ..Sources::default()
    };
    let inline = BrokerConfig::load(sources).unwrap();
    assert_eq!(inline.config.listeners[0].tls.as_ref().unwrap().keystore.path, None);
}

#[test]
fn tls_files_that_cannot_be_used_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let (path, _, certificate) = pem(&dir);
    let at =
        |path: &Path, kind: &str| ssl(&format!("ssl.keystore.type={kind}\nssl.keystore.location={}", path.display()));
    assert_eq!(errors(&ssl("")), ["C0102"]);
    assert_eq!(errors(&at(&dir.path().join("none.pem"), "PEM")), ["C0103"]);
    assert_eq!(errors(&at(&path, "JKS")), ["C0110"]);
    assert_eq!(errors(&at(&write(&dir, "only.pem", &certificate), "PEM")), ["C0106"]);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert_eq!(errors(&at(&write(&dir, "enc.pem", encrypted), "PEM")), ["C0105"]);
    let jks = dir.path().join("server.jks");
    std::fs::write(&jks, [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2]).unwrap();
    let refused = load(&at(&jks, "JKS")).unwrap_err();
    let help = refused.iter().find(|d| d.code == Code::C0101).and_then(|d| d.help(Lang::En)).unwrap();
    assert!(help.contains("keytool -importkeystore") && help.contains("openssl pkcs12"), "{help}");
    let with = |extra: &str| errors(&format!("{}\n{extra}", at(&path, "PEM")));
    assert_eq!(with("ssl.enabled.protocols=TLSv1.1"), ["C0107"]);
    assert_eq!(with("ssl.cipher.suites=TLS_RSA_WITH_RC4_128_MD5"), ["C0109"]);
    assert_eq!(with("ssl.keystore.password=x"), ["P0303"]);
}

#[test]
fn references_are_resolved_and_never_printed() {
    let dir = tempfile::tempdir().unwrap();
    let secrets = write(&dir, "secrets.properties", "threads=hunter2\nparts=4\n");
    let text = format!(
        "broker.id=1\nnum.partitions=${{file:{0}:parts}}\nnum.io.threads=${{file:{0}:threads}}\n",
        secrets.display()
    );
    let refused = load(&text).unwrap_err();
    assert!(refused.iter().any(|d| d.code == Code::P0302));
    assert!(!refused.to_string().contains("hunter2"), "{refused}");
    let good = load(&text.replace(":threads}", ":parts}")).unwrap();
    assert_eq!(good.config.settings.num_partitions, 4);
}

#[test]
fn a_lost_backslash_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let with = |quote: &str| {
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule required";
        let text = format!(
            "broker.id=1\nlisteners=SASL_PLAINTEXT://127.0.0.1:1\nsecurity.inter.broker.protocol=SASL_PLAINTEXT\n\
             sasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
             listener.name.sasl_plaintext.plain.sasl.jaas.config={module} user_a=\"b{quote}c\";\n"
        );
        let file = write(&dir, "server.properties", &text);
        BrokerConfig::load(Sources { file: Some(file), ..Sources::default() })
    };
    let refused = with("\\\"").unwrap_err();
    assert!(refused.iter().any(|d| d.code == Code::P0106), "{refused}");
    let right = with("\\\\\\\"").unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(right.config.listeners[0].jaas["PLAIN"].users[0].password.expose(), "b\"c");
}
