//! The cleaner's threads: which log is compacted next, and how fast (`LogCleaner`).
//!
//! Each of `log.cleaner.threads` takes the log with the largest dirty share until none is due, then waits for
//! `log.cleaner.backoff.ms`. A round's work runs on a blocking thread; lanes are asked only to begin it and to put its
//! segments in place.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::settings::Settings;
use crate::log::cleaner::offset_map::{MapLimits, SLOT_BYTES};
use crate::log::cleaner::{CleanedSegment, Compaction, CompactionError, cleanable};
use crate::log::manager::LogManager;
use crate::model::time::{Clock, Mono};
use crate::model::topic::TopicIdPartition;
use crate::replica::manager::ReplicaManager;

/// A throttled round sleeps no longer than this at once, so that it sees a stop.
const NAP_MAX: Duration = Duration::from_millis(500);

/// What of the configuration a cleaner obeys, from its next round on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CleanerSettings {
    threads: u64,
    limits: MapLimits,
    bytes_per_second: f64,
    backoff: Duration,
}

impl CleanerSettings {
    pub fn new(settings: &Settings) -> Self {
        let threads = u64::try_from(settings.log_cleaner_threads).unwrap_or(1).max(1);
        let memory = u64::try_from(settings.log_cleaner_dedupe_buffer_size).unwrap_or(0);
        Self {
            threads,
            limits: MapLimits {
                slots: memory / threads / SLOT_BYTES,
                load_per_mille: (settings.log_cleaner_io_buffer_load_factor.clamp(0.0, 1.0) * 1000.0).round() as u64,
            },
            bytes_per_second: settings.log_cleaner_io_max_bytes_per_second,
            backoff: Duration::from_millis(u64::try_from(settings.log_cleaner_backoff_ms).unwrap_or(0).max(1)),
        }
    }
}

/// What all cleaners share.
struct Cleaners {
    logs: Arc<LogManager>,
    replicas: Arc<ReplicaManager>,
    clock: Arc<dyn Clock>,
    settings: watch::Receiver<CleanerSettings>,
    /// Logs that a cleaner has in hand, and those that can't be compacted until the next start.
    taken: RefCell<HashSet<TopicIdPartition>>,
    running: Cell<u64>,
}

/// Starts the cleaners on the current runtime. They end with it.
pub(super) fn start(
    mut settings: watch::Receiver<CleanerSettings>,
    logs: &Arc<LogManager>,
    replicas: &Arc<ReplicaManager>,
    clock: &Arc<dyn Clock>,
) {
    let cleaners = Rc::new(Cleaners {
        logs: Arc::clone(logs),
        replicas: Arc::clone(replicas),
        clock: Arc::clone(clock),
        settings: settings.clone(),
        taken: RefCell::default(),
        running: Cell::new(0),
    });
    tokio::task::spawn_local(async move {
        loop {
            let wanted = settings.borrow_and_update().threads;
            for _ in cleaners.running.get()..wanted {
                cleaners.running.update(|running| running + 1);
                tokio::task::spawn_local(Rc::clone(&cleaners).clean());
            }
            if settings.changed().await.is_err() {
                return;
            }
        }
    });
}

/// How a round ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum RoundEnd {
    Done,
    /// It may be tried again later.
    Cut,
    /// It is not to be tried again before the next start.
    Unusable,
}

impl Cleaners {
    /// One cleaner's life: it ends when there are more than there should be.
    async fn clean(self: Rc<Self>) {
        loop {
            let CleanerSettings { backoff, threads, .. } = *self.settings.borrow();
            if self.running.get() > threads {
                self.running.update(|running| running - 1);
                return;
            }
            tokio::time::sleep(backoff).await;
            while let Some(partition) = self.take_dirtiest().await {
                let end = self.compact(partition).await;
                if end != RoundEnd::Unusable {
                    self.taken.borrow_mut().remove(&partition);
                }
                if end == RoundEnd::Cut {
                    break;
                }
            }
        }
    }

