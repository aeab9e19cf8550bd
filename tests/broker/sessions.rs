//! SASL sessions that end (KIP-368, `connections.max.reauth.ms`): a connection goes on only by a new login of the same user.

use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::fetch_request::{FetchPartition, FetchRequest, FetchTopic};
use schloss::protocol::messages::fetch_response::FetchResponse;
use schloss::protocol::messages::metadata_request::MetadataRequest;
use schloss::protocol::messages::metadata_response::MetadataResponse;
use schloss::protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use schloss::protocol::messages::sasl_authenticate_response::SaslAuthenticateResponse;
use schloss::protocol::messages::sasl_handshake_request::SaslHandshakeRequest;
use schloss::protocol::messages::sasl_handshake_response::SaslHandshakeResponse;
use schloss::protocol::wire::{Message as _, Reader};

use crate::client::Client;
use crate::support::{Broker, free_port, schloss, write};

/// Short enough to wait for, and long enough that what follows a login is served within it.
const LIFE: Duration = Duration::from_secs(3);

struct House {
    broker: Broker,
    /// The node's own lifetime.
    short: SocketAddr,
    /// A listener with a lifetime of its own.
    long: SocketAddr,
    _dir: tempfile::TempDir,
}

impl House {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [short, long, controller] = [(); 3].map(|()| free_port());
        let config = dir.path().join("server.properties");
        let module = "org.apache.kafka.common.security.plain.PlainLoginModule required \
                      user_alice=\"alice-of-tests\" user_bob=\"bob-of-tests\"";
        write(
            &config,
            &format!(
                "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
                 controller.listener.names=CONTROLLER\n\
                 listeners=SHORT://127.0.0.1:{short},LONG://127.0.0.1:{long},CONTROLLER://127.0.0.1:{controller}\n\
                 listener.security.protocol.map=SHORT:SASL_PLAINTEXT,LONG:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
                 inter.broker.listener.name=SHORT\nsasl.mechanism.inter.broker.protocol=PLAIN\n\
                 sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\nconnections.max.reauth.ms={life}\n\
                 listener.name.long.connections.max.reauth.ms=0\n\
                 listener.name.long.plain.connections.max.reauth.ms=3600000\n\
                 listener.name.short.plain.sasl.jaas.config={module} username=\"alice\" password=\"alice-of-tests\";\n\
                 listener.name.long.plain.sasl.jaas.config={module};\n\
                 listener.name.short.scram-sha-256.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 listener.name.long.scram-sha-256.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 log.dirs={data}\n",
                life = LIFE.as_millis(),
                data = dir.path().join("data").display(),
            ),
        );
        let config = config.to_str().unwrap();
        schloss(&["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config]).expect(0, "");
        let broker = Broker::start(&["serve", config], &[]);
        let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { broker, short: local(short), long: local(long), _dir: dir }
    }
}

fn log_in(client: &mut Client, user: &str) -> SaslAuthenticateResponse {
    client.plain(user, &format!("{user}-of-tests"))
}

fn let_it_expire() {
    thread::sleep(LIFE + Duration::from_millis(50));
}

#[test]
fn a_session_ends_and_only_a_new_login_of_the_same_user_goes_on() {
    let house = House::start();
    let mut long = Client::connect(house.long);
    assert_eq!(log_in(&mut long, "alice").session_lifetime_ms, 3_600_000);

    let mut client = Client::connect(house.short);
    let lifetime = i64::try_from(LIFE.as_millis()).unwrap();
    assert_eq!(log_in(&mut client, "alice").session_lifetime_ms, lifetime);
    client.metadata(&[]).unwrap();
    let mut forgetful = Client::login(house.short, "alice", "alice-of-tests");
    let mut other = Client::login(house.short, "alice", "alice-of-tests");
    // A client of the days before sessions ended: it is not told, and its session ends all the same.
    let mut old = Client::connect(house.short);
    old.handshake(1, "PLAIN");
    let token = SaslAuthenticateRequest { auth_bytes: Bytes::from_static(b"\0alice\0alice-of-tests") };
    let answer: SaslAuthenticateResponse = old.ask(ApiKey::SaslAuthenticate, 0, &token).unwrap();
    assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0));
    for _ in 0..2 {
        let_it_expire();
        // Late is not too late.
        assert_eq!(log_in(&mut client, "alice").session_lifetime_ms, lifetime);
        client.metadata(&[]).unwrap();
    }

    for client in [&mut forgetful, &mut old] {
        assert!(client.metadata(&[]).is_err(), "served after the end of its session");
    }
    for part in [
        "listener SHORT",
        "the session of user=alice",
        "by PLAIN has expired after connections.max.reauth.ms=3000 and the client did not log in again; fix: ",
        "listener.name.short.plain.connections.max.reauth.ms",
    ] {
        house.broker.wait_for_line(part);
    }
    // Both of them, and one line a minute about one address.
    assert_eq!(house.broker.output().matches("has expired").count(), 1, "{}", house.broker.output());

    other.handshake(1, "PLAIN");
    let refused = other.authenticate(b"\0bob\0bob-of-tests").unwrap();
    assert_eq!(refused.error_code, 58);
    let text = "Cannot change principals during re-authentication from User.alice: User.bob";
    assert_eq!(refused.error_message.as_deref(), Some(text));
    assert_eq!(other.closed(), b"", "nothing passes after it");
    house.broker.wait_for_line(text);

    long.metadata(&[]).unwrap();
}

