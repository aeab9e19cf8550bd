//! Clients whose sessions end every few seconds (`connections.max.reauth.ms`): they log in again on the connections they
//! have, and nobody notices.

use std::process::Command;

use crate::support::{Broker, franz_go, free_port, kafka_libs, kafka_tool, kcat, repository, run, schloss, write};

const LIFE_MS: u32 = 4_000;
/// Renewals to be seen on one connection.
const RENEWALS: usize = 3;

struct House {
    broker: Broker,
    dir: tempfile::TempDir,
    port: u16,
}

impl House {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (port, controller) = (free_port(), free_port());
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\n\
                 listeners=SASL_PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                 listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 inter.broker.listener.name=SASL_PLAINTEXT\nsasl.mechanism.inter.broker.protocol=SCRAM-SHA-256\n\
                 sasl.enabled.mechanisms=SCRAM-SHA-256\n\
                 listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 listener.name.sasl_plaintext.scram-sha-256.connections.max.reauth.ms={LIFE_MS}\n\
                 offsets.topic.replication.factor=1\nlog.dirs={data}\n",
                data = dir.path().join("data").display(),
            ),
        );
        let text = format!(
            "bootstrap.servers=127.0.0.1:{port}\nsecurity.protocol=SASL_PLAINTEXT\nsasl.mechanisms=SCRAM-SHA-256\n\
             sasl.username=alice\nsasl.password=alice-of-tests\n"
        );
        write(&dir.path().join("alice.conf"), &text);
        let text = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n\
                    sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
                    username=\"alice\" password=\"alice-of-tests\";\n";
        write(&dir.path().join("alice.properties"), text);
        let config = config.to_str().unwrap();
        let user = "SCRAM-SHA-256=[name=alice,password=alice-of-tests]";
        schloss(&["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config, "--add-scram", user])
            .expect(0, "");
        let filter = "info,org.apache.kafka.common.network.Selector=debug";
        let broker = Broker::start(&["serve", config], &[("RUST_LOG", filter)]);
        Self { broker, dir, port }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }

    /// Waits until one connection has been renewed so often.
    fn wait_for_renewals(&self) {
        self.broker.wait_for(|log| most_renewals(log) >= RENEWALS, "a connection that logs in again and again");
    }

    #[track_caller]
    fn nobody_was_cut_off(&self) {
        let log = self.broker.output();
        assert!(!log.contains("has expired"), "{log}");
    }
}

/// Of the connection that was renewed most often.
fn most_renewals(log: &str) -> usize {
    let renewed = |line: &str| {
        let (_, rest) = line.split_once("Successfully re-authenticated with ")?;
        Some(rest.split_once("channelId=")?.1.split(')').next()?.to_owned())
    };
    let connections: Vec<String> = log.lines().filter_map(renewed).collect();
    connections.iter().map(|one| connections.iter().filter(|other| *other == one).count()).max().unwrap_or(0)
}

#[test]
fn apaches_console_consumer_stays_connected() {
    if kafka_libs().is_none() {
        return;
    }
    let house = House::start();
    let (bootstrap, file) = (format!("127.0.0.1:{}", house.port), house.file("alice.properties"));
    let connect = ["--bootstrap-server", &bootstrap, "--command-config", &file];
    kafka_tool("topics", &[&connect[..], &["--create", "--topic", "t", "--partitions", "1"]].concat(), "")
        .expect(0, "Created topic");
    let mut command = Command::new(repository().join("tests/tools/kafka"));
    command.arg("console-consumer").args(connect).args(["--topic", "t", "--group", "g", "--from-beginning"]);
    let consumer = Broker::background(&mut command);
    house.wait_for_renewals();
    kafka_tool("console-producer", &[&connect[..], &["--topic", "t"]].concat(), "still here\n").expect(0, "");
    consumer.wait_for_line("still here");
    house.nobody_was_cut_off();
}

#[test]
fn franz_go_stays_connected() {
    let (Some(program), Some(kcat)) = (franz_go(), kcat()) else { return };
    let house = House::start();
    let file = house.file("alice.conf");
    // kcat's first record creates the topic.
    run(Command::new(kcat).args(["-F", &file, "-P", "-t", "t"]), "first\n").expect(0, "");
    let consumer = Broker::background(Command::new(&program).args(["group", &file, "t", "g"]));
    consumer.wait_for_line("0 0 first");
    house.wait_for_renewals();
    run(Command::new(&program).args(["produce", &file, "t"]), "still here\n").expect(0, "t-0 @ 1");
    consumer.wait_for_line("0 1 still here");
    house.nobody_was_cut_off();
}
