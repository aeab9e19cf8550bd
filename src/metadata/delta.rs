//! What changed between two images.
//!
//! Whoever keeps something derived from the image (the authorizer's index, credentials, partitions) follows it by these.
//! Each change is looked up in both images, so it does not matter how many records, or batches, lie between them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::client_quotas::ClientQuotaEntity;
use super::configs::{ConfigResource, ConfigResourceType};
use super::image::MetadataImage;
use super::scram::ScramKey;
use super::topics::TopicImage;
use crate::model::acl::AclBinding;
use crate::model::broker::BrokerId;
use crate::model::scram::ScramCredential;
use crate::model::topic::TopicId;
use crate::model::uuid::Uuid;

/// What some records were about; that it differs from before is not said.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Touched {
    pub features: bool,
    pub brokers: BTreeSet<BrokerId>,
    pub topics: BTreeSet<TopicId>,
    pub configs: BTreeSet<ConfigResource>,
    pub client_quotas: BTreeSet<ClientQuotaEntity>,
    pub acls: BTreeSet<Uuid>,
    pub scram: BTreeSet<ScramKey>,
}

impl Touched {
    /// Everything that is in one of two images and not equal in the other.
    pub fn between(before: &MetadataImage, after: &MetadataImage) -> Self {
        let mut touched = Self { features: before.features != after.features, ..Self::default() };
        for (here, there) in [(before, after), (after, before)] {
            let brokers = here.cluster.brokers().filter(|b| there.cluster.broker(b.id) != Some(b));
            touched.brokers.extend(brokers.map(|broker| broker.id));
            let topics = here.topics.iter().filter(|t| there.topics.by_id(t.id) != Some(t));
            touched.topics.extend(topics.map(|topic| topic.id));
            let configs = here.configs.iter().filter(|(resource, map)| there.configs.get(resource) != Some(map));
            touched.configs.extend(configs.map(|(resource, _)| resource.clone()));
            let quotas = here.client_quotas.iter().filter(|(entity, map)| there.client_quotas.get(entity) != Some(map));
            touched.client_quotas.extend(quotas.map(|(entity, _)| entity.clone()));
            let acls = here.acls.iter().filter(|(id, binding)| there.acls.get(id) != Some(binding));
            touched.acls.extend(acls.map(|(id, _)| *id));
            let scram = here.scram.iter().filter(|(key, c)| there.scram.get(&key.user, key.mechanism) != Some(c));
            touched.scram.extend(scram.map(|(key, _)| key.clone()));
        }
        touched
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.features |= other.features;
        self.brokers.extend(other.brokers);
        self.topics.extend(other.topics);
        self.configs.extend(other.configs);
        self.client_quotas.extend(other.client_quotas);
        self.acls.extend(other.acls);
        self.scram.extend(other.scram);
    }

    pub(super) fn broker(&mut self, id: BrokerId) {
        self.brokers.insert(id);
    }

    pub(super) fn topic(&mut self, id: TopicId) {
        self.topics.insert(id);
    }

    pub(super) fn acl(&mut self, id: Uuid) {
        self.acls.insert(id);
    }
}

/// Two images and what lies between them.
#[derive(Clone, Debug)]
pub struct MetadataDelta {
    pub before: Arc<MetadataImage>,
    pub after: Arc<MetadataImage>,
    touched: Touched,
}

/// What became of a topic.
#[derive(Debug)]
pub enum TopicChange<'a> {
    Created(&'a TopicImage),
    Changed { before: &'a TopicImage, after: &'a TopicImage },
    Deleted(&'a TopicImage),
}

/// What became of a thing that is there or not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change<'a, T> {
    Set(&'a T),
    Removed,
}

impl MetadataDelta {
    /// For images that are records apart, `touched` being what those were about.
    pub fn new(before: Arc<MetadataImage>, after: Arc<MetadataImage>, touched: Touched) -> Self {
        Self { before, after, touched }
    }

    /// For images that are a snapshot apart.
    pub fn between(before: Arc<MetadataImage>, after: Arc<MetadataImage>) -> Self {
        let touched = Touched::between(&before, &after);
        Self::new(before, after, touched)
    }

    pub fn touched(&self) -> &Touched {
        &self.touched
    }

    pub fn features_changed(&self) -> bool {
        self.touched.features && self.before.features != self.after.features
    }

    /// Deleted topics first: a topic deleted and made again under its name is two topics.
    pub fn topics(&self) -> Vec<TopicChange<'_>> {
        let mut deleted = Vec::new();
        let mut others = Vec::new();
        for id in &self.touched.topics {
            match (self.before.topics.by_id(*id), self.after.topics.by_id(*id)) {
                (None, Some(after)) => others.push(TopicChange::Created(after)),
                (Some(before), None) => deleted.push(TopicChange::Deleted(before)),
                (Some(before), Some(after)) if before != after => others.push(TopicChange::Changed { before, after }),
                _ => {}
            }
        }
        deleted.append(&mut others);
        deleted
    }

    pub fn acls(&self) -> impl Iterator<Item = (Uuid, Change<'_, AclBinding>)> {
        let ids = self.touched.acls.iter();
        ids.filter_map(|id| Some((*id, change(self.before.acls.get(id), self.after.acls.get(id))?)))
    }

    pub fn scram(&self) -> impl Iterator<Item = (&ScramKey, Change<'_, ScramCredential>)> {
        let of = |image: &'_ Arc<MetadataImage>, key: &ScramKey| image.scram.get(&key.user, key.mechanism).cloned();
        self.touched.scram.iter().filter_map(move |key| {
            let before = of(&self.before, key);
            let after = self.after.scram.get(&key.user, key.mechanism);
            Some((key, change(before.as_ref(), after)?))
        })
    }

    /// Resources whose overrides differ.
    pub fn configs(&self) -> impl Iterator<Item = &ConfigResource> {
        let differs = |r: &&ConfigResource| self.before.configs.get(r) != self.after.configs.get(r);
        self.touched.configs.iter().filter(differs)
    }

    /// Was a config of any broker written, be it the value that it had: whoever writes that wants files read again
    /// (KAFKA-14136).
    pub fn writes_broker_configs(&self) -> bool {
        self.touched.configs.iter().any(|resource| resource.resource_type == ConfigResourceType::BROKER)
    }

    /// Brokers whose registration differs.
    pub fn brokers(&self) -> impl Iterator<Item = BrokerId> {
        let differs = |id: &BrokerId| self.before.cluster.broker(*id) != self.after.cluster.broker(*id);
        self.touched.brokers.iter().copied().filter(differs)
    }
}

fn change<'a, T: PartialEq>(before: Option<&T>, after: Option<&'a T>) -> Option<Change<'a, T>> {
    match (before, after) {
        (before, Some(after)) if before != Some(after) => Some(Change::Set(after)),
        (Some(_), None) => Some(Change::Removed),
        _ => None,
    }
}
