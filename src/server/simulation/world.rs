//! One run: the seed's choices, step by step.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Halt;
use super::chance::{Chance, VirtualClock};
use super::clients::admin::create_topic;
use super::clients::consumer::Consumer;
use super::clients::member::{Positions, SHARES, TOPIC};
use super::clients::{Clients, Turn};
use super::faults::{self, Planted};
use super::invariants::{Event, Invariant, Violation};
use super::node::{self, Ground, Node};
use super::replay::FullReplay;
use super::story::Story;
use crate::config::Profile;
use crate::log::storage::FaultyDisk;
use crate::model::time::Clock as _;
use crate::model::topic::{TopicIdPartition, TopicName};
use crate::replica::lane::command::Command;
use crate::server::format::{FormatRequest, format};

/// Steps of a run, and rounds in which everything must come to its end when nothing fails any more.
const STEPS: usize = 300;
const ROUNDS: usize = 60;
/// How far the wall clock may be from where it would be, either way.
const WALL_JUMP_MS: u64 = 60 * 60 * 1000;

/// What came of a run.
pub(super) struct Run {
    pub(super) events: String,
    pub(super) violation: Option<Violation>,
}

pub(super) struct World {
    pub(super) ground: Ground,
    pub(super) planted: Option<Planted>,
    /// Power can be lost: everything acknowledged is synced.
    pub(super) strict: bool,
    pub(super) chance: Chance,
    pub(super) node: Option<Node>,
    pub(super) story: Story,
    pub(super) clients: Clients,
    pub(super) replay: FullReplay,
    pub(super) watermarks: BTreeMap<TopicIdPartition, i64>,
    wall_offset_ms: i64,
    /// A fault is planned that did not happen yet.
    pub(super) fault_planned: bool,
    /// A sync may have failed: what the cache holds is not what the disk has, until power is lost.
    pub(super) cache_is_false: bool,
}

impl World {
    /// Lives one seed through.
    pub(super) fn run(seed: u64, planted: Option<Planted>, invariants: Vec<Box<dyn Invariant>>) -> Run {
        let mut world = Self::new(seed, planted, invariants);
        let violation = match world.live() {
            Ok(()) => None,
            Err(Halt::Broken(violation)) => Some(violation),
            Err(Halt::Failed(failure)) => panic!("the disk failed where none may: {failure}"),
        };
        if let Some(violation) = &violation {
            world.story.say(format_args!("VIOLATION {violation}"));
        }
        Run { events: world.story.into_text(), violation }
    }

    fn new(seed: u64, planted: Option<Planted>, invariants: Vec<Box<dyn Invariant>>) -> Self {
        let mut chance = Chance::new(seed);
        let strict = !chance.once_in(3) || planted.is_some();
        let profile = if strict { Profile::Strict } else { Profile::Compat };
        let dirs = 1 + usize::from(chance.once_in(2));
        let ground = Ground {
            config: Arc::new(node::config(profile, dirs)),
            disk: FaultyDisk::new(),
            clock: Arc::new(VirtualClock::new()),
            lanes_per_dir: 1 + usize::from(chance.once_in(2)),
        };
        let mut story = Story::new(invariants);
        story.say(format_args!("seed {seed}: {profile:?}, {dirs} log directories"));
        Self {
            ground,
            planted,
            strict,
            chance,
            node: None,
            story,
            clients: Clients::new(planted != Some(Planted::NoSequences)),
            replay: FullReplay::default(),
            watermarks: BTreeMap::new(),
            wall_offset_ms: 0,
            fault_planned: false,
            cache_is_false: false,
        }
    }

    fn live(&mut self) -> Result<(), Halt> {
        self.set_up()?;
        for _ in 0..STEPS {
            self.story.next_step();
            self.ground.clock.pass(Duration::from_millis(self.chance.below(120)));
            self.ground.disk.set_time(self.ground.clock.wall());
            let acted = if self.node.is_some() { self.act() } else { self.start() };
            match acted.and_then(|()| self.look()) {
                Err(Halt::Failed(failure)) => {
                    self.story.say(format_args!("{failure}"));
                    self.crash()?;
                }
                acted => acted?,
            }
        }
        self.settle()
    }

