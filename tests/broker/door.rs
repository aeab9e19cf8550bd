//! The door of a SASL listener: what passes before a login, what a wrong login is told, and what closes without a word.
//!
//! The outcomes are those of Apache Kafka 4.3.1, recorded with the same bytes; where Schloss is stricter, the line says so.
//! After every case the broker still serves a good login.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::api_versions_request::ApiVersionsRequest;
use schloss::protocol::messages::api_versions_response::ApiVersionsResponse;

use crate::client::Client;
use crate::support::{Broker, free_port, write};

struct House {
    _broker: Broker,
    _dir: tempfile::TempDir,
    sasl: SocketAddr,
}

/// One broker for all cases that run at a time: none of them may harm it. The last one takes it down.
fn house() -> Arc<House> {
    static HOUSE: Mutex<Weak<House>> = Mutex::new(Weak::new());
    let mut known = HOUSE.lock().unwrap();
    known.upgrade().unwrap_or_else(|| {
        let house = Arc::new(House::start());
        *known = Arc::downgrade(&house);
        house
    })
}

impl House {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (clear, sasl) = (free_port(), free_port());
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "broker.id=1\nlisteners=PLAINTEXT://127.0.0.1:{clear},SASL_PLAINTEXT://127.0.0.1:{sasl}\n\
                 inter.broker.listener.name=PLAINTEXT\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\n\
                 listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
                 required user_alice=\"alices-long-password\" user_root=\"roots-long-password\";\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:root\nlog.dirs={}\nconnection.failed.authentication.delay.ms=20\n",
                dir.path().join("data").display()
            ),
        );
        let broker = Broker::start(&["serve", config.to_str().unwrap()], &[]);
        Self { _broker: broker, _dir: dir, sasl: SocketAddr::from(([127, 0, 0, 1], sasl)) }
    }
}

fn connect() -> Client {
    Client::connect(house().sasl)
}

/// A frame of an API with an empty-ish body, its header complete.
fn header(key: i16, version: i16, flexible: bool) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend(4_i16.to_be_bytes());
    frame.extend(b"test");
    if flexible {
        frame.push(0);
    }
    frame
}

#[track_caller]
fn still_serves() {
    let mut client = Client::login(house().sasl, "alice", "alices-long-password");
    assert!(client.metadata(&["t"]).is_ok(), "a good login is not served any more");
}

/// Sends one frame and expects the connection to be closed without an answer.
#[track_caller]
fn closes(frame: &[u8]) {
    let mut client = connect();
    // The peer may close before all of it is sent.
    let _ = client.send_frame(frame);
    assert_eq!(client.closed(), b"", "an answer where none is due");
}

#[test]
fn nothing_but_the_three_apis_passes_before_a_login() {
    let _house = house();
    for key in (-5..=95).chain([9999, i16::MAX]).filter(|key| ![17, 18, 36].contains(key)) {
        for version in [0, 9] {
            closes(&header(key, version, version == 9));
        }
    }
    still_serves();
}

#[test]
fn lengths_that_are_none_close_at_once() {
    let _house = house();
    for length in [-1_i32, i32::MIN, i32::MAX, 524_289, 0] {
        let mut client = connect();
        std::io::Write::write_all(&mut client.stream, &length.to_be_bytes()).unwrap();
        let _ = std::io::Write::write_all(&mut client.stream, &[0; 64]);
        assert_eq!(client.closed(), b"", "length {length}");
    }
    still_serves();
}

#[test]
fn other_protocols_are_closed() {
    let _house = house();
    for greeting in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03"[..]] {
        let mut client = connect();
        std::io::Write::write_all(&mut client.stream, greeting).unwrap();
        assert_eq!(client.closed(), b"");
    }
    still_serves();
}

fn api_versions(name: &str, version: i16) -> std::io::Result<ApiVersionsResponse> {
    let request = ApiVersionsRequest { client_software_name: name.into(), client_software_version: "1".into() };
    connect().ask(ApiKey::ApiVersions, version, &request)
}

#[test]
fn api_versions_is_answered_once_and_checked() {
    let _house = house();
    assert_eq!(api_versions("test", 3).unwrap().error_code, 0);
    assert_eq!(api_versions("a b", 3).unwrap().error_code, 42, "names with blanks are INVALID_REQUEST");

    let mut unknown = connect();
    unknown.send_frame(&header(18, 99, true)).unwrap();
    let answer = unknown.frame().unwrap();
    assert_eq!(answer[4..6], 35_i16.to_be_bytes(), "UNSUPPORTED_VERSION in a body of v0");
    assert_eq!(answer.len(), 16);

    let mut twice = connect();
    let request = ApiVersionsRequest::default();
    let first: ApiVersionsResponse = twice.ask(ApiKey::ApiVersions, 0, &request).unwrap();
    assert_eq!(first.error_code, 0);
    twice.send(ApiKey::ApiVersions, 0, &request).unwrap();
    assert_eq!(twice.closed(), b"", "a second one before the handshake closes");
    still_serves();
}

#[test]
fn hostile_lengths_inside_a_body_close() {
    let _house = house();
    let start = header(18, 3, true);
    for tail in [
        // A string of 2^32-1 bytes, a number that never ends, 2^31-1 tagged fields, tags out of order.
        &b"\xff\xff\xff\xff\x0f"[..],
        &b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..],
        &b"\x02a\x021\xff\xff\xff\xff\x07"[..],
        &b"\x02a\x021\x02\x05\x00\x04\x00"[..],
    ] {
        closes(&[&start, tail].concat());
    }
    still_serves();
}

