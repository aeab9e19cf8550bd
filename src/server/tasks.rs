//! What is due from time to time: retention, checkpoints, files whose delay is over.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::cleaning::{self, CleanerSettings};
use crate::config::BrokerConfig;
use crate::log::manager::LogManager;
use crate::model::time::Clock;
use crate::replica::lane::command::Command;
use crate::replica::manager::ReplicaManager;

/// How often the broker looks for removed partitions whose delay is over.
const REMOVAL_INTERVAL: Duration = Duration::from_millis(500);
/// What an interval of 0 means.
const SHORTEST: Duration = Duration::from_millis(1);

/// Starts every recurring task on the current runtime. They end with it.
pub fn start(
    config: &BrokerConfig,
    cleaners: watch::Receiver<CleanerSettings>,
    logs: &Arc<LogManager>,
    replicas: &Arc<ReplicaManager>,
    clock: &Arc<dyn Clock>,
) {
    let settings = &config.settings;
    let first = millis(settings.log_initial_task_delay_ms);
    let on_lanes = |make: fn() -> Command| {
        let replicas = Arc::clone(replicas);
        move || {
            let lanes = replicas.lanes().iter().flat_map(|directory| &directory.lanes);
            lanes.for_each(|lane| lane.command(make()));
        }
    };
    every(first, millis(settings.log_retention_check_interval_ms), on_lanes(|| Command::Maintain));
    // Kafka's default is "never".
    if settings.log_flush_scheduler_interval_ms < i64::from(i32::MAX) {
        every(first, millis(settings.log_flush_scheduler_interval_ms), on_lanes(|| Command::FlushOverdue));
    }
    let high_watermarks = millis(settings.replica_high_watermark_checkpoint_interval_ms);
    every_on_disk(high_watermarks, high_watermarks, logs, LogManager::checkpoint_high_watermarks);
    let recovery = millis(settings.log_flush_offset_checkpoint_interval_ms.into());
    every_on_disk(first, recovery, logs, LogManager::checkpoint_recovery_points);
    let starts = millis(settings.log_flush_start_offset_checkpoint_interval_ms.into());
    every_on_disk(first, starts, logs, LogManager::checkpoint_log_starts);
    if settings.log_cleaner_enable {
        cleaning::start(cleaners, logs, replicas, clock);
    }
    let clock = Arc::clone(clock);
    every_on_disk(REMOVAL_INTERVAL, REMOVAL_INTERVAL, logs, move |logs| {
        if let Some(job) = logs.take_removals(clock.mono()) {
            job.run();
        }
    });
}

/// What may wait for a disk is done off the runtime, and not again before it is done. A failure takes the directory
/// offline by itself.
fn every_on_disk(
    first: Duration,
    interval: Duration,
    logs: &Arc<LogManager>,
    work: impl Fn(&LogManager) + Clone + Send + 'static,
) {
    let (logs, interval) = (Arc::clone(logs), interval.max(SHORTEST));
    tokio::task::spawn_local(async move {
        tokio::time::sleep(first).await;
        loop {
            let (logs, work) = (Arc::clone(&logs), work.clone());
            // A panic there was reported by its thread.
            let _ = tokio::task::spawn_blocking(move || work(&logs)).await;
            tokio::time::sleep(interval).await;
        }
    });
}

fn every(first: Duration, interval: Duration, mut work: impl FnMut() + 'static) {
    let interval = interval.max(SHORTEST);
    tokio::task::spawn_local(async move {
        tokio::time::sleep(first).await;
        loop {
            work();
            tokio::time::sleep(interval).await;
        }
    });
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}
