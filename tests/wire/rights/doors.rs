//! The ways in without a login: every key is judged there as ANONYMOUS or as the certificate's name, and nothing is served
//! in clear where TLS is spoken. What a SASL listener serves before a login is in `tests/broker/attacks/protocols.rs`.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;

use super::situation::Situation;
use super::stage::Stage;
use super::table::{Case, Cell, Table};
use super::{WITHOUT_RIGHTS, replay, tables, world};
use crate::script::{Connection, Peer, Script, Step, Stream, connect};
use crate::{for_each, support};

/// Keys of Kafka that are not served on a broker's listener, and one on either side: they close the connection.
const CLOSED: [i16; 55] = [
    -1, 4, 5, 6, 7, 24, 25, 26, 27, 28, 34, 38, 39, 40, 41, 45, 52, 53, 54, 56, 57, 58, 59, 62, 63, 64, 65, 66, 67, 68,
    69, 70, 71, 72, 73, 76, 77, 78, 79, 80, 81, 82, 83, 84, 85, 86, 87, 88, 89, 90, 91, 92, 93, 94, 95,
];

/// Who comes in, and who that is in ACLs. The certificate says `CN=walter,O=Schloss`.
const DOORS: [(&str, &str); 4] = [
    ("plaintext", "User:ANONYMOUS"),
    ("tls without a certificate", "User:ANONYMOUS"),
    ("tls with a certificate", "User:CN=walter,O=Schloss"),
    ("tls with a certificate that is mapped", "User:Walter of Schloss"),
];
const MAPPING: &str = "RULE:^CN=w(.*?),O=(.*?)$/W$1 of $2/,DEFAULT";

/// The cells that are tried at each door: no right to others is one here, and the door's own rights are.
fn cells(case: &Case) -> Vec<Cell> {
    let tried = [Situation::None, Situation::Allowed, Situation::AllowedToEverybody, Situation::AllowedElsewhere];
    let is_tried = |cell: &Cell| tried.contains(&cell.situation) || cell.situation == Situation::NoRightsAtAll;
    case.cells().into_iter().filter(is_tried).collect()
}

struct Castle {
    peer: Peer,
    tls: Vec<SocketAddr>,
    _files: tempfile::TempDir,
}

impl Castle {
    /// A broker with one listener for each door, and one that asks for a login over TLS.
    fn new(world: &Script) -> Self {
        let files = tempfile::tempdir().unwrap();
        let [keystore, truststore] = ["broker.pem", "clients.pem"].map(|name| files.path().join(name));
        support::keystore(&keystore);
        let identity = Identity::new(&truststore);
        let [requested, required, mapped, sasl] =
            [(); 4].map(|()| SocketAddr::from(([127, 0, 0, 1], support::free_port())));
        let mut script = Script {
            about: String::new(),
            recorded_on: String::new(),
            steps: Vec::new(),
            server: world.server.clone(),
        };
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        for (key, value) in [
            // Nobody without a login is one here.
            ("super.users", "User:admin".to_owned()),
            ("ssl.keystore.type", "PEM".to_owned()),
            ("ssl.keystore.location", text(&keystore)),
            ("ssl.truststore.type", "PEM".to_owned()),
            ("ssl.truststore.location", text(&truststore)),
            ("listener.name.requested.ssl.client.auth", "requested".to_owned()),
            ("listener.name.required.ssl.client.auth", "required".to_owned()),
            ("listener.name.mapped.ssl.client.auth", "required".to_owned()),
            ("listener.name.mapped.ssl.principal.mapping.rules", MAPPING.to_owned()),
            ("listener.name.sasl_tls.sasl.enabled.mechanisms", "SCRAM-SHA-256".to_owned()),
        ] {
            script.server.insert(key.to_owned(), value);
        }
        let mut peer = Peer::schloss_with(
            &script,
            &[
                ("REQUESTED", "SSL", requested),
                ("REQUIRED", "SSL", required),
                ("MAPPED", "SSL", mapped),
                ("SASL_TLS", "SASL_SSL", sasl),
            ],
        );
        let clear = peer.clear;
        let [nameless, named] = [None, Some(&identity)].map(|identity| client(&keystore, identity));
        let over_tls = |address: SocketAddr, config: &Arc<ClientConfig>| {
            let config = Arc::clone(config);
            let open = move || -> Box<dyn Stream> {
                let name = ServerName::try_from("localhost").unwrap();
                Box::new(StreamOwned::new(ClientConnection::new(Arc::clone(&config), name).unwrap(), connect(address)))
            };
            Box::new(open) as Box<dyn Fn() -> Box<dyn Stream>>
        };
        let opens: [Box<dyn Fn() -> Box<dyn Stream>>; 4] = [
            Box::new(move || Box::new(connect(clear))),
            over_tls(requested, &nameless),
            over_tls(required, &named),
            over_tls(mapped, &named),
        ];
        peer.doors = DOORS.iter().map(|(name, _)| (*name).to_owned()).zip(opens).collect();
        Self { peer, tls: vec![requested, required, mapped, sasl], _files: files }
    }
}

