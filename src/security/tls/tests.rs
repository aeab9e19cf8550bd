//! Handshakes between rustls on both sides, in memory.

use std::io::{Read as _, Write as _};
use std::sync::LazyLock;

use proptest::prelude::*;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConnection};

use super::*;
use crate::model::principal::KafkaPrincipal;
use crate::model::secret::Secret;
use crate::model::time::Wall;
use crate::security::certificates::{Authority, Issued, LEAF_LIFE};
use crate::security::principal::mapping::PrincipalMapping;
use crate::security::principal::principal_of;

/// Certificates are checked against the machine's clock.
#[expect(clippy::disallowed_methods, reason = "rustls asks the machine for the time, so must its test")]
fn now() -> Wall {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Wall(i64::try_from(since.as_millis()).unwrap())
}

struct World {
    authority: Authority,
    server: Issued,
    alice: Issued,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let authority = Authority::new("test authority", now()).unwrap();
    let server = authority.issue_server("broker", &["localhost", "127.0.0.1"], now(), LEAF_LIFE).unwrap();
    let alice = authority.issue_client("alice", now(), LEAF_LIFE).unwrap();
    World { authority, server, alice }
});

const BOTH: &[TlsVersion] = &[TlsVersion::V1_2, TlsVersion::V1_3];

fn settings<'a>(keystore: &'a Secret, truststore: &'a str, client_auth: ClientAuth) -> TlsSettings<'a> {
    TlsSettings {
        keystore: keystore.expose().as_bytes(),
        truststore: Some(truststore.as_bytes()),
        client_auth,
        versions: BOTH,
        cipher_suites: &[],
    }
}

fn server(client_auth: ClientAuth) -> Arc<ServerConfig> {
    let keystore = WORLD.server.keystore_pem();
    server_config(&settings(&keystore, &WORLD.authority.certificate_pem(), client_auth)).unwrap()
}

fn client(identity: Option<&Issued>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates_of(WORLD.authority.certificate_pem().as_bytes(), "test").unwrap());
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some(issued) => builder
            .with_client_auth_cert(
                certificates_of(issued.chain_pem.as_bytes(), "test").unwrap(),
                private_key(issued.key_pem.expose().as_bytes()).unwrap(),
            )
            .unwrap(),
    }
}

type Ends = (ClientConnection, ServerConnection);

/// Runs a handshake and one message each way; the pieces travel `step` bytes at a time.
fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>, step: usize) -> Result<Ends, rustls::Error> {
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::clone(server)).unwrap();
    client.writer().write_all(b"ping").unwrap();
    server.writer().write_all(b"pong").unwrap();
    for _ in 0..20 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        for mut piece in wire.chunks(step) {
            server.read_tls(&mut piece).unwrap();
            server.process_new_packets()?;
        }
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        for mut piece in wire.chunks(step) {
            client.read_tls(&mut piece).unwrap();
            client.process_new_packets()?;
        }
    }
    let mut read = [0; 4];
    server.reader().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"ping");
    client.reader().read_exact(&mut read).unwrap();
    assert_eq!(&read, b"pong");
    Ok((client, server))
}

const TLS13: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];

fn principal(server: &ServerConnection, rules: &str) -> KafkaPrincipal {
    principal_of(server.peer_certificates().unwrap_or_default(), &PrincipalMapping::parse(rules).unwrap())
}

#[test]
fn the_hybrid_key_exchange_is_preferred_and_tls_12_still_works() {
    let config = server(ClientAuth::None);
    let (_, new) = handshake(&Arc::new(client(None, TLS13)), &config, usize::MAX).unwrap();
    let group = new.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, rustls::NamedGroup::X25519MLKEM768);
    let (_, old) = handshake(&Arc::new(client(None, TLS12)), &config, usize::MAX).unwrap();
    assert_eq!(old.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_2));
    assert_eq!(principal(&new, "DEFAULT"), KafkaPrincipal::anonymous());
}

