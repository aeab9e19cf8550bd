use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use zeroize::Zeroizing;

use super::super::format::{FormatRequest, format};
use super::super::metadata_log::DIRECTORY;
use super::super::metadata_log::snapshot::SnapshotId;
use super::*;
use crate::controller::{
    AlterScramCredentials, BrokerHeartbeat, CreateAcls, CreateTopic, CreateTopics, DeleteAcls, RegisterBroker,
    ScramDeletion, ScramUpsertion,
};
use crate::log::storage::FaultyDisk;
use crate::log::storage::faulty::{Effect, Fault};
use crate::metadata::cluster::EndPoint;
use crate::metadata::image::MetadataImage;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::broker::BrokerId;
use crate::model::resource::{ResourcePattern, ResourceType};
use crate::model::scram::ScramMechanism;
use crate::model::uuid::Uuid;
use crate::security::authorizer::filter::AclFilter;
use crate::security::authorizer::permit::{Permit, Reason, Resource, op};

/// A clock that a test moves.
#[derive(Debug, Default)]
struct ManualClock(AtomicU64);

impl ManualClock {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn mono(&self) -> Mono {
        Mono(self.0.load(Ordering::SeqCst))
    }

    fn wall(&self) -> Wall {
        Wall(1_700_000_000_000 + i64::try_from(self.0.load(Ordering::SeqCst) / 1_000_000).unwrap())
    }
}

/// Different bytes at every call.
#[derive(Debug)]
struct Counting(u64);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            chunk.copy_from_slice(&(self.0 ^ (self.0 >> 33)).to_le_bytes()[..chunk.len()]);
        }
    }
}

const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

fn data() -> PathBuf {
    "/data/kafka".into()
}

/// Formats a directory with one SCRAM user.
fn formatted() -> FaultyDisk {
    let disk = FaultyDisk::new();
    let request = FormatRequest {
        cluster_id: CLUSTER.to_owned(),
        node_id: 1,
        log_dirs: vec![data()],
        metadata_log_dir: data(),
        release_version: None,
        features: Vec::new(),
        add_scram: vec!["SCRAM-SHA-256=[name=admin,password=admin-secret]".to_owned()],
        ignore_formatted: false,
    };
    format(&disk, &mut Counting(9), &request, Wall(0)).unwrap();
    disk
}

fn log_settings() -> Settings {
    Settings::new(1, Uuid::from_u128(77_000), data(), vec![data()])
}

fn controller_settings() -> controller::Settings {
    controller::Settings {
        cluster_id: CLUSTER.into(),
        node_id: BrokerId(1),
        default_partitions: 1,
        default_replication_factor: 1,
        session_timeout: Duration::from_secs(9),
        strict: true,
        values: Arc::default(),
    }
}

struct Bench {
    driver: Driver,
    clock: Arc<ManualClock>,
    disk: FaultyDisk,
}

impl Bench {
    fn start(disk: &FaultyDisk) -> Result<Self, StartError> {
        Self::start_with(disk, log_settings())
    }

    fn start_with(disk: &FaultyDisk, settings: Settings) -> Result<Self, StartError> {
        let clock = Arc::new(ManualClock::default());
        clock.advance(Duration::from_secs(1000));
        let registration = ControllerRegistration { incarnation_id: Uuid::from_u128(4_000), end_points: Vec::new() };
        let driver = Driver::start(
            Arc::new(disk.clone()),
            Arc::<ManualClock>::clone(&clock),
            Box::new(Counting(disk.operations())),
            settings,
            controller_settings(),
            &registration,
        )?;
        Ok(Self { driver, clock, disk: disk.clone() })
    }

    /// Asks and commits. The outer error is the log's.
    fn ask(&mut self, request: ControllerRequest) -> Result<Result<ControllerResponse, ControllerError>, LogFailure> {
        let (answer, mut answered) = oneshot::channel();
        self.driver.request(request, answer)?;
        self.driver.commit()?;
        Ok(answered.try_recv().expect("an answer after the commit"))
    }

