//! The certificates that the listeners of a broker serve, and others in their place while they do.
//!
//! Precedent: `SslFactory.validateReconfiguration`. As there, a certificate keeps its subject and every name of the one
//! before it unless `ssl.allow.dn.changes` and `ssl.allow.san.changes` say otherwise. Different: what is in the files
//! counts, also where only their content is new, and what would not be served is refused instead of stored.

use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{TlsError, TlsSettings, certificates_of, server_config};
use crate::config::tls::{StoredTls, TlsFiles, reconfigurable};
use crate::model::listener::ListenerName;
use crate::security::one_line::OneLine;
use crate::security::principal::name::rfc2253;

/// What every TLS listener serves.
#[derive(Debug, Default)]
pub struct Certificates(Vec<Served>);

#[derive(Debug)]
struct Served {
    listener: ListenerName,
    files: ArcSwap<TlsFiles>,
    /// New connections use what is in it when they come.
    config: Arc<ArcSwap<ServerConfig>>,
}

impl Certificates {
    /// # Errors
    /// The first listener whose files make no TLS.
    pub fn new<'a>(
        listeners: impl Iterator<Item = (&'a ListenerName, &'a TlsFiles)>,
    ) -> Result<Self, (ListenerName, TlsError)> {
        let served = listeners.map(|(listener, files)| {
            let config = server_config(&TlsSettings::from(files)).map_err(|error| (listener.clone(), error))?;
            Ok(Served {
                listener: listener.clone(),
                files: ArcSwap::from_pointee(files.clone()),
                config: Arc::new(ArcSwap::new(config)),
            })
        });
        served.collect::<Result<_, _>>().map(Self)
    }

    /// What a listener serves, now and later.
    pub fn of(&self, listener: &ListenerName) -> Option<Arc<ArcSwap<ServerConfig>>> {
        self.0.iter().find(|served| served.listener == *listener).map(|served| Arc::clone(&served.config))
    }

    /// Could this be served? Reads files.
    ///
    /// # Errors
    /// Why not, for whoever wants to store it.
    pub fn check(&self, stored: &StoredTls) -> Result<(), String> {
        for (name, (listener, _)) in stored.keys().filter_map(|name| Some((name, reconfigurable(name)?))) {
            if !self.0.iter().any(|served| served.listener.as_str().to_lowercase() == listener) {
                return Err(format!("{name}: no listener of this broker called {listener} speaks TLS"));
            }
        }
        for served in &self.0 {
            served.read(stored).map_err(|error| format!("listener {}: {error}", served.listener))?;
        }
        Ok(())
    }

    /// Serves what is stored, listener by listener; one whose files are no good keeps what it has. Reads files.
    pub fn renew(&self, stored: &StoredTls) {
        for served in &self.0 {
            let listener = &served.listener;
            match served.read(stored) {
                Ok(None) => {}
                Ok(Some((files, config))) => {
                    let leaf = Leaf::of(&files);
                    served.config.store(config);
                    served.files.store(Arc::new(files));
                    let subject = leaf.map(|leaf| leaf.subject).unwrap_or_default();
                    tracing::info!(
                        target: "schloss.network",
                        "listener {listener} has new certificates, its own is of {}; connections that are open keep theirs",
                        OneLine(&subject)
                    );
                }
                Err(error) => tracing::error!(
                    target: "schloss.network",
                    "listener {listener} keeps the certificates it has: {error}. Mend that, and set the config again"
                ),
            }
        }
    }
}

impl Served {
    /// What would be served; nothing if it is what already is.
    fn read(&self, stored: &StoredTls) -> Result<Option<(TlsFiles, Arc<ServerConfig>)>, String> {
        let now = self.files.load();
        let files = now.again(stored)?;
        if now.is_same(&files) {
            return Ok(None);
        }
        let config = server_config(&TlsSettings::from(&files)).map_err(|error| error.to_string())?;
        if let (Ok(before), Ok(after)) = (Leaf::of(&now), Leaf::of(&files)) {
            after.may_follow(&before, &files)?;
        }
        Ok(Some((files, config)))
    }
}

/// What clients know a broker's certificate by.
struct Leaf {
    /// RFC 2253
    subject: String,
    names: Vec<String>,
}

impl Leaf {
    fn of(files: &TlsFiles) -> Result<Self, TlsError> {
        let chain = certificates_of(files.keystore.text.expose().as_bytes(), "keystore")?;
        let leaf = chain.first().ok_or(TlsError::NoCertificate)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| TlsError::NoCertificate)?;
        let names = parsed.subject_alternative_name().ok().flatten();
        Ok(Self {
            subject: rfc2253(parsed.subject().as_raw()).unwrap_or_default(),
            names: names.iter().flat_map(|found| &found.value.general_names).map(ToString::to_string).collect(),
        })
    }

    fn may_follow(&self, before: &Self, files: &TlsFiles) -> Result<(), String> {
        if self.subject != before.subject && !files.allow_dn_changes {
            return Err(format!(
                "the certificate is of {}, the one that is served of {}; ssl.allow.dn.changes=true would allow it",
                self.subject, before.subject
            ));
        }
        let lost: Vec<&str> =
            before.names.iter().filter(|name| !self.names.contains(name)).map(String::as_str).collect();
        if !lost.is_empty() && !files.allow_san_changes {
            return Err(format!(
                "the certificate lacks {}, which the one that is served has; ssl.allow.san.changes=true would allow it",
                lost.join(", ")
            ));
        }
        Ok(())
    }
}
