//! Drives the controller on the metadata log's thread.
//!
//! One thread owns the log, the quorum and the controller. It takes what waits in its queue, decides and appends one
//! request after the other, then makes all of it durable with one fsync and answers everybody: no linger, and nobody is
//! answered before the disk has it and every subscriber has applied it. Snapshots are written by a thread of their own.
//! Nothing is late for waiting behind an fsync: the broker of this process has no session that could run out, and in a
//! quorum of one nobody waits for a vote.
//!
//! The precedent is Kafka's `QuorumController` with its event queue and deferred events. Must not know a handler.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::metadata_log::snapshot::{self, SnapshotError};
use super::metadata_log::{
    AppendError, ImageHandle, LogFailure, MetadataLog, OpenError, Settings, SnapshotJob, Subscriber,
};
use crate::controller::{
    self, ActivateController, ApiError, Context, Controller, ControllerError, ControllerRegistration,
    ControllerRequest, ControllerResponse, Outcome, QuorumState, Random,
};
use crate::log::storage::Disk;
use crate::metadata::delta::Touched;
use crate::metadata::image::ApplyError;
use crate::metadata::snapshot::RecordAndVersion;
use crate::model::error_code::ErrorCode;
use crate::model::time::{Clock, Mono, Wall};
use crate::protocol::records::metadata::NoOpRecord;

/// Requests that may wait for the thread.
const QUEUE: usize = 10_000;
/// Requests that share one fsync at most.
const GROUP: usize = 512;
/// How often sessions and snapshots are looked at when nothing else happens.
const TICK: Duration = Duration::from_millis(500);

/// Random bytes from the system.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) {
        // Ids that repeat would be taken for one another: better no broker.
        assert!(aws_lc_rs::rand::fill(bytes).is_ok(), "the system gives no random bytes");
    }
}

/// Called when the log failed: the broker has to go down.
pub type OnFailure = Box<dyn FnOnce(&LogFailure) + Send>;

/// What the thread needs of its surroundings.
pub struct Parts {
    pub disk: Arc<dyn Disk>,
    pub clock: Arc<dyn Clock>,
    pub random: Box<dyn Random + Send>,
    pub log: Settings,
    pub controller: controller::Settings,
    pub registration: ControllerRegistration,
    pub on_failure: OnFailure,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("log", &self.log).field("controller", &self.controller).finish_non_exhaustive()
    }
}

