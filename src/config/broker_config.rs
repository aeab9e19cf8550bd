//! The typed configuration of a node, from everything the operator wrote.
//!
//! Order of strength: `--override`, the file, the profile's defaults, the table's. A file without `process.roles` is one of
//! Kafka's ZooKeeper days and starts as broker and controller in one; what was translated is said in one line each. A
//! file with `process.roles` keeps Kafka's rules for a quorum of one. All errors of a run are found together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::authorization::{self, Authorization};
use super::between;
use super::diagnostics::{Code, Diagnostic, Diagnostics, Severity};
use super::jaas::check::Credentials;
use super::jvm;
use super::keys::{self, Value};
use super::legacy;
use super::listeners::{self, Listeners};
use super::logins::Logins;
use super::nearest::nearest;
use super::profile::Profile;
use super::properties;
use super::providers;
use super::quorum;
use super::settings::Settings;
use super::tls::{self, Guard, TlsFiles};
use super::values::{self, Values};
use super::written::{Written, WrittenKeys};
use crate::model::broker::BrokerId;
use crate::model::listener::{ListenerName, SecurityProtocol};

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// `--override key=value`, in their order.
    pub overrides: Vec<(String, String)>,
    /// `--jaas FILE`
    pub jaas: Option<PathBuf>,
    /// Only directories are formatted: the JAAS file, which only a start is given, may be missing.
    pub only_format: bool,
    /// The environment, read once by whoever may.
    pub env: BTreeMap<String, String>,
}

/// A configuration that can be started, and what there is to say about it.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: BrokerConfig,
    /// Warnings and notes, in the order they were found.
    pub warnings: Vec<Diagnostic>,
    /// What was translated from an older Kafka, one line each.
    pub translations: Vec<String>,
}

/// What a node does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Roles {
    pub broker: bool,
    pub controller: bool,
}

/// One listener with all that belongs to it.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    pub name: ListenerName,
    /// Empty for every interface.
    pub host: String,
    /// 0 takes any free port.
    pub port: u16,
    /// What clients are told; this machine's name where the operator named none.
    pub advertised_host: String,
    /// 0 stands for the port that was bound.
    pub advertised_port: u16,
    /// Whether clients are told of it at all. Controllers' listeners and those left out of `advertised.listeners` are not.
    pub is_advertised: bool,
    pub is_controller: bool,
    pub protocol: SecurityProtocol,
    /// As SASL names them: `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`. Empty without SASL.
    pub sasl_mechanisms: Vec<String>,
    /// What JAAS says, by mechanism.
    pub jaas: BTreeMap<String, Credentials>,
    /// How long a login lasts, by mechanism; 0 and less: for ever.
    pub connections_max_reauth_ms: BTreeMap<String, i64>,
    /// Set exactly for TLS listeners.
    pub tls: Option<TlsFiles>,
    pub max_connections: i32,
    pub max_connection_creation_rate: i32,
    /// Largest message before a client has authenticated.
    pub sasl_server_max_receive_size: i32,
}

impl ListenerConfig {
    /// Whether a peer can show who it is: by SASL or by a certificate.
    pub fn knows_its_peers(&self) -> bool {
        self.protocol.is_sasl() || self.tls.as_ref().is_some_and(|tls| tls.client_auth != tls::ClientAuth::None)
    }
}

/// The configuration of a node.
#[derive(Clone, Debug)]
pub struct BrokerConfig {
    pub profile: Profile,
    pub node_id: BrokerId,
    pub roles: Roles,
    /// The file has no `process.roles`: its empty directories are formatted at start.
    pub formats_itself: bool,
    /// In the order of `listeners`.
    pub listeners: Vec<Arc<ListenerConfig>>,
    pub inter_broker_listener: ListenerName,
    pub log_dirs: Vec<PathBuf>,
    pub metadata_log_dir: PathBuf,
    pub authorization: Authorization,
    /// `max.connections.per.ip.overrides`
    pub max_connections_per_ip_overrides: Vec<(String, i32)>,
    /// `schloss.scram.doubled.nonce=accept`
    pub accepts_doubled_nonce: bool,
    /// The server.properties, if there is one.
    pub file: Option<PathBuf>,
    /// Where the node's own secret and stamp are kept.
    pub state_dir: PathBuf,
    pub settings: Settings,
    values: Arc<Values>,
}

/// SASL mechanisms that are built.
pub const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

/// All mechanism names that may stand in a key.
const MECHANISM_PREFIXES: [&str; 5] = ["plain", "scram-sha-256", "scram-sha-512", "oauthbearer", "gssapi"];