#[test]
fn a_handshake_knows_its_mechanisms_and_its_place() {
    let _house = house();
    for mechanism in ["SCRAM-SHA-1", "plain", "", "PLAIN "] {
        let mut client = connect();
        let answer = client.handshake(1, mechanism);
        assert_eq!(answer.error_code, 33, "{mechanism:?}");
        let mut offered: Vec<String> = answer.mechanisms.iter().map(ToString::to_string).collect();
        offered.sort();
        assert_eq!(offered, ["PLAIN", "SCRAM-SHA-256"]);
        assert_eq!(client.closed(), b"");
    }
    let mut twice = connect();
    assert_eq!(twice.handshake(1, "PLAIN").error_code, 0);
    assert_eq!(twice.handshake(1, "PLAIN").error_code, 34, "ILLEGAL_SASL_STATE");
    assert_eq!(twice.closed(), b"");
    // Stricter than Kafka, which parses the body first: other APIs close during the exchange.
    let mut other = connect();
    assert_eq!(other.handshake(1, "PLAIN").error_code, 0);
    other.send_frame(&header(3, 9, true)).unwrap();
    assert_eq!(other.closed(), b"");
    closes(&header(17, 7, false));
    still_serves();
}

#[test]
fn plain_is_told_what_kafka_tells() {
    let _house = house();
    const WRONG: &str = "Authentication failed: Invalid username or password";
    for (token, text) in [
        (&b"\0alice\0wrong"[..], WRONG),
        (&b"\0nobody\0alices-long-password"[..], WRONG),
        (&b"\0*\0x"[..], WRONG),
        (
            &b"root\0alice\0alices-long-password"[..],
            "Authentication failed: Client requested an authorization id that is different from username",
        ),
        (&b"\0\0x"[..], "Authentication failed: username not specified"),
        (&b"\0alice\0"[..], "Authentication failed: password not specified"),
    ] {
        let mut client = connect();
        assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
        let answer = client.authenticate(token).unwrap();
        assert_eq!(answer.error_code, 58, "{}", String::from_utf8_lossy(token));
        assert_eq!(answer.error_message.as_deref(), Some(text), "{}", String::from_utf8_lossy(token));
        assert_eq!(client.closed(), b"");
    }
    for token in [&b""[..], &b"\0\0\0\0"[..], &b"\xff\0\xfe\0\xfd"[..], &[0x41; 500 * 1024][..]] {
        let mut client = connect();
        assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
        match client.authenticate(token) {
            Ok(answer) => assert_eq!(answer.error_code, 58),
            // Larger than any frame before a login: closed (stricter than Kafka, which reads and hashes it).
            Err(_) => assert!(token.len() > 64 * 1024),
        }
    }
    still_serves();
}

#[test]
fn tokens_without_headers_log_in_too() {
    let _house = house();
    let mut client = connect();
    assert_eq!(client.handshake(0, "PLAIN").error_code, 0);
    client.send_frame(b"\0alice\0alices-long-password").unwrap();
    assert_eq!(client.frame().unwrap(), b"", "an empty token says yes");
    assert!(client.metadata(&["t"]).is_ok());

    let mut wrong = connect();
    assert_eq!(wrong.handshake(0, "PLAIN").error_code, 0);
    wrong.send_frame(b"\0alice\0wrong").unwrap();
    assert_eq!(wrong.closed(), b"");
    still_serves();
}

#[test]
fn a_login_is_not_taken_twice() {
    let _house = house();
    let mut client = Client::login(house().sasl, "alice", "alices-long-password");
    let answer = client.authenticate(b"\0alice\0alices-long-password").unwrap();
    assert_eq!(answer.error_code, 34);
    still_serves();
}

#[test]
fn scram_refuses_what_is_not_scram() {
    let _house = house();
    for first in [
        &b"n,a=root,n=bob,r=abcdefghijklmnop"[..],
        b"y,,n=bob,r=abcdefghijklmnop",
        b"p=tls-exporter,,n=bob,r=abcdefghijklmnop",
        b"n,,m=ext,n=bob,r=abcdefghijklmnop",
        b"n,,n=bob=,r=abcdefghijklmnop",
        b"n,,n=bob,n=root,r=abcdefghijklmnop",
        b"n,,",
        b"n,,n",
        b"n,,n=x,",
        b"",
        b"\xff\xfe",
    ] {
        let mut client = connect();
        assert_eq!(client.handshake(1, "SCRAM-SHA-256").error_code, 0);
        let answer = client.authenticate(first).unwrap();
        assert_eq!(answer.error_code, 58, "{}", String::from_utf8_lossy(first));
    }
    still_serves();
}

#[test]
fn an_unknown_scram_user_looks_like_a_known_one() {
    let _house = house();
    let challenge = || {
        let mut client = connect();
        assert_eq!(client.handshake(1, "SCRAM-SHA-256").error_code, 0);
        let answer = client.authenticate(b"n,,n=nobody,r=abcdefghijklmnop").unwrap();
        assert_eq!(answer.error_code, 0, "Kafka fails here, and so tells who exists");
        let text = String::from_utf8(answer.auth_bytes.to_vec()).unwrap();
        let parts: Vec<String> = text.split(',').map(ToOwned::to_owned).collect();
        assert!(parts[0].starts_with("r=abcdefghijklmnop") && parts[0].len() >= 18 + 24, "{text}");
        let proof = format!("c=biws,{},p={}", parts[0], "A".repeat(43) + "=");
        let last = client.authenticate(proof.as_bytes()).unwrap();
        assert_eq!(last.error_code, 58);
        assert_eq!(
            last.error_message.as_deref(),
            Some(
                "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
            )
        );
        (parts[0].clone(), parts[1].clone(), parts[2].clone())
    };
    let (one, two) = (challenge(), challenge());
    assert_eq!((&one.1, &one.2), (&two.1, &two.2), "salt and iterations stay the same");
    assert_ne!(one.0, two.0, "nonces do not");
    still_serves();
}
