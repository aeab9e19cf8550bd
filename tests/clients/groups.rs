//! Groups of clients that know nothing of each other: three members of Apache's console consumer, kcat, franz-go, KafkaJS
//! and librdkafka's current version each, and mixed groups of Java and librdkafka. Each group shares twelve partitions,
//! clear and over SASL_SSL, through a member's death, a member that joins, a static member's return and a restart of the
//! broker; and goes on exactly where it stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::admin_tools::Cluster;
use crate::support::{Broker, PATIENCE, confluent_kafka, franz_go, kafka_libs, kafkajs, kcat, repository, run, write};

const PARTITIONS: usize = 12;
const SETTINGS: [&str; 3] = ["session.timeout.ms=6000", "heartbeat.interval.ms=500", "auto.commit.interval.ms=200"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Apache,
    Kcat,
    FranzGo,
    KafkaJs,
    Librdkafka,
}

use Client::{Apache, FranzGo, KafkaJs, Kcat, Librdkafka};

/// Name and first members. Whoever mixes clients has members that support one assignor: range.
const GROUPS: [(&str, [Client; 3]); 7] = [
    ("apache", [Apache; 3]),
    ("kcat", [Kcat; 3]),
    ("franz-go", [FranzGo; 3]),
    ("kafkajs", [KafkaJs; 3]),
    ("librdkafka", [Librdkafka; 3]),
    ("java-and-librdkafka", [Apache, Librdkafka, Kcat]),
    ("mixed", [Kcat, FranzGo, Apache]),
];

/// A topic, and how its clients connect.
struct Stage<'a> {
    cluster: &'a Cluster,
    topic: &'static str,
    secure: bool,
    sent: usize,
}

impl Stage<'_> {
    fn librdkafka_file(&self) -> PathBuf {
        let file = if self.secure { "schloss-data/clients/admin.kcat.conf" } else { "clear.kcat.conf" };
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
        run(&mut self.kcat(&["-P", "-t", self.topic, "-K", ":"]), &lines).expect(0, "");
        self.sent += count;
    }

    fn consumer(&self, client: Client, group: &str, instance: Option<&str>) -> Broker {
        let mut command = match client {
            Apache => {
                let (port, file) = if self.secure {
                    (self.cluster.secure_port, "schloss-data/clients/admin.properties")
                } else {
                    (self.cluster.clear_port, "clear.properties")
                };
                let mut command = Command::new(repository().join("tests/tools/kafka"));
                command.args(["console-consumer", "--bootstrap-server", &format!("localhost:{port}")]);
                command.args(["--topic", self.topic, "--group", group, "--from-beginning", "--command-config"]);
                command.arg(self.cluster.dir.path().join(file));
                command.args(SETTINGS.iter().flat_map(|setting| ["--command-property", setting]));
                let instance = instance.map(|id| format!("group.instance.id={id}"));
                command.args(instance.iter().flat_map(|setting| ["--command-property", setting]));
                command.args(["--formatter-property", "print.partition=true"]);
                command
            }
            Kcat => {
                let mut command =
                    self.kcat(&["-G", group, "-u", "-q", "-f", "%p %o %s\n", "-X", "auto.offset.reset=earliest"]);
                command.args(SETTINGS.iter().flat_map(|setting| ["-X", setting]));
                let instance = instance.map(|id| format!("group.instance.id={id}"));
                command.args(instance.iter().flat_map(|setting| ["-X", setting])).arg(self.topic);
                command
            }
            FranzGo => {
                let mut command = Command::new(repository().join("target/tools/franz-go"));
                command.arg("group").arg(self.librdkafka_file()).args([self.topic, group]).args(instance);
                command
            }
            KafkaJs => {
                assert_eq!(instance, None, "KafkaJS has no static members");
                let mut command = Command::new("node");
                command.env("NODE_PATH", repository().join("target/tools/kafkajs/node_modules"));
                command.arg(repository().join("tests/clients/kafkajs/group.js"));
                command.arg(self.librdkafka_file()).args([self.topic, group]);
                command
            }
            Librdkafka => {
                let mut command = Command::new(repository().join("target/tools/librdkafka/bin/python"));
                command.arg(repository().join("tests/clients/librdkafka/group.py"));
                command.arg(self.librdkafka_file()).args([self.topic, group]).args(instance);
                command
            }
        };
        Broker::background(&mut command)
    }

    /// Waits until three members share all partitions of each group.
    fn all_are_shared(&self) {
        let start = Instant::now();
        loop {
            let described =
                self.cluster.tool(self.secure, "consumer-groups", &["--describe", "--all-groups", "--members"]);
            let mut counts: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for line in described.stdout.lines() {
                let mut words = line.split_whitespace();
                if let (Some(group), Some(Ok(count))) = (words.next(), words.last().map(str::parse)) {
                    counts.entry(group).or_default().push(count);
                }
            }
            let is_shared = |group| {
                let counts = counts.get(group).map_or(&[][..], Vec::as_slice);
                counts.len() == 3 && counts.iter().sum::<usize>() == PARTITIONS && !counts.contains(&0)
            };
            if GROUPS.iter().all(|(group, _)| is_shared(group)) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "three members in each group are wanted: {described:?}");
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn positions_are_at_the_end(&self) {
        let described = self.cluster.tool(self.secure, "consumer-groups", &["--describe", "--all-groups"]);
        for (group, _) in GROUPS {
            let lines = described.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            let lags: Vec<&str> = lines
                .filter(|words| words.starts_with(&[group, self.topic]))
                .filter_map(|words| words.get(5).copied())
                .collect();
            assert_eq!(lags, vec!["0"; PARTITIONS], "{group}: {described:?}");
        }
    }
}

