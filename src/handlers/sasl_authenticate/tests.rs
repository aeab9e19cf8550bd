//! Logins through the handlers. Answers are the bytes that Apache Kafka 4.3.1 gave to the same requests.

use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::future::BoxFuture;

use super::*;
use crate::config::{BrokerConfig, Sources};
use crate::controller::{ControllerError, ControllerRequest, ControllerResponse};
use crate::handlers::connection::{ClientSoftware, Listener};
use crate::handlers::context::ControllerClient;
use crate::handlers::{dispatch, sasl_handshake};
use crate::metadata::image::MetadataImage;
use crate::model::broker::BrokerId;
use crate::model::listener::{ListenerName, SecurityProtocol};
use crate::model::secret::Secret;
use crate::model::time::{Clock, Mono, Wall};
use crate::protocol::header::RequestHeader;
use crate::replica::manager::ReplicaManager;
use crate::security::authorizer::open::OpenAuthorizer;
use crate::security::credentials::{PlainUsers, ScramCredentials};
use crate::security::password::hash_password;
use crate::security::sasl::session::Environment;
use crate::security::verifier::{FailureDelay, ListenerLogins, Logins, Verifier};

#[derive(Debug, Default)]
struct Hand(AtomicU64);

impl Clock for Hand {
    fn mono(&self) -> Mono {
        Mono(self.0.load(Ordering::Relaxed))
    }

    fn wall(&self) -> Wall {
        Wall(0)
    }
}

#[derive(Debug)]
struct NoIds;

impl crate::handlers::context::ProducerIds for NoIds {
    fn next(&self) -> Option<crate::model::producer::ProducerId> {
        None
    }
}

#[derive(Debug)]
struct NoController;

impl ControllerClient for NoController {
    fn submit(&self, _: ControllerRequest) -> BoxFuture<'static, Result<ControllerResponse, ControllerError>> {
        Box::pin(std::future::ready(Err(ControllerError::NotActive)))
    }
}

fn config() -> BrokerConfig {
    let text = "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
                controller.quorum.voters=1@localhost:2\nlisteners=PLAINTEXT://:1,CONTROLLER://:2";
    let pairs = text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
    BrokerConfig::load(Sources { overrides: pairs.collect(), ..Sources::default() }).unwrap().config
}

struct House {
    broker: Arc<Broker>,
    clock: Arc<Hand>,
    listener: Arc<Listener>,
}

fn house(max_reauth: Duration) -> House {
    let name = ListenerName::new("SASL_PLAINTEXT");
    let clock = Arc::new(Hand(AtomicU64::new(100_000_000_000)));
    let hash = Secret::new(hash_password(&Secret::new("hashed-secret")).unwrap());
    let users = [("alice", Secret::new("alice-secret")), ("bob", Secret::new("bob-secret")), ("hashed", hash)];
    let users = PlainUsers::new(users.iter().map(|(n, p)| (*n, p))).unwrap();
    let scram = Arc::new(ScramCredentials::new(&[5; 32]));
    let environment = Environment { scram, accept_doubled_nonce: true };
    let logins = ListenerLogins::new(SaslMechanism::ALL.to_vec(), Arc::new(users), environment).unwrap();
    let verifier = Verifier::new(1, FailureDelay::Fixed(Duration::from_millis(100)));
    let broker = Broker {
        node_id: BrokerId(1),
        cluster_id: "c".into(),
        settings: crate::handlers::context::Settings {
            strict: true,
            auto_create_topics: false,
            delete_topics: true,
            max_partitions_per_page: 2000,
        },
        image: Arc::new(arc_swap::ArcSwap::from_pointee(MetadataImage::default())),
        authorizer: Arc::new(OpenAuthorizer),
        replicas: Arc::new(ReplicaManager::new(BrokerId(1), Vec::new(), 0, Arc::clone(&clock) as Arc<dyn Clock>)),
        controller: Arc::new(NoController),
        config: Arc::new(config()),
        logins: Arc::new(Logins::new(verifier, [(name.clone(), logins)])),
        certificates: Arc::default(),
        producer_ids: Arc::new(NoIds),
        producer_lines: Default::default(),
        groups: Arc::new(crate::handlers::context::NoGroups),
        group_topic_lines: Default::default(),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
    };
    let listener = Listener {
        name,
        protocol: SecurityProtocol::SaslPlaintext,
        is_controller: false,
        sasl_mechanisms: ["PLAIN", "SCRAM-SHA-512", "SCRAM-SHA-256"].map(Into::into).to_vec(),
        max_reauth: SaslMechanism::ALL.map(|mechanism| (mechanism.name().into(), max_reauth)).into(),
        failed_authentication_delay: Duration::from_millis(100),
    };
    House { broker: Arc::new(broker), clock, listener: Arc::new(listener) }
}