impl BrokerConfig {
    /// Reads and checks everything.
    ///
    /// # Errors
    /// All findings of the run, if at least one of them is an error.
    pub fn load(sources: Sources) -> Result<Loaded, Diagnostics> {
        let mut out = Diagnostics::new();
        let file = match &sources.file {
            Some(path) => Some(properties::read(path)?),
            None => None,
        };
        if let Some(file) = &file {
            out.extend(file.warnings.clone());
        }
        let (mut written, errors) = WrittenKeys::merge(file.as_ref(), &sources.overrides);
        out.extend(errors);
        let home = sources.file.as_deref().map(directory_of);
        let profile = written.text("schloss.profile").and_then(|text| text.parse().ok()).unwrap_or_default();
        out.extend(providers::resolve(&mut written, &sources.env, home.as_deref(), profile == Profile::Strict));
        Self::assemble(&Parts { sources: &sources, written, home, profile }, out)
    }

    fn assemble(parts: &Parts<'_>, mut out: Diagnostics) -> Result<Loaded, Diagnostics> {
        let Parts { written, profile, .. } = parts;
        let mut values = values::read(written, *profile, &mut out);
        let mut translations = Vec::new();
        let kraft = written.get("process.roles").is_some();
        legacy::translate(&mut values, written, kraft, &mut translations, &mut out);
        let buildable = !kraft || quorum::check(&values, written, &mut out);
        let listeners = if buildable { listeners::read(&values, written, &mut out) } else { None };
        let mut authorization = authorization::read(&values, written, *profile, &mut out);
        between::check(&values, written, &mut out);
        let names: Vec<String> = match &listeners {
            Some(listeners) => listeners.endpoints.iter().map(|e| e.name.as_str().to_lowercase()).collect(),
            None => {
                values.list("listeners").iter().filter_map(|l| Some(l.split_once("://")?.0.to_lowercase())).collect()
            }
        };
        values::check_prefixed(written, &names, &MECHANISM_PREFIXES, &mut out);
        let log_dirs = log_dirs(&values);
        let node_id = node_id(&values, &log_dirs, &mut out);
        for name in ["node.id", "broker.id"] {
            values.translate(name, Value::Int(node_id.0));
        }
        let per_ip = between::per_ip(&values, written, &mut out);
        let configs = listeners.as_ref().map(|listeners| parts.listeners(listeners, &values, &mut out));
        let settings = Settings::new(|name| values.get(name)).map_err(|name| {
            Diagnostics::from(Diagnostic::error(Code::P0302).arg(format!("{name} is not of its type")))
        })?;
        let (Some(listeners), Some(configs), false) = (listeners, configs, out.has_errors()) else {
            return Err(out);
        };
        if *profile == Profile::Strict && !values.is_set("schloss.super.users.listeners") {
            let known = configs.iter().filter(|listener| listener.knows_its_peers());
            authorization.super_user_listeners = Some(known.map(|listener| listener.name.clone()).collect());
        }
        let metadata_log_dir = values.string("metadata.log.dir").map(PathBuf::from);
        let config = Self {
            profile: *profile,
            node_id,
            roles: Roles { broker: true, controller: true },
            formats_itself: !kraft,
            listeners: configs.into_iter().map(Arc::new).collect(),
            inter_broker_listener: listeners.inter_broker,
            metadata_log_dir: metadata_log_dir.or_else(|| log_dirs.first().cloned()).unwrap_or_default(),
            log_dirs,
            authorization,
            max_connections_per_ip_overrides: per_ip,
            accepts_doubled_nonce: values.string("schloss.scram.doubled.nonce").as_deref() != Some("refuse"),
            file: parts.sources.file.clone(),
            state_dir: parts.state_dir(&values),
            settings,
            values: Arc::new(values),
        };
        Ok(Loaded { config, warnings: out.into_vec(), translations })
    }

    /// Every key with its static value; what [`super::topic`] describes and resolves from.
    pub fn values(&self) -> &Arc<Values> {
        &self.values
    }

    /// The static value of a key in force.
    pub fn effective(&self, name: &str) -> Value {
        self.values.get(name)
    }

    pub fn listener(&self, name: &ListenerName) -> Option<&Arc<ListenerConfig>> {
        self.listeners.iter().find(|listener| listener.name == *name)
    }

    /// Listeners that clients may be told of.
    pub fn broker_listeners(&self) -> impl Iterator<Item = &Arc<ListenerConfig>> {
        self.listeners.iter().filter(|listener| !listener.is_controller)
    }

    pub fn controller_listeners(&self) -> impl Iterator<Item = &Arc<ListenerConfig>> {
        self.listeners.iter().filter(|listener| listener.is_controller)
    }
}

