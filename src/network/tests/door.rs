//! The door: cases 1 to 20 and 29 of the attack corpus, as far as they are decided before a handler.

use super::house::{Client, House, open, request, spec};
use crate::model::listener::SecurityProtocol::{Plaintext, SaslPlaintext};
use crate::network::Network;
use crate::protocol::api::ApiKey;

fn sasl() -> (House, Network, std::net::SocketAddr) {
    let house = House::new();
    let (network, address) = open(&house, spec("CLIENT", SaslPlaintext, None));
    (house, network, address)
}

fn hello(client: &mut Client) {
    client.send(&request(ApiKey::ApiVersions, 0, 1, b""));
    assert_eq!(client.answer(), (1, b"\0\0versions".to_vec()));
    client.send(&request(ApiKey::SaslHandshake, 1, 2, b""));
    assert_eq!(client.answer(), (2, b"handshake".to_vec()));
}

#[test]
fn a_login_opens_the_door() {
    let (_, _network, address) = sasl();
    let mut client = Client::connect(address);
    hello(&mut client);
    client.send(&request(ApiKey::SaslAuthenticate, 0, 3, b"secret"));
    assert_eq!(client.answer(), (3, b"welcome".to_vec()));
    client.send(&request(ApiKey::Metadata, 1, 4, &vec![7; 100_000]));
    assert_eq!(client.answer().1.len(), 100_000, "larger than what may be sent before the login");
}

#[test]
fn a_failed_login_is_told_and_then_closed() {
    let (_, _network, address) = sasl();
    let mut client = Client::connect(address);
    hello(&mut client);
    client.send(&request(ApiKey::SaslAuthenticate, 0, 3, b"wrong"));
    client.send(&request(ApiKey::Metadata, 1, 4, b""));
    assert_eq!(client.answer(), (3, b"refused".to_vec()));
    client.assert_closed();
}

#[test]
fn what_is_closed_without_an_answer_and_reaches_no_handler() {
    let (house, _network, address) = sasl();
    let unknown = |key: i16| {
        let mut bytes = request(ApiKey::Metadata, 1, 1, b"").to_vec();
        bytes[4..6].copy_from_slice(&key.to_be_bytes());
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("Metadata first", request(ApiKey::Metadata, 1, 1, b"").to_vec()),
        ("Produce first", request(ApiKey::Produce, 8, 1, b"").to_vec()),
        ("key 9999", unknown(9999)),
        ("key 32767", unknown(32767)),
        ("key -5", unknown(-5)),
        ("length -1", (-1_i32).to_be_bytes().to_vec()),
        ("length MIN", i32::MIN.to_be_bytes().to_vec()),
        ("length MAX and 100 bytes", [i32::MAX.to_be_bytes().to_vec(), vec![0; 100]].concat()),
        ("one byte over the limit", (64 * 1024 + 1_i32).to_be_bytes().to_vec()),
        ("length 0", 0_i32.to_be_bytes().to_vec()),
        ("length 1", [1_i32.to_be_bytes().to_vec(), vec![0]].concat()),
        ("HTTP", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("header cut off", [6_i32.to_be_bytes().to_vec(), vec![0, 18, 0, 0, 0, 0]].concat()),
    ];
    for (name, bytes) in cases {
        let mut client = Client::connect(address);
        client.send(&bytes);
        client.assert_closed();
        assert_eq!(*house.seen.lock(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn greeting_twice_closes() {
    let (_, _network, address) = sasl();
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::ApiVersions, 0, 1, b""));
    client.send(&request(ApiKey::ApiVersions, 0, 2, b""));
    assert_eq!(client.answer().0, 1);
    client.assert_closed();
}

#[test]
fn nothing_but_tokens_after_the_handshake() {
    let (house, _network, address) = sasl();
    let mut client = Client::connect(address);
    hello(&mut client);
    client.send(&request(ApiKey::Metadata, 1, 3, b""));
    client.assert_closed();
    assert_eq!(*house.seen.lock(), ["ApiVersions 1", "SaslHandshake 2"]);
}

#[test]
fn a_second_handshake_and_a_late_greeting_are_told_34() {
    let (house, _network, address) = sasl();
    for key in [ApiKey::SaslHandshake, ApiKey::ApiVersions] {
        let mut client = Client::connect(address);
        hello(&mut client);
        client.send(&request(key, 0, 3, b""));
        assert_eq!(client.answer(), (3, b"\0\x22\0\0\0\0".to_vec()));
        client.assert_closed();
    }
    assert_eq!(house.seen.lock().len(), 4);
}

#[test]
fn raw_tokens_after_a_handshake_of_version_0() {
    let (_, _network, address) = sasl();
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::SaslHandshake, 0, 1, b""));
    assert_eq!(client.answer().0, 1);
    client.send(b"\0\0\0\x06secret");
    assert_eq!(client.raw(), b"ok");
    client.send(&request(ApiKey::Metadata, 1, 2, b""));
    assert_eq!(client.answer().0, 2);

    let mut client = Client::connect(address);
    client.send(&request(ApiKey::SaslHandshake, 0, 1, b""));
    assert_eq!(client.answer().0, 1);
    client.send(b"\0\0\0\x05wrong");
    client.assert_closed();
}

#[test]
fn anonymous_frames_have_their_own_limit() {
    let house = House::new();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::Metadata, 1, 1, &vec![1; 200_000]));
    assert_eq!(client.answer().1.len(), 200_000);
    client.send(&(16_i32 << 20).to_be_bytes());
    client.send(&[0; 100]);
    let mut other = Client::connect(address);
    other.send(&((16_i32 << 20) + 1).to_be_bytes());
    other.assert_closed();
}