    /// A formatted disk, a broker, the topics that are always there, a group that has a position.
    fn set_up(&mut self) -> Result<(), Halt> {
        let config = Arc::clone(&self.ground.config);
        let request = FormatRequest {
            cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".to_owned(),
            node_id: 1,
            log_dirs: config.log_dirs.clone(),
            metadata_log_dir: config.metadata_log_dir.clone(),
            release_version: None,
            features: Vec::new(),
            add_scram: Vec::new(),
            ignore_formatted: false,
        };
        format(&self.ground.disk, &mut self.chance, &request, self.ground.clock.wall()).unwrap();
        self.start()?;
        let (turn, _) = self.split();
        for request in [
            create_topic(TOPIC, SHARES, &[]),
            create_topic(TopicName::CONSUMER_OFFSETS, 2, &[("cleanup.policy", "compact")]),
        ] {
            drop(turn.node.ask_controller(request)?);
            turn.node.controller.commit()?;
            turn.node.follow_metadata()?;
        }
        (0..2).for_each(|_| turn.node.work_on_groups());
        let (mut turn, clients) = self.split();
        clients.positions.commit(&mut turn, "", -1, 0)?;
        turn.node.drain_lanes();
        turn.node.work_on_groups();
        clients.positions.hear(&mut turn)
    }

    /// The broker, which must run, and its clients.
    pub(super) fn split(&mut self) -> (Turn<'_>, &mut Clients) {
        let Self { node, chance, story, ground, clients, .. } = self;
        (Turn { node: node.as_mut().unwrap(), chance, clock: &ground.clock, story }, clients)
    }

    /// One step of a broker that runs.
    fn act(&mut self) -> Result<(), Halt> {
        let chosen = self.chance.below(100);
        let (mut turn, clients) = self.split();
        match chosen {
            0..19 => clients.produce(&mut turn),
            19..22 => {
                if let Some(done) = turn.node.clean() {
                    turn.story.say(format_args!("{done}"));
                }
                Ok(())
            }
            22..30 => clients.hear(&mut turn),
            30..44 => self.drain_a_lane(),
            44..52 => self.commit(),
            52..55 => Ok(turn.node.follow_metadata()?),
            55..64 => {
                turn.node.work_on_groups();
                Ok(())
            }
            64..80 => clients.take_part(&mut turn),
            80..84 => clients.consume(&mut turn),
            84..88 => clients.admin.change(&mut turn),
            88 => Positions::read(&mut turn),
            89..91 => self.snapshot(),
            91 => {
                self.keep_house();
                Ok(())
            }
            92 => {
                let heartbeat = turn.node.heartbeat(false);
                drop(turn.node.ask_controller(heartbeat)?);
                Ok(turn.node.controller.timers()?)
            }
            93 => {
                self.plan_a_fault();
                Ok(())
            }
            94..96 => {
                self.move_clocks();
                Ok(())
            }
            96 => self.read_one_through(),
            97 => self.compare_images(),
            98 => self.crash(),
            _ if turn.chance.once_in(4) => self.stop(),
            _ => Ok(()),
        }
    }