#[test]
fn what_was_asked_in_time_is_answered_after_the_end() {
    let house = House::start();
    let mut client = Client::login(house.short, "alice", "alice-of-tests");
    let topic =
        CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..CreatableTopic::default() };
    let create = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..CreateTopicsRequest::default() };
    let created: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &create).unwrap();
    let id = created.topics[0].topic_id;
    let fetch = FetchRequest {
        max_wait_ms: i32::try_from(LIFE.as_millis()).unwrap() + 500,
        min_bytes: 1,
        max_bytes: 1 << 20,
        topics: vec![FetchTopic {
            topic_id: id,
            partitions: vec![FetchPartition { partition_max_bytes: 1 << 20, ..FetchPartition::default() }],
            ..FetchTopic::default()
        }],
        ..FetchRequest::default()
    };
    let answer: FetchResponse = client.ask(ApiKey::Fetch, 13, &fetch).unwrap();
    assert_eq!((answer.error_code, answer.responses[0].partitions[0].error_code), (0, 0), "{answer:?}");
    assert!(client.metadata(&[]).is_err(), "served after the end of its session");
}

/// A renewal, and requests right behind it that do not wait for its answers.
#[test]
fn requests_behind_a_renewal_wait_for_it_or_die_with_it() {
    let house = House::start();
    for (token, works) in [(&b"\0alice\0alice-of-tests"[..], true), (b"\0alice\0wrong", false)] {
        let mut client = Client::login(house.short, "alice", "alice-of-tests");
        let handshake = SaslHandshakeRequest { mechanism: "PLAIN".into() };
        let token = SaslAuthenticateRequest { auth_bytes: Bytes::copy_from_slice(token) };
        client.send(ApiKey::SaslHandshake, 1, &handshake).unwrap();
        client.send(ApiKey::SaslAuthenticate, 2, &token).unwrap();
        client.send(ApiKey::Metadata, 12, &MetadataRequest::default()).unwrap();
        let (_, body) = client.receive(ApiKey::SaslHandshake, 1).unwrap();
        assert_eq!(SaslHandshakeResponse::decode(&mut Reader::new(body), 1).unwrap().error_code, 0);
        let (_, body) = client.receive(ApiKey::SaslAuthenticate, 2).unwrap();
        let answer = SaslAuthenticateResponse::decode(&mut Reader::new(body), 2).unwrap();
        assert_eq!(answer.error_code, if works { 0 } else { 58 });
        if works {
            let (_, body) = client.receive(ApiKey::Metadata, 12).unwrap();
            assert_eq!(MetadataResponse::decode(&mut Reader::new(body), 12).unwrap().brokers.len(), 1);
        } else {
            assert_eq!(client.closed(), b"");
        }
    }
    // Before the token, nothing else has a place.
    let mut client = Client::login(house.short, "alice", "alice-of-tests");
    client.handshake(1, "PLAIN");
    assert!(client.metadata(&[]).is_err());
}
