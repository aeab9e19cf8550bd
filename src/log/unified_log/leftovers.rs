//! What a crash or a compaction left beside the segments of a log.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::log::file_name::{CLEANED, DELETED, LOG, SWAP, offset_of};
use crate::log::segment::FILES;
use crate::log::storage::{Disk, Open};
use crate::log::width::to_u64;
use crate::protocol::record_batch::{BatchHeader, HEADER_LEN};

/// Removes what a crash left half done, completes a compaction that had ended, and returns the segments' base offsets.
pub(super) fn tidy(disk: &dyn Disk, dir: &Path) -> io::Result<BTreeSet<i64>> {
    let mut names: BTreeSet<String> = disk.list(dir)?.into_iter().filter(|e| !e.is_dir).map(|e| e.name).collect();
    names.retain(|name| !name.ends_with(".checkpoint.deleted"));
    let leftovers: Vec<String> =
        names.iter().filter(|name| name.ends_with(DELETED) || name.ends_with(CLEANED)).cloned().collect();
    for name in leftovers {
        disk.remove_file_if_there(&dir.join(&name))?;
        names.remove(&name);
    }
    complete_swaps(disk, dir, &mut names)?;
    let bases: BTreeSet<i64> = names.iter().filter_map(|name| offset_of(name, LOG)).collect();
    for name in &names {
        let orphan = FILES.iter().skip(1).find_map(|suffix| offset_of(name, suffix));
        if orphan.is_some_and(|base| !bases.contains(&base)) {
            disk.remove_file_if_there(&dir.join(name))?;
        }
    }
    Ok(bases)
}

/// A `.swap` segment is the whole result of a compaction: it takes the place of the segments in its range.
fn complete_swaps(disk: &dyn Disk, dir: &Path, names: &mut BTreeSet<String>) -> io::Result<()> {
    let swaps: Vec<String> = names.iter().filter(|name| name.ends_with(SWAP)).cloned().collect();
    let mut ranges = Vec::new();
    for name in &swaps {
        if let Some(base) = name.strip_suffix(SWAP).and_then(|name| offset_of(name, LOG)) {
            // Its own place, even when nothing is left in it.
            ranges.push((base, end_of_swap(disk, &dir.join(name), base)?.max(base.saturating_add(1))));
        }
    }
    let replaced = |name: &str| {
        let base = FILES.iter().find_map(|suffix| offset_of(name, suffix));
        base.is_some_and(|base| ranges.iter().any(|(from, to)| (*from..*to).contains(&base)))
    };
    let old: Vec<String> = names.iter().filter(|name| replaced(name)).cloned().collect();
    for name in old {
        disk.remove_file_if_there(&dir.join(&name))?;
        names.remove(&name);
    }
    for name in swaps {
        let in_place = name.trim_end_matches(SWAP).to_owned();
        disk.rename(&dir.join(&name), &dir.join(&in_place))?;
        names.remove(&name);
        names.insert(in_place);
    }
    if ranges.is_empty() { Ok(()) } else { disk.sync_dir(dir) }
}

/// The offset after the last batch of a segment that is not in place yet.
fn end_of_swap(disk: &dyn Disk, path: &Path, base: i64) -> io::Result<i64> {
    let file = disk.open(path, Open::Read)?;
    let size = file.len()?;
    let (mut position, mut next) = (0, base);
    while size - position >= to_u64(HEADER_LEN) {
        let mut head = [0; HEADER_LEN];
        file.read_exact(&mut head, position)?;
        let header = BatchHeader::parse(&head).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        next = header.next_offset();
        position += to_u64(header.size_in_bytes());
        if position > size {
            break;
        }
    }
    Ok(next)
}
