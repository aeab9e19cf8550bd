//! Administration by those who may do a part of it.

use std::collections::BTreeMap;

use schloss::model::uuid::Uuid;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use schloss::protocol::messages::create_acls_response::CreateAclsResponse;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::delete_topics_request::{DeleteTopicState, DeleteTopicsRequest};
use schloss::protocol::messages::delete_topics_response::DeleteTopicsResponse;
use schloss::protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use schloss::protocol::messages::describe_configs_response::DescribeConfigsResponse;
use schloss::protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use schloss::protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;

use super::acls::{ALLOW, DENIED, LITERAL, Rule, TOPIC, allow, create};
use super::{world, worlds};
use crate::support::{free_port, schloss, write};

const DELETE: i8 = 6;
const DESCRIBE: i8 = 8;
const ALTER_CONFIGS: i8 = 11;
const BROKER: i8 = 4;
const CLUSTER: i8 = 4;
const GROUP_RESOURCE: i8 = 32;

/// Case 78: by name and by id, what is there and what is not, what may be deleted, seen, or neither.
#[test]
fn deleting_a_mixture() {
    let world = world();
    let names = ["t78-mine", "t78-seen", "t78-hidden", "t78-mine-2", "t78-seen-2", "t78-hidden-2"];
    create(&names);
    allow(&[
        Rule(LITERAL, "t78-mine", "User:u78", DELETE, ALLOW),
        Rule(LITERAL, "t78-mine-2", "User:u78", DELETE, ALLOW),
        Rule(LITERAL, "t78-seen", "User:u78", DESCRIBE, ALLOW),
        Rule(LITERAL, "t78-seen-2", "User:u78", DESCRIBE, ALLOW),
        Rule(LITERAL, "t78-absent-mine", "User:u78", DELETE, ALLOW),
    ]);
    let topics = world.login("admin").metadata(&names).unwrap().topics;
    let id = |name: &str| topics.iter().find(|topic| topic.name.as_deref() == Some(name)).unwrap().topic_id;
    let by_name = |name: &str| DeleteTopicState { name: Some(name.into()), topic_id: Uuid::default() };
    let by_id = |topic_id| DeleteTopicState { name: None, topic_id };
    let unknown = Uuid::from_u128(78);
    let wanted = vec![
        by_name("t78-mine"),
        by_name("t78-seen"),
        by_name("t78-hidden"),
        by_name("t78-absent"),
        by_name("t78-absent-mine"),
        by_id(id("t78-mine-2")),
        by_id(id("t78-seen-2")),
        by_id(id("t78-hidden-2")),
        by_id(unknown),
    ];
    let count = wanted.len();
    let request = DeleteTopicsRequest { topics: wanted, timeout_ms: 10_000, ..Default::default() };
    let answer: DeleteTopicsResponse = world.login("u78").ask(ApiKey::DeleteTopics, 6, &request).unwrap();
    assert_eq!(answer.responses.len(), count);
    let code = |name: &str| answer.responses.iter().find(|r| r.name.as_deref() == Some(name)).map(|r| r.error_code);
    let code_of_id =
        |id: Uuid| answer.responses.iter().find(|r| r.topic_id == id).map(|r| (r.error_code, r.name.is_none()));
    assert_eq!((code("t78-mine"), code("t78-mine-2")), (Some(0), Some(0)));
    // By name there is no difference between what is hidden and what is not there.
    let denied = Some(DENIED);
    assert_eq!((code("t78-seen"), code("t78-hidden"), code("t78-absent")), (denied, denied, denied));
    assert_eq!(code("t78-absent-mine"), Some(3));
    // By id the name of a topic that may not be seen is not told. (That there is one, Kafka tells.)
    assert_eq!(code_of_id(id("t78-hidden-2")), Some((DENIED, true)));
    assert_eq!(code_of_id(unknown), Some((100, true)));
    assert_eq!(code("t78-seen-2"), denied);
    let left = world.login("admin").metadata(&names).unwrap().topics;
    let is_left: Vec<bool> = left.iter().map(|topic| topic.error_code == 0).collect();
    assert_eq!(is_left, [false, true, true, false, true, true]);
    world.still_serves();
}

