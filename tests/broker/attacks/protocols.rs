//! The four protocols side by side, every API key in every state before a login, and after one that failed.

use std::io::{Read, Write};
use std::net::SocketAddr;

use rustls::StreamOwned;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::api_versions_request::ApiVersionsRequest;
use schloss::protocol::messages::api_versions_response::ApiVersionsResponse;

use super::{closes, request, tls, world};
use crate::client::Client;

/// What is under the frames.
trait Peer: Read + Write {}
impl<T: Read + Write> Peer for T {}

type AnyClient = Client<Box<dyn Peer>>;

fn connect(address: SocketAddr, over_tls: bool) -> AnyClient {
    let stream = Client::connect(address).stream;
    Client::over(if over_tls { Box::new(StreamOwned::new(tls::connection(world()), stream)) } else { Box::new(stream) })
}

/// The two listeners where a login is asked for.
fn sasl() -> [(SocketAddr, bool); 2] {
    [(world().sasl, false), (world().sasl_tls, true)]
}

/// How far a connection has come.
#[derive(Clone, Copy, Debug)]
enum State {
    Hello,
    Greeted,
    Sasl,
    /// A token was taken, the next one is due.
    MidSasl,
    Failed,
}

impl State {
    const ALL: [Self; 5] = [Self::Hello, Self::Greeted, Self::Sasl, Self::MidSasl, Self::Failed];

    fn reach(self, client: &mut AnyClient) {
        match self {
            Self::Hello => {}
            Self::Greeted => assert_eq!(greet(client), 0),
            Self::Sasl => assert_eq!(client.handshake(1, "PLAIN").error_code, 0),
            Self::MidSasl => {
                assert_eq!(client.handshake(1, "SCRAM-SHA-256").error_code, 0);
                assert_eq!(client.authenticate(b"n,,n=bob,r=fyko+d2lbbFgONRv9qkxdawL").unwrap().error_code, 0);
            }
            Self::Failed => assert_eq!(client.plain("alice", "wrong").error_code, 58),
        }
    }

    /// Keys that have an answer here, whatever it says.
    fn answers(self) -> &'static [i16] {
        match self {
            Self::Hello => &[17, 18],
            Self::Greeted => &[17],
            Self::Sasl | Self::MidSasl => &[17, 18, 36],
            Self::Failed => &[],
        }
    }
}

fn greet(client: &mut AnyClient) -> i16 {
    let software = ApiVersionsRequest { client_software_name: "a".into(), client_software_version: "1".into() };
    let answer: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, 3, &software).unwrap();
    answer.error_code
}

/// All that is served without a login are the three that lead to one.
#[test]
fn every_key_in_every_state() {
    let world = world();
    for (address, over_tls) in sasl() {
        for state in State::ALL {
            // All at once: a refusal is told after a delay.
            let keys = (-1..=95).filter(|key| !state.answers().contains(key));
            let versions = [(0, false), (9, true)];
            let mut asked: Vec<_> = keys
                .flat_map(|key| versions.map(|version| (key, version)))
                .map(|(key, version)| {
                    let mut client = connect(address, over_tls);
                    if !matches!(state, State::Failed) {
                        state.reach(&mut client);
                    }
                    (key, version, client)
                })
                .collect();
            for (key, (version, flexible), client) in &mut asked {
                if matches!(state, State::Failed) {
                    // The wrong login and what comes behind it in one go, before the broker closes.
                    assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
                    let mut token = b"\x0d\0alice\0wrong".to_vec();
                    token.push(0);
                    client.send_frame(&request(36, 2, true, &token)).unwrap();
                }
                client.send_frame(&request(*key, *version, *flexible, &[0; 16])).unwrap();
            }
            for (key, _, client) in &mut asked {
                let answers = usize::from(matches!(state, State::Failed));
                let mut rest = client.closed();
                for _ in 0..answers {
                    let length = usize::try_from(u32::from_be_bytes(rest[..4].try_into().unwrap())).unwrap();
                    // Correlation id, no tagged fields, 58.
                    assert_eq!(rest[4..11], [0, 0, 0, 7, 0, 0, 58]);
                    rest.drain(..4 + length);
                }
                assert!(rest.is_empty(), "key {key}, {state:?}: closed, but with an answer");
            }
        }
    }
    world.still_serves();
}

#[test]
fn a_login_on_both() {
    for (address, over_tls) in sasl() {
        let mut client = connect(address, over_tls);
        State::Greeted.reach(&mut client);
        assert_eq!(client.plain("alice", "alice-of-tests").error_code, 0);
        assert_eq!(client.metadata(&[]).unwrap().error_code, 0);
        assert_eq!(client.authenticate(b"\0admin\0admin-of-tests").unwrap().error_code, 34, "case 70");
        assert_eq!(client.metadata(&[]).unwrap().error_code, 0, "still alice's, still open");
    }
}

/// Lengths that lie, on every listener: cases 5 to 7 and 19.
#[test]
fn lengths_that_lie() {
    let world = world();
    for (address, over_tls, largest) in [
        (world.clear, false, 104_857_600),
        (world.tls, true, 104_857_600),
        (world.sasl, false, 524_288),
        (world.sasl_tls, true, 524_288),
    ] {
        for length in [-1, i32::MIN, i32::MAX, largest + 1, 0] {
            let mut client = connect(address, over_tls);
            client.stream.write_all(&length.to_be_bytes()).unwrap();
            client.stream.flush().unwrap();
            closes_over(&mut client, &format!("length {length} on {address}"));
        }
    }
    world.still_serves();
}

#[track_caller]
fn closes_over(client: &mut AnyClient, what: &str) {
    assert_eq!(client.closed(), b"", "{what}: closed, but with an answer");
}

/// A listener without logins knows nobody, and nobody becomes somebody there.
#[test]
fn there_is_no_login_where_none_is_asked_for() {
    let world = world();
    for (address, over_tls) in [(world.clear, false), (world.tls, true)] {
        let mut client = connect(address, over_tls);
        assert_eq!(client.handshake(1, "PLAIN").error_code, 34);
        assert_eq!(client.authenticate(b"\0admin\0admin-of-tests").unwrap().error_code, 34);
        assert_eq!(super::create_topic(&mut client, "nobodys"), 29, "ANONYMOUS may create nothing");
    }
    let mut client = Client::connect(world.sasl);
    client.send_frame(&request(19, 7, true, b"\x01\0\0\0\0\0\0")).unwrap();
    closes(&mut client, "CreateTopics before a login");
    world.still_serves();
}