/// A client's certificate, and the authority that has signed it in the broker's trust store.
struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: Vec<u8>,
}

impl Identity {
    fn new(truststore: &Path) -> Self {
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate().unwrap();
        support::write(truststore, &authority.self_signed(&authority_key).unwrap().pem());
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = DistinguishedName::new();
        // The last is first in its text.
        params.distinguished_name.push(DnType::OrganizationName, "Schloss");
        params.distinguished_name.push(DnType::CommonName, "walter");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap();
        Self { chain: vec![certificate.der().clone()], key: key.serialize_der() }
    }
}

fn client(broker: &Path, identity: Option<&Identity>) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(broker).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(roots);
    Arc::new(match identity {
        Some(Identity { chain, key }) => {
            config.with_client_auth_cert(chain.clone(), PrivatePkcs8KeyDer::from(key.clone()).into()).unwrap()
        }
        None => config.with_no_client_auth(),
    })
}

/// Each door's own rights decide, as recorded: refused or hidden without them, served with them.
#[test]
fn every_door_is_judged_by_its_own_name() {
    let world = world();
    for_each(&tables(), 4, |path| {
        let table = Table::read(path);
        let mut castle = Castle::new(&world);
        let mut stage = Stage::new(&mut castle.peer, &world);
        let mut differing = Vec::new();
        for (door, principal) in DOORS {
            stage.lets(door, principal);
            for case in &table.cases {
                let found = replay(&mut stage, &table.api, case, &cells(case));
                differing.extend(found.iter().map(|found| format!("{door}: {found}")));
            }
        }
        if differing.is_empty() { Ok(()) } else { Err(differing.join("\n")) }
    });
}

/// The three keys of a login are answered as on an authenticated connection; those that are not served close it.
#[test]
fn every_other_key_at_every_door() {
    let mut castle = Castle::new(&world());
    for number in -1..=95 {
        let is_served = schloss::handlers::table().iter().any(|spec| spec.key.number() == number);
        assert_ne!(is_served, CLOSED.contains(&number), "key {number}");
    }
    for (door, (_, open)) in DOORS.iter().zip(&castle.peer.doors) {
        let asked: Vec<(i16, Connection)> = CLOSED
            .into_iter()
            .flat_map(|key| [(key, false), (key, true)])
            .map(|(key, flexible)| {
                let mut connection = Connection::over(open());
                let _ = connection.send(&frame(key, 0, flexible));
                (key, connection)
            })
            .collect();
        for (key, mut connection) in asked {
            assert_eq!(connection.receive(), None, "{door:?}: key {key}");
        }
    }
    let world = world();
    let mut stage = Stage::new(&mut castle.peer, &world);
    for (door, _) in DOORS {
        for (api, version, request, code) in [
            ("SaslHandshake", 1, json!({ "Mechanism": "PLAIN" }), 34),
            ("ApiVersions", 0, json!({}), 0),
            ("SaslAuthenticate", 2, json!({ "AuthBytes": "0061646d696e0061646d696e" }), 34),
        ] {
            assert!(WITHOUT_RIGHTS.iter().any(|(name, _)| *name == api));
            let step = Step { user: door.to_owned(), api: api.to_owned(), version, request, ..Default::default() };
            let messages = stage.ask(&step);
            assert_eq!(messages.len(), 1, "{door}: {api}: {messages:?}");
            assert_eq!(messages[0]["ErrorCode"], code, "{door}: {api}");
        }
    }
}

/// Requests in clear where TLS is spoken: an alert at most, for every key there is.
#[test]
fn nothing_is_served_before_the_handshake() {
    let castle = Castle::new(&world());
    for address in &castle.tls {
        for key in -1..=95 {
            for (version, flexible) in [(0, false), (9, true)] {
                let mut stream = connect(*address);
                let frame = frame(key, version, flexible);
                let length = i32::try_from(frame.len()).unwrap().to_be_bytes();
                let _ = stream.write_all(&[&length, &frame[..]].concat());
                let mut answer = Vec::new();
                if let Err(error) = stream.read_to_end(&mut answer) {
                    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "key {key}: neither answered nor closed");
                }
                // A record of type alert, of two bytes, the first of which says fatal.
                let is_alert = matches!(answer[..], [0x15, 3, _, 0, 2, 2, _]);
                assert!(answer.is_empty() || is_alert, "{address}, key {key}: {answer:x?}");
            }
        }
    }
}

/// A request byte by byte, with room for a body.
fn frame(key: i16, version: i16, flexible: bool) -> Vec<u8> {
    let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend_from_slice(b"\0\0\0\x07\0\x01t");
    if flexible {
        frame.push(0);
    }
    frame.extend_from_slice(&[0; 16]);
    frame
}
