//! Records compared with the metadata logs that Apache Kafka 4.3.1 wrote.

use super::*;

const STATIC: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/kafka-4.3.1/metadata-static/00000000000000000000.log"
));
const DYNAMIC: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/fixtures/kafka-4.3.1/metadata-dynamic/00000000000000000000.log"
));

/// Values of the data records of each batch, with its base offset.
fn data_batches(log: &'static [u8]) -> Vec<(i64, Vec<Bytes>)> {
    let values = |batch: crate::protocol::record_batch::RecordBatch<'static>| {
        let values = batch.records().map(|record| Bytes::from_static(record.unwrap().value.unwrap())).collect();
        (batch.header().base_offset, values)
    };
    let batches = batches(log).checked().map(Result::unwrap);
    batches.filter(|batch| !batch.header().is_control()).map(values).collect()
}

fn replay(log: &'static [u8], end: i64) -> MetadataImage {
    let mut image = MetadataImage::default();
    for (base, values) in data_batches(log).into_iter().filter(|(base, _)| *base < end) {
        for (delta, value) in (0..).zip(values) {
            image.apply(base + delta, &MetadataRecord::decode_value(value).unwrap()).unwrap();
        }
    }
    image
}

/// Asks what Kafka was asked before it wrote the batch at `base`, and compares the batch byte for byte.
fn writes_what_kafka_wrote(log: &'static [u8], base: i64, ask: impl FnOnce(&mut Bench) -> Vec<RecordAndVersion>) {
    let mut bench = Bench::of(replay(log, base));
    assert!(bench.next <= base);
    bench.next = base;
    let ours: Vec<Bytes> = ask(&mut bench).iter().map(|record| record.record.encode_value(record.version)).collect();
    let (_, theirs) = data_batches(log).into_iter().find(|(at, _)| *at == base).unwrap();
    assert!(ours == theirs, "at {base}\n{ours:#?}\n{theirs:#?}");
}

fn decide_beat(bench: &mut Bench, epoch: i64, set: impl FnOnce(&mut BrokerHeartbeat)) -> Vec<RecordAndVersion> {
    bench.decide(ControllerRequest::BrokerHeartbeat(heartbeat(1, epoch, set))).unwrap().records
}

#[test]
fn a_broker_comes_and_goes_as_in_kafkas_log() {
    let shut_down = |beat: &mut BrokerHeartbeat| beat.want_shut_down = true;
    let cordoned = |beat: &mut BrokerHeartbeat| beat.cordoned_directories = Some(Vec::new());
    // Without eligible leader replicas: stop, start, session over after a kill.
    writes_what_kafka_wrote(STATIC, 6, |b| {
        decide_beat(b, 5, |beat| {
            cordoned(beat);
            beat.metadata_offset = 4
        })
    });
    writes_what_kafka_wrote(STATIC, 7, |b| decide_beat(b, 5, |_| {}));
    writes_what_kafka_wrote(STATIC, 39, |b| decide_beat(b, 5, shut_down));
    writes_what_kafka_wrote(STATIC, 44, |b| decide_beat(b, 5, shut_down));
    writes_what_kafka_wrote(STATIC, 48, |b| decide_beat(b, 47, cordoned));
    writes_what_kafka_wrote(STATIC, 56, |b| b.controller.expire_sessions(NOW.plus(Duration::from_secs(9))).unwrap());
    writes_what_kafka_wrote(STATIC, 62, |b| decide_beat(b, 61, cordoned));
    writes_what_kafka_wrote(STATIC, 68, |b| decide_beat(b, 61, shut_down));
}