#[test]
fn only_enabled_versions_and_suites_are_spoken() {
    let (keystore, trust) = (WORLD.server.keystore_pem(), WORLD.authority.certificate_pem());
    let base = settings(&keystore, &trust, ClientAuth::None);
    let only_new = server_config(&TlsSettings { versions: &[TlsVersion::V1_3], ..base }).unwrap();
    assert!(handshake(&Arc::new(client(None, TLS12)), &only_new, usize::MAX).is_err());
    let suites = ["TLS_CHACHA20_POLY1305_SHA256".to_owned()];
    let one = server_config(&TlsSettings { versions: &[TlsVersion::V1_3], cipher_suites: &suites, ..base }).unwrap();
    let (_, end) = handshake(&Arc::new(client(None, TLS13)), &one, usize::MAX).unwrap();
    let suite = end.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);
    let unknown = ["TLS_RSA_WITH_RC4_128_SHA".to_owned()];
    let error = server_config(&TlsSettings { cipher_suites: &unknown, ..base }).unwrap_err();
    assert!(matches!(error, TlsError::UnknownSuite(_)), "{error}");
    let error =
        server_config(&TlsSettings { versions: &[TlsVersion::V1_2], cipher_suites: &suites, ..base }).unwrap_err();
    assert!(matches!(error, TlsError::NoSuite), "{error}");
    assert!(matches!(server_config(&TlsSettings { versions: &[], ..base }), Err(TlsError::NoVersion)));
}

#[test]
fn a_clients_certificate_is_its_principal() {
    let with = Arc::new(client(Some(&WORLD.alice), TLS13));
    let without = Arc::new(client(None, TLS13));
    for client_auth in [ClientAuth::Requested, ClientAuth::Required] {
        let (_, end) = handshake(&with, &server(client_auth), usize::MAX).unwrap();
        assert_eq!(principal(&end, "DEFAULT").to_string(), "User:CN=alice");
        assert_eq!(principal(&end, "RULE:^CN=(.*)$/$1/U").to_string(), "User:ALICE");
        let refused = principal(&end, "RULE:^CN=(bob)$/$1/");
        assert_eq!((refused.kind(), refused.name()), (crate::security::principal::REFUSED, "CN=alice"));
    }
    let (_, end) = handshake(&without, &server(ClientAuth::Requested), usize::MAX).unwrap();
    assert_eq!(principal(&end, "DEFAULT"), KafkaPrincipal::anonymous());
    assert!(handshake(&without, &server(ClientAuth::Required), usize::MAX).is_err());
    // It is not even asked for one.
    let (_, end) = handshake(&with, &server(ClientAuth::None), usize::MAX).unwrap();
    assert_eq!(principal(&end, "DEFAULT"), KafkaPrincipal::anonymous());
}

#[test]
fn a_certificate_cannot_name_everybody() {
    let star = WORLD.authority.issue_client("*", now(), LEAF_LIFE).unwrap();
    let (_, end) = handshake(&Arc::new(client(Some(&star), TLS13)), &server(ClientAuth::Required), usize::MAX).unwrap();
    assert_eq!(principal(&end, "DEFAULT").to_string(), "User:CN=*");
    assert_ne!(principal(&end, "RULE:^CN=(.*)$/$1/").kind(), KafkaPrincipal::USER);
}

#[test]
fn foreign_expired_and_early_certificates_are_refused() {
    let day = 86_400_000;
    let other = Authority::new("test authority", now()).unwrap();
    let foreign = other.issue_client("alice", now(), LEAF_LIFE).unwrap();
    let expired = WORLD.authority.issue_client("alice", Wall(now().0 - 900 * day), LEAF_LIFE).unwrap();
    let early = WORLD.authority.issue_client("alice", Wall(now().0 + 2 * day), LEAF_LIFE).unwrap();
    for (what, issued) in [("foreign", foreign), ("expired", expired), ("not yet valid", early)] {
        for client_auth in [ClientAuth::Requested, ClientAuth::Required] {
            let refused = handshake(&Arc::new(client(Some(&issued), TLS13)), &server(client_auth), usize::MAX);
            assert!(refused.is_err(), "{what}");
        }
    }
}

#[test]
fn sessions_are_resumed_only_where_no_certificate_is_asked_for() {
    for versions in [TLS13, TLS12] {
        for (client_auth, expected) in [
            (ClientAuth::None, HandshakeKind::Resumed),
            (ClientAuth::Requested, HandshakeKind::Full),
            (ClientAuth::Required, HandshakeKind::Full),
        ] {
            let mut config = client(Some(&WORLD.alice), versions);
            config.resumption = Resumption::in_memory_sessions(8);
            let (config, listener) = (Arc::new(config), server(client_auth));
            handshake(&config, &listener, usize::MAX).unwrap();
            let (_, second) = handshake(&config, &listener, usize::MAX).unwrap();
            assert_eq!(second.handshake_kind(), Some(expected), "{client_auth:?}");
            // Another listener, or this one reloaded, knows nothing of the session.
            let (_, third) = handshake(&config, &server(client_auth), usize::MAX).unwrap();
            assert_ne!(third.handshake_kind(), Some(HandshakeKind::Resumed));
        }
    }
}

