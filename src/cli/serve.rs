//! `schloss serve CONFIG`

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use super::exit;
use super::signals::Signals;
use crate::config::{BrokerConfig, Lang, Loaded, Profile, Severity, Sources, Style};
use crate::model::time::{Clock, Mono};
use crate::server::broker::{RunningBroker, StartError};
use crate::server::clock::SystemClock;
use crate::telemetry::line::{Output, install};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A server.properties as Kafka's
    config: PathBuf,
    /// Set a key, over whatever the file says; may be given again
    #[arg(long = "override", value_name = "KEY=VALUE", value_parser = super::key_value)]
    overrides: Vec<(String, String)>,
    /// The JAAS file; else the one that KAFKA_OPTS names
    #[arg(long, value_name = "FILE")]
    jaas: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, env: BTreeMap<String, String>) -> ExitCode {
    let lang = Lang::from_env(|name| env.get(name).cloned());
    let filter = env.get("RUST_LOG").cloned();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let start = clock.mono();
    let sources = Sources {
        file: Some(arguments.config.clone()),
        overrides: arguments.overrides.clone(),
        jaas: arguments.jaas.clone(),
        env,
        ..Sources::default()
    };
    let Some(loaded) = load(sources, lang) else { return ExitCode::from(exit::CONFIG) };
    if let Err(error) = install(Output::Stdout, filter.as_deref(), Arc::clone(&clock)) {
        complain(&format!("the log can't be set up: {error}"));
        return ExitCode::from(exit::FAILURE);
    }
    let signals = match Signals::take_over() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("error: signals can't be waited for: {error}"));
            return ExitCode::from(exit::FAILURE);
        }
    };
    announce(&loaded, lang);
    let insecure = insecure(&loaded, lang);
    let node = loaded.config.node_id;
    match RunningBroker::start(loaded.config, Arc::clone(&clock)) {
        Ok(broker) => {
            started(&broker, node.0, &*clock, start, &insecure);
            wait(broker, signals)
        }
        Err(error) => failed(&error),
    }
}

/// Loads a configuration, printing whatever is wrong with it. `None` if it can't be started.
pub(super) fn load(sources: Sources, lang: Lang) -> Option<Loaded> {
    match BrokerConfig::load(sources) {
        Ok(loaded) => Some(loaded),
        Err(findings) => {
            complain(findings.render(lang, Style::Long).trim_end());
            None
        }
    }
}

/// What the operator should know of the configuration, one line each.
pub(super) fn announce(loaded: &Loaded, lang: Lang) {
    let config = &loaded.config;
    tracing::info!(
        target: "schloss.server",
        "schloss {} starting: node {}, roles broker,controller, profile {}",
        env!("CARGO_PKG_VERSION"),
        config.node_id,
        config.profile.name()
    );
    for line in &loaded.translations {
        tracing::info!(target: "schloss.config", "{line}");
    }
    for finding in &loaded.warnings {
        let line = finding.render(lang, Style::Short);
        match finding.severity {
            Severity::Note => tracing::info!(target: "schloss.config", "{}", line.trim_end()),
            _ => tracing::warn!(target: "schloss.config", "{}", line.trim_end()),
        }
        for detail in finding.details() {
            tracing::debug!(target: "schloss.config", "{detail}");
        }
    }
}

/// The insecure things that the operator chose, for the block at the end of the start.
fn insecure(loaded: &Loaded, _lang: Lang) -> Vec<String> {
    let config = &loaded.config;
    if config.profile == Profile::Dev {
        return Vec::new();
    }
    let mut lines: Vec<String> = config
        .listeners
        .iter()
        .filter(|listener| !listener.protocol.is_tls() && !is_loopback(&listener.host))
        .map(|l| format!("listener {}://{}:{} is not encrypted [L0110]", l.name, l.host, l.port))
        .collect();
    if config.authorization.kind == crate::config::authorization::AuthorizerKind::None {
        lines.push("no authorizer: every client may do everything [A0110]".to_owned());
    }
    if config.authorization.allow_everyone_if_no_acl_found {
        lines.push("allow.everyone.if.no.acl.found: what no ACL speaks of, everybody may do [A0111]".to_owned());
    }
    lines
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The last lines of a start, among them one that other people's scripts wait for.
pub(super) fn started(broker: &RunningBroker, node: i32, clock: &dyn Clock, start: Mono, insecure: &[String]) {
    for listener in broker.bound() {
        tracing::info!(
            target: "schloss.network",
            "listener {} {} {}", listener.name, listener.protocol, listener.address
        );
    }
    tracing::info!(
        target: "org.apache.kafka.server.BrokerLifecycleManager",
        "[BrokerLifecycleManager id={node}] The broker has been unfenced. Transitioning from RECOVERY to RUNNING."
    );
    tracing::info!(target: "kafka.server.KafkaRaftServer", "[KafkaRaftServer nodeId={node}] Kafka Server started");
    if !insecure.is_empty() {
        tracing::warn!(target: "schloss.server", "{} insecure settings you chose: {}", insecure.len(), insecure.join("; "));
    }
    tracing::info!(target: "schloss.server", "ready in {} ms", clock.mono().since(start).as_millis());
}

/// Waits for a signal or a failure, and ends the broker.
pub(super) fn wait(broker: RunningBroker, signals: Signals) -> ExitCode {
    let cause = signals.wait(broker.failure());
    tracing::info!(target: "schloss.server", "stopping");
    broker.stop();
    match cause {
        None => {
            tracing::info!(target: "schloss.server", "stopped");
            ExitCode::SUCCESS
        }
        Some(cause) => {
            tracing::error!(target: "schloss.server", "{cause}");
            ExitCode::from(exit::DISK)
        }
    }
}

pub(super) fn failed(error: &StartError) -> ExitCode {
    tracing::error!(target: "schloss.server", "{error}");
    complain(&format!("error: {error}"));
    ExitCode::from(if error.is_of_disk() { exit::DISK } else { exit::CONFIG })
}

/// Talk, as opposed to data.
#[allow(clippy::print_stderr, reason = "this is the terminal's side of the house")]
pub(super) fn complain(text: &str) {
    eprintln!("{text}");
}
