//! Brokers: registered, heard, fenced, unfenced, and shut down in order.
//!
//! Precedent: Kafka's `ClusterControlManager`, `BrokerHeartbeatManager`, `ReplicationControlManager` (KIP-631). The broker
//! of this very process has no session that could run out: as long as somebody reads this, it lives, and an earlier
//! incarnation of it can't, because the log directories are locked.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::request::{ApiError, ControllerError, ControllerResponse};
use super::{Context, Controller, Outcome};
use crate::metadata::cluster::{BrokerImage, EndPoint, FeatureRange};
use crate::metadata::metadata_version::MetadataVersion;
use crate::metadata::snapshot::RecordAndVersion;
use crate::metadata::topics::directory_id;
use crate::model::broker::BrokerId;
use crate::model::error_code::ErrorCode;
use crate::model::time::Mono;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::register_broker_record::{BrokerEndpoint, BrokerFeature};
use crate::protocol::records::metadata::{BrokerRegistrationChangeRecord, RegisterBrokerRecord};

/// `BrokerRegistration`.
#[derive(Clone, Debug)]
pub struct RegisterBroker {
    pub broker: BrokerId,
    pub cluster_id: Arc<str>,
    /// Drawn anew whenever the broker's process starts.
    pub incarnation_id: Uuid,
    pub end_points: Vec<EndPoint>,
    /// What it supports; must hold every finalized level.
    pub features: Vec<FeatureRange>,
    pub rack: Option<Arc<str>>,
    pub directories: Vec<Uuid>,
    /// From `.kafka_cleanshutdown`; -1 after an unclean stop. It, and nothing else, says that the stop was clean.
    pub previous_epoch: i64,
    /// It is the broker of this process.
    pub local: bool,
}

/// `BrokerHeartbeat`.
#[derive(Clone, Debug)]
pub struct BrokerHeartbeat {
    pub broker: BrokerId,
    pub broker_epoch: i64,
    /// Last offset of the metadata log that it has applied.
    pub metadata_offset: i64,
    pub want_fence: bool,
    pub want_shut_down: bool,
    /// Directories that failed.
    pub offline_directories: Vec<Uuid>,
    /// Directories that take no new replicas; `None` says nothing.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

/// What a heartbeat is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HeartbeatAnswer {
    /// Has it applied its own registration?
    pub is_caught_up: bool,
    pub is_fenced: bool,
    /// It leads nothing any more and may go.
    pub should_shut_down: bool,
}

/// When a broker was last heard. Lost with the controller, which gives everybody a whole session then.
#[derive(Debug)]
pub(super) struct Session {
    heard: Mono,
    local: bool,
    metadata_offset: i64,
    /// Where the log ended when its controlled shutdown was granted.
    shutdown_offset: Option<i64>,
}

impl Session {
    pub(super) fn new(now: Mono) -> Self {
        Self { heard: now, local: false, metadata_offset: -1, shutdown_offset: None }
    }
}

/// Kafka's `BrokerControlState`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum ControlState {
    Fenced,
    Unfenced,
    ControlledShutdown,
    ShutdownNow,
}

impl Controller {
    pub(super) fn register_broker(
        &mut self,
        cx: &mut Context<'_>,
        request: RegisterBroker,
    ) -> Result<Outcome, ControllerError> {
        self.check_registration(cx.now, &request)?;
        let existing = self.image.cluster.broker(request.broker).cloned();
        let mut records = Vec::new();
        let mut epoch = cx.next_offset;
        let (mut fenced, mut in_controlled_shutdown) = (true, false);
        match existing {
            // The same process again, with news about itself.
            Some(existing) if existing.incarnation_id == request.incarnation_id => {
                epoch = existing.epoch;
                (fenced, in_controlled_shutdown) = (existing.fenced, existing.in_controlled_shutdown);
            }
            Some(existing) => {
                if !existing.fenced {
                    records.append(&mut self.fence(&existing));
                }
                if existing.epoch != request.previous_epoch {
                    let mut unclean = self.elections_for_unclean(request.broker, &records);
                    records.append(&mut unclean);
                }
            }
            None => {}
        }
        let session = self.sessions.entry(request.broker).or_insert_with(|| Session::new(cx.now));
        *session = Session { local: request.local, ..Session::new(cx.now) };
        records.push(self.registration_record(request, epoch, fenced, in_controlled_shutdown));
        Ok(Outcome::new(records, ControllerResponse::RegisterBroker { epoch }))
    }

    fn check_registration(&self, now: Mono, request: &RegisterBroker) -> Result<(), ApiError> {
        if request.cluster_id != self.settings.cluster_id {
            let text =
                format!("Expected cluster ID {}, but got cluster ID {}", self.settings.cluster_id, request.cluster_id);
            return Err(ApiError::new(ErrorCode::InconsistentClusterId, text));
        }
        if let Some(existing) = self.image.cluster.broker(request.broker)
            && existing.incarnation_id != request.incarnation_id
            && !request.local
            && self.has_valid_session(existing, now)
        {
            let text = "Another broker is registered with that broker id. If the broker was recently restarted this should \
                        self-resolve once the heartbeat manager expires the broker's session.";
            return Err(ApiError::new(ErrorCode::DuplicateBrokerRegistration, text));
        }
        self.check_directories(request)?;
        self.check_features(request)
    }