/// With eligible leader replicas, the order of topics aside (there: of a hash map).
#[test]
fn eligible_leader_replicas_are_kept_as_in_kafkas_log() {
    let shut_down = |beat: &mut BrokerHeartbeat| beat.want_shut_down = true;
    for (base, epoch) in data_batches(DYNAMIC).iter().filter_map(|(base, values)| {
        let first = MetadataRecord::decode_value(values.first()?.clone()).unwrap();
        match first {
            MetadataRecord::BrokerRegistrationChange(r) if r.in_controlled_shutdown == 1 => {
                Some((*base, r.broker_epoch))
            }
            _ => None,
        }
    }) {
        writes_what_kafka_wrote(DYNAMIC, base, |b| decide_beat(b, epoch, shut_down));
    }
    // Killed: its session runs out, its next incarnation leaves every ELR, and the one who led last is taken at a risk.
    let killed =
        |log, from: i64| data_batches(log).into_iter().map(|(base, _)| base).find(|base| *base > from).unwrap();
    let fenced = killed(DYNAMIC, 71);
    writes_what_kafka_wrote(DYNAMIC, fenced, |b| {
        b.controller.expire_sessions(NOW.plus(Duration::from_secs(9))).unwrap()
    });
    let registered = killed(DYNAMIC, fenced);
    writes_what_kafka_wrote(DYNAMIC, registered, |b| {
        let mut records = b.decide(ControllerRequest::RegisterBroker(registration(1, 1234, -1))).unwrap().records;
        let (_, theirs) = data_batches(DYNAMIC).into_iter().find(|(base, _)| *base == registered).unwrap();
        let theirs = MetadataRecord::decode_value(theirs.last().unwrap().clone()).unwrap();
        let MetadataRecord::RegisterBroker(ours) = &records.last().unwrap().record else { panic!() };
        assert_eq!((ours.broker_epoch, ours.fenced), (registered, true));
        let last = records.len() - 1;
        records[last].record = theirs;
        records
    });
    let unfenced = killed(DYNAMIC, registered);
    writes_what_kafka_wrote(DYNAMIC, unfenced, |b| {
        decide_beat(b, registered, |beat| beat.cordoned_directories = Some(Vec::new()))
    });
}

/// Kafka waits until a killed broker's session is over. Ours comes back at once, to the same partitions.
#[test]
fn a_killed_broker_of_this_process_comes_back_as_in_kafkas_log_but_at_once() {
    for (log, killed, back) in [(STATIC, 56, 68), (DYNAMIC, 72, 88)] {
        let mut bench = Bench::of(replay(log, killed));
        let directories = bench.controller.image().cluster.broker(BrokerId(1)).unwrap().directories.clone();
        let request = RegisterBroker { local: true, directories, ..registration(1, 1234, -1) };
        let ControllerResponse::RegisterBroker { epoch } =
            bench.ask(ControllerRequest::RegisterBroker(request)).response
        else {
            panic!()
        };
        bench.beat(1, epoch, |_| {});
        let theirs = replay(log, back);
        assert!(theirs.cluster.is_active(BrokerId(1)));
        assert!(bench.controller.image().cluster.is_active(BrokerId(1)));
        assert!(bench.controller.image().topics == theirs.topics);
    }
}

#[test]
fn a_replica_with_a_choice_of_directories_is_assigned_later() {
    let mut bench = Bench::of(MetadataImage::default());
    bench.ask(ControllerRequest::Activate(ActivateController { bootstrap: Vec::new() }));
    let (first, second) = (Uuid::from_u128(7_001), Uuid::from_u128(7_101));
    let two = RegisterBroker { directories: vec![first, second], ..registration(1, 500, -1) };
    let ControllerResponse::RegisterBroker { epoch } = bench.ask(ControllerRequest::RegisterBroker(two)).response
    else {
        panic!()
    };
    bench.beat(1, epoch, |_| {});
    bench.create(vec![topic("t", 2, 1)]);
    let id = bench.controller.image().topics.id("t").unwrap();
    let directory = |bench: &Bench, index| bench.controller.image().topics.partition(id, index).unwrap().directories[0];
    assert_eq!(directory(&bench, 0), Uuid::ONE);
    let at = |partition| TopicIdPartition { topic_id: id, partition };
    let assignments = vec![(second, at(0)), (first, at(1)), (first, at(7))];
    let request = AssignReplicasToDirs { broker: BrokerId(1), broker_epoch: epoch, assignments };
    let outcome = bench.ask(ControllerRequest::AssignReplicasToDirs(request));
    assert_eq!(outcome.records.len(), 2);
    assert_eq!((directory(&bench, 0), directory(&bench, 1)), (second, first));
    let ControllerResponse::AssignReplicasToDirs(results) = outcome.response else { panic!() };
    assert_eq!(results[2].error, ErrorCode::UnknownTopicOrPartition);
    // The directory fails: what lies in it loses its leader, what lies in the other keeps it.
    let (records, _) = bench.beat(1, epoch, |beat| beat.offline_directories = vec![second]);
    assert_eq!(records.len(), 2);
    let leader = |bench: &Bench, index| bench.controller.image().topics.partition(id, index).unwrap().leader;
    assert_eq!((leader(&bench, 0), leader(&bench, 1)), (BrokerId::NONE, BrokerId(1)));
    assert_eq!(bench.controller.image().cluster.broker(BrokerId(1)).unwrap().directories, [first]);
}