/// Why the controller can't start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("{0}")]
    Open(#[from] OpenError),
    #[error("the bootstrap snapshot {0}")]
    Bootstrap(#[from] SnapshotError),
    #[error("{0}: it holds no bootstrap.checkpoint, and the metadata log is empty: was the directory formatted?")]
    NoBootstrap(std::path::PathBuf),
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error("{0}")]
    Log(#[from] LogFailure),
    #[error("{0}")]
    Apply(#[from] ApplyError),
    #[error("{0}")]
    Refused(#[from] ControllerError),
    #[error("no thread for the metadata log: {0}")]
    Thread(io::Error),
}

enum Command {
    Request(ControllerRequest, oneshot::Sender<Result<ControllerResponse, ControllerError>>),
    Subscribe(Subscriber, SyncSender<()>),
    SnapshotWritten(SnapshotJob, io::Result<()>),
    Shutdown,
}

/// Requests to the controller, and the images. Clones are the same controller; the thread ends with the last of them.
#[derive(Clone, Debug)]
pub struct ControllerHandle {
    thread: Arc<ThreadHandle>,
    latest: ImageHandle,
    committed: ImageHandle,
}

struct ThreadHandle {
    queue: SyncSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl fmt::Debug for ThreadHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ThreadHandle")
    }
}

impl ControllerHandle {
    /// Opens the log, has this node elected, writes what a new leader writes, and starts the thread.
    ///
    /// # Errors
    /// A log that can't be read or written.
    pub fn start(parts: Parts) -> Result<Self, StartError> {
        let (queue, commands) = mpsc::sync_channel(QUEUE);
        let on_failure = parts.on_failure;
        let mut driver = Driver::start(
            Arc::clone(&parts.disk),
            parts.clock,
            parts.random,
            parts.log,
            parts.controller,
            &parts.registration,
        )?;
        let (latest, committed) = (Arc::clone(driver.log.latest()), Arc::clone(driver.log.committed()));
        let back = queue.clone();
        let run = move || {
            if let Err(failure) = driver.run(&commands, &back) {
                tracing::error!(%failure, "the metadata log failed: nothing is written to it any more");
                driver.fail_all();
                on_failure(&failure);
                refuse_the_rest(&commands);
            } else if let Err(failure) = driver.close() {
                tracing::error!(%failure, "the metadata log was not closed cleanly");
            }
        };
        let thread = thread::Builder::new().name("metadata-log".to_owned()).spawn(run).map_err(StartError::Thread)?;
        let thread = Arc::new(ThreadHandle { queue, thread: Mutex::new(Some(thread)) });
        Ok(Self { thread, latest, committed })
    }

    /// Hands a request to the controller. The future is done when what it wrote is durable, committed and applied by
    /// every subscriber; dropping it cancels nothing.
    pub fn submit(
        &self,
        request: ControllerRequest,
    ) -> BoxFuture<'static, Result<ControllerResponse, ControllerError>> {
        let (answer, answered) = oneshot::channel();
        let refused = match self.thread.queue.try_send(Command::Request(request, answer)) {
            Ok(()) => None,
            Err(TrySendError::Full(_)) => Some(ControllerError::Overloaded),
            Err(TrySendError::Disconnected(_)) => Some(ControllerError::NotActive),
        };
        Box::pin(async move {
            match refused {
                Some(error) => Err(error),
                None => answered.await.unwrap_or(Err(ControllerError::NotActive)),
            }
        })
    }

    /// Has `subscriber` called at every commit, first with all that is committed: it was, when this returns.
    pub fn subscribe(&self, subscriber: Subscriber) {
        let (done, wait) = mpsc::sync_channel(1);
        if self.thread.queue.send(Command::Subscribe(subscriber, done)).is_ok() {
            // Gone only together with the thread, which then has nothing to tell.
            let _ = wait.recv();
        }
    }

    /// The image of everything that is committed.
    pub fn committed(&self) -> &ImageHandle {
        &self.committed
    }

    /// The image of everything that is appended.
    pub fn latest(&self) -> &ImageHandle {
        &self.latest
    }

    /// Answers what was asked before, closes the log and ends the thread.
    pub fn shut_down(&self) {
        self.thread.end();
    }
}

impl ThreadHandle {
    fn end(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = self.queue.send(Command::Shutdown);
            // A subscriber may hold the last handle: a thread can't wait for itself.
            if thread.thread().id() != thread::current().id() && thread.join().is_err() {
                tracing::error!("the metadata log's thread panicked");
            }
        }
    }
}

impl Drop for ThreadHandle {
    fn drop(&mut self) {
        self.end();
    }
}

/// What waits for the disk.
struct Waiting {
    /// Answered when everything below is committed.
    end: i64,
    answer: oneshot::Sender<Result<ControllerResponse, ControllerError>>,
    response: ControllerResponse,
}

/// Log, quorum and controller, driven from outside: by the thread, or by a test.
pub(super) struct Driver {
    clock: Arc<dyn Clock>,
    random: Box<dyn Random + Send>,
    pub(super) log: MetadataLog,
    pub(super) controller: Controller,
    waiting: VecDeque<Waiting>,
}