    fn check_directories(&self, request: &RegisterBroker) -> Result<(), ApiError> {
        if !self.image.features.metadata_version_or_minimum().is_directory_assignment_supported() {
            return Ok(());
        }
        let refuse = |text: String| Err(ApiError::new(ErrorCode::InvalidRequest, text));
        if request.directories.is_empty() {
            return refuse("No directories specified in request".to_owned());
        }
        if request.directories.iter().any(|id| directory_id::is_reserved(*id)) {
            return refuse("Reserved directory ID in request".to_owned());
        }
        if request.directories.iter().collect::<BTreeSet<_>>().len() != request.directories.len() {
            return refuse("Duplicate directory ID in request".to_owned());
        }
        for other in self.image.cluster.brokers().filter(|broker| broker.id != request.broker) {
            if let Some(id) = request.directories.iter().find(|id| other.directories.contains(id)) {
                return refuse(format!("Broker {} is already registered with directory {id}", other.id));
            }
        }
        Ok(())
    }

    fn check_features(&self, request: &RegisterBroker) -> Result<(), ApiError> {
        let refuse = |text: String| Err(ApiError::new(ErrorCode::UnsupportedVersion, text));
        if !request.features.iter().any(|range| &*range.name == MetadataVersion::FEATURE) {
            return refuse("Request features do not contain 'metadata.version'".to_owned());
        }
        for (name, level) in self.image.features.iter() {
            let range = request.features.iter().find(|range| &*range.name == name);
            let (min, max) = range.map_or((0, 0), |range| (range.min, range.max));
            if !(min..=max).contains(&level) {
                return refuse(format!(
                    "Unable to register because the broker does not support finalized version {level} of {name}. The broker \
                     wants a version between {min} and {max}, inclusive."
                ));
            }
        }
        Ok(())
    }

    fn registration_record(
        &self,
        request: RegisterBroker,
        broker_epoch: i64,
        fenced: bool,
        in_controlled_shutdown: bool,
    ) -> RecordAndVersion {
        let end_point = |e: &EndPoint| BrokerEndpoint {
            name: (&*e.name).into(),
            host: (&*e.host).into(),
            port: e.port,
            security_protocol: e.security_protocol,
        };
        let feature = |f: &FeatureRange| BrokerFeature {
            name: (&*f.name).into(),
            min_supported_version: f.min,
            max_supported_version: f.max,
        };
        let record = RegisterBrokerRecord {
            broker_id: request.broker.0,
            incarnation_id: request.incarnation_id,
            broker_epoch,
            end_points: request.end_points.iter().map(end_point).collect(),
            features: request.features.iter().map(feature).collect(),
            rack: request.rack.as_deref().map(Into::into),
            fenced,
            in_controlled_shutdown,
            log_dirs: request.directories,
            ..RegisterBrokerRecord::default()
        };
        let version = self.image.features.metadata_version_or_minimum().register_broker_record_version();
        RecordAndVersion::new(record, version)
    }

    pub(super) fn broker_heartbeat(
        &mut self,
        cx: &Context<'_>,
        request: &BrokerHeartbeat,
    ) -> Result<Outcome, ControllerError> {
        let broker = Arc::clone(self.check_broker_epoch(request.broker, request.broker_epoch)?);
        let session = self.sessions.entry(broker.id).or_insert_with(|| Session::new(cx.now));
        session.heard = cx.now;
        session.metadata_offset = request.metadata_offset;
        let mut records = self.directories_offline(&broker, &request.offline_directories);
        let (before, after) = (state_of(&broker), self.next_state(&broker, request));
        if before != after {
            records.append(&mut self.transition(&broker, after));
            if after == ControlState::ControlledShutdown
                && let Some(session) = self.sessions.get_mut(&broker.id)
            {
                session.shutdown_offset = Some(cx.next_offset);
            }
        }
        records.extend(self.cordon(&broker, request.cordoned_directories.as_deref()));
        let answer = HeartbeatAnswer {
            is_caught_up: request.metadata_offset >= broker.epoch,
            is_fenced: matches!(after, ControlState::Fenced | ControlState::ShutdownNow),
            should_shut_down: after == ControlState::ShutdownNow,
        };
        Ok(Outcome::new(records, ControllerResponse::BrokerHeartbeat(answer)))
    }

