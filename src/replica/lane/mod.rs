//! Lanes: the only places where logs change.
//!
//! A lane belongs to one log directory and owns the logs of the partitions that were given to it. Commands come through
//! its bounded [`queue`]; its thread drains the queue, writes adjacent appends of one partition with one call, publishes
//! the new ends, and wakes each runtime once. The one exception is *inline append*: a connection's thread that finds the
//! lane idle takes it, is the lane for one small append, and gives it back. Nobody ever waits for the lane itself.
//!
//! Threads are started in `server/`; here is only what they run.

pub mod command;
mod core;
mod hosted;
pub mod queue;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;

use crate::log::log_dir::LogDir;
use crate::log::unified_log::RemovalJob;
use crate::model::broker::BrokerId;
use crate::model::time::{Clock, Mono};

use super::doorbell::Wakes;
use command::{Append, Command};
use core::LaneCore;
use queue::{LaneQueue, PushError, Ticket};

/// Appends up to this size may be written by the connection's own thread.
pub const INLINE_BYTES: usize = 64 * 1024;
/// A write slower than this shows that the page cache does not take writes at once ...
const SLOW_WRITE: Duration = Duration::from_millis(5);
/// ... and for so long no connection's thread writes.
const SLOW_PAUSE: Duration = Duration::from_secs(1);
/// Commands that may wait in a lane's queue.
const QUEUE_LIMIT: usize = 4096;

/// What a lane must know of the node.
#[derive(Clone, Debug)]
pub struct LaneSettings {
    pub node_id: BrokerId,
    /// *strict*: a partition with one replica syncs before it answers.
    pub strict: bool,
}

/// One lane.
pub struct Lane {
    log_dir: Arc<LogDir>,
    clock: Arc<dyn Clock>,
    queue: LaneQueue<Command>,
    core: Mutex<LaneCore>,
    /// Until when no connection's thread may be this lane.
    slow_until: AtomicU64,
    inline_appends: AtomicU64,
    queued_appends: AtomicU64,
}

/// Figures of a lane, ever growing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LaneCounts {
    pub inline_appends: u64,
    pub queued_appends: u64,
    /// How often another thread had to wake the lane's.
    pub wakes: u64,
}

impl Lane {
    pub fn new(log_dir: Arc<LogDir>, settings: LaneSettings, clock: Arc<dyn Clock>) -> Self {
        Self {
            log_dir,
            clock,
            queue: LaneQueue::new(QUEUE_LIMIT),
            core: Mutex::new(LaneCore::new(settings)),
            slow_until: AtomicU64::new(0),
            inline_appends: AtomicU64::new(0),
            queued_appends: AtomicU64::new(0),
        }
    }

    pub fn log_dir(&self) -> &Arc<LogDir> {
        &self.log_dir
    }

    pub fn counts(&self) -> LaneCounts {
        LaneCounts {
            inline_appends: self.inline_appends.load(Ordering::Relaxed),
            queued_appends: self.queued_appends.load(Ordering::Relaxed),
            wakes: self.queue.wake_count(),
        }
    }

    /// Sets off one append; `may_inline` says whether this thread may write it itself. Never blocks.
    ///
    /// # Errors
    /// The append comes back: the queue is full, or the lane closed.
    pub fn append(&self, append: Append, may_inline: bool) -> Result<Ticket, PushError<Append>> {
        let mut append = append;
        if may_inline && append.records.len() <= INLINE_BYTES && !self.is_slow() {
            match self.try_inline(append) {
                Ok(ticket) => return Ok(ticket),
                Err(back) => append = back,
            }
        }
        let pushed = self.queue.push(Command::Append(append)).map_err(|error| match error {
            PushError::Full(Command::Append(append)) => PushError::Full(append),
            PushError::Closed(Command::Append(append)) => PushError::Closed(append),
            // What comes back is what went in.
            PushError::Full(_) | PushError::Closed(_) => unreachable!("another command came back"),
        });
        if pushed.is_ok() {
            self.queued_appends.fetch_add(1, Ordering::Relaxed);
        }
        pushed
    }

    /// Ready when [`Self::append`] is worth another try.
    pub fn poll_space(&self, context: &Context<'_>) -> Poll<()> {
        self.queue.poll_space(context)
    }

    /// Ready when the append of `ticket` and all before it are in the log, or refused.
    pub fn poll_done(&self, ticket: Ticket, context: &Context<'_>) -> Poll<()> {
        self.queue.poll_done(ticket, context)
    }

    pub fn is_done(&self, ticket: Ticket) -> bool {
        self.queue.is_done(ticket)
    }

    /// A command of the metadata's or the server's: taken however full the queue is.
    pub fn command(&self, command: Command) {
        self.queue.push_control(command);
    }

    /// For the lane's thread: waits for commands, at most so long, and carries them out. Returns files to be removed
    /// elsewhere.
    pub fn work(&self, at_most: Duration) -> Vec<RemovalJob> {
        self.queue.wait(at_most);
        self.drain()
    }

    /// Carries out what stands in the queue, until nothing does.
    pub fn drain(&self) -> Vec<RemovalJob> {
        let mut core = self.core.lock();
        let mut commands = core.take_buffer();
        let mut wakes = core.take_wakes();
        loop {
            self.queue.drain(&mut commands, &mut wakes);
            if commands.is_empty() {
                break;
            }
            let running = Running { lane: self, count: commands.len() };
            self.run(&mut core, &mut commands, &mut wakes);
            running.done(&mut wakes);
            wakes.flush();
        }
        core.keep_buffer(commands);
        core.keep_wakes(wakes);
        core.take_removals()
    }

    /// No more commands: what stands in the queue is still carried out.
    pub fn close(&self) {
        self.queue.close();
    }

    pub fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    fn try_inline(&self, append: Append) -> Result<Ticket, Append> {
        // What stands in the queue came first; whoever holds the core is the lane.
        let Some(mut core) = self.core.try_lock() else { return Err(append) };
        let Some(ticket) = self.queue.try_count_inline() else { return Err(append) };
        let mut commands = core.take_buffer();
        commands.push(Command::Append(append));
        let mut wakes = Wakes::default();
        let running = Running { lane: self, count: 1 };
        self.run(&mut core, &mut commands, &mut wakes);
        core.keep_buffer(commands);
        drop(core);
        running.done(&mut wakes);
        self.inline_appends.fetch_add(1, Ordering::Relaxed);
        Ok(ticket)
    }

    fn run(&self, core: &mut LaneCore, commands: &mut Vec<Command>, wakes: &mut Wakes) {
        let slowest = core.run(commands, &self.log_dir, &*self.clock, wakes);
        if slowest > SLOW_WRITE {
            self.slow_until.store(self.clock.mono().plus(SLOW_PAUSE).0, Ordering::Relaxed);
        }
    }

    fn is_slow(&self) -> bool {
        let until = self.slow_until.load(Ordering::Relaxed);
        until != 0 && self.clock.mono() < Mono(until)
    }
}

/// Commands that are being carried out. If that panics nobody knows what the logs are: the directory goes offline, and
/// nobody waits for ever.
struct Running<'a> {
    lane: &'a Lane,
    count: usize,
}

impl Running<'_> {
    fn done(mut self, wakes: &mut Wakes) {
        self.lane.queue.done(std::mem::take(&mut self.count), wakes);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            let error = std::io::Error::other("a lane panicked");
            self.lane.log_dir.fail("carry out a command", &error);
            self.lane.queue.done(self.count, &mut Wakes::default());
        }
    }
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("log_dir", &self.log_dir.path()).field("counts", &self.counts()).finish()
    }
}