    fn register(&mut self) -> Result<i64, LogFailure> {
        let features = self.driver.controller.image().features.supported_ranges();
        let request = RegisterBroker {
            broker: BrokerId(1),
            cluster_id: CLUSTER.into(),
            incarnation_id: Uuid::from_u128(900_000 + u128::from(self.disk.operations())),
            end_points: vec![EndPoint { name: "PLAINTEXT".into(), host: "h".into(), port: 1, security_protocol: 0 }],
            features,
            rack: None,
            directories: vec![Uuid::from_u128(77_000)],
            previous_epoch: -1,
            local: true,
        };
        let epoch = match self.ask(ControllerRequest::RegisterBroker(request))? {
            Ok(ControllerResponse::RegisterBroker { epoch }) => epoch,
            other => panic!("{other:?}"),
        };
        let heartbeat = BrokerHeartbeat {
            broker: BrokerId(1),
            broker_epoch: epoch,
            metadata_offset: i64::MAX,
            want_fence: false,
            want_shut_down: false,
            offline_directories: Vec::new(),
            cordoned_directories: Some(Vec::new()),
        };
        self.ask(ControllerRequest::BrokerHeartbeat(heartbeat))?.unwrap();
        Ok(epoch)
    }

    fn committed(&self) -> Arc<MetadataImage> {
        self.driver.log.committed().load_full()
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> = self.disk.list(&data().join(DIRECTORY)).unwrap().into_iter().map(|e| e.name).collect();
        names.sort();
        names
    }

    fn snapshot(&mut self) -> bool {
        let wall = self.clock.wall();
        let Some(job) = self.driver.log.begin_snapshot(self.clock.mono(), wall).unwrap() else { return false };
        let written = job.run();
        self.driver.log.finish_snapshot(job, written, wall).unwrap();
        true
    }
}

fn alter() -> Permit<op::Alter> {
    Permit::internal(Reason::Test, Resource::Cluster)
}

fn create_topic(name: &str) -> ControllerRequest {
    let permit = Permit::internal(Reason::Test, Resource::Cluster);
    let topics = vec![CreateTopic::with_defaults(permit, name)];
    ControllerRequest::CreateTopics(CreateTopics { topics, validate_only: false, deadline: None })
}

fn create_acl(user: &str) -> ControllerRequest {
    let binding = AclBinding {
        pattern: ResourcePattern::literal(ResourceType::Topic, "t"),
        principal: format!("User:{user}").into(),
        host: "*".into(),
        operation: AclOperation::Read,
        permission: AclPermission::Allow,
    };
    ControllerRequest::CreateAcls(CreateAcls { permit: alter(), bindings: vec![binding] })
}

fn set_user(user: &str, salt: &str) -> ControllerRequest {
    let upsertion = ScramUpsertion {
        user: user.to_owned(),
        mechanism: 1,
        iterations: 4096,
        salt: salt.as_bytes().to_vec(),
        salted_password: Zeroizing::new(b"salted password of somebody".to_vec()),
    };
    let upsertions = vec![upsertion];
    ControllerRequest::AlterScramCredentials(AlterScramCredentials {
        permit: alter(),
        deletions: Vec::new(),
        upsertions,
    })
}

fn delete_user(user: &str) -> ControllerRequest {
    let deletions = vec![ScramDeletion { user: user.to_owned(), mechanism: 1 }];
    let request = AlterScramCredentials { permit: alter(), deletions, upsertions: Vec::new() };
    ControllerRequest::AlterScramCredentials(request)
}

#[test]
fn a_first_start_writes_what_a_quorum_of_one_writes() {
    let disk = formatted();
    let mut bench = Bench::start(&disk).unwrap();
    assert_eq!(bench.driver.log.epoch(), 1);
    // LeaderChange, Begin, FeatureLevel, UserScramCredential, End, RegisterController
    assert_eq!(bench.driver.log.next_offset(), 6);
    assert_eq!(bench.register().unwrap(), 6);
    let image = bench.committed();
    assert!(image.scram.get("admin", ScramMechanism::Sha256).is_some());
    assert!(image.cluster.is_active(BrokerId(1)));
    let state = disk.read_file(&data().join(DIRECTORY).join("quorum-state"), 4096).unwrap();
    let text = "{\"clusterId\":\"\",\"leaderId\":1,\"leaderEpoch\":1,\"votedId\":-1,\"appliedOffset\":0,\"currentVoters\":\
                [{\"voterId\":1}],\"data_version\":0}";
    assert_eq!(String::from_utf8(state).unwrap(), text);
}

