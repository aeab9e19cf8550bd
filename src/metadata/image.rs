//! The image: every sub-image, as of one offset.

use std::sync::Arc;

use super::acls::AclsImage;
use super::client_quotas::ClientQuotasImage;
use super::cluster::ClusterImage;
use super::configs::ConfigsImage;
use super::delegation_tokens::DelegationTokensImage;
use super::delta::Touched;
use super::features::FeaturesImage;
use super::producer_ids::ProducerIdsImage;
use super::scram::ScramImage;
use super::topics::TopicsImage;
use crate::protocol::records::metadata::MetadataRecord;

/// A record that does not fit what the log said before it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRecord(String);

impl InvalidRecord {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

/// The record at `offset` can't be applied: the log is not one that this broker can read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {record} at offset {offset} of the metadata log can't be applied: {cause}")]
pub struct ApplyError {
    pub offset: i64,
    pub record: &'static str,
    pub cause: InvalidRecord,
}

/// What the records of `__cluster_metadata` say, up to and with [`MetadataImage::offset`].
///
/// Cloning it costs a few reference counts.
#[derive(Clone, PartialEq, Debug)]
pub struct MetadataImage {
    pub features: FeaturesImage,
    pub cluster: ClusterImage,
    pub topics: TopicsImage,
    pub configs: ConfigsImage,
    pub client_quotas: ClientQuotasImage,
    pub producer_ids: ProducerIdsImage,
    pub acls: AclsImage,
    pub scram: ScramImage,
    pub delegation_tokens: DelegationTokensImage,
    offset: i64,
    /// The image before an open metadata transaction (KIP-868), which hides what the transaction did so far.
    before_transaction: Option<Arc<Self>>,
}

impl Default for MetadataImage {
    fn default() -> Self {
        Self {
            features: FeaturesImage::default(),
            cluster: ClusterImage::default(),
            topics: TopicsImage::default(),
            configs: ConfigsImage::default(),
            client_quotas: ClientQuotasImage::default(),
            producer_ids: ProducerIdsImage::default(),
            acls: AclsImage::default(),
            scram: ScramImage::default(),
            delegation_tokens: DelegationTokensImage::default(),
            offset: -1,
            before_transaction: None,
        }
    }
}

impl MetadataImage {
    /// Offset of the last record that is in it; -1 before the first.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// Says that everything up to `offset` is in it, control batches too.
    pub fn advance(&mut self, offset: i64) {
        self.offset = self.offset.max(offset);
    }

    /// Says that `offset` is the last that it stands for: a snapshot's records count from 0.
    pub fn set_offset(&mut self, offset: i64) {
        self.offset = offset;
    }

    /// Is a metadata transaction open? Then nobody but the controller may look.
    pub fn in_transaction(&self) -> bool {
        self.before_transaction.is_some()
    }

    /// What stays if an open metadata transaction is aborted.
    pub fn settled(&self) -> &Self {
        self.before_transaction.as_deref().unwrap_or(self)
    }

    /// What may be shown: itself, or what it was before an open metadata transaction.
    pub fn visible(self: &Arc<Self>) -> Arc<Self> {
        self.before_transaction.clone().unwrap_or_else(|| Arc::clone(self))
    }

    /// Applies the record at `offset`.
    ///
    /// # Errors
    /// The record contradicts the log before it; the image is then as it was.
    pub fn apply(&mut self, offset: i64, record: &MetadataRecord) -> Result<(), ApplyError> {
        self.apply_noting(offset, record, &mut Touched::default())
    }

    /// The same, and adds to `touched` what the record was about.
    ///
    /// # Errors
    /// The record contradicts the log before it; the image is then as it was.
    pub fn apply_noting(
        &mut self,
        offset: i64,
        record: &MetadataRecord,
        touched: &mut Touched,
    ) -> Result<(), ApplyError> {
        self.apply_record(record, touched).map_err(|cause| ApplyError { offset, record: record.name(), cause })?;
        self.advance(offset);
        Ok(())
    }

