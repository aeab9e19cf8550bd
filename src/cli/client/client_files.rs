//! The files that clients are started with: what a user needs, in the words of each family of clients.

use std::path::{Path, PathBuf};

use crate::controller::Random as _;
use crate::model::secret::Secret;
use crate::server::controller::SystemRandom;
use crate::server::files::{self, FileError, Mode};

/// Everything a client must know to log in.
#[derive(Debug)]
pub(in crate::cli) struct ClientFiles<'a> {
    /// `bootstrap.servers`
    pub(in crate::cli) bootstrap: &'a str,
    /// `security.protocol`
    pub(in crate::cli) protocol: &'a str,
    /// `SCRAM-SHA-512`
    pub(in crate::cli) mechanism: &'a str,
    pub(in crate::cli) user: &'a str,
    pub(in crate::cli) password: &'a Secret,
    /// PEM; absolute, so that it means the same wherever the client runs.
    pub(in crate::cli) ca: Option<&'a Path>,
}

impl ClientFiles<'_> {
    /// `NAME.properties`, `NAME.kcat.conf`, `NAME.env` in a folder that is there.
    ///
    /// # Errors
    /// What can't be written.
    pub(in crate::cli) fn write(&self, folder: &Path) -> Result<Vec<PathBuf>, FileError> {
        let texts = [("properties", self.java()), ("kcat.conf", self.librdkafka()), ("env", self.environment())];
        let mut written = Vec::new();
        for (kind, text) in texts {
            let path = folder.join(format!("{}.{kind}", self.user));
            files::write(&path, text.as_bytes(), Mode::Secret)?;
            written.push(path);
        }
        Ok(written)
    }

    /// For Java clients of 2.7 and newer, which read PEM.
    fn java(&self) -> String {
        let mut text = format!(
            "bootstrap.servers={bootstrap}
security.protocol={protocol}
sasl.mechanism={mechanism}
sasl.jaas.config=org.apache.kafka.common.security.{module} required \\
    username=\"{user}\" \\
    password=\"{password}\";
",
            bootstrap = self.bootstrap,
            protocol = self.protocol,
            mechanism = self.mechanism,
            module = if self.mechanism == "PLAIN" { "plain.PlainLoginModule" } else { "scram.ScramLoginModule" },
            user = quoted(self.user),
            password = quoted(self.password.expose()),
        );
        if let Some(ca) = self.ca {
            let ca = properties_text(ca);
            text.push_str(&format!("ssl.truststore.type=PEM\nssl.truststore.location={ca}\n"));
        }
        text
    }

    /// For kcat and everything on librdkafka.
    fn librdkafka(&self) -> String {
        let mut text = format!(
            "bootstrap.servers={}\nsecurity.protocol={}\nsasl.mechanisms={}\nsasl.username={}\nsasl.password={}\n",
            self.bootstrap,
            self.protocol,
            self.mechanism,
            self.user,
            self.password.expose()
        );
        if let Some(ca) = self.ca {
            text.push_str(&format!("ssl.ca.location={}\n", ca.display()));
        }
        text
    }

    /// For everything that is configured by variables of a shell.
    fn environment(&self) -> String {
        let mut text = String::new();
        let ca = self.ca.map(|ca| ca.display().to_string()).unwrap_or_default();
        let variables = [
            ("KAFKA_BOOTSTRAP_SERVERS", self.bootstrap),
            ("KAFKA_SECURITY_PROTOCOL", self.protocol),
            ("KAFKA_SASL_MECHANISM", self.mechanism),
            ("KAFKA_USERNAME", self.user),
            ("KAFKA_PASSWORD", self.password.expose()),
            ("KAFKA_CA_LOCATION", &ca),
        ];
        for (name, value) in variables.iter().filter(|(_, value)| !value.is_empty()) {
            text.push_str(&format!("{name}='{}'\n", value.replace('\'', "'\\''")));
        }
        text
    }
}

/// Inside the quotes of a login module's option, inside a value of a properties file.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\\\\\").replace('"', "\\\\\"")
}

/// A path as a value of a properties file: a backslash would start an escape.
pub(in crate::cli) fn properties_text(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\")
}

/// A new password: five groups of five characters that nobody mistakes for one another, 116 bits.
pub(in crate::cli) fn new_password() -> Secret {
    let mut random = [0; 64];
    SystemRandom.fill(&mut random);
    password_from(&random)
}

fn password_from(random: &[u8; 64]) -> Secret {
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

    #[test]
    fn what_java_reads_is_what_was_meant() {
        let password = Secret::new(r#"a"b\c'd"#);
        let files = ClientFiles {
            bootstrap: "localhost:9092",
            protocol: "SASL_SSL",
            mechanism: "SCRAM-SHA-256",
            user: "carol",
            password: &password,
            ca: Some(Path::new("/etc/ca.crt")),
        };
        let folder = tempfile::tempdir().unwrap();
        let written = files.write(folder.path()).unwrap();
        let read = crate::config::properties::read(&written[0]).unwrap();
        let (module, _) = crate::config::jaas::parse_property(&read.get("sasl.jaas.config").unwrap().value).unwrap();
        assert_eq!(module.option("password").unwrap().expose(), password.expose());
        assert_eq!(read.get("ssl.truststore.location").unwrap().value.expose(), "/etc/ca.crt");
        let env = String::from_utf8(files::read(&written[2]).unwrap()).unwrap();
        assert!(env.contains(r#"KAFKA_PASSWORD='a"b\c'\''d'"#), "{env}");
    }
}