    /// `BrokerHeartbeatManager.calculateNextBrokerState`
    fn next_state(&self, broker: &BrokerImage, request: &BrokerHeartbeat) -> ControlState {
        use ControlState::{ControlledShutdown, Fenced, ShutdownNow, Unfenced};
        match (state_of(broker), request.want_fence, request.want_shut_down) {
            (Fenced | ShutdownNow, _, true) | (Unfenced, true, true) => ShutdownNow,
            (Fenced | ShutdownNow, true, false) | (Unfenced, true, false) => Fenced,
            (Fenced | ShutdownNow, false, false) if request.metadata_offset >= broker.epoch => Unfenced,
            (Fenced | ShutdownNow, false, false) => Fenced,
            (Unfenced, false, false) => Unfenced,
            (Unfenced | ControlledShutdown, ..) if self.leads_anything(broker.id) => ControlledShutdown,
            (Unfenced, false, true) => ShutdownNow,
            (ControlledShutdown, ..) if self.everybody_has_seen_the_shutdown(broker.id) => ShutdownNow,
            (ControlledShutdown, ..) => ControlledShutdown,
        }
    }

    /// Do all who stay know that the broker leads nothing any more?
    fn everybody_has_seen_the_shutdown(&self, leaving: BrokerId) -> bool {
        let Some(offset) = self.sessions.get(&leaving).and_then(|session| session.shutdown_offset) else { return true };
        self.image.cluster.brokers().filter(|broker| broker.is_active()).all(|broker| {
            let seen = self.sessions.get(&broker.id).map_or(-1, |session| session.metadata_offset);
            seen >= offset
        })
    }

    fn transition(&self, broker: &BrokerImage, to: ControlState) -> Vec<RecordAndVersion> {
        match to {
            ControlState::Fenced | ControlState::ShutdownNow if broker.fenced => Vec::new(),
            ControlState::Fenced | ControlState::ShutdownNow => self.fence(broker),
            ControlState::Unfenced => {
                let mut records = vec![RecordAndVersion::new(change(broker, |record| record.fenced = -1), 0)];
                records.append(&mut self.elections_for_unfenced(broker.id));
                records
            }
            ControlState::ControlledShutdown => {
                let leaves = change(broker, |record| record.in_controlled_shutdown = 1);
                let mut records = vec![RecordAndVersion::new(leaves, 1)];
                records.append(&mut self.elections_for_leaving(broker.id));
                records
            }
        }
    }

    /// What it led finds other leaders, then it is fenced.
    fn fence(&self, broker: &BrokerImage) -> Vec<RecordAndVersion> {
        let mut records = self.elections_for_leaving(broker.id);
        records.push(RecordAndVersion::new(change(broker, |record| record.fenced = 1), 0));
        records
    }

    fn cordon(&self, broker: &BrokerImage, cordoned: Option<&[Uuid]>) -> Option<RecordAndVersion> {
        if !self.image.features.metadata_version_or_minimum().is_cordoned_log_dirs_supported() {
            return None;
        }
        let mut cordoned = cordoned?.to_vec();
        cordoned.sort();
        if broker.cordoned_directories.as_ref() == Some(&cordoned) {
            return None;
        }
        Some(RecordAndVersion::new(change(broker, |record| record.cordoned_log_dirs = Some(cordoned)), 3))
    }

    /// Brokers that were not heard for a session's length.
    pub(super) fn fence_stale_brokers(&mut self, now: Mono) -> Option<Vec<RecordAndVersion>> {
        let stale = self.image.cluster.brokers().find(|broker| !broker.fenced && !self.has_valid_session(broker, now));
        // One at a time: what the next one's leaders become depends on this one's.
        let records = self.fence(stale?);
        Some(records)
    }

    fn has_valid_session(&self, broker: &BrokerImage, now: Mono) -> bool {
        let Some(session) = self.sessions.get(&broker.id) else { return false };
        !broker.fenced && (session.local || now.since(session.heard) < self.settings.session_timeout)
    }

    /// The registration that a request speaks of.
    pub(super) fn check_broker_epoch(&self, id: BrokerId, epoch: i64) -> Result<&Arc<BrokerImage>, ApiError> {
        let stale = |text: String| ApiError::new(ErrorCode::StaleBrokerEpoch, text);
        let Some(broker) = self.image.cluster.broker(id) else {
            return Err(stale(format!("No broker registration found for broker id {id}")));
        };
        if broker.epoch != epoch {
            return Err(stale(format!("Expected broker epoch {}, but got broker epoch {epoch}", broker.epoch)));
        }
        Ok(broker)
    }
}

fn state_of(broker: &BrokerImage) -> ControlState {
    match (broker.fenced, broker.in_controlled_shutdown) {
        (true, _) => ControlState::Fenced,
        (false, true) => ControlState::ControlledShutdown,
        (false, false) => ControlState::Unfenced,
    }
}

fn change(
    broker: &BrokerImage,
    set: impl FnOnce(&mut BrokerRegistrationChangeRecord),
) -> BrokerRegistrationChangeRecord {
    let mut record = BrokerRegistrationChangeRecord {
        broker_id: broker.id.0,
        broker_epoch: broker.epoch,
        ..BrokerRegistrationChangeRecord::default()
    };
    set(&mut record);
    record
}
