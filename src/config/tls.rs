//! Certificates and keys of a listener, as PEM texts read at start.
//!
//! Which key stands where is Kafka's (`DefaultSslEngineFactory`): a file with private key and chain, or both inline. JKS
//! and PKCS12 are refused with the command that converts them. Whether key and certificate fit is `security/tls`'s
//! matter.

mod stored;

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use stored::{StoredTls, reconfigurable, stored_tls};

use super::diagnostics::{Code, Diagnostic, Diagnostics, Severity};
use super::keys::{self, Value};
use super::profile::Profile;
use super::properties::MAX_FILE_BYTES;
use super::source::Place;
use super::written::{Written, WrittenKeys};
use crate::model::listener::ListenerName;
use crate::model::secret::Secret;

/// `ssl.client.auth`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuth {
    #[default]
    None,
    Requested,
    Required,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// A PEM text, and the file it came from (to read it again).
#[derive(Clone, Debug)]
pub struct Pem {
    pub path: Option<PathBuf>,
    pub text: Secret,
}

/// All that a TLS listener needs.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Private key and certificate chain.
    pub keystore: Pem,
    /// Certificate authorities of clients.
    pub truststore: Option<Pem>,
    pub client_auth: ClientAuth,
    pub versions: Vec<TlsVersion>,
    /// IANA names; empty for the built-in ones.
    pub cipher_suites: Vec<String>,
    /// `ssl.principal.mapping.rules`
    pub principal_mapping_rules: String,
    /// `ssl.allow.dn.changes`: another certificate may have another subject.
    pub allow_dn_changes: bool,
    /// `ssl.allow.san.changes`: another certificate may lack names of the one before.
    pub allow_san_changes: bool,
    source: Arc<stored::TlsSource>,
}

/// The suites there are.
const SUITES: [&str; 9] = [
    "TLS_AES_256_GCM_SHA384",
    "TLS_AES_128_GCM_SHA256",
    "TLS_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

/// Reads the keys of one TLS listener. `None` with at least one error reported.
pub(super) fn read(
    listener: &ListenerName,
    written: &WrittenKeys,
    guard: &Guard,
    out: &mut Diagnostics,
) -> Option<TlsFiles> {
    let reader = Reader { listener, prefix: listener.config_prefix(), written, guard };
    let keystore = reader.keystore(out);
    let truststore = reader.truststore(out);
    let client_auth = match reader.text("ssl.client.auth").as_str() {
        "required" => ClientAuth::Required,
        "requested" => ClientAuth::Requested,
        _ => ClientAuth::None,
    };
    let versions = reader.versions(out);
    let cipher_suites = reader.suites(out);
    let truststore = truststore?;
    if client_auth != ClientAuth::None && truststore.is_none() {
        let place = reader.place("ssl.client.auth");
        out.push(Diagnostic::error(Code::C0111).arg(listener).at_maybe(place));
        return None;
    }
    Some(TlsFiles {
        keystore: keystore?,
        truststore,
        client_auth,
        versions: versions?,
        cipher_suites: cipher_suites?,
        principal_mapping_rules: reader.text("ssl.principal.mapping.rules"),
        allow_dn_changes: reader.text("ssl.allow.dn.changes") == "true",
        allow_san_changes: reader.text("ssl.allow.san.changes") == "true",
        source: Arc::new(stored::TlsSource { listener: listener.clone(), written: written.only_tls(), guard: *guard }),
    })
}

/// How files with secrets are looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guard {
    pub(super) profile: Profile,
    /// `schloss.allow.loose.modes`
    pub(super) loose_modes: bool,
}

impl Guard {
    /// A finding if everybody on the machine can read a file that should be private.
    pub(super) fn check_mode(&self, path: &Path, code: Code, place: Option<Place>) -> Option<Diagnostic> {
        let severity = match self.profile {
            Profile::Strict if !self.loose_modes => Severity::Error,
            Profile::Strict | Profile::Compat => Severity::Warning,
            Profile::Dev => return None,
        };
        let mode = path.metadata().ok()?.permissions().mode();
        (mode & 0o004 != 0).then(|| Diagnostic::new(severity, code).arg(path.display()).at_maybe(place))
    }
}

struct Reader<'a> {
    listener: &'a ListenerName,
    prefix: String,
    written: &'a WrittenKeys,
    guard: &'a Guard,
}