/// The numbers at the ends of lines: what was sent.
fn values(output: &str) -> BTreeSet<usize> {
    output.lines().filter_map(|line| line.split_whitespace().last()?.parse().ok()).collect()
}

struct Member {
    client: Client,
    instance: Option<&'static str>,
    process: Broker,
    is_dead: bool,
}

/// A group and everybody who was ever in it.
struct Group {
    name: &'static str,
    members: Vec<Member>,
}

impl Group {
    fn join(&mut self, stage: &Stage<'_>, client: Client, instance: Option<&'static str>) {
        let process = stage.consumer(client, self.name, instance);
        self.members.push(Member { client, instance, process, is_dead: false });
    }

    /// Kills a member, and starts the same one again with its name, if it has one.
    fn replace(&mut self, stage: &Stage<'_>, number: usize, instance: Option<&'static str>) {
        let member = &mut self.members[number];
        member.process.kill();
        member.is_dead = true;
        let client = member.client;
        self.join(stage, client, instance);
    }

    /// Waits until the members together have seen every record: each value at least once.
    #[track_caller]
    fn has_seen_all(&self, sent: usize) {
        let start = Instant::now();
        loop {
            let outputs: Vec<String> = self.members.iter().map(|member| member.process.output()).collect();
            let seen: Vec<BTreeSet<usize>> = outputs.iter().map(|output| values(output)).collect();
            let together: BTreeSet<usize> = seen.iter().flatten().copied().collect();
            if together.len() == sent {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{}: {} of {sent} were seen; members saw {:?}\n{outputs:#?}",
                self.name,
                together.len(),
                seen.iter().map(BTreeSet::len).collect::<Vec<_>>()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

#[track_caller]
fn all_have_seen(groups: &[Group], sent: usize) {
    groups.iter().for_each(|group| group.has_seen_all(sent));
}

fn run_groups(cluster: &mut Cluster, topic: &'static str, secure: bool) {
    let partitions = PARTITIONS.to_string();
    cluster.tool(secure, "topics", &["--create", "--topic", topic, "--partitions", &partitions]).expect(0, "Created");
    let mut stage = Stage { cluster, topic, secure, sent: 0 };
    stage.produce(120);
    let mut groups: Vec<Group> = GROUPS.iter().map(|(name, _)| Group { name, members: Vec::new() }).collect();
    for (group, (_, clients)) in groups.iter_mut().zip(GROUPS) {
        clients.into_iter().for_each(|client| group.join(&stage, client, None));
    }
    stage.all_are_shared();
    stage.produce(120);
    all_have_seen(&groups, stage.sent);

    // One dies; another, static one joins in the middle.
    for group in &mut groups {
        let instance = (group.members[0].client != KafkaJs).then_some("static-1");
        group.replace(&stage, 0, instance);
    }
    stage.all_are_shared();
    stage.produce(120);
    all_have_seen(&groups, stage.sent);

    // The static member comes back before its session ends: nobody else hears of it.
    for group in groups.iter_mut().filter(|group| group.members[3].instance.is_some()) {
        group.replace(&stage, 3, group.members[3].instance);
    }
    stage.produce(120);
    all_have_seen(&groups, stage.sent);
    stage.all_are_shared();

    let sent = stage.sent;
    cluster.restart();
    let mut stage = Stage { cluster, topic, secure, sent };
    // kcat alone ends when its only broker is away; whoever typed it types it again.
    for group in &mut groups {
        for number in 0..group.members.len() {
            let member = &group.members[number];
            if member.client == Kcat && !member.is_dead {
                group.replace(&stage, number, member.instance);
            }
        }
    }
    stage.produce(120);
    all_have_seen(&groups, stage.sent);
    stage.all_are_shared();

    // They leave, and whoever comes next has nothing to read again.
    for member in groups.iter_mut().flat_map(|group| &mut group.members).filter(|member| !member.is_dead) {
        member.process.stop();
    }
    stage.positions_are_at_the_end();
    let next: Vec<Broker> = GROUPS
        .iter()
        .map(|(name, _)| {
            let rest = ["-G", name, "-e", "-q", "-f", "%p %o %s\n", "-X", "auto.offset.reset=earliest", topic];
            Broker::background(&mut stage.kcat(&rest))
        })
        .collect();
    for ((name, _), mut next) in GROUPS.into_iter().zip(next) {
        assert_eq!(next.wait(), Some(0), "{name}: {}", next.output());
        assert_eq!(values(&next.output()), BTreeSet::new(), "{name} reads twice");
    }
    let names = GROUPS.iter().flat_map(|(name, _)| ["--group", name]);
    let delete: Vec<&str> = ["--delete"].into_iter().chain(names).collect();
    stage.cluster.tool(secure, "consumer-groups", &delete).expect(0, "was successful");
}

#[test]
fn clients_of_every_kind_share_their_groups() {
    let tools = [kcat(), franz_go(), kafka_libs(), kafkajs(), confluent_kafka()];
    if tools.contains(&None) {
        return;
    }
    let mut cluster = Cluster::start();
    let clear = format!("bootstrap.servers=localhost:{}\n", cluster.clear_port);
    write(&cluster.dir.path().join("clear.kcat.conf"), &clear);
    run_groups(&mut cluster, "shared-clear", false);
    run_groups(&mut cluster, "shared-secure", true);
}
