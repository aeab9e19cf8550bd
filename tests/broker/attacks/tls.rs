//! TLS by a client that takes its time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;

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
