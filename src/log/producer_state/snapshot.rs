//! `<offset>.snapshot`: the producers as they stood at an offset.
//!
//! i16 version 1, u32 CRC-32C of all from byte 6 on, i32 count, then 46 bytes a producer with its newest batch only.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{BatchMetadata, ProducerEntry};
use crate::log::file_name::{DELETED, PRODUCER_SNAPSHOT, offset_of, path_of};
use crate::log::storage::{Disk, Open};

const VERSION: i16 = 1;
/// Where the bytes covered by the CRC begin.
const CRC_FROM: usize = 6;
const ENTRY_BYTES: usize = 46;
/// A snapshot is refused past this many bytes (2.9 million producers).
const FILE_MAX: u64 = 128 << 20;

/// The snapshots of one partition's directory.
#[derive(Debug)]
pub(super) struct Snapshots {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    offsets: BTreeSet<i64>,
}

impl Snapshots {
    pub(super) fn open(disk: Arc<dyn Disk>, dir: &Path) -> io::Result<Self> {
        let mut snapshots = Self { disk, dir: dir.to_owned(), offsets: BTreeSet::new() };
        snapshots.rescan()?;
        Ok(snapshots)
    }

    /// Takes the list of files anew.
    pub(super) fn rescan(&mut self) -> io::Result<()> {
        let names = self.disk.list(&self.dir)?;
        self.offsets = names.iter().filter_map(|entry| offset_of(&entry.name, PRODUCER_SNAPSHOT)).collect();
        Ok(())
    }

    pub(super) fn moved(&mut self, dir: &Path) {
        self.dir = dir.to_owned();
    }

    pub(super) fn latest(&self) -> Option<i64> {
        self.offsets.last().copied()
    }

    /// Removes those that fail the test.
    pub(super) fn retain(&mut self, keep: impl Fn(i64) -> bool) -> io::Result<()> {
        let gone: Vec<i64> = self.offsets.iter().copied().filter(|offset| !keep(*offset)).collect();
        gone.into_iter().try_for_each(|offset| self.remove(offset))
    }

    pub(super) fn put_aside(&mut self, offset: i64) -> io::Result<Option<PathBuf>> {
        if !self.offsets.remove(&offset) {
            return Ok(None);
        }
        let aside = self.dir.join(format!("{offset:020}{PRODUCER_SNAPSHOT}{DELETED}"));
        self.disk.rename(&self.path(offset), &aside)?;
        Ok(Some(aside))
    }

    pub(super) fn write(&mut self, offset: i64, entries: &[&ProducerEntry]) -> io::Result<PathBuf> {
        let path = self.path(offset);
        let file = self.disk.open(&path, Open::TRUNCATE)?;
        file.write_all(&[&encode(entries)], 0)?;
        self.offsets.insert(offset);
        Ok(path)
    }

    /// The newest sound snapshot up to an offset; damaged ones are removed on the way.
    pub(super) fn load_latest(&mut self, up_to: i64) -> io::Result<Option<(i64, Vec<ProducerEntry>)>> {
        while let Some(offset) = self.offsets.range(..=up_to).next_back().copied() {
            match self.disk.read_file(&self.path(offset), FILE_MAX) {
                Ok(bytes) => match decode(&bytes) {
                    Some(entries) => return Ok(Some((offset, entries))),
                    None => self.remove(offset)?,
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.remove(offset)?,
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn remove(&mut self, offset: i64) -> io::Result<()> {
        self.offsets.remove(&offset);
        self.disk.remove_file_if_there(&self.path(offset))
    }

    fn path(&self, offset: i64) -> PathBuf {
        path_of(&self.dir, offset, PRODUCER_SNAPSHOT)
    }
}

pub(super) fn encode(entries: &[&ProducerEntry]) -> Vec<u8> {
    let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
    let mut covered = Vec::with_capacity(4 + entries.len() * ENTRY_BYTES);
    covered.extend(count.to_be_bytes());
    for entry in entries {
        let none = BatchMetadata { last_sequence: -1, last_offset: -1, offset_delta: 0, timestamp: -1 };
        let last = entry.last_batch().copied().unwrap_or(none);
        covered.extend(entry.producer_id.to_be_bytes());
        covered.extend(entry.producer_epoch.to_be_bytes());
        covered.extend(last.last_sequence.to_be_bytes());
        covered.extend(last.last_offset.to_be_bytes());
        covered.extend(last.offset_delta.to_be_bytes());
        covered.extend(entry.last_timestamp.to_be_bytes());
        covered.extend(entry.coordinator_epoch.to_be_bytes());
        covered.extend(entry.current_txn_first_offset.unwrap_or(-1).to_be_bytes());
    }
    let mut bytes = Vec::with_capacity(CRC_FROM + covered.len());
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend(crc32c::crc32c(&covered).to_be_bytes());
    bytes.extend(covered);
    bytes
}

/// `None` for anything but an undamaged snapshot of version 1.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<ProducerEntry>> {
    let (version, rest) = bytes.split_first_chunk::<2>()?;
    let (crc, covered) = rest.split_first_chunk::<4>()?;
    if i16::from_be_bytes(*version) != VERSION || u32::from_be_bytes(*crc) != crc32c::crc32c(covered) {
        return None;
    }
    let (count, mut rest) = covered.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    if rest.len() != count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    (0..count).map(|_| entry(&mut rest)).collect()
}

fn entry(rest: &mut &[u8]) -> Option<ProducerEntry> {
    let mut entry = ProducerEntry::new(i64::from_be_bytes(take(rest)?), i16::from_be_bytes(take(rest)?));
    let last_sequence = i32::from_be_bytes(take(rest)?);
    let last_offset = i64::from_be_bytes(take(rest)?);
    let offset_delta = i32::from_be_bytes(take(rest)?);
    entry.last_timestamp = i64::from_be_bytes(take(rest)?);
    entry.coordinator_epoch = i32::from_be_bytes(take(rest)?);
    let txn = i64::from_be_bytes(take(rest)?);
    entry.current_txn_first_offset = (txn >= 0).then_some(txn);
    if last_offset >= 0 {
        entry.push(BatchMetadata { last_sequence, last_offset, offset_delta, timestamp: entry.last_timestamp });
    }
    Some(entry)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}
