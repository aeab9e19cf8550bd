//! The authentication chapter of a 2.0-era set of notes: its JAAS and client files unchanged, its four server lines
//! appended to 2.0's default server.properties, and Apache's console tools of today.

use std::path::Path;

use crate::support::{Broker, free_port, kafka_libs, kafka_tool_with_opts, write};

const SERVER_JAAS: &str = r#"KafkaServer {
       org.apache.kafka.common.security.plain.PlainLoginModule required
       username="admin"
       password="admin-secret"
       user_admin="admin-secret"
       user_alice="alice-secret";
};
"#;

const CLIENT_JAAS: &str = r#"KafkaClient {
org.apache.kafka.common.security.plain.PlainLoginModule required
username="alice"
password="alice-secret";
};
"#;

const CLIENT_PROPERTIES: &str = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n";

/// The active lines of Kafka 2.0's default file; the data directory is the caller's.
fn server_properties(data: &Path, port: u16, more: &str) -> String {
    format!(
        "broker.id=0
num.network.threads=3
num.io.threads=8
socket.send.buffer.bytes=102400
socket.receive.buffer.bytes=102400
socket.request.max.bytes=104857600
log.dirs={data}
num.partitions=1
num.recovery.threads.per.data.dir=1
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.hours=168
log.segment.bytes=1073741824
log.retention.check.interval.ms=300000
zookeeper.connect=localhost:2181
zookeeper.connection.timeout.ms=6000
group.initial.rebalance.delay.ms=0
listeners=SASL_PLAINTEXT://localhost:{port}
security.inter.broker.protocol=SASL_PLAINTEXT
sasl.mechanism.inter.broker.protocol=PLAIN
sasl.enabled.mechanisms=PLAIN
{more}",
        data = data.display()
    )
}

struct Notes {
    broker: Broker,
    dir: tempfile::TempDir,
    port: u16,
}

impl Notes {
    fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = |name: &str| dir.path().join(name);
        write(&path("server.properties"), &server_properties(&path("kafka-logs"), port, more));
        write(&path("kafka_server_jaas.conf"), SERVER_JAAS);
        write(&path("kafka_client_jaas.conf"), CLIENT_JAAS);
        write(&path("producer.properties"), CLIENT_PROPERTIES);
        let opts = format!("-Djava.security.auth.login.config={}", path("kafka_server_jaas.conf").display());
        let broker =
            Broker::start(&["serve", path("server.properties").to_str().unwrap()], &[("KAFKA_OPTS", opts.as_str())]);
        Self { broker, dir, port }
    }

    fn tool(&self, tool: &str, args: &[&str], input: &str) -> crate::support::Finished {
        let jaas = self.dir.path().join("kafka_client_jaas.conf");
        let config = self.dir.path().join("producer.properties");
        let bootstrap = format!("localhost:{}", self.port);
        let all = [
            &["--bootstrap-server", &bootstrap, "--command-config", config.to_str().unwrap()],
            &["--topic", "message_down_queue_topic"][..],
            args,
        ]
        .concat();
        let opts = format!("-Djava.security.auth.login.config={}", jaas.display());
        kafka_tool_with_opts(tool, &all, input, &opts)
    }
}

#[test]
fn the_chapter_works_as_written() {
    if kafka_libs().is_none() {
        return;
    }
    let notes = Notes::start("");
    let log = notes.broker.output();
    assert!(log.contains("zookeeper.connect"), "what ZooKeeper keys became is said once:\n{log}");
    assert!(!log.contains("alice-secret") && !log.contains("admin-secret"), "no secret in the log:\n{log}");
    notes.tool("console-producer", &[], "down\nqueue\n").expect(0, "");
    notes
        .tool("console-consumer", &["--partition", "0", "--offset", "earliest", "--max-messages", "2"], "")
        .expect(0, "down\nqueue\n");
    // The notes' own line names no partition: a group of the tool's own making.
    notes.tool("console-consumer", &["--from-beginning", "--max-messages", "2"], "").expect(0, "down\nqueue\n");
}

#[test]
fn with_an_authorizer_the_missing_right_is_denied() {
    if kafka_libs().is_none() {
        return;
    }
    let notes = Notes::start("authorizer.class.name=kafka.security.authorizer.AclAuthorizer\nsuper.users=User:admin\n");
    let refused = notes.tool("console-producer", &[], "down\n");
    assert!(refused.text().contains("Not authorized to access topics: [message_down_queue_topic]"), "{refused:?}");
    notes.broker.wait_for_line("Principal = User:alice is Denied operation = ");
}
