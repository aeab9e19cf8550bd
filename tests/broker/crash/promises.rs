//! Positions of groups, topics, users and their rights: what was answered is there after the kill, and nothing but that and the last attempt.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use schloss::model::uuid::Uuid;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use schloss::protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResponse;
use schloss::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use schloss::protocol::messages::create_acls_response::CreateAclsResponse;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::describe_acls_request::DescribeAclsRequest;
use schloss::protocol::messages::describe_acls_response::DescribeAclsResponse;
use schloss::protocol::messages::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use schloss::protocol::messages::describe_user_scram_credentials_response::DescribeUserScramCredentialsResponse;
use schloss::protocol::messages::find_coordinator_request::FindCoordinatorRequest;
use schloss::protocol::messages::find_coordinator_response::FindCoordinatorResponse;
use schloss::protocol::messages::metadata_request::MetadataRequest;
use schloss::protocol::messages::metadata_response::MetadataResponse;
use schloss::protocol::messages::offset_commit_request::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use schloss::protocol::messages::offset_commit_response::OffsetCommitResponse;
use schloss::protocol::messages::offset_fetch_request::{OffsetFetchRequest, OffsetFetchRequestTopic};
use schloss::protocol::messages::offset_fetch_response::OffsetFetchResponse;

use super::records::{Other, Round, TOPIC};
use crate::client::Client;
use crate::support::PATIENCE;

const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;
const COORDINATOR_NOT_AVAILABLE: i16 = 15;
const NOT_COORDINATOR: i16 = 16;
pub(super) const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const TOPIC_RESOURCE: i8 = 2;
const LITERAL: i8 = 3;
const READ: i8 = 3;
const ALLOW: i8 = 3;

/// Asks until the coordinator has read its partition again.
fn when_loaded<T>(mut ask: impl FnMut() -> Option<(i16, T)>) -> Option<T> {
    let start = Instant::now();
    loop {
        match ask()? {
            (0, answer) => return Some(answer),
            (COORDINATOR_LOAD_IN_PROGRESS | COORDINATOR_NOT_AVAILABLE | NOT_COORDINATOR, _) => {
                thread::sleep(Duration::from_millis(5))
            }
            (code, _) => panic!("the coordinator answers {code}"),
        }
        assert!(start.elapsed() < PATIENCE, "the coordinator does not load");
    }
}

/// Commits 1, 2, 3 ... as the position of one partition.
pub(super) struct Committer {
    group: String,
    partition: i32,
    acknowledged: i64,
    tried: i64,
}

