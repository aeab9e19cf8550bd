//! A disk in memory that fails where it is told to, and forgets what was not synced.
//!
//! It keeps two states of everything: what a running process sees (the page cache) and what would survive a power cut.
//! [`DiskFile::sync`] carries a file's contents over, [`Disk::sync_dir`] the names of one directory; neither implies
//! the other, as POSIX has it. A failed sync loses what it should have carried over, as Linux does. Nothing here is
//! random: the seed of a [`FaultyDisk::power_cut`] decides what survives of the rest. For tests and for the simulated
//! cluster; it must not know what is in the files.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{self, ErrorKind, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, DiskLock, Metadata, Open};
use crate::model::time::Wall;

const PAGE: usize = 4096;

/// What happens to the operation that a [`Fault`] hits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing is done and `Other` is answered (a disk's EIO).
    Fail,
    /// Of a write only this many bytes are taken, without an error; other operations fail.
    Short(usize),
    /// Of a write this many bytes are taken, and every later write and creation answers `StorageFull`.
    Full(usize),
}

/// The kinds of operation that are counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Operation {
    Write,
    Sync,
    SyncDir,
    SetLen,
    Create,
    Rename,
    Remove,
}

/// One planned failure: the n-th operation (from 0) of a kind, or of any kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    pub operation: Option<Operation>,
    pub nth: u64,
    pub effect: Effect,
}

/// A disk in memory; clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct FaultyDisk(Arc<Mutex<World>>);

impl FaultyDisk {
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans a failure. Counting starts over.
    pub fn plan(&self, fault: Fault) {
        let mut world = self.0.lock();
        world.plan = Some(fault);
        world.counts.clear();
        world.total = 0;
    }

    /// Operations counted since the last plan, of all kinds.
    pub fn operations(&self) -> u64 {
        self.0.lock().total
    }

    /// Has the planned failure happened?
    pub fn fault_happened(&self) -> bool {
        self.0.lock().plan.is_none()
    }

    /// Ends every failure: the disk works again, with what it has.
    pub fn heal(&self) {
        let mut world = self.0.lock();
        world.plan = None;
        world.full = false;
    }

    /// From now on [`DiskFile::read_nowait`] finds nothing in memory.
    pub fn evict_cache(&self, evicted: bool) {
        self.0.lock().evicted = evicted;
    }

    /// The time that files written from now on carry.
    pub fn set_time(&self, now: Wall) {
        self.0.lock().now = now;
    }

    /// The process is killed: locks are gone, the page cache stays. Handles of before must not be used any more.
    pub fn kill(&self) {
        self.0.lock().locks.clear();
    }

    /// The machine loses power: what was not synced is gone, or, with a seed, survives in part: of the names a prefix
    /// of what was done, of a file any of its pages, and its length either way.
    pub fn power_cut(&self, seed: Option<u64>) {
        let mut world = self.0.lock();
        world.locks.clear();
        let mut draw = seed.map(Draw);
        world.cut_names(draw.as_mut());
        let files: BTreeSet<u64> = world.names.values().filter_map(Node::file).collect();
        world.files.retain(|id, _| files.contains(id));
        for file in world.files.values_mut() {
            file.cut(draw.as_mut());
        }
    }
}

