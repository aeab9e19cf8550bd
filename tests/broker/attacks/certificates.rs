//! Certificates of clients: whose is taken, and who it speaks for.

use std::net::SocketAddr;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::StreamOwned;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::acls::{ALLOW, DENIED, LITERAL, Rule, WRITE, allow, create};
use super::{tls, world};
use crate::client::Client;

/// Who signs certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pub(super) pem: String,
}

/// A chain and its key, as a client shows them.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn private(key: &KeyPair) -> PrivateKeyDer<'static> {
    PrivatePkcs8KeyDer::from(key.serialize_der()).into()
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        let mut params = params(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), certificate: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    /// A client's certificate, with something changed.
    fn signs(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = params(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone(), self.certificate.clone()], private(&key))
    }
}

/// The code of a topic's description, or the alert that came instead.
fn sees(address: SocketAddr, identity: Option<Identity>, topic: &str) -> Result<i16, rustls::AlertDescription> {
    let stream = Client::connect(address).stream;
    let mut client = Client::over(StreamOwned::new(tls::connection_as(world(), identity), stream));
    match client.metadata(&[topic]) {
        Ok(answer) => Ok(answer.topics[0].error_code),
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::AlertReceived(alert)) => Err(*alert),
            _ => panic!("neither an answer nor an alert: {error}"),
        },
    }
}

/// Case 44: the certificate's name is the principal, to the letter.
#[test]
fn a_certificate_speaks_for_its_name() {
    let world = world();
    create(&["t44"]);
    allow(&[Rule(LITERAL, "t44", "User:CN=carol", WRITE, ALLOW), Rule(LITERAL, "t44", "User:carol", WRITE, ALLOW)]);
    for address in [world.mtls_required, world.mtls_requested] {
        let as_ = |name: &str| sees(address, Some(world.authority.signs(name, |_| ())), "t44");
        assert_eq!(as_("carol"), Ok(0));
        for name in ["Carol", "carol ", "mallory", "carol,CN=root", "admin", "root"] {
            assert_eq!(as_(name), Ok(DENIED), "{name:?}");
        }
    }
    world.still_serves();
}

/// Case 44: without a certificate there is no handshake where one is required, and nobody where one is requested.
#[test]
fn without_a_certificate() {
    let world = world();
    create(&["t44-nobody"]);
    assert_eq!(
        sees(world.mtls_required, None, "t44-nobody"),
        Err(rustls::AlertDescription::CertificateRequired),
        "required"
    );
    assert_eq!(sees(world.mtls_requested, None, "t44-nobody"), Ok(DENIED), "requested");
    world.still_serves();
}

/// Case 45: a bad certificate is refused with an alert, also where none would do.
#[test]
fn certificates_that_are_refused() {
    let world = world();
    let good = &world.authority;
    // Same name, other key.
    let other = Authority::new("authority of tests");
    let own = KeyPair::generate().unwrap();
    let mut own_params = params("carol");
    own_params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let own_certificate = own_params.self_signed(&own).unwrap();
    // Signed by a client's certificate, which is no authority.
    let leaf_key = KeyPair::generate().unwrap();
    let mut leaf_params = params("carol");
    leaf_params.is_ca = IsCa::ExplicitNoCa;
    let leaf = leaf_params.signed_by(&leaf_key, &good.issuer).unwrap();
    let leaf_issuer = Issuer::new(leaf_params, leaf_key);
    let key = KeyPair::generate().unwrap();
    let below = params("root").signed_by(&key, &leaf_issuer).unwrap();

    let cases: Vec<(&str, Identity)> = vec![
        ("another authority", other.signs("carol", |_| ())),
        ("signed by itself", (vec![own_certificate.der().clone()], private(&own))),
        ("expired", good.signs("carol", |p| p.not_after = date_time_ymd(2020, 1, 1))),
        ("not yet valid", good.signs("carol", |p| p.not_before = date_time_ymd(2100, 1, 1))),
        ("for servers", good.signs("carol", |p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])),
        ("signed by a client", (vec![below.der().clone(), leaf.der().clone()], private(&key))),
    ];
    for (what, identity) in cases {
        for address in [world.mtls_required, world.mtls_requested] {
            let identity = (identity.0.clone(), identity.1.clone_key());
            let told = sees(address, Some(identity), "t45");
            assert!(told.is_err(), "{what}: {told:?}");
        }
    }
    // A good certificate, and somebody else's key.
    let (chain, _) = good.signs("carol", |_| ());
    let (_, key) = good.signs("mallory", |_| ());
    assert!(sees(world.mtls_required, Some((chain, key)), "t45").is_err(), "the key of another");
    world.still_serves();
}
