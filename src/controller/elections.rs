//! Who leads a partition, and what of its ISR and ELR changes with it.
//!
//! Precedent: Kafka's `PartitionChangeBuilder` and `ReplicationControlManager.generateLeaderAndIsrUpdates`, with eligible
//! leader replicas (KIP-966) where that feature is finalized: then an ISR may become empty, and a partition whose last
//! leader stopped remembers it.

use super::Controller;
use crate::metadata::image::MetadataImage;
use crate::metadata::metadata_version::MetadataVersion;
use crate::metadata::snapshot::{RecordAndVersion, numbers};
use crate::metadata::topics::{LeaderRecoveryState, NO_LEADER_CHANGE, PartitionImage, TopicImage};
use crate::model::broker::BrokerId;
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::PartitionChangeRecord;

/// Brokers that an event takes something from, or gives it.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct BrokerChanges {
    /// Leaves every ISR: fenced, or in controlled shutdown.
    pub(super) leaves_isr: Option<BrokerId>,
    /// May lead from now on.
    pub(super) joins: Option<BrokerId>,
    /// Stopped without a clean shutdown: what it held past the last flush may be gone, so it leaves every ELR.
    pub(super) unclean: Option<BrokerId>,
}

/// What decides one partition.
struct Election<'a> {
    partition: &'a PartitionImage,
    elr_enabled: bool,
    unclean_enabled: bool,
    min_insync_replicas: usize,
    metadata_version: MetadataVersion,
    changes: BrokerChanges,
    is_active: &'a dyn Fn(BrokerId) -> bool,
}

impl Controller {
    /// Changes of every partition that `concerns` and that `changes` changes, in the order of topics and partitions.
    pub(super) fn elections(
        &self,
        changes: BrokerChanges,
        concerns: impl Fn(&PartitionImage) -> bool,
    ) -> Vec<RecordAndVersion> {
        self.elections_in(&self.image, changes, concerns)
    }

    /// The same for an image that may be ahead of the latest by records of the same batch.
    fn elections_in(
        &self,
        image: &MetadataImage,
        changes: BrokerChanges,
        concerns: impl Fn(&PartitionImage) -> bool,
    ) -> Vec<RecordAndVersion> {
        let metadata_version = self.image.features.metadata_version_or_minimum();
        let elr_enabled = self.is_elr_enabled();
        let is_active = |id: BrokerId| {
            if changes.leaves_isr == Some(id) {
                return false;
            }
            changes.joins == Some(id) || image.cluster.is_active(id)
        };
        let mut records = Vec::new();
        for topic in image.topics.iter() {
            let mut configs = None;
            for (index, partition) in topic.partitions().filter(|(_, partition)| concerns(partition)) {
                let (unclean_enabled, min_insync_replicas) = *configs.get_or_insert_with(|| {
                    (self.is_unclean_election_enabled(&topic.name), self.min_insync_replicas(&topic.name))
                });
                let election = Election {
                    partition,
                    elr_enabled,
                    unclean_enabled,
                    min_insync_replicas,
                    metadata_version,
                    changes,
                    is_active: &is_active,
                };
                records.extend(election.record(topic, index));
            }
        }
        records
    }

    /// A broker came back: partitions without a leader may get it.
    pub(super) fn elections_for_unfenced(&self, broker: BrokerId) -> Vec<RecordAndVersion> {
        let changes = BrokerChanges { joins: Some(broker), ..BrokerChanges::default() };
        self.elections(changes, |partition| !partition.has_leader())
    }

    /// A broker goes: it leaves every ISR and leads nothing.
    pub(super) fn elections_for_leaving(&self, broker: BrokerId) -> Vec<RecordAndVersion> {
        let changes = BrokerChanges { leaves_isr: Some(broker), ..BrokerChanges::default() };
        self.elections(changes, |partition| partition.isr.contains(&broker) || partition.leader == broker)
    }

    /// A broker registers after it stopped without saying so: it leaves every ELR, and the ISRs of those partitions.
    /// `before` are the records of the same batch that fence its last incarnation.
    pub(super) fn elections_for_unclean(&self, broker: BrokerId, before: &[RecordAndVersion]) -> Vec<RecordAndVersion> {
        if !self.is_elr_enabled() {
            return Vec::new();
        }
        let mut image = self.image.clone();
        for (offset, record) in (image.offset() + 1..).zip(before) {
            if let Err(error) = image.apply(offset, &record.record) {
                tracing::error!(%error, "a decision of the controller contradicts its image");
            }
        }
        let changes = BrokerChanges { leaves_isr: Some(broker), unclean: Some(broker), ..BrokerChanges::default() };
        self.elections_in(&image, changes, |partition| {
            partition.isr.contains(&broker) || partition.elr.contains(&broker)
        })
    }

    /// A change of one replica's directory, with the election it causes where that directory is not usable.
    pub(super) fn directory_change(
        &self,
        topic: &TopicImage,
        index: i32,
        partition: &PartitionImage,
        (broker, directory, usable): (BrokerId, Uuid, bool),
    ) -> RecordAndVersion {
        let moved = |(replica, id): (&BrokerId, &Uuid)| if *replica == broker { directory } else { *id };
        let directories = partition.replicas.iter().zip(&partition.directories).map(moved).collect();
        let version = self.image.features.metadata_version_or_minimum().partition_record_version();
        let mut record =
            self.directory_election(topic, index, partition, broker, usable).unwrap_or_else(|| bare(topic, index));
        record.directories = Some(directories);
        RecordAndVersion::new(record, version)
    }

