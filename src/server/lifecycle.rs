//! A broker's life in its cluster: it registers, is unfenced, sends heartbeats, and goes when its leaders have moved.
//!
//! Precedent: Kafka's `BrokerLifecycleManager`.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::controller::ControllerHandle;
use crate::config::BrokerConfig;
use crate::controller::{
    BrokerHeartbeat, ControllerError, ControllerRequest, ControllerResponse, HeartbeatAnswer, RegisterBroker,
};
use crate::metadata::cluster::EndPoint;
use crate::model::uuid::Uuid;

/// How long the broker asks again while it is not where it wants to be.
const PACE: Duration = Duration::from_millis(2);

/// The controller does not take the broker.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    #[error("the controller refuses the broker: {0}")]
    Refused(#[from] ControllerError),
    #[error("the controller answered something else")]
    Answer,
}

/// The broker as the controller sees it.
#[derive(Debug)]
pub struct Lifecycle {
    pub config: Arc<BrokerConfig>,
    pub controller: ControllerHandle,
    /// The last metadata offset that the partitions have taken in.
    pub applied: watch::Receiver<i64>,
    /// Set at registration.
    pub epoch: watch::Sender<i64>,
    /// Ids of log directories that failed.
    pub offline_directories: watch::Receiver<Vec<Uuid>>,
}

/// What a registration says.
#[derive(Debug)]
pub struct Registration {
    pub cluster_id: Arc<str>,
    pub incarnation_id: Uuid,
    pub end_points: Vec<EndPoint>,
    pub directories: Vec<Uuid>,
    /// -1 after an unclean stop.
    pub previous_epoch: i64,
}

impl Lifecycle {
    /// Registers the broker, and returns its epoch.
    ///
    /// # Errors
    /// The controller does not take it.
    pub async fn register(&self, registration: Registration) -> Result<i64, LifecycleError> {
        let features = self.controller.committed().load().features.supported_ranges();
        let request = RegisterBroker {
            broker: self.config.node_id,
            cluster_id: registration.cluster_id,
            incarnation_id: registration.incarnation_id,
            end_points: registration.end_points,
            features,
            rack: self.config.settings.broker_rack.as_deref().map(Into::into),
            directories: registration.directories,
            previous_epoch: registration.previous_epoch,
            local: true,
        };
        match self.controller.submit(ControllerRequest::RegisterBroker(request)).await? {
            ControllerResponse::RegisterBroker { epoch } => {
                self.epoch.send_replace(epoch);
                Ok(epoch)
            }
            _ => Err(LifecycleError::Answer),
        }
    }

    /// Asks until the broker is unfenced and has taken in that it is.
    ///
    /// # Errors
    /// The controller refuses its heartbeats.
    pub async fn unfence(&mut self) -> Result<(), LifecycleError> {
        while self.heartbeat(false).await?.is_fenced {
            tokio::time::sleep(PACE).await;
        }
        let committed = self.controller.committed().load().offset();
        // The sender lives as long as the publisher, which is for ever.
        let _ = self.applied.wait_for(|applied| *applied >= committed).await;
        Ok(())
    }

    /// Sends heartbeats for ever.
    pub async fn run(&self) {
        let interval =
            Duration::from_millis(u64::try_from(self.config.settings.broker_heartbeat_interval_ms).unwrap_or(0).max(1));
        let mut directories = self.offline_directories.clone();
        loop {
            let failed = tokio::time::timeout(interval, directories.changed());
            if let Ok(Err(_)) = failed.await {
                tokio::time::sleep(interval).await;
            }
            if let Err(error) = self.heartbeat(false).await {
                tracing::warn!(target: "schloss.server", "a heartbeat was not taken: {error}");
            }
        }
    }

    /// Asks until the broker leads nothing any more, at most `patience`.
    pub async fn shut_down(&mut self, patience: Duration) {
        let moved = tokio::time::timeout(patience, async {
            while !self.heartbeat(true).await?.should_shut_down {
                tokio::time::sleep(PACE).await;
            }
            let committed = self.controller.committed().load().offset();
            let _ = self.applied.wait_for(|applied| *applied >= committed).await;
            Ok::<(), LifecycleError>(())
        });
        match moved.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(target: "schloss.server", "no controlled shutdown: {error}"),
            Err(_) => tracing::warn!(target: "schloss.server", "no controlled shutdown within {patience:?}"),
        }
    }

    async fn heartbeat(&self, want_shut_down: bool) -> Result<HeartbeatAnswer, LifecycleError> {
        let request = BrokerHeartbeat {
            broker: self.config.node_id,
            broker_epoch: *self.epoch.borrow(),
            metadata_offset: *self.applied.borrow(),
            want_fence: false,
            want_shut_down,
            offline_directories: self.offline_directories.borrow().clone(),
            cordoned_directories: None,
        };
        match self.controller.submit(ControllerRequest::BrokerHeartbeat(request)).await? {
            ControllerResponse::BrokerHeartbeat(answer) => Ok(answer),
            _ => Err(LifecycleError::Answer),
        }
    }
}
