//! The files of a quickstart: where they are and what stands in them.

use std::path::{Path, PathBuf};

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
            let java = self.root.join(format!("clients/{}.properties", user.name()));
            files::write(&java, self.java_client(port, *user, password).as_bytes(), Mode::Secret)?;
            let librdkafka = self.root.join(format!("clients/{}.kcat.conf", user.name()));
            files::write(&librdkafka, self.librdkafka_client(port, *user, password).as_bytes(), Mode::Secret)?;
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
log.dirs={data}
num.partitions=1
",
            keystore = properties_text(&self.broker_pem()),
            data = properties_text(&self.root.join("data")),
        )
    }

    /// For Java clients of 2.7 and newer, which read PEM.
    fn java_client(&self, port: u16, user: User, password: &Secret) -> String {
        format!(
            "bootstrap.servers=localhost:{port}
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\
    username=\"{user}\" \\
    password=\"{password}\";
ssl.truststore.type=PEM
ssl.truststore.location={ca}
",
            user = user.name(),
            password = password.expose(),
            ca = properties_text(&self.ca()),
        )
    }

    /// For kcat and everything on librdkafka.
    fn librdkafka_client(&self, port: u16, user: User, password: &Secret) -> String {
        format!(
            "bootstrap.servers=localhost:{port}
security.protocol=SASL_SSL
sasl.mechanisms=SCRAM-SHA-512
sasl.username={user}
sasl.password={password}
ssl.ca.location={ca}
",
            user = user.name(),
            password = password.expose(),
            ca = self.ca().display(),
        )
    }
}

/// A path as a value of a properties file: a backslash would start an escape.
fn properties_text(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\")
}

/// Five groups of five characters that nobody mistakes for one another: 116 bits.
///
/// # Panics
/// Never: every byte selects one of 25 characters.
pub(super) fn password_from(random: &[u8; 64]) -> Secret {
    const ALPHABET: &[u8; 25] = b"abcdefghijkmnpqrstuvwxyz2";
    // Bytes from 250 on would prefer the first letters.
    let letters: Vec<u8> = random
        .iter()
        .filter(|b| **b < 250)
        .take(25)
        .filter_map(|b| ALPHABET.get(usize::from(b % 25)).copied())
        .collect();
    let groups: Vec<String> = letters.chunks(5).map(|group| String::from_utf8_lossy(group).into_owned()).collect();
    Secret::new(groups.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_long_and_plain() {
        let random: [u8; 64] = std::array::from_fn(|i| u8::try_from(i * 3).unwrap());
        let password = password_from(&random);
        assert_eq!(password.expose().len(), 29);
        assert!(password.expose().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    }
}
