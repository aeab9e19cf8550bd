//! The small text files beside the logs, written whole by write-rename-sync (`CheckpointFile`).
//!
//! Shape of a checkpoint: a line with version 0, a line with the count, one line an entry. An empty file is an empty
//! checkpoint (Kafka makes them so). Readers refuse what Kafka's refuse, since a half-read checkpoint would quietly
//! forget the rest.

use std::io;
use std::path::Path;
use std::str::SplitAsciiWhitespace;

use super::storage::Disk;
use crate::model::topic::TopicPartition;

/// A checkpoint is refused past this many bytes.
const FILE_MAX: u64 = 256 << 20;

pub const RECOVERY_POINT: &str = "recovery-point-offset-checkpoint";
/// High watermarks.
pub const REPLICATION: &str = "replication-offset-checkpoint";
pub const LOG_START: &str = "log-start-offset-checkpoint";
/// First offset a compaction has not seen.
pub const CLEANER: &str = "cleaner-offset-checkpoint";

/// One line of `leader-epoch-checkpoint`: the first offset a leader of this epoch wrote.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEntry {
    pub epoch: i32,
    pub start_offset: i64,
}

/// Reads one of the three offset checkpoints of a log directory; a missing file is an empty one.
///
/// # Errors
/// `InvalidData` for a file that is not a checkpoint of version 0; whatever the disk answers.
pub fn read_offsets(disk: &dyn Disk, path: &Path) -> io::Result<Vec<(TopicPartition, i64)>> {
    read(disk, path, |words| {
        let (topic, partition, offset) = (words.next()?, words.next()?, words.next()?);
        Some((TopicPartition::new(topic, partition.parse().ok()?), offset.parse().ok()?))
    })
}

/// Writes one of the three offset checkpoints; durable when it returns.
///
/// # Errors
/// Whatever the disk answers.
pub fn write_offsets<'a>(
    disk: &dyn Disk,
    path: &Path,
    entries: impl ExactSizeIterator<Item = (&'a TopicPartition, i64)>,
) -> io::Result<()> {
    let head = format!("0\n{}\n", entries.len());
    let text = entries.fold(head, |mut text, (partition, offset)| {
        text.push_str(&format!("{} {} {offset}\n", partition.topic, partition.partition));
        text
    });
    disk.replace_file(path, text.as_bytes())
}

/// Reads `leader-epoch-checkpoint`; a missing file is an empty one.
///
/// # Errors
/// `InvalidData` for a file that is not a checkpoint of version 0; whatever the disk answers.
pub fn read_epochs(disk: &dyn Disk, path: &Path) -> io::Result<Vec<EpochEntry>> {
    read(disk, path, |words| {
        Some(EpochEntry { epoch: words.next()?.parse().ok()?, start_offset: words.next()?.parse().ok()? })
    })
}

/// Writes `leader-epoch-checkpoint`; durable when it returns.
///
/// # Errors
/// Whatever the disk answers.
pub fn write_epochs(disk: &dyn Disk, path: &Path, entries: &[EpochEntry]) -> io::Result<()> {
    let head = format!("0\n{}\n", entries.len());
    let text = entries.iter().fold(head, |mut text, entry| {
        text.push_str(&format!("{} {}\n", entry.epoch, entry.start_offset));
        text
    });
    disk.replace_file(path, text.as_bytes())
}

fn read<T>(
    disk: &dyn Disk,
    path: &Path,
    entry: impl Fn(&mut SplitAsciiWhitespace<'_>) -> Option<T>,
) -> io::Result<Vec<T>> {
    let bytes = match disk.read_file(path, FILE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("{}: {what}", path.display()));
    let text = str::from_utf8(&bytes).map_err(|_| bad("is not text"))?;
    let mut lines = text.lines();
    match lines.next() {
        None => return Ok(Vec::new()),
        Some("0") => {}
        Some(_) => return Err(bad("has a version that is not 0")),
    }
    let count: usize = lines.next().and_then(|line| line.parse().ok()).ok_or_else(|| bad("has no count"))?;
    let mut entries = Vec::with_capacity(count.min(text.len()));
    for line in lines {
        let mut words = line.split_ascii_whitespace();
        match entry(&mut words) {
            Some(value) if words.next().is_none() => entries.push(value),
            _ => return Err(bad(&format!("has the malformed line {line:?}"))),
        }
    }
    if entries.len() == count { Ok(entries) } else { Err(bad("has another number of lines than it says")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::{FaultyDisk, Open};

    fn put(disk: &FaultyDisk, path: &Path, text: &str) {
        disk.open(path, Open::TRUNCATE).unwrap().write_all(&[text.as_bytes()], 0).unwrap();
    }

    #[test]
    fn the_texts_are_kafkas() {
        let disk = FaultyDisk::new();
        let path = Path::new("/f");
        let (t1, c3) = (TopicPartition::new("t1", 0), TopicPartition::new("c3", 0));
        write_offsets(&disk, path, [(&t1, 9), (&c3, 3072)].into_iter()).unwrap();
        assert_eq!(disk.read_file(path, 99).unwrap(), b"0\n2\nt1 0 9\nc3 0 3072\n");
        assert_eq!(read_offsets(&disk, path).unwrap(), [(t1, 9), (c3, 3072)]);
        write_offsets(&disk, path, [].into_iter()).unwrap();
        assert_eq!(disk.read_file(path, 99).unwrap(), b"0\n0\n");

        let epochs = [EpochEntry { epoch: 0, start_offset: 2 }, EpochEntry { epoch: 2, start_offset: 9 }];
        write_epochs(&disk, path, &epochs).unwrap();
        assert_eq!(disk.read_file(path, 99).unwrap(), b"0\n2\n0 2\n2 9\n");
        assert_eq!(read_epochs(&disk, path).unwrap(), epochs);
    }

    #[test]
    fn missing_and_empty_files_are_empty() {
        let disk = FaultyDisk::new();
        assert_eq!(read_offsets(&disk, Path::new("/none")).unwrap(), []);
        put(&disk, Path::new("/empty"), "");
        assert_eq!(read_offsets(&disk, Path::new("/empty")).unwrap(), []);
    }

    #[test]
    fn damage_is_refused() {
        let disk = FaultyDisk::new();
        let path = Path::new("/f");
        for text in
            ["1\n0\n", "0\n", "0\nx\n", "0\n2\nt 0 1\n", "0\n1\nt 0 1\nt 1 1\n", "0\n1\nt 0\n", "0\n1\nt 0 1 1\n"]
        {
            put(&disk, path, text);
            assert_eq!(read_offsets(&disk, path).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }
}
