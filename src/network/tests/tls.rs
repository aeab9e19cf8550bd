//! TLS: fragments, large transfers, certificates, peers that speak something else.

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};

use super::house::{Client, House, open, request, spec};
use crate::model::listener::SecurityProtocol::{SaslSsl, Ssl};
use crate::protocol::api::ApiKey;

pub(super) fn configs() -> (ServerConfig, ClientConfig) {
    configs_of(rustls::DEFAULT_VERSIONS)
}

fn configs_of(versions: &[&'static rustls::SupportedProtocolVersion]) -> (ServerConfig, ClientConfig) {
    let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let chain = vec![certified.cert.der().clone()];
    let mut roots = RootCertStore::empty();
    roots.add(chain[0].clone()).unwrap();
    let server = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    let client =
        ClientConfig::builder_with_protocol_versions(versions).with_root_certificates(roots).with_no_client_auth();
    (server, client)
}

/// A client whose ciphertext leaves in pieces.
pub(super) struct TlsClient {
    tls: ClientConnection,
    socket: Client,
    piece: usize,
}

impl TlsClient {
    pub(super) fn connect(address: SocketAddr, config: ClientConfig, piece: usize) -> Self {
        let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
        let socket = Client::connect(address);
        socket.0.set_nodelay(true).unwrap();
        let mut client = Self { tls, socket, piece };
        while client.tls.is_handshaking() {
            client.flush();
            if client.tls.wants_read() {
                client.receive();
            }
        }
        client.flush();
        client
    }

    fn flush(&mut self) {
        let mut cipher = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut cipher).unwrap();
        }
        cipher.chunks(self.piece).for_each(|piece| self.socket.send(piece));
    }

    fn receive(&mut self) -> usize {
        let count = self.tls.read_tls(&mut self.socket.0).unwrap();
        self.tls.process_new_packets().unwrap();
        count
    }

    pub(super) fn send(&mut self, mut plain: &[u8]) {
        while !plain.is_empty() {
            let count = self.tls.writer().write(plain).unwrap();
            plain = &plain[count..];
            self.flush();
        }
    }

    pub(super) fn answer(&mut self) -> (i32, Vec<u8>) {
        let length = usize::try_from(u32::from_be_bytes(self.exact(4).try_into().unwrap())).unwrap();
        let frame = self.exact(length);
        (i32::from_be_bytes(frame[..4].try_into().unwrap()), frame[4..].to_vec())
    }

    fn exact(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            match self.tls.reader().read(&mut bytes[filled..]) {
                Ok(0) => panic!("closed"),
                Ok(read) => filled += read,
                Err(_) => assert!(self.receive() > 0, "closed"),
            }
        }
        bytes
    }
}

#[test]
fn one_byte_at_a_time() {
    let (server, client) = configs();
    let house = House::new();
    let (_network, address) = open(&house, spec("SECURE", Ssl, Some(server)));
    let mut client = TlsClient::connect(address, client, 1);
    client.send(&request(ApiKey::Metadata, 1, 1, b"hello"));
    assert_eq!(client.answer(), (1, b"hello".to_vec()));
}

#[test]
fn large_frames_both_ways_and_pipelined() {
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let (server, client) = configs_of(&[version]);
        let house = House::new();
        let (_network, address) = open(&house, spec("SECURE", Ssl, Some(server)));
        let mut client = TlsClient::connect(address, client, 100_000);
        let body: Vec<u8> = (0..3_000_000_u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[2]).collect();
        for id in 0..3 {
            client.send(&request(ApiKey::Metadata, 1, id, &body));
        }
        let small: Vec<u8> = (3..500).flat_map(|id| request(ApiKey::Metadata, 1, id, b"")).collect();
        client.send(&small);
        for id in 0..500 {
            let (answered, echoed) = client.answer();
            assert_eq!(answered, id, "{version:?}");
            assert!(id >= 3 || echoed == body);
        }
    }
}

#[test]
fn a_login_over_tls() {
    let (server, client) = configs();
    let house = House::new();
    let (_network, address) = open(&house, spec("SECURE", SaslSsl, Some(server)));
    let mut client = TlsClient::connect(address, client, usize::MAX);
    client.send(&request(ApiKey::SaslHandshake, 1, 1, b""));
    assert_eq!(client.answer().1, b"handshake");
    client.send(&request(ApiKey::SaslAuthenticate, 0, 2, b"wrong"));
    assert_eq!(client.answer().1, b"refused");
    while client.receive() > 0 {}
    assert_eq!(client.tls.reader().read(&mut [0; 10]).unwrap(), 0, "closed with close_notify");
}

