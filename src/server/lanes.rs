//! The threads behind the lanes.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt as _;

use crate::log::log_dir::LogDir;
use crate::log::unified_log::RemovalJob;
use crate::model::time::Clock;
use crate::replica::completion::completion;
use crate::replica::lane::command::Command;
use crate::replica::lane::{Lane, LaneSettings};
use crate::replica::manager::DirectoryLanes;

/// A lane without commands looks this often whether it is closed.
const IDLE: Duration = Duration::from_secs(1);

/// The lanes of all log directories, each with its thread.
#[derive(Debug)]
pub struct Lanes {
    directories: Vec<DirectoryLanes>,
    threads: Vec<JoinHandle<()>>,
}

impl Lanes {
    /// Starts as many lanes as there are cores, at least one a directory.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn start<'a>(
        dirs: impl Iterator<Item = &'a Arc<LogDir>>,
        cores: usize,
        settings: &LaneSettings,
        clock: &Arc<dyn Clock>,
    ) -> io::Result<Self> {
        let dirs: Vec<&Arc<LogDir>> = dirs.collect();
        let per_dir = (cores / dirs.len().max(1)).max(1);
        let mut lanes = Self { directories: Vec::new(), threads: Vec::new() };
        for (at, log_dir) in dirs.into_iter().enumerate() {
            let mut here = Vec::new();
            for number in 0..per_dir {
                let lane = Arc::new(Lane::new(Arc::clone(log_dir), settings.clone(), Arc::clone(clock)));
                here.push(Arc::clone(&lane));
                let thread = std::thread::Builder::new().name(format!("schloss-lane-{at}-{number}"));
                lanes.threads.push(thread.spawn(move || run(&lane))?);
            }
            lanes.directories.push(DirectoryLanes { log_dir: Arc::clone(log_dir), lanes: here });
        }
        Ok(lanes)
    }

    pub fn directories(&self) -> &[DirectoryLanes] {
        &self.directories
    }

    /// Closes every log in order and ends the threads. Whether all logs are clean.
    pub fn close(self) -> bool {
        let mut closing = Vec::new();
        for lane in self.directories.iter().flat_map(|directory| &directory.lanes) {
            let (done, closed) = completion();
            lane.command(Command::Close { done });
            lane.close();
            closing.push(closed);
        }
        for thread in self.threads {
            // A lane that panicked has not closed its logs; the next start recovers them.
            let _ = thread.join();
        }
        closing.into_iter().all(|closed| matches!(closed.now_or_never(), Some(Ok(true))))
    }
}

fn run(lane: &Lane) {
    while !lane.is_closed() {
        carry_out(lane, |lane| lane.work(IDLE));
    }
    carry_out(lane, Lane::drain);
}

/// A command that panics has taken the directory offline; the thread stays, so that everybody is answered so.
fn carry_out(lane: &Lane, work: impl FnOnce(&Lane) -> Vec<RemovalJob>) {
    // What a panic leaves behind is not used any more: the lane lets go of its logs.
    if let Ok(jobs) = catch_unwind(AssertUnwindSafe(|| work(lane))) {
        remove(jobs);
    }
}

/// Removes files that no log needs any more. A failure takes the directory offline by itself.
fn remove(jobs: Vec<RemovalJob>) {
    for job in jobs {
        if let Err(error) = job.run() {
            tracing::error!(target: "schloss.log", "{error}");
        }
    }
}
