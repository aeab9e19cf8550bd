//! SIGKILL under load, again and again: nothing acknowledged is lost, doubled or reordered.
//!
//! Idempotent producers, two a partition, keep five batches unanswered, as real ones do; when the broker is killed they
//! have at least a thousand records on the way. They send those again to its successor, with the sequences they had.
//! Meanwhile groups commit positions, topics, users and rights are made; what was answered holds. Segments are small and recovery
//! points are kept all the time, so that kills fall around rolls too.

mod handover;
mod injected;
mod power_cut;
mod promises;
mod records;

use std::fs::{self, OpenOptions};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;

use self::promises::{Committer, Creator, Granter};
use self::records::{At, Producer, Round, TOPIC, UNANSWERED_AT_KILL, check, read_back, records};
use crate::client::Client;
use crate::support::{Broker, PATIENCE, free_port, write};

/// Kills of the short form; `SCHLOSS_CRASH_KILLS` asks for more.
const KILLS: usize = 10;
const PARTITIONS: i32 = 3;
const PRODUCERS_PER_PARTITION: usize = 2;

/// A broker on a directory of its own, to be killed.
struct Victim {
    _dir: tempfile::TempDir,
    data: PathBuf,
    config: PathBuf,
    address: SocketAddr,
}

impl Victim {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        Self::with(dir, data, "log.flush.interval.ms=20\n")
    }

    /// With its configuration in `dir`, which gets `more` lines.
    fn with(dir: tempfile::TempDir, data: PathBuf, more: &str) -> Self {
        let port = free_port();
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "broker.id=1\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\nlog.segment.bytes=1048576\n\
                 log.initial.task.delay.ms=20\nlog.flush.offset.checkpoint.interval.ms=20\n\
                 log.flush.scheduler.interval.ms=20\nauthorizer.class.name=kafka.security.authorizer.AclAuthorizer\n\
                 super.users=User:ANONYMOUS\n{more}",
                data.display()
            ),
        );
        Self { _dir: dir, data, config, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    /// A node that Kafka's own files describe, to be formatted first.
    fn kraft() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [port, controller] = [(); 2].map(|()| free_port());
        let (config, data) = (dir.path().join("server.properties"), dir.path().join("data"));
        write(
            &config,
            &format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\n\
                 listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                 listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:ANONYMOUS\nlog.dirs={}\nlog.segment.bytes=1048576\n\
                 offsets.topic.replication.factor=1\noffsets.topic.num.partitions=4\n\
                 transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
                 transaction.state.log.num.partitions=2\ngroup.initial.rebalance.delay.ms=0\n",
                data.display()
            ),
        );
        Self { _dir: dir, data, config, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    fn start(&self) -> Broker {
        Broker::start(&["serve", self.config.to_str().unwrap()], &[])
    }

    fn create_topic(&self) {
        assert_eq!(self.try_create_topic().unwrap(), 0);
    }

    /// The error code of the answer.
    fn try_create_topic(&self) -> io::Result<i16> {
        let topic = CreatableTopic {
            name: TOPIC.into(),
            num_partitions: PARTITIONS,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
        let mut client = Client::try_connect(self.address)?;
        let response: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request)?;
        Ok(response.topics[0].error_code)
    }

    fn partition_dir(&self, partition: i32) -> PathBuf {
        self.data.join(format!("{TOPIC}-{partition}"))
    }

    /// What is there now, against what all were told.
    fn check(&self, load: &Load) -> Result<(), String> {
        load.committers.iter().try_for_each(|committer| committer.check(self.address))?;
        load.creator.check(self.address)?;
        load.granter.check(self.address)?;
        self.check_records(&load.producers)
    }

    fn check_records(&self, producers: &[Producer]) -> Result<(), String> {
        for partition in 0..PARTITIONS {
            let log = read_back(self.address, partition);
            let told = producers.iter().filter(|producer| producer.partition == partition);
            let acknowledged: Vec<At> = told.flat_map(|producer| producer.acknowledged.iter().copied()).collect();
            check(&acknowledged, &log).map_err(|fault| format!("partition {partition}: {fault}"))?;
        }
        Ok(())
    }
}

fn log_files(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<PathBuf> = paths.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    logs.sort();
    logs
}

/// Everybody who asks something of the broker while it lives.
struct Load {
    producers: Vec<Producer>,
    committers: Vec<Committer>,
    creator: Creator,
    granter: Granter,
}

impl Load {
    fn new(address: SocketAddr) -> Self {
        let producers = (0..PARTITIONS)
            .flat_map(|partition| (0..PRODUCERS_PER_PARTITION).map(move |_| partition))
            .map(|partition| Producer::new(address, partition))
            .collect();
        let committers = (0..PARTITIONS).map(|at| Committer::new(address, &format!("group-{at}"), at)).collect();
        Self { producers, committers, creator: Creator::default(), granter: Granter::default() }
    }

