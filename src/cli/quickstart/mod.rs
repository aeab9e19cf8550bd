//! `schloss quickstart`: one folder with a secured broker in it, and everything clients need.

mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, bail};

use super::client::client_files::new_password;
use super::exit;
use super::serve::{complain, load, wait};
use super::signals::Signals;
use super::storage::{format_dirs, random_uuid};
use crate::config::{BrokerConfig, Lang, Sources};
use crate::controller::{ControllerRequest, ControllerResponse, CreateAcls, CreateTopic, CreateTopics};
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::error_code::ErrorCode;
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};
use crate::model::secret::Secret;
use crate::model::time::{Clock, Mono};
use crate::security::authorizer::permit::{Permit, Reason, Resource};
use crate::security::certificates::{Authority, LEAF_LIFE};
use crate::server::broker::RunningBroker;
use crate::server::clock::SystemClock;
use crate::server::files::is_empty_dir;
use crate::server::format::FormatRequest;
use crate::telemetry::line::{Output, install};

use files::{Layout, User};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The folder; made if it is not there, used again if it is
    #[arg(long, default_value = "schloss-data")]
    dir: PathBuf,
    /// The port clients connect to; the first start writes it into the folder's files
    #[arg(long, default_value_t = 9092)]
    port: u16,
}

/// Who logged in wrongly, who was refused what, who spoke the wrong protocol; nothing that went well.
const QUIET: &str = "warn,kafka.authorizer.logger=info,schloss.network=info,schloss::handlers=info,schloss.handlers=info,org.apache.kafka.common.network.Selector=info";
/// Names of the topic and what the demo user may do with it.
const TOPIC: &str = "demo";
const DEMO_RIGHTS: [AclOperation; 3] = [AclOperation::Read, AclOperation::Write, AclOperation::Describe];

pub(super) fn run(arguments: &Arguments, env: BTreeMap<String, String>) -> ExitCode {
    let lang = Lang::from_env(|name| env.get(name).cloned());
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let start = clock.mono();
    // The lines that matter to whoever sits here are printed; the log stays with what may go wrong.
    let filter = env.get("RUST_LOG").cloned().unwrap_or_else(|| QUIET.to_owned());
    if let Err(error) = install(Output::Stderr, Some(&filter), Arc::clone(&clock)) {
        complain(&format!("error: the log can't be set up: {error}"));
        return ExitCode::from(exit::FAILURE);
    }
    let signals = match Signals::take_over() {
        Ok(signals) => signals,
        Err(error) => {
            complain(&format!("error: signals can't be waited for: {error}"));
            return ExitCode::from(exit::FAILURE);
        }
    };
    let layout = Layout::new(&arguments.dir);
    match begin(&layout, arguments.port, lang, env, &clock, start) {
        Ok(Some(broker)) => wait(broker, signals),
        Ok(None) => ExitCode::from(exit::CONFIG),
        Err(error) => {
            complain(&format!("error: {error:#}"));
            ExitCode::from(exit::FAILURE)
        }
    }
}

/// Prepares what is missing and starts the broker; `None` if its configuration was refused, which is printed.
fn begin(
    layout: &Layout,
    port: u16,
    lang: Lang,
    env: BTreeMap<String, String>,
    clock: &Arc<dyn Clock>,
    start: Mono,
) -> anyhow::Result<Option<RunningBroker>> {
    complain(&format!(
        "schloss {} quickstart - one broker, TLS + SCRAM-SHA-512 + ACLs, everything in {}\n",
        env!("CARGO_PKG_VERSION"),
        layout.shown.display()
    ));
    let is_new = !layout.is_there()?;
    let passwords = if is_new { make(layout, port, &**clock)? } else { Vec::new() };
    let sources = Sources { file: Some(layout.server_properties()), env, ..Sources::default() };
    let Some(loaded) = load(sources, lang) else { return Ok(None) };
    if is_new {
        format(&loaded.config, &passwords)?;
    }
    let port = loaded.config.listeners.first().map_or(port, |listener| listener.port);
    let broker = RunningBroker::start(loaded.config, Arc::clone(clock))?;
    give_demo_its_topic(&broker)?;
    print(layout, is_new, port, clock.mono().since(start));
    Ok(Some(broker))
}