/// A seeded choice (splitmix64).
#[derive(Debug)]
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn coin(&mut self) -> bool {
        self.next() & 1 == 0
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Node {
    Dir,
    File(u64),
}

impl Node {
    fn file(&self) -> Option<u64> {
        match self {
            Self::Dir => None,
            Self::File(id) => Some(*id),
        }
    }
}

/// One change of a name that no directory sync has covered yet.
#[derive(Clone, Debug)]
enum Change {
    Put(PathBuf, Node),
    Move(PathBuf, PathBuf),
    Drop(PathBuf),
}

#[derive(Debug, Default)]
struct World {
    names: BTreeMap<PathBuf, Node>,
    durable: BTreeMap<PathBuf, Node>,
    pending: Vec<Change>,
    files: BTreeMap<u64, File>,
    next_file: u64,
    locks: BTreeSet<PathBuf>,
    plan: Option<Fault>,
    counts: BTreeMap<Operation, u64>,
    total: u64,
    full: bool,
    evicted: bool,
    now: Wall,
}

impl World {
    /// Counts an operation and says what befalls it.
    fn count(&mut self, operation: Operation) -> Option<Effect> {
        let of_kind = self.counts.entry(operation).or_default();
        let hit = self.plan.filter(|plan| match plan.operation {
            Some(kind) => kind == operation && *of_kind == plan.nth,
            None => self.total == plan.nth,
        });
        *of_kind += 1;
        self.total += 1;
        if hit.is_some() {
            self.plan = None;
        }
        if let Some(Effect::Full(_)) = hit.map(|h| h.effect) {
            self.full = true;
        }
        hit.map(|h| h.effect)
    }

    fn step(&mut self, operation: Operation) -> io::Result<()> {
        match self.count(operation) {
            Some(Effect::Full(_)) => Err(ErrorKind::StorageFull.into()),
            Some(_) => Err(io::Error::other("planned failure")),
            None if self.full && matches!(operation, Operation::Write | Operation::Create) => {
                Err(ErrorKind::StorageFull.into())
            }
            None => Ok(()),
        }
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.names, &change);
        self.pending.push(change);
    }

    fn node(&self, path: &Path) -> io::Result<Node> {
        if is_root(path) {
            return Ok(Node::Dir);
        }
        self.names.get(path).copied().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn parent_exists(&self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) => match self.node(parent)? {
                Node::Dir => Ok(()),
                Node::File(_) => Err(ErrorKind::NotADirectory.into()),
            },
            None => Ok(()),
        }
    }

    fn file(&mut self, id: u64) -> io::Result<&mut File> {
        self.files.get_mut(&id).ok_or_else(|| ErrorKind::StaleNetworkFileHandle.into())
    }

    fn cut_names(&mut self, draw: Option<&mut Draw>) {
        let pending = std::mem::take(&mut self.pending);
        if let Some(draw) = draw {
            let survive = draw.next() % (u64::try_from(pending.len()).unwrap_or(0) + 1);
            for change in pending.iter().take(usize::try_from(survive).unwrap_or(0)) {
                apply(&mut self.durable, change);
            }
        }
        self.names = self.durable.clone();
    }
}

fn apply(names: &mut BTreeMap<PathBuf, Node>, change: &Change) {
    match change {
        Change::Put(path, node) => {
            names.insert(path.clone(), *node);
        }
        Change::Move(from, to) => {
            for (path, node) in take_tree(names, from) {
                let rest = path.strip_prefix(from).unwrap_or(&path);
                let moved = if rest == Path::new("") { to.clone() } else { to.join(rest) };
                names.insert(moved, node);
            }
        }
        Change::Drop(path) => drop(take_tree(names, path)),
    }
}

/// Removes and returns a name and all below it.
fn take_tree(names: &mut BTreeMap<PathBuf, Node>, top: &Path) -> Vec<(PathBuf, Node)> {
    let below: Vec<PathBuf> =
        names.range(top.to_owned()..).take_while(|(p, _)| p.starts_with(top)).map(|(p, _)| p.clone()).collect();
    below.into_iter().filter_map(|path| names.remove_entry(&path)).collect()
}

fn is_root(path: &Path) -> bool {
    path == Path::new("/") || path == Path::new("")
}

/// A file's contents as seen, and as synced. Pages that were never written are holes.
#[derive(Debug, Default)]
struct File {
    seen: Content,
    synced: Content,
    dirty: BTreeSet<u64>,
    modified: Wall,
}

