//! A broker without sockets: topics in an image, rights in an authorizer, lanes that work when the test says so.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::config::{BrokerConfig, Sources};
use crate::controller::{ControllerError, ControllerRequest, ControllerResponse};
use crate::handlers::context::{ControllerClient, ProducerIds};
use crate::handlers::{
    AuthState, Broker, Connection, Identity, LaterReply, Listener, Reply, RequestContext, Response, Settings, dispatch,
};
use crate::log::config::LogConfig;
use crate::metadata::image::MetadataImage;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::listener::{ListenerName, SecurityProtocol};
use crate::model::principal::KafkaPrincipal;
use crate::model::producer::ProducerId;
use crate::model::resource::{ResourcePattern, ResourceType};
use crate::model::uuid::Uuid;
use crate::protocol::api::ApiKey;
use crate::protocol::header::{RequestHeader, ResponseHeader};
use crate::protocol::messages::fetch_request::{self, FetchRequest};
use crate::protocol::messages::fetch_response::{FetchResponse, PartitionData};
use crate::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::protocol::messages::produce_response::{PartitionProduceResponse, ProduceResponse};
use crate::protocol::records::metadata::{PartitionRecord, ProducerIdsRecord, TopicRecord};
use crate::protocol::wire::{Message, Reader, Records, Request};
use crate::replica::bench::{Bench, NODE};
use crate::security::authorizer::Authorizer;
use crate::security::authorizer::native::{AclChange, NativeAuthorizer, Settings as Rules};
use crate::security::verifier::{FailureDelay, Logins, Verifier};

/// Every topic has so many partitions.
pub(super) const PARTITIONS: i32 = 2;
/// No producer has an id from here on.
pub(super) const PRODUCER_IDS_END: i64 = 5000;

/// Hands out producer ids from 4000 on.
#[derive(Debug)]
struct Ids(AtomicI64);

