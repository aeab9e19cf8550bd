//! Decisions compared with what Apache Kafka 4.3.1 answered and wrote.

mod kafkas_log;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::*;
use crate::metadata::cluster::{EndPoint, FeatureRange};
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::error_code::ErrorCode;
use crate::model::resource::{ResourcePattern, ResourceType};
use crate::model::scram::ScramMechanism;
use crate::model::topic::{TopicId, TopicIdPartition};
use crate::model::uuid::Uuid;
use crate::protocol::record_batch::batches;
use crate::protocol::records::metadata as r;
use crate::security::authorizer::filter::AclFilter;
use crate::security::authorizer::permit::{Permit, Reason, Resource};

/// Random bytes from a seed.
#[derive(Debug)]
pub(super) struct Seeded(u64);

impl Seeded {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }
}

impl Random for Seeded {
    fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            // SplitMix64
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = u8::try_from((z ^ (z >> 31)) & 0xff).unwrap();
        }
    }
}

const CLUSTER: &str = "MkU3OEVBNTcwNTJENDM2Qg";
const NOW: Mono = Mono(1_000_000_000_000);

fn settings() -> Settings {
    Settings {
        cluster_id: CLUSTER.into(),
        node_id: BrokerId(1),
        default_partitions: 1,
        default_replication_factor: 1,
        session_timeout: Duration::from_secs(9),
        strict: false,
        values: Arc::default(),
    }
}

/// A controller and the offset it writes next, as the log's writer drives it.
struct Bench {
    controller: Controller,
    next: i64,
    random: Seeded,
    now: Mono,
}

impl Bench {
    fn of(image: MetadataImage) -> Self {
        let next = image.offset() + 1;
        Self { controller: Controller::new(settings(), image, NOW), next, random: Seeded::new(1), now: NOW }
    }

    /// Formatted, activated, broker 1 registered and unfenced.
    fn started() -> Self {
        let mut bench = Self::of(MetadataImage::default());
        bench.ask(ControllerRequest::Activate(ActivateController { bootstrap: Vec::new() }));
        let epoch = bench.register(1, 500, -1);
        bench.beat(1, epoch, |_| {});
        bench
    }

    fn decide(&mut self, request: ControllerRequest) -> Result<Outcome, ControllerError> {
        let mut cx =
            Context { now: self.now, next_offset: self.next, quorum: QuorumState::default(), random: &mut self.random };
        self.controller.decide(&mut cx, request)
    }

    fn write(&mut self, records: &[RecordAndVersion]) {
        for record in records {
            let decoded = MetadataRecord::decode_value(record.record.encode_value(record.version)).unwrap();
            assert_eq!(decoded, record.record, "version {} loses something", record.version);
            self.controller.apply(self.next, &decoded).unwrap();
            self.next += 1;
        }
    }

    fn ask(&mut self, request: ControllerRequest) -> Outcome {
        let outcome = self.decide(request).unwrap();
        self.write(&outcome.records);
        outcome
    }

    fn register(&mut self, id: i32, incarnation: u128, previous_epoch: i64) -> i64 {
        match self.ask(ControllerRequest::RegisterBroker(registration(id, incarnation, previous_epoch))).response {
            ControllerResponse::RegisterBroker { epoch } => epoch,
            other => panic!("{other:?}"),
        }
    }

    fn beat(
        &mut self,
        id: i32,
        epoch: i64,
        set: impl FnOnce(&mut BrokerHeartbeat),
    ) -> (Vec<RecordAndVersion>, HeartbeatAnswer) {
        let outcome = self.ask(ControllerRequest::BrokerHeartbeat(heartbeat(id, epoch, set)));
        match outcome.response {
            ControllerResponse::BrokerHeartbeat(answer) => (outcome.records, answer),
            other => panic!("{other:?}"),
        }
    }

