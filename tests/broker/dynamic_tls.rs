//! Certificates that are changed while the broker serves: new connections get them, what would not be served is refused.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use schloss::model::time::Wall;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use schloss::protocol::messages::describe_configs_response::DescribeConfigsResponse;
use schloss::security::certificates::{Authority, Issued, LEAF_LIFE};

use crate::client::Client;
use crate::dynamic::{try_alter, try_alter_all};
use crate::support::{Broker, free_port, write};

const KEYSTORE: &str = "listener.name.ssl.ssl.keystore.location";
const TRUSTSTORE: &str = "listener.name.ssl.ssl.truststore.location";

fn now() -> Wall {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Wall(i64::try_from(since.as_millis()).unwrap())
}

fn leaf(issued: &Issued) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(issued.chain_pem.as_bytes()).unwrap()
}

/// A connection with a certificate of `client`'s, on which something was asked; the certificate that the broker showed.
fn shown(address: SocketAddr, trusted: &Authority, client: &Issued) -> Result<CertificateDer<'static>, String> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(trusted.certificate_pem().as_bytes()).unwrap()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(client.keystore_pem().expose().as_bytes()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(vec![leaf(client)], key)
        .unwrap();
    let tls = ClientConnection::new(Arc::new(config), ServerName::try_from("localhost").unwrap()).unwrap();
    let mut stream = StreamOwned::new(tls, Client::connect(address).stream);
    // ApiVersions v0, correlation 7, no client id.
    stream.write_all(b"\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x07\xff\xff").map_err(|error| error.to_string())?;
    let mut front = [0; 10];
    stream.read_exact(&mut front).map_err(|error| error.to_string())?;
    assert_eq!(front[4..], [0, 0, 0, 7, 0, 0], "correlation id and no error");
    Ok(stream.conn.peer_certificates().unwrap()[0].clone())
}

fn start(config: &Path) -> Broker {
    Broker::start(&["serve", config.to_str().unwrap()], &[])
}

#[test]
fn certificates_change_while_they_are_served() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let keep = |name: &str, pem: &str| {
        write(&dir.path().join(name), pem);
        path(name)
    };
    let (ours, theirs) = (Authority::new("ours", now()).unwrap(), Authority::new("theirs", now()).unwrap());
    let server = |cn: &str, names: &[&str]| ours.issue_server(cn, names, now(), LEAF_LIFE).unwrap();
    let store = |name: &str, issued: &Issued| keep(name, issued.keystore_pem().expose());
    let names = ["localhost", "127.0.0.1"];
    let (first, second, third) = (server("broker", &names), server("broker", &names), server("broker", &names));
    let (alice, mallory) = (
        ours.issue_client("alice", now(), LEAF_LIFE).unwrap(),
        theirs.issue_client("alice", now(), LEAF_LIFE).unwrap(),
    );
    let [port, tls_port] = [(); 2].map(|()| free_port());
    let config = keep(
        "server.properties",
        &format!(
            "broker.id=1\nlog.dirs={}\nlisteners=PLAINTEXT://127.0.0.1:{port},SSL://127.0.0.1:{tls_port}\n\
             ssl.keystore.type=PEM\nssl.keystore.location={}\nssl.truststore.type=PEM\nssl.truststore.location={}\n\
             ssl.client.auth=required\nschloss.allow.loose.modes=true\n",
            path("data"),
            store("first.pem", &first),
            keep("ours.pem", &ours.certificate_pem()),
        ),
    );
    let mut broker = start(config.as_ref());
    let [address, tls] = [port, tls_port].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut admin = Client::connect(address);
    assert_eq!(shown(tls, &ours, &alice).unwrap(), leaf(&first));

    // Another file, then the same file with other content.
    let file = store("second.pem", &second);
    assert_eq!(try_alter(&mut admin, KEYSTORE, Some(&file)), Ok(()));
    assert_eq!(shown(tls, &ours, &alice).unwrap(), leaf(&second));
    store("second.pem", &third);
    assert_eq!(try_alter(&mut admin, KEYSTORE, Some(&file)), Ok(()));
    assert_eq!(shown(tls, &ours, &alice).unwrap(), leaf(&third));

    // What clients would not take for the same broker, or nobody could serve.
    let refused = |admin: &mut Client, key: &str, value: &str, why: &str| {
        let message = try_alter(admin, key, Some(value)).unwrap_err();
        assert!(message.contains(why), "{key}={value}: {message}");
        assert_eq!(shown(tls, &ours, &alice).unwrap(), leaf(&third), "{key}={value}");
    };
    let other = store("other.pem", &server("other", &names));
    refused(&mut admin, KEYSTORE, &other, "ssl.allow.dn.changes=true");
    let fewer = store("fewer.pem", &server("broker", &["localhost"]));
    refused(&mut admin, KEYSTORE, &fewer, "ssl.allow.san.changes=true");
    refused(&mut admin, KEYSTORE, &path("nowhere.pem"), "nowhere.pem");
    refused(&mut admin, KEYSTORE, &keep("junk.pem", "junk"), "junk.pem");
    let torn = format!(
        "{}{}",
        second.keystore_pem().expose().split("-----BEGIN CERTIFICATE").next().unwrap(),
        third.chain_pem
    );
    refused(&mut admin, KEYSTORE, &keep("torn.pem", &torn), "do not belong together");
    refused(&mut admin, "listener.name.ssl.ssl.keystore.password", "x", "cannot be specified with PEM");
    refused(&mut admin, "listener.name.nosuch.ssl.keystore.location", &file, "nosuch");
    refused(&mut admin, "listener.name.plaintext.ssl.keystore.location", &file, "plaintext");
    refused(&mut admin, "listener.name.ssl.ssl.client.auth", "none", "can't be changed while this broker runs");

    // Whom the broker believes.
    assert!(shown(tls, &ours, &mallory).is_err());
    let trusted = keep("theirs.pem", &theirs.certificate_pem());
    assert_eq!(try_alter(&mut admin, TRUSTSTORE, Some(&trusted)), Ok(()));
    assert_eq!(shown(tls, &ours, &mallory).unwrap(), leaf(&third));
    assert!(shown(tls, &ours, &alice).is_err(), "whose authority is trusted no more");

    // All of it holds for the successor; a file that went bad meanwhile does not keep it from starting.
    drop(admin);
    assert_eq!(broker.stop(), Some(0));
    let mut broker = start(config.as_ref());
    assert_eq!(shown(tls, &ours, &mallory).unwrap(), leaf(&third));
    assert_eq!(broker.stop(), Some(0));
    fs::remove_file(&file).unwrap();
    let broker = start(config.as_ref());
    assert_eq!(shown(tls, &ours, &alice).unwrap(), leaf(&first));
    broker.wait_for_line("listener SSL keeps the certificates it has");
    let mut admin = Client::connect(address);
    assert_eq!(try_alter(&mut admin, KEYSTORE, None), Ok(()));
    assert_eq!(shown(tls, &ours, &mallory).unwrap(), leaf(&first));
}

