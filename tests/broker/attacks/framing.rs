//! Lengths, headers, and requests out of order, before a login.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::api_versions_request::ApiVersionsRequest;
use schloss::protocol::messages::api_versions_response::ApiVersionsResponse;

use super::{closes, closes_on, closes_on_frame, request, world, worlds};
use crate::client::Client;

const API_VERSIONS: i16 = 18;
/// Software name and version, compact, and no tagged fields.
const SOFTWARE: &[u8] = b"\x02a\x021";

#[test]
fn what_may_not_come_first() {
    for world in worlds() {
        for (case, key, version, flexible) in [
            (1, 3, 12, true),
            (2, 0, 9, true),
            (3, 9999, 0, false),
            (3, 32_767, 0, false),
            (4, -5, 0, false),
            (19, 17, 7, false),
        ] {
            closes_on_frame(world.sasl, &request(key, version, flexible, b"\0\0"), &format!("case {case}, key {key}"));
        }
        world.still_serves();
    }
}

#[test]
fn lengths_that_lie() {
    for world in worlds() {
        for (case, length, body) in [(5, -1, 0), (5, i32::MIN, 0), (6, i32::MAX, 100), (7, 524_289, 0), (19, 0, 0)] {
            let bytes = [&length.to_be_bytes()[..], &vec![0; body]].concat();
            closes_on(world.sasl, &bytes, &format!("case {case}, length {length}"));
        }
        world.still_serves();
    }
}

/// Cases 8 and 9: what is declared takes no memory before it comes. (That it ends at the deadline is tested with a clock that
/// can be moved, in `network`.)
#[test]
fn a_declared_length_takes_no_memory() {
    let world = world();
    world.still_serves();
    let before = world.resident_kib();
    let held: Vec<_> = (0..400)
        .map(|_| {
            let mut client = Client::connect(world.sasl);
            client.stream.write_all(&524_288_i32.to_be_bytes()).unwrap();
            client.stream.write_all(b"\0").unwrap();
            client
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let grown = world.resident_kib().saturating_sub(before);
    // Kafka would hold 200 MiB. Other tests use the same broker, so the bound is not 16 KiB each.
    assert!(grown < 40 * 1024, "{grown} KiB for {} connections", held.len());
    for client in &held {
        client.stream.set_nonblocking(true).unwrap();
        let error = client.stream.peek(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "closed too early");
    }
    drop(held);
    world.still_serves();
}

#[test]
fn api_versions_with_a_bad_body() {
    for world in worlds() {
        let spaced = ApiVersionsRequest { client_software_name: "a b".into(), client_software_version: "1".into() };
        let answer: ApiVersionsResponse = Client::connect(world.sasl).ask(ApiKey::ApiVersions, 3, &spaced).unwrap();
        assert_eq!(answer.error_code, 42, "case 10");

        for (case, body) in [
            (11, b"\xff\xff\xff\xff\x0f".to_vec()),
            (12, [SOFTWARE, b"\xff\xff\xff\xff\x07"].concat()),
            (13, [SOFTWARE, b"\x02\x05\0\x05\0"].concat()),
            (13, [SOFTWARE, b"\x02\x05\0\x04\0"].concat()),
            (14, vec![0x80; 11]),
        ] {
            closes_on_frame(world.sasl, &request(API_VERSIONS, 3, true, &body), &format!("case {case}"));
        }
        let mut client = Client::connect(world.sasl);
        client.send_frame(&request(API_VERSIONS, 3, true, &[SOFTWARE, b"\x02\x04\0\x05\0"].concat())).unwrap();
        assert_eq!(client.frame().unwrap()[..6], [0, 0, 0, 7, 0, 0], "unknown fields in their order are skipped");
        world.still_serves();
    }
}

#[test]
fn api_versions_of_a_later_time() {
    for world in worlds() {
        let mut client = Client::connect(world.sasl);
        client.send_frame(&request(API_VERSIONS, 99, true, b"anything")).unwrap();
        let answer = client.frame().unwrap();
        assert_eq!(answer, b"\0\0\0\x07\0\x23\0\0\0\x01\0\x12\0\0\0\x04", "case 15: 35 in the body of version 0");
        closes_on_frame(world.sasl, &request(API_VERSIONS, 99, false, b""), "case 15, header without tagged fields");
        world.still_serves();
    }
}

#[test]
fn requests_out_of_order() {
    for world in worlds() {
        let mut client = Client::connect(world.sasl);
        client.send_frame(&request(API_VERSIONS, 0, false, b"")).unwrap();
        assert_eq!(client.frame().unwrap()[4..6], [0, 0]);
        client.send_frame(&request(API_VERSIONS, 0, false, b"")).unwrap();
        closes(&mut client, "case 16");

        for mechanism in ["SCRAM-SHA-1", "plain", "PLAIN ", ""] {
            let mut client = Client::connect(world.sasl);
            let answer = client.handshake(1, mechanism);
            assert_eq!(answer.error_code, 33, "cases 17 and 18: {mechanism}");
            let mut offered: Vec<_> = answer.mechanisms.iter().map(ToString::to_string).collect();
            offered.sort();
            assert_eq!(offered, ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]);
            closes(&mut client, mechanism);
        }

        let mut client = Client::connect(world.sasl);
        assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
        assert_eq!(client.handshake(1, "PLAIN").error_code, 34, "case 20");
        closes(&mut client, "case 20");

        let mut client = Client::connect(world.sasl);
        assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
        let versions = ApiVersionsRequest { client_software_name: "a".into(), client_software_version: "1".into() };
        let answer: ApiVersionsResponse = client.ask(ApiKey::ApiVersions, 3, &versions).unwrap();
        assert_eq!(answer.error_code, 34, "case 20: ApiVersions in the login");

        for body in [&b"\x01\0\0\0"[..], b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"] {
            let mut client = Client::connect(world.sasl);
            assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
            client.send_frame(&request(3, 12, true, body)).unwrap();
            closes(&mut client, "case 20: Metadata in the login, whatever its body");
        }
        world.still_serves();
    }
}

/// Case 19.
#[test]
fn another_protocol() {
    for world in worlds() {
        let hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        let get = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
        for listener in [world.clear, world.sasl] {
            closes_on(listener, get, "HTTP");
            closes_on(listener, hello, "a ClientHello in clear");
        }
        let frame = request(API_VERSIONS, 3, true, &[SOFTWARE, b"\0"].concat());
        let frame = [&u32::try_from(frame.len()).unwrap().to_be_bytes()[..], &frame].concat();
        for bytes in [&get[..], &frame] {
            let mut client = Client::connect(world.tls);
            client.stream.write_all(bytes).unwrap();
            let rest = Bytes::from(client.closed());
            assert!(rest.is_empty() || rest[0] == 0x15, "neither nothing nor an alert: {rest:?}");
        }
        world.still_serves();
    }
}
