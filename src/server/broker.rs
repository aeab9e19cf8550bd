//! The broker: everything put together in the order in which it depends on each other, and taken apart again.
//!
//! Precedent: Kafka's `KafkaRaftServer` and `BrokerServer`.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::watch;

use super::controller::{self, ControllerHandle, SystemRandom};
use super::dynamic::{self, Obeying};
use super::files::FileError;
use super::format::{FormatError, FormatRequest, format};
use super::groups::{self, GroupCoordinator};
use super::lanes::Lanes;
use super::lifecycle::{Lifecycle, LifecycleError, Registration};
use super::listeners::{self, ListenerError};
use super::logins::{LoginsError, logins};
use super::metadata_log;
use super::node_state::{NodeSecret, NodeState, Owner};
use super::producer_ids::ProducerIdBlocks;
use super::publisher::{Backlog, PartitionPublisher, Partitions, subscriber, uuid};
use super::topic_configs::partition_settings;
use super::{machine, tasks};
use crate::config::authorization::AuthorizerKind;
use crate::config::{BrokerConfig, Profile};
use crate::controller::{ControllerError, ControllerRegistration, ControllerRequest, ControllerResponse, Random};
use crate::handlers::context::{ControllerClient, GroupTopicLines, ProducerLines};
use crate::handlers::{self, Settings};
use crate::log::log_dir::{LogDir, OfflineListener};
use crate::log::manager::{LoadError, LogManager, Placement, StartError as LogDirsError, StartLogDirs};
use crate::log::storage::{Disk, RealDisk};
use crate::metadata::cluster::EndPoint;
use crate::metadata::image::MetadataImage;
use crate::metadata::topics::directory_id;
use crate::model::compression::CompressionType;
use crate::model::time::Clock;
use crate::model::topic::TopicIdPartition;
use crate::model::uuid::Uuid;
use crate::network::listener::BoundListener;
use crate::network::service::Handlers;
use crate::network::{Network, Options, StartError as NetworkError};
use crate::quota::memory::{Budget, default_budget_bytes};
use crate::replica::doorbell::Doorbell;
use crate::replica::lane::LaneSettings;
use crate::replica::manager::ReplicaManager;
use crate::security::authorizer::Authorizer;
use crate::security::authorizer::native::{self, NativeAuthorizer};
use crate::security::authorizer::open::OpenAuthorizer;
use crate::security::credentials::ScramCredentials;

/// How long a stop waits for partitions to be moved away.
const CONTROLLED_SHUTDOWN: Duration = Duration::from_secs(10);
/// How long a stop waits for requests in flight.
const DRAIN: Duration = Duration::from_secs(5);