/// Case 79.
#[test]
fn rules_by_those_who_may_not_and_rules_that_are_none() {
    let creation = |resource_type, name: &str| AclCreation {
        resource_type,
        resource_name: name.into(),
        resource_pattern_type: LITERAL,
        principal: "User:alice".into(),
        host: "*".into(),
        operation: DESCRIBE,
        permission_type: ALLOW,
    };
    for world in worlds() {
        let ask = |user: &str, creations: Vec<AclCreation>| -> Vec<i16> {
            let request = CreateAclsRequest { creations };
            let answer: CreateAclsResponse = world.login(user).ask(ApiKey::CreateAcls, 3, &request).unwrap();
            answer.results.iter().map(|result| result.error_code).collect()
        };
        assert_eq!(ask("alice", vec![creation(TOPIC, "t79"), creation(CLUSTER, "kafka-cluster")]), [31, 31]);
        let mixed = vec![creation(CLUSTER, "other"), creation(TOPIC, ""), creation(TOPIC, "t79")];
        assert_eq!(ask("admin", mixed), [42, 42, 0]);
        world.still_serves();
    }
}

/// Case 80: each resource by its own right.
#[test]
fn configs_of_what_belongs_to_others() {
    let world = world();
    create(&["t80", "t80-other"]);
    allow(&[Rule(LITERAL, "t80", "User:u80", ALTER_CONFIGS, ALLOW)]);
    let resource = |resource_type, name: &str, key: &str, value: &str| AlterConfigsResource {
        resource_type,
        resource_name: name.into(),
        configs: vec![AlterableConfig { name: key.into(), config_operation: 0, value: Some(value.into()) }],
    };
    let resources = vec![
        resource(TOPIC, "t80", "retention.ms", "60000"),
        resource(TOPIC, "t80-other", "retention.ms", "60000"),
        resource(BROKER, "1", "log.retention.ms", "60000"),
        resource(BROKER, "", "log.retention.ms", "60000"),
        resource(GROUP_RESOURCE, "g80", "consumer.session.timeout.ms", "50000"),
    ];
    let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
    let answer: IncrementalAlterConfigsResponse =
        world.login("u80").ask(ApiKey::IncrementalAlterConfigs, 1, &request).unwrap();
    let codes: BTreeMap<(i8, String), i16> =
        answer.responses.iter().map(|r| ((r.resource_type, r.resource_name.to_string()), r.error_code)).collect();
    let expected = [
        ((TOPIC, "t80"), 0),
        ((TOPIC, "t80-other"), DENIED),
        ((BROKER, ""), 31),
        ((BROKER, "1"), 31),
        ((GROUP_RESOURCE, "g80"), 30),
    ];
    let expected = expected.map(|((kind, name), code)| ((kind, name.to_owned()), code)).into_iter().collect();
    assert_eq!(codes, expected);
    world.still_serves();
}