#[test]
fn every_start_raises_the_epoch_and_keeps_the_image() {
    let disk = formatted();
    let mut bench = Bench::start(&disk).unwrap();
    bench.register().unwrap();
    bench.ask(create_topic("t")).unwrap().unwrap();
    bench.ask(create_acl("alice")).unwrap().unwrap();
    bench.driver.close().unwrap();
    let mut bench = Bench::start(&disk).unwrap();
    assert_eq!(bench.driver.log.epoch(), 2);
    let before = bench.committed().topics.by_name("t").unwrap().partition(0).unwrap().leader_epoch;
    bench.register().unwrap();
    let image = bench.committed();
    assert_eq!(image.acls.len(), 1);
    let partition = image.topics.by_name("t").unwrap().partition(0).unwrap();
    assert_eq!((partition.leader, partition.leader_epoch), (BrokerId(1), before + 2));
}

#[test]
fn a_directory_that_was_not_formatted_does_not_start() {
    assert!(matches!(Bench::start(&FaultyDisk::new()), Err(StartError::NoBootstrap(_))));
}

#[test]
fn many_requests_share_one_fsync() {
    let disk = formatted();
    let mut bench = Bench::start(&disk).unwrap();
    bench.register().unwrap();
    disk.plan(Fault { operation: Some(crate::log::storage::faulty::Operation::Sync), nth: 1, effect: Effect::Fail });
    let mut answers = Vec::new();
    for n in 0..20 {
        let (answer, answered) = oneshot::channel();
        bench.driver.request(create_acl(&format!("user{n}")), answer).unwrap();
        answers.push(answered);
    }
    assert!(answers.iter_mut().all(|answered| answered.try_recv().is_err()), "nobody is answered before the fsync");
    assert_eq!((bench.driver.log.latest().load().acls.len(), bench.committed().acls.len()), (20, 0));
    // The second fsync would fail: there is only one.
    bench.driver.commit().unwrap();
    assert!(answers.iter_mut().all(|answered| matches!(answered.try_recv(), Ok(Ok(_)))));
    assert_eq!(bench.committed().acls.len(), 20);
}

#[test]
fn subscribers_have_applied_what_is_answered() {
    let disk = formatted();
    let mut bench = Bench::start(&disk).unwrap();
    let (tell, told) = mpsc::channel();
    bench.driver.log.subscribe(Box::new(move |committed| {
        tell.send((committed.offset, committed.delta.acls().count())).unwrap();
    }));
    assert_eq!(told.recv().unwrap(), (5, 0));
    bench.ask(create_acl("alice")).unwrap().unwrap();
    assert_eq!(told.try_recv(), Ok((6, 1)));
    let request = DeleteAcls { permit: alter(), filters: vec![AclFilter::ANY] };
    bench.ask(ControllerRequest::DeleteAcls(request)).unwrap().unwrap();
    assert_eq!(told.try_recv(), Ok((7, 1)));
}

#[test]
fn a_noop_is_written_when_nothing_else_is() {
    let disk = formatted();
    let mut bench = Bench::start(&disk).unwrap();
    let end = bench.driver.log.next_offset();
    bench.driver.timers().unwrap();
    assert_eq!(bench.driver.log.next_offset(), end);
    bench.clock.advance(Duration::from_millis(500));
    bench.driver.timers().unwrap();
    bench.driver.timers().unwrap();
    bench.driver.commit().unwrap();
    assert_eq!((bench.driver.log.next_offset(), bench.committed().offset()), (end + 1, end));
}

