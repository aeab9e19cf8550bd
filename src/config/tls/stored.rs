//! Certificates that were changed at run time (`SslConfigs.RECONFIGURABLE_CONFIGS`): read as the file's, with what was
//! stored in place of what the file says.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Guard, Pem, TlsFiles, read};
use crate::config::catalogue::Lang;
use crate::config::diagnostics::{Diagnostics, Severity};
use crate::config::written::WrittenKeys;
use crate::model::listener::ListenerName;

/// What a listener's certificates are, behind its prefix.
const RECONFIGURABLE: [&str; 10] = [
    "ssl.key.password",
    "ssl.keystore.certificate.chain",
    "ssl.keystore.key",
    "ssl.keystore.location",
    "ssl.keystore.password",
    "ssl.keystore.type",
    "ssl.truststore.certificates",
    "ssl.truststore.location",
    "ssl.truststore.password",
    "ssl.truststore.type",
];

/// Keys of certificates with the values that were stored for them, with their prefixes.
pub type StoredTls = BTreeMap<Arc<str>, Arc<str>>;

/// The listener (in lower case) and the rest of a key of [`RECONFIGURABLE`].
pub fn reconfigurable(name: &str) -> Option<(&str, &str)> {
    let (listener, key) = name.strip_prefix("listener.name.")?.split_once('.')?;
    RECONFIGURABLE.contains(&key).then_some((listener, key))
}

/// Those among the dynamic configs of a broker.
pub fn stored_tls<'a>(configs: impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)>) -> StoredTls {
    let of_tls = configs.filter(|(name, _)| reconfigurable(name).is_some());
    of_tls.map(|(name, value)| (Arc::clone(name), Arc::clone(value))).collect()
}

/// Where a listener's TLS was read from.
#[derive(Clone, Debug)]
pub(super) struct TlsSource {
    pub(super) listener: ListenerName,
    pub(super) written: WrittenKeys,
    pub(super) guard: Guard,
}

impl TlsFiles {
    /// The same keys and certificates.
    pub fn is_same(&self, other: &Self) -> bool {
        let text = |pem: &Option<Pem>| pem.as_ref().map(|pem| pem.text.clone());
        self.keystore.text == other.keystore.text && text(&self.truststore) == text(&other.truststore)
    }

    /// Reads everything again, files too, with `stored` in place of what was written.
    ///
    /// # Errors
    /// What is wrong, in one line.
    pub fn again(&self, stored: &StoredTls) -> Result<Self, String> {
        let source = &self.source;
        let prefix = source.listener.config_prefix();
        let own = stored.iter().filter(|(name, _)| name.starts_with(&prefix));
        let written = source.written.with(own.map(|(name, value)| (&**name, &**value)));
        let mut out = Diagnostics::new();
        let files = read(&source.listener, &written, &source.guard, &mut out);
        let errors: Vec<String> = out
            .iter()
            .filter(|found| found.severity == Severity::Error)
            .map(|found| found.message(Lang::En).replace('\n', " "))
            .collect();
        files
            .filter(|_| errors.is_empty())
            .map(|files| Self { source: Arc::clone(source), ..files })
            .ok_or_else(|| errors.join("; "))
    }
}
