//! A listener's TLS, from PEM texts: rustls with aws-lc-rs, TLS 1.2 and 1.3, X25519MLKEM768 preferred.
//!
//! Precedent: `DefaultSslEngineFactory`. Different: sessions are never resumed where clients show certificates (a ticket
//! must not carry an identity past a change of the truststore), elsewhere each configuration has a store of its own, so a
//! reload empties it.

mod certificates;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, VerifierBuilderError, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

pub use self::certificates::Certificates;
pub use crate::config::tls::{ClientAuth, TlsVersion};
use crate::config::tls::{Pem, TlsFiles};

/// What a listener is configured with.
#[derive(Clone, Copy, Debug)]
pub struct TlsSettings<'a> {
    /// PEM: one private key (PKCS#8, PKCS#1 or SEC1, not encrypted) and the certificate chain, the broker's own first.
    pub keystore: &'a [u8],
    /// PEM: the authorities whose client certificates are believed.
    pub truststore: Option<&'a [u8]>,
    pub client_auth: ClientAuth,
    pub versions: &'a [TlsVersion],
    /// IANA names; empty for all there are.
    pub cipher_suites: &'a [String],
}

impl<'a> From<&'a TlsFiles> for TlsSettings<'a> {
    fn from(files: &'a TlsFiles) -> Self {
        let bytes = |pem: &'a Pem| pem.text.expose().as_bytes();
        Self {
            keystore: bytes(&files.keystore),
            truststore: files.truststore.as_ref().map(bytes),
            client_auth: files.client_auth,
            versions: &files.versions,
            cipher_suites: &files.cipher_suites,
        }
    }
}

/// Why these settings make no TLS. Never holds key material.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the {part} is not PEM: {source}")]
    Pem { part: &'static str, source: rustls::pki_types::pem::Error },
    #[error("the keystore holds no private key (-----BEGIN PRIVATE KEY-----)")]
    NoKey,
    #[error("the private key is encrypted; write it in the clear with `openssl pkcs8 -topk8 -nocrypt`, mode 0600")]
    EncryptedKey,
    #[error("the keystore holds no certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate,
    #[error("private key and first certificate do not belong together")]
    Mismatch,
    #[error("certificate {number} of the truststore can't be used as an authority: {source}")]
    Authority { number: usize, source: rustls::Error },
    #[error("clients are asked for certificates, but the truststore holds no authority")]
    NoAuthority,
    #[error("no protocol version is enabled")]
    NoVersion,
    #[error("cipher suite {0} is not known here")]
    UnknownSuite(String),
    #[error("no enabled cipher suite fits the enabled protocol versions")]
    NoSuite,
    #[error("{0}")]
    Rustls(#[from] rustls::Error),
}

/// Sessions that a listener remembers for resumption, where it does.
const SESSIONS: usize = 4096;

/// Builds a listener's configuration. New settings make a new one: nothing is shared with the old.
///
/// # Errors
/// What is wrong with the settings, for the operator.
pub fn server_config(settings: &TlsSettings<'_>) -> Result<Arc<ServerConfig>, TlsError> {
    let provider = Arc::new(provider(settings.cipher_suites)?);
    let versions = protocol_versions(settings.versions)?;
    let key = private_key(settings.keystore)?;
    let chain = certificates_of(settings.keystore, "keystore")?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(|_| TlsError::NoSuite)?;
    let builder = if settings.client_auth == ClientAuth::None {
        builder.with_no_client_auth()
    } else {
        let roots = Arc::new(authorities(settings.truststore.unwrap_or_default())?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let verifier = match settings.client_auth {
            ClientAuth::Required => verifier,
            ClientAuth::Requested | ClientAuth::None => verifier.allow_unauthenticated(),
        };
        builder.with_client_cert_verifier(verifier.build().map_err(verifier_error)?)
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => TlsError::Mismatch,
        other => TlsError::Rustls(other),
    })?;
    if settings.client_auth == ClientAuth::None {
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS);
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn provider(suites: &[String]) -> Result<CryptoProvider, TlsError> {
    let mut provider = aws_lc_rs::default_provider();
    if suites.is_empty() {
        return Ok(provider);
    }
    let all = std::mem::take(&mut provider.cipher_suites);
    for name in suites {
        // IANA's TLS_AES_128_GCM_SHA256 is TLS13_AES_128_GCM_SHA256 in rustls.
        let find = |suite: &&rustls::SupportedCipherSuite| {
            let known = suite.suite().as_str().unwrap_or_default();
            known == name || known.strip_prefix("TLS13_").is_some_and(|rest| name.strip_prefix("TLS_") == Some(rest))
        };
        let suite = all.iter().find(find).ok_or_else(|| TlsError::UnknownSuite(name.clone()))?;
        provider.cipher_suites.push(*suite);
    }
    Ok(provider)
}

fn protocol_versions(versions: &[TlsVersion]) -> Result<Vec<&'static SupportedProtocolVersion>, TlsError> {
    if versions.is_empty() {
        return Err(TlsError::NoVersion);
    }
    let all = [(TlsVersion::V1_3, &rustls::version::TLS13), (TlsVersion::V1_2, &rustls::version::TLS12)];
    Ok(all.into_iter().filter(|(version, _)| versions.contains(version)).map(|(_, version)| version).collect())
}

fn private_key(pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsError> {
    const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];
    if ENCRYPTED.iter().any(|mark| pem.windows(mark.len()).any(|window| window == *mark)) {
        return Err(TlsError::EncryptedKey);
    }
    match PrivateKeyDer::pem_slice_iter(pem).next() {
        Some(key) => key.map_err(|source| TlsError::Pem { part: "keystore", source }),
        None => Err(TlsError::NoKey),
    }
}

fn certificates_of(pem: &[u8], part: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|source| TlsError::Pem { part, source })
}

fn authorities(pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in certificates_of(pem, "truststore")?.into_iter().enumerate() {
        let number = index.saturating_add(1);
        roots.add(certificate).map_err(|source| TlsError::Authority { number, source })?;
    }
    if roots.is_empty() { Err(TlsError::NoAuthority) } else { Ok(roots) }
}

fn verifier_error(error: VerifierBuilderError) -> TlsError {
    match error {
        VerifierBuilderError::NoRootAnchors => TlsError::NoAuthority,
        other => TlsError::Rustls(rustls::Error::General(other.to_string())),
    }
}

#[cfg(test)]
mod tests;
