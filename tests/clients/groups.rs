//! One group of clients that know nothing of each other: librdkafka (kcat), franz-go and Apache's console consumer share
//! twelve partitions, clear and over SASL_SSL, through a member's death, a member that joins, and a restart of the broker;
//! and go on exactly where they stopped.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::admin_tools::Cluster;
use crate::support::{Broker, PATIENCE, franz_go, kafka_libs, kcat, repository, run, write};

const PARTITIONS: usize = 12;
const TOPIC: &str = "shared";

/// A group, and how its members connect.
struct Group<'a> {
    cluster: &'a Cluster,
    name: &'static str,
    secure: bool,
    sent: usize,
}

impl Group<'_> {
    fn port(&self) -> u16 {
        if self.secure { self.cluster.secure_port } else { self.cluster.clear_port }
    }

    fn librdkafka_file(&self) -> PathBuf {
        let file = if self.secure { "schloss-data/clients/admin.kcat.conf" } else { "clear.kcat.conf" };
        self.cluster.dir.path().join(file)
    }

    fn java_file(&self) -> PathBuf {
        let file = if self.secure { "schloss-data/clients/admin.properties" } else { "clear.properties" };
        self.cluster.dir.path().join(file)
    }

    fn kcat(&self, more: &[&str]) -> Command {
        let mut command = Command::new("kcat");
        command.arg("-F").arg(self.librdkafka_file()).args(more);
        command
    }

    /// Sends so many records, `n` up, spread over the partitions.
    fn produce(&mut self, count: usize) {
        let lines: String = (self.sent..self.sent + count).map(|n| format!("k{n}:{n}\n")).collect();
        run(&mut self.kcat(&["-P", "-t", TOPIC, "-K", ":"]), &lines).expect(0, "");
        self.sent += count;
    }

    fn librdkafka(&self) -> Broker {
        let quick = ["session.timeout.ms=6000", "heartbeat.interval.ms=500", "auto.commit.interval.ms=200"];
        let mut command =
            self.kcat(&["-G", self.name, "-u", "-q", "-f", "%p %o %s\n", "-X", "auto.offset.reset=earliest"]);
        command.args(quick.iter().flat_map(|setting| ["-X", setting]));
        Broker::background(command.arg(TOPIC))
    }

    fn franz(&self, instance: Option<&str>) -> Broker {
        let mut command = Command::new(repository().join("target/tools/franz-go"));
        Broker::background(command.arg("group").arg(self.librdkafka_file()).args([TOPIC, self.name]).args(instance))
    }

    fn apache(&self) -> Broker {
        let settings = ["session.timeout.ms=6000", "heartbeat.interval.ms=500", "auto.commit.interval.ms=200"];
        let mut command = Command::new(repository().join("tests/tools/kafka"));
        command.args(["console-consumer", "--bootstrap-server", &format!("localhost:{}", self.port())]);
        command.args(["--topic", TOPIC, "--group", self.name, "--from-beginning", "--command-config"]);
        command.arg(self.java_file());
        command.args(settings.iter().flat_map(|setting| ["--command-property", setting]));
        Broker::background(command.args(["--formatter-property", "print.partition=true"]))
    }

    /// Waits until the members together have seen every record, each value at least once, and each member some.
    #[track_caller]
    fn all_seen_by(&self, members: &[&Broker]) {
        let start = Instant::now();
        loop {
            let seen: Vec<BTreeSet<usize>> = members.iter().map(|member| values(&member.output())).collect();
            let together: BTreeSet<usize> = seen.iter().flatten().copied().collect();
            if together.len() == self.sent {
                return;
            }
            let outputs: Vec<String> = members.iter().map(|member| member.output()).collect();
            assert!(
                start.elapsed() < PATIENCE,
                "{} of {} were seen; members saw {:?}\n{outputs:#?}",
                together.len(),
                self.sent,
                seen.iter().map(BTreeSet::len).collect::<Vec<_>>()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until this many members share all partitions.
    fn shared_by(&self, members: usize) {
        let start = Instant::now();
        loop {
            let described =
                self.cluster.tool(self.secure, "consumer-groups", &["--describe", "--group", self.name, "--members"]);
            let counts: Vec<usize> = described
                .stdout
                .lines()
                .filter(|line| line.starts_with(self.name))
                .filter_map(|line| line.split_whitespace().last()?.parse().ok())
                .collect();
            if counts.len() == members && counts.iter().sum::<usize>() == PARTITIONS && !counts.contains(&0) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{members} members are wanted: {described:?}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn positions_are_at_the_end(&self) {
        let described = self.cluster.tool(self.secure, "consumer-groups", &["--describe", "--group", self.name]);
        let lags: Vec<&str> = described
            .stdout
            .lines()
            .filter(|line| line.starts_with(self.name))
            .filter_map(|line| line.split_whitespace().nth(5))
            .collect();
        assert_eq!(lags, vec!["0"; PARTITIONS], "{described:?}");
    }
}

/// The numbers at the ends of lines: what was sent.
fn values(output: &str) -> BTreeSet<usize> {
    output.lines().filter_map(|line| line.split_whitespace().last()?.parse().ok()).collect()
}

#[test]
fn clients_of_every_kind_share_a_group() {
    if kcat().is_none() || franz_go().is_none() || kafka_libs().is_none() {
        return;
    }
    let mut cluster = Cluster::start();
    let clear = format!("bootstrap.servers=localhost:{}\n", cluster.clear_port);
    write(&cluster.dir.path().join("clear.kcat.conf"), &clear);
    let partitions = PARTITIONS.to_string();
    cluster.tool(false, "topics", &["--create", "--topic", TOPIC, "--partitions", &partitions]).expect(0, "Created");
    let mut sent = 0;
    for (name, secure) in [("demo-clear", false), ("demo-secure", true)] {
        let mut group = Group { cluster: &cluster, name, secure, sent };
        group.produce(120);
        let (librdkafka, franz, apache) = (group.librdkafka(), group.franz(None), group.apache());
        group.shared_by(3);
        group.produce(120);
        group.all_seen_by(&[&librdkafka, &franz, &apache]);

        // One dies; another, static one joins in the middle.
        let mut killed = librdkafka;
        killed.kill();
        let mut member = group.franz(Some("static-1"));
        group.shared_by(3);
        group.produce(120);
        group.all_seen_by(&[&killed, &franz, &apache, &member]);

        // The static member comes back before its session ends: nobody else hears of it.
        member.kill();
        let back = group.franz(Some("static-1"));
        group.produce(120);
        group.all_seen_by(&[&killed, &franz, &apache, &member, &back]);
        group.shared_by(3);
        sent = group.sent;

        cluster.restart();
        let mut group = Group { cluster: &cluster, name, secure, sent };
        group.produce(120);
        group.all_seen_by(&[&killed, &franz, &apache, &member, &back]);
        sent = group.sent;

        // They leave, and whoever comes next has nothing to read again.
        for mut member in [franz, apache, back] {
            member.stop();
        }
        group.positions_are_at_the_end();
        let rest = ["-G", name, "-e", "-q", "-f", "%p %o %s\n", "-X", "auto.offset.reset=earliest", TOPIC];
        let rest = run(&mut group.kcat(&rest), "").expect(0, "");
        assert_eq!(rest.stdout, "", "read twice");
    }
}
