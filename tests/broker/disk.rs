//! What the broker leaves on disk: Apache's dump tool reads all of it, text files are Kafka's to the byte, and a directory
//! has one owner.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::Client;
use crate::support::{Broker, free_port, kafka_libs, kafka_tool, kcat, run, schloss, write};

struct Node {
    dir: tempfile::TempDir,
    config: PathBuf,
    address: SocketAddr,
}

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

impl Node {
    /// A formatted node with two SCRAM users and its own JAAS users.
    fn new(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clear, sasl, controller) = (free_port(), free_port(), free_port());
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\n\
                 listeners=PLAINTEXT://127.0.0.1:{clear},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 inter.broker.listener.name=PLAINTEXT\nsasl.enabled.mechanisms=SCRAM-SHA-256\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:ANONYMOUS;User:admin\nlog.dirs={data}\nlog.segment.bytes=1048576\n{more}",
                data = dir.path().join("data").display(),
            ),
        );
        let node = Self { dir, config, address: SocketAddr::from(([127, 0, 0, 1], clear)) };
        node.format(&["--add-scram", "SCRAM-SHA-256=[name=admin,password=first-secret-of-tests]"])
            .expect(0, "Formatting metadata directory");
        node
    }

    fn format(&self, more: &[&str]) -> crate::support::Finished {
        let args = ["storage", "format", "-t", CLUSTER_ID, "-c", self.config.to_str().unwrap()];
        schloss(&[&args[..], more].concat())
    }

    fn start(&self) -> Broker {
        Broker::start(&["serve", self.config.to_str().unwrap()], &[])
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn read(&self, file: &str) -> String {
        let path = self.data().join(file);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    fn kcat(&self, args: &[&str], input: &str) -> crate::support::Finished {
        run(Command::new("kcat").args(["-b", &self.address.to_string()]).args(args), input)
    }
}

fn files_ending(dir: &Path, ending: &str) -> Vec<String> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_ending(&path, ending));
        } else if path.to_str().unwrap().ends_with(ending) {
            files.push(path.to_str().unwrap().to_owned());
        }
    }
    files.sort();
    files
}

#[test]
fn apaches_dump_tool_reads_every_file() {
    if kafka_libs().is_none() || kcat().is_none() {
        return;
    }
    let node = Node::new("auto.create.topics.enable=true\n");
    let mut broker = node.start();
    let line = "x".repeat(1000);
    let lines: String = (0..3000).map(|n| format!("{n} {line}\n")).collect();
    node.kcat(&["-P", "-t", "plain"], &lines).expect(0, "");
    node.kcat(&["-P", "-t", "zipped", "-z", "lz4", "-X", "enable.idempotence=true"], &lines).expect(0, "");
    assert_eq!(broker.stop(), Some(0));

    let logs = files_ending(&node.data(), ".log");
    assert!(logs.len() >= 6, "several segments: {logs:?}");
    for (ending, flags) in [
        (".log", &["--deep-iteration"][..]),
        (".index", &[][..]),
        (".timeindex", &[][..]),
        (".snapshot", &[][..]),
        (".checkpoint", &["--cluster-metadata-decoder"][..]),
    ] {
        let files: Vec<String> = files_ending(&node.data(), ending)
            .into_iter()
            .filter(|file| !file.contains("__cluster_metadata-0/") || ending != ".log")
            // Written by format, in Kafka's own snapshot form but outside the log's naming.
            .filter(|file| !file.ends_with("bootstrap.checkpoint") || ending == ".checkpoint")
            .collect();
        assert!(!files.is_empty(), "no {ending}");
        let dumped = kafka_tool("dump-log", &[flags, &["--files", &files.join(",")]].concat(), "").expect(0, "Dumping");
        for complaint in ["mismatch", "corrupt", "Found timestamp", "isvalid: false", "Exception"] {
            assert!(!dumped.text().contains(complaint), "{ending}: {complaint}:\n{}", dumped.text());
        }
    }
    let metadata = files_ending(&node.data().join("__cluster_metadata-0"), ".log").join(",");
    let dumped = kafka_tool("dump-log", &["--cluster-metadata-decoder", "--files", &metadata], "").expect(0, "Dumping");
    for record in
        ["FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD", "TOPIC_RECORD", "PARTITION_RECORD", "PRODUCER_IDS_RECORD"]
    {
        assert!(dumped.stdout.contains(record), "{record} is not in\n{}", dumped.stdout);
    }
}