impl House {
    fn connect(&self) -> Rc<Connection> {
        Rc::new(Connection {
            id: 1,
            listener: Arc::clone(&self.listener),
            peer: "127.0.0.1:5000".parse().unwrap(),
            host: "127.0.0.1".into(),
            auth: RefCell::new(AuthState::Hello),
            sasl: RefCell::default(),
            renewed: Cell::default(),
            software: RefCell::new(ClientSoftware::default()),
            greeted: Cell::new(false),
            writes: RefCell::default(),
        })
    }

    /// What follows the length and correlation id (the header of a flexible answer has one more byte).
    async fn ask(&self, connection: &Rc<Connection>, key: ApiKey, version: i16, body: &[u8]) -> Answer {
        let header = RequestHeader { api_key: key, api_version: version, correlation_id: 2, client_id: None };
        let context = RequestContext { broker: &self.broker, connection, header: &header };
        Answer::of(dispatch(&context, Bytes::copy_from_slice(body)).await)
    }

    async fn handshake(&self, connection: &Rc<Connection>, version: i16, mechanism: &str) -> Answer {
        let length = u8::try_from(mechanism.len()).unwrap();
        self.ask(connection, ApiKey::SaslHandshake, version, &[&[0, length], mechanism.as_bytes()].concat()).await
    }

