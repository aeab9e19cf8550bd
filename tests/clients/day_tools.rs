//! Apache's tools for what an operator does on an ordinary day: groups and their positions, configs, records, elections.

use std::process::Command;

use crate::admin_tools::Cluster;
use crate::support::{Finished, kafka_libs, kcat, run, write};

struct Day<'a> {
    cluster: &'a Cluster,
    secure: bool,
}

impl Day<'_> {
    fn tool(&self, tool: &str, args: &[&str]) -> Finished {
        self.cluster.tool(self.secure, tool, args)
    }

    fn groups(&self, args: &[&str]) -> Finished {
        self.tool("consumer-groups", args)
    }

    fn produce(&self, topic: &str, lines: &str) {
        let config = self.cluster.dir.path().join("schloss-data/clients/admin.kcat.conf");
        run(Command::new("kcat").arg("-F").arg(config).args(["-P", "-t", topic, "-p", "0"]), lines).expect(0, "");
    }

    /// The words of a line that begins with `first`.
    #[track_caller]
    fn line(&self, args: &[&str], first: &[&str]) -> Vec<String> {
        let shown = self.groups(args).expect(0, "");
        let lines = shown.stdout.lines().map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
        let found = lines.into_iter().find(|words| words.len() >= first.len() && words[..first.len()] == *first);
        found.unwrap_or_else(|| panic!("no line of {first:?} in {shown:?}"))
    }

    fn groups_and_positions(&self, topic: &str, group: &str) {
        self.tool("topics", &["--create", "--topic", topic, "--partitions", "3"]).expect(0, "Created topic");
        self.produce(topic, &(0..30).map(|n| format!("{n}\n")).collect::<String>());
        let consume = ["--topic", topic, "--group", group, "--from-beginning", "--max-messages", "30"];
        let consumed = self.tool("console-consumer", &consume).expect(0, "Processed a total of 30 messages");
        assert_eq!(consumed.stdout.lines().count(), 30, "{consumed:?}");

        let listed = self.groups(&["--list"]).expect(0, group);
        assert!(listed.stdout.lines().any(|line| line == group), "{listed:?}");
        assert_eq!(self.line(&["--list", "--state"], &[group])[1], "Empty");
        let position = |partition: &str| self.line(&["--describe", "--group", group], &[group, topic, partition]);
        assert_eq!(position("0")[3..6], ["30", "30", "0"]);
        assert_eq!(position("2")[3..6], ["0", "0", "0"]);
        self.groups(&["--describe", "--group", group]).expect(0, "has no active members.");
        let state = self.line(&["--describe", "--group", group, "--state"], &[group]);
        assert_eq!(state[state.len() - 2..], ["Empty", "0"], "{state:?}");

        let first = format!("{topic}:0");
        let reset = |how: &[&str]| {
            let all = [&["--reset-offsets", "--group", group, "--topic", &first], how].concat();
            self.line(&all, &[group, topic, "0"])[3].clone()
        };
        assert_eq!(reset(&["--to-earliest", "--dry-run"]), "0");
        assert_eq!(position("0")[3], "30", "a dry run changes nothing");
        assert_eq!(reset(&["--to-offset", "7", "--execute"]), "7");
        assert_eq!(reset(&["--shift-by", "2", "--execute"]), "9");
        assert_eq!(reset(&["--to-datetime", "2001-01-01T00:00:00.000", "--execute"]), "0");
        assert_eq!(reset(&["--to-latest", "--execute"]), "30");
        assert_eq!(reset(&["--to-offset", "28", "--execute"]), "28");
        let consume = ["--topic", topic, "--group", group, "--max-messages", "2"];
        assert_eq!(self.tool("console-consumer", &consume).expect(0, "").stdout, "28\n29\n");

        let printed = self.offsets_topic();
        for offset in [30, 7, 9, 0, 28] {
            let value = format!(
                "{{\"key\":{{\"type\":1,\"data\":{{\"group\":\"{group}\",\"topic\":\"{topic}\",\"partition\":0}}}},\
                 \"value\":{{\"version\":4,\"data\":{{\"offset\":{offset},\"leaderEpoch\":"
            );
            assert!(printed.stdout.contains(&value), "{value}: {printed:?}");
        }

        let deleted = self.groups(&["--delete-offsets", "--group", group, "--topic", &format!("{topic}:1")]);
        deleted.expect(0, "Request succeeded for deleting offsets from group");
        let left = self.groups(&["--describe", "--group", group]).expect(0, "");
        assert!(!left.stdout.lines().any(|line| line.split_whitespace().nth(2) == Some("1")), "{left:?}");
        self.groups(&["--delete", "--group", group])
            .expect(0, &format!("Deletion of requested consumer groups ('{group}') was successful."));
        self.groups(&["--delete", "--group", group])
            .expect(0, "GroupIdNotFoundException: The group id does not exist.");
        self.groups(&["--describe", "--group", group]).expect(0, &format!("Group {group} not found."));
    }

    /// `__consumer_offsets` as Apache's formatter prints it.
    fn offsets_topic(&self) -> Finished {
        let formatter = "org.apache.kafka.tools.consumer.OffsetsMessageFormatter";
        let args = ["--topic", "__consumer_offsets", "--from-beginning", "--formatter", formatter];
        self.tool("console-consumer", &[&args[..], &["--timeout-ms", "7000"]].concat())
    }

    fn configs(&self, topic: &str, user: &str) {
        let configs = |args: &[&str]| self.tool("configs", args);
        self.tool("topics", &["--create", "--topic", topic]).expect(0, "Created topic");
        let of_topic = ["--entity-type", "topics", "--entity-name", topic];
        let alter = |of: &[&str], change: &[&str]| configs(&[&["--alter"], of, change].concat());
        let describe = |of: &[&str]| configs(&[&["--describe"], of].concat()).expect(0, "");
        alter(&of_topic, &["--add-config", "retention.ms=1000000,cleanup.policy=compact"])
            .expect(0, &format!("Completed updating config for topic {topic}."));
        let shown = describe(&of_topic);
        let synonyms = "cleanup.policy=compact sensitive=false synonyms={DYNAMIC_TOPIC_CONFIG:cleanup.policy=compact, \
                        DEFAULT_CONFIG:log.cleanup.policy=delete}";
        assert!(shown.stdout.contains(synonyms), "{shown:?}");
        alter(&of_topic, &["--delete-config", "cleanup.policy"]).expect(0, "Completed");
        assert!(!describe(&of_topic).stdout.contains("cleanup.policy"));
        alter(&of_topic, &["--add-config", "retention.ms=soon"]).expect(1, "InvalidConfigurationException");

        let of_broker = ["--entity-type", "brokers", "--entity-name", "1"];
        alter(&of_broker, &["--add-config", "log.cleaner.threads=2,max.connections.per.ip=1000"])
            .expect(0, "Completed updating config for broker 1.");
        describe(&of_broker)
            .expect(0, "DYNAMIC_BROKER_CONFIG:log.cleaner.threads=2, DEFAULT_CONFIG:log.cleaner.threads=1");
        let of_all = ["--entity-type", "brokers", "--entity-default"];
        alter(&of_all, &["--add-config", "log.retention.ms=7200000"])
            .expect(0, "Completed updating default config for brokers in the cluster.");
        describe(&of_all).expect(0, "log.retention.ms=7200000");
        alter(&of_broker, &["--add-config", "node.id=7"]).expect(1, "Cannot update these configs dynamically");
        alter(&of_all, &["--delete-config", "log.retention.ms"]).expect(0, "Completed");
        alter(&of_broker, &["--delete-config", "log.cleaner.threads,max.connections.per.ip"]).expect(0, "Completed");

        let of_user = ["--entity-type", "users", "--entity-name", user];
        alter(&of_user, &["--add-config", "producer_byte_rate=1024,consumer_byte_rate=2048"])
            .expect(0, &format!("Completed updating config for user {user}."));
        describe(&of_user).expect(
            0,
            &format!(
                "Quota configs for user-principal '{user}' are consumer_byte_rate=2048.0, producer_byte_rate=1024.0"
            ),
        );
        alter(&of_user, &["--delete-config", "producer_byte_rate,consumer_byte_rate"]).expect(0, "Completed");
        assert!(!describe(&of_user).stdout.contains("byte_rate"));
        let of_client = ["--entity-type", "clients", "--entity-name", user];
        alter(&of_client, &["--add-config", "request_percentage=50"]).expect(0, "Completed");
        describe(&of_client).expect(0, &format!("Quota configs for client-id '{user}' are request_percentage=50.0"));
    }

    fn partitions_and_records(&self, topic: &str, group: &str) {
        let topics = |args: &[&str]| self.tool("topics", args);
        topics(&["--create", "--topic", topic]).expect(0, "Created topic");
        self.produce(topic, &(0..30).map(|n| format!("{n}\n")).collect::<String>());
        topics(&["--alter", "--topic", topic, "--partitions", "5"]).expect(0, "");
        topics(&["--describe", "--topic", topic]).expect(0, "PartitionCount: 5");
        topics(&["--alter", "--topic", topic, "--partitions", "2"])
            .expect(1, &format!("The topic {topic} currently has 5 partition(s); 2 would not be an increase."));
        for unhealthy in ["--under-replicated-partitions", "--unavailable-partitions", "--at-min-isr-partitions"] {
            let shown = topics(&["--describe", unhealthy, "--topic", topic]).expect(0, "");
            // A single replica is the least there may be.
            assert_eq!(shown.stdout.is_empty(), unhealthy != "--at-min-isr-partitions", "{unhealthy}: {shown:?}");
        }

        let file = self.cluster.dir.path().join("delete.json");
        write(&file, &format!(r#"{{"partitions":[{{"topic":"{topic}","partition":0,"offset":10}}],"version":1}}"#));
        self.tool("delete-records", &["--offset-json-file", file.to_str().unwrap()])
            .expect(0, &format!("partition: {topic}-0\tlow_watermark: 10"));
        self.tool("get-offsets", &["--topic", topic, "--partitions", "0", "--time", "earliest"])
            .expect(0, &format!("{topic}:0:10"));

        let dirs = self.tool("log-dirs", &["--describe", "--topic-list", topic]).expect(0, "");
        let data = self.cluster.dir.path().join("schloss-data/data");
        assert!(dirs.stdout.contains(&format!("\"logDir\":\"{}\"", data.display())), "{dirs:?}");
        assert_eq!(dirs.stdout.matches(&format!("\"partition\":\"{topic}-")).count(), 5, "{dirs:?}");

        self.tool("leader-election", &["--election-type", "preferred", "--topic", topic, "--partition", "0"])
            .expect(0, &format!("Valid replica already elected for partitions {topic}-0"));
        let perf = ["--topic", topic, "--num-records", "20", "--group", group];
        let perf = self.tool("consumer-perf-test", &perf).expect(0, "data.consumed.in.nMsg");
        assert_eq!(perf.stdout.lines().last().unwrap().split(", ").nth(4), Some("20"), "{perf:?}");
        self.tool("metadata-quorum", &["describe", "--status"]).expect(0, "LeaderId:               1\n");
        self.tool("metadata-quorum", &["describe", "--replication"]).expect(0, "\tLeader");
    }
}

fn a_day(secure: bool) {
    if kafka_libs().is_none() || kcat().is_none() {
        return;
    }
    let cluster = Cluster::start();
    let day = Day { cluster: &cluster, secure };
    day.groups_and_positions("positions", "readers");
    day.configs("configured", "carol");
    day.partitions_and_records("shaped", "measurers");
}

#[test]
fn clear() {
    a_day(false);
}

#[test]
fn over_sasl_ssl() {
    a_day(true);
}