impl ProducerIds for Ids {
    fn next(&self) -> Option<ProducerId> {
        Some(ProducerId(self.0.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Nothing here needs the controller.
#[derive(Debug)]
struct NoController;

impl ControllerClient for NoController {
    fn submit(&self, _: ControllerRequest) -> BoxFuture<'static, Result<ControllerResponse, ControllerError>> {
        Box::pin(std::future::ready(Err(ControllerError::NotActive)))
    }
}

pub(super) struct House {
    pub(super) bench: Bench,
    pub(super) broker: Arc<Broker>,
    pub(super) rules: Arc<NativeAuthorizer>,
    listener: Arc<Listener>,
}

impl House {
    /// `alice` may do everything; others what [`Self::allow`] says.
    pub(super) fn new() -> Self {
        let bench = Bench::new(1, false);
        let super_users = HashSet::from([KafkaPrincipal::user("alice")]);
        let rules = Arc::new(NativeAuthorizer::new(Rules { super_users, ..Rules::default() }));
        rules.complete_initial_load();
        let broker = Broker {
            node_id: NODE,
            cluster_id: "c".into(),
            settings: Settings {
                strict: true,
                auto_create_topics: false,
                delete_topics: true,
                max_partitions_per_page: 2000,
            },
            image: Arc::new(arc_swap::ArcSwap::from_pointee(MetadataImage::default())),
            authorizer: Arc::clone(&rules) as Arc<dyn Authorizer>,
            replicas: Arc::clone(&bench.replicas),
            controller: Arc::new(NoController),
            config: Arc::new(config()),
            logins: Arc::new(Logins::new(Verifier::new(1, FailureDelay::Fixed(Duration::ZERO)), [])),
            certificates: Arc::default(),
            producer_ids: Arc::new(Ids(AtomicI64::new(4000))),
            producer_lines: Default::default(),
            groups: Arc::new(crate::handlers::context::NoGroups),
            group_topic_lines: Default::default(),
            clock: Arc::clone(bench.replicas.clock()),
        };
        let listener = Listener {
            name: ListenerName::new("PLAINTEXT"),
            protocol: SecurityProtocol::Plaintext,
            is_controller: false,
            sasl_mechanisms: Vec::new(),
            max_reauth: BTreeMap::new(),
            failed_authentication_delay: Duration::ZERO,
        };
        let house = Self { bench, broker: Arc::new(broker), rules, listener: Arc::new(listener) };
        let given_out = ProducerIdsRecord { broker_id: 1, broker_epoch: 0, next_producer_id: PRODUCER_IDS_END };
        house.change(|image| image.apply(0, &given_out.into()).unwrap());
        house
    }

    pub(super) fn with_topic(name: &str) -> Self {
        let house = Self::new();
        house.create(name, 1);
        house
    }

    pub(super) fn create(&self, name: &str, id: u128) {
        let topic_id = Uuid::from_u128(id);
        self.change(|image| {
            image.apply(0, &TopicRecord { name: name.into(), topic_id }.into()).unwrap();
            for partition_id in 0..PARTITIONS {
                let record = PartitionRecord {
                    partition_id,
                    topic_id,
                    replicas: vec![1],
                    isr: vec![1],
                    leader: 1,
                    directories: vec![Uuid::from_u128(77)],
                    ..Default::default()
                };
                image.apply(0, &record.into()).unwrap();
            }
        });
        for partition in 0..PARTITIONS {
            self.bench.partition(id, partition, LogConfig { timestamp_after_max_ms: i64::MAX, ..LogConfig::default() });
        }
    }

    pub(super) fn delete(&self, id: u128) {
        let topic_id = Uuid::from_u128(id);
        self.change(|image| {
            image.apply(0, &crate::protocol::records::metadata::RemoveTopicRecord { topic_id }.into()).unwrap();
        });
        for partition in 0..PARTITIONS {
            let topic_id = crate::model::topic::TopicId(topic_id);
            drop(self.bench.replicas.release(crate::model::topic::TopicIdPartition { topic_id, partition }));
        }
        self.bench.work();
    }

    fn change(&self, change: impl FnOnce(&mut MetadataImage)) {
        let mut image = MetadataImage::clone(&self.broker.image.load());
        change(&mut image);
        self.broker.image.store(Arc::new(image));
    }

    /// Lets `user` do something from now on; `id` names the rule.
    pub(super) fn allow(&self, id: u128, user: &str, operation: AclOperation, resource: ResourcePattern) {
        let binding = AclBinding {
            pattern: resource,
            principal: format!("User:{user}").into(),
            host: "*".into(),
            operation,
            permission: AclPermission::Allow,
        };
        self.rules.apply([AclChange::Add(Uuid::from_u128(id), binding)], 0);
        self.bench.replicas.authorization_changed();
    }

    pub(super) fn revoke(&self, id: u128) {
        self.rules.apply([AclChange::Remove(Uuid::from_u128(id))], 0);
        self.bench.replicas.authorization_changed();
    }

    pub(super) fn connect(&self, user: &str) -> Rc<Connection> {
        let identity = Identity { principal: KafkaPrincipal::user(user), mechanism: None, expires: None };
        Rc::new(Connection {
            id: 1,
            listener: Arc::clone(&self.listener),
            peer: "127.0.0.1:5000".parse().unwrap(),
            host: "127.0.0.1".into(),
            auth: RefCell::new(AuthState::Authenticated(identity)),
            sasl: RefCell::default(),
            renewed: Cell::default(),
            software: RefCell::default(),
            greeted: Cell::new(true),
            writes: RefCell::default(),
        })
    }

    /// Admits and enqueues one request.
    pub(super) async fn send<R: Request>(&self, connection: &Rc<Connection>, version: i16, request: &R) -> Asked {
        self.send_bytes(connection, R::KEY, version, request.to_bytes(version)).await
    }

    /// The same for a request's bytes as they stand in a frame.
    pub(super) async fn send_bytes(
        &self,
        connection: &Rc<Connection>,
        key: ApiKey,
        version: i16,
        body: Bytes,
    ) -> Asked {
        let header =
            RequestHeader { api_key: key, api_version: version, correlation_id: 7, client_id: Some("test".into()) };
        let context = RequestContext { broker: &self.broker, connection, header: &header };
        let reply = dispatch(&context, body).await;
        Asked { reply: Some(reply), key, version }
    }

    /// Sends a request, lets the lanes work, and waits for the answer.
    pub(super) async fn ask<R: Request>(&self, connection: &Rc<Connection>, version: i16, request: &R) -> R::Response {
        let asked = self.send(connection, version, request).await;
        self.bench.work();
        asked.response().await
    }
}

fn config() -> BrokerConfig {
    let text = "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
                controller.quorum.voters=1@localhost:2\nlisteners=PLAINTEXT://:1,CONTROLLER://:2";
    let pairs = text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
    BrokerConfig::load(Sources { overrides: pairs.collect(), ..Sources::default() }).unwrap().config
}

/// A request on its way.
pub(super) struct Asked {
    reply: Option<Reply>,
    key: ApiKey,
    version: i16,
}

impl Asked {
    /// What it came to, without waiting: `None` while it waits.
    pub(super) fn now(&mut self) -> Option<LaterReply> {
        match self.reply.take().unwrap() {
            Reply::Later(mut future) => {
                let outcome = (&mut future).now_or_never();
                if outcome.is_none() {
                    self.reply = Some(Reply::Later(future));
                }
                outcome
            }
            reply => Some(settled(reply)),
        }
    }

    pub(super) async fn done(mut self) -> LaterReply {
        match self.reply.take().unwrap() {
            Reply::Later(future) => future.await,
            reply => settled(reply),
        }
    }

    pub(super) async fn response<M: Message>(self) -> M {
        let (key, version) = (self.key, self.version);
        match self.done().await {
            LaterReply::Respond(response) => decode(key, version, response),
            other => panic!("{other:?}"),
        }
    }
}

fn settled(reply: Reply) -> LaterReply {
    match reply {
        Reply::Now(response) => LaterReply::Respond(response),
        Reply::None => LaterReply::None,
        Reply::Close(reason) => LaterReply::Close(reason),
        other => panic!("{other:?}"),
    }
}

/// The message as a client reads it: file ranges put where they belong.
pub(super) fn decode<M: Message>(key: ApiKey, version: i16, response: Response) -> M {
    let mut whole = Vec::new();
    let mut from = 0;
    for (at, range) in &response.files {
        whole.extend_from_slice(&response.bytes[from..*at]);
        let start = whole.len();
        whole.resize(start + range.len as usize, 0);
        range.read_at(0, &mut whole[start..]).unwrap();
        from = *at;
    }
    whole.extend_from_slice(&response.bytes[from..]);
    assert_eq!(whole.len() - 4, u32::from_be_bytes(whole[..4].try_into().unwrap()) as usize);
    let mut reader = Reader::new(Bytes::from(whole).slice(4..));
    let header = ResponseHeader::decode(&mut reader, key.response_header_version(version)).unwrap();
    assert_eq!(header.correlation_id, 7);
    let message = M::decode(&mut reader, version).unwrap();
    reader.expect_end().unwrap();
    message
}

pub(super) fn topic(name: &str) -> ResourcePattern {
    ResourcePattern::literal(ResourceType::Topic, name)
}

pub(super) fn produce(acks: i16, parts: &[(&str, i32, Bytes)]) -> ProduceRequest {
    let topic_data = parts.iter().map(|(name, index, records)| TopicProduceData {
        name: (*name).into(),
        topic_id: Uuid::ZERO,
        partition_data: vec![PartitionProduceData { index: *index, records: Records::Bytes(records.clone()) }],
    });
    ProduceRequest { acks, timeout_ms: 1000, topic_data: topic_data.collect(), ..Default::default() }
}

/// Every partition of an answer: topic, index, code, base offset.
pub(super) fn produced(response: &ProduceResponse) -> Vec<(&str, i32, i16, i64)> {
    response
        .responses
        .iter()
        .flat_map(|topic| topic.partition_responses.iter().map(move |p| (&*topic.name, p)))
        .map(|(name, p)| (name, p.index, p.error_code, p.base_offset))
        .collect()
}

pub(super) fn only(response: &ProduceResponse) -> &PartitionProduceResponse {
    assert_eq!((response.responses.len(), response.responses[0].partition_responses.len()), (1, 1));
    &response.responses[0].partition_responses[0]
}

/// A fetch by names, without a session, that waits for nothing.
pub(super) fn fetch(parts: &[(&str, i32, i64)]) -> FetchRequest {
    let topics = parts.iter().map(|(name, partition, fetch_offset)| fetch_request::FetchTopic {
        topic: (*name).into(),
        partitions: vec![fetch_request::FetchPartition {
            partition: *partition,
            fetch_offset: *fetch_offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        }],
        ..Default::default()
    });
    FetchRequest {
        replica_id: -1,
        max_wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
        session_epoch: -1,
        topics: topics.collect(),
        ..Default::default()
    }
}

/// Every partition of an answer: topic, index, code, high watermark, bytes.
pub(super) fn fetched(response: &FetchResponse) -> Vec<(&str, i32, i16, i64, usize)> {
    response
        .responses
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |p| (&*topic.topic, p)))
        .map(|(name, p)| (name, p.partition_index, p.error_code, p.high_watermark, p.records.len()))
        .collect()
}

pub(super) fn first(response: &FetchResponse) -> &PartitionData {
    &response.responses[0].partitions[0]
}