    async fn authenticate(&self, connection: &Rc<Connection>, token: &str) -> Answer {
        let length = u8::try_from(token.len()).unwrap();
        self.ask(connection, ApiKey::SaslAuthenticate, 1, &[&[0, 0, 0, length], token.as_bytes()].concat()).await
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    Stays(Vec<u8>),
    Closes(Vec<u8>, Duration),
    Dropped,
}

impl Answer {
    fn of(reply: Reply) -> Self {
        let body = |response: Response| response.bytes.get(8..).unwrap_or_default().to_vec();
        match reply {
            Reply::Now(response) => Self::Stays(body(response)),
            Reply::CloseAfterFlush { response, delay } => Self::Closes(body(response), delay),
            Reply::Close(_) => Self::Dropped,
            other => panic!("{other:?}"),
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(test);
}

const LIST: &[u8] = b"\0\0\0\x03\0\x05PLAIN\0\x0dSCRAM-SHA-512\0\x0dSCRAM-SHA-256";
const DONE: &[u8] = b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const DELAY: Duration = Duration::from_millis(100);

fn principal(connection: &Connection) -> Option<String> {
    connection.principal().map(|p| p.to_string())
}

fn failed(text: &str) -> Vec<u8> {
    [&[0, 58, 0, u8::try_from(text.len()).unwrap()], text.as_bytes(), &[0; 12]].concat()
}

#[test]
fn a_right_password_logs_in_and_a_second_login_is_out_of_order() {
    run(async {
        let (house, late) = (house(Duration::ZERO), AFTER_SUCCESS.as_bytes());
        let connection = house.connect();
        assert_eq!(house.handshake(&connection, 1, "PLAIN").await, Answer::Stays([&[0, 0], LIST].concat()));
        assert_eq!(principal(&connection), None);
        assert_eq!(house.authenticate(&connection, "\0alice\0alice-secret").await, Answer::Stays(DONE.to_vec()));
        assert_eq!(principal(&connection).as_deref(), Some("User:alice"));
        let again = [&[0, 34, 0, u8::try_from(late.len()).unwrap()], late, &[0; 12]].concat();
        assert_eq!(house.authenticate(&connection, "\0bob\0bob-secret").await, Answer::Stays(again));
        assert_eq!(house.handshake(&connection, 1, "PLAIN").await, Answer::Stays(b"\0\x22\0\0\0\0".to_vec()));
        assert_eq!(house.handshake(&connection, 1, "NOPE").await, Answer::Stays(b"\0\x22\0\0\0\0".to_vec()));
        assert_eq!(principal(&connection).as_deref(), Some("User:alice"));
    });
}

#[test]
fn a_refusal_has_kafkas_text_and_ends_the_connection() {
    run(async {
        let house = house(Duration::ZERO);
        for (token, text) in [
            ("\0alice\0wrong", "Authentication failed: Invalid username or password"),
            ("\0nobody\0wrong", "Authentication failed: Invalid username or password"),
            ("\0hashed\0wrong", "Authentication failed: Invalid username or password"),
            ("", "Invalid SASL/PLAIN response: expected 3 tokens, got 1"),
        ] {
            let connection = house.connect();
            house.handshake(&connection, 1, "PLAIN").await;
            assert_eq!(house.authenticate(&connection, token).await, Answer::Closes(failed(text), DELAY), "{token:?}");
            assert!(matches!(&*connection.auth.borrow(), AuthState::Failed));
            assert_eq!(principal(&connection), None);
            // Whatever comes after it, nothing is stepped any more.
            assert_eq!(house.authenticate(&connection, "\0alice\0alice-secret").await, Answer::Dropped);
        }
        let connection = house.connect();
        house.handshake(&connection, 1, "SCRAM-SHA-256").await;
        let Answer::Stays(first) = house.authenticate(&connection, "n,,n=nobody,r=abc").await else { panic!() };
        assert!(first.starts_with(b"\0\0\0\0"), "{first:?}");
        let text =
            "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";
        assert_eq!(house.authenticate(&connection, "c=biws,r=abc,p=AAAA").await, Answer::Closes(failed(text), DELAY));
    });
}

#[test]
fn an_unknown_mechanism_is_answered_with_the_list() {
    run(async {
        let house = house(Duration::ZERO);
        for (version, mechanism) in [(1, "SCRAM-SHA-1"), (1, "plain"), (0, "plain")] {
            let connection = house.connect();
            let expected = Answer::Closes([&[0, 33], LIST].concat(), Duration::ZERO);
            assert_eq!(house.handshake(&connection, version, mechanism).await, expected);
            assert!(matches!(&*connection.auth.borrow(), AuthState::Failed));
        }
        let connection = house.connect();
        assert_eq!(house.handshake(&connection, 7, "PLAIN").await, Answer::Dropped);
        assert_eq!(house.authenticate(&connection, "\0alice\0alice-secret").await, Answer::Dropped, "no handshake");
    });
}

#[test]
fn hashed_passwords_are_checked_off_the_thread() {
    run(async {
        let house = house(Duration::ZERO);
        for _ in 0..2 {
            let connection = house.connect();
            house.handshake(&connection, 1, "PLAIN").await;
            assert_eq!(house.authenticate(&connection, "\0hashed\0hashed-secret").await, Answer::Stays(DONE.to_vec()));
            assert_eq!(principal(&connection).as_deref(), Some("User:hashed"));
        }
    });
}

#[test]
fn raw_tokens_log_in_without_headers() {
    run(async {
        let house = house(Duration::ZERO);
        let connection = house.connect();
        house.handshake(&connection, 0, "PLAIN").await;
        assert!(matches!(&*connection.auth.borrow(), AuthState::Sasl { raw: true, .. }));
        let reply = raw_token(&house.broker, &connection, Bytes::from_static(b"\0alice\0alice-secret")).await;
        let Reply::Now(response) = reply else { panic!("{reply:?}") };
        assert_eq!(&*response.bytes, &[0; 4]);
        assert_eq!(principal(&connection).as_deref(), Some("User:alice"));
        let connection = house.connect();
        house.handshake(&connection, 0, "PLAIN").await;
        let reply = raw_token(&house.broker, &connection, Bytes::from_static(b"\0alice\0wrong")).await;
        let Reply::CloseAfterFlush { response, delay } = reply else { panic!("{reply:?}") };
        assert!(response.bytes.is_empty() && delay == DELAY);
    });
}

#[test]
fn a_session_is_renewed_by_the_same_user_only() {
    run(async {
        let house = house(Duration::from_secs(60));
        let connection = house.connect();
        house.handshake(&connection, 1, "PLAIN").await;
        let lifetime = [&[0; 8][..], &60_000_i64.to_be_bytes()].concat();
        assert_eq!(house.authenticate(&connection, "\0alice\0alice-secret").await, Answer::Stays(lifetime.clone()));
        let expires = || match &*connection.auth.borrow() {
            AuthState::Authenticated(identity) => identity.expires,
            other => panic!("{other:?}"),
        };
        assert_eq!(expires(), Some(Mono(160_000_000_000)));
        // The first time at once, as in Kafka; the second time not within a second.
        for wait in [0, 30_000_000_000] {
            house.clock.0.fetch_add(wait, Ordering::Relaxed);
            assert_eq!(house.handshake(&connection, 1, "PLAIN").await, Answer::Stays([&[0, 0], LIST].concat()));
            let again = house.authenticate(&connection, "\0alice\0alice-secret").await;
            assert_eq!(again, Answer::Stays(lifetime.clone()));
            assert_eq!(expires(), Some(Mono(160_000_000_000 + wait)));
            assert_eq!(house.handshake(&connection, 1, "PLAIN").await, Answer::Stays(b"\0\x22\0\0\0\0".to_vec()));
        }
        // Long after the end it is still a new login that is asked for, and one is enough.
        house.clock.0.fetch_add(600_000_000_000, Ordering::Relaxed);
        assert_eq!(house.handshake(&connection, 1, "PLAIN").await, Answer::Stays([&[0, 0], LIST].concat()));
        assert_eq!(house.authenticate(&connection, "\0alice\0alice-secret").await, Answer::Stays(lifetime));
    });
}

/// Shorter sessions than Kafka's least interval between two renewals can't be renewed twice.
#[test]
fn a_session_that_ends_within_a_second_of_its_renewal_is_lost() {
    run(async {
        let house = house(Duration::from_millis(300));
        let connection = house.connect();
        house.handshake(&connection, 1, "PLAIN").await;
        house.authenticate(&connection, "\0alice\0alice-secret").await;
        house.handshake(&connection, 1, "PLAIN").await;
        house.authenticate(&connection, "\0alice\0alice-secret").await;
        house.clock.0.fetch_add(200_000_000, Ordering::Relaxed);
        assert_eq!(house.handshake(&connection, 1, "PLAIN").await, Answer::Stays(b"\0\x22\0\0\0\0".to_vec()));
        house.clock.0.fetch_add(200_000_000, Ordering::Relaxed);
        assert_eq!(house.handshake(&connection, 1, "PLAIN").await, Answer::Dropped);
    });
}

#[test]
fn a_new_login_changes_neither_user_nor_mechanism() {
    run(async {
        let house = house(Duration::from_secs(60));
        let text = "Cannot change principals during re-authentication from User.alice: User.bob";
        for (mechanism, told) in [("PLAIN", failed(text)), ("SCRAM-SHA-256", Vec::new())] {
            let connection = house.connect();
            house.handshake(&connection, 1, "PLAIN").await;
            house.authenticate(&connection, "\0alice\0alice-secret").await;
            house.clock.0.fetch_add(2_000_000_000, Ordering::Relaxed);
            house.handshake(&connection, 1, mechanism).await;
            assert_eq!(house.authenticate(&connection, "\0bob\0bob-secret").await, Answer::Closes(told, DELAY));
            assert_eq!(principal(&connection), None);
        }
        let connection = house.connect();
        house.handshake(&connection, 1, "PLAIN").await;
        house.authenticate(&connection, "\0alice\0alice-secret").await;
        assert_eq!(house.handshake(&connection, 1, "NOPE").await, Answer::Closes(Vec::new(), Duration::ZERO));
        assert_eq!(principal(&connection), None);
    });
}

#[test]
fn sasl_requests_are_barriers_and_pass_before_authentication() {
    for spec in [&sasl_handshake::SPEC, &SPEC] {
        assert!(spec.before_authentication && spec.order == Order::Barrier);
    }
}

#[derive(Clone, Default)]
struct Lines(Arc<parking_lot::Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn the_operators_line_names_user_cause_and_fix_and_no_secret() {
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).with_ansi(false).finish();
    // While there is one subscriber only, tracing lets other tests' threads switch a line off for this one.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    tracing::subscriber::with_default(subscriber, || {
        run(async {
            let house = house(Duration::ZERO);
            for token in
                ["\0alice\0canary-1", "\0nobody\nINFO forged\0canary-2", "\0b\u{1b}[31mob\0canary-3", "canary-4"]
            {
                let connection = house.connect();
                house.handshake(&connection, 1, "PLAIN").await;
                house.authenticate(&connection, token).await;
            }
            house.handshake(&house.connect(), 1, "NOPE\n\u{1b}").await;
        });
    });
    let text = String::from_utf8(lines.0.lock().clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 5, "one line each: {text}");
    let expected = "Failed authentication with /127.0.0.1 (channelId=1) (Authentication failed: Invalid username or password) \
                    user=alice listener=SASL_PLAINTEXT mechanism=PLAIN cause: wrong password; fix: correct the password";
    assert!(lines[0].contains(expected), "{}", lines[0]);
    assert!(lines[0].contains("org.apache.kafka.common.network.Selector"), "{}", lines[0]);
    assert!(lines[1].contains("user=nobody\\nINFO forged "), "{}", lines[1]);
    assert!(!text.contains("canary") && !text.contains('\u{1b}'), "{text}");
    assert!(
        lines[4].contains("SASL mechanism 'NOPE\\n\\u{1b}'") && lines[4].contains("PLAIN, SCRAM-SHA-512"),
        "{}",
        lines[4]
    );
}