    fn directory_election(
        &self,
        topic: &TopicImage,
        index: i32,
        partition: &PartitionImage,
        broker: BrokerId,
        usable: bool,
    ) -> Option<PartitionChangeRecord> {
        if usable {
            return None;
        }
        let is_active = |id: BrokerId| id != broker && self.image.cluster.is_active(id);
        let election = Election {
            partition,
            elr_enabled: self.is_elr_enabled(),
            unclean_enabled: self.is_unclean_election_enabled(&topic.name),
            min_insync_replicas: self.min_insync_replicas(&topic.name),
            metadata_version: self.image.features.metadata_version_or_minimum(),
            changes: BrokerChanges { leaves_isr: Some(broker), ..BrokerChanges::default() },
            is_active: &is_active,
        };
        election.change(topic, index)
    }
}

/// A change that changes nothing yet.
fn bare(topic: &TopicImage, index: i32) -> PartitionChangeRecord {
    PartitionChangeRecord { partition_id: index, topic_id: topic.id.0, ..PartitionChangeRecord::default() }
}

/// Who is to lead, and whether that may lose records.
struct Elected {
    leader: BrokerId,
    unclean: bool,
}

impl Election<'_> {
    fn record(&self, topic: &TopicImage, index: i32) -> Option<RecordAndVersion> {
        let version = self.metadata_version.partition_record_version();
        self.change(topic, index).map(|record| RecordAndVersion::new(record, version))
    }

    fn change(&self, topic: &TopicImage, index: i32) -> Option<PartitionChangeRecord> {
        let before = self.partition;
        let mut isr: Vec<BrokerId> =
            before.isr.iter().copied().filter(|id| self.changes.leaves_isr != Some(*id)).collect();
        let elr: Vec<BrokerId> = before.elr.iter().copied().filter(|id| self.changes.unclean != Some(*id)).collect();
        let elected = self.elect(&isr, &elr);
        let mut record = bare(topic, index);
        if elected.leader != before.leader {
            record.leader = elected.leader.0;
        }
        if elected.leader != BrokerId::NONE && !isr.contains(&elected.leader) {
            // From the ELR, or at a loss: whoever else was in the ISR is not in step with it.
            isr = vec![elected.leader];
        }
        if elected.unclean && before.leader_recovery_state != LeaderRecoveryState::Recovering {
            record.leader_recovery_state = LeaderRecoveryState::Recovering.code();
        }
        // Without ELR the last ISR of a partition without a leader is kept: it says who may lead next.
        if (!isr.is_empty() || self.elr_enabled) && isr != before.isr {
            record.isr = Some(numbers(&isr));
        }
        self.bump_epoch_for_shrunk_isr(&mut record);
        if self.elr_enabled {
            self.eligible(&isr, &mut record);
        }
        (record != bare(topic, index)).then_some(record)
    }

    fn elect(&self, isr: &[BrokerId], elr: &[BrokerId]) -> Elected {
        let clean = |leader: BrokerId| Elected { leader, unclean: false };
        let from_elr = |id: &BrokerId| self.elr_enabled && elr.contains(id);
        let valid = |id: &BrokerId| (isr.contains(id) || from_elr(id)) && (self.is_active)(*id);
        if valid(&self.partition.leader) {
            return clean(self.partition.leader);
        }
        if let Some(leader) = self.partition.replicas.iter().copied().find(|id| valid(id)) {
            return clean(leader);
        }
        // Nobody can be sure to have everything: the one who led last is the best guess that ELR allows.
        if let ([last], true) =
            (self.partition.last_known_elr.as_slice(), self.elr_enabled && elr.is_empty() && isr.is_empty())
            && (self.is_active)(*last)
        {
            return Elected { leader: *last, unclean: true };
        }
        let unclean = self.partition.replicas.iter().copied().find(|id| self.unclean_enabled && (self.is_active)(*id));
        unclean.map_or(clean(BrokerId::NONE), |leader| Elected { leader, unclean: true })
    }

    /// Before 3.6 followers learned of a shrunk ISR by the leader's epoch (KAFKA-15021).
    fn bump_epoch_for_shrunk_isr(&self, record: &mut PartitionChangeRecord) {
        let shrinks = record.isr.as_ref().is_some_and(|isr| isr.len() < self.partition.isr.len());
        if record.leader == NO_LEADER_CHANGE
            && shrinks
            && self.metadata_version.is_leader_epoch_bump_required_on_isr_shrink()
        {
            record.leader = self.partition.leader.0;
        }
    }

    fn eligible(&self, isr: &[BrokerId], record: &mut PartitionChangeRecord) {
        let before = self.partition;
        let enough = self.min_insync_replicas.min(before.replicas.len());
        let elr: Vec<BrokerId> = if isr.len() >= enough {
            Vec::new()
        } else {
            let stays = |id: &BrokerId| !isr.contains(id) && self.changes.unclean != Some(*id);
            let mut elr: Vec<BrokerId> = before.elr.iter().chain(&before.isr).copied().filter(stays).collect();
            elr.sort();
            elr.dedup();
            elr
        };
        if elr != before.elr {
            record.eligible_leader_replicas = Some(numbers(&elr));
        }
        let led_after = record.leader >= 0 || (before.has_leader() && record.leader == NO_LEADER_CHANGE);
        if record.isr.as_ref().is_some_and(Vec::is_empty) {
            // Remembered once, when the partition loses its last leader.
            if before.has_leader() && before.last_known_elr != [before.leader] {
                record.last_known_elr = Some(vec![before.leader.0]);
            }
        } else if led_after && !before.last_known_elr.is_empty() {
            record.last_known_elr = Some(Vec::new());
        }
    }
}