/// The broker can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    File(#[from] FileError),
    #[error("{0}")]
    Format(#[from] FormatError),
    #[error(
        "{dir} is empty, but this node belonged to cluster {cluster}: a lost disk is not formatted by itself. If the data \
         is meant to be gone, remove the line of that cluster from {stamp}", dir = dir.display(), stamp = stamp.display()
    )]
    LostDisk { dir: PathBuf, cluster: String, stamp: PathBuf },
    #[error("{0}")]
    LogDirs(#[from] LogDirsError),
    #[error("the directory of the metadata log, {}, is not one of this broker's", .0.display())]
    NoMetadataDir(PathBuf),
    #[error("{0}")]
    Controller(#[from] controller::StartError),
    #[error("{0}")]
    Listener(#[from] ListenerError),
    #[error("{0}")]
    Logins(#[from] LoginsError),
    #[error("{0}")]
    Load(#[from] LoadError),
    #[error("{0}")]
    Lifecycle(#[from] LifecycleError),
    #[error("{0}")]
    Network(#[from] NetworkError),
    #[error("a thread can't be started: {0}")]
    Thread(#[from] io::Error),
}

impl StartError {
    /// Is it a matter of disks and data, rather than of what was configured?
    pub fn is_of_disk(&self) -> bool {
        !matches!(self, Self::Listener(_) | Self::Logins(_) | Self::Network(_))
    }
}

/// A broker that serves.
pub struct RunningBroker {
    bound: Vec<BoundListener>,
    controller: ControllerHandle,
    stop: watch::Sender<bool>,
    failed: watch::Receiver<Option<String>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for RunningBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningBroker").field("bound", &self.bound).finish_non_exhaustive()
    }
}

impl RunningBroker {
    /// Starts a broker and blocks until it serves.
    ///
    /// # Errors
    /// What keeps it from starting; nothing of it is left running.
    pub fn start(config: BrokerConfig, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        let parts = Parts::assemble(Arc::new(config), clock)?;
        let controller = parts.controller.clone();
        let failed = parts.failed.clone();
        let (stop, stopping) = watch::channel(false);
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new().name("schloss-server".to_owned()).spawn(move || {
            parts.run(stopping, |result| {
                // The starter waits for exactly this one.
                let _ = ready.send(result);
            });
        })?;
        let bound = started.recv().map_err(|_| io::Error::other("the server's thread ended at once"))??;
        Ok(Self { bound, controller, stop, failed, thread: Some(thread) })
    }

    /// The open listeners, in the order of `listeners`.
    pub fn bound(&self) -> &[BoundListener] {
        &self.bound
    }

    /// Becomes the cause when the broker can't go on.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failed.clone()
    }

    /// The active controller, for what a command line does on the broker's own behalf.
    pub fn controller(&self) -> &ControllerHandle {
        &self.controller
    }

    /// Moves leaders away, finishes what is in flight, closes every log and marks the stop as clean. Blocks.
    pub fn stop(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // A panic there was reported by its thread.
            let _ = thread.join();
        }
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

/// Everything that exists before the first task runs.
struct Parts {
    config: Arc<BrokerConfig>,
    clock: Arc<dyn Clock>,
    cluster_id: Arc<str>,
    logs: Arc<LogManager>,
    lanes: Lanes,
    replicas: Arc<ReplicaManager>,
    controller: ControllerHandle,
    obeying: Arc<Obeying>,
    backlog: Arc<Backlog>,
    specs: Vec<crate::network::listener::ListenerSpec>,
    authorizer: Arc<dyn Authorizer>,
    logins: Arc<crate::security::verifier::Logins>,
    incarnation_id: Uuid,
    offline_directories: watch::Receiver<Vec<Uuid>>,
    failed: watch::Receiver<Option<String>>,
}

impl Parts {
    fn assemble(config: Arc<BrokerConfig>, clock: Arc<dyn Clock>) -> Result<Self, StartError> {
        machine::raise_open_files();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut random = SystemRandom;
        let certificates = listeners::certificates(&config)?;
        let specs = listeners::specs(&config, &certificates)?;
        let state = NodeState::new(&config.state_dir, owner(&config));
        format_if_new(&config, &state, &*disk, &mut random, &*clock)?;
        let replicas_of: Arc<OnceLock<Weak<ReplicaManager>>> = Arc::default();
        let (failing, failed) = watch::channel(None);
        let (offline, offline_directories) = watch::channel(Vec::new());
        let listener = offline_listener(&config, &replicas_of, offline, failing.clone());
        let logs = Arc::new(start_log_dirs(&config, &disk, &*clock, &mut random, listener)?);
        let cluster_id: Arc<str> = logs.cluster_id().into();
        let secret = keep_state(&config, &state, &cluster_id, &mut random)?;
        let scram = Arc::new(ScramCredentials::new(secret.bytes()));
        let logins = Arc::new(logins(&config, &scram, machine::cores())?);
        let (native, authorizer) = authorizer(&config);
        let incarnation_id = uuid(&mut random);
        let metadata_dir = logs
            .dir(&config.metadata_log_dir)
            .and_then(|dir| dir.id())
            .ok_or_else(|| StartError::NoMetadataDir(config.metadata_log_dir.clone()))?;
        let controller = ControllerHandle::start(controller::Parts {
            disk,
            clock: Arc::clone(&clock),
            random: Box::new(random),
            log: metadata_log::Settings::from_config(&config, metadata_dir),
            controller: crate::controller::Settings::new(&config, &cluster_id),
            registration: ControllerRegistration { incarnation_id, end_points: end_points(&config, &[], true) },
            on_failure: Box::new(move |failure| {
                failing.send_replace(Some(failure.to_string()));
            }),
        })?;
        let lane_settings = LaneSettings { node_id: config.node_id, strict: config.profile == Profile::Strict };
        let lanes = Lanes::start(logs.dirs(), machine::cores(), &lane_settings, &clock)?;
        let slots = usize::try_from(config.settings.max_incremental_fetch_session_cache_slots).unwrap_or(0);
        let replicas =
            Arc::new(ReplicaManager::new(config.node_id, lanes.directories().to_vec(), slots, Arc::clone(&clock)));
        // Set once, here.
        let _ = replicas_of.set(Arc::downgrade(&replicas));
        let image = controller.committed().load_full();
        let threads = dynamic::settings_of(&config, &image).num_recovery_threads_per_data_dir;
        load_logs(&config, &logs, &replicas, &image, threads, &*clock, &mut random)?;
        let obeying = Arc::new(Obeying::new(&config, certificates, &image)?);
        let backlog = Backlog::new();
        controller.subscribe(subscriber(native.clone(), scram, Arc::clone(&replicas), Arc::clone(&backlog)));
        if let Some(native) = native {
            native.complete_initial_load();
        }
        Ok(Self {
            config,
            clock,
            cluster_id,
            logs,
            lanes,
            replicas,
            controller,
            obeying,
            backlog,
            specs,
            authorizer,
            logins,
            incarnation_id,
            offline_directories,
            failed,
        })
    }

    /// Runs the broker on this thread until it is to stop, then takes it apart.
    fn run(mut self, mut stopping: watch::Receiver<bool>, ready: impl FnOnce(Result<Vec<BoundListener>, StartError>)) {
        let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
            Ok(runtime) => runtime,
            Err(error) => return ready(Err(error.into())),
        };
        let (epoch, epoch_seen) = watch::channel(-1);
        let (applied, applied_seen) = watch::channel(-1);
        let (deletions, deletions_seen) = watch::channel(0);
        let mut lifecycle = Lifecycle {
            config: Arc::clone(&self.config),
            controller: self.controller.clone(),
            applied: applied_seen.clone(),
            epoch,
            offline_directories: self.offline_directories.clone(),
        };
        let publisher = PartitionPublisher {
            partitions: Partitions {
                config: Arc::clone(&self.config),
                logs: Arc::clone(&self.logs),
                replicas: Arc::clone(&self.replicas),
                clock: Arc::clone(&self.clock),
            },
            controller: self.controller.clone(),
            obeying: Arc::clone(&self.obeying),
            broker_epoch: epoch_seen,
            applied,
            deletions,
        };
        let (groups, group_mailbox) = GroupCoordinator::new();
        let group_parts = self.group_parts(applied_seen.clone(), deletions_seen);
        let network = runtime.block_on(async {
            tokio::task::spawn_local(Doorbell::install().serve());
            tokio::task::spawn_local(publisher.run(Arc::clone(&self.backlog), SystemRandom));
            tokio::task::spawn_local(groups::run(group_parts, group_mailbox));
            let network = self.serve(&mut lifecycle, applied_seen, groups).await?;
            tasks::start(&self.config, self.obeying.cleaners.subscribe(), &self.logs, &self.replicas, &self.clock);
            Ok::<Network, StartError>(network)
        });
        let network = match network {
            Ok(network) => network,
            Err(error) => {
                self.take_apart(None, runtime, -1);
                return ready(Err(error));
            }
        };
        ready(Ok(network.bound().to_vec()));
        let mut failed = self.failed.clone();
        runtime.block_on(async {
            let stop = stopping.wait_for(|stop| *stop);
            let failure = failed.wait_for(Option::is_some);
            tokio::select! {
                _ = stop => lifecycle.shut_down(CONTROLLED_SHUTDOWN).await,
                _ = failure => {}
                () = lifecycle.run() => {}
            }
        });
        let epoch = *lifecycle.epoch.borrow();
        self.take_apart(Some(network), runtime, epoch);
    }

    fn group_parts(&self, applied: watch::Receiver<i64>, deletions: watch::Receiver<u64>) -> groups::Parts {
        let settings = &self.config.settings;
        let codec = u8::try_from(settings.offsets_topic_compression_codec).ok().and_then(CompressionType::from_id);
        groups::Parts {
            node_id: self.config.node_id,
            image: Arc::clone(self.controller.committed()),
            replicas: Arc::clone(&self.replicas),
            clock: Arc::clone(&self.clock),
            random: Box::new(SystemRandom),
            settings: Arc::new(groups::settings(&self.config)),
            codec: codec.unwrap_or(CompressionType::None),
            expiry_interval: Duration::from_millis(
                u64::try_from(settings.offsets_retention_check_interval_ms).unwrap_or(0).max(1),
            ),
            applied,
            deletions,
        }
    }

    /// Registers, has the partitions taken in, opens the listeners.
    async fn serve(
        &mut self,
        lifecycle: &mut Lifecycle,
        applied: watch::Receiver<i64>,
        groups: GroupCoordinator,
    ) -> Result<Network, StartError> {
        let producer_ids = Arc::new(ProducerIdBlocks::default());
        let broker = Arc::new(handlers::Broker {
            node_id: self.config.node_id,
            cluster_id: Arc::clone(&self.cluster_id),
            settings: handler_settings(&self.config),
            image: Arc::clone(self.controller.committed()),
            authorizer: Arc::clone(&self.authorizer),
            controller: Arc::new(InForce { controller: self.controller.clone(), applied }),
            config: Arc::clone(&self.config),
            logins: Arc::clone(&self.logins),
            certificates: Arc::clone(&self.obeying.certificates),
            replicas: Arc::clone(&self.replicas),
            producer_ids: Arc::clone(&producer_ids) as _,
            producer_lines: ProducerLines::default(),
            groups: Arc::new(groups),
            group_topic_lines: GroupTopicLines::default(),
            clock: Arc::clone(&self.clock),
        });
        let bound = Network::bind(std::mem::take(&mut self.specs))?;
        let registration = Registration {
            cluster_id: Arc::clone(&self.cluster_id),
            incarnation_id: self.incarnation_id,
            end_points: end_points(&self.config, bound.listeners(), false),
            directories: self.logs.dirs().filter(|dir| dir.is_online()).filter_map(|dir| dir.id()).collect(),
            previous_epoch: self.logs.previous_broker_epoch().unwrap_or(-1),
        };
        lifecycle.register(registration).await?;
        lifecycle.unfence().await?;
        let epoch = lifecycle.epoch.subscribe();
        tokio::task::spawn_local(producer_ids.refill(self.config.node_id, epoch, self.controller.clone()));
        let budget = match u64::try_from(self.config.settings.queued_max_request_bytes) {
            Ok(bytes) if bytes > 0 => bytes,
            _ => default_budget_bytes(machine::memory_bytes()),
        };
        let threads = self.obeying.network_threads();
        let options = Options {
            threads: threads.min(machine::cores()),
            budget: Budget::new(budget),
            slots: Arc::clone(&self.obeying.slots),
        };
        Ok(bound.serve(&Handlers(broker), options)?)
    }

    fn take_apart(self, network: Option<Network>, runtime: tokio::runtime::LocalRuntime, epoch: i64) {
        if let Some(network) = network {
            network.shutdown(DRAIN);
        }
        drop(runtime);
        let clean = self.lanes.close();
        self.controller.shut_down();
        drop(self.replicas);
        match Arc::try_unwrap(self.logs) {
            Ok(logs) if clean && epoch >= 0 => logs.stop(epoch),
            // Without its mark the next start recovers.
            _ => tracing::warn!(target: "schloss.log", "not every log was closed in order; the next start recovers"),
        }
    }
}

/// The controller, answering when what it wrote is in force on this broker's partitions too.
#[derive(Debug)]
struct InForce {
    controller: ControllerHandle,
    applied: watch::Receiver<i64>,
}

impl ControllerClient for InForce {
    fn submit(
        &self,
        request: ControllerRequest,
    ) -> futures_util::future::BoxFuture<'static, Result<ControllerResponse, ControllerError>> {
        // What else is changed is in force before the answer comes.
        let changes_partitions = matches!(
            request,
            ControllerRequest::CreateTopics(_)
                | ControllerRequest::DeleteTopics(_)
                | ControllerRequest::CreatePartitions(_)
                | ControllerRequest::AlterConfigs(_)
                | ControllerRequest::ElectLeaders(_)
        );
        let answer = self.controller.submit(request);
        if !changes_partitions {
            return answer;
        }
        let (mut applied, committed) = (self.applied.clone(), Arc::clone(self.controller.committed()));
        Box::pin(async move {
            let answer = answer.await?;
            let offset = committed.load().offset();
            // Gone only when the broker is.
            let _ = applied.wait_for(|applied| *applied >= offset).await;
            Ok(answer)
        })
    }
}

fn handler_settings(config: &BrokerConfig) -> Settings {
    Settings {
        strict: config.profile == Profile::Strict,
        auto_create_topics: config.settings.auto_create_topics_enable,
        delete_topics: config.settings.delete_topic_enable,
        max_partitions_per_page: config.settings.max_request_partition_size_limit,
    }
}

/// A file of Kafka's ZooKeeper days has no format command: its directories are formatted if all of them are empty and
/// this node never belonged to a cluster.
fn format_if_new(
    config: &BrokerConfig,
    state: &NodeState,
    disk: &dyn Disk,
    random: &mut SystemRandom,
    clock: &dyn Clock,
) -> Result<(), StartError> {
    let is_formatted = |dir: &PathBuf| crate::log::meta_properties::MetaProperties::read(disk, dir);
    if !config.formats_itself {
        return Ok(());
    }
    for dir in &config.log_dirs {
        if is_formatted(dir).map_err(LogDirsError::from)?.is_some() {
            return Ok(());
        }
    }
    if let (Some(cluster), Some(dir)) = (state.last_cluster_id()?, config.log_dirs.first()) {
        return Err(StartError::LostDisk { dir: dir.clone(), cluster, stamp: config.state_dir.join("stamp") });
    }
    for dir in &config.log_dirs {
        super::files::create_dir(dir)?;
    }
    let request = FormatRequest {
        cluster_id: uuid(random).to_string(),
        node_id: config.node_id.0,
        log_dirs: config.log_dirs.clone(),
        metadata_log_dir: config.metadata_log_dir.clone(),
        release_version: None,
        features: Vec::new(),
        add_scram: Vec::new(),
        ignore_formatted: false,
    };
    for line in format(disk, random, &request, clock.wall())? {
        tracing::info!(target: "schloss.storage", "{line}");
    }
    Ok(())
}

/// Partitions of a failed directory are offline; without the metadata log's, or without any, the broker ends, as Kafka's
/// `LogManager.handleLogDirFailure` has it.
pub(super) fn offline_listener(
    config: &Arc<BrokerConfig>,
    replicas: &Arc<OnceLock<Weak<ReplicaManager>>>,
    offline: watch::Sender<Vec<Uuid>>,
    failing: watch::Sender<Option<String>>,
) -> OfflineListener {
    let (config, replicas) = (Arc::clone(config), Arc::clone(replicas));
    let left = AtomicUsize::new(config.log_dirs.len());
    Arc::new(move |dir: &LogDir| {
        let path = dir.path();
        let is_last = config.log_dirs.iter().any(|own| own == path) && left.fetch_sub(1, Ordering::Relaxed) == 1;
        let what = if path == config.metadata_log_dir {
            "it holds the metadata log, without which this broker can't go on"
        } else if is_last {
            "it is the last one, without which this broker can't go on"
        } else {
            "its partitions answer KAFKA_STORAGE_ERROR until the broker is started again on a disk that works"
        };
        tracing::error!(target: "schloss.log", "log directory {} is offline: {what}", path.display());
        if path == config.metadata_log_dir || is_last {
            failing.send_replace(Some(format!("log directory {} failed, and {what}", path.display())));
        }
        offline.send_modify(|offline| offline.extend(dir.id()));
        if let Some(replicas) = replicas.get().and_then(Weak::upgrade) {
            replicas.directory_failed(dir);
        }
    })
}

pub(super) fn start_log_dirs(
    config: &BrokerConfig,
    disk: &Arc<dyn Disk>,
    clock: &dyn Clock,
    random: &mut impl Random,
    listener: OfflineListener,
) -> Result<LogManager, StartError> {
    Ok(LogManager::start(StartLogDirs {
        disk: Arc::clone(disk),
        log_dirs: &config.log_dirs,
        metadata_log_dir: Some(&config.metadata_log_dir),
        node_id: config.node_id.0,
        cluster_id: None,
        now: clock.wall(),
        listener: Some(listener),
        new_directory_id: &mut || uuid(random),
    })?)
}

fn owner(config: &BrokerConfig) -> Owner {
    Owner::new(config.node_id, config.file.as_deref(), &config.log_dirs)
}

/// The node's secret and stamp, outside the data directories; in profile *compat* a state directory that can't be
/// written is replaced by the first log directory.
fn keep_state(
    config: &BrokerConfig,
    state: &NodeState,
    cluster_id: &str,
    random: &mut SystemRandom,
) -> Result<NodeSecret, StartError> {
    let attempt = state.secret(random).and_then(|secret| state.stamp(cluster_id).map(|()| secret));
    match (attempt, config.log_dirs.first()) {
        (Err(error), Some(dir)) if config.profile != Profile::Strict => {
            tracing::warn!(
                target: "schloss.server",
                "{error}; the node's secret is kept in {} instead (set schloss.state.dir)",
                dir.display()
            );
            let beside = NodeState::new(&dir.join(".schloss"), owner(config));
            let secret = beside.secret(random)?;
            beside.stamp(cluster_id)?;
            Ok(secret)
        }
        (attempt, _) => Ok(attempt?),
    }
}

fn authorizer(config: &BrokerConfig) -> (Option<Arc<NativeAuthorizer>>, Arc<dyn Authorizer>) {
    match config.authorization.kind {
        AuthorizerKind::None => (None, Arc::new(OpenAuthorizer)),
        AuthorizerKind::Native => {
            let settings = native::Settings::new(&config.authorization, config.profile);
            let native = Arc::new(NativeAuthorizer::new(settings));
            (Some(Arc::clone(&native)), native)
        }
    }
}

/// Opens the logs that the metadata places here, by so many threads for each directory, and gives them to their lanes.
pub(super) fn load_logs(
    config: &BrokerConfig,
    logs: &LogManager,
    replicas: &ReplicaManager,
    image: &Arc<MetadataImage>,
    threads: i32,
    clock: &dyn Clock,
    random: &mut impl Random,
) -> Result<(), StartError> {
    let node = config.node_id;
    let settings_of = |topic: &str| partition_settings(config, image, topic);
    let start = clock.mono();
    let loaded = logs.load(
        &|topic_id, topic_partition, dir: &LogDir| {
            let partition = image.topics.partition(topic_id, topic_partition.partition);
            let here = partition.filter(|p| p.replicas.contains(&node)).is_some_and(|partition| {
                let placed = partition.directory(node).filter(|id| !directory_id::is_reserved(*id));
                placed.is_none_or(|placed| dir.id().is_none_or(|id| id == placed))
            });
            if here { Placement::Here(settings_of(topic_partition.topic.as_str()).log) } else { Placement::Stray }
        },
        usize::try_from(threads).unwrap_or(1),
        clock.wall(),
        || uuid(random),
        &settings_of("").log,
    )?;
    for stray in &loaded.strays {
        tracing::warn!(
            target: "schloss.log",
            "{}: the metadata places no such partition here; left for you to look at",
            stray.display()
        );
    }
    for (partition, error) in loaded.refused {
        tracing::error!(target: "schloss.log", "partition {partition} can't be opened: {error}");
        if let Some(id) = image.topics.id(partition.topic.as_str()) {
            let id = TopicIdPartition { topic_id: id, partition: partition.partition };
            replicas.host_offline(id, partition);
        }
    }
    let count = loaded.logs.len();
    for log in loaded.logs {
        let settings = settings_of(log.topic_partition().topic.as_str());
        let partition = log.topic_partition().partition;
        replicas.host(log, partition, settings);
    }
    tracing::info!(
        target: "schloss.log",
        "log dirs {}: {count} partitions opened in {} ms, {}",
        config.log_dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(","),
        clock.mono().since(start).as_millis(),
        if logs.previous_broker_epoch().is_some() { "clean shutdown" } else { "no clean shutdown to go by" },
    );
    Ok(())
}

/// The listeners as registrations tell them: the controllers', or those that clients are told of.
fn end_points(config: &BrokerConfig, bound: &[BoundListener], controllers: bool) -> Vec<EndPoint> {
    let wanted = config.listeners.iter().filter(|l| if controllers { l.is_controller } else { l.is_advertised });
    wanted
        .map(|listener| {
            let port_bound = bound.iter().find(|b| b.name == listener.name).map(|b| b.address.port());
            EndPoint {
                name: listener.name.as_str().into(),
                host: listener.advertised_host.as_str().into(),
                port: match listener.advertised_port {
                    0 => port_bound.unwrap_or(listener.port),
                    port => port,
                },
                security_protocol: listener.protocol.id(),
            }
        })
        .collect()
}