/// What all steps look at.
pub(super) struct Parts<'a> {
    pub(super) sources: &'a Sources,
    pub(super) written: WrittenKeys,
    pub(super) home: Option<PathBuf>,
    pub(super) profile: Profile,
}

impl Parts<'_> {
    pub(super) fn guard(&self, values: &Values) -> Guard {
        Guard { profile: self.profile, loose_modes: values.bool("schloss.allow.loose.modes") }
    }

    fn state_dir(&self, values: &Values) -> PathBuf {
        let named = values.string("schloss.state.dir").map(PathBuf::from);
        named.unwrap_or_else(|| self.home.clone().unwrap_or_default().join(".schloss"))
    }

    fn listeners(&self, listeners: &Listeners, values: &Values, out: &mut Diagnostics) -> Vec<ListenerConfig> {
        let mut logins = Logins::new(self, values, out);
        let allowed = self.plaintext_allowed(values, listeners, out);
        let machine = machine_name();
        let mut configs = Vec::new();
        for endpoint in &listeners.endpoints {
            let name = &endpoint.name;
            let prefix = name.config_prefix();
            let advertised = listeners.advertised.iter().find(|advertised| advertised.name == *name);
            let mechanisms = if endpoint.protocol.is_sasl() { self.mechanisms(name, out) } else { Vec::new() };
            let mut jaas = BTreeMap::new();
            for mechanism in &mechanisms {
                if let Some(found) = logins.of(name, mechanism, out) {
                    jaas.insert(mechanism.clone(), found);
                }
            }
            let tls =
                endpoint.protocol.is_tls().then(|| tls::read(name, &self.written, &self.guard(values), out)).flatten();
            self.judge_openness(endpoint, &mechanisms, allowed.as_deref(), out);
            let limit = |key: &str| {
                let number = self.prefixed_number(&[&prefix], key, values);
                i32::try_from(number).unwrap_or(i32::MAX)
            };
            let reauth = mechanisms.iter().map(|mechanism| {
                let own = format!("{prefix}{}.", mechanism.to_lowercase());
                (mechanism.clone(), self.prefixed_number(&[&own, &prefix], "connections.max.reauth.ms", values))
            });
            let connections_max_reauth_ms = reauth.collect();
            let (host, port) = advertised.map_or(("", endpoint.port), |told| (told.host.as_str(), told.port));
            configs.push(ListenerConfig {
                name: name.clone(),
                host: endpoint.host.clone(),
                port: endpoint.port,
                advertised_host: if host.is_empty() { machine.clone() } else { host.to_owned() },
                advertised_port: port,
                is_controller: listeners.is_controller(name),
                is_advertised: advertised.is_some() && !listeners.is_controller(name),
                protocol: endpoint.protocol,
                sasl_mechanisms: mechanisms,
                jaas,
                connections_max_reauth_ms,
                tls,
                max_connections: limit("max.connections"),
                max_connection_creation_rate: limit("max.connection.creation.rate"),
                sasl_server_max_receive_size: limit("sasl.server.max.receive.size"),
            });
        }
        logins.finish(out);
        self.check_inter_broker(listeners, &configs, values, out);
        configs
    }

    /// What is written behind the first of the prefixes that is there, or else what holds for the whole node.
    fn prefixed_number(&self, prefixes: &[&str], key: &str, values: &Values) -> i64 {
        let mut own = prefixes.iter().filter_map(|prefix| self.written.get(&format!("{prefix}{key}")));
        let own = own.next().and_then(|written| keys::broker(key)?.validate(written.text()).ok());
        own.unwrap_or_else(|| values.get(key)).number().unwrap_or(0)
    }

    /// The mechanisms of one listener; those that are not built are refused.
    fn mechanisms(&self, name: &ListenerName, out: &mut Diagnostics) -> Vec<String> {
        let written = self.written.for_listener(&name.config_prefix(), "sasl.enabled.mechanisms");
        let Some(written) = written.filter(|written| !written.text().is_empty()) else {
            out.push(Diagnostic::error(Code::L0003).arg(name));
            return Vec::new();
        };
        let asked = jvm::names(written.text());
        for mechanism in asked.iter().filter(|name| !MECHANISMS.contains(&name.as_str())) {
            let mut found = Diagnostic::error(Code::L0004).arg(mechanism).arg(name).at(written.value_place());
            if let Some(meant) = nearest(mechanism, MECHANISMS) {
                found = found.with_help(format!("did you mean {meant} ?"));
            }
            out.push(found);
        }
        asked.into_iter().filter(|name| MECHANISMS.contains(&name.as_str())).collect()
    }

    /// `schloss.allow.plaintext.listeners`: the names, or `None` for all of them.
    fn plaintext_allowed(
        &self,
        values: &Values,
        listeners: &Listeners,
        out: &mut Diagnostics,
    ) -> Option<Vec<ListenerName>> {
        let by_env =
            self.sources.env.get("ALLOW_PLAINTEXT_LISTENER").is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        let names = values.list("schloss.allow.plaintext.listeners");
        if by_env || names.iter().any(|name| name == "*") {
            return None;
        }
        let names: Vec<ListenerName> = names.iter().map(|name| ListenerName::new(name)).collect();
        let known = |name: &ListenerName| listeners.endpoints.iter().any(|endpoint| endpoint.name == *name);
        for name in names.iter().filter(|name| !known(name)) {
            let all: Vec<&str> = listeners.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
            let place = self.written.get("schloss.allow.plaintext.listeners").map(Written::value_place);
            out.push(Diagnostic::error(Code::P0404).arg(name).arg(all.join(", ")).at_maybe(place));
        }
        Some(names)
    }

    /// The rows of the security defaults on listeners. `allowed` is `None` when every listener may be open.
    fn judge_openness(
        &self,
        endpoint: &listeners::Endpoint,
        mechanisms: &[String],
        allowed: Option<&[ListenerName]>,
        out: &mut Diagnostics,
    ) {
        if endpoint.protocol.is_tls() || endpoint.is_loopback() || self.profile == Profile::Dev {
            return;
        }
        let place = || self.written.get("listeners").map(Written::value_place);
        let strict = self.profile == Profile::Strict;
        let is_allowed = allowed.is_none_or(|names| names.contains(&endpoint.name));
        let severity = if strict && !is_allowed { Severity::Error } else { Severity::Warning };
        let found = |severity, code| {
            Diagnostic::new(severity, code).arg(&endpoint.name).arg(endpoint.address()).at_maybe(place())
        };
        out.push(found(severity, Code::L0110));
        if mechanisms.iter().any(|mechanism| mechanism == "PLAIN") {
            out.push(found(if strict { Severity::Error } else { Severity::Warning }, Code::L0111));
        }
    }

    /// Between brokers SASL needs a mechanism that the listener offers.
    fn check_inter_broker(
        &self,
        listeners: &Listeners,
        configs: &[ListenerConfig],
        values: &Values,
        out: &mut Diagnostics,
    ) {
        let Some(listener) = configs.iter().find(|config| config.name == listeners.inter_broker) else { return };
        let mechanism = values.string("sasl.mechanism.inter.broker.protocol").unwrap_or_default();
        let offered = &listener.sasl_mechanisms;
        if listener.protocol.is_sasl() && !offered.is_empty() && !offered.contains(&mechanism) {
            let text = "sasl.mechanism.inter.broker.protocol must be included in sasl.enabled.mechanisms when SASL is used \
                        for inter-broker communication";
            let place = self.written.get("sasl.mechanism.inter.broker.protocol").map(Written::value_place);
            out.push(Diagnostic::error(Code::L0001).arg(text).at_maybe(place));
        }
    }
}

