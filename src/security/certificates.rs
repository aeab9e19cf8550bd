//! Certificates that Schloss makes itself: authorities and what they sign, for quickstart, `certs` and tests.
//!
//! ECDSA P-256, which every Kafka client knows. Names are what clients check; nothing here talks to the outside.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;

use crate::model::secret::Secret;
use crate::model::time::Wall;

/// How long an authority is good for.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 86_400);
/// How long what it signs is good for: the most that Apple's platforms accept.
pub const LEAF_LIFE: Duration = Duration::from_secs(825 * 86_400);
/// Valid so long before it was made: the clocks of two machines differ.
const SKEW: Duration = Duration::from_secs(3600);

/// No certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("can't make a certificate: {0}")]
    Make(#[from] rcgen::Error),
    #[error("can't make a PKCS#12 file: {0}")]
    Pkcs12(String),
}

/// A certificate authority with its key.
pub struct Authority {
    certificate_pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority")
    }
}

/// A certificate and its private key.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, then its authority's.
    pub chain_pem: String,
    /// PKCS#8.
    pub key_pem: Secret,
}

impl Issued {
    /// Key and chain in one text: what `ssl.keystore.location` of type PEM holds.
    pub fn keystore_pem(&self) -> Secret {
        Secret::new(format!("{}{}", self.key_pem.expose(), self.chain_pem))
    }

    /// The same as PKCS#12 under `password` (PBES2), for Java clients that read no PEM.
    ///
    /// # Errors
    /// The library's, which none of ours should bring about.
    pub fn pkcs12(&self, alias: &str, password: &Secret) -> Result<Vec<u8>, CertificateError> {
        use p12_keystore::{Certificate, KeyStore, KeyStoreEntry, PrivateKey, PrivateKeyChain};
        let wrong = |error: p12_keystore::error::Error| CertificateError::Pkcs12(error.to_string());
        let unread = |error: rustls_pki_types::pem::Error| CertificateError::Pkcs12(error.to_string());
        let key = PrivatePkcs8KeyDer::from_pem_slice(self.key_pem.expose().as_bytes()).map_err(unread)?;
        let key = PrivateKey::from_der(key.secret_pkcs8_der()).map_err(wrong)?;
        let mut chain = Vec::new();
        for certificate in CertificateDer::pem_slice_iter(self.chain_pem.as_bytes()) {
            chain.push(Certificate::from_der(&certificate.map_err(unread)?).map_err(wrong)?);
        }
        let mut store = KeyStore::new();
        store.add_entry(alias, KeyStoreEntry::PrivateKeyChain(PrivateKeyChain::new(vec![1], key, chain)));
        store.writer(password.expose()).write().map_err(wrong)
    }
}

impl Authority {
    /// A new authority that signs end certificates only.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn new(common_name: &str, now: Wall) -> Result<Self, CertificateError> {
        let mut params = parameters(common_name, now, AUTHORITY_LIFE);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate_pem = params.self_signed(&key)?.pem();
        Ok(Self { certificate_pem, issuer: Issuer::new(params, key) })
    }

    /// One that was made before, from the PEM of its certificate and of its private key.
    ///
    /// # Errors
    /// They are none, or none that can sign.
    pub fn from_pem(certificate_pem: &str, key_pem: &Secret) -> Result<Self, CertificateError> {
        let key = KeyPair::from_pem(key_pem.expose())?;
        let issuer = Issuer::from_ca_cert_pem(certificate_pem, key)?;
        Ok(Self { certificate_pem: certificate_pem.to_owned(), issuer })
    }

    /// The authority's certificate: what clients trust.
    pub fn certificate_pem(&self) -> String {
        self.certificate_pem.clone()
    }

    /// The authority's private key, PKCS#8: what issues further certificates.
    pub fn key_pem(&self) -> Secret {
        Secret::new(self.issuer.key().serialize_pem())
    }

    /// A certificate for a broker that is reached by these host names and addresses, good for so long.
    ///
    /// # Errors
    /// If a host name is not ASCII.
    pub fn issue_server(
        &self,
        common_name: &str,
        hosts: &[&str],
        now: Wall,
        life: Duration,
    ) -> Result<Issued, CertificateError> {
        let mut params = parameters(common_name, now, life);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName((*host).try_into()?),
            });
        }
        self.issue(params)
    }

    /// A certificate for a client, whose principal it is, good for so long.
    ///
    /// # Errors
    /// If the machine has no randomness.
    pub fn issue_client(&self, common_name: &str, now: Wall, life: Duration) -> Result<Issued, CertificateError> {
        let mut params = parameters(common_name, now, life);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> Result<Issued, CertificateError> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let chain_pem = format!("{}{}", certificate.pem(), self.certificate_pem());
        Ok(Issued { chain_pem, key_pem: Secret::new(key.serialize_pem()) })
    }
}

fn parameters(common_name: &str, now: Wall, life: Duration) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    let now = OffsetDateTime::from_unix_timestamp(now.0 / 1000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    params.not_before = now - SKEW;
    params.not_after = now + life;
    params
}
