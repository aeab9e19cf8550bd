//! What a certificate says of itself, for whoever looks at one.

use std::fmt::Write as _;

use aws_lc_rs::digest;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::principal::name::rfc2253;
use crate::model::time::Wall;

/// What a certificate is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Ca,
    Server,
    Client,
    Other,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ca => "ca",
            Self::Server => "server",
            Self::Client => "client",
            Self::Other => "other",
        }
    }
}

/// One certificate, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateFacts {
    /// RFC 2253, as a Kafka principal's name by the default rule.
    pub subject: String,
    pub issuer: String,
    pub kind: Kind,
    pub not_before: Wall,
    pub not_after: Wall,
    /// Host names and addresses that it is good for.
    pub hosts: Vec<String>,
    /// Hexadecimal.
    pub serial: String,
    /// SHA-256 of the certificate, hexadecimal with colons.
    pub fingerprint: String,
}

impl CertificateFacts {
    /// `None` for bytes that are no certificate.
    pub fn read(der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let name = |raw: &[u8]| rfc2253(raw).unwrap_or_else(|| "(unreadable)".to_owned());
        let wall = |seconds: i64| Wall(seconds.saturating_mul(1000));
        let validity = certificate.validity();
        let alternatives = certificate.subject_alternative_name().ok().flatten();
        let names = alternatives.iter().flat_map(|found| &found.value.general_names);
        Some(Self {
            subject: name(certificate.subject().as_raw()),
            issuer: name(certificate.issuer().as_raw()),
            kind: kind(&certificate),
            not_before: wall(validity.not_before.timestamp()),
            not_after: wall(validity.not_after.timestamp()),
            hosts: names.filter_map(host).collect(),
            serial: certificate.raw_serial().iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            }),
            fingerprint: fingerprint(der),
        })
    }

    pub fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

fn kind(certificate: &X509Certificate<'_>) -> Kind {
    if certificate.is_ca() {
        return Kind::Ca;
    }
    match certificate.extended_key_usage().ok().flatten() {
        Some(usage) if usage.value.server_auth => Kind::Server,
        Some(usage) if usage.value.client_auth => Kind::Client,
        _ => Kind::Other,
    }
}

fn host(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => match *bytes {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            bytes => <[u8; 16]>::try_from(bytes).ok().map(|bytes| std::net::Ipv6Addr::from(bytes).to_string()),
        },
        _ => None,
    }
}

fn fingerprint(der: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, der);
    hash.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustls_pki_types::CertificateDer;
    use rustls_pki_types::pem::PemObject as _;

    use super::*;
    use crate::model::secret::Secret;
    use crate::security::certificates::Authority;

    fn facts(pem: &str) -> CertificateFacts {
        CertificateFacts::read(&CertificateDer::from_pem_slice(pem.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn what_was_issued_is_read_back() {
        let now = Wall(1_800_000_000_000);
        let authority = Authority::new("the-ca", now).unwrap();
        let ca = facts(&authority.certificate_pem());
        assert_eq!((ca.kind, ca.subject.as_str(), ca.is_self_signed()), (Kind::Ca, "CN=the-ca", true));
        // One that was stored and read signs as the first one does.
        let again = Authority::from_pem(&authority.certificate_pem(), &authority.key_pem()).unwrap();
        let day = Duration::from_secs(86_400);
        let server = again.issue_server("b1", &["b1.example.org", "127.0.0.1", "::1"], now, day).unwrap();
        let server = facts(&server.chain_pem);
        assert_eq!((server.kind, server.issuer.as_str()), (Kind::Server, "CN=the-ca"));
        assert_eq!(server.hosts, ["b1.example.org", "127.0.0.1", "::1"]);
        assert_eq!(server.not_after, Wall(now.0 + 86_400_000));
        let client = facts(&again.issue_client("orders-app", now, day).unwrap().chain_pem);
        assert_eq!((client.kind, client.subject.as_str()), (Kind::Client, "CN=orders-app"));
        assert!(CertificateFacts::read(b"no").is_none());
        assert!(Authority::from_pem("no", &Secret::new("no")).is_err());
    }
}
