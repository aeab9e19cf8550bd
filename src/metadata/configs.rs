//! Dynamic configs of topics, brokers, groups and client metrics.

use std::sync::Arc;

use rpds::{HashTrieMapSync, RedBlackTreeMapSync};

use crate::protocol::records::metadata::ConfigRecord;

/// `org.apache.kafka.common.config.ConfigResource.Type`, by its id; ids unknown here are kept as they came.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConfigResourceType(pub i8);

impl ConfigResourceType {
    pub const TOPIC: Self = Self(2);
    pub const BROKER: Self = Self(4);
    pub const BROKER_LOGGER: Self = Self(8);
    pub const CLIENT_METRICS: Self = Self(16);
    pub const GROUP: Self = Self(32);
}

/// What a config belongs to. A broker with an empty name stands for all of them.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ConfigResource {
    pub resource_type: ConfigResourceType,
    pub name: Arc<str>,
}

impl ConfigResource {
    pub fn topic(name: &str) -> Self {
        Self { resource_type: ConfigResourceType::TOPIC, name: name.into() }
    }

    pub fn broker(id: i32) -> Self {
        Self { resource_type: ConfigResourceType::BROKER, name: id.to_string().into() }
    }

    /// The cluster's default for every broker.
    pub fn default_broker() -> Self {
        Self { resource_type: ConfigResourceType::BROKER, name: "".into() }
    }
}

/// The overrides of one resource, by name.
pub type ConfigMap = RedBlackTreeMapSync<Arc<str>, Arc<str>>;

#[derive(Clone, PartialEq, Default, Debug)]
pub struct ConfigsImage {
    by_resource: HashTrieMapSync<ConfigResource, ConfigMap>,
}

impl ConfigsImage {
    /// The overrides of a resource; `None` if it has none.
    pub fn get(&self, resource: &ConfigResource) -> Option<&ConfigMap> {
        self.by_resource.get(resource)
    }

    pub fn value(&self, resource: &ConfigResource, name: &str) -> Option<&Arc<str>> {
        self.get(resource)?.get(name)
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = (&ConfigResource, &ConfigMap)> {
        self.by_resource.iter()
    }

    /// Sets a value, or removes it where the record's is null.
    pub(super) fn apply(&mut self, record: &ConfigRecord) -> ConfigResource {
        let resource = ConfigResource {
            resource_type: ConfigResourceType(record.resource_type),
            name: (&*record.resource_name).into(),
        };
        let mut map = self.by_resource.get(&resource).cloned().unwrap_or_default();
        match &record.value {
            Some(value) => map.insert_mut((&*record.name).into(), (&**value).into()),
            None => {
                map.remove_mut(&*record.name);
            }
        }
        if map.is_empty() {
            self.by_resource.remove_mut(&resource);
        } else {
            self.by_resource.insert_mut(resource.clone(), map);
        }
        resource
    }

    /// A topic's configs go with it, without records of their own. `None` if it had none.
    pub(super) fn remove_topic(&mut self, name: &str) -> Option<ConfigResource> {
        let resource = ConfigResource::topic(name);
        self.by_resource.remove_mut(&resource).then_some(resource)
    }
}