#[test]
fn a_client_that_does_not_trust_us_and_one_that_leaves_in_the_middle() {
    let (server, client) = configs();
    let (_, stranger) = configs();
    let house = House::new();
    let (_network, address) = open(&house, spec("SECURE", Ssl, Some(server)));
    let mut tls = ClientConnection::new(Arc::new(stranger), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut socket = Client::connect(address);
    while tls.wants_write() {
        tls.write_tls(&mut socket.0).unwrap();
    }
    let refused = loop {
        tls.read_tls(&mut socket.0).unwrap();
        if let Err(error) = tls.process_new_packets() {
            break error;
        }
    };
    assert!(matches!(refused, rustls::Error::InvalidCertificate(_)));
    while tls.wants_write() {
        tls.write_tls(&mut socket.0).unwrap();
    }
    socket.assert_closed();
    let mut tls = ClientConnection::new(Arc::new(client.clone()), ServerName::try_from("localhost").unwrap()).unwrap();
    let socket = Client::connect(address);
    let mut hello = Vec::new();
    tls.write_tls(&mut hello).unwrap();
    let mut half = Client(socket.0.try_clone().unwrap());
    half.send(&hello[..hello.len() / 2]);
    drop((socket, half));
    let mut good = TlsClient::connect(address, client, usize::MAX);
    good.send(&request(ApiKey::Metadata, 1, 1, b""));
    assert_eq!(good.answer().0, 1);
}

#[test]
fn plaintext_on_a_tls_listener_gets_an_alert() {
    let (server, _) = configs();
    let house = House::new();
    let (_network, address) = open(&house, spec("SECURE", Ssl, Some(server)));
    for bytes in [request(ApiKey::ApiVersions, 0, 1, b"").to_vec(), b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut client = Client::connect(address);
        client.send(&bytes);
        let mut told = Vec::new();
        let _ = client.0.read_to_end(&mut told);
        assert!(told.is_empty() || told[0] == 21, "an alert or nothing: {told:?}");
    }
    assert!(house.seen.lock().is_empty());
}

#[test]
fn a_handshake_that_never_ends_is_not_kept() {
    let (server, _) = configs();
    let house = House::new();
    let (_network, address) = open(&house, spec("SECURE", Ssl, Some(server)));
    let mut client = Client::connect(address);
    // A ClientHello of 65535 bytes is announced, and comes in records of one byte.
    let mut records = vec![22, 3, 1, 0, 4, 1, 0, 0xff, 0xff];
    for _ in 0..20_000 {
        records.extend_from_slice(&[22, 3, 1, 0, 1, 0]);
    }
    let _ = client.0.write_all(&records);
    let mut told = Vec::new();
    let _ = client.0.read_to_end(&mut told);
    assert!(house.seen.lock().is_empty());
}

#[test]
fn keys_change_in_the_middle() {
    let (server, client) = configs();
    let house = House::new();
    let (_network, address) = open(&house, spec("SECURE", Ssl, Some(server)));
    let mut client = TlsClient::connect(address, client, usize::MAX);
    for id in 0..5 {
        client.send(&request(ApiKey::Metadata, 1, id, &[7; 50_000]));
        client.tls.refresh_traffic_keys().unwrap();
        assert_eq!(client.answer(), (id, vec![7; 50_000]));
    }
}

/// A client's certificate and key, and a server that asks for one of them.
fn mutual(required: bool) -> (ServerConfig, ClientConfig, ClientConfig) {
    let issued = rcgen::generate_simple_self_signed(vec!["client".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(issued.signing_key.serialize_der()).unwrap();
    let mut trusted = RootCertStore::empty();
    trusted.add(issued.cert.der().clone()).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(trusted));
    let verifier = if required { verifier } else { verifier.allow_unauthenticated() };

    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let own_key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![own.cert.der().clone()], own_key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let nobody = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
    let known = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![issued.cert.der().clone()], key)
        .unwrap();
    (server, nobody, known)
}

#[test]
fn a_certificate_says_who_it_is() {
    for (required, anonymous_passes) in [(false, true), (true, false)] {
        let (server, nobody, known) = mutual(required);
        let house = House::new();
        let (_network, address) = open(&house, spec("SECURE", Ssl, Some(server)));
        let mut client = TlsClient::connect(address, known, usize::MAX);
        client.send(&request(ApiKey::DescribeCluster, 0, 1, b"\0"));
        assert_eq!(client.answer().1, b"User:CN=client");
        let mut client = TlsClient::connect(address, nobody, usize::MAX);
        client.send(&request(ApiKey::DescribeCluster, 0, 1, b"\0"));
        if anonymous_passes {
            assert_eq!(client.answer().1, b"User:ANONYMOUS");
        } else {
            client.tls.read_tls(&mut client.socket.0).unwrap();
            let refused = client.tls.process_new_packets().unwrap_err();
            assert!(matches!(refused, rustls::Error::AlertReceived(_)), "{refused}");
        }
    }
}
