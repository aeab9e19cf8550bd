//! What every verb that talks to a broker has in common: where it is, who asks, how results are shown.
//!
//! A connection is found in this order: flags, `SCHLOSS_BOOTSTRAP_SERVER` and `SCHLOSS_COMMAND_CONFIG`, the files of a
//! quickstart in this folder (its administrator's for administrative verbs, its demo user's for data), `localhost:9092` in
//! clear. Client files are Java's `.properties` or librdkafka's `.conf`; secrets come from files only.

pub(super) mod client_files;
pub(super) mod progress;
pub(super) mod record_text;
pub(super) mod start;
pub(super) mod table;

use std::collections::BTreeMap;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};

use super::exit;
use crate::config::jaas;
use crate::config::properties::{self, Properties};
use crate::config::{Lang, Style};
use crate::model::secret::Secret;
use crate::network::outbound::{self, Cluster, Endpoint, Login, Mechanism, Security};
use crate::server::files;

/// The folder of a quickstart, if it was made here.
const QUICKSTART: &str = "schloss-data";

/// Where the brokers are, and as whom to ask them.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct ConnectArgs {
    /// Brokers to ask first: HOST:PORT, several with commas
    #[arg(short = 'b', long = "bootstrap-server", value_name = "HOST:PORT")]
    bootstrap: Option<String>,
    /// A client's file, Java's or librdkafka's
    #[arg(long, value_name = "FILE")]
    command_config: Option<PathBuf>,
    /// Set a key of the client's file; may be given again
    #[arg(short = 'X', value_name = "KEY=VALUE", value_parser = super::key_value)]
    set: Vec<(String, String)>,
    /// Longest wait for an answer, for example 30s
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

/// How an administrative verb shows and does things.
#[derive(Debug, Clone, Default, clap::Args)]
pub(super) struct AdminArgs {
    #[command(flatten)]
    pub(super) connect: ConnectArgs,
    /// text or json
    #[arg(short, long, default_value = "text")]
    pub(super) output: table::Output,
    /// Do not ask before something is taken away
    #[arg(long)]
    pub(super) yes: bool,
    /// Show what would be done, and do nothing
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// Whose files of a quickstart are used where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Admin,
    Data,
}

/// A runtime, and the cluster behind it.
pub(super) struct Session {
    runtime: tokio::runtime::Runtime,
    settings: Settings,
    /// As it was said.
    servers: String,
    pub(super) cluster: Cluster,
}

impl Session {
    pub(super) fn open(args: &ConnectArgs, env: &BTreeMap<String, String>, role: Role) -> anyhow::Result<Self> {
        let file = args
            .command_config
            .clone()
            .or_else(|| env.get("SCHLOSS_COMMAND_CONFIG").map(PathBuf::from))
            .or_else(|| quickstart_file(role));
        let mut settings = match &file {
            Some(path) => Settings::read(path, Lang::from_env(|name| env.get(name).cloned()))?,
            None => Settings::default(),
        };
        for (key, value) in &args.set {
            settings.texts.insert(key.clone(), value.clone());
        }
        let servers = args.bootstrap.clone().or_else(|| env.get("SCHLOSS_BOOTSTRAP_SERVER").cloned());
        let servers = servers.or_else(|| settings.texts.get("bootstrap.servers").cloned());
        let servers = servers.unwrap_or_else(|| "localhost:9092".to_owned());
        let bootstrap = endpoints(&servers)?;
        let security = settings.security()?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime can be made")?;
        let cluster = Cluster::new(bootstrap, security, args.timeout);
        Ok(Self { runtime, settings, servers, cluster })
    }

    /// `bootstrap.servers`
    pub(super) fn bootstrap(&self) -> &str {
        &self.servers
    }

    /// `security.protocol`
    pub(super) fn protocol(&self) -> &str {
        self.settings.get(&["security.protocol"]).unwrap_or("PLAINTEXT")
    }

    /// The PEM file of the authorities that are trusted.
    pub(super) fn ca(&self) -> Option<&Path> {
        self.settings.get(&["ssl.truststore.location", "ssl.ca.location"]).map(Path::new)
    }

    /// Runs a verb's work on the cluster.
    pub(super) fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Cluster) -> anyhow::Result<T>) -> anyhow::Result<T> {
        self.runtime.block_on(work(&mut self.cluster))
    }
}

fn quickstart_file(role: Role) -> Option<PathBuf> {
    let user = match role {
        Role::Admin => "admin",
        Role::Data => "demo",
    };
    let path = Path::new(QUICKSTART).join("clients").join(format!("{user}.properties"));
    path.is_file().then_some(path)
}

/// What a client's file says.
#[derive(Default)]
struct Settings {
    texts: BTreeMap<String, String>,
    jaas: Option<(String, Secret)>,
}

