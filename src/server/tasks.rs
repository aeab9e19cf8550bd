//! What is due from time to time: retention, checkpoints, files whose delay is over.

use std::sync::Arc;
use std::time::Duration;

use crate::config::BrokerConfig;
use crate::log::manager::LogManager;
use crate::model::time::Clock;
use crate::replica::lane::command::Command;
use crate::replica::manager::ReplicaManager;

/// How often the broker looks for removed partitions whose delay is over.
const REMOVAL_INTERVAL: Duration = Duration::from_millis(500);

/// Starts every recurring task on the current runtime. They end with it.
pub fn start(config: &BrokerConfig, logs: &Arc<LogManager>, replicas: &Arc<ReplicaManager>, clock: &Arc<dyn Clock>) {
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
    let on_disk = |work: fn(&LogManager)| {
        let logs = Arc::clone(logs);
        move || {
            let logs = Arc::clone(&logs);
            // Nobody waits for it; a failure takes the directory offline by itself.
            drop(tokio::task::spawn_blocking(move || work(&logs)));
        }
    };
    let high_watermarks = millis(settings.replica_high_watermark_checkpoint_interval_ms);
    every(high_watermarks, high_watermarks, on_disk(LogManager::checkpoint_high_watermarks));
    let recovery = millis(settings.log_flush_offset_checkpoint_interval_ms.into());
    every(first, recovery, on_disk(LogManager::checkpoint_recovery_points));
    let starts = millis(settings.log_flush_start_offset_checkpoint_interval_ms.into());
    every(first, starts, on_disk(LogManager::checkpoint_log_starts));
    let (logs, clock) = (Arc::clone(logs), Arc::clone(clock));
    every(REMOVAL_INTERVAL, REMOVAL_INTERVAL, move || {
        if let Some(job) = logs.take_removals(clock.mono()) {
            drop(tokio::task::spawn_blocking(move || job.run()));
        }
    });
}

fn every(first: Duration, interval: Duration, mut work: impl FnMut() + 'static) {
    let interval = interval.max(Duration::from_millis(1));
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
