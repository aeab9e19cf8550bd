//! From which offset on each leader wrote (`LeaderEpochFileCache`, KIP-101).
//!
//! Followers and consumers ask it where an epoch ended, and so learn what was cut off. Entries rise in both epoch and
//! offset. The list is small (one entry a leader change) and readers take it whole, without a lock. It must not know who
//! leads now.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::checkpoint::{self, EpochEntry};
use super::file_name::LEADER_EPOCH_CHECKPOINT;
use super::storage::Disk;

/// The answer to "where did this epoch end": the epoch that answers, and the offset after its last record; both -1 when
/// nothing is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpochEndOffset {
    pub epoch: i32,
    pub end_offset: i64,
}

impl EpochEndOffset {
    pub const UNKNOWN: Self = Self { epoch: -1, end_offset: -1 };
}

/// The list as readers hold it.
pub type Epochs = ArcSwap<Vec<EpochEntry>>;

/// A partition's epochs, and their checkpoint file. Every change is durable when it returns.
#[derive(Debug)]
pub struct LeaderEpochCache {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    epochs: Arc<Epochs>,
}

impl LeaderEpochCache {
    /// Reads the file of a partition's directory. Lines that do not rise, which no broker writes, are left out.
    ///
    /// # Errors
    /// `InvalidData` for a file that is not a checkpoint; whatever the disk answers.
    pub fn open(disk: Arc<dyn Disk>, dir: &std::path::Path) -> io::Result<Self> {
        let path = dir.join(LEADER_EPOCH_CHECKPOINT);
        let mut epochs: Vec<EpochEntry> = Vec::new();
        for entry in checkpoint::read_epochs(&*disk, &path)? {
            let rises = |last: &EpochEntry| entry.epoch > last.epoch && entry.start_offset >= last.start_offset;
            if epochs.last().is_none_or(rises) {
                epochs.push(entry);
            }
        }
        Ok(Self { disk, path, epochs: Arc::new(ArcSwap::from_pointee(epochs)) })
    }

    /// What readers look at.
    pub fn shared(&self) -> Arc<Epochs> {
        Arc::clone(&self.epochs)
    }

    /// The directory was renamed.
    pub fn moved(&mut self, dir: &std::path::Path) {
        self.path = dir.join(LEADER_EPOCH_CHECKPOINT);
    }

    pub fn latest_epoch(&self) -> Option<i32> {
        self.epochs.load().last().map(|entry| entry.epoch)
    }

    /// A leader of `epoch` writes from `start_offset` on. Entries that contradict it are dropped; nothing happens if the
    /// epoch is the latest already and began no later.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn assign(&self, epoch: i32, start_offset: i64) -> io::Result<()> {
        if epoch < 0 || start_offset < 0 {
            return Ok(());
        }
        let mut epochs = Vec::clone(&self.epochs.load());
        if epochs.last().is_some_and(|last| epoch == last.epoch && start_offset >= last.start_offset) {
            return Ok(());
        }
        epochs.retain(|entry| entry.epoch < epoch && entry.start_offset < start_offset);
        epochs.push(EpochEntry { epoch, start_offset });
        self.store(epochs)
    }

    /// The log now ends at `end_offset`.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn truncate_from_end(&self, end_offset: i64) -> io::Result<()> {
        let mut epochs = Vec::clone(&self.epochs.load());
        let before = epochs.len();
        epochs.retain(|entry| entry.start_offset < end_offset);
        if epochs.len() == before { Ok(()) } else { self.store(epochs) }
    }

    /// The log now begins at `start_offset`: the epoch in force there begins there.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn truncate_from_start(&self, start_offset: i64) -> io::Result<()> {
        let mut epochs = Vec::clone(&self.epochs.load());
        let covered = epochs.iter().take_while(|entry| entry.start_offset <= start_offset).count();
        let Some(first) = covered.checked_sub(1) else { return Ok(()) };
        epochs.drain(..first);
        match epochs.first_mut() {
            Some(entry) if first > 0 || entry.start_offset < start_offset => entry.start_offset = start_offset,
            _ => return Ok(()),
        }
        self.store(epochs)
    }

    /// Forgets all epochs.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn clear(&self) -> io::Result<()> {
        self.store(Vec::new())
    }

    fn store(&self, epochs: Vec<EpochEntry>) -> io::Result<()> {
        checkpoint::write_epochs(&*self.disk, &self.path, &epochs)?;
        self.epochs.store(Arc::new(epochs));
        Ok(())
    }
}

