//! `schloss certs`: a certificate authority in a folder, and what it signs.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Subcommand;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;
use time::OffsetDateTime;

use super::client::client_files::new_password;
use super::client::table::{Output, Table};
use super::client::{finish, say, talk};
use crate::model::secret::Secret;
use crate::model::time::{Clock as _, Wall};
use crate::security::certificate_facts::{CertificateFacts, Kind};
use crate::security::certificates::{Authority, Issued, LEAF_LIFE};
use crate::server::clock::SystemClock;
use crate::server::files::{self, Mode};

const DAY: Duration = Duration::from_secs(86_400);
/// Files that are looked into by `list`.
const KINDS: [&str; 3] = ["crt", "pem", "cer"];

/// Where the authority is.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct FolderArgs {
    /// The authority's folder: that of a quickstart here, or ./certs
    #[arg(long)]
    dir: Option<PathBuf>,
}

impl FolderArgs {
    fn folder(&self) -> PathBuf {
        let quickstart = Path::new("schloss-data/certs");
        let default = if quickstart.is_dir() { quickstart } else { Path::new("certs") };
        self.dir.clone().unwrap_or_else(|| default.to_owned())
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make an authority: ca.crt, which everybody may have, and ca.key, which nobody may
    InitCa {
        #[arg(long, default_value = "schloss-ca")]
        name: String,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// Issue a certificate
    Issue {
        #[command(subcommand)]
        what: Issue,
    },
    /// The certificates of a folder and how long they are good for
    List {
        #[command(flatten)]
        folder: FolderArgs,
        #[arg(short, long, default_value = "text")]
        output: Output,
    },
    /// What stands in a certificate file
    Show {
        file: PathBuf,
        #[arg(short, long, default_value = "text")]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Issue {
    /// For a client: its name becomes its Kafka principal
    Client {
        name: String,
        /// How many days it is good for
        #[arg(long, default_value_t = LEAF_LIFE.as_secs() / 86_400, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
        #[command(flatten)]
        folder: FolderArgs,
    },
    /// For a broker
    Server {
        name: String,
        /// A host name or address that clients reach it by; may be given again
        #[arg(long, required = true)]
        host: Vec<String>,
        #[arg(long, default_value_t = LEAF_LIFE.as_secs() / 86_400, value_parser = clap::value_parser!(u64).range(1..=3650))]
        days: u64,
        #[command(flatten)]
        folder: FolderArgs,
    },
}

pub(super) fn run(verb: &Verb) -> ExitCode {
    finish(carry_out(verb).map(|()| 0))
}

fn carry_out(verb: &Verb) -> anyhow::Result<()> {
    match verb {
        Verb::InitCa { name, folder } => init_ca(name, &folder.folder()),
        Verb::Issue { what: Issue::Client { name, days, folder } } => {
            let folder = folder.folder();
            let life = Duration::from_secs(days * DAY.as_secs());
            let now = SystemClock::new().wall();
            let issued = authority(&folder, now, life)?.issue_client(name, now, life)?;
            write(&folder.join("clients"), name, &issued)?;
            talk(&format!(
                "As a Kafka principal: User:{}      (ssl.principal.mapping.rules: DEFAULT)",
                first(&issued)?.subject
            ));
            Ok(())
        }
        Verb::Issue { what: Issue::Server { name, host, days, folder } } => {
            let folder = folder.folder();
            let life = Duration::from_secs(days * DAY.as_secs());
            let now = SystemClock::new().wall();
            let hosts: Vec<&str> = host.iter().map(String::as_str).collect();
            let issued = authority(&folder, now, life)?.issue_server(name, &hosts, now, life)?;
            let keystore = folder.join(format!("{name}.pem"));
            absent(&keystore)?;
            write(&folder, name, &issued)?;
            files::write(&keystore, issued.keystore_pem().expose().as_bytes(), Mode::Secret)?;
            talk(&format!("For the broker: ssl.keystore.type=PEM, ssl.keystore.location={}", keystore.display()));
            Ok(())
        }
        Verb::List { folder, output } => list(&folder.folder(), *output),
        Verb::Show { file, output } => show(file, *output),
    }
}

fn init_ca(name: &str, folder: &Path) -> anyhow::Result<()> {
    let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    absent(&certificate)?;
    absent(&key)?;
    let authority = Authority::new(name, SystemClock::new().wall())?;
    files::create_dir(folder)?;
    files::write(&key, authority.key_pem().expose().as_bytes(), Mode::Secret)?;
    files::write(&certificate, authority.certificate_pem().as_bytes(), Mode::Public)?;
    let facts = facts(authority.certificate_pem().as_bytes()).into_iter().next().context("no certificate was made")?;
    talk(&format!("Made {}, valid to {}", facts.subject, date(facts.not_after)));
    talk(&format!("  {}  .key", certificate.display()));
    Ok(())
}

/// The folder's authority, which must outlive what it signs.
fn authority(folder: &Path, now: Wall, life: Duration) -> anyhow::Result<Authority> {
    let (certificate, key) = (folder.join("ca.crt"), folder.join("ca.key"));
    let missing = || format!("there is no authority in {}: schloss certs init-ca makes one", folder.display());
    let certificate_pem = files::read_if_there(&certificate)?.with_context(missing)?;
    let key_pem = files::read_if_there(&key)?.with_context(missing)?;
    let facts = facts(&certificate_pem).into_iter().next();
    let facts = facts.with_context(|| format!("{} holds no certificate", certificate.display()))?;
    let end = now.0.saturating_add(i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
    if end > facts.not_after.0 {
        bail!("{} is valid to {} only: fewer --days", facts.subject, date(facts.not_after));
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Authority::from_pem(&text(certificate_pem), &Secret::new(text(key_pem)))?)
}

/// `NAME.crt`, `.key`, `.p12` and its password's file. Nothing that is there is written over.
fn write(folder: &Path, name: &str, issued: &Issued) -> anyhow::Result<()> {
    if name.is_empty() || name.contains(['/', '\0']) || name.starts_with('.') {
        bail!("{name:?} can't be the name of a file");
    }
    let file = |kind: &str| folder.join(format!("{name}.{kind}"));
    for kind in ["crt", "key", "p12", "p12.pass"] {
        absent(&file(kind))?;
    }
    files::create_dir(folder)?;
    let password = new_password();
    files::write(&file("key"), issued.key_pem.expose().as_bytes(), Mode::Secret)?;
    files::write(&file("p12.pass"), password.expose().as_bytes(), Mode::Secret)?;
    files::write(&file("p12"), &issued.pkcs12(name, &password)?, Mode::Secret)?;
    files::write(&file("crt"), issued.chain_pem.as_bytes(), Mode::Public)?;
    let facts = first(issued)?;
    talk(&format!("Issued {}, valid to {}", facts.subject, date(facts.not_after)));
    talk(&format!("  {}  .key  .p12  (password file .p12.pass)", file("crt").display()));
    Ok(())
}

fn absent(path: &Path) -> anyhow::Result<()> {
    match files::read_if_there(path)? {
        Some(_) => bail!("{} is there already: move it away first", path.display()),
        None => Ok(()),
    }
}

fn first(issued: &Issued) -> anyhow::Result<CertificateFacts> {
    facts(issued.chain_pem.as_bytes()).into_iter().next().context("no certificate was made")
}

/// The certificates of a PEM text.
fn facts(pem: &[u8]) -> Vec<CertificateFacts> {
    let certificates = CertificateDer::pem_slice_iter(pem).filter_map(Result::ok);
    certificates.filter_map(|der| CertificateFacts::read(&der)).collect()
}

fn list(folder: &Path, output: Output) -> anyhow::Result<()> {
    let now = SystemClock::new().wall();
    let mut table = Table::new(&["SUBJECT", "KIND", "ISSUER", "EXPIRES", "LEFT", "FILE"]);
    let mut found: Vec<(u8, String, CertificateFacts)> = Vec::new();
    for path in files::below(folder)? {
        let is_known = path.extension().is_some_and(|kind| KINDS.iter().any(|known| kind == *known));
        if let Some(facts) =
            is_known.then(|| files::read(&path)).transpose()?.and_then(|pem| facts(&pem).into_iter().next())
        {
            let rank = match facts.kind {
                Kind::Ca => 0,
                Kind::Server => 1,
                Kind::Client | Kind::Other => 2,
            };
            found.push((rank, path.display().to_string(), facts));
        }
    }
    found.sort_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
    for (_, file, facts) in found {
        let issuer = if facts.is_self_signed() { "self" } else { facts.issuer.trim_start_matches("CN=") };
        let left = facts.not_after.0.saturating_sub(now.0);
        // Days that have begun count: what was issued for 90 has 90 left.
        let left = if left < 0 { "expired".to_owned() } else { format!("{}d", (left + 86_399_999) / 86_400_000) };
        let (kind, expires) = (facts.kind.name(), date(facts.not_after));
        table.row(vec![json!(facts.subject), json!(kind), json!(issuer), json!(expires), json!(left), json!(file)]);
    }
    Ok(table.print(output)?)
}

fn show(file: &Path, output: Output) -> anyhow::Result<()> {
    let found = facts(&files::read(file)?);
    if found.is_empty() {
        bail!("{} holds no PEM certificate", file.display());
    }
    for (at, facts) in found.iter().enumerate() {
        if output == Output::Json {
            say(&json!({
                "subject": facts.subject, "issuer": facts.issuer, "kind": facts.kind.name(),
                "not_before": date(facts.not_before), "not_after": date(facts.not_after),
                "hosts": facts.hosts, "serial": facts.serial, "sha256": facts.fingerprint,
            })
            .to_string())?;
            continue;
        }
        if at > 0 {
            say("")?;
        }
        let hosts = if facts.hosts.is_empty() { "-".to_owned() } else { facts.hosts.join(", ") };
        let rows = [
            ("subject", facts.subject.as_str()),
            ("principal", &format!("User:{}", facts.subject)),
            ("issuer", &facts.issuer),
            ("kind", facts.kind.name()),
            ("valid", &format!("{} to {}", date(facts.not_before), date(facts.not_after))),
            ("hosts", &hosts),
            ("serial", &facts.serial),
            ("sha256", &facts.fingerprint),
        ];
        rows.iter().try_for_each(|(name, value)| say(&format!("{name:<10} {value}")))?;
    }
    Ok(())
}

/// `2027-02-21`
fn date(at: Wall) -> String {
    let at = OffsetDateTime::from_unix_timestamp(at.0.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    at.date().to_string()
}