/// A key inline: stored, served, and never told again.
#[test]
fn a_key_that_was_set_is_not_told() {
    let dir = tempfile::tempdir().unwrap();
    let ours = Authority::new("ours", now()).unwrap();
    let issue = || ours.issue_server("localhost", &["localhost"], now(), LEAF_LIFE).unwrap();
    let (first, second) = (issue(), issue());
    let inline = |pem: &str| pem.trim().replace('\n', "\\n");
    let key =
        |issued: &Issued| issued.keystore_pem().expose().split("-----BEGIN CERT").next().unwrap().trim().to_owned();
    let [port, tls_port] = [(); 2].map(|()| free_port());
    let config = dir.path().join("server.properties");
    write(
        &config,
        &format!(
            "broker.id=1\nlog.dirs={}\nlisteners=PLAINTEXT://127.0.0.1:{port},SSL://127.0.0.1:{tls_port}\n\
             ssl.keystore.type=PEM\nssl.keystore.key={}\nssl.keystore.certificate.chain={}\n\
             ssl.truststore.type=PEM\nssl.truststore.certificates={}\nssl.client.auth=requested\nschloss.allow.loose.modes=true\n",
            dir.path().join("data").display(),
            inline(&key(&first)),
            inline(&first.chain_pem),
            inline(&ours.certificate_pem()),
        ),
    );
    let broker = start(&config);
    let [address, tls] = [port, tls_port].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let mut admin = Client::connect(address);
    let client = ours.issue_client("alice", now(), LEAF_LIFE).unwrap();
    assert_eq!(shown(tls, &ours, &client).unwrap(), leaf(&first));
    let torn = try_alter(&mut admin, "listener.name.ssl.ssl.keystore.key", Some(&key(&second))).unwrap_err();
    assert!(torn.contains("do not belong together") && !torn.contains("PRIVATE"), "{torn}");
    let both = [("ssl.keystore.key", key(&second)), ("ssl.keystore.certificate.chain", second.chain_pem.clone())];
    let both = both.map(|(name, value)| (format!("listener.name.ssl.{name}"), value));
    assert_eq!(try_alter_all(&mut admin, &both.each_ref().map(|(n, v)| (n.as_str(), Some(v.as_str())))), Ok(()));
    assert_eq!(shown(tls, &ours, &client).unwrap(), leaf(&second));
    let resource = DescribeConfigsResource {
        resource_type: 4,
        resource_name: "1".into(),
        configuration_keys: Some(vec![both[0].0.as_str().into()]),
    };
    let request =
        DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: false };
    let told: DescribeConfigsResponse = admin.ask(ApiKey::DescribeConfigs, 4, &request).unwrap();
    let told = &told.results[0].configs[0];
    assert!(told.is_sensitive && told.value.is_none() && told.synonyms.iter().all(|synonym| synonym.value.is_none()));
    assert!(!broker.output().contains("PRIVATE KEY"), "a key in the log");
}
