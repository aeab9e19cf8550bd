//! Names of files and directories, as Kafka spells them (`LogFileUtils`, `LocalLog`).
//!
//! A segment's files are called after the offset of its first record, in 20 digits; a partition's directory after topic
//! and partition. Knows names only, no disk.

use std::path::{Path, PathBuf};

use crate::model::topic::TopicPartition;
use crate::model::uuid::Uuid;

pub const LOG: &str = ".log";
pub const OFFSET_INDEX: &str = ".index";
pub const TIME_INDEX: &str = ".timeindex";
pub const TRANSACTION_INDEX: &str = ".txnindex";
pub const PRODUCER_SNAPSHOT: &str = ".snapshot";
/// Waits for its removal, because a reader may still be in it.
pub const DELETED: &str = ".deleted";
/// Left by a compaction that did not end.
pub const CLEANED: &str = ".cleaned";
/// Left by a compaction that ended but was not put in place.
pub const SWAP: &str = ".swap";

pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
pub const PARTITION_METADATA: &str = "partition.metadata";

/// The longest name a directory may have.
const NAME_MAX: usize = 255;

/// `00000000000000000042.log`
pub fn of_offset(offset: i64, suffix: &str) -> String {
    format!("{offset:020}{suffix}")
}

/// The path of a file named after an offset.
pub fn path_of(dir: &Path, offset: i64, suffix: &str) -> PathBuf {
    dir.join(of_offset(offset, suffix))
}

/// The offset in a name with exactly this suffix.
pub fn offset_of(name: &str, suffix: &str) -> Option<i64> {
    let digits = name.strip_suffix(suffix)?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}

/// What a directory inside a log directory is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartitionDir {
    Current(TopicPartition),
    /// A deleted topic's; it waits for its removal.
    Delete(TopicPartition),
    /// Not placed here by the metadata; kept for the operator.
    Stray(TopicPartition),
    /// A copy on its way between log directories.
    Future(TopicPartition),
}

type Make = fn(TopicPartition) -> PartitionDir;

impl PartitionDir {
    /// Reads a directory's name; `None` where it is not a partition's.
    pub fn parse(name: &str) -> Option<Self> {
        let kinds: [(&str, Make); 3] = [("-delete", Self::Delete), ("-stray", Self::Stray), ("-future", Self::Future)];
        for (suffix, make) in kinds {
            if let Some(rest) = name.strip_suffix(suffix)
                && let Some((partition, unique)) = rest.rsplit_once('.')
                && !unique.is_empty()
                && unique.bytes().all(|b| b.is_ascii_alphanumeric())
            {
                return topic_partition(partition).map(make);
            }
        }
        topic_partition(name).map(Self::Current)
    }
}

/// `topic-0`: everything before the last `-` is the topic.
pub fn topic_partition(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|b| b.is_ascii_digit());
    (digits && !topic.is_empty()).then(|| Some(TopicPartition::new(topic, partition.parse().ok()?))).flatten()
}

/// The name a deleted partition's directory waits under: `topic-0.<32 hex digits>-delete`, cut to 255 bytes.
pub fn delete_dir(partition: &TopicPartition, unique: Uuid) -> String {
    with_suffix(partition, unique, "-delete")
}

/// The name of a partition that the metadata does not place here.
pub fn stray_dir(partition: &TopicPartition, unique: Uuid) -> String {
    with_suffix(partition, unique, "-stray")
}

fn with_suffix(partition: &TopicPartition, unique: Uuid, suffix: &str) -> String {
    let hex: String = unique.as_bytes().iter().map(|b| format!("{b:02x}")).collect();
    let tail = format!("-{}.{hex}{suffix}", partition.partition);
    let topic: String = partition.topic.as_str().chars().take(NAME_MAX - tail.len()).collect();
    format!("{topic}{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kafkas() {
        assert_eq!(of_offset(3072, LOG), "00000000000000003072.log");
        assert_eq!(offset_of("00000000000000003072.log", LOG), Some(3072));
        assert_eq!(offset_of("00000000000000003072.log.deleted", LOG), None);
        assert_eq!(offset_of("-0000000000000000001.log", LOG), None);
    }

    #[test]
    fn directories_are_read_back() {
        let partition = TopicPartition::new("a-b.c", 12);
        assert_eq!(PartitionDir::parse("a-b.c-12"), Some(PartitionDir::Current(partition.clone())));
        let unique = Uuid::from_u128(0xabc);
        let name = delete_dir(&partition, unique);
        assert_eq!(name, "a-b.c-12.00000000000000000000000000000abc-delete");
        assert_eq!(PartitionDir::parse(&name), Some(PartitionDir::Delete(partition.clone())));
        assert_eq!(PartitionDir::parse(&stray_dir(&partition, unique)), Some(PartitionDir::Stray(partition)));
        // A topic may itself end like that.
        assert_eq!(PartitionDir::parse("x-delete-0"), Some(PartitionDir::Current(TopicPartition::new("x-delete", 0))));
        for name in ["lost+found", "-1", "topic-", "topic-x", "remote-log-index-cache", "topic-99999999999"] {
            assert_eq!(PartitionDir::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_long_topic_is_cut_in_the_deleted_name() {
        let partition = TopicPartition::new("t".repeat(249), 7);
        assert_eq!(delete_dir(&partition, Uuid::ONE).len(), 255);
    }
}
