//! `metadata.version`: which records may be written, and in which of their versions.
//!
//! Precedent: Kafka's `MetadataVersion` (KIP-778). One row a level; the levels below 7 are gone from Kafka 4.

use std::fmt;

/// A finalized level of the feature `metadata.version`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct MetadataVersion(i16);

/// The level is none of [`MetadataVersion::MINIMUM`] to [`MetadataVersion::LATEST`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "metadata.version {0} is not supported: this broker knows {min} to {max}",
    min = MetadataVersion::MINIMUM.0,
    max = MetadataVersion::LATEST.0
)]
pub struct UnknownMetadataVersion(pub i16);

/// What a level means for records; every field holds from this level on until a later row says otherwise.
struct Row {
    level: i16,
    name: &'static str,
    register_broker: i16,
    partition: i16,
    /// Moving across this level changes what the log can express (`didMetadataChange`).
    changes_metadata: bool,
}

const fn row(level: i16, name: &'static str, register_broker: i16, partition: i16, changes_metadata: bool) -> Row {
    Row { level, name, register_broker, partition, changes_metadata }
}

const ROWS: [Row; 24] = [
    row(7, "3.3-IV3", 1, 0, true),
    row(8, "3.4-IV0", 2, 0, true),
    row(9, "3.5-IV0", 2, 0, false),
    row(10, "3.5-IV1", 2, 0, false),
    row(11, "3.5-IV2", 2, 0, true),
    row(12, "3.6-IV0", 2, 0, false),
    row(13, "3.6-IV1", 2, 0, true),
    row(14, "3.6-IV2", 2, 0, true),
    row(15, "3.7-IV0", 2, 0, true),
    row(16, "3.7-IV1", 2, 0, false),
    row(17, "3.7-IV2", 3, 1, true),
    row(18, "3.7-IV3", 3, 1, false),
    row(19, "3.7-IV4", 3, 1, false),
    row(20, "3.8-IV0", 3, 1, false),
    row(21, "3.9-IV0", 3, 1, false),
    row(22, "4.0-IV0", 3, 1, false),
    row(23, "4.0-IV1", 3, 2, true),
    row(24, "4.0-IV2", 3, 2, false),
    row(25, "4.0-IV3", 3, 2, false),
    row(26, "4.1-IV0", 3, 2, false),
    row(27, "4.1-IV1", 3, 2, false),
    row(28, "4.2-IV0", 3, 2, false),
    row(29, "4.2-IV1", 3, 2, false),
    row(30, "4.3-IV0", 4, 2, true),
];

impl MetadataVersion {
    /// The feature's name.
    pub const FEATURE: &'static str = "metadata.version";
    /// 3.3-IV3, the oldest that Kafka 4 reads.
    pub const MINIMUM: Self = Self(7);
    /// 4.3-IV0, the newest that Kafka 4.3.1 writes in production.
    pub const LATEST: Self = Self(30);

    /// # Errors
    /// The level is outside what this broker knows.
    pub fn from_level(level: i16) -> Result<Self, UnknownMetadataVersion> {
        if (Self::MINIMUM.0..=Self::LATEST.0).contains(&level) {
            Ok(Self(level))
        } else {
            Err(UnknownMetadataVersion(level))
        }
    }

    /// A release as `storage format --release-version` takes it: `4.3-IV0`, or `4.3` for the last level of 4.3.
    pub fn from_release(release: &str) -> Option<Self> {
        let exact = ROWS.iter().find(|row| row.name == release);
        let last = || ROWS.iter().rev().find(|row| row.name.split('-').next() == Some(short(release)));
        exact.or_else(last).map(|row| Self(row.level))
    }

    /// Every level's name, oldest first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ROWS.iter().map(|row| row.name)
    }

    pub const fn level(self) -> i16 {
        self.0
    }

    /// `4.3-IV0`
    pub fn name(self) -> &'static str {
        self.row().name
    }

    pub fn register_broker_record_version(self) -> i16 {
        self.row().register_broker
    }

    /// Of `PartitionRecord` and `PartitionChangeRecord`.
    pub fn partition_record_version(self) -> i16 {
        self.row().partition
    }

    /// Does a change from `self` to `other` change what the log can express?
    pub fn metadata_differs(self, other: Self) -> bool {
        let (low, high) = (self.0.min(other.0), self.0.max(other.0));
        ROWS.iter().any(|row| row.level > low && row.level <= high && row.changes_metadata)
    }

    /// ISR shrinks raise the leader epoch (only the two levels before KAFKA-15021).
    pub const fn is_leader_epoch_bump_required_on_isr_shrink(self) -> bool {
        self.0 < 12
    }

    pub const fn is_scram_supported(self) -> bool {
        self.0 >= 11
    }

    /// KIP-866, KIP-868: `BeginTransactionRecord` and its kin.
    pub const fn is_metadata_transaction_supported(self) -> bool {
        self.0 >= 13
    }

    pub const fn is_delegation_token_supported(self) -> bool {
        self.0 >= 14
    }

    /// KIP-919: `RegisterControllerRecord`.
    pub const fn is_controller_registration_supported(self) -> bool {
        self.0 >= 15
    }

    /// KIP-858: directories in partition records.
    pub const fn is_directory_assignment_supported(self) -> bool {
        self.0 >= 17
    }

    /// KIP-966, together with the feature `eligible.leader.replicas.version`.
    pub const fn is_elr_supported(self) -> bool {
        self.0 >= 23
    }

    /// KIP-1066.
    pub const fn is_cordoned_log_dirs_supported(self) -> bool {
        self.0 >= 30
    }

    fn row(self) -> &'static Row {
        // Constructed only from levels that have a row.
        ROWS.iter().find(|row| row.level == self.0).unwrap_or(&ROWS[ROWS.len() - 1])
    }
}

/// `4.3.1` names the same release as `4.3`.
fn short(release: &str) -> &str {
    match release.match_indices('.').nth(1) {
        Some((at, _)) => release.get(..at).unwrap_or(release),
        None => release,
    }
}

impl fmt::Display for MetadataVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_stands_for_every_level() {
        for (i, row) in ROWS.iter().enumerate() {
            assert_eq!(i16::try_from(i).unwrap() + MetadataVersion::MINIMUM.level(), row.level);
        }
        assert_eq!(MetadataVersion::LATEST.name(), "4.3-IV0");
        assert!(MetadataVersion::from_level(6).is_err());
        assert!(MetadataVersion::from_level(31).is_err());
    }

    #[test]
    fn a_release_is_its_last_level() {
        let level = |release| MetadataVersion::from_release(release).map(MetadataVersion::level);
        assert_eq!(level("3.3"), Some(7));
        assert_eq!(level("3.9"), Some(21));
        assert_eq!(level("4.0"), Some(25));
        assert_eq!(level("4.1"), Some(27));
        assert_eq!(level("4.2"), Some(29));
        assert_eq!(level("4.3"), Some(30));
        assert_eq!(level("4.3.1"), Some(30));
        assert_eq!(level("3.7-IV1"), Some(16));
        assert_eq!(level("9.9"), None);
    }

    #[test]
    fn only_some_levels_change_the_records() {
        let v = |level| MetadataVersion::from_level(level).unwrap();
        assert!(v(29).metadata_differs(v(30)));
        assert!(v(30).metadata_differs(v(29)));
        assert!(!v(24).metadata_differs(v(29)));
        assert!(!v(30).metadata_differs(v(30)));
    }
}