impl Settings {
    fn read(path: &Path, lang: Lang) -> anyhow::Result<Self> {
        let shown =
            |found: crate::config::Diagnostics| anyhow::anyhow!("{}", found.render(lang, Style::Long).trim_end());
        let read: Properties = properties::read(path).map_err(shown)?;
        let mut settings = Self::default();
        for entry in read.entries() {
            settings.texts.insert(entry.key.clone(), entry.value.expose().to_owned());
        }
        if let Some(entry) = read.get("sasl.jaas.config") {
            let (module, _) = jaas::parse_property(&entry.value).map_err(shown)?;
            let option = |key: &str| {
                let missing = || format!("{}: sasl.jaas.config has no {key}", path.display());
                module.option(key).cloned().with_context(missing)
            };
            settings.jaas = Some((option("username")?.expose().to_owned(), option("password")?));
        }
        Ok(settings)
    }

    fn get(&self, keys: &[&str]) -> Option<&str> {
        keys.iter().find_map(|key| self.texts.get(*key)).map(|text| text.trim())
    }

    fn security(&self) -> anyhow::Result<Security> {
        let protocol = self.get(&["security.protocol"]).unwrap_or("PLAINTEXT").to_ascii_uppercase();
        let (is_tls, is_sasl) = match protocol.as_str() {
            "PLAINTEXT" => (false, false),
            "SSL" => (true, false),
            "SASL_PLAINTEXT" => (false, true),
            "SASL_SSL" => (true, true),
            other => bail!("security.protocol={other} is none of PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL"),
        };
        let tls = if is_tls { Some(self.trust()?) } else { None };
        let login = if is_sasl { Some(self.login()?) } else { None };
        Ok(Security { tls, login })
    }

    fn trust(&self) -> anyhow::Result<std::sync::Arc<rustls::ClientConfig>> {
        let pem = match self.get(&["ssl.truststore.location", "ssl.ca.location"]) {
            Some(path) => files::read(Path::new(path))?,
            None => match self.get(&["ssl.truststore.certificates"]) {
                Some(text) => text.as_bytes().to_vec(),
                None => bail!("TLS needs ssl.truststore.location (PEM) or ssl.ca.location"),
            },
        };
        Ok(outbound::trusting(&pem)?)
    }

    fn login(&self) -> anyhow::Result<Login> {
        let name = self.get(&["sasl.mechanism", "sasl.mechanisms"]).unwrap_or("GSSAPI");
        let unknown = || format!("sasl.mechanism={name} is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512");
        let mechanism = Mechanism::from_name(name).with_context(unknown)?;
        let (user, password) = match &self.jaas {
            Some((user, password)) => (user.clone(), password.clone()),
            None => {
                let user = self.get(&["sasl.username"]).context("SASL needs sasl.jaas.config or sasl.username")?;
                let password = self.get(&["sasl.password"]).context("SASL needs sasl.jaas.config or sasl.password")?;
                (user.to_owned(), Secret::new(password))
            }
        };
        Ok(Login { mechanism, user, password })
    }
}

fn endpoints(text: &str) -> anyhow::Result<Vec<Endpoint>> {
    text.split(',').map(|one| endpoint(one.trim())).collect()
}

fn endpoint(text: &str) -> anyhow::Result<Endpoint> {
    let wrong = || format!("'{text}' is no HOST:PORT");
    let (host, port) = text.rsplit_once(':').with_context(wrong)?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.is_empty() {
        bail!(wrong());
    }
    Ok(Endpoint { host: host.to_owned(), port: port.parse().with_context(wrong)? })
}

/// `500ms`, `30s`, `5m`, `2h`, `7d`; a bare number is seconds.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| format!("'{text}' is no time, as 30s or 5m are"))?;
    let ms = match unit {
        "ms" => 1,
        "" | "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("'{unit}' is no unit of time: ms, s, m, h, d")),
    };
    Ok(Duration::from_millis(number.saturating_mul(ms)))
}

/// Asks on a terminal; without one only `--yes` goes on.
pub(super) fn confirmed(args: &AdminArgs, question: &str) -> anyhow::Result<bool> {
    if args.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        bail!("{question} Nobody is there to answer: say --yes");
    }
    talk_on(&format!("{question} [y/N] "));
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    Ok(matches!(line.trim(), "y" | "Y" | "yes"))
}

/// One line for whoever sits there.
#[allow(clippy::print_stderr, reason = "what is no data goes to standard error")]
pub(super) fn talk(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stderr, reason = "what is no data goes to standard error")]
fn talk_on(text: &str) {
    eprint!("{text}");
}

/// Data, a line.
///
/// # Errors
/// Nobody reads it any more.
pub(super) fn say(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")
}

/// The code of a verb that came to its end, or why it did not.
pub(super) fn finish(outcome: anyhow::Result<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            talk(&format!("error: {error:#}"));
            ExitCode::from(exit::FAILURE)
        }
    }
}

/// `| head` has what it wanted.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_times() {
        let both = endpoints("a:1, [::1]:9092").unwrap();
        assert_eq!(both.iter().map(ToString::to_string).collect::<Vec<_>>(), ["a:1", "[::1]:9092"]);
        for wrong in ["a", "a:", ":1", "a:99999"] {
            assert!(endpoints(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(7 * 86_400)));
        assert_eq!(duration("30"), Ok(Duration::from_secs(30)));
        assert!(duration("soon").is_err() && duration("3w").is_err());
    }
}