    fn apply_record(&mut self, record: &MetadataRecord, touched: &mut Touched) -> Result<(), InvalidRecord> {
        use MetadataRecord as R;
        match record {
            R::NoOp(_) => {}
            R::FeatureLevel(r) => {
                self.features.apply(r).map_err(|error| InvalidRecord::new(error.to_string()))?;
                touched.features = true;
            }
            R::RegisterBroker(r) => touched.broker(self.cluster.register_broker(r)),
            R::UnregisterBroker(r) => touched.broker(self.cluster.unregister_broker(r)?),
            R::FenceBroker(r) => touched.broker(self.cluster.set_fenced(r.id, r.epoch, true)?),
            R::UnfenceBroker(r) => touched.broker(self.cluster.set_fenced(r.id, r.epoch, false)?),
            R::BrokerRegistrationChange(r) => touched.broker(self.cluster.change_broker(r)?),
            R::RegisterController(r) => self.cluster.register_controller(r),
            R::Topic(r) => touched.topic(self.topics.add(r)?),
            R::Partition(r) => touched.topic(self.topics.add_partition(r)?),
            R::PartitionChange(r) => touched.topic(self.topics.change_partition(r)?),
            R::RemoveTopic(r) => {
                let topic = self.topics.remove(r)?;
                touched.topic(topic.id);
                touched.configs.extend(self.configs.remove_topic(topic.name.as_str()));
            }
            R::ClearElr(r) => touched.topics.extend(self.topics.clear_elr(r)?),
            R::Config(r) => {
                touched.configs.insert(self.configs.apply(r));
            }
            R::ClientQuota(r) => {
                touched.client_quotas.insert(self.client_quotas.apply(r));
            }
            R::ProducerIds(r) => self.producer_ids.apply(r)?,
            R::AccessControlEntry(r) => {
                self.acls.add(r)?;
                touched.acl(r.id);
            }
            R::RemoveAccessControlEntry(r) => {
                self.acls.remove(r)?;
                touched.acl(r.id);
            }
            R::UserScramCredential(r) => {
                touched.scram.insert(self.scram.add(r)?);
            }
            R::RemoveUserScramCredential(r) => {
                touched.scram.insert(self.scram.remove(r)?);
            }
            R::DelegationToken(r) => self.delegation_tokens.add(r),
            R::RemoveDelegationToken(r) => self.delegation_tokens.remove(r),
            R::BeginTransaction(_) => self.begin()?,
            R::EndTransaction(_) => self.end()?,
            R::AbortTransaction(_) => self.abort(touched)?,
            // ZooKeeper was left behind long ago: Kafka 4 passes over it too.
            R::ZkMigrationState(_) => {}
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), InvalidRecord> {
        if self.in_transaction() {
            return Err(InvalidRecord::new("a metadata transaction is open already"));
        }
        self.before_transaction = Some(Arc::new(self.clone()));
        Ok(())
    }

    fn end(&mut self) -> Result<(), InvalidRecord> {
        self.before_transaction.take().map(drop).ok_or_else(|| InvalidRecord::new("no metadata transaction is open"))
    }

    fn abort(&mut self, touched: &mut Touched) -> Result<(), InvalidRecord> {
        let Some(before) = self.before_transaction.take() else {
            return Err(InvalidRecord::new("no metadata transaction is open"));
        };
        let offset = self.offset;
        touched.add(Touched::between(self, &before));
        *self = before.as_ref().clone();
        self.offset = offset;
        Ok(())
    }
}

/// Is the record about a SCRAM credential? Segments and snapshots that hold old ones are removed.
pub fn is_credential(record: &MetadataRecord) -> bool {
    matches!(record, MetadataRecord::UserScramCredential(_) | MetadataRecord::RemoveUserScramCredential(_))
}

#[cfg(test)]
#[path = "kafka_log.rs"]
mod kafka_log;
#[cfg(test)]
#[path = "tests.rs"]
mod tests;
