//! One broker in this process, and clients of it that send whatever they are told.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use schloss::config::{BrokerConfig, Sources};
use schloss::protocol::api::ApiKey;
use schloss::protocol::header::RequestHeader;
use schloss::protocol::messages::create_acls_request::{AclCreation, CreateAclsRequest};
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use schloss::protocol::messages::sasl_handshake_request::SaslHandshakeRequest;
use schloss::protocol::wire::{Message, Writer};
use schloss::server::broker::RunningBroker;
use schloss::server::clock::SystemClock;

/// An answer takes less; a request may ask for more.
const PATIENCE: Duration = Duration::from_millis(20);

pub struct House {
    pub clear: SocketAddr,
    pub sasl: SocketAddr,
    _broker: RunningBroker,
    _dir: tempfile::TempDir,
}

/// The broker, started by whoever asks first. ANONYMOUS may do what it likes with topic and group `f`, and nothing that
/// fills a disk.
pub fn house() -> &'static House {
    static HOUSE: OnceLock<House> = OnceLock::new();
    HOUSE.get_or_init(|| {
        let dir = tempfile::tempdir().expect("a folder");
        let house = start(dir);
        let mut admin = Client::connect(house.sasl).expect("a broker");
        admin.handshake("PLAIN");
        admin.ask(ApiKey::SaslAuthenticate, 2, &SaslAuthenticateRequest { auth_bytes: b"\0admin\0secret"[..].into() });
        let topic = CreatableTopic { name: "f".into(), num_partitions: 2, replication_factor: 1, ..Default::default() };
        let topics = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
        admin.ask(ApiKey::CreateTopics, 7, &topics);
        // Resource types and operations by their numbers: topic, group, cluster; ALL, DESCRIBE, DESCRIBE_CONFIGS.
        let rights = [(2, "f", 2), (3, "f", 2), (4, "kafka-cluster", 8), (4, "kafka-cluster", 10)];
        let creations = rights.map(|(resource_type, name, operation)| AclCreation {
            resource_type,
            resource_name: name.into(),
            resource_pattern_type: 3,
            principal: "User:ANONYMOUS".into(),
            host: "*".into(),
            operation,
            permission_type: 3,
        });
        admin.ask(ApiKey::CreateAcls, 3, &CreateAclsRequest { creations: creations.into() });
        house
    })
}

fn start(dir: tempfile::TempDir) -> House {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|l| l.local_addr()).expect("a port");
    let (clear, sasl) = (free(), free());
    let config = dir.path().join("server.properties");
    write(
        &config,
        &format!(
            "broker.id=1\nlisteners=PLAINTEXT://{clear},SASL_PLAINTEXT://{sasl}\nlog.dirs={}\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
             listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
             required user_admin=\"secret\";\n\
             authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\nsuper.users=User:admin\n\
             group.initial.rebalance.delay.ms=0\nconnection.failed.authentication.delay.ms=0\n\
             log.retention.bytes=10000000\nlog.segment.bytes=1048576\nlog.retention.check.interval.ms=1000\n\
             log.initial.task.delay.ms=1000\noffsets.topic.num.partitions=1\n",
            dir.path().join("data").display()
        ),
    );
    let sources = Sources { file: Some(config), env: BTreeMap::new(), ..Sources::default() };
    let loaded = BrokerConfig::load(sources).unwrap_or_else(|error| panic!("the configuration is refused: {error:?}"));
    let broker = RunningBroker::start(loaded.config, Arc::new(SystemClock::new())).expect("a broker");
    House { clear, sasl, _broker: broker, _dir: dir }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
}

/// A connection. Its end is abrupt, so that the next may come at once.
pub struct Client(TcpStream);

impl Client {
    pub fn connect(address: SocketAddr) -> Option<Self> {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).ok()?;
        Some(Self(stream))
    }

    pub fn send(&mut self, bytes: &[u8]) {
        // Whoever was closed on sends to nobody.
        let _ = self.0.write_all(bytes);
    }

    /// A frame with this header before the body.
    pub fn request(&mut self, key: ApiKey, version: i16, body: &[u8]) {
        let mut w = Writer::framed(1 << 20);
        RequestHeader { api_key: key, api_version: version, correlation_id: 7, client_id: Some("fuzz".into()) }
            .encode(&mut w);
        let mut frame = w.finish().bytes.to_vec();
        frame.extend_from_slice(body);
        let length = u32::try_from(frame.len() - 4).unwrap_or(0);
        frame[..4].copy_from_slice(&length.to_be_bytes());
        self.send(&frame);
    }

    pub fn ask(&mut self, key: ApiKey, version: i16, message: &impl Message) {
        let mut w = Writer::framed(1 << 20);
        RequestHeader { api_key: key, api_version: version, correlation_id: 7, client_id: None }.encode(&mut w);
        message.encode(&mut w, version);
        self.send(&w.finish().bytes);
        let _ = self.0.set_read_timeout(Some(Duration::from_secs(20)));
        self.answer();
        let _ = self.0.set_read_timeout(Some(PATIENCE));
    }

    pub fn handshake(&mut self, mechanism: &str) {
        self.ask(ApiKey::SaslHandshake, 1, &SaslHandshakeRequest { mechanism: mechanism.into() });
    }

    /// One whole frame, or nothing within the patience.
    pub fn answer(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).ok()?;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        assert!(length < 64 << 20, "an answer of {length} bytes");
        let mut frame = vec![0; length];
        self.0.read_exact(&mut frame).ok()?;
        Some(frame)
    }

    /// Says that nothing more comes, and reads what there is until the broker closes.
    pub fn finish(mut self) {
        let _ = self.0.shutdown(std::net::Shutdown::Write);
        while self.answer().is_some() {}
    }
}

/// Takes the next piece of an input: its length is in its first two bytes.
pub fn piece<'a>(input: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, rest) = input.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
    let (piece, rest) = rest.split_at(length);
    *input = rest;
    Some(piece)
}
