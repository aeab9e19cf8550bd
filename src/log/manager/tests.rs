use std::time::Duration;

use super::*;
use crate::log::config::CleanupPolicy;
use crate::log::producer_state::AppendOrigin;
use crate::log::storage::FaultyDisk;
use crate::log::storage::faulty::{Effect, Fault, Operation};
use crate::log::validator::{Origin, Rules, Scratch, validate};
use crate::log::view::{ReadRequest, UpTo};
use crate::protocol::record_batch::BatchBuilder;

const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";

fn disk(dirs: &[&str]) -> FaultyDisk {
    let disk = FaultyDisk::new();
    for (n, dir) in dirs.iter().enumerate() {
        disk.create_dir(Path::new(dir)).unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        let meta = MetaProperties::new(CLUSTER, 1, Uuid::from_u128(n as u128 + 100));
        meta.write(&disk, Path::new(dir), Wall(0)).unwrap();
    }
    disk
}

fn try_start(disk: &FaultyDisk, dirs: &[&str]) -> Result<LogManager, StartError> {
    let log_dirs: Vec<PathBuf> = dirs.iter().map(PathBuf::from).collect();
    LogManager::start(StartLogDirs {
        disk: Arc::new(disk.clone()),
        log_dirs: &log_dirs,
        metadata_log_dir: None,
        node_id: 1,
        cluster_id: None,
        now: Wall(0),
        listener: None,
        new_directory_id: &mut || Uuid::from_u128(77),
    })
}

fn start(disk: &FaultyDisk, dirs: &[&str]) -> LogManager {
    try_start(disk, dirs).unwrap()
}

fn config() -> Arc<LogConfig> {
    Arc::new(LogConfig { cleanup_policy: CleanupPolicy { delete: true, compact: false }, ..LogConfig::default() })
}

fn topic_id(topic: &str) -> TopicId {
    TopicId(Uuid::from_u128(topic.bytes().map(u128::from).sum()))
}

fn create(manager: &LogManager, topic: &str, partition: i32) -> UnifiedLog {
    let create = CreateLog {
        topic_partition: TopicPartition::new(topic, partition),
        topic_id: topic_id(topic),
        config: config(),
        directory_id: None,
        is_new: true,
        now: Wall(0),
        seed: 1,
    };
    manager.create(create).unwrap()
}

fn load(manager: &LogManager, here: impl Fn(&str) -> bool + Sync) -> Loaded {
    let place = |_: TopicId, partition: &TopicPartition, _: &LogDir| {
        if here(partition.topic.as_str()) { Placement::Here(config()) } else { Placement::Stray }
    };
    let mut next = 0;
    let unique = || {
        next += 1;
        Uuid::from_u128(next)
    };
    manager.load(&place, 2, Wall(0), unique, &config()).unwrap()
}

fn put(log: &mut UnifiedLog, value: &str) {
    let mut builder = BatchBuilder::new(0);
    builder.append(1, None, Some(value.as_bytes()), &[]).unwrap();
    let rules = Rules::new(Origin::Client, log.config(), Wall(1));
    let batch = validate(builder.build(), &rules, &mut Scratch::default()).unwrap();
    log.append_as_leader(&batch, AppendOrigin::Client, 0, Wall(1)).unwrap();
}

fn text(disk: &FaultyDisk, path: &str) -> String {
    String::from_utf8(disk.read_file(Path::new(path), 1 << 20).unwrap()).unwrap()
}

fn names(disk: &FaultyDisk, dir: &str) -> Vec<String> {
    disk.list(Path::new(dir)).unwrap().into_iter().map(|entry| entry.name).collect()
}