    /// Ends the broker while all are busy.
    fn until(&mut self, address: SocketAddr, extra_ms: u64, end: impl FnOnce()) {
        self.work(address, extra_ms, |_| end());
    }

    /// Everybody works until `end`, which has the round end or the broker.
    fn work(&mut self, address: SocketAddr, extra_ms: u64, end: impl FnOnce(&Round)) {
        let round = &Round::default();
        let producers = self.producers.len();
        thread::scope(|scope| {
            for producer in &mut self.producers {
                scope.spawn(move || producer.run(address, round, usize::MAX));
            }
            for committer in &mut self.committers {
                scope.spawn(move || committer.run(address, round));
            }
            scope.spawn(|| self.creator.run(address, round));
            scope.spawn(|| self.granter.run(address, round));
            round.wait_for_load(producers);
            round.wait_for_others();
            thread::sleep(Duration::from_millis(extra_ms));
            round.wait_for_load(producers);
            end(round);
        });
    }

    /// Sends again what is unanswered, and a little more.
    fn finish(&mut self, address: SocketAddr) {
        for producer in &mut self.producers {
            producer.run(address, &Round::default(), 3);
            assert!(producer.unanswered.is_empty(), "the last batches are unanswered");
        }
    }

    /// What was answered, in words.
    fn acknowledged(&self) -> String {
        let records: usize = self.producers.iter().map(|producer| producer.acknowledged.len()).sum();
        let commits: i64 = self.committers.iter().map(Committer::acknowledged).sum();
        let (topics, users) = (self.creator.acknowledged(), self.granter.acknowledged());
        format!("{records} records, {commits} commits, {topics} topics, {users} users acknowledged, and all there")
    }
}

fn kills() -> usize {
    std::env::var("SCHLOSS_CRASH_KILLS").map_or(KILLS, |kills| kills.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_doubled_or_reordered() {
    let victim = Victim::new();
    let mut broker = victim.start();
    victim.create_topic();
    let mut load = Load::new(victim.address);
    for kill in 0..kills() {
        load.until(victim.address, u64::try_from(kill % 10 * 13).unwrap(), || broker.kill());
        let sent = load.producers.iter().flat_map(|producer| &producer.unanswered).filter(|batch| batch.sent).count();
        assert!(records(sent) >= UNANSWERED_AT_KILL, "only {} records were unanswered at kill {kill}", records(sent));
        broker = victim.start();
        broker.wait_for_line("no clean shutdown to go by");
        victim.check(&load).unwrap_or_else(|fault| panic!("after kill {kill}: {fault}\n{}", broker.output()));
    }
    load.finish(victim.address);
    victim.check(&load).unwrap();
    for partition in 0..PARTITIONS {
        assert!(log_files(&victim.partition_dir(partition)).len() > 2, "hardly any load");
    }
    assert_eq!(broker.stop(), Some(0));
    // Once more from the files as the clean stop left them.
    let _broker = victim.start();
    victim.check(&load).unwrap();
    println!("{} kills: {}", kills(), load.acknowledged());
}

/// The same with SIGTERM: what is unanswered when the broker stops in order can be sent again too.
#[test]
fn a_stop_under_load_is_clean() {
    let victim = Victim::new();
    let mut broker = victim.start();
    victim.create_topic();
    let mut load = Load::new(victim.address);
    for stop in 0..3 {
        load.until(victim.address, stop * 37, || assert_eq!(broker.stop(), Some(0)));
        assert!(victim.data.join(".kafka_cleanshutdown").exists(), "{}", broker.output());
        broker = victim.start();
        assert!(broker.output().contains(", clean shutdown"), "{}", broker.output());
        victim.check(&load).unwrap_or_else(|fault| panic!("after stop {stop}: {fault}\n{}", broker.output()));
    }
    load.finish(victim.address);
    victim.check(&load).unwrap();
}

/// The proof that the first test could fail: bytes of an acknowledged batch are cut off while the broker is dead.
#[test]
fn a_loss_on_the_disk_is_seen() {
    let victim = Victim::new();
    let mut broker = victim.start();
    victim.create_topic();
    let mut producers = [Producer::new(victim.address, 0)];
    producers[0].run(victim.address, &Round::default(), 20);
    broker.kill();
    broker = victim.start();
    assert_eq!(victim.check_records(&producers), Ok(()));
    broker.kill();
    let last = log_files(&victim.partition_dir(0)).pop().unwrap();
    let file = OpenOptions::new().write(true).open(&last).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let _broker = victim.start();
    let fault = victim.check_records(&producers).unwrap_err();
    assert!(fault.contains("is lost"), "{fault}");
}