    fn drain_a_lane(&mut self) -> Result<(), Halt> {
        if self.planted == Some(Planted::DeafLanes) {
            return Ok(());
        }
        self.ground.disk.pretend_syncs(self.planted == Some(Planted::DroppedDataSync));
        let (turn, _) = self.split();
        let lane = turn.chance.below(u64::try_from(turn.node.lanes.len()).unwrap());
        turn.node.drain_lane(usize::try_from(lane).unwrap());
        self.ground.disk.pretend_syncs(false);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Halt> {
        self.ground.disk.pretend_syncs(self.planted == Some(Planted::DroppedMetadataSync));
        let (mut turn, clients) = self.split();
        let committed = turn.node.controller.commit();
        let heard = clients.admin.hear(&mut turn);
        self.ground.disk.pretend_syncs(false);
        committed?;
        heard
    }

    /// Begins a snapshot of the metadata, or ends the one that was begun.
    fn snapshot(&mut self) -> Result<(), Halt> {
        let (now, wall) = (self.ground.clock.mono(), self.ground.clock.wall());
        let (turn, _) = self.split();
        match turn.node.snapshot.take() {
            Some(job) => {
                let written = job.run();
                turn.story.say(format_args!("snapshot written: {}", written.is_ok()));
                turn.node.controller.log.finish_snapshot(job, written, wall)?;
            }
            None => {
                turn.node.snapshot = turn.node.controller.log.begin_snapshot(now, wall)?;
                if turn.node.snapshot.is_some() {
                    turn.story.say(format_args!("snapshot begun"));
                    // What it makes superfluous may be deleted from here on.
                    self.follow_log();
                }
            }
        }
        Ok(())
    }

    /// What is due from time to time.
    fn keep_house(&mut self) {
        let (turn, _) = self.split();
        match turn.chance.below(7) {
            0 => turn.node.logs.checkpoint_high_watermarks(),
            1 => turn.node.logs.checkpoint_recovery_points(),
            2 => turn.node.logs.checkpoint_log_starts(),
            3 => turn.node.command(|| Command::Maintain),
            4 => turn.node.command(|| Command::FlushOverdue),
            5 => turn.node.remove_files(),
            _ => turn.node.groups.expire(),
        }
    }

    fn plan_a_fault(&mut self) {
        if !self.fault_planned && self.planted.is_none() {
            let fault = faults::plan(&self.ground.disk, &mut self.chance);
            self.story.say(format_args!("planned: {fault:?}"));
            self.fault_planned = true;
        }
    }

    /// A pause of the whole machine, or somebody who sets the wall clock.
    fn move_clocks(&mut self) {
        if self.chance.once_in(2) {
            let pause = Duration::from_millis(self.chance.within(1_000..9_000));
            self.story.say(format_args!("nothing for {pause:?}"));
            self.ground.clock.pass(pause);
        } else {
            let offset = i64::try_from(self.chance.below(2 * WALL_JUMP_MS)).unwrap_or(0) - WALL_JUMP_MS.cast_signed();
            self.story.say(format_args!("the wall clock is {offset} ms off"));
            self.ground.clock.jump(offset - self.wall_offset_ms);
            self.wall_offset_ms = offset;
        }
    }

    fn read_one_through(&mut self) -> Result<(), Halt> {
        let (mut turn, _) = self.split();
        let places = super::clients::places(turn.node);
        let Some(place) = turn.chance.pick(&places) else { return Ok(()) };
        match turn.node.replicas.find(*place) {
            Some(partition) => Consumer::read_through(&mut turn, &partition).map(drop),
            None => Ok(()),
        }
    }

    /// Nothing fails any more: everybody gets through, and everything is looked at.
    fn settle(&mut self) -> Result<(), Halt> {
        while self.node.as_ref().is_none_or(Node::is_damaged) {
            self.crash()?;
            self.start()?;
        }
        self.ground.disk.heal();
        self.fault_planned = false;
        for _ in 0..ROUNDS {
            self.story.next_step();
            self.ground.clock.pass(Duration::from_millis(500));
            self.commit()?;
            let is_deaf = self.planted == Some(Planted::DeafLanes);
            let (mut turn, clients) = self.split();
            turn.node.follow_metadata()?;
            if !is_deaf {
                turn.node.drain_lanes();
            }
            turn.node.work_on_groups();
            clients.hear(&mut turn)?;
            if clients.unanswered() == 0 {
                break;
            }
        }
        let (mut turn, clients) = self.split();
        let mut unreadable = 0;
        for partition in turn.node.hosted().iter().filter(|partition| !partition.name().topic.is_internal()) {
            unreadable += usize::from(!Consumer::read_through(&mut turn, partition)?);
        }
        turn.story.tell(&Event::Settled { unanswered: clients.unanswered(), unreadable })?;
        Positions::read(&mut turn)?;
        self.compare_images()
    }
}