    #[allow(clippy::type_complexity)]
    fn create(
        &mut self,
        topics: Vec<CreateTopic>,
    ) -> (Vec<RecordAndVersion>, Vec<(String, Result<(i32, i16), ApiError>)>) {
        let request = CreateTopics { topics, validate_only: false, deadline: None };
        let outcome = self.ask(ControllerRequest::CreateTopics(request));
        let ControllerResponse::CreateTopics(created) = outcome.response else { panic!() };
        let short = created.into_iter().map(|topic| {
            let result = topic.result.map(|made| (made.num_partitions, made.replication_factor));
            (topic.name, result)
        });
        (outcome.records, short.collect())
    }

    fn refusal(&mut self, topic: CreateTopic) -> (ErrorCode, String) {
        let (records, mut results) = self.create(vec![topic]);
        assert!(records.is_empty());
        let error = results.remove(0).1.unwrap_err();
        (error.code(), error.message().unwrap_or_default().to_owned())
    }
}

fn registration(id: i32, incarnation: u128, previous_epoch: i64) -> RegisterBroker {
    RegisterBroker {
        broker: BrokerId(id),
        cluster_id: CLUSTER.into(),
        incarnation_id: Uuid::from_u128(incarnation),
        end_points: vec![EndPoint {
            name: "PLAINTEXT".into(),
            host: "127.0.0.1".into(),
            port: 9092,
            security_protocol: 0,
        }],
        features: vec![
            FeatureRange { name: "metadata.version".into(), min: 7, max: 30 },
            FeatureRange { name: "eligible.leader.replicas.version".into(), min: 0, max: 1 },
            FeatureRange { name: "group.version".into(), min: 0, max: 1 },
            FeatureRange { name: "share.version".into(), min: 0, max: 1 },
            FeatureRange { name: "streams.version".into(), min: 0, max: 1 },
            FeatureRange { name: "transaction.version".into(), min: 0, max: 2 },
        ],
        rack: None,
        directories: vec![Uuid::from_u128(7_000 + u128::try_from(id).unwrap())],
        previous_epoch,
        local: false,
    }
}