#[test]
fn a_clean_stop_and_start_take_everything_over() {
    let disk = disk(&["/one"]);
    let manager = start(&disk, &["/one"]);
    assert_eq!((manager.cluster_id(), manager.previous_broker_epoch()), (CLUSTER, None));
    let mut log = create(&manager, "t", 0);
    assert_eq!(text(&disk, "/one/t-0/partition.metadata"), format!("version: 0\ntopic_id: {}", topic_id("t")));
    for value in ["a", "b", "c"] {
        put(&mut log, value);
    }
    log.update_high_watermark(3).unwrap();
    log.delete_records(1).unwrap();
    let empty = create(&manager, "empty", 3);
    log.close().unwrap();
    empty.close().unwrap();
    manager.stop(12);
    assert_eq!(text(&disk, "/one/.kafka_cleanshutdown"), r#"{"version":0,"brokerEpoch":12}"#);
    assert_eq!(text(&disk, "/one/recovery-point-offset-checkpoint"), "0\n2\nempty 3 0\nt 0 3\n");
    assert_eq!(text(&disk, "/one/replication-offset-checkpoint"), "0\n2\nempty 3 0\nt 0 3\n");
    assert_eq!(text(&disk, "/one/log-start-offset-checkpoint"), "0\n1\nt 0 1\n");
    assert_eq!(text(&disk, "/one/cleaner-offset-checkpoint"), "");
    assert!(!disk.exists(Path::new("/one/.lock")).unwrap());

    disk.power_cut(None);
    let manager = start(&disk, &["/one"]);
    assert_eq!(manager.previous_broker_epoch(), Some(12));
    let loaded = load(&manager, |_| true);
    assert!(!disk.exists(Path::new("/one/.kafka_cleanshutdown")).unwrap());
    let log = &loaded.logs[1];
    assert_eq!((log.log_start_offset(), log.high_watermark(), log.log_end_offset()), (1, 3, 3));
    assert_eq!(log.recovery().segments_read, 0);
    assert_eq!(log.recovery_point(), 3);
    let view = manager.view(&TopicIdPartition { topic_id: topic_id("t"), partition: 0 }).unwrap();
    assert_eq!(view.ends().log_end.offset, 3);
}

#[test]
fn a_killed_broker_recovers_and_an_unclosed_log_prevents_the_mark() {
    let disk = disk(&["/one", "/two"]);
    let manager = start(&disk, &["/one", "/two"]);
    let mut log = create(&manager, "t", 0);
    put(&mut log, "a");
    let other = create(&manager, "u", 0);
    assert_eq!(other.log_dir().path(), Path::new("/two"), "the directory with the fewest partitions");
    other.close().unwrap();
    manager.stop(5);
    assert!(!disk.exists(Path::new("/one/.kafka_cleanshutdown")).unwrap());
    assert!(disk.exists(Path::new("/two/.kafka_cleanshutdown")).unwrap());
    drop(log);

    let manager = start(&disk, &["/one", "/two"]);
    assert_eq!(manager.previous_broker_epoch(), None, "not all directories were closed");
    let loaded = load(&manager, |_| true);
    assert_eq!(loaded.logs[0].recovery().segments_read, 1);
    assert_eq!(loaded.logs[1].recovery().segments_read, 0);
}

#[test]
fn a_directory_is_used_by_one_broker() {
    let disk = disk(&["/one"]);
    let manager = start(&disk, &["/one"]);
    assert!(matches!(try_start(&disk, &["/one"]), Err(StartError::Locked { .. })));
    manager.stop(1);
    start(&disk, &["/one"]);
}

#[test]
fn unformatted_foreign_and_old_directories() {
    let disk = disk(&["/one", "/two"]);
    assert!(matches!(try_start(&disk, &["/one", "/new"]), Err(StartError::NotFormatted { .. })));
    let foreign = MetaProperties::new("other", 1, Uuid::from_u128(5));
    foreign.write(&disk, Path::new("/two"), Wall(0)).unwrap();
    assert!(matches!(try_start(&disk, &["/one", "/two"]), Err(StartError::MetaProperties(_))));
    let without_id = MetaProperties { directory_id: None, ..MetaProperties::new(CLUSTER, 1, Uuid::ZERO) };
    without_id.write(&disk, Path::new("/two"), Wall(0)).unwrap();
    let manager = start(&disk, &["/one", "/two"]);
    let ids: Vec<Option<Uuid>> = manager.dirs().map(|dir| dir.id()).collect();
    assert_eq!(ids, [Some(Uuid::from_u128(100)), Some(Uuid::from_u128(77))]);
    assert!(text(&disk, "/two/meta.properties").contains(&format!("directory.id={}\n", Uuid::from_u128(77))));
}

#[test]
fn strays_are_put_aside_and_deleted_partitions_go_later() {
    let disk = disk(&["/one"]);
    let manager = start(&disk, &["/one"]);
    for topic in ["kept", "gone", "nameless", "dropped"] {
        let mut log = create(&manager, topic, 0);
        put(&mut log, topic);
        if topic == "dropped" {
            manager.delete(log, Uuid::from_u128(9)).unwrap();
        }
    }
    disk.remove_file(Path::new("/one/nameless-0/partition.metadata")).unwrap();
    disk.create_dir(Path::new("/one/__cluster_metadata-0")).unwrap();
    disk.create_dir(Path::new("/one/lost+found")).unwrap();
    disk.kill();
    drop(manager);

    let manager = start(&disk, &["/one"]);
    let loaded = load(&manager, |topic| topic != "gone");
    assert_eq!(loaded.logs.iter().map(|log| log.topic_partition().to_string()).collect::<Vec<_>>(), ["kept-0"]);
    assert_eq!(loaded.strays.len(), 2);
    let dirs: Vec<String> = names(&disk, "/one").into_iter().filter(|name| name.contains("-0")).collect();
    assert_eq!(
        dirs,
        [
            "__cluster_metadata-0",
            "dropped-0.00000000000000000000000000000009-delete",
            "gone-0.00000000000000000000000000000001-stray",
            "kept-0",
            "nameless-0.00000000000000000000000000000002-stray",
        ]
    );
    assert!(manager.take_removals(Mono(0)).is_none());
    let minute = Mono(0).plus(Duration::from_secs(60));
    manager.take_removals(minute).unwrap().run();
    assert!(!names(&disk, "/one").iter().any(|name| name.ends_with("-delete")));
    // The partition without an id starts anew, empty, as in Kafka.
    assert_eq!(create(&manager, "nameless", 0).log_end_offset(), 0);
}

#[test]
fn a_recreated_topic_is_never_taken_for_the_old_one() {
    let disk = disk(&["/one"]);
    let manager = start(&disk, &["/one"]);
    drop(create(&manager, "t", 0));
    let again = CreateLog {
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId(Uuid::from_u128(999)),
        config: config(),
        directory_id: None,
        is_new: true,
        now: Wall(0),
        seed: 1,
    };
    assert_eq!(manager.create(again).unwrap_err().code(), ErrorCode::InconsistentTopicId);
}

#[test]
fn a_partition_in_two_directories_stops_the_start() {
    let disk = disk(&["/one", "/two"]);
    for dir in ["/one/t-0", "/two/t-0"] {
        disk.create_dir(Path::new(dir)).unwrap();
        partition_metadata::write(&disk, Path::new(dir), topic_id("t")).unwrap();
    }
    let manager = start(&disk, &["/one", "/two"]);
    let place = |_: TopicId, _: &TopicPartition, _: &LogDir| Placement::Here(config());
    let error = manager.load(&place, 1, Wall(0), || Uuid::ONE, &config()).unwrap_err();
    assert!(matches!(error, LoadError::Duplicate { .. }));
}

#[test]
fn a_failed_directory_takes_only_its_own_offline() {
    let disk = disk(&["/one", "/two"]);
    let manager = start(&disk, &["/one", "/two"]);
    let mut first = create(&manager, "t", 0);
    let mut second = create(&manager, "u", 0);
    put(&mut first, "a");
    put(&mut second, "b");
    disk.plan(Fault { operation: Some(Operation::Sync), nth: 0, effect: Effect::Fail });
    first.flush().unwrap_err();
    let read = ReadRequest {
        from: 0,
        max_bytes: 1000,
        up_to: UpTo::LogEnd,
        at_least_one: true,
        access: crate::log::index_file::Access::Blocking,
    };
    assert_eq!(first.view().read(&read).unwrap_err().code(), ErrorCode::KafkaStorageError);
    second.flush().unwrap();
    assert!(second.view().read(&read).unwrap().range.is_some());
    assert_eq!(create(&manager, "v", 0).log_dir().path(), Path::new("/two"));
    manager.checkpoint_recovery_points();
    assert_eq!(text(&disk, "/two/recovery-point-offset-checkpoint"), "0\n2\nu 0 1\nv 0 0\n");
    assert_eq!(text(&disk, "/one/recovery-point-offset-checkpoint"), "");
}

#[test]
fn checkpoints_written_at_once_do_not_hurt_each_other() {
    let disk = disk(&["/a"]);
    let manager = start(&disk, &["/a"]);
    let mut log = create(&manager, "t", 0);
    put(&mut log, "x");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..500).for_each(|_| manager.checkpoint_high_watermarks()));
        }
    });
    assert!(manager.dirs().all(|dir| dir.is_online()));
    assert!(text(&disk, "/a/replication-offset-checkpoint").starts_with("0\n1\nt 0 "));
}