#[derive(Clone, Debug, Default)]
struct Content {
    len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl Content {
    fn read(&self, buffer: &mut [u8], position: u64) -> usize {
        let available = self.len.saturating_sub(position);
        let want = buffer.len().min(usize::try_from(available).unwrap_or(usize::MAX));
        let mut done = 0;
        while done < want {
            let (page, within, len) = place(position, done, want);
            if let Some(target) = buffer.get_mut(done..done + len) {
                match self.pages.get(&page).and_then(|p| p.get(within..within + len)) {
                    Some(source) => target.copy_from_slice(source),
                    None => target.fill(0),
                }
            }
            done += len;
        }
        want
    }

    /// Returns the page whose content changed.
    fn set_len(&mut self, len: u64) -> Option<u64> {
        let shorter = len < self.len;
        self.len = len;
        if shorter { self.clear_past_end() } else { None }
    }

    /// What lies past the end is zeros when the file grows over it.
    fn clear_past_end(&mut self) -> Option<u64> {
        let first_gone = self.len.div_ceil(to_u64(PAGE));
        self.pages.retain(|page, _| *page < first_gone);
        let within = usize::try_from(self.len % to_u64(PAGE)).unwrap_or(0);
        let last = self.len / to_u64(PAGE);
        let page = self.pages.get_mut(&last).filter(|_| within > 0)?;
        Arc::make_mut(page).get_mut(within..).unwrap_or_default().fill(0);
        Some(last)
    }
}

impl File {
    fn write(&mut self, bytes: &[u8], position: u64) {
        let mut done = 0;
        while done < bytes.len() {
            let (page, within, len) = place(position, done, bytes.len());
            let content = self.seen.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE]));
            if let (Some(target), Some(source)) =
                (Arc::make_mut(content).get_mut(within..within + len), bytes.get(done..done + len))
            {
                target.copy_from_slice(source);
            }
            self.dirty.insert(page);
            done += len;
        }
        self.seen.len = self.seen.len.max(position + to_u64(bytes.len()));
    }

    fn set_len(&mut self, len: u64) {
        if let Some(page) = self.seen.set_len(len) {
            self.dirty.insert(page);
        }
        // Pages beyond the new end that the disk still has must not come back when the file grows again.
        let kept = len.div_ceil(to_u64(PAGE));
        self.dirty.extend(self.synced.pages.range(kept..).map(|(page, _)| *page));
    }

    fn sync(&mut self) {
        self.synced.set_len(self.seen.len);
        for page in std::mem::take(&mut self.dirty) {
            carry(&self.seen, &mut self.synced, page);
        }
    }

    fn cut(&mut self, draw: Option<&mut Draw>) {
        let dirty = std::mem::take(&mut self.dirty);
        if let Some(draw) = draw {
            if draw.coin() {
                self.synced.set_len(self.seen.len);
            }
            for page in dirty {
                if page * to_u64(PAGE) < self.synced.len && draw.coin() {
                    carry(&self.seen, &mut self.synced, page);
                }
            }
        }
        self.synced.clear_past_end();
        self.seen = self.synced.clone();
    }
}

fn carry(from: &Content, to: &mut Content, page: u64) {
    match from.pages.get(&page) {
        Some(content) => to.pages.insert(page, Arc::clone(content)),
        None => to.pages.remove(&page),
    };
}

/// The page a byte lies in, where in it, and how many bytes of the request fit in it.
fn place(position: u64, done: usize, total: usize) -> (u64, usize, usize) {
    let at = position + to_u64(done);
    let within = usize::try_from(at % to_u64(PAGE)).unwrap_or(0);
    (at / to_u64(PAGE), within, (PAGE - within).min(total - done))
}

fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