#[test]
fn a_second_replica_takes_over_and_the_isr_shrinks() {
    let mut bench = Bench::started();
    let second = bench.register(2, 502, -1);
    bench.beat(2, second, |_| {});
    bench.create(vec![assigned("t", &[(0, &[1, 2])])]);
    let id = bench.controller.image().topics.id("t").unwrap();
    let first = bench.controller.image().cluster.broker(BrokerId(1)).unwrap().epoch;
    let (records, answer) = bench.beat(1, first, |beat| beat.want_shut_down = true);
    assert_eq!(records.len(), 2);
    assert!(!answer.should_shut_down);
    let partition = Arc::clone(bench.controller.image().topics.partition(id, 0).unwrap());
    assert_eq!((partition.leader, partition.leader_epoch), (BrokerId(2), 1));
    assert_eq!(partition.isr, [BrokerId(2)]);
    // Not before the other has seen it.
    let (_, answer) = bench.beat(2, second, |beat| beat.metadata_offset = 0);
    assert!(!answer.should_shut_down);
    let (_, answer) = bench.beat(1, first, |beat| beat.want_shut_down = true);
    assert!(!answer.should_shut_down);
    bench.beat(2, second, |_| {});
    let (_, answer) = bench.beat(1, first, |beat| beat.want_shut_down = true);
    assert!(answer.should_shut_down && answer.is_fenced);
}

#[test]
fn a_new_log_begins_as_kafkas_does() {
    let level = r::FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 };
    let bootstrap = vec![RecordAndVersion::v0(level)];
    writes_what_kafka_wrote(STATIC, 1, |bench| {
        bench.decide(ControllerRequest::Activate(ActivateController { bootstrap })).unwrap().records
    });
    let mut bench = Bench::started();
    let again = bench.ask(ControllerRequest::Activate(ActivateController { bootstrap: Vec::new() }));
    assert!(again.records.is_empty());
}

#[test]
fn a_transaction_left_open_is_aborted_first() {
    let mut bench = Bench::of(MetadataImage::default());
    bench.write(&[
        RecordAndVersion::v0(r::BeginTransactionRecord { name: Some("Bootstrap records".into()) }),
        RecordAndVersion::v0(r::FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 }),
    ]);
    let outcome = bench.ask(ControllerRequest::Activate(ActivateController { bootstrap: Vec::new() }));
    assert!(matches!(outcome.records[0].record, MetadataRecord::AbortTransaction(_)));
    assert_eq!(bench.controller.image().features.metadata_version().map(|v| v.level()), Some(30));
    assert!(!bench.controller.image().in_transaction());
}

/// Kafka stored the credential of the same salted password at offset 32 of the static log.
#[test]
fn a_credential_holds_kafkas_keys() {
    let mut bench = Bench::started();
    let carol = ScramUpsertion { iterations: 8192, ..upsertion("carol", 2, 4096) };
    bench.alter(&[], vec![carol]);
    let key = ("carol", ScramMechanism::Sha512);
    let theirs = replay(STATIC, i64::MAX);
    assert!(theirs.scram.get(key.0, key.1).is_some());
    assert!(bench.controller.image().scram.get(key.0, key.1) == theirs.scram.get(key.0, key.1));
}
