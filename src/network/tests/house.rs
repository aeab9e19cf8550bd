//! The house, its listeners, and a client that sends raw frames.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::{BufMut as _, Bytes, BytesMut};
use parking_lot::Mutex;
use rustls::ServerConfig;

use crate::handlers::connection::Identity;
use crate::handlers::reply::LaterReply;
use crate::handlers::{AuthState, CloseReason, Connection, Listener, Order, Reply, Response};
use crate::log::segment::FileRange;
use crate::model::listener::{ListenerName, SecurityProtocol};
use crate::model::principal::KafkaPrincipal;
use crate::model::time::Mono;
use crate::network::connection::FrameLimits;
use crate::network::listener::ListenerSpec;
use crate::network::listener::Slots;
use crate::network::service::Service;
use crate::network::{Network, Options};
use crate::protocol::api::ApiKey;
use crate::protocol::header::RequestHeader;
use crate::quota::connections::{BrokerLimits, ConnectionQuotas, ListenerLimits};
use crate::quota::memory::Budget;

pub(super) const LIMITS: FrameLimits =
    FrameLimits { unauthenticated: 64 * 1024, anonymous: 16 << 20, authenticated: 100 << 20 };

/// What a Metadata request is answered with, besides its own body.
pub(super) const ANSWER: &[u8] = b"answer";

/// Answers a few APIs and remembers what it was asked.
#[derive(Clone, Debug)]
pub(super) struct House {
    epoch: tokio::time::Instant,
    pub(super) seen: Arc<Mutex<Vec<String>>>,
    /// Fetch and Heartbeat are answered once it is open.
    pub(super) gate: Arc<AtomicBool>,
    /// How long the answer to Metadata asks that nothing be read.
    pub(super) mute: Option<Duration>,
    /// ListOffsets is answered with these, `|` between them, `<` before and `>` behind.
    pub(super) ranges: Vec<FileRange>,
}

impl House {
    pub(super) fn new() -> Self {
        let epoch = tokio::time::Instant::now();
        Self { epoch, seen: Arc::default(), gate: Arc::new(AtomicBool::new(true)), mute: None, ranges: Vec::new() }
    }

    pub(super) fn closed() -> Self {
        let house = Self::new();
        house.gate.store(false, Ordering::SeqCst);
        house
    }

    fn note(&self, what: impl Into<String>) {
        self.seen.lock().push(what.into());
    }

    fn answer(&self, correlation_id: i32, body: &[u8]) -> Response {
        Response { bytes: frame_of(correlation_id, body), files: Vec::new(), mute: None }
    }

    fn answer_from_files(&self, correlation_id: i32) -> Response {
        let separators = "|".repeat(self.ranges.len().saturating_sub(1));
        let body = format!("<{separators}>");
        let from_files: u32 = self.ranges.iter().map(|range| range.len).sum();
        let mut bytes = BytesMut::from(&frame_of(correlation_id, body.as_bytes())[..]);
        let length = u32::try_from(bytes.len() - 4).unwrap() + from_files;
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        let files = self.ranges.iter().cloned().enumerate().map(|(i, range)| (9 + i, range)).collect();
        Response { bytes: bytes.freeze(), files, mute: None }
    }

    fn later(&self, correlation_id: i32, body: Bytes) -> Reply {
        let house = self.clone();
        Reply::Later(Box::pin(async move {
            while !house.gate.load(Ordering::SeqCst) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            house.note(format!("complete {correlation_id}"));
            LaterReply::Respond(house.answer(correlation_id, &body))
        }))
    }

    fn login(&self, connection: &Connection, correlation_id: i32, token: &[u8]) -> Reply {
        let delay = connection.listener.failed_authentication_delay;
        if token == b"secret" {
            let identity = Identity { principal: KafkaPrincipal::user("alice"), mechanism: None, expires: None };
            *connection.auth.borrow_mut() = AuthState::Authenticated(identity);
            Reply::Now(self.answer(correlation_id, b"welcome"))
        } else {
            *connection.auth.borrow_mut() = AuthState::Failed;
            Reply::CloseAfterFlush { response: self.answer(correlation_id, b"refused"), delay }
        }
    }
}

impl Service for House {
    fn mono(&self) -> Mono {
        Mono::default().plus(self.epoch.elapsed())
    }

    fn order(&self, _: &Connection, key: ApiKey) -> Order {
        match key {
            ApiKey::Metadata | ApiKey::Fetch | ApiKey::ListOffsets | ApiKey::Produce => Order::Overlaps,
            _ => Order::Barrier,
        }
    }

