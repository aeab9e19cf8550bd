//! The files of a quickstart: where they are and what stands in them.

use std::path::{Path, PathBuf};

use crate::cli::client::client_files::{ClientFiles, properties_text};
use crate::model::secret::Secret;
use crate::security::certificates::{Authority, Issued};
use crate::server::files::{self, FileError, Mode};

/// Who gets client files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum User {
    /// A super user.
    Admin,
    /// Reads and writes topic `demo`.
    Demo,
}

impl User {
    pub(super) const ALL: [Self; 2] = [Self::Admin, Self::Demo];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Demo => "demo",
        }
    }
}

/// One folder with everything in it.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// As it was typed: what is printed.
    pub(super) shown: PathBuf,
    /// Absolute: what is written into files.
    pub(super) root: PathBuf,
}

impl Layout {
    pub(super) fn new(dir: &Path) -> Self {
        Self { shown: dir.to_owned(), root: crate::cli::absolute(dir) }
    }

    pub(super) fn server_properties(&self) -> PathBuf {
        self.root.join("server.properties")
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.root.join("certs/ca.crt")
    }

    pub(super) fn broker_pem(&self) -> PathBuf {
        self.root.join("certs/broker.pem")
    }

    /// Is a quickstart's folder complete?
    ///
    /// # Errors
    /// It can't be looked at.
    pub(super) fn is_there(&self) -> Result<bool, FileError> {
        Ok(files::read_if_there(&self.server_properties())?.is_some())
    }

    /// Makes every file. The passwords are drawn by the caller and written only into the client files.
    ///
    /// # Errors
    /// What can't be written.
    pub(super) fn write(
        &self,
        port: u16,
        authority: &Authority,
        broker: &Issued,
        passwords: &[(User, Secret)],
    ) -> Result<(), FileError> {
        for folder in ["", "certs", "clients", "data"] {
            files::create_dir(&self.root.join(folder))?;
        }
        files::write(&self.ca(), authority.certificate_pem().as_bytes(), Mode::Public)?;
        files::write(&self.root.join("certs/ca.key"), authority.key_pem().expose().as_bytes(), Mode::Secret)?;
        files::write(&self.broker_pem(), broker.keystore_pem().expose().as_bytes(), Mode::Secret)?;
        for (user, password) in passwords {
            let files = ClientFiles {
                bootstrap: &format!("localhost:{port}"),
                protocol: "SASL_SSL",
                mechanism: "SCRAM-SHA-512",
                user: user.name(),
                password,
                ca: Some(&self.ca()),
            };
            files.write(&self.root.join("clients"))?;
        }
        // Last: its presence says that the folder is complete.
        files::write(&self.server_properties(), self.broker_config(port).as_bytes(), Mode::Public)
    }

    fn broker_config(&self, port: u16) -> String {
        format!(
            "# Written by schloss quickstart. Profile strict: what is open must be said, what is unsafe is refused.
schloss.profile=strict
process.roles=broker,controller
node.id=1
listeners=SASL_SSL://localhost:{port}
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin
allow.everyone.if.no.acl.found=false
log.dirs={data}
num.partitions=1
",
            keystore = properties_text(&self.broker_pem()),
            data = properties_text(&self.root.join("data")),
        )
    }
}