/// Case 92.
#[test]
fn topics_that_can_not_be() {
    let world = world();
    let mut admin = world.login("admin");
    let topic = |name: &str, partitions, replicas| CreatableTopic {
        name: name.into(),
        num_partitions: partitions,
        replication_factor: replicas,
        ..Default::default()
    };
    let config = |key: &str, value: &str| {
        let configs = vec![CreatableTopicConfig { name: key.into(), value: Some(value.into()) }];
        CreatableTopic { configs, ..topic("t92-config", 1, 1) }
    };
    let cases = [
        (topic("t92-rf", 1, -2), 38),
        (topic("t92-rf", 1, 2), 38),
        (topic("t92-none", 0, 1), 37),
        (topic("t92-none", -2, 1), 37),
        (topic("t92-many", 1_000_000, 1), 44),
        (config("segment.bytes", "1"), 40),
        (config("no.such.config", "1"), 40),
    ];
    for (topic, code) in cases {
        let name = topic.name.clone();
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
        let answer: CreateTopicsResponse = admin.ask(ApiKey::CreateTopics, 7, &request).unwrap();
        assert_eq!(answer.topics[0].error_code, code, "{name}");
    }
    let twice = vec![topic("t92-twice", 1, 1), topic("t92-twice", 1, 1)];
    let request = CreateTopicsRequest { topics: twice, timeout_ms: 10_000, validate_only: false };
    let answer: CreateTopicsResponse = admin.ask(ApiKey::CreateTopics, 7, &request).unwrap();
    assert!(answer.topics.iter().all(|topic| topic.error_code == 42), "{answer:?}");
    let before = world.resident_kib();
    let many = (0..10_000).map(|n| topic(&format!("t92-{n}"), 1, 1)).collect();
    let request = CreateTopicsRequest { topics: many, timeout_ms: 30_000, validate_only: true };
    let answer: CreateTopicsResponse = admin.ask(ApiKey::CreateTopics, 7, &request).unwrap();
    assert_eq!(answer.topics.len(), 10_000);
    let grown = world.resident_kib().saturating_sub(before);
    // Every topic is answered with all of its configs.
    assert!(grown < 256 * 1024, "10,000 topics that were only looked at left {grown} KiB behind");
    world.still_serves();
}

/// Case 93: a broker's secrets are named, and told to nobody.
#[test]
fn configs_that_are_secrets() {
    for world in worlds() {
        let resource =
            DescribeConfigsResource { resource_type: BROKER, resource_name: "1".into(), ..Default::default() };
        let request =
            DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, ..Default::default() };
        let answer: DescribeConfigsResponse = world.login("admin").ask(ApiKey::DescribeConfigs, 4, &request).unwrap();
        let configs = &answer.results[0].configs;
        let mut secrets = 0;
        for config in configs {
            let name = &*config.name;
            let must_hide = name.contains("password") && !name.starts_with("password.encoder")
                || name.ends_with("sasl.jaas.config")
                || name.ends_with("keystore.key");
            if must_hide {
                secrets += 1;
                assert!(config.is_sensitive && config.value.is_none(), "{name}: {:?}", config.value);
                assert!(config.synonyms.iter().all(|synonym| synonym.value.is_none()), "{name}");
            }
            let value = config.value.as_deref().unwrap_or_default();
            assert!(!value.contains("-of-tests"), "{name} tells a password: {value}");
        }
        assert!(secrets >= 5, "{secrets} secrets among {} keys", configs.len());
        let name = |suffix: &str| configs.iter().any(|config| config.name.ends_with(suffix));
        assert!(name("plain.sasl.jaas.config") && name("ssl.keystore.password"));
        world.still_serves();
    }
}

/// Case 30: passwords in clear beyond this machine are refused at the start, unless somebody says that he means it.
#[test]
fn passwords_in_clear_beyond_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("server.properties");
    let text = |more: &str| {
        format!(
            "schloss.profile=strict\nprocess.roles=broker,controller\nnode.id=1\n\
             listeners=SASL_PLAINTEXT://0.0.0.0:{port}\nadvertised.listeners=SASL_PLAINTEXT://localhost:{port}\n\
             inter.broker.listener.name=SASL_PLAINTEXT\nsasl.enabled.mechanisms=PLAIN\n\
             sasl.mechanism.inter.broker.protocol=PLAIN\n\
             listener.name.sasl_plaintext.plain.sasl.jaas.config=\
             org.apache.kafka.common.security.plain.PlainLoginModule required user_a=\"a-of-tests\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
             log.dirs={data}\n{more}",
            port = free_port(),
            data = dir.path().join("data").display(),
        )
    };
    write(&config, &text(""));
    let refused = schloss(&["serve", config.to_str().unwrap()]);
    assert!(refused.text().contains("L0110"), "{refused:?}");
    refused.expect(78, "SASL_PLAINTEXT");
}