#[test]
fn text_files_are_kafkas() {
    if kcat().is_none() {
        return;
    }
    let node = Node::new("auto.create.topics.enable=true\nnum.partitions=1\n");
    let mut broker = node.start();
    node.kcat(&["-P", "-t", "t"], "one\ntwo\n").expect(0, "");
    assert!(node.data().join(".lock").exists());
    assert_eq!(broker.stop(), Some(0));

    let meta = node.read("meta.properties");
    let lines: Vec<&str> = meta.lines().collect();
    assert_eq!((lines[0], lines.len()), ("#", 6), "{meta}");
    for line in ["node.id=1", "version=1", &format!("cluster.id={CLUSTER_ID}")] {
        assert!(lines.contains(&line), "{line} is not in {meta}");
    }
    let partition = node.read("t-0/partition.metadata");
    assert!(partition.starts_with("version: 0\ntopic_id: ") && partition.len() == 43, "{partition:?}");
    assert_eq!(node.read("t-0/leader-epoch-checkpoint"), "0\n1\n0 0\n");
    assert_eq!(node.read("replication-offset-checkpoint"), "0\n1\nt 0 2\n");
    assert_eq!(node.read("recovery-point-offset-checkpoint"), "0\n1\nt 0 2\n");
    assert_eq!(node.read("log-start-offset-checkpoint"), "0\n0\n");
    let clean = node.read(".kafka_cleanshutdown");
    assert!(clean.starts_with("{\"version\":0,\"brokerEpoch\":") && clean.ends_with('}'), "{clean:?}");
    let quorum = node.read("__cluster_metadata-0/quorum-state");
    assert_eq!(
        quorum,
        "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"appliedOffset\":0,\
         \"currentVoters\":[{\"voterId\":1}],\"data_version\":0}"
    );
    assert!(!node.data().join(".lock").exists(), "the lock file is removed at a clean stop");
}

#[test]
fn a_restart_keeps_everything_and_a_directory_has_one_owner() {
    if kcat().is_none() {
        return;
    }
    let node = Node::new("auto.create.topics.enable=true\n");
    let mut broker = node.start();
    node.kcat(&["-P", "-t", "kept"], "one\ntwo\n").expect(0, "");

    let mut second = Broker::launch(&["serve", node.config.to_str().unwrap()], &[]);
    assert_eq!(second.wait(), Some(74), "{}", second.output());
    assert!(second.output().contains("in use by another broker"), "{}", second.output());

    broker.kill();
    let mut broker = node.start();
    node.kcat(&["-C", "-t", "kept", "-o", "beginning", "-e", "-q"], "").expect(0, "one\ntwo\n");
    node.kcat(&["-P", "-t", "kept"], "three\n").expect(0, "");
    assert_eq!(broker.stop(), Some(0));
    let _broker = node.start();
    node.kcat(&["-C", "-t", "kept", "-o", "beginning", "-e", "-q"], "").expect(0, "one\ntwo\nthree\n");
    let topics = Client::connect(node.address).metadata(&["kept"]).unwrap();
    assert_eq!(topics.topics[0].error_code, 0);
}

#[test]
fn format_speaks_as_kafkas() {
    let node = Node::new("");
    let data = node.data();
    node.format(&[]).expect(
        1,
        &format!(
            "Log directory {} is already formatted. Use --ignore-formatted to ignore this directory and format the others.",
            data.display()
        ),
    );
    node.format(&["--ignore-formatted"]).expect(0, "All of the log directories are already formatted.");
    let mut unformatted = Broker::launch(
        &["serve", node.config.to_str().unwrap(), "--override", &format!("log.dirs={}/other", data.display())],
        &[],
    );
    assert_eq!(unformatted.wait(), Some(74), "{}", unformatted.output());
    let id = schloss(&["storage", "random-uuid"]).expect(0, "");
    assert_eq!(id.stdout.trim().len(), 22);
}

#[test]
fn a_file_of_the_zookeeper_years_formats_itself_once() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = dir.path().join("server.properties");
    let data = dir.path().join("kafka-logs");
    write(
        &config,
        &format!(
            "broker.id=0\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect=localhost:2181\n",
            data.display()
        ),
    );
    let start = || Broker::launch(&["serve", config.to_str().unwrap()], &[]);
    let mut broker = start();
    broker.wait_for_line("Kafka Server started");
    assert!(broker.output().contains("zookeeper.connect"));
    assert_eq!(broker.stop(), Some(0));
    fs::remove_dir_all(&data).unwrap();
    let mut broker = start();
    assert_eq!(broker.wait(), Some(74), "a lost disk is not a new cluster:\n{}", broker.output());
    assert!(broker.output().contains("belonged to cluster"), "{}", broker.output());
}
