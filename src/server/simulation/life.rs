//! Starts, crashes and orderly stops, and what is looked at from outside in between.

use super::Halt;
use super::faults::{self, Planted};
use super::invariants::Event;
use super::node::Node;
use super::replay::reopened;
use super::world::World;
use crate::log::storage::Disk as _;
use crate::protocol::records::metadata::UserScramCredentialRecord;
use crate::replica::partition::PartitionState;
use crate::server::metadata_log::DIRECTORY;

/// In which all answers leave, unless something fails.
const ROUNDS_OF_A_STOP: usize = 10;

impl World {
    /// Starts the broker on what is left of the disk's contents. A fault may be in the way of that too.
    pub(super) fn start(&mut self) -> Result<(), Halt> {
        self.ground.disk.heal();
        if self.strict && self.cache_is_false {
            self.lose_power();
        }
        self.fault_planned = self.planted.is_none() && !self.watermarks.is_empty() && self.chance.once_in(6);
        if self.fault_planned {
            let fault = faults::plan(&self.ground.disk, &mut self.chance);
            self.story.say(format_args!("starting; planned: {fault:?}"));
        }
        let chance = self.chance.branch();
        match Node::start(&self.ground, chance) {
            Ok(node) => {
                self.node = Some(node);
                self.story.tell(&Event::Started)?;
                self.compare_images()
            }
            Err(why) if self.fault_planned && self.ground.disk.fault_happened() => {
                self.story.say(format_args!("not started: {why}"));
                self.crash()
            }
            Err(why) => Ok(self.story.tell(&Event::NotStarted { why: &why })?),
        }
    }

    /// The process is killed, or the machine loses power.
    pub(super) fn crash(&mut self) -> Result<(), Halt> {
        self.node = None;
        self.cache_is_false |= self.fault_planned && self.ground.disk.fault_happened();
        self.ground.disk.heal();
        self.fault_planned = false;
        if self.strict && (self.cache_is_false || self.planted.is_some() || self.chance.once_in(2)) {
            self.lose_power();
        } else {
            self.story.say(format_args!("killed"));
            self.ground.disk.kill();
        }
        if self.planted == Some(Planted::DamagedQuorumState) {
            let path = self.ground.config.metadata_log_dir.join(DIRECTORY).join("quorum-state");
            self.ground.disk.replace_file(&path, b"{").unwrap();
        }
        Ok(self.clients.disconnected(&mut self.story)?)
    }

    /// What was not synced is gone, or some of it is.
    fn lose_power(&mut self) {
        let seed = (self.planted.is_none() && self.chance.once_in(2)).then(|| self.chance.next());
        self.story.say(format_args!("power lost, some of what was not synced is there: {}", seed.is_some()));
        self.ground.disk.power_cut(seed);
        self.cache_is_false = false;
    }

    /// Stops the broker in order: what is on its way is answered first.
    pub(super) fn stop(&mut self) -> Result<(), Halt> {
        self.story.say(format_args!("stops"));
        let (mut turn, clients) = self.split();
        for _ in 0..ROUNDS_OF_A_STOP {
            turn.node.drain_lanes();
            turn.node.work_on_groups();
            turn.node.controller.commit()?;
            clients.hear(&mut turn)?;
            if clients.unanswered() == 0 {
                break;
            }
        }
        if let Some(node) = self.node.take() {
            node.stop()?;
        }
        Ok(self.clients.disconnected(&mut self.story)?)
    }

    /// What there is to see after a step.
    pub(super) fn look(&mut self) -> Result<(), Halt> {
        if self.fault_planned && self.ground.disk.fault_happened() {
            self.fault_planned = false;
            self.cache_is_false = true;
            self.story.say(format_args!("the fault happened"));
            if self.node.is_some() && self.chance.once_in(3) {
                return self.crash();
            }
        }
        let Some(node) = &self.node else { return Ok(()) };
        if node.is_damaged() && self.chance.once_in(10) {
            return self.crash();
        }
        for partition in node.hosted() {
            if partition.status().state != PartitionState::Leader {
                continue;
            }
            let Some(view) = partition.view() else { continue };
            let (place, offset) = (partition.id(), view.ends().high_watermark.offset);
            if self.watermarks.insert(place, offset) != Some(offset) {
                self.story.tell(&Event::HighWatermark { place, offset })?;
            }
        }
        Ok(())
    }

    /// Compares the images in memory with what the metadata log says, read in two ways.
    pub(super) fn compare_images(&mut self) -> Result<(), Halt> {
        let committed = match &mut self.node {
            Some(node) => {
                if self.planted == Some(Planted::UnloggedRecord) {
                    let ghost = UserScramCredentialRecord { name: "ghost".into(), mechanism: 1, ..Default::default() };
                    node.controller.controller.apply(0, &ghost.into()).unwrap();
                }
                node.image()
            }
            None => return Ok(()),
        };
        self.story.tell(&Event::Committed(&committed))?;
        self.follow_log();
        let replayed = self.replay.image();
        self.story.tell(&Event::Images { how: "committed, every record", live: &committed, replayed })?;
        let Some(node) = &self.node else { return Ok(()) };
        let replayed = match reopened(&self.ground, node.directory) {
            Ok(replayed) => replayed,
            Err(error) => return Ok(self.story.tell(&Event::NotStarted { why: &error.to_string() })?),
        };
        let live = node.controller.controller.image();
        Ok(self.story.tell(&Event::Images { how: "latest, snapshot and tail", live, replayed: &replayed })?)
    }

    /// Reads what was committed since the last time.
    pub(super) fn follow_log(&mut self) {
        let Some(node) = &self.node else { return };
        let high_watermark = node.controller.log.high_watermark();
        self.replay.follow(&self.ground.disk, &self.ground.config.metadata_log_dir, high_watermark);
    }
}
