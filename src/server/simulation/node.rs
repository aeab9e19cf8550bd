//! A broker without threads: the server's own parts, each of which works when the run says so.

use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{oneshot, watch};

use super::chance::{Chance, VirtualClock};
use super::cleaner::Round;
use crate::config::{BrokerConfig, Profile};
use crate::controller::{
    AssignReplicasToDirs, BrokerHeartbeat, ControllerError, ControllerRegistration, ControllerRequest,
    ControllerResponse, RegisterBroker,
};
use crate::coordinator::group::{GroupRequest, GroupResponse};
use crate::log::manager::LogManager;
use crate::log::storage::{Disk, FaultyDisk};
use crate::log::unified_log::RemovalJob;
use crate::metadata::cluster::EndPoint;
use crate::metadata::image::MetadataImage;
use crate::model::compression::CompressionType;
use crate::model::error_code::ErrorCode;
use crate::model::time::Clock;
use crate::model::uuid::Uuid;
use crate::replica::completion::completion;
use crate::replica::lane::command::Command;
use crate::replica::lane::{Lane, LaneSettings};
use crate::replica::manager::{DirectoryLanes, ReplicaManager};
use crate::replica::partition::Partition;
use crate::security::credentials::ScramCredentials;
use crate::server::controller::Driver as ControllerDriver;
use crate::server::groups::{self, Driver as GroupDriver, LoadJob};
use crate::server::metadata_log::{self, LogFailure, SnapshotJob};
use crate::server::publisher::{Backlog, Partitions, subscriber, uuid};
use crate::server::{broker, controller};

/// Threads that open logs: none but the run's own.
const ON_THIS_THREAD: i32 = 0;

/// Heartbeats that a start may take.
const HEARTBEATS: usize = 5;

pub(super) type Answer<T, E> = oneshot::Receiver<Result<T, E>>;

/// What a broker stands on.
#[derive(Clone, Debug)]
pub(super) struct Ground {
    pub(super) config: Arc<BrokerConfig>,
    pub(super) disk: FaultyDisk,
    pub(super) clock: Arc<VirtualClock>,
    pub(super) lanes_per_dir: usize,
}

impl Ground {
    pub(super) fn metadata_log(&self, directory_id: Uuid) -> metadata_log::Settings {
        let settings = metadata_log::Settings::from_config(&self.config, directory_id);
        metadata_log::Settings { snapshot_bytes: 6_000, ..settings }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::<VirtualClock>::clone(&self.clock)
    }
}

/// A running broker.
pub(super) struct Node {
    pub(super) replicas: Arc<ReplicaManager>,
    pub(super) logs: Arc<LogManager>,
    pub(super) lanes: Vec<Arc<Lane>>,
    pub(super) controller: ControllerDriver,
    pub(super) groups: GroupDriver,
    pub(super) broker_epoch: i64,
    /// Of the metadata log.
    pub(super) directory: Uuid,
    pub(super) snapshot: Option<SnapshotJob>,
    pub(super) round: Option<Round>,
    loads: Vec<LoadJob>,
    removals: Vec<RemovalJob>,
    partitions: Partitions,
    backlog: Arc<Backlog>,
    offline: watch::Receiver<Vec<Uuid>>,
    chance: Chance,
    ground: Ground,
}

