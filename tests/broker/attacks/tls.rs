//! TLS by a client that takes its time.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::certificates::Identity;
use super::{World, request, world};
use crate::client::Client;

pub(super) fn connection(world: &World) -> ClientConnection {
    connection_as(world, None)
}

/// With the client's own certificate.
pub(super) fn connection_as(world: &World, identity: Option<Identity>) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&world.ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = match identity {
        // Whether chain and key belong together is the broker's to find out.
        Some((chain, key)) => {
            let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
            config.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::new(chain, key))))
        }
        None => config.with_no_client_auth(),
    };
    ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap()
}

/// Sends what TLS wants to send, one byte in each segment.
fn trickle(tls: &mut ClientConnection, stream: &mut TcpStream) {
    let mut out = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut out).unwrap();
    }
    for byte in out {
        stream.write_all(&[byte]).unwrap();
    }
}

/// Case 41: a handshake and a request in fragments of one byte are served.
#[test]
fn a_handshake_byte_by_byte() {
    let world = world();
    let (mut tls, mut stream) = (connection(world), Client::connect(world.tls).stream);
    let step = |tls: &mut ClientConnection, stream: &mut TcpStream| {
        trickle(tls, stream);
        assert_ne!(tls.read_tls(stream).unwrap(), 0, "closed in the middle");
        tls.process_new_packets().unwrap();
    };
    while tls.is_handshaking() {
        step(&mut tls, &mut stream);
    }
    let frame = request(18, 0, false, b"");
    tls.writer().write_all(&i32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
    tls.writer().write_all(&frame).unwrap();
    let mut answer = Vec::new();
    while answer.len() < 10 {
        step(&mut tls, &mut stream);
        let _ = tls.reader().read_to_end(&mut answer);
    }
    assert_eq!(answer[4..10], [0, 0, 0, 7, 0, 0], "correlation id and no error");
    world.still_serves();
}

/// Case 41: the peer says goodbye, or nonsense, in the middle of the handshake.
#[test]
fn a_handshake_that_ends_early() {
    let world = world();
    let mut hello = Vec::new();
    connection(world).write_tls(&mut hello).unwrap();
    let goodbye = [0x15, 3, 3, 0, 2, 1, 0];
    for bytes in [
        goodbye.to_vec(),
        [&hello[..], &goodbye].concat(),
        // In the middle of the record it is no goodbye: the rest of the hello is still awaited, then the peer is gone.
        [&hello[..100], &goodbye].concat(),
        [&hello[..], &hello].concat(),
        b"\x16\x03\x01\xff\xff".to_vec(),
    ] {
        let mut client = Client::connect(world.tls);
        client.stream.write_all(&bytes).unwrap();
        client.stream.shutdown(std::net::Shutdown::Write).unwrap();
        client.closed();
    }
    world.still_serves();
}

/// Case 42: a thousand that begin a handshake and say no more are closed when a login should be done, and cost little.
#[test]
fn a_thousand_half_open_handshakes() {
    const COUNT: usize = 1000;
    let world = world();
    let before = world.resident_kib();
    let mut hello = Vec::new();
    connection(world).write_tls(&mut hello).unwrap();
    let mut peers: Vec<TcpStream> = (0..COUNT).map(|_| Client::connect(world.tls).stream).collect();
    for peer in &mut peers {
        peer.write_all(&hello).unwrap();
        // The broker's part, so that it is known to be waiting.
        assert_ne!(peer.read(&mut [0; 16]).unwrap(), 0);
    }
    let grown = world.resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB for {COUNT} handshakes");
    world.still_serves();
    for peer in &mut peers {
        peer.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut rest = Vec::new();
        // What else it was sent, and then the end; a reset is an end too.
        let ended = peer.read_to_end(&mut rest);
        assert!(ended.is_ok() || ended.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset), "still open");
    }
    world.still_serves();
}

/// Case 43: versions and suites of the past are refused with an alert.
#[test]
fn what_nobody_should_speak_any_more() {
    let world = world();
    let (tls_1_0, tls_1_1, tls_1_2) = (0x0301, 0x0302, 0x0303);
    // TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256.
    let good = [0xc02b, 0xc02f];
    let cases = [
        ("TLS 1.0", tls_1_0, &good[..]),
        ("TLS 1.1", tls_1_1, &good),
        ("RC4", tls_1_2, &[0x0005, 0xc011, 0xc007]),
        ("3DES", tls_1_2, &[0x000a, 0xc012, 0xc008]),
        ("export", tls_1_2, &[0x0003, 0x0008]),
        ("no encryption", tls_1_2, &[0x0001, 0x0002, 0xc006, 0xc010]),
        ("no forward secrecy", tls_1_2, &[0x009c, 0x002f]),
        ("nobody's identity", tls_1_2, &[0x0034, 0xc018]),
    ];
    for (what, version, suites) in cases {
        for address in [world.tls, world.sasl_tls, world.mtls_required] {
            let mut stream = Client::connect(address).stream;
            stream.write_all(&client_hello(version, suites)).unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            // An alert (21), fatal (2): handshake_failure (40) or protocol_version (70).
            assert_eq!((answer[0], answer[5]), (21, 2), "{what}: {answer:02x?}");
            assert!([40, 70].contains(&answer[6]), "{what}: alert {}", answer[6]);
        }
    }
    // The hello itself is one that is answered: with a ServerHello, once version and suite are good.
    let mut stream = Client::connect(world.tls).stream;
    stream.write_all(&client_hello(tls_1_2, &good)).unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!((answer[0], answer[5]), (22, 2));
    world.still_serves();
}

/// The first message of a client that knows nothing newer than `version`.
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let sized = |bytes: Vec<u8>| [u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec(), bytes].concat();
    let numbers = |of: &[u16]| of.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<u8>>();
    let extension = |id: u16, body: Vec<u8>| [id.to_be_bytes().to_vec(), sized(body)].concat();
    // Groups x25519 and secp256r1, uncompressed points, signatures with ECDSA and RSA.
    let extensions = [
        extension(10, sized(numbers(&[0x001d, 0x0017]))),
        extension(11, vec![1, 0]),
        extension(13, sized(numbers(&[0x0403, 0x0804, 0x0401]))),
    ];
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(sized(numbers(suites)));
    body.extend([1, 0]);
    body.extend(sized(extensions.concat()));
    let mut handshake = vec![1];
    handshake.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
    handshake.extend(body);
    [vec![22, 3, 1], sized(handshake)].concat()
}