impl Driver {
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        random: Box<dyn Random + Send>,
        log: Settings,
        controller: controller::Settings,
        registration: &ControllerRegistration,
    ) -> Result<Self, StartError> {
        let (now, wall) = (clock.mono(), clock.wall());
        let bootstrap_file = log.metadata_log_dir.join(snapshot::BOOTSTRAP_FILE);
        let mut log = MetadataLog::open(Arc::clone(&disk), log, now, wall)?;
        let empty = log.latest().load().settled().features.metadata_version().is_none();
        let bootstrap = match snapshot::read(&*disk, &bootstrap_file)? {
            Some(found) => found.records.into_iter().map(RecordAndVersion::v0).collect(),
            None if empty => return Err(StartError::NoBootstrap(log.settings().metadata_log_dir.clone())),
            None => Vec::new(),
        };
        log.lead(now, wall)?;
        let image = log.latest().load().as_ref().clone();
        let controller = Controller::new(controller, image, now);
        let mut driver = Self { clock, random, log, controller, waiting: VecDeque::new() };
        driver.write_at_start(ControllerRequest::Activate(ActivateController { bootstrap }))?;
        driver.write_at_start(ControllerRequest::RegisterController(registration.clone()))?;
        driver.log.flush(now, wall)?;
        Ok(driver)
    }

    fn write_at_start(&mut self, request: ControllerRequest) -> Result<(), StartError> {
        let (now, wall) = (self.clock.mono(), self.clock.wall());
        let outcome = self.decide(now, request)?;
        match self.append(now, wall, &outcome.records) {
            Ok(()) => Ok(()),
            Err(Unwritten::Append(error)) => Err(error.into()),
            Err(Unwritten::Apply(error)) => Err(error.into()),
        }
    }

    /// Until it is told to stop, or the log fails.
    fn run(&mut self, commands: &Receiver<Command>, back: &SyncSender<Command>) -> Result<(), LogFailure> {
        loop {
            let first = match commands.recv_timeout(self.until_next_timer()) {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            };
            let mut next = first;
            let mut taken = 0;
            let mut stop = false;
            while let Some(command) = next.take() {
                stop = !self.take(command)?;
                taken += 1;
                if stop || taken == GROUP {
                    break;
                }
                next = commands.try_recv().ok();
            }
            self.timers()?;
            self.commit()?;
            if stop {
                return Ok(());
            }
            if let Some(job) = self.log.begin_snapshot(self.clock.mono(), self.clock.wall())?
                && let Err(error) = write_snapshot(job, back.clone())
            {
                tracing::error!(%error, "no thread to write a snapshot of the metadata");
                self.log.abandon_snapshot();
            }
        }
    }

    /// Takes in one command; false ends the thread.
    fn take(&mut self, command: Command) -> Result<bool, LogFailure> {
        match command {
            Command::Request(request, answer) => self.request(request, answer)?,
            Command::Subscribe(subscriber, done) => {
                self.log.subscribe(subscriber);
                let _ = done.send(());
            }
            Command::SnapshotWritten(job, written) => self.log.finish_snapshot(job, written, self.clock.wall())?,
            Command::Shutdown => return Ok(false),
        }
        Ok(true)
    }

    /// Decides and appends. A response without records waits as well: it may speak of what is not committed yet.
    pub(super) fn request(
        &mut self,
        request: ControllerRequest,
        answer: oneshot::Sender<Result<ControllerResponse, ControllerError>>,
    ) -> Result<(), LogFailure> {
        let (now, wall) = (self.clock.mono(), self.clock.wall());
        let written = match self.decide(now, request) {
            Ok(Outcome { records, response }) => match self.append(now, wall, &records) {
                Ok(()) => Ok(response),
                Err(Unwritten::Append(AppendError::TooLarge(error))) => {
                    Err(ApiError::new(ErrorCode::PolicyViolation, error.to_string()).into())
                }
                Err(Unwritten::Append(AppendError::Failed(failure))) => {
                    let _ = answer.send(Err(ControllerError::LogFailed));
                    return Err(failure);
                }
                Err(Unwritten::Apply(error)) => {
                    // What is in the log and can't be applied here can't be applied anywhere.
                    let _ = answer.send(Err(ControllerError::LogFailed));
                    let dir = self.log.settings().metadata_log_dir.clone();
                    return Err(LogFailure { dir, error: io::Error::other(error) });
                }
            },
            Err(error) => Err(error),
        };
        match written {
            Ok(response) => self.waiting.push_back(Waiting { end: self.log.next_offset(), answer, response }),
            // Who no longer waits for the answer does not get it.
            Err(error) => drop(answer.send(Err(error))),
        }
        Ok(())
    }

    fn decide(&mut self, now: Mono, request: ControllerRequest) -> Result<Outcome, ControllerError> {
        if !self.log.is_active() {
            return Err(ControllerError::NotActive);
        }
        let quorum = QuorumState {
            leader_epoch: self.log.epoch(),
            high_watermark: self.log.high_watermark(),
            directory_id: self.log.settings().directory_id,
        };
        let mut cx = Context { now, next_offset: self.log.next_offset(), quorum, random: &mut *self.random };
        self.controller.decide(&mut cx, request)
    }

    fn append(&mut self, now: Mono, wall: Wall, records: &[RecordAndVersion]) -> Result<(), Unwritten> {
        if records.is_empty() {
            return Ok(());
        }
        let base = self.log.next_offset();
        self.log.append(now, wall, records)?;
        let mut touched = Touched::default();
        for (offset, record) in (base..).zip(records) {
            self.controller.apply_noting(offset, &record.record, &mut touched)?;
        }
        self.log.appended(self.controller.image().clone(), touched);
        Ok(())
    }

    fn until_next_timer(&self) -> Duration {
        let idle = self.log.settings().max_idle_interval;
        let idle =
            idle.map_or(TICK, |interval| interval.saturating_sub(self.clock.mono().since(self.log.last_append())));
        idle.min(TICK)
    }

    pub(super) fn timers(&mut self) -> Result<(), LogFailure> {
        let (now, wall) = (self.clock.mono(), self.clock.wall());
        if let Some(records) = self.controller.expire_sessions(now) {
            self.append_own(now, wall, &records)?;
        }
        let idle = self.log.settings().max_idle_interval;
        if idle.is_some_and(|interval| now.since(self.log.last_append()) >= interval) {
            self.append_own(now, wall, &[RecordAndVersion::v0(NoOpRecord::default())])?;
        }
        Ok(())
    }

    fn append_own(&mut self, now: Mono, wall: Wall, records: &[RecordAndVersion]) -> Result<(), LogFailure> {
        match self.append(now, wall, records) {
            Ok(()) => Ok(()),
            Err(Unwritten::Append(AppendError::Failed(failure))) => Err(failure),
            Err(error) => {
                let dir = self.log.settings().metadata_log_dir.clone();
                Err(LogFailure { dir, error: io::Error::other(error) })
            }
        }
    }

    /// One fsync for all who wait, then their answers.
    pub(super) fn commit(&mut self) -> Result<(), LogFailure> {
        self.log.flush(self.clock.mono(), self.clock.wall())?;
        let high_watermark = self.log.high_watermark();
        while let Some(done) = self.waiting.pop_front_if(|waiting| waiting.end <= high_watermark) {
            let _ = done.answer.send(Ok(done.response));
        }
        Ok(())
    }

    fn fail_all(&mut self) {
        for waiting in self.waiting.drain(..) {
            let _ = waiting.answer.send(Err(ControllerError::LogFailed));
        }
    }

    pub(super) fn close(self) -> Result<(), LogFailure> {
        self.log.close(self.clock.mono())
    }
}

/// Why records are not in force.
#[derive(Debug, thiserror::Error)]
enum Unwritten {
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error("{0}")]
    Apply(#[from] ApplyError),
}

/// Whoever still asks is told that there is no log any more, until nobody can ask.
fn refuse_the_rest(commands: &Receiver<Command>) {
    while let Ok(command) = commands.recv() {
        match command {
            Command::Request(_, answer) => drop(answer.send(Err(ControllerError::LogFailed))),
            Command::Shutdown => return,
            Command::Subscribe(..) | Command::SnapshotWritten(..) => {}
        }
    }
}

fn write_snapshot(job: SnapshotJob, back: SyncSender<Command>) -> io::Result<()> {
    let run = move || {
        let written = job.run();
        // The thread is gone: the next start finds the snapshot.
        let _ = back.send(Command::SnapshotWritten(job, written));
    };
    thread::Builder::new().name("metadata-snapshot".to_owned()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests;