impl Node {
    /// Does what a broker does before it opens its listeners.
    pub(super) fn start(ground: &Ground, mut chance: Chance) -> Result<Self, String> {
        let (config, clock) = (&ground.config, ground.clock());
        let replicas_of = Arc::new(OnceLock::new());
        let (failed, offline) = watch::channel(Vec::new());
        let (failing, _) = watch::channel(None);
        let listener = broker::offline_listener(config, &replicas_of, failed, failing);
        let logs = broker::start_log_dirs(config, &ground.disk(), &*clock, &mut chance, listener);
        let logs = Arc::new(logs.map_err(|error| error.to_string())?);
        let directory = logs.dir(&config.metadata_log_dir).and_then(|dir| dir.id()).ok_or("no metadata directory")?;
        let registration = ControllerRegistration { incarnation_id: uuid(&mut chance), end_points: Vec::new() };
        let mut controller = ControllerDriver::start(
            ground.disk(),
            Arc::clone(&clock),
            Box::new(chance.branch()),
            ground.metadata_log(directory),
            crate::controller::Settings::new(config, logs.cluster_id()),
            &registration,
        )
        .map_err(|error: controller::StartError| error.to_string())?;
        let settings = LaneSettings { node_id: config.node_id, strict: config.profile == Profile::Strict };
        let of_dir = |log_dir| {
            let lane = || Arc::new(Lane::new(Arc::clone(log_dir), settings.clone(), Arc::clone(&clock)));
            DirectoryLanes { log_dir: Arc::clone(log_dir), lanes: (0..ground.lanes_per_dir).map(|_| lane()).collect() }
        };
        let directories: Vec<DirectoryLanes> = logs.dirs().map(of_dir).collect();
        let lanes = directories.iter().flat_map(|directory| directory.lanes.clone()).collect();
        let replicas = Arc::new(ReplicaManager::new(config.node_id, directories, 100, Arc::clone(&clock)));
        let _ = replicas_of.set(Arc::downgrade(&replicas));
        let image = controller.log.committed().load_full();
        broker::load_logs(config, &logs, &replicas, &image, ON_THIS_THREAD, &*clock, &mut chance)
            .map_err(|error| error.to_string())?;
        let backlog = Backlog::new();
        let scram = Arc::new(ScramCredentials::new(b"secret"));
        controller.log.subscribe(subscriber(None, scram, Arc::clone(&replicas), Arc::clone(&backlog)));
        let groups = GroupDriver::new(groups::Parts {
            node_id: config.node_id,
            image: Arc::clone(controller.log.committed()),
            replicas: Arc::clone(&replicas),
            clock: Arc::clone(&clock),
            random: Box::new(chance.branch()),
            settings: Arc::new(groups::settings(config)),
            codec: CompressionType::None,
            expiry_interval: Duration::from_secs(1),
            applied: watch::channel(-1).1,
            deletions: watch::channel(0).1,
        });
        let partitions = Partitions {
            config: Arc::clone(config),
            logs: Arc::clone(&logs),
            replicas: Arc::clone(&replicas),
            clock: Arc::clone(&clock),
        };
        let mut node = Self {
            replicas,
            logs,
            lanes,
            controller,
            groups,
            broker_epoch: -1,
            directory,
            snapshot: None,
            round: None,
            loads: Vec::new(),
            removals: Vec::new(),
            partitions,
            backlog,
            offline,
            chance,
            ground: ground.clone(),
        };
        node.join_cluster()?;
        Ok(node)
    }

    /// Registers and is unfenced.
    fn join_cluster(&mut self) -> Result<(), String> {
        let config = &self.ground.config;
        let request = RegisterBroker {
            broker: config.node_id,
            cluster_id: self.logs.cluster_id().into(),
            incarnation_id: uuid(&mut self.chance),
            end_points: vec![EndPoint { name: "PLAINTEXT".into(), host: "h".into(), port: 1, security_protocol: 0 }],
            features: self.image().features.supported_ranges(),
            rack: None,
            directories: self.logs.dirs().filter(|dir| dir.is_online()).filter_map(|dir| dir.id()).collect(),
            previous_epoch: self.logs.previous_broker_epoch().unwrap_or(-1),
            local: true,
        };
        match self.ask_now(ControllerRequest::RegisterBroker(request))? {
            ControllerResponse::RegisterBroker { epoch } => self.broker_epoch = epoch,
            other => return Err(format!("a registration was answered {other:?}")),
        }
        for _ in 0..HEARTBEATS {
            self.follow_metadata().map_err(|error| error.to_string())?;
            let heartbeat = self.heartbeat(false);
            match self.ask_now(heartbeat)? {
                ControllerResponse::BrokerHeartbeat(answer) if answer.is_fenced => {}
                _ => return self.follow_metadata().map_err(|error| error.to_string()),
            }
        }
        Err("it stays fenced".to_owned())
    }

