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
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, DiskLock, Metadata, Open};
use crate::model::time::Wall;

mod content;
#[cfg(test)]
mod tests;

use content::{File, to_u64};

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

    /// Where in memory the slices of the last write lay: nothing was copied if they are a frame's.
    pub fn last_write(&self) -> Vec<Range<usize>> {
        self.0.lock().last_write.clone()
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

    /// From now on every sync of a file is answered and carries nothing over: a disk that lies.
    pub fn pretend_syncs(&self, pretends: bool) {
        self.0.lock().pretends = pretends;
    }

    /// Another disk with what a process sees of this one, and nothing else wrong with it.
    pub fn copy(&self) -> Self {
        let world = self.0.lock();
        Self(Arc::new(Mutex::new(World {
            names: world.names.clone(),
            durable: world.durable.clone(),
            pending: world.pending.clone(),
            files: world.files.clone(),
            next_file: world.next_file,
            now: world.now,
            ..World::default()
        })))
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
    pretends: bool,
    now: Wall,
    /// Where the bytes of the last write lay.
    last_write: Vec<Range<usize>>,
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
                world.files.insert(id, File::new(modified));
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
        let below = world.names.range(path.to_owned()..).take_while(|(name, _)| name.starts_with(path));
        let entries = below.filter(|(name, _)| name.parent() == Some(path));
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

fn range_of(slice: &[u8]) -> Range<usize> {
    let Range { start, end } = slice.as_ptr_range();
    start.addr()..end.addr()
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
        world.last_write = slices.iter().map(|slice| range_of(slice)).collect();
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
        let pretends = world.pretends;
        let file = world.file(self.id)?;
        match outcome {
            Ok(()) if pretends => {}
            Ok(()) => file.sync(),
            Err(_) => file.sync_failed(),
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