#[test]
fn many_logs_load_in_parallel() {
    let disk = disk(&["/one", "/two"]);
    let manager = start(&disk, &["/one", "/two"]);
    for partition in 0..40 {
        let mut log = create(&manager, "t", partition);
        for n in 0..=partition {
            put(&mut log, &n.to_string());
        }
    }
    disk.kill();
    drop(manager);
    let manager = start(&disk, &["/one", "/two"]);
    let loaded = load(&manager, |_| true);
    let ends: Vec<i64> = loaded.logs.iter().map(UnifiedLog::log_end_offset).collect();
    assert_eq!(ends, (1..=40).collect::<Vec<i64>>());
}

#[test]
fn what_may_lie_in_an_offline_directory_is_not_made_in_another() {
    let disk = disk(&["/one", "/two"]);
    let create = |is_new| CreateLog {
        topic_partition: TopicPartition::new("t", 0),
        topic_id: topic_id("t"),
        config: config(),
        directory_id: None,
        is_new,
        now: Wall(0),
        seed: 1,
    };
    let first = start(&disk, &["/one", "/two"]);
    assert_eq!(first.create(create(false)).unwrap().log_dir().path(), Path::new("/one"));
    drop(first);
    // Its first file that a start makes.
    disk.plan(Fault { operation: Some(Operation::Create), nth: 0, effect: Effect::Fail });
    disk.remove_file(Path::new("/one/.lock")).unwrap();
    let second = start(&disk, &["/one", "/two"]);
    assert!(matches!(second.create(create(false)), Err(CreateError::MayBeOffline)));
    assert_eq!(second.create(create(true)).unwrap().log_dir().path(), Path::new("/two"));
}