fn contains(disk: &FaultyDisk, path: &Path, needle: &[u8]) -> bool {
    disk.list(path).unwrap().into_iter().any(|entry| {
        let path = path.join(&entry.name);
        // Preallocated: ten megabytes of offsets and zeros each.
        if entry.name.ends_with("index") {
            return false;
        }
        if entry.is_dir {
            return contains(disk, &path, needle);
        }
        disk.read_file(&path, u64::MAX).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}

#[test]
fn a_deleted_credential_is_nowhere_on_the_disk() {
    let disk = formatted();
    let mut bench = Bench::start(&disk).unwrap();
    bench.register().unwrap();
    bench.ask(create_topic("kept")).unwrap().unwrap();
    bench.ask(set_user("alice", "first salt of alice")).unwrap().unwrap();
    assert!(!bench.snapshot(), "a new user leaves nothing behind");
    bench.ask(set_user("alice", "second salt of alice")).unwrap().unwrap();
    assert!(contains(&disk, &data(), b"first salt of alice"));
    assert!(bench.snapshot());
    assert!(!contains(&disk, &data(), b"first salt of alice"));
    assert!(contains(&disk, &data(), b"second salt of alice"));
    // At most once a minute.
    bench.ask(delete_user("alice")).unwrap().unwrap();
    bench.ask(delete_user("admin")).unwrap().unwrap();
    assert!(!bench.snapshot());
    bench.clock.advance(Duration::from_secs(60));
    assert!(bench.snapshot());
    for gone in [&b"second salt of alice"[..], b"alice", b"admin"] {
        assert!(!contains(&disk, &data(), gone));
    }
    let names = bench.files();
    assert_eq!(names.iter().filter(|name| name.ends_with(".checkpoint")).count(), 1, "{names:?}");
    assert_eq!(names.iter().filter(|name| name.ends_with(".log")).count(), 1, "{names:?}");
    // And the log goes on, now and after a restart.
    bench.ask(create_topic("later")).unwrap().unwrap();
    let before = bench.committed();
    bench.driver.close().unwrap();
    let bench = Bench::start(&disk).unwrap();
    let after = bench.committed();
    assert!(after.topics == before.topics && after.scram == before.scram && after.configs == before.configs);
    assert_eq!(after.topics.len(), 2);
}

#[test]
fn snapshots_come_by_size_and_by_age_and_go_by_retention() {
    let disk = formatted();
    let settings = Settings { snapshot_bytes: 4_000, retention_bytes: Some(1), ..log_settings() };
    let mut bench = Bench::start_with(&disk, settings).unwrap();
    bench.register().unwrap();
    assert!(!bench.snapshot());
    let mut taken = 0;
    for n in 0..100 {
        bench.ask(create_acl(&format!("user{n}"))).unwrap().unwrap();
        taken += usize::from(bench.snapshot());
    }
    assert!((2..10).contains(&taken), "{taken}");
    // The hour begins with the last one.
    bench.clock.advance(Duration::from_secs(59 * 60));
    assert!(!bench.snapshot());
    bench.clock.advance(Duration::from_secs(60));
    assert!(bench.snapshot());
    let snapshots: Vec<_> = bench.files().iter().filter_map(|name| SnapshotId::parse(name)).collect();
    assert_eq!(snapshots.len(), 1, "all but the newest are more than is to be kept");
    let before = bench.committed();
    bench.driver.close().unwrap();
    let bench = Bench::start(&disk).unwrap();
    assert_eq!(bench.committed().acls, before.acls);
}

#[test]
fn nothing_is_answered_after_a_failed_fsync() {
    let disk = formatted();
    let mut bench = Bench::start(&disk).unwrap();
    disk.plan(Fault { operation: Some(crate::log::storage::faulty::Operation::Sync), nth: 0, effect: Effect::Fail });
    let (answer, mut answered) = oneshot::channel();
    bench.driver.request(create_acl("alice"), answer).unwrap();
    assert!(bench.driver.commit().is_err());
    bench.driver.fail_all();
    assert_eq!(answered.try_recv().unwrap().unwrap_err(), ControllerError::LogFailed);
    assert_eq!(bench.committed().acls.len(), 0);
}

/// What a client was told, in order.
#[derive(Default, Debug)]
struct Acknowledged {
    topics: Vec<String>,
    acls: usize,
    users: Vec<String>,
    deleted: Vec<String>,
}

/// A life: formatted, started, changed, snapshots on the way. Ends at the first failure.
fn live(disk: &FaultyDisk, acknowledged: &mut Acknowledged) -> Result<(), StartError> {
    let settings = Settings { snapshot_bytes: 1_500, ..log_settings() };
    let mut bench = Bench::start_with(disk, settings)?;
    bench.register()?;
    for n in 0..4 {
        let name = format!("topic{n}");
        bench.ask(create_topic(&name))?.unwrap();
        acknowledged.topics.push(name);
        bench.ask(create_acl(&format!("user{n}")))?.unwrap();
        acknowledged.acls += 1;
        let user = format!("scram{n}");
        bench.ask(set_user(&user, &format!("salt of {user}")))?.unwrap();
        acknowledged.users.push(user);
        if n == 2 {
            bench.ask(delete_user("scram0"))?.unwrap();
            acknowledged.deleted.push("scram0".to_owned());
        }
        let wall = bench.clock.wall();
        if let Some(job) = bench.driver.log.begin_snapshot(bench.clock.mono(), wall)? {
            let written = job.run();
            bench.driver.log.finish_snapshot(job, written, wall)?;
        }
    }
    bench.driver.close()?;
    Ok(())
}

fn check(disk: &FaultyDisk, acknowledged: &Acknowledged, at: &str) {
    let mut bench = Bench::start(disk).unwrap_or_else(|error| panic!("{at}: {error}"));
    let image = bench.committed();
    if !acknowledged.deleted.is_empty() {
        // Whatever of the purge was done before: it is done now, or as soon as a snapshot is due.
        bench.snapshot();
        assert!(!contains(disk, &data(), b"salt of scram0"), "{at}: a deleted credential is still on the disk");
    }
    for topic in &acknowledged.topics {
        assert!(image.topics.by_name(topic).is_some(), "{at}: {topic} is gone");
    }
    assert!(image.acls.len() >= acknowledged.acls, "{at}: an ACL is gone");
    for user in acknowledged.users.iter().filter(|user| !acknowledged.deleted.contains(user)) {
        // One that was about to be deleted may be gone already.
        let may_be_gone = user == "scram0" && acknowledged.users.len() == 3;
        assert!(may_be_gone || image.scram.get(user, ScramMechanism::Sha256).is_some(), "{at}: {user} is gone");
    }
    for user in &acknowledged.deleted {
        assert!(image.scram.get(user, ScramMechanism::Sha256).is_none(), "{at}: {user} is back");
    }
}

/// Fails every single write, fsync, rename and so on in turn, and cuts the power there.
#[test]
fn what_was_acknowledged_survives_a_power_cut_anywhere() {
    let disk = formatted();
    let start = disk.operations();
    let mut all = Acknowledged::default();
    live(&disk, &mut all).unwrap();
    let operations = disk.operations() - start;
    assert!(operations > 60 && all.acls == 4, "{operations}");
    for nth in 0..operations {
        for seed in [None, Some(nth)] {
            for effect in [Effect::Fail, Effect::Short(7)] {
                let disk = formatted();
                disk.plan(Fault { operation: None, nth, effect });
                let mut acknowledged = Acknowledged::default();
                let at = format!("operation {nth}, seed {seed:?}, {effect:?}");
                let lived = live(&disk, &mut acknowledged);
                assert!(lived.is_err() || matches!(effect, Effect::Short(_)), "{at}");
                disk.power_cut(seed);
                disk.heal();
                check(&disk, &acknowledged, &at);
            }
        }
    }
}

macro_rules! fixture {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/kafka-4.3.1/metadata-", $name))
                .as_slice(),
        )
    };
}