impl Committer {
    /// Has the groups' topic made.
    pub(super) fn new(address: SocketAddr, group: &str, partition: i32) -> Self {
        let request = FindCoordinatorRequest { coordinator_keys: vec![group.into()], ..Default::default() };
        let start = Instant::now();
        loop {
            let found: FindCoordinatorResponse =
                Client::connect(address).ask(ApiKey::FindCoordinator, 4, &request).unwrap();
            if found.coordinators[0].error_code == 0 {
                return Self { group: group.to_owned(), partition, acknowledged: 0, tried: 0 };
            }
            assert!(start.elapsed() < PATIENCE, "no coordinator: {found:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Commits until the connection breaks.
    pub(super) fn run(&mut self, address: SocketAddr, round: &Round) {
        let Ok(mut client) = Client::try_connect(address) else { return };
        while !round.is_over() {
            self.tried += 1;
            let partition = OffsetCommitRequestPartition {
                partition_index: self.partition,
                committed_offset: self.tried,
                committed_leader_epoch: -1,
                ..Default::default()
            };
            let topic =
                OffsetCommitRequestTopic { name: TOPIC.into(), partitions: vec![partition], ..Default::default() };
            let request = OffsetCommitRequest {
                group_id: self.group.as_str().into(),
                generation_id_or_member_epoch: -1,
                topics: vec![topic],
                ..Default::default()
            };
            let committed = when_loaded(|| {
                let answer: OffsetCommitResponse = client.ask(ApiKey::OffsetCommit, 8, &request).ok()?;
                Some((answer.topics[0].partitions[0].error_code, ()))
            });
            if committed.is_none() {
                return;
            }
            self.acknowledged = self.tried;
            round.answered(Other::Committer);
        }
    }

    pub(super) fn check(&self, address: SocketAddr) -> Result<(), String> {
        let mut client = Client::connect(address);
        let topic = OffsetFetchRequestTopic { name: TOPIC.into(), partition_indexes: vec![self.partition] };
        let request = OffsetFetchRequest {
            group_id: self.group.as_str().into(),
            topics: Some(vec![topic]),
            ..Default::default()
        };
        let found = when_loaded(|| {
            let answer: OffsetFetchResponse = client.ask(ApiKey::OffsetFetch, 7, &request).unwrap();
            let position = answer.topics.first().map(|topic| topic.partitions[0].committed_offset);
            Some((answer.error_code, position))
        });
        let found = found.flatten().unwrap_or(-1).max(0);
        if (self.acknowledged..=self.tried).contains(&found) {
            return Ok(());
        }
        Err(format!("{} is at {found}; {} was acknowledged, {} tried", self.group, self.acknowledged, self.tried))
    }

    /// How much it has done.
    pub(super) fn acknowledged(&self) -> i64 {
        self.acknowledged
    }
}

/// Creates topics, one after another.
#[derive(Default)]
pub(super) struct Creator {
    acknowledged: BTreeMap<String, Uuid>,
    tried: usize,
}

impl Creator {
    /// Creates topics until the connection breaks.
    pub(super) fn run(&mut self, address: SocketAddr, round: &Round) {
        let Ok(mut client) = Client::try_connect(address) else { return };
        while !round.is_over() {
            let name = format!("made-{:05}", self.tried);
            let topic = CreatableTopic {
                name: name.as_str().into(),
                num_partitions: 1,
                replication_factor: 1,
                ..Default::default()
            };
            let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
            let Ok(answer) = client.ask::<_, CreateTopicsResponse>(ApiKey::CreateTopics, 7, &request) else { return };
            match answer.topics[0].error_code {
                0 => {
                    self.acknowledged.insert(name, answer.topics[0].topic_id);
                    round.answered(Other::Creator);
                }
                // Made before the kill, and not answered.
                TOPIC_ALREADY_EXISTS => {}
                // It is stopping: no broker takes a replica.
                INVALID_REPLICATION_FACTOR => return,
                code => panic!("{name}: {code}"),
            }
            self.tried += 1;
        }
    }

    pub(super) fn check(&self, address: SocketAddr) -> Result<(), String> {
        let request = MetadataRequest { topics: None, ..Default::default() };
        let answer: MetadataResponse = Client::connect(address).ask(ApiKey::Metadata, 12, &request).unwrap();
        let there: BTreeMap<String, Uuid> = answer
            .topics
            .iter()
            .filter_map(|topic| Some((topic.name.as_ref()?.to_string(), topic.topic_id)))
            .filter(|(name, _)| name.starts_with("made-"))
            .collect();
        if let Some((name, _)) = self.acknowledged.iter().find(|(name, id)| there.get(*name) != Some(*id)) {
            return Err(format!("topic {name} was acknowledged; there is {:?}", there.get(name)));
        }
        let last = format!("made-{:05}", self.tried);
        match there.keys().find(|name| **name > last) {
            Some(name) => Err(format!("nobody asked for topic {name}")),
            None => Ok(()),
        }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }
}

/// Makes users and gives each a right, one after another.
#[derive(Default)]
pub(super) struct Granter {
    users: BTreeSet<String>,
    rights: BTreeSet<String>,
    tried: usize,
}

impl Granter {
    /// Makes users until the connection breaks.
    pub(super) fn run(&mut self, address: SocketAddr, round: &Round) {
        let Ok(mut client) = Client::try_connect(address) else { return };
        while !round.is_over() {
            let user = format!("user-{:05}", self.tried);
            let upsertion = ScramCredentialUpsertion {
                name: user.as_str().into(),
                mechanism: 1,
                iterations: 4096,
                salt: vec![7; 16].into(),
                salted_password: vec![9; 32].into(),
            };
            let request = AlterUserScramCredentialsRequest { upsertions: vec![upsertion], ..Default::default() };
            let answer = client.ask(ApiKey::AlterUserScramCredentials, 0, &request);
            let Ok::<AlterUserScramCredentialsResponse, _>(answer) = answer else { return };
            assert_eq!(answer.results[0].error_code, 0, "{user}: {:?}", answer.results[0].error_message);
            self.users.insert(user.clone());
            let right = AclCreation {
                resource_type: TOPIC_RESOURCE,
                resource_name: TOPIC.into(),
                resource_pattern_type: LITERAL,
                principal: format!("User:{user}").into(),
                host: "*".into(),
                operation: READ,
                permission_type: ALLOW,
            };
            let request = CreateAclsRequest { creations: vec![right] };
            let answer = client.ask(ApiKey::CreateAcls, 3, &request);
            let Ok::<CreateAclsResponse, _>(answer) = answer else { return };
            assert_eq!(answer.results[0].error_code, 0, "{user}: {:?}", answer.results[0].error_message);
            self.rights.insert(format!("User:{user}"));
            round.answered(Other::Granter);
            self.tried += 1;
        }
    }

    pub(super) fn check(&self, address: SocketAddr) -> Result<(), String> {
        let mut client = Client::connect(address);
        let request = DescribeUserScramCredentialsRequest { users: None };
        let answer: DescribeUserScramCredentialsResponse =
            client.ask(ApiKey::DescribeUserScramCredentials, 0, &request).unwrap();
        let users: BTreeSet<String> = answer.results.iter().map(|result| result.user.to_string()).collect();
        let filter = DescribeAclsRequest {
            resource_type_filter: TOPIC_RESOURCE,
            resource_name_filter: Some(TOPIC.into()),
            pattern_type_filter: LITERAL,
            operation: READ,
            permission_type: ALLOW,
            principal_filter: None,
            host_filter: None,
        };
        let answer: DescribeAclsResponse = client.ask(ApiKey::DescribeAcls, 3, &filter).unwrap();
        assert_eq!(answer.error_code, 0, "{answer:?}");
        let acls = answer.resources.iter().flat_map(|resource| &resource.acls);
        let rights: BTreeSet<String> = acls.map(|acl| acl.principal.to_string()).collect();
        let last = format!("user-{:05}", self.tried);
        if let Some(lost) = self.users.difference(&users).chain(self.rights.difference(&rights)).next() {
            return Err(format!("{lost} was acknowledged and is lost"));
        }
        match users.difference(&self.users).find(|user| **user != last) {
            Some(user) => Err(format!("nobody asked for {user}")),
            None => Ok(()),
        }
    }

    pub(super) fn acknowledged(&self) -> usize {
        self.rights.len()
    }
}