#[test]
fn a_hello_in_single_bytes_is_put_together() {
    let both: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
    handshake(&Arc::new(client(Some(&WORLD.alice), both)), &server(ClientAuth::Required), 1).unwrap();
}

#[test]
fn keys_come_in_three_forms() {
    use rcgen::{KeyPair, PKCS_RSA_SHA256, RsaKeySize};

    let trust = WORLD.authority.certificate_pem();
    let ec = private_key(WORLD.server.key_pem.expose().as_bytes()).unwrap();
    let sec1 = pem("EC PRIVATE KEY", inner_key(ec.secret_der()));
    let keystore = Secret::new(format!("{sec1}{}", WORLD.server.chain_pem));
    server_config(&settings(&keystore, &trust, ClientAuth::None)).unwrap();

    let rsa = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&rsa).unwrap();
    for key in [rsa.serialize_pem(), pem("RSA PRIVATE KEY", inner_key(rsa.serialized_der()))] {
        let keystore = Secret::new(format!("{}{key}", certificate.pem()));
        server_config(&settings(&keystore, &trust, ClientAuth::None)).unwrap();
    }
}

/// The OCTET STRING at the end of a PKCS#8 key.
fn inner_key(pkcs8: &[u8]) -> &[u8] {
    (0..pkcs8.len())
        .find_map(|at| match pkcs8[at..] {
            [0x04, 0x82, high, low, ref rest @ ..] if usize::from(high) * 256 + usize::from(low) == rest.len() => {
                Some(rest)
            }
            [0x04, 0x81, length, ref rest @ ..] if usize::from(length) == rest.len() => Some(rest),
            [0x04, length, ref rest @ ..] if length > 60 && usize::from(length) == rest.len() => Some(rest),
            _ => None,
        })
        .unwrap()
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[test]
fn unusable_files_are_explained() {
    let trust = WORLD.authority.certificate_pem();
    let good = WORLD.server.keystore_pem();
    let error = |keystore: &str, trust: &str, client_auth| {
        server_config(&settings(&Secret::new(keystore), trust, client_auth)).unwrap_err()
    };
    let none = ClientAuth::None;
    assert!(matches!(error("", &trust, none), TlsError::NoKey));
    assert!(matches!(error(&WORLD.server.chain_pem, &trust, none), TlsError::NoKey));
    assert!(matches!(error(WORLD.server.key_pem.expose(), &trust, none), TlsError::NoCertificate));
    let mixed = format!("{}{}", WORLD.alice.key_pem.expose(), WORLD.server.chain_pem);
    assert!(matches!(error(&mixed, &trust, none), TlsError::Mismatch));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(matches!(error(encrypted, &trust, none), TlsError::EncryptedKey));
    assert!(matches!(error(good.expose(), "", ClientAuth::Required), TlsError::NoAuthority));
    let torn = &good.expose()[..good.expose().len() - 30];
    assert!(matches!(error(torn, &trust, none), TlsError::Pem { .. }));
    let garbage = pem("CERTIFICATE", b"garbage");
    assert!(matches!(error(good.expose(), &garbage, ClientAuth::Required), TlsError::Authority { number: 1, .. }));
    for error in [error(&mixed, &trust, none), error(torn, &trust, none)] {
        assert!(!error.to_string().contains("MIG"), "no key material in {error}");
    }
}

proptest! {
    /// Whatever a peer sends instead of a hello ends in an error or in waiting, never in a panic.
    #[test]
    fn any_first_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200), hello in any::<bool>()) {
        let mut end = ServerConnection::new(server(ClientAuth::Required)).unwrap();
        let mut wire = Vec::new();
        if hello {
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = ClientConnection::new(Arc::new(client(None, TLS13)), name).unwrap();
            client.write_tls(&mut wire).unwrap();
            for (at, byte) in bytes.iter().enumerate() {
                let at = (at * 31) % wire.len();
                wire[at] ^= byte;
            }
        } else {
            wire = bytes;
        }
        let _ = end.read_tls(&mut &*wire);
        let _ = end.process_new_packets();
        let mut out = Vec::new();
        while end.wants_write() {
            end.write_tls(&mut out).unwrap();
        }
    }
}