fn directory_of(file: &Path) -> PathBuf {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

pub(super) fn log_dirs(values: &Values) -> Vec<PathBuf> {
    let dirs = values.list("log.dirs");
    let dirs = if dirs.is_empty() { values.list("log.dir") } else { dirs };
    dirs.into_iter().map(PathBuf::from).collect()
}

/// `node.id`, else `broker.id`, else what the first formatted directory says, else 1.
fn node_id(values: &Values, log_dirs: &[PathBuf], out: &mut Diagnostics) -> BrokerId {
    let set = |key: &str| values.is_set(key).then(|| values.get(key).number()).flatten().filter(|id| *id >= 0);
    if let Some(id) = set("node.id").or_else(|| set("broker.id")) {
        return BrokerId(i32::try_from(id).unwrap_or(0));
    }
    let kept = log_dirs.iter().find_map(|dir| kept_node_id(dir));
    if kept.is_none() {
        out.push(Diagnostic::note(Code::P0311).arg(1));
    }
    BrokerId(kept.unwrap_or(1))
}

fn kept_node_id(dir: &Path) -> Option<i32> {
    let properties = properties::read(&dir.join("meta.properties")).ok()?;
    let entry = properties.get("node.id").or_else(|| properties.get("broker.id"))?;
    entry.value.expose().trim().parse().ok()
}

/// This machine's name, for listeners whose address the operator left open.
#[allow(clippy::disallowed_methods)]
fn machine_name() -> String {
    let read = |path: &str| std::fs::read_to_string(path).ok().map(|name| name.trim().to_owned());
    let name = read("/proc/sys/kernel/hostname").or_else(|| read("/etc/hostname"));
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

#[cfg(test)]
mod tests;