/// A directory with files as Kafka left them.
fn left_by_kafka(files: &[(&str, &[u8])]) -> FaultyDisk {
    let disk = FaultyDisk::new();
    disk.create_dir(&data().join(DIRECTORY)).unwrap();
    for (name, content) in files {
        let name = name.split_once('/').unwrap().1;
        disk.replace_file(&data().join(DIRECTORY).join(name), content).unwrap();
    }
    disk
}

#[test]
fn goes_on_where_kafka_stopped() {
    let disk = left_by_kafka(&[
        fixture!("static/00000000000000000000.log"),
        fixture!("static/00000000000000000044-0000000001.checkpoint"),
        fixture!("static/00000000000000000073-0000000003.checkpoint"),
        fixture!("static/quorum-state"),
        fixture!("static/leader-epoch-checkpoint"),
    ]);
    let mut bench = Bench::start(&disk).unwrap();
    assert_eq!((bench.driver.log.epoch(), bench.driver.log.next_offset()), (4, 76));
    let image = bench.committed();
    assert_eq!(image.topics.len(), 2);
    assert!(image.scram.get("carol", ScramMechanism::Sha512).is_some());
    assert_eq!(image.producer_ids.next(), 1000);
    bench.ask(create_acl("alice")).unwrap().unwrap();
    bench.driver.close().unwrap();
    assert_eq!(Bench::start(&disk).unwrap().committed().acls.len(), 4);
}

