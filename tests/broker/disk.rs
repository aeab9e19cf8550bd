//! What the broker leaves on disk: Apache's dump tool reads all of it, text files are Kafka's to the byte, and a directory
//! has one owner.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use schloss::model::acl::{AclOperation, AclPermission};
use schloss::model::resource::{PatternType, ResourceType};
use schloss::model::scram::ScramMechanism;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use schloss::protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResponse;
use schloss::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use schloss::protocol::messages::create_acls_response::CreateAclsResponse;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic};
use schloss::protocol::messages::list_offsets_response::ListOffsetsResponse;
use schloss::security::sasl::scram_keys::salted_password;

use crate::client::Client;
use crate::support::{Broker, Finished, PATIENCE, free_port, kafka_libs, kafka_tool, kcat, run, schloss, write};

struct Node {
    dir: tempfile::TempDir,
    config: PathBuf,
    address: SocketAddr,
    sasl: SocketAddr,
}

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

impl Node {
    /// A formatted node with a SCRAM user.
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
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let node = Self { dir, config, address: local(clear), sasl: local(sasl) };
        node.format(&["--add-scram", "SCRAM-SHA-256=[name=admin,password=first-secret-of-tests]"])
            .expect(0, "Formatting metadata directory");
        node
    }

    fn format(&self, more: &[&str]) -> Finished {
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

    fn kcat(&self, args: &[&str], input: &str) -> Finished {
        run(Command::new("kcat").args(["-b", &self.address.to_string()]).args(args), input)
    }

    /// What the cluster looks like to a SCRAM user, by kcat.
    fn seen_by(&self, user: &str, password: &str) -> Finished {
        let mut command = Command::new("kcat");
        command.args(["-b", &self.sasl.to_string(), "-L", "-m", "5", "-X", "security.protocol=SASL_PLAINTEXT"]);
        command.args(["-X", "sasl.mechanisms=SCRAM-SHA-256", "-X", &format!("sasl.username={user}")]);
        run(command.args(["-X", &format!("sasl.password={password}")]), "")
    }

    /// A topic with a configuration of its own, a user, and what that user may do.
    fn administer(&self) {
        let mut client = Client::connect(self.address);
        let config = CreatableTopicConfig { name: "retention.ms".into(), value: Some("3600000".into()) };
        let topic = CreatableTopic {
            name: "ruled".into(),
            num_partitions: 3,
            replication_factor: 1,
            configs: vec![config],
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let response: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request).unwrap();
        assert_eq!(response.topics[0].error_code, 0);

        let (salt, iterations) = (b"salt-of-these-tests", 4096_u32.try_into().unwrap());
        let upsertion = ScramCredentialUpsertion {
            name: "alice".into(),
            mechanism: 1,
            iterations: 4096,
            salt: salt.as_slice().into(),
            salted_password: salted_password(ScramMechanism::Sha256, b"alices-secret", salt, iterations).into(),
        };
        let request = AlterUserScramCredentialsRequest { upsertions: vec![upsertion], ..Default::default() };
        let response: AlterUserScramCredentialsResponse =
            client.ask(ApiKey::AlterUserScramCredentials, 0, &request).unwrap();
        assert_eq!(response.results[0].error_code, 0, "{response:?}");

        let creation = AclCreation {
            resource_type: ResourceType::Topic.code(),
            resource_name: "ruled".into(),
            resource_pattern_type: PatternType::Literal.code(),
            principal: "User:alice".into(),
            host: "*".into(),
            operation: AclOperation::Describe.code(),
            permission_type: AclPermission::Allow.code(),
        };
        let request = CreateAclsRequest { creations: vec![creation] };
        let response: CreateAclsResponse = client.ask(ApiKey::CreateAcls, 3, &request).unwrap();
        assert_eq!(response.results[0].error_code, 0, "{response:?}");
    }

    fn latest_offset(&self, topic: &str) -> i64 {
        let partition = ListOffsetsPartition { partition_index: 0, timestamp: -1, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let response: ListOffsetsResponse =
            Client::connect(self.address).ask(ApiKey::ListOffsets, 7, &request).unwrap();
        response.topics[0].partitions[0].offset
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
    node.administer();
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
    for record in [
        "FEATURE_LEVEL_RECORD",
        "REGISTER_BROKER_RECORD",
        "BROKER_REGISTRATION_CHANGE_RECORD",
        "TOPIC_RECORD",
        "PARTITION_RECORD",
        "CONFIG_RECORD",
        "PRODUCER_IDS_RECORD",
        "ACCESS_CONTROL_ENTRY_RECORD",
        "USER_SCRAM_CREDENTIAL_RECORD",
    ] {
        assert!(dumped.stdout.contains(record), "{record} is not in\n{}", dumped.stdout);
    }
}

/// The whole of it at once: Apache Kafka serves what we wrote, and we what it wrote after that.
#[test]
fn apache_kafka_takes_the_directory_over_and_gives_it_back() {
    if kafka_libs().is_none() || kcat().is_none() {
        return;
    }
    let node = Node::new(
        "auto.create.topics.enable=true\n\
         listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
         org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
    );
    let read = || node.kcat(&["-C", "-t", "shared", "-o", "beginning", "-e", "-q"], "");
    let numbered = |from: usize, to: usize| -> String { (from..to).map(|n| format!("{n} {:0900}\n", n)).collect() };
    let produce = |lines: &str| {
        node.kcat(&["-P", "-t", "shared", "-p", "0", "-X", "enable.idempotence=true"], lines).expect(0, "");
    };
    let mut broker = node.start();
    node.administer();
    produce(&numbered(0, 2500));
    assert_eq!(broker.stop(), Some(0));

    let mut kafka = Broker::launch_kafka(&node.config);
    let start = Instant::now();
    let mut seen = read();
    while seen.stdout != numbered(0, 2500) {
        assert!(start.elapsed() < PATIENCE, "Kafka does not serve it: {}\n{}", seen.stderr, kafka.output());
        thread::sleep(Duration::from_millis(200));
        seen = read();
    }
    // Not by kcat: Debian's is one that Kafka 4 does not let in.
    let connect = node.dir.path().join("alice.properties");
    write(
        &connect,
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-256\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \
         username=\"alice\" password=\"alices-secret\";\n",
    );
    let (sasl, connect) = (node.sasl.to_string(), connect.to_str().unwrap());
    let listed =
        kafka_tool("topics", &["--bootstrap-server", &sasl, "--command-config", connect, "--list"], "").expect(0, "");
    assert_eq!(listed.stdout, "ruled\n", "what alice may see");
    produce(&numbered(2500, 4000));
    // What Java exits with on SIGTERM, its shutdown hooks done.
    assert_eq!(kafka.stop(), Some(143));
    for complaint in ["ERROR", "orrupt", "stray"] {
        assert!(!kafka.output().contains(complaint), "{complaint} in\n{}", kafka.output());
    }

    let mut broker = node.start();
    broker.wait_for_line("partitions opened in ");
    assert!(broker.output().contains(", clean shutdown"), "{}", broker.output());
    assert_eq!(read().stdout, numbered(0, 4000));
    let alice = node.seen_by("alice", "alices-secret").expect(0, "topic \"ruled\" with 3 partitions");
    assert!(!alice.stdout.contains("shared"), "{alice:?}");
    produce(&numbered(4000, 4100));
    assert_eq!(read().stdout, numbered(0, 4100));
    assert_eq!(broker.stop(), Some(0));
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
fn a_directory_has_one_owner() {
    let node = Node::new("");
    let mut broker = node.start();
    // A POSIX lock, the kind a Java broker would see too.
    let held = format!("POSIX  ADVISORY  WRITE {} ", broker.pid());
    let locks = fs::read_to_string("/proc/locks").unwrap();
    assert!(locks.contains(&held), "{held} is not in\n{locks}");

    let mut second = Broker::launch(&["serve", node.config.to_str().unwrap()], &[]);
    assert_eq!(second.wait(), Some(74), "{}", second.output());
    let line = format!("{} is in use by another broker", node.data().display());
    assert!(second.output().contains(&line), "{}", second.output());
    assert!(node.data().join(".lock").exists(), "the one that was refused left the lock alone");

    broker.kill();
    assert!(node.data().join(".lock").exists() && !node.data().join(".kafka_cleanshutdown").exists());
    let mut broker = node.start();
    broker.wait_for_line("no clean shutdown to go by");
    assert_eq!(broker.stop(), Some(0));
    assert!(!node.data().join(".lock").exists() && node.data().join(".kafka_cleanshutdown").exists());
    let broker = node.start();
    broker.wait_for_line("partitions opened in ");
    assert!(broker.output().contains(", clean shutdown"), "{}", broker.output());
    assert!(!node.data().join(".kafka_cleanshutdown").exists(), "the mark holds for one start");
}

#[test]
fn a_restart_keeps_everything() {
    if kcat().is_none() {
        return;
    }
    let node = Node::new("auto.create.topics.enable=true\n");
    let mut broker = node.start();
    node.administer();
    node.kcat(&["-P", "-t", "kept", "-p", "0"], "one\ntwo\n").expect(0, "");
    let check = |lines: &str, how: &str| {
        node.kcat(&["-C", "-t", "kept", "-o", "beginning", "-e", "-q"], "").expect(0, lines);
        assert_eq!(node.latest_offset("kept"), i64::try_from(lines.lines().count()).unwrap(), "{how}");
        // The credential, what it may see, and what it may not.
        let seen = node.seen_by("alice", "alices-secret").expect(0, "topic \"ruled\" with 3 partitions");
        assert!(!seen.stdout.contains("kept"), "{how}: {seen:?}");
        node.seen_by("admin", "first-secret-of-tests").expect(0, "topic \"kept\"");
        let wrong = node.seen_by("alice", "first-secret-of-tests");
        assert!(wrong.code != Some(0) && wrong.text().contains("Authentication failed"), "{how}: {wrong:?}");
        let tool = Client::connect(node.address).metadata(&["ruled"]).unwrap();
        assert_eq!((tool.topics[0].error_code, tool.topics[0].partitions.len()), (0, 3), "{how}");
    };
    check("one\ntwo\n", "at first");
    broker.kill();
    broker = node.start();
    check("one\ntwo\n", "after SIGKILL");
    node.kcat(&["-P", "-t", "kept", "-p", "0"], "three\n").expect(0, "");
    assert_eq!(broker.stop(), Some(0));
    let epochs = node.read("kept-0/leader-epoch-checkpoint");
    assert!(epochs.starts_with("0\n2\n0 0\n") && epochs.ends_with(" 2\n"), "a new leadership begins at 2: {epochs:?}");
    broker = node.start();
    check("one\ntwo\nthree\n", "after a clean stop");
    assert_eq!(broker.stop(), Some(0));
}

#[test]
fn several_directories_share_the_partitions() {
    let node = Node::new("");
    let dirs = ["one", "two", "meta"].map(|name| node.dir.path().join(name));
    let text = fs::read_to_string(&node.config).unwrap();
    let [one, two, meta] = &dirs;
    let log_dirs = format!("log.dirs={},{}", one.display(), two.display());
    let text = text.replace(&format!("log.dirs={}", node.data().display()), &log_dirs);
    write(&node.config, &format!("{text}metadata.log.dir={}\n", meta.display()));

    let formatted = node.format(&[]).expect(0, "");
    for (kind, dir) in [("data", one), ("data", two), ("metadata", meta)] {
        let line = format!("Formatting {kind} directory {} with metadata.version 4.3-IV0.", dir.display());
        assert!(formatted.stdout.lines().any(|l| l == line), "{line} is not in {formatted:?}");
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["bootstrap.checkpoint", "meta.properties"]);
    }
    let property = |dir: &Path, key: &str| {
        let text = fs::read_to_string(dir.join("meta.properties")).unwrap();
        text.lines().find_map(|line| line.strip_prefix(key).map(str::to_owned)).unwrap()
    };
    assert_eq!(property(one, "cluster.id="), property(meta, "cluster.id="));
    assert_ne!(property(one, "directory.id="), property(two, "directory.id="));

    let mut broker = node.start();
    node.administer();
    let partitions = |dir: &Path| {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("ruled-")).count()
    };
    assert!(partitions(one) > 0 && partitions(two) > 0 && partitions(one) + partitions(two) == 3);
    assert_eq!(partitions(meta), 0);
    assert_eq!(broker.stop(), Some(0));
    assert!(one.join(".kafka_cleanshutdown").exists() && two.join(".kafka_cleanshutdown").exists());
    assert!(!meta.join(".kafka_cleanshutdown").exists(), "the metadata log is always recovered");
    assert!(dirs.iter().all(|dir| !dir.join(".lock").exists()));
    for dir in [one, two] {
        let checkpoint = fs::read_to_string(dir.join("replication-offset-checkpoint")).unwrap();
        assert_eq!(checkpoint.lines().nth(1).unwrap(), partitions(dir).to_string(), "only its own: {checkpoint}");
    }

    // A new disk in the place of one: nothing is formatted behind the operator's back.
    fs::remove_dir_all(two).unwrap();
    let mut broker = Broker::launch(&["serve", node.config.to_str().unwrap()], &[]);
    assert_eq!(broker.wait(), Some(74), "{}", broker.output());
    assert!(broker.output().contains(&format!("{} has no meta.properties", two.display())), "{}", broker.output());
    node.format(&[]).expect(1, &format!("Log directory {} is already formatted.", one.display()));
    let again = node.format(&["--ignore-formatted"]).expect(0, "");
    assert_eq!(again.stdout, format!("Formatting data directory {} with metadata.version 4.3-IV0.\n", two.display()));
    let mut broker = node.start();
    let metadata = Client::connect(node.address).metadata(&["ruled"]).unwrap();
    assert_eq!(metadata.topics[0].partitions.len(), 3);
    assert!(metadata.topics[0].partitions.iter().all(|partition| partition.error_code == 0), "{metadata:?}");
    assert_eq!(partitions(one) + partitions(two), 3);
    assert_eq!(broker.stop(), Some(0));
}

/// The earliest a supervisor can know of the process: its logs are closed in order all the same.
#[test]
fn a_stop_that_comes_while_it_starts_is_clean() {
    let node = Node::new("");
    for _ in 0..5 {
        let mut broker = Broker::launch(&["serve", node.config.to_str().unwrap()], &[]);
        broker.wait_for_line("starting: node 1");
        assert_eq!(broker.stop(), Some(0), "{}", broker.output());
        assert!(node.data().join(".kafka_cleanshutdown").exists(), "{}", broker.output());
    }
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
    let invalid = format!(
        "Invalid cluster.id in: {}/meta.properties. Expected AAAAAAAAAAAAAAAAAAAABQ, but read {CLUSTER_ID}",
        data.display()
    );
    let config = node.config.to_str().unwrap();
    schloss(&["storage", "format", "-t", "AAAAAAAAAAAAAAAAAAAABQ", "-g", "-c", config]).expect(1, &invalid);
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
    let formatted = format!("Formatting metadata directory {} with metadata.version", data.display());
    assert!(broker.output().contains(&formatted), "{}", broker.output());
    assert_eq!(broker.stop(), Some(0));
    let before = fs::read_to_string(data.join("meta.properties")).unwrap();
    let mut broker = start();
    broker.wait_for_line("Kafka Server started");
    assert!(!broker.output().contains("Formatting"), "once: {}", broker.output());
    assert_eq!(broker.stop(), Some(0));
    assert_eq!(fs::read_to_string(data.join("meta.properties")).unwrap(), before);
    fs::remove_dir_all(&data).unwrap();
    let mut broker = start();
    assert_eq!(broker.wait(), Some(74), "a lost disk is not a new cluster:\n{}", broker.output());
    assert!(broker.output().contains("belonged to cluster"), "{}", broker.output());
}

/// Two server files in one folder share what is kept beside them, not the cluster they belong to.
#[test]
fn a_second_server_file_beside_the_first_is_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, id: u16| {
        let config = dir.path().join(format!("{name}.properties"));
        let (port, data) = (free_port(), dir.path().join(name));
        let text = format!(
            "broker.id={id}\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nzookeeper.connect=localhost:2181\n",
            data.display()
        );
        write(&config, &text);
        (config, data)
    };
    let (one, two) = (file("one", 1), file("two", 2));
    for (config, _) in [&one, &two, &one] {
        let mut broker = Broker::start(&["serve", config.to_str().unwrap()], &[]);
        assert_eq!(broker.stop(), Some(0));
    }
    let stamp = dir.path().join(".schloss/stamp");
    assert_eq!(fs::read_to_string(&stamp).unwrap().lines().count(), 2);
    for (config, data) in [&two, &one] {
        fs::remove_dir_all(data).unwrap();
        let mut broker = Broker::launch(&["serve", config.to_str().unwrap()], &[]);
        assert_eq!(broker.wait(), Some(74), "a lost disk is not a new cluster:\n{}", broker.output());
        assert!(broker.output().contains("belonged to cluster"), "{}", broker.output());
    }
    // As the message says: without its line, a node is new.
    let kept = fs::read_to_string(&stamp).unwrap();
    let cluster = kept.lines().find(|line| line.contains("two.properties")).unwrap();
    fs::write(&stamp, kept.replace(cluster, "")).unwrap();
    let mut broker = Broker::start(&["serve", two.0.to_str().unwrap()], &[]);
    assert_eq!(broker.stop(), Some(0));
    let mut broker = Broker::launch(&["serve", one.0.to_str().unwrap()], &[]);
    assert_eq!(broker.wait(), Some(74), "the other's line is still there:\n{}", broker.output());
}
