//! Apache's administrative tools, clear and over SASL_SSL, with the outputs that people's scripts read.

use std::path::Path;
use std::process::Command;

use crate::support::{Broker, Finished, free_port, kafka_libs, kafka_tool, kcat, run, write};

pub(crate) struct Cluster {
    broker: Broker,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) clear_port: u16,
    pub(crate) secure_port: u16,
}

impl Cluster {
    /// A quickstart, started again with a clear listener beside the secured one, on which everybody is a super user.
    pub(crate) fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("schloss-data");
        let (clear_port, secure_port) = (free_port(), free_port());
        let mut first =
            Broker::launch(&["quickstart", "--dir", data.to_str().unwrap(), "--port", &secure_port.to_string()], &[]);
        first.wait_for_line("Ready in ");
        assert_eq!(first.stop(), Some(0));
        let broker = Self::serve(&data, clear_port, secure_port);
        write(&dir.path().join("clear.properties"), "security.protocol=PLAINTEXT\n");
        Self { broker, dir, clear_port, secure_port }
    }

    fn serve(data: &Path, clear_port: u16, secure_port: u16) -> Broker {
        let listeners = format!("listeners=SASL_SSL://localhost:{secure_port},PLAINTEXT://localhost:{clear_port}");
        Broker::start(
            &[
                "serve",
                data.join("server.properties").to_str().unwrap(),
                "--override",
                &listeners,
                "--override",
                "schloss.profile=compat",
                "--override",
                "super.users=User:admin;User:ANONYMOUS",
            ],
            &[],
        )
    }

    /// Stops the broker in order and starts it again.
    pub(crate) fn restart(&mut self) {
        assert_eq!(self.broker.stop(), Some(0));
        self.broker = Self::serve(&self.dir.path().join("schloss-data"), self.clear_port, self.secure_port);
    }

    /// Over SASL_SSL, with kcat.
    fn can_log_in(&self, user: &str, password: &str) -> bool {
        let conf = self.dir.path().join("schloss-data/clients/demo.kcat.conf");
        let (user, password) = (format!("sasl.username={user}"), format!("sasl.password={password}"));
        let args = ["-F", conf.to_str().unwrap(), "-X", &user, "-X", &password, "-L", "-m", "5"];
        let finished = run(Command::new("kcat").args(args), "");
        let refused = finished.text().contains("invalid credentials with SASL mechanism SCRAM-SHA-512");
        assert_ne!(finished.code == Some(0), refused, "neither let in nor refused: {finished:?}");
        !refused
    }

    pub(crate) fn tool(&self, secure: bool, tool: &str, args: &[&str]) -> Finished {
        let (port, config) = if secure {
            (self.secure_port, self.dir.path().join("schloss-data/clients/admin.properties"))
        } else {
            (self.clear_port, self.dir.path().join("clear.properties"))
        };
        let bootstrap = format!("localhost:{port}");
        let connect = ["--bootstrap-server", &bootstrap, "--command-config", config.to_str().unwrap()];
        kafka_tool(tool, &[&connect[..], args].concat(), "")
    }
}

fn topics(cluster: &Cluster, secure: bool, name: &str) {
    let tool = |args: &[&str]| cluster.tool(secure, "topics", args);
    tool(&["--create", "--topic", name, "--partitions", "2", "--config", "retention.ms=3600000"])
        .expect(0, &format!("Created topic {name}."));
    tool(&["--create", "--topic", name])
        .expect(1, &format!("Error while executing topic command : Topic '{name}' already exists."));
    let listed = tool(&["--list"]).expect(0, name);
    assert!(listed.stdout.lines().any(|line| line == name), "{listed:?}");
    let described = tool(&["--describe", "--topic", name]).expect(0, "PartitionCount: 2\tReplicationFactor: 1");
    assert!(described.stdout.contains("retention.ms=3600000"), "{described:?}");
    assert!(
        described.stdout.contains(&format!("\tTopic: {name}\tPartition: 1\tLeader: 1\tReplicas: 1\tIsr: 1\t")),
        "{described:?}"
    );
    tool(&["--delete", "--topic", name]).expect(0, "");
    tool(&["--describe", "--topic", name]).expect(1, &format!("Topic '{name}' does not exist as expected"));
}

fn acls(cluster: &Cluster, secure: bool, user: &str) {
    let tool = |args: &[&str]| cluster.tool(secure, "acls", args);
    let principal = format!("User:{user}");
    tool(&["--add", "--allow-principal", &principal, "--producer", "--topic", "orders"]).expect(
        0,
        "Adding ACLs for resource `ResourcePattern(resourceType=TOPIC, name=orders, patternType=LITERAL)`: ",
    );
    tool(&["--list", "--principal", &principal])
        .expect(0, &format!("(principal={principal}, host=*, operation=WRITE, permissionType=ALLOW)"));
    tool(&["--remove", "--force", "--allow-principal", &principal, "--producer", "--topic", "orders"]).expect(0, "");
    let listed = tool(&["--list", "--principal", &principal]);
    assert!(!listed.stdout.contains("operation=WRITE"), "{listed:?}");
}

fn scram_users(cluster: &Cluster, secure: bool, user: &str) {
    let done = format!("Completed updating config for user {user}.");
    let alter = |args: &[&str]| {
        let alter = [&["--alter", "--entity-type", "users", "--entity-name", user], args].concat();
        cluster.tool(secure, "configs", &alter).expect(0, &done);
    };
    alter(&["--add-config", "SCRAM-SHA-512=[iterations=8192,password=first-password]"]);
    assert!(cluster.can_log_in(user, "first-password"));
    alter(&["--add-config", "SCRAM-SHA-512=[iterations=4096,password=second-password]"]);
    assert!(!cluster.can_log_in(user, "first-password"), "the old password still works");
    assert!(cluster.can_log_in(user, "second-password"));
    alter(&["--delete-config", "SCRAM-SHA-512"]);
    assert!(!cluster.can_log_in(user, "second-password"), "a deleted user still logs in");
}

fn perf_and_offsets(cluster: &Cluster, secure: bool, topic: &str) {
    cluster.tool(secure, "topics", &["--create", "--topic", topic]).expect(0, "Created topic");
    let perf = ["--topic", topic, "--num-records", "5000", "--record-size", "512", "--throughput", "-1"];
    cluster.tool(secure, "producer-perf-test", &perf).expect(0, "5000 records sent");
    cluster.tool(secure, "get-offsets", &["--topic", topic]).expect(0, &format!("{topic}:0:5000"));
    cluster.tool(secure, "get-offsets", &["--topic", topic, "--time", "earliest"]).expect(0, &format!("{topic}:0:0"));
}

#[test]
fn clear() {
    if kafka_libs().is_none() || kcat().is_none() {
        return;
    }
    let cluster = Cluster::start();
    topics(&cluster, false, "clear-topic");
    acls(&cluster, false, "carol");
    scram_users(&cluster, false, "carol");
    perf_and_offsets(&cluster, false, "clear-perf");
}

#[test]
fn over_sasl_ssl() {
    if kafka_libs().is_none() || kcat().is_none() {
        return;
    }
    let cluster = Cluster::start();
    topics(&cluster, true, "secure-topic");
    acls(&cluster, true, "dave");
    scram_users(&cluster, true, "dave");
    perf_and_offsets(&cluster, true, "secure-perf");
}
