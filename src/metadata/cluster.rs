//! Registered brokers and controllers.

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use super::image::InvalidRecord;
use crate::model::broker::BrokerId;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::{
    BrokerRegistrationChangeRecord, RegisterBrokerRecord, RegisterControllerRecord, UnregisterBrokerRecord,
};

/// Where a node listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndPoint {
    pub name: Arc<str>,
    pub host: Arc<str>,
    pub port: u16,
    /// Id of the security protocol, as it came.
    pub security_protocol: i16,
}

/// The levels of a feature that a node supports.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct FeatureRange {
    pub name: Arc<str>,
    pub min: i16,
    pub max: i16,
}

/// Kafka's `BrokerRegistration`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BrokerImage {
    pub id: BrokerId,
    /// Offset of the batch that registered it.
    pub epoch: i64,
    pub incarnation_id: Uuid,
    pub end_points: Vec<EndPoint>,
    /// By name.
    pub features: Vec<FeatureRange>,
    pub rack: Option<Arc<str>>,
    pub fenced: bool,
    pub in_controlled_shutdown: bool,
    pub is_migrating_zk_broker: bool,
    /// Ids of its log directories, sorted.
    pub directories: Vec<Uuid>,
    /// `None`: it never said.
    pub cordoned_directories: Option<Vec<Uuid>>,
}

impl BrokerImage {
    pub fn end_point(&self, listener: &str) -> Option<&EndPoint> {
        self.end_points.iter().find(|end_point| &*end_point.name == listener)
    }

    /// Neither fenced nor on its way out (`ClusterControlManager.isActive`).
    pub fn is_active(&self) -> bool {
        !self.fenced && !self.in_controlled_shutdown
    }
}

/// Kafka's `ControllerRegistration` (KIP-919).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ControllerImage {
    pub id: i32,
    pub incarnation_id: Uuid,
    pub zk_migration_ready: bool,
    pub end_points: Vec<EndPoint>,
    /// By name.
    pub features: Vec<FeatureRange>,
}

#[derive(Clone, PartialEq, Default, Debug)]
pub struct ClusterImage {
    brokers: RedBlackTreeMapSync<BrokerId, Arc<BrokerImage>>,
    controllers: RedBlackTreeMapSync<i32, Arc<ControllerImage>>,
}

impl ClusterImage {
    pub fn broker(&self, id: BrokerId) -> Option<&Arc<BrokerImage>> {
        self.brokers.get(&id)
    }

    /// By id, the fenced ones too.
    pub fn brokers(&self) -> impl Iterator<Item = &Arc<BrokerImage>> {
        self.brokers.values()
    }

    pub fn controllers(&self) -> impl Iterator<Item = &Arc<ControllerImage>> {
        self.controllers.values()
    }

    pub fn is_active(&self, id: BrokerId) -> bool {
        self.broker(id).is_some_and(|broker| broker.is_active())
    }

    pub(super) fn register_broker(&mut self, record: &RegisterBrokerRecord) -> BrokerId {
        let end_points = record.end_points.iter().map(|e| EndPoint {
            name: (&*e.name).into(),
            host: (&*e.host).into(),
            port: e.port,
            security_protocol: e.security_protocol,
        });
        let features = record.features.iter().map(|f| FeatureRange {
            name: (&*f.name).into(),
            min: f.min_supported_version,
            max: f.max_supported_version,
        });
        let broker = BrokerImage {
            id: BrokerId(record.broker_id),
            epoch: record.broker_epoch,
            incarnation_id: record.incarnation_id,
            end_points: end_points.collect(),
            features: by_name(features.collect()),
            rack: record.rack.as_ref().map(|rack| (&**rack).into()),
            fenced: record.fenced,
            in_controlled_shutdown: record.in_controlled_shutdown,
            is_migrating_zk_broker: record.is_migrating_zk_broker,
            directories: sorted(&record.log_dirs),
            cordoned_directories: record.cordoned_log_dirs.as_deref().map(sorted),
        };
        let id = broker.id;
        self.brokers.insert_mut(id, Arc::new(broker));
        id
    }

    pub(super) fn unregister_broker(&mut self, record: &UnregisterBrokerRecord) -> Result<BrokerId, InvalidRecord> {
        let id = self.known(record.broker_id, record.broker_epoch)?.id;
        self.brokers.remove_mut(&id);
        Ok(id)
    }

    /// `FenceBrokerRecord`, `UnfenceBrokerRecord`: what Kafka wrote before 3.3.
    pub(super) fn set_fenced(&mut self, id: i32, epoch: i64, fenced: bool) -> Result<BrokerId, InvalidRecord> {
        let broker = BrokerImage { fenced, ..self.known(id, epoch)?.clone() };
        self.put(broker)
    }

    pub(super) fn change_broker(&mut self, record: &BrokerRegistrationChangeRecord) -> Result<BrokerId, InvalidRecord> {
        let mut broker = self.known(record.broker_id, record.broker_epoch)?.clone();
        match record.fenced {
            0 => {}
            1 => broker.fenced = true,
            -1 => broker.fenced = false,
            other => return Err(InvalidRecord::new(format!("{other} is no change of fencing"))),
        }
        match record.in_controlled_shutdown {
            0 => {}
            1 => broker.in_controlled_shutdown = true,
            other => return Err(InvalidRecord::new(format!("{other} is no change of a controlled shutdown"))),
        }
        if !record.log_dirs.is_empty() {
            broker.directories = sorted(&record.log_dirs);
        }
        if let Some(cordoned) = &record.cordoned_log_dirs {
            broker.cordoned_directories = Some(sorted(cordoned));
        }
        self.put(broker)
    }

    pub(super) fn register_controller(&mut self, record: &RegisterControllerRecord) {
        let end_points = record.end_points.iter().map(|e| EndPoint {
            name: (&*e.name).into(),
            host: (&*e.host).into(),
            port: e.port,
            security_protocol: e.security_protocol,
        });
        let features = record.features.iter().map(|f| FeatureRange {
            name: (&*f.name).into(),
            min: f.min_supported_version,
            max: f.max_supported_version,
        });
        let controller = ControllerImage {
            id: record.controller_id,
            incarnation_id: record.incarnation_id,
            zk_migration_ready: record.zk_migration_ready,
            end_points: end_points.collect(),
            features: by_name(features.collect()),
        };
        self.controllers.insert_mut(controller.id, Arc::new(controller));
    }

    fn known(&self, id: i32, epoch: i64) -> Result<&BrokerImage, InvalidRecord> {
        let Some(broker) = self.broker(BrokerId(id)) else {
            return Err(InvalidRecord::new(format!("broker {id} is not registered")));
        };
        if broker.epoch != epoch {
            return Err(InvalidRecord::new(format!(
                "broker {id} is registered with epoch {}, not {epoch}",
                broker.epoch
            )));
        }
        Ok(broker)
    }

    fn put(&mut self, broker: BrokerImage) -> Result<BrokerId, InvalidRecord> {
        let id = broker.id;
        self.brokers.insert_mut(id, Arc::new(broker));
        Ok(id)
    }
}

fn by_name(mut features: Vec<FeatureRange>) -> Vec<FeatureRange> {
    features.sort();
    features
}

fn sorted(ids: &[Uuid]) -> Vec<Uuid> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}
