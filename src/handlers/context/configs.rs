//! Configurations as DescribeConfigs tells them. Their callers have been judged.

use std::sync::Arc;

use super::{RequestContext, TopicView};
use crate::config::resource::{describe_client_metrics, describe_group};
use crate::config::tls::{StoredTls, stored_tls};
use crate::config::topic::{Behind, Described, broker_names, describe, describe_broker, nothing};
use crate::metadata::configs::{ConfigResource, ConfigResourceType};
use crate::metadata::image::MetadataImage;

fn lookup(image: &MetadataImage, resource: ConfigResource) -> impl Fn(&str) -> Option<Arc<str>> {
    move |name| image.configs.value(&resource, name).cloned()
}

impl RequestContext<'_> {
    /// Every key of a topic, with what stands behind it.
    pub fn topic_configs(&self, topic: &TopicView) -> Vec<Described> {
        let image = self.broker.image.load();
        let overrides = lookup(&image, ConfigResource::topic(topic.name().as_str()));
        let broker = lookup(&image, ConfigResource::broker(self.broker.node_id.0));
        let cluster = lookup(&image, ConfigResource::default_broker());
        describe(&overrides, Behind { values: self.broker.config.values(), broker: &broker, cluster: &cluster })
    }

    /// Every key of a group, which need not exist.
    pub fn group_configs(&self, group: &str) -> Vec<Described> {
        let image = self.broker.image.load();
        let resource = ConfigResource { resource_type: ConfigResourceType::GROUP, name: group.into() };
        let broker = lookup(&image, ConfigResource::broker(self.broker.node_id.0));
        let cluster = lookup(&image, ConfigResource::default_broker());
        let behind = Behind { values: self.broker.config.values(), broker: &broker, cluster: &cluster };
        describe_group(&lookup(&image, resource), behind)
    }

    /// Every key of a client metrics subscription, which need not exist.
    pub fn client_metrics_configs(&self, subscription: &str) -> Vec<Described> {
        let image = self.broker.image.load();
        let resource = ConfigResource { resource_type: ConfigResourceType::CLIENT_METRICS, name: subscription.into() };
        describe_client_metrics(&lookup(&image, resource))
    }

    /// Every key of this broker, or, without an id, what was set for all of them.
    pub fn broker_configs(&self, id: Option<i32>) -> Vec<Described> {
        let image = self.broker.image.load();
        let cluster = lookup(&image, ConfigResource::default_broker());
        let values = self.broker.config.values();
        let Some(id) = id else {
            let behind = Behind { values, broker: &nothing, cluster: &cluster };
            let resource = ConfigResource::default_broker();
            let names = image.configs.get(&resource).into_iter().flat_map(|map| map.keys());
            return names.map(|name| describe_broker(name, behind, false)).collect();
        };
        let broker = lookup(&image, ConfigResource::broker(id));
        let behind = Behind { values, broker: &broker, cluster: &cluster };
        let dynamic = image.configs.get(&ConfigResource::broker(id)).into_iter().flat_map(|map| map.keys());
        broker_names(values, dynamic.map(|name| &**name))
            .into_iter()
            .map(|name| describe_broker(name, behind, true))
            .collect()
    }

    /// The certificates that were set for this broker's listeners.
    pub fn stored_certificates(&self) -> StoredTls {
        let image = self.broker.image.load();
        stored_tls(image.configs.get(&ConfigResource::broker(self.broker.node_id.0)).into_iter().flatten())
    }

    /// The names of all topics, for those who may describe the cluster's configs.
    pub fn topic_names_for_configs(&self) -> Vec<String> {
        let image = self.broker.image.load();
        let mut names: Vec<String> = image.topics.iter().map(|topic| topic.name.as_str().to_owned()).collect();
        names.sort_unstable();
        names
    }

    /// The names of this type that have configs of their own, for those who may describe the cluster's configs.
    pub fn configured_names(&self, resource_type: i8) -> Vec<String> {
        let image = self.broker.image.load();
        let of_type = image.configs.iter().filter(|(resource, _)| resource.resource_type.0 == resource_type);
        let mut names: Vec<String> = of_type.map(|(resource, _)| resource.name.to_string()).collect();
        names.sort_unstable();
        names
    }
}