/// kraft.version 1: the log itself names the voters, and every snapshot repeats it.
#[test]
fn a_dynamic_quorum_is_read_and_kept() {
    let disk = left_by_kafka(&[
        fixture!("dynamic/00000000000000000000.log"),
        fixture!("dynamic/00000000000000000000-0000000000.checkpoint"),
        fixture!("dynamic/00000000000000000093-0000000003.checkpoint"),
        fixture!("dynamic/quorum-state"),
    ]);
    let settings = Settings { voters: vec![7], snapshot_bytes: 1, ..log_settings() };
    let mut bench = Bench::start_with(&disk, settings.clone()).unwrap();
    assert_eq!(bench.driver.log.epoch(), 4);
    let text = String::from_utf8(disk.read_file(&data().join(DIRECTORY).join("quorum-state"), 4096).unwrap()).unwrap();
    let expected = "{\"leaderId\":1,\"leaderEpoch\":4,\"votedId\":-1,\"votedDirectoryId\":\"AAAAAAAAAAAAAAAAAAAAAA\",\
                    \"data_version\":1}";
    assert_eq!(text, expected);
    assert!(bench.committed().features.is_elr_enabled());
    assert!(bench.snapshot());
    let newest = bench.files().iter().filter_map(|name| SnapshotId::parse(name)).max().unwrap();
    let found = snapshot::read(&disk, &data().join(DIRECTORY).join(newest.file_name())).unwrap().unwrap();
    assert_eq!((found.quorum.kraft_version(), found.quorum.voter_ids()), (1, Some(vec![1])));
    bench.driver.close().unwrap();
    Bench::start_with(&disk, settings).unwrap();
}

/// `storage format --standalone`: only the zero snapshot says who the voters are.
#[test]
fn a_directory_formatted_standalone_by_kafka_starts() {
    let disk = left_by_kafka(&[fixture!("dynamic/00000000000000000000-0000000000.checkpoint")]);
    let (_, bootstrap) = fixture!("dynamic/bootstrap.checkpoint");
    disk.replace_file(&data().join("bootstrap.checkpoint"), bootstrap).unwrap();
    let bench = Bench::start(&disk).unwrap();
    // LeaderChange, KRaftVersion and KRaftVoters; then what was finalized and a user each for two mechanisms.
    assert_eq!(bench.driver.log.epoch(), 1);
    let image = bench.committed();
    assert_eq!((image.scram.len(), image.features.iter().count()), (2, 6));
    bench.driver.close().unwrap();
    let bench = Bench::start(&disk).unwrap();
    assert_eq!(bench.driver.log.epoch(), 2);
}

#[test]
fn the_thread_answers_and_ends() {
    let disk = formatted();
    let parts = Parts {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(ManualClock::default()),
        random: Box::new(Counting(5)),
        log: log_settings(),
        controller: controller_settings(),
        registration: ControllerRegistration { incarnation_id: Uuid::from_u128(4_000), end_points: Vec::new() },
        on_failure: Box::new(|failure| panic!("{failure}")),
    };
    let handle = ControllerHandle::start(parts).unwrap();
    let (tell, told) = mpsc::channel();
    handle.subscribe(Box::new(move |committed| {
        let _ = tell.send(committed.delta.after.acls.len());
    }));
    let answers: Vec<_> = (0..50).map(|n| handle.submit(create_acl(&format!("user{n}")))).collect();
    for answer in answers {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert!(matches!(runtime.block_on(answer), Ok(ControllerResponse::CreateAcls(_))));
    }
    assert_eq!(handle.committed().load().acls.len(), 50);
    assert_eq!(told.try_iter().last(), Some(50));
    handle.shut_down();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(runtime.block_on(handle.submit(create_acl("late"))).unwrap_err(), ControllerError::NotActive);
    check(&disk, &Acknowledged { acls: 50, ..Acknowledged::default() }, "after the shutdown");
}

#[test]
fn the_thread_reports_a_failed_log_once_and_refuses_from_then_on() {
    let disk = formatted();
    let (tell, told) = mpsc::channel();
    let parts = Parts {
        disk: Arc::new(disk.clone()),
        clock: Arc::new(ManualClock::default()),
        random: Box::new(Counting(5)),
        log: log_settings(),
        controller: controller_settings(),
        registration: ControllerRegistration { incarnation_id: Uuid::from_u128(4_000), end_points: Vec::new() },
        on_failure: Box::new(move |failure| tell.send(failure.to_string()).unwrap()),
    };
    let handle = ControllerHandle::start(parts).unwrap();
    disk.plan(Fault { operation: Some(crate::log::storage::faulty::Operation::Sync), nth: 0, effect: Effect::Fail });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for _ in 0..2 {
        let refused = runtime.block_on(handle.submit(create_acl("alice"))).unwrap_err();
        assert_eq!(refused, ControllerError::LogFailed);
    }
    assert!(told.recv().unwrap().contains("/data/kafka"));
    handle.shut_down();
}