/// Certificates, users and files. Returns the users' passwords.
fn make(layout: &Layout, port: u16, clock: &dyn Clock) -> anyhow::Result<Vec<(User, Secret)>> {
    if !is_empty_dir(&layout.root)? {
        bail!("{} is not empty and holds no quickstart: choose another --dir", layout.shown.display());
    }
    let now = clock.wall();
    let authority = Authority::new("schloss-ca", now)?;
    let broker = authority.issue_server("localhost", &["localhost", "127.0.0.1", "::1"], now, LEAF_LIFE)?;
    let passwords: Vec<(User, Secret)> = User::ALL.into_iter().map(|user| (user, new_password())).collect();
    layout.write(port, &authority, &broker, &passwords)?;
    Ok(passwords)
}

fn format(config: &BrokerConfig, passwords: &[(User, Secret)]) -> anyhow::Result<()> {
    let add_scram = passwords
        .iter()
        .map(|(user, password)| format!("SCRAM-SHA-512=[name={},password={}]", user.name(), password.expose()))
        .collect();
    let request = FormatRequest {
        cluster_id: random_uuid().to_string(),
        node_id: config.node_id.0,
        log_dirs: config.log_dirs.clone(),
        metadata_log_dir: config.metadata_log_dir.clone(),
        release_version: None,
        features: Vec::new(),
        add_scram,
        ignore_formatted: false,
    };
    format_dirs(&request)?;
    Ok(())
}

/// The demo topic, and the demo user's rights on it and on groups whose names begin with its name. Nothing is done twice.
fn give_demo_its_topic(broker: &RunningBroker) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().context("no runtime")?;
    let controller = broker.controller();
    if controller.committed().load().topics.id(TOPIC).is_none() {
        // The operator sits at this terminal; no listener is involved.
        let topic = CreateTopic::with_defaults(Permit::internal(Reason::Setup, Resource::Cluster), TOPIC);
        let request = CreateTopics { topics: vec![topic], validate_only: false, deadline: None };
        let answer = runtime.block_on(controller.submit(ControllerRequest::CreateTopics(request)))?;
        if let ControllerResponse::CreateTopics(topics) = answer {
            for topic in topics {
                match topic.result {
                    Err(error) if error.code() != ErrorCode::TopicAlreadyExists => {
                        bail!("topic {TOPIC} can't be made: {error}")
                    }
                    _ => {}
                }
            }
        }
    }
    let groups =
        ResourcePattern { pattern_type: PatternType::Prefixed, ..ResourcePattern::literal(ResourceType::Group, TOPIC) };
    let topic = ResourcePattern::literal(ResourceType::Topic, TOPIC);
    let rights = DEMO_RIGHTS.into_iter().map(|operation| (topic.clone(), operation));
    let bindings = rights.chain([(groups, AclOperation::Read)]).map(|(pattern, operation)| AclBinding {
        pattern,
        principal: "User:demo".into(),
        host: AclBinding::WILDCARD_HOST.into(),
        operation,
        permission: AclPermission::Allow,
    });
    let missing: Vec<AclBinding> = {
        let image = controller.committed().load();
        bindings.filter(|binding| !image.acls.contains(binding)).collect()
    };
    if !missing.is_empty() {
        let permit = Permit::internal(Reason::Setup, Resource::Cluster);
        let request = CreateAcls { permit, bindings: missing };
        runtime.block_on(controller.submit(ControllerRequest::CreateAcls(request)))?;
    }
    Ok(())
}

fn print(layout: &Layout, is_new: bool, port: u16, took: std::time::Duration) {
    let shown = layout.shown.display();
    let state = if is_new { "new " } else { "have" };
    complain(&format!(
        "  {state} certificate authority  {shown}/certs/ca.crt
  {state} broker certificate     {shown}/certs/broker.pem   localhost, 127.0.0.1, ::1
  {state} user admin             {shown}/clients/admin.properties   super user
  {state} user demo              {shown}/clients/demo.properties    reads and writes topic demo
  {state} topic demo             1 partition

  Kafka    SASL_SSL://localhost:{port}

Try, in another terminal:
  echo hello | schloss produce demo
  schloss consume demo -o start -n 1
Or any Kafka client:
  kafka-console-producer.sh --bootstrap-server localhost:{port} --topic demo \\
      --command-config {shown}/clients/demo.properties
  kcat -F {shown}/clients/demo.kcat.conf -C -t demo -o beginning -e
Ready in {seconds:.1} s. Ctrl-C stops it; the same command starts it again.",
        seconds = took.as_secs_f64()
    ));
}