    async fn dispatch(&self, connection: &Rc<Connection>, header: &RequestHeader, body: Bytes) -> Reply {
        let id = header.correlation_id;
        self.note(format!("{} {id}", header.api_key.name()));
        match header.api_key {
            ApiKey::ApiVersions => Reply::Now(self.answer(id, b"\0\0versions")),
            ApiKey::SaslHandshake => {
                let raw = header.api_version == 0;
                *connection.auth.borrow_mut() = AuthState::Sasl { mechanism: "PLAIN".into(), raw };
                Reply::Now(self.answer(id, b"handshake"))
            }
            ApiKey::SaslAuthenticate => self.login(connection, id, &body),
            ApiKey::Metadata => {
                let mut response = self.answer(id, if body.is_empty() { ANSWER } else { &body });
                response.mute = self.mute;
                Reply::Now(response)
            }
            ApiKey::DescribeCluster => {
                let principal = connection.principal().unwrap().to_string();
                Reply::Now(self.answer(id, principal.as_bytes()))
            }
            ApiKey::ListOffsets => Reply::Now(self.answer_from_files(id)),
            ApiKey::Produce => Reply::None,
            ApiKey::Fetch | ApiKey::Heartbeat => self.later(id, body),
            key => Reply::Close(CloseReason::UnknownApi { key }),
        }
    }

    async fn token(&self, connection: &Rc<Connection>, token: Bytes) -> Reply {
        self.note("token");
        match self.login(connection, 0, &token) {
            Reply::Now(mut response) => {
                response.bytes = Bytes::from_static(b"\0\0\0\x02ok");
                Reply::Now(response)
            }
            _ => Reply::Close(CloseReason::Protocol("wrong token")),
        }
    }
}

/// A listener on a free port.
pub(super) fn spec(name: &str, protocol: SecurityProtocol, tls: Option<ServerConfig>) -> ListenerSpec {
    let listener = Listener {
        name: ListenerName::new(name),
        protocol,
        is_controller: false,
        sasl_mechanisms: vec!["PLAIN".into()],
        max_reauth: BTreeMap::new(),
        failed_authentication_delay: Duration::from_millis(50),
    };
    ListenerSpec {
        listener: Arc::new(listener),
        host: "127.0.0.1".to_owned(),
        port: 0,
        tls: tls.map(|config| Arc::new(ArcSwap::from_pointee(config))),
        principal_of: Arc::new(|chain| match chain {
            [] => KafkaPrincipal::anonymous(),
            _ => KafkaPrincipal::user("CN=client"),
        }),
        frame_limits: LIMITS,
        max_idle: Duration::from_secs(600),
        send_buffer_bytes: None,
        receive_buffer_bytes: None,
        backlog: 50,
        bound: std::sync::OnceLock::new(),
    }
}

/// Starts the house behind one listener.
pub(super) fn open(house: &House, spec: ListenerSpec) -> (Network, SocketAddr) {
    open_with(house, spec, BrokerLimits::default())
}

pub(super) fn open_with(house: &House, spec: ListenerSpec, limits: BrokerLimits) -> (Network, SocketAddr) {
    let name = spec.listener.name.clone();
    let quotas =
        ConnectionQuotas::new(limits, [ListenerLimits { name, max_connections: usize::MAX, max_creation_rate: None }]);
    let options = Options { threads: 1, budget: Budget::new(64 << 20), slots: Slots::new(quotas) };
    let network = Network::bind(vec![spec]).unwrap().serve(house, options).unwrap();
    let address = network.bound()[0].address;
    (network, address)
}

/// Length, correlation id, body.
pub(super) fn frame_of(correlation_id: i32, body: &[u8]) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(body.len() + 4).unwrap());
    bytes.put_i32(correlation_id);
    bytes.put_slice(body);
    bytes.freeze()
}

/// Length, header in its older form, body.
pub(super) fn request(key: ApiKey, version: i16, correlation_id: i32, body: &[u8]) -> Bytes {
    let mut header = BytesMut::new();
    header.put_i16(key.number());
    header.put_i16(version);
    header.put_i32(correlation_id);
    header.put_i16(4);
    header.put_slice(b"test");
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(header.len() + body.len()).unwrap());
    bytes.put_slice(&header);
    bytes.put_slice(body);
    bytes.freeze()
}

/// A blocking client that gives up after some seconds.
#[derive(Debug)]
pub(super) struct Client(pub(super) TcpStream);

impl Client {
    pub(super) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// Reads one answer: correlation id and body.
    pub(super) fn answer(&mut self) -> (i32, Vec<u8>) {
        let frame = self.raw();
        let (id, body) = frame.split_first_chunk::<4>().unwrap();
        (i32::from_be_bytes(*id), body.to_vec())
    }

    /// Reads one frame without its length.
    pub(super) fn raw(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap()];
        self.0.read_exact(&mut frame).unwrap();
        frame
    }

    /// The broker closes without another byte.
    pub(super) fn assert_closed(&mut self) {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Ok(_) => assert!(rest.is_empty(), "unexpected bytes: {rest:?}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}"),
        }
    }
}

/// Waits until `done`, on another thread's account.
pub(super) fn eventually(done: impl Fn() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("it did not come to that within ten seconds");
}

/// Gives every other task a turn.
pub(super) async fn turns(count: usize) {
    for _ in 0..count {
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