/// Where `epoch` ended, in a log that ends at `log_end_offset`: the largest known epoch not past the one asked for, and
/// where the next one begins.
pub fn end_offset_for(epochs: &[EpochEntry], epoch: i32, log_end_offset: i64) -> EpochEndOffset {
    let Some(latest) = epochs.last() else { return EpochEndOffset::UNKNOWN };
    // Only -1 means "no epoch"; what lies below it is before all that are known (`LeaderEpochFileCache`).
    if epoch == EpochEndOffset::UNKNOWN.epoch || epoch > latest.epoch {
        return EpochEndOffset::UNKNOWN;
    }
    if epoch == latest.epoch {
        return EpochEndOffset { epoch, end_offset: log_end_offset };
    }
    let mut floor = None;
    for entry in epochs {
        if entry.epoch > epoch {
            // Asked for one before all that are known: it ended, at the latest, where the first known begins.
            return EpochEndOffset { epoch: floor.unwrap_or(epoch), end_offset: entry.start_offset };
        }
        floor = Some(entry.epoch);
    }
    EpochEndOffset::UNKNOWN
}

/// The epoch whose leader wrote the record at `offset`.
pub fn epoch_for_offset(epochs: &[EpochEntry], offset: i64) -> Option<i32> {
    epochs.iter().rev().find(|entry| entry.start_offset <= offset).map(|entry| entry.epoch)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::storage::FaultyDisk;

    fn cache(entries: &[(i32, i64)]) -> (FaultyDisk, LeaderEpochCache) {
        let disk = FaultyDisk::new();
        let cache = LeaderEpochCache::open(Arc::new(disk.clone()), Path::new("/")).unwrap();
        for (epoch, offset) in entries {
            cache.assign(*epoch, *offset).unwrap();
        }
        (disk, cache)
    }

    fn text(disk: &FaultyDisk) -> String {
        String::from_utf8(disk.read_file(Path::new("/leader-epoch-checkpoint"), 999).unwrap()).unwrap()
    }

    #[test]
    fn the_file_follows_every_change() {
        let (disk, cache) = cache(&[(0, 0)]);
        assert_eq!(text(&disk), "0\n1\n0 0\n");
        cache.truncate_from_start(2).unwrap();
        assert_eq!(text(&disk), "0\n1\n0 2\n");
        cache.assign(2, 9).unwrap();
        assert_eq!(text(&disk), "0\n2\n0 2\n2 9\n");
        disk.power_cut(None);
        assert_eq!(text(&disk), "0\n2\n0 2\n2 9\n");
        cache.assign(2, 12).unwrap();
        cache.truncate_from_end(9).unwrap();
        assert_eq!(text(&disk), "0\n1\n0 2\n");
        cache.assign(7, 1).unwrap();
        assert_eq!(text(&disk), "0\n1\n7 1\n", "an epoch that began before another replaces it");
    }

    #[test]
    fn starting_later_keeps_the_epoch_in_force() {
        let (_, cache) = cache(&[(1, 0), (3, 10), (4, 20)]);
        cache.truncate_from_start(15).unwrap();
        assert_eq!(
            **cache.shared().load(),
            [EpochEntry { epoch: 3, start_offset: 15 }, EpochEntry { epoch: 4, start_offset: 20 }]
        );
        cache.truncate_from_start(20).unwrap();
        assert_eq!(**cache.shared().load(), [EpochEntry { epoch: 4, start_offset: 20 }]);
    }

    #[test]
    fn ends_are_kafkas() {
        let (_, cache) = cache(&[(2, 6), (5, 10), (7, 20)]);
        let shared = cache.shared();
        let epochs = shared.load();
        let end = |epoch| {
            let found = end_offset_for(&epochs, epoch, 30);
            (found.epoch, found.end_offset)
        };
        assert_eq!([end(-1), end(8)], [(-1, -1); 2]);
        assert_eq!(
            [end(0), end(2), end(3), end(5), end(6), end(7)],
            [(0, 6), (2, 10), (2, 10), (5, 20), (5, 20), (7, 30)]
        );
        assert_eq!(end_offset_for(&[], 0, 30), EpochEndOffset::UNKNOWN);
        assert_eq!(
            [5, 6, 9, 10, 99].map(|offset| epoch_for_offset(&epochs, offset)),
            [None, Some(2), Some(2), Some(5), Some(7)]
        );
    }
}