impl Disk for FaultyDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.0.lock();
        let id = match (world.node(path), how) {
            (Ok(Node::File(id)), Open::Truncate { .. }) => {
                world.step(Operation::SetLen)?;
                world.file(id)?.set_len(0);
                id
            }
            (Ok(Node::File(id)), _) => id,
            (Ok(Node::Dir), _) => return Err(ErrorKind::IsADirectory.into()),
            (Err(_), Open::Create { .. } | Open::Truncate { .. }) => {
                world.parent_exists(path)?;
                world.step(Operation::Create)?;
                let id = world.next_file;
                world.next_file += 1;
                let modified = world.now;
                world.files.insert(id, File { modified, ..File::default() });
                world.change(Change::Put(path.to_owned(), Node::File(id)));
                id
            }
            (Err(error), _) => return Err(error),
        };
        Ok(Arc::new(FaultyFile { disk: self.clone(), id }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.0.lock();
        world.node(path)?;
        let entries = world.names.iter().filter(|(name, _)| name.parent() == Some(path));
        Ok(entries
            .filter_map(|(name, node)| {
                let name = name.file_name().and_then(OsStr::to_str)?.to_owned();
                Some(DirEntry { name, is_dir: *node == Node::Dir })
            })
            .collect())
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let mut world = self.0.lock();
        match world.node(path)? {
            Node::Dir => Ok(Metadata { len: 0, is_dir: true, modified: world.now }),
            Node::File(id) => {
                let file = world.file(id)?;
                Ok(Metadata { len: file.seen.len, is_dir: false, modified: file.modified })
            }
        }
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        let missing: Vec<&Path> = path.ancestors().take_while(|p| world.node(p).is_err()).collect();
        for dir in missing.into_iter().rev() {
            world.step(Operation::Create)?;
            world.change(Change::Put(dir.to_owned(), Node::Dir));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.node(from)?;
        world.parent_exists(to)?;
        world.step(Operation::Rename)?;
        world.change(Change::Move(from.to_owned(), to.to_owned()));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        match world.node(path)? {
            Node::Dir => Err(ErrorKind::IsADirectory.into()),
            Node::File(_) => {
                world.step(Operation::Remove)?;
                world.change(Change::Drop(path.to_owned()));
                Ok(())
            }
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        match world.node(path)? {
            Node::File(_) => Err(ErrorKind::NotADirectory.into()),
            Node::Dir => {
                world.step(Operation::Remove)?;
                world.change(Change::Drop(path.to_owned()));
                Ok(())
            }
        }
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut world = self.0.lock();
        world.node(path)?;
        world.step(Operation::SyncDir)?;
        // Changes are kept in order, so what belongs to this directory takes what came before it along, as a journal
        // does. Later changes elsewhere stay pending.
        let belongs = |p: &Path| p.parent() == Some(path);
        let last = world.pending.iter().rposition(|change| match change {
            Change::Put(p, _) | Change::Drop(p) => belongs(p),
            Change::Move(from, to) => belongs(from) || belongs(to),
        });
        let covered: Vec<Change> = world.pending.drain(..last.map_or(0, |i| i + 1)).collect();
        for change in &covered {
            apply(&mut world.durable, change);
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        drop(self.open(path, Open::CREATE)?);
        if !self.0.lock().locks.insert(path.to_owned()) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(FaultyLock { disk: self.clone(), path: path.to_owned() }))
    }
}

#[derive(Debug)]
struct FaultyFile {
    disk: FaultyDisk,
    id: u64,
}

impl DiskFile for FaultyFile {
    fn write(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut world = self.disk.0.lock();
        let was_full = world.full;
        let effect = world.count(Operation::Write);
        let total: usize = slices.iter().map(|s| s.len()).sum();
        let take = match effect {
            Some(Effect::Fail) => return Err(io::Error::other("planned failure")),
            Some(Effect::Short(taken)) => taken.clamp(1, total.max(1)),
            Some(Effect::Full(taken)) => taken.min(total),
            None if was_full => return Err(ErrorKind::StorageFull.into()),
            None => total,
        };
        if take == 0 && total > 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        let now = world.now;
        let file = world.file(self.id)?;
        let mut done = 0;
        for slice in slices {
            let part = slice.get(..slice.len().min(take - done)).unwrap_or_default();
            file.write(part, position + to_u64(done));
            done += part.len();
        }
        file.modified = now;
        Ok(done)
    }

    fn read(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        Ok(self.disk.0.lock().file(self.id)?.seen.read(buffer, position))
    }

    fn read_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        if self.disk.0.lock().evicted {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.read(buffer, position)
    }

    fn sync(&self) -> io::Result<()> {
        let mut world = self.disk.0.lock();
        let outcome = world.step(Operation::Sync);
        let file = world.file(self.id)?;
        match outcome {
            Ok(()) => file.sync(),
            // The pages count as clean from here on, though they never reached the disk.
            Err(_) => file.dirty.clear(),
        }
        outcome
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut world = self.disk.0.lock();
        world.step(Operation::SetLen)?;
        world.file(self.id)?.set_len(len);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().file(self.id)?.seen.len)
    }
}

#[derive(Debug)]
struct FaultyLock {
    disk: FaultyDisk,
    path: PathBuf,
}

impl DiskLock for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.disk.0.lock().locks.remove(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk_with_file(content: &[u8]) -> (FaultyDisk, Arc<dyn DiskFile>) {
        let disk = FaultyDisk::new();
        disk.create_dir(Path::new("/d")).unwrap();
        let file = disk.open(Path::new("/d/f"), Open::CREATE).unwrap();
        file.write_all(&[content], 0).unwrap();
        (disk, file)
    }

    fn content(disk: &FaultyDisk, path: &str) -> io::Result<Vec<u8>> {
        disk.read_file(Path::new(path), 1 << 30)
    }

    #[test]
    fn a_power_cut_takes_what_was_not_synced() {
        let (disk, file) = disk_with_file(b"synced");
        file.sync().unwrap();
        disk.sync_dir(Path::new("/")).unwrap();
        disk.power_cut(None);
        assert!(content(&disk, "/d/f").is_err(), "the name was not synced");

        let (disk, file) = disk_with_file(b"synced");
        file.sync().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.write_all(&[b"lost"], 6).unwrap();
        disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
        assert_eq!(content(&disk, "/d/g").unwrap(), b"syncedlost");
        disk.power_cut(None);
        assert_eq!(content(&disk, "/d/f").unwrap(), b"synced");
        assert!(content(&disk, "/d/g").is_err());
    }

    #[test]
    fn a_failed_sync_loses_the_pages_for_good() {
        let (disk, file) = disk_with_file(b"lost");
        disk.sync_dir(Path::new("/d")).unwrap();
        disk.plan(Fault { operation: Some(Operation::Sync), nth: 0, effect: Effect::Fail });
        file.sync().unwrap_err();
        file.sync().unwrap();
        disk.power_cut(None);
        assert_eq!(content(&disk, "/d/f").unwrap(), [0; 4]);
    }

    #[test]
    fn short_writes_are_finished_and_a_full_disk_stays_full() {
        let (disk, file) = disk_with_file(b"");
        disk.plan(Fault { operation: Some(Operation::Write), nth: 0, effect: Effect::Short(2) });
        file.write_all(&[b"abc", b"def"], 0).unwrap();
        assert_eq!(content(&disk, "/d/f").unwrap(), b"abcdef");
        disk.plan(Fault { operation: Some(Operation::Write), nth: 0, effect: Effect::Full(1) });
        assert_eq!(file.write_all(&[b"xyz"], 6).unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(content(&disk, "/d/f").unwrap(), b"abcdefx");
        assert_eq!(file.write_all(&[b"y"], 7).unwrap_err().kind(), ErrorKind::StorageFull);
        disk.heal();
        file.write_all(&[b"y"], 7).unwrap();
    }

    #[test]
    fn a_cut_file_grows_again_with_zeros() {
        let (disk, file) = disk_with_file(&[9; 3 * PAGE]);
        file.sync().unwrap();
        disk.sync_dir(Path::new("/d")).unwrap();
        file.set_len(10).unwrap();
        file.set_len(to_u64(2 * PAGE)).unwrap();
        file.sync().unwrap();
        disk.power_cut(None);
        let after = content(&disk, "/d/f").unwrap();
        assert_eq!(after.len(), 2 * PAGE);
        assert!(after[..10].iter().all(|&b| b == 9) && after[10..].iter().all(|&b| b == 0));
    }

    #[test]
    fn directories_move_with_all_in_them() {
        let (disk, _file) = disk_with_file(b"x");
        disk.rename(Path::new("/d"), Path::new("/e")).unwrap();
        assert_eq!(content(&disk, "/e/f").unwrap(), b"x");
        assert_eq!(disk.list(Path::new("/e")).unwrap().len(), 1);
        disk.remove_dir(Path::new("/e")).unwrap();
        assert!(disk.list(Path::new("/e")).is_err());
    }
}