    /// The log with the largest dirty share of those that are due, which is this cleaner's from here on.
    async fn take_dirtiest(&self) -> Option<TopicIdPartition> {
        let (logs, replicas) = (Arc::clone(&self.logs), Arc::clone(&self.replicas));
        let now = self.clock.wall();
        let taken = self.taken.borrow().clone();
        let look = move || {
            let mut due: Vec<(u64, TopicIdPartition)> = Vec::new();
            for partition in replicas.partitions() {
                let Some(view) = partition.view().filter(|view| view.log_dir().is_online()) else { continue };
                let config = &partition.settings().log;
                let id = partition.id();
                if taken.contains(&id) {
                    continue;
                }
                match cleanable(view, config, logs.first_dirty(&id), now) {
                    Ok(Some(found)) if found.is_due(config) => due.push((found.dirty_ppm(), id)),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(target: "schloss.log", "{} was not looked at: {error}", partition.name());
                    }
                }
            }
            due.into_iter().max().map(|(_, id)| id)
        };
        let found = tokio::task::spawn_blocking(look).await.ok().flatten()?;
        // Another cleaner may have taken it meanwhile.
        self.taken.borrow_mut().insert(found).then_some(found)
    }

    /// One round.
    async fn compact(&self, partition: TopicIdPartition) -> RoundEnd {
        let Ok(Some(mut round)) = self.replicas.begin_compaction(partition, self.logs.first_dirty(&partition)).await
        else {
            return RoundEnd::Cut;
        };
        let name = self.replicas.find(partition).map(|partition| partition.name().to_string()).unwrap_or_default();
        loop {
            let Some((back, next)) = self.next(round).await else { return RoundEnd::Unusable };
            round = back;
            match next {
                Ok(Some(cleaned)) => match self.replicas.put_in_place(partition, cleaned).await {
                    Ok(true) => {}
                    // The log has changed under the round; the next one sees it as it is.
                    Ok(false) | Err(_) => return RoundEnd::Cut,
                },
                Ok(None) => break,
                Err(CompactionError::GivenUp) => return RoundEnd::Cut,
                Err(CompactionError::Damage(what)) => {
                    tracing::error!(target: "schloss.log", "{name} is not compacted until the next start: {what}");
                    return RoundEnd::Unusable;
                }
                // Told by the directory that failed.
                Err(CompactionError::Storage(_)) => return RoundEnd::Unusable,
            }
        }
        let first_dirty = round.first_dirty_after();
        let (before, after) = round.bytes();
        let logs = Arc::clone(&self.logs);
        // A panic there was reported by its thread.
        let _ = tokio::task::spawn_blocking(move || logs.compacted(partition, first_dirty)).await;
        tracing::info!(target: "schloss.log", "{name} is compacted up to offset {first_dirty}: {before} bytes are now {after}");
        RoundEnd::Done
    }

    /// A step of a round, on a blocking thread. `None` when that panicked.
    async fn next(&self, mut round: Compaction) -> Option<(Compaction, NextStep)> {
        let CleanerSettings { limits, bytes_per_second, .. } = *self.settings.borrow();
        let mut throttle = Throttle::new(Arc::clone(&self.clock), bytes_per_second);
        let step = tokio::task::spawn_blocking(move || {
            let next = round.next(limits, &mut |bytes| throttle.pass(bytes));
            (round, next)
        });
        step.await.ok()
    }
}

type NextStep = Result<Option<CleanedSegment>, CompactionError>;

/// `log.cleaner.io.max.bytes.per.second`.
struct Throttle {
    clock: Arc<dyn Clock>,
    bytes_per_second: f64,
    since: Mono,
    bytes: u64,
}

impl Throttle {
    fn new(clock: Arc<dyn Clock>, bytes_per_second: f64) -> Self {
        Self { since: clock.mono(), clock, bytes_per_second, bytes: 0 }
    }

    /// Sleeps if this was too fast. Never ends a round.
    fn pass(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.saturating_add(bytes);
        let due = Duration::try_from_secs_f64(self.bytes as f64 / self.bytes_per_second).unwrap_or(NAP_MAX);
        let early = due.saturating_sub(self.clock.mono().since(self.since));
        if !early.is_zero() {
            std::thread::sleep(early.min(NAP_MAX));
        }
        true
    }
}