impl Reader<'_> {
    fn get(&self, key: &str) -> Option<&Written> {
        self.written.for_listener(&self.prefix, key).filter(|written| !written.text().is_empty())
    }

    fn place(&self, key: &str) -> Option<Place> {
        self.get(key).map(Written::value_place)
    }

    /// The value, or the table's default.
    fn text(&self, key: &str) -> String {
        let default = || keys::broker(key).and_then(|key| key.default_value().to_text()).unwrap_or_default();
        self.get(key).map_or_else(default, |written| written.text().to_owned())
    }

    fn list(&self, key: &str) -> Vec<String> {
        match keys::broker(key).and_then(|found| found.parse(&self.text(key)).ok()) {
            Some(Value::List(items)) => items,
            _ => Vec::new(),
        }
    }

    fn refuse(&self, key: &str, text: impl std::fmt::Display, out: &mut Diagnostics) {
        out.push(Diagnostic::error(Code::P0303).arg(text).at_maybe(self.place(key)));
    }

    fn keystore(&self, out: &mut Diagnostics) -> Option<Pem> {
        let kind = self.text("ssl.keystore.type");
        let (key, chain) = (self.get("ssl.keystore.key"), self.get("ssl.keystore.certificate.chain"));
        let pem = match (key, chain, self.get("ssl.keystore.location")) {
            (Some(_), _, Some(_)) => {
                self.refuse(
                    "ssl.keystore.key",
                    "Both SSL key store location and separate private key are specified.",
                    out,
                );
                return None;
            }
            (Some(_), None, None) => {
                self.refuse(
                    "ssl.keystore.key",
                    "SSL private key is specified, but certificate chain is not specified.",
                    out,
                );
                return None;
            }
            (None, Some(_), _) => {
                let text = "SSL certificate chain is specified, but private key is not specified";
                self.refuse("ssl.keystore.certificate.chain", text, out);
                return None;
            }
            (Some(_), Some(_), None) if kind != "PEM" => {
                let text = format!("SSL private key can be specified only for PEM, but key store type is {kind}.");
                self.refuse("ssl.keystore.key", text, out);
                return None;
            }
            (Some(key), Some(chain), None) => {
                Pem { path: None, text: Secret::new(format!("{}\n{}", key.text(), chain.text())) }
            }
            (None, None, Some(location)) => {
                let pem = self.read_store(location.text(), &kind, "ssl.keystore", out)?;
                if let Some(path) = &pem.path {
                    out.extend_maybe(self.guard.check_mode(path, Code::C0104, self.place("ssl.keystore.location")));
                }
                pem
            }
            (None, None, None) => {
                out.push(Diagnostic::error(Code::C0102).arg(self.listener));
                return None;
            }
        };
        if self.get("ssl.keystore.password").is_some() {
            let text =
                "SSL key store password cannot be specified with PEM format, only key password may be specified.";
            self.refuse("ssl.keystore.password", text, out);
            return None;
        }
        let place = self.place("ssl.keystore.location").or_else(|| self.place("ssl.keystore.key"));
        let name = pem.path.as_ref().map_or_else(|| "ssl.keystore.key".to_owned(), |path| path.display().to_string());
        let text = pem.text.expose();
        let missing = |what: &str| Some(Diagnostic::error(Code::C0106).arg(&name).arg(what));
        let fault = if text.contains("-----BEGIN ENCRYPTED PRIVATE KEY-----") || text.contains("Proc-Type: 4,ENCRYPTED")
        {
            Some(Diagnostic::error(Code::C0105).arg(&name))
        } else if !text.contains("PRIVATE KEY-----") {
            missing("private key")
        } else if !text.contains("-----BEGIN CERTIFICATE-----") {
            missing("certificate")
        } else {
            None
        };
        match fault {
            Some(fault) => {
                out.push(fault.at_maybe(place));
                None
            }
            None => Some(pem),
        }
    }

    /// The outer `None` stands for an error, the inner for no trust store.
    fn truststore(&self, out: &mut Diagnostics) -> Option<Option<Pem>> {
        let kind = self.text("ssl.truststore.type");
        let certificates = self.get("ssl.truststore.certificates");
        let pem = match (certificates, self.get("ssl.truststore.location")) {
            (None, None) => return Some(None),
            (Some(_), Some(_)) => {
                let text = "Both SSL trust store location and separate trust certificates are specified.";
                self.refuse("ssl.truststore.certificates", text, out);
                return None;
            }
            (Some(_), None) if kind != "PEM" => {
                let text =
                    format!("SSL trust store certs can be specified only for PEM, but trust store type is {kind}.");
                self.refuse("ssl.truststore.certificates", text, out);
                return None;
            }
            (Some(certificates), None) => Pem { path: None, text: Secret::new(certificates.text()) },
            (None, Some(location)) => self.read_store(location.text(), &kind, "ssl.truststore", out)?,
        };
        if self.get("ssl.truststore.password").is_some() {
            self.refuse("ssl.truststore.password", "SSL trust store password cannot be specified for PEM format.", out);
            return None;
        }
        if !pem.text.expose().contains("-----BEGIN CERTIFICATE-----") {
            let name =
                pem.path.as_ref().map_or_else(|| "ssl.truststore.certificates".into(), |p| p.display().to_string());
            let place = self.place("ssl.truststore.location");
            out.push(Diagnostic::error(Code::C0106).arg(name).arg("certificate").at_maybe(place));
            return None;
        }
        Some(Some(pem))
    }

    #[allow(clippy::disallowed_methods)]
    fn read_store(&self, location: &str, kind: &str, key: &str, out: &mut Diagnostics) -> Option<Pem> {
        let place = self.place(&format!("{key}.location"));
        let path = PathBuf::from(location);
        let read = || {
            let size = std::fs::metadata(&path)?.len();
            if size > MAX_FILE_BYTES {
                return Err(std::io::Error::other(format!("it is larger than {MAX_FILE_BYTES} bytes")));
            }
            std::fs::read(&path)
        };
        let bytes = match read() {
            Ok(bytes) => bytes,
            Err(error) => {
                out.push(Diagnostic::error(Code::C0103).arg(location).arg(error).at_maybe(place));
                return None;
            }
        };
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        let found = match bytes.get(..4) {
            Some([0xfe, 0xed, 0xfe, 0xed]) => "JKS",
            Some([0xce, 0xce, 0xce, 0xce]) => "JCEKS",
            Some([0x30, 0x80..=0x84, ..]) if !is_pem => "PKCS12",
            _ if is_pem => "PEM",
            _ => kind,
        };
        match (found, kind) {
            ("PEM", "PEM") => {
                let text = Secret::new(String::from_utf8_lossy(&bytes).into_owned());
                Some(Pem { path: Some(path), text })
            }
            ("PEM", kind) => {
                let type_key = format!("{key}.type");
                out.push(Diagnostic::error(Code::C0110).arg(location).arg(type_key).arg(kind).at_maybe(place));
                None
            }
            (found, _) => {
                let convert = conversion(found, location, key);
                out.push(Diagnostic::error(Code::C0101).arg(location).arg(found).arg(convert).at_maybe(place));
                None
            }
        }
    }

    fn versions(&self, out: &mut Diagnostics) -> Option<Vec<TlsVersion>> {
        let key = if self.text("ssl.protocol") == "TLSv1.2" && self.get("ssl.enabled.protocols").is_none() {
            "ssl.protocol"
        } else {
            "ssl.enabled.protocols"
        };
        let mut versions = Vec::new();
        for name in self.list("ssl.enabled.protocols") {
            match name.as_str() {
                "TLSv1.3" if key == "ssl.protocol" => {}
                "TLSv1.3" => versions.push(TlsVersion::V1_3),
                "TLSv1.2" => versions.push(TlsVersion::V1_2),
                _ => out.push(Diagnostic::warning(Code::C0108).arg(name).at_maybe(self.place(key))),
            }
        }
        if versions.is_empty() {
            out.push(Diagnostic::error(Code::C0107).arg(key).at_maybe(self.place(key)));
            return None;
        }
        Some(versions)
    }

    fn suites(&self, out: &mut Diagnostics) -> Option<Vec<String>> {
        let asked = self.list("ssl.cipher.suites");
        let (known, unknown): (Vec<_>, Vec<_>) = asked.into_iter().partition(|name| SUITES.contains(&name.as_str()));
        if unknown.is_empty() {
            return Some(known);
        }
        let severity = if known.is_empty() { Severity::Error } else { Severity::Warning };
        let place = self.place("ssl.cipher.suites");
        out.push(Diagnostic::new(severity, Code::C0109).arg(unknown.join(", ")).at_maybe(place));
        (!known.is_empty()).then_some(known)
    }
}

/// The commands that make a PEM file of a store.
fn conversion(kind: &str, location: &str, key: &str) -> String {
    let stem = Path::new(location).with_extension("");
    let stem = stem.display();
    let to_p12 = match kind {
        "PKCS12" => String::new(),
        kind => format!(
            "keytool -importkeystore -srckeystore {location} -srcstoretype {kind} -destkeystore {stem}.p12 -deststoretype PKCS12\n"
        ),
    };
    let p12 = if kind == "PKCS12" { location.to_owned() } else { format!("{stem}.p12") };
    let what = if key == "ssl.keystore" { "-nodes" } else { "-nokeys" };
    format!(
        "{to_p12}openssl pkcs12 -in {p12} {what} -out {stem}.pem && chmod 600 {stem}.pem\nthen {key}.type=PEM and {key}.location={stem}.pem"
    )
}