fn heartbeat(id: i32, epoch: i64, set: impl FnOnce(&mut BrokerHeartbeat)) -> BrokerHeartbeat {
    let mut beat = BrokerHeartbeat {
        broker: BrokerId(id),
        broker_epoch: epoch,
        metadata_offset: i64::MAX,
        want_fence: false,
        want_shut_down: false,
        offline_directories: Vec::new(),
        cordoned_directories: None,
    };
    set(&mut beat);
    beat
}

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> CreateTopic {
    let permit = Permit::internal(Reason::Test, Resource::Cluster);
    CreateTopic { num_partitions, replication_factor, ..CreateTopic::with_defaults(permit, name) }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> CreateTopic {
    let ids = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
    let assignments = assignments.iter().map(|(index, replicas)| (*index, ids(replicas))).collect();
    CreateTopic { assignments, ..topic(name, -1, -1) }
}

fn configured(name: &str, configs: &[(&str, Option<&str>)]) -> CreateTopic {
    let configs = configs.iter().map(|(name, value)| ((*name).into(), value.map(Into::into))).collect();
    CreateTopic { configs, ..topic(name, 1, 1) }
}

#[test]
fn names_are_refused_as_kafka_refuses_them() {
    let mut bench = Bench::started();
    bench.create(vec![topic("a.b", 1, 1)]);
    let long = "x".repeat(250);
    for (name, code, text) in [
        ("", 17, "Topic name is invalid: the empty string is not allowed".to_owned()),
        (".", 17, "Topic name is invalid: '.' is not allowed".to_owned()),
        ("..", 17, "Topic name is invalid: '..' is not allowed".to_owned()),
        (
            "a/b",
            17,
            "Topic name is invalid: 'a/b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
                .to_owned(),
        ),
        (
            "../x",
            17,
            "Topic name is invalid: '../x' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"
                .to_owned(),
        ),
        (&long, 17, format!("Topic name is invalid: the length of '{long}' is longer than the max allowed length 249")),
        ("__cluster_metadata", 42, "Creation of internal topic __cluster_metadata is prohibited.".to_owned()),
        ("a_b", 17, "Topic 'a_b' collides with existing topic: a.b".to_owned()),
        ("a.b", 36, "Topic 'a.b' already exists.".to_owned()),
    ] {
        let (got, message) = bench.refusal(topic(name, 1, 1));
        assert_eq!((got.code(), message), (code, text));
    }
    for name in ["a\0b", "é"] {
        assert_eq!(bench.refusal(topic(name, 1, 1)).0, ErrorCode::InvalidTopicException);
    }
}

#[test]
fn two_new_names_may_collide_with_each_other() {
    let (_, results) = Bench::started().create(vec![topic("c.d", 1, 1), topic("c_d", 1, 1)]);
    assert!(results.iter().all(|(_, result)| *result == Ok((1, 1))), "{results:?}");
}

#[test]
fn counts_are_refused_as_kafka_refuses_them() {
    let mut bench = Bench::started();
    let partitions = "Number of partitions was set to an invalid non-positive value.";
    let factor = "Replication factor must be larger than 0, or -1 to use the default value.";
    let too_few = "Unable to replicate the partition 2 time(s): The target replication factor of 2 cannot be reached because \
                   only 1 broker(s) are registered or some brokers have all their log directories cordoned.";
    for (num, rf, code, text) in [
        (0, 1, ErrorCode::InvalidPartitions, partitions),
        (-2, 1, ErrorCode::InvalidPartitions, partitions),
        (0, 2, ErrorCode::InvalidPartitions, partitions),
        (1, 0, ErrorCode::InvalidReplicationFactor, factor),
        (1, -2, ErrorCode::InvalidReplicationFactor, factor),
        (1, 2, ErrorCode::InvalidReplicationFactor, too_few),
        (10_001, 1, ErrorCode::PolicyViolation, "Excessively large number of partitions per request."),
        (1_000_000, 1, ErrorCode::PolicyViolation, "Excessively large number of partitions per request."),
        (10_000, 1, ErrorCode::PolicyViolation, "Unable to perform excessively large batch operation."),
    ] {
        assert_eq!(bench.refusal(topic("t", num, rf)), (code, text.to_owned()));
    }
    let (_, results) = bench.create(vec![topic("big4", 6000, 1), topic("big5", 6000, 1)]);
    assert!(results.iter().all(|(_, r)| r.as_ref().unwrap_err().code() == ErrorCode::PolicyViolation));
    let (records, results) = bench.create(vec![topic("most", 9_999, 1), topic("default", -1, -1)]);
    assert!(records.is_empty(), "{results:?}");
    let (records, _) = bench.create(vec![topic("most", 9_999, 1)]);
    assert_eq!(records.len(), 10_000);
}

#[test]
fn a_name_given_twice_is_refused_once_and_last() {
    let (_, results) = Bench::started().create(vec![topic("dup", 1, 1), topic("dup", 1, 1), topic("ok", 1, 1)]);
    assert_eq!(results[0], ("ok".to_owned(), Ok((1, 1))));
    let error = ApiError::new(ErrorCode::InvalidRequest, "Duplicate topic name.");
    assert_eq!(results[1..], [("dup".to_owned(), Err(error))]);
}

#[test]
fn assignments_are_refused_as_kafka_refuses_them() {
    let mut bench = Bench::started();
    let both = CreateTopic { num_partitions: 2, ..assigned("t", &[(0, &[1])]) };
    let text = "A manual partition assignment was specified, but numPartitions was not set to -1.";
    assert_eq!(bench.refusal(both), (ErrorCode::InvalidRequest, text.to_owned()));
    let both = CreateTopic { replication_factor: 1, ..assigned("t", &[(0, &[1])]) };
    let text = "A manual partition assignment was specified, but replication factor was not set to -1.";
    assert_eq!(bench.refusal(both), (ErrorCode::InvalidRequest, text.to_owned()));
    let consecutive = "partitions should be a consecutive 0-based integer sequence";
    #[allow(clippy::type_complexity)]
    let cases: [(&[(i32, &[i32])], &str); 8] = [
        (&[(1, &[1])], consecutive),
        (&[(-1, &[1])], consecutive),
        (&[(0, &[1]), (2, &[1])], consecutive),
        (&[(0, &[2])], "The manual partition assignment includes broker 2, but no such broker is registered."),
        (&[(0, &[-1])], "The manual partition assignment includes broker -1, but no such broker is registered."),
        (&[(0, &[1, 1])], "The manual partition assignment includes the broker 1 more than once."),
        (&[(0, &[])], "The manual partition assignment includes an empty replica list."),
        (&[(0, &[1]), (0, &[1])], "Found multiple manual partition assignments for partition 0"),
    ];
    for (assignments, text) in cases {
        let expected = (ErrorCode::InvalidReplicaAssignment, text.to_owned());
        assert_eq!(bench.refusal(assigned("t", assignments)), expected);
    }
    let (_, results) = bench.create(vec![assigned("t", &[(0, &[1]), (1, &[1])])]);
    assert_eq!(results[0].1, Ok((2, 1)));
}

#[test]
fn configs_are_checked_and_the_last_of_a_name_counts() {
    let mut bench = Bench::started();
    let (code, text) = bench.refusal(configured("t", &[("retention.ms", None)]));
    assert_eq!((code, &*text), (ErrorCode::InvalidConfig, "Null value not supported for topic configs: retention.ms"));
    let (code, text) = bench.refusal(configured("t", &[("no.such", Some("1"))]));
    assert_eq!((code, &*text), (ErrorCode::InvalidConfig, "Unknown topic config name: no.such"));
    let long = "1".repeat(32_768);
    assert_eq!(bench.refusal(configured("t", &[("retention.ms", Some(&long))])).0, ErrorCode::InvalidConfig);
    let twice = configured("t", &[("retention.ms", Some("1000")), ("retention.ms", Some("2000"))]);
    let (records, _) = bench.create(vec![CreateTopic { describe: true, ..twice }]);
    let values: Vec<_> = records
        .iter()
        .filter_map(|record| match &record.record {
            MetadataRecord::Config(config) => config.value.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(values, ["2000"]);
    for (configs, text) in [
        (
            &[("segment.bytes", Some("1"))][..],
            "Invalid value 1 for configuration segment.bytes: Value must be at least 1048576",
        ),
        (
            &[("min.compaction.lag.ms", Some("10")), ("max.compaction.lag.ms", Some("5"))],
            "conflict topic config setting min.compaction.lag.ms (10) > max.compaction.lag.ms (5)",
        ),
        (
            &[("retention.ms", Some("abc"))],
            "Invalid value abc for configuration retention.ms: Not a number of type LONG",
        ),
    ] {
        assert_eq!(bench.refusal(configured("u", configs)), (ErrorCode::InvalidConfig, text.to_owned()));
    }
}

#[test]
fn a_new_topics_configs_are_described_with_their_sources() {
    let mut bench = Bench::started();
    let config = |kind, owner: &str, name: &str, value: &str| {
        RecordAndVersion::v0(r::ConfigRecord {
            resource_type: kind,
            resource_name: owner.into(),
            name: name.into(),
            value: Some(value.into()),
        })
    };
    bench.write(&[config(4, "", "log.retention.ms", "100000"), config(4, "1", "log.segment.bytes", "2097152")]);
    let topic = CreateTopic { describe: true, ..configured("t", &[("max.message.bytes", Some("5"))]) };
    let request = CreateTopics { topics: vec![topic], validate_only: false, deadline: None };
    let ControllerResponse::CreateTopics(mut created) = bench.ask(ControllerRequest::CreateTopics(request)).response
    else {
        panic!()
    };
    let configs = created.remove(0).result.unwrap().configs.unwrap();
    let of = |name: &str| {
        let found = configs.iter().find(|config| &*config.name == name).unwrap();
        (found.value.clone().unwrap(), found.source.wire_id())
    };
    assert_eq!(of("retention.ms"), ("100000".to_owned(), 3));
    assert_eq!(of("segment.bytes"), ("2097152".to_owned(), 2));
    assert_eq!(of("max.message.bytes"), ("5".to_owned(), 1));
    assert_eq!(of("cleanup.policy"), ("delete".to_owned(), 5));
}

#[test]
fn nothing_is_written_for_a_late_request_or_a_dry_run() {
    let mut bench = Bench::started();
    let late = CreateTopics { topics: vec![topic("t", 1, 1)], validate_only: false, deadline: Some(NOW) };
    let outcome = bench.ask(ControllerRequest::CreateTopics(late));
    let ControllerResponse::CreateTopics(results) = outcome.response else { panic!() };
    assert_eq!(*results[0].result.as_ref().unwrap_err(), ApiError::bare(ErrorCode::RequestTimedOut));
    let dry = CreateTopics { topics: vec![topic("t", 3, 1)], validate_only: true, deadline: None };
    let outcome = bench.ask(ControllerRequest::CreateTopics(dry));
    assert!(outcome.records.is_empty());
    let ControllerResponse::CreateTopics(results) = outcome.response else { panic!() };
    assert_eq!(results[0].result.as_ref().unwrap().num_partitions, 3);
}

#[test]
fn a_permit_for_another_topic_opens_nothing() {
    let other = Resource::Topic { id: Uuid::ZERO, name: "other".into() };
    let permit = Permit::internal(Reason::Test, other);
    let refused = Bench::started().refusal(CreateTopic::with_defaults(permit, "t"));
    assert_eq!(refused.0, ErrorCode::TopicAuthorizationFailed);
}

#[test]
fn while_the_broker_is_fenced_no_topic_is_made() {
    let mut bench = Bench::of(MetadataImage::default());
    bench.ask(ControllerRequest::Activate(ActivateController { bootstrap: Vec::new() }));
    bench.register(1, 500, -1);
    let text = "Unable to replicate the partition 1 time(s): All brokers are currently fenced, or have all their log \
                directories cordoned.";
    assert_eq!(bench.refusal(topic("t", 1, 1)), (ErrorCode::InvalidReplicationFactor, text.to_owned()));
}

#[test]
fn topics_are_deleted_by_the_id_in_the_permit() {
    let mut bench = Bench::started();
    bench.create(vec![topic("t", 1, 1), topic("__consumer_offsets", 1, 1)]);
    let id = bench.controller.image().topics.id("t").unwrap();
    let delete = |id: TopicId, by_id| DeleteTopic {
        permit: Permit::internal(Reason::Test, Resource::Topic { id: id.0, name: "t".into() }),
        by_id,
    };
    let gone = TopicId(Uuid::from_u128(999));
    let topics = vec![delete(gone, true), delete(gone, false), delete(id, false), delete(id, true)];
    let outcome = bench.ask(ControllerRequest::DeleteTopics(DeleteTopics { topics, deadline: None }));
    assert_eq!(outcome.records, [RecordAndVersion::v0(r::RemoveTopicRecord { topic_id: id.0 })]);
    let ControllerResponse::DeleteTopics(results) = outcome.response else { panic!() };
    let codes: Vec<_> = results.iter().map(|result| result.as_ref().map_err(|e| e.code().code()).err()).collect();
    assert_eq!(codes, [Some(100), Some(3), None, None]);
    assert!(bench.controller.image().topics.by_name("t").is_none());
}

fn permit() -> Permit<crate::security::authorizer::permit::op::Alter> {
    Permit::internal(Reason::Test, Resource::Cluster)
}

fn acl(principal: &str) -> AclBinding {
    AclBinding {
        pattern: ResourcePattern::literal(ResourceType::Topic, "t"),
        principal: principal.into(),
        host: "*".into(),
        operation: AclOperation::Read,
        permission: AclPermission::Allow,
    }
}

#[test]
fn acls_are_added_once_and_removed_once() {
    let mut bench = Bench::started();
    let bindings = vec![acl("User:a"), acl("User:a"), acl("a"), acl("User:b")];
    let outcome = bench.ask(ControllerRequest::CreateAcls(CreateAcls { permit: permit(), bindings }));
    assert_eq!(outcome.records.len(), 2);
    let ControllerResponse::CreateAcls(results) = outcome.response else { panic!() };
    let text = "Could not parse principal from `a` (no colon is present separating the principal type from the principal name)";
    assert_eq!(results, [Ok(()), Ok(()), Err(ApiError::new(ErrorCode::InvalidRequest, text)), Ok(())]);
    let again = CreateAcls { permit: permit(), bindings: vec![acl("User:a")] };
    assert!(bench.ask(ControllerRequest::CreateAcls(again)).records.is_empty());

    let only_a = AclFilter { principal: Some("User:a".into()), ..AclFilter::ANY };
    let unknown = AclFilter { operation: AclOperation::Unknown, ..AclFilter::ANY };
    let filters = vec![only_a, AclFilter::ANY, unknown];
    let outcome = bench.ask(ControllerRequest::DeleteAcls(DeleteAcls { permit: permit(), filters }));
    assert_eq!(outcome.records.len(), 2);
    let ControllerResponse::DeleteAcls(results) = outcome.response else { panic!() };
    assert_eq!(results[0], Ok(vec![acl("User:a")]));
    assert_eq!(results[1], Ok(vec![acl("User:a"), acl("User:b")]));
    assert_eq!(results[2], Err(ApiError::new(ErrorCode::InvalidRequest, "Unknown entryFilter.")));
    assert!(bench.controller.image().acls.is_empty());
}

fn upsertion(user: &str, mechanism: i8, iterations: i32) -> ScramUpsertion {
    let salted_password = Zeroizing::new((0..16).chain(0..16).collect());
    ScramUpsertion { user: user.to_owned(), mechanism, iterations, salt: b"salt".to_vec(), salted_password }
}

impl Bench {
    fn alter(&mut self, deletions: &[(&str, i8)], upsertions: Vec<ScramUpsertion>) -> Vec<(String, i16, String)> {
        let deletion =
            |(user, mechanism): &(&str, i8)| ScramDeletion { user: (*user).to_owned(), mechanism: *mechanism };
        let deletions = deletions.iter().map(deletion).collect();
        let request = AlterScramCredentials { permit: permit(), deletions, upsertions };
        let ControllerResponse::AlterScramCredentials(results) =
            self.ask(ControllerRequest::AlterScramCredentials(request)).response
        else {
            panic!()
        };
        let flat = |(user, result): (String, Result<(), ApiError>)| match result {
            Ok(()) => (user, 0, String::new()),
            Err(error) => (user, error.code().code(), error.message().unwrap_or_default().to_owned()),
        };
        results.into_iter().map(flat).collect()
    }
}

#[test]
fn scram_users_are_altered_with_kafkas_errors() {
    let mut bench = Bench::started();
    let results = bench.alter(
        &[("nobody", 1), ("u0", 3), ("", 1)],
        vec![
            upsertion("u1", 1, 4095),
            upsertion("u2", 1, 16_385),
            upsertion("u3", 3, 4096),
            upsertion("u4", 1, 4096),
            upsertion("u4", 2, 4096),
            upsertion("u5", 1, 4096),
            upsertion("*", 1, 4096),
            upsertion("a\u{1b}b", 1, 4096),
        ],
    );
    let twice = "A user credential cannot be altered twice in the same request";
    let expected = [
        ("nobody", 91, "Attempt to delete a user credential that does not exist"),
        ("u0", 33, "Unknown SCRAM mechanism"),
        ("", 93, "Username must not be empty"),
        ("u1", 93, "Too few iterations"),
        ("u2", 93, "Too many iterations"),
        ("u3", 33, "Unknown SCRAM mechanism"),
        ("u4", 92, twice),
        ("u5", 0, ""),
        ("*", 93, "Username is not acceptable: \"*\" means everybody in an ACL"),
        ("a\u{1b}b", 93, "Username is not acceptable: holds a control character"),
    ];
    let expected: Vec<_> =
        expected.iter().map(|(user, code, text)| ((*user).to_owned(), *code, (*text).to_owned())).collect();
    assert_eq!(results, expected);
    assert_eq!(bench.controller.image().scram.len(), 1);
    assert_eq!(bench.alter(&[("u5", 1), ("u5", 2)], vec![]), [("u5".to_owned(), 92, twice.to_owned())]);
    assert_eq!(bench.alter(&[("u5", 1)], vec![upsertion("u5", 1, 4096)])[0].1, 92);
    assert_eq!(bench.alter(&[("u5", 1)], vec![])[0].1, 0);
    assert!(bench.controller.image().scram.is_empty());
}

#[test]
fn producer_ids_come_in_blocks_of_a_thousand() {
    let mut bench = Bench::started();
    let epoch = bench.controller.image().cluster.broker(BrokerId(1)).unwrap().epoch;
    let allocate = |broker_epoch| {
        ControllerRequest::AllocateProducerIds(AllocateProducerIds { broker: BrokerId(1), broker_epoch })
    };
    for first in [0, 1000] {
        let outcome = bench.ask(allocate(epoch));
        let ControllerResponse::AllocateProducerIds(block) = outcome.response else { panic!() };
        assert_eq!(block, ProducerIdBlock { first, len: 1000 });
        let record = r::ProducerIdsRecord { broker_id: 1, broker_epoch: epoch, next_producer_id: first + 1000 };
        assert_eq!(outcome.records, [RecordAndVersion::v0(record)]);
    }
    assert_eq!(bench.decide(allocate(epoch + 1)).unwrap_err().code(), ErrorCode::StaleBrokerEpoch);
}

#[test]
fn registrations_are_refused_as_kafka_refuses_them() {
    let mut bench = Bench::started();
    let code =
        |bench: &mut Bench, request| bench.decide(ControllerRequest::RegisterBroker(request)).unwrap_err().code();
    let other_cluster = RegisterBroker { cluster_id: "other".into(), ..registration(1, 501, -1) };
    assert_eq!(code(&mut bench, other_cluster), ErrorCode::InconsistentClusterId);
    assert_eq!(code(&mut bench, registration(1, 501, -1)), ErrorCode::DuplicateBrokerRegistration);
    let old = vec![FeatureRange { name: "metadata.version".into(), min: 7, max: 20 }];
    assert_eq!(
        code(&mut bench, RegisterBroker { features: old, ..registration(2, 501, -1) }),
        ErrorCode::UnsupportedVersion
    );
    let taken = RegisterBroker { directories: vec![Uuid::from_u128(7_001)], ..registration(2, 501, -1) };
    assert_eq!(code(&mut bench, taken), ErrorCode::InvalidRequest);
    let reserved = RegisterBroker { directories: vec![Uuid::ONE], ..registration(2, 501, -1) };
    assert_eq!(code(&mut bench, reserved), ErrorCode::InvalidRequest);
}

#[test]
fn a_silent_broker_is_fenced_but_never_the_one_of_this_process() {
    let mut bench = Bench::started();
    let epoch = bench.register(2, 502, -1);
    bench.beat(2, epoch, |_| {});
    bench.ask(ControllerRequest::RegisterBroker(RegisterBroker { local: true, ..registration(1, 503, -1) }));
    let epoch = bench.controller.image().cluster.broker(BrokerId(1)).unwrap().epoch;
    bench.beat(1, epoch, |_| {});
    assert!(bench.controller.expire_sessions(NOW.plus(Duration::from_secs(8))).is_none());
    let records = bench.controller.expire_sessions(NOW.plus(Duration::from_secs(9))).unwrap();
    bench.write(&records);
    let fenced: Vec<_> = bench.controller.image().cluster.brokers().filter(|b| b.fenced).map(|b| b.id.0).collect();
    assert_eq!(fenced, [2]);
    assert!(bench.controller.expire_sessions(NOW.plus(Duration::from_secs(99))).is_none());
}