    fn ask_now(&mut self, request: ControllerRequest) -> Result<ControllerResponse, String> {
        let (answer, mut answered) = oneshot::channel();
        self.controller.request(request, answer).map_err(|error| error.to_string())?;
        self.controller.commit().map_err(|error| error.to_string())?;
        answered.try_recv().map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    pub(super) fn heartbeat(&self, want_shut_down: bool) -> ControllerRequest {
        ControllerRequest::BrokerHeartbeat(BrokerHeartbeat {
            broker: self.ground.config.node_id,
            broker_epoch: self.broker_epoch,
            metadata_offset: self.image().offset(),
            want_fence: false,
            want_shut_down,
            offline_directories: self.offline.borrow().clone(),
            cordoned_directories: None,
        })
    }

    /// The image of everything that is committed.
    pub(super) fn image(&self) -> Arc<MetadataImage> {
        self.controller.log.committed().load_full()
    }

    /// Has a log directory failed?
    pub(super) fn is_damaged(&self) -> bool {
        !self.offline.borrow().is_empty()
    }

    /// Hands a request to the controller: it is decided and appended, and answered at the next commit.
    pub(super) fn ask_controller(
        &mut self,
        request: ControllerRequest,
    ) -> Result<Answer<ControllerResponse, ControllerError>, LogFailure> {
        let (answer, answered) = oneshot::channel();
        self.controller.request(request, answer)?;
        Ok(answered)
    }

    pub(super) fn ask_groups(&mut self, request: GroupRequest) -> Answer<GroupResponse, ErrorCode> {
        let (answer, answered) = oneshot::channel();
        self.groups.request(request, answer);
        answered
    }

    /// Partitions and groups become what is committed.
    pub(super) fn follow_metadata(&mut self) -> Result<(), LogFailure> {
        while let Some((delta, _)) = self.backlog.take() {
            let placed = {
                let mut apply = pin!(self.partitions.apply(&delta, &mut self.chance));
                loop {
                    match apply.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                        Poll::Ready(placed) => break placed,
                        Poll::Pending => self.lanes.iter().for_each(|lane| self.removals.extend(lane.drain())),
                    }
                }
            };
            if !placed.is_empty() {
                let (broker, broker_epoch) = (self.ground.config.node_id, self.broker_epoch);
                let request = AssignReplicasToDirs { broker, broker_epoch, assignments: placed };
                drop(self.ask_controller(ControllerRequest::AssignReplicasToDirs(request))?);
            }
        }
        self.groups.follow_metadata();
        self.groups.forget_topics();
        self.loads.extend(self.groups.take_loads());
        Ok(())
    }

    pub(super) fn drain_lane(&mut self, at: usize) {
        if let Some(lane) = self.lanes.get(at) {
            self.removals.extend(lane.drain());
        }
    }

    pub(super) fn drain_lanes(&mut self) {
        (0..self.lanes.len()).for_each(|at| self.drain_lane(at));
    }

    /// Every lane gets a command.
    pub(super) fn command(&self, make: fn() -> Command) {
        self.lanes.iter().for_each(|lane| lane.command(make()));
    }

    /// Settles what the coordinator's appends came to, and reads one shard that waits for it.
    pub(super) fn work_on_groups(&mut self) {
        if let Some(job) = self.loads.pop() {
            let loaded = job.run();
            self.groups.loaded(loaded);
        }
        while self.groups.is_appending() && self.groups.next_appended().now_or_never().is_some() {}
        self.groups.timers();
    }

    /// Removes files that no log needs any more.
    pub(super) fn remove_files(&mut self) {
        for job in self.removals.drain(..) {
            let _ = job.run();
        }
        if let Some(job) = self.logs.take_removals(self.ground.clock.mono()) {
            job.run();
        }
    }

    /// The partitions that are here, in one order.
    pub(super) fn hosted(&self) -> Vec<Arc<Partition>> {
        let mut partitions = self.replicas.partitions();
        partitions.sort_by_key(|partition| partition.id());
        partitions
    }

    /// Stops in order.
    pub(super) fn stop(mut self) -> Result<(), LogFailure> {
        let mut clean = true;
        for lane in &self.lanes {
            let (done, closed) = completion();
            lane.command(Command::Close { done });
            lane.close();
            self.removals.extend(lane.drain());
            clean &= matches!(closed.now_or_never(), Some(Ok(true)));
        }
        self.controller.close()?;
        if clean {
            self.logs.stop(self.broker_epoch);
        }
        Ok(())
    }
}

/// A node's configuration, and where its data lies.
pub(super) fn config(profile: Profile, dirs: usize) -> BrokerConfig {
    static READ: OnceLock<BrokerConfig> = OnceLock::new();
    let mut config = READ.get_or_init(read_config).clone();
    config.log_dirs = (0..dirs).map(|dir| format!("/data{dir}").into()).collect();
    config.metadata_log_dir = config.log_dirs[0].clone();
    config.profile = profile;
    config
}

fn read_config() -> BrokerConfig {
    let text = "node.id=1\nprocess.roles=broker,controller\ncontroller.listener.names=CONTROLLER\n\
                controller.quorum.voters=1@localhost:2\nlisteners=PLAINTEXT://:1,CONTROLLER://:2\n\
                group.initial.rebalance.delay.ms=0\nlog.retention.ms=-1\nlog.roll.ms=20000\n\
                log.message.timestamp.after.max.ms=9223372036854775807\nproducer.id.expiration.ms=2147483647";
    let pairs = text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned()));
    let sources = crate::config::Sources { overrides: pairs.collect(), ..Default::default() };
    BrokerConfig::load(sources).unwrap().config
}
