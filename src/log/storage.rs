//! The disk behind a small trait: real files here, an in-memory disk with faults in [`faulty`].
//!
//! Everything the log does to a disk goes through [`Disk`] and [`DiskFile`], so that a test or a simulated cluster can
//! fail any single write, lose what was not synced, or fill the disk. Positions are bytes. The room's only file that
//! names `std::fs` and `rustix`; it must not know what is inside the files.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::UNIX_EPOCH;

use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use rustix::io::ReadWriteFlags;

use crate::model::time::Wall;

pub mod faulty;

pub use faulty::FaultyDisk;

/// Slices that one `pwritev` takes; longer lists are written in several calls (Linux's `IOV_MAX`).
pub const SLICES_MAX: usize = 1024;

/// How [`Disk::open`] opens a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// An existing file, read only.
    Read,
    /// An existing file.
    ReadWrite,
    /// An existing file or a new one, with these permission bits.
    Create { mode: u32 },
    /// A new or emptied file, with these permission bits.
    Truncate { mode: u32 },
}

impl Open {
    /// A new or existing file with the permissions every log file has.
    pub const CREATE: Self = Self::Create { mode: 0o644 };
    /// A new or emptied file with the permissions every log file has.
    pub const TRUNCATE: Self = Self::Truncate { mode: 0o644 };
}

/// Bytes of the file system that a directory lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Space {
    pub total: u64,
    /// What is left for those who are not root.
    pub usable: u64,
}

impl Space {
    /// Asks the system, whatever disk is in use.
    ///
    /// # Errors
    /// Whatever the system answers.
    pub fn of(dir: &Path) -> io::Result<Self> {
        let found = rustix::fs::statvfs(dir)?;
        let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
        Ok(Self { total: bytes(found.f_blocks), usable: bytes(found.f_bavail) })
    }
}

/// What [`Disk::metadata`] tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    pub len: u64,
    pub is_dir: bool,
    pub modified: Wall,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct DirEntry {
    pub name: String,
    pub is_dir: bool,
}

/// A disk: names and directories. Nothing it does is durable before [`Disk::sync_dir`] (names) or
/// [`DiskFile::sync`] (contents) has returned.
pub trait Disk: Debug + Send + Sync + 'static {
    /// # Errors
    /// `NotFound` when an existing file was asked for; whatever the disk answers.
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>>;

    /// Entries of a directory, in no order. Names that are not UTF-8 are left out: no file of a log has such a name.
    ///
    /// # Errors
    /// `NotFound`; whatever the disk answers.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;

    /// # Errors
    /// `NotFound`; whatever the disk answers.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Makes a directory and those above it; one that exists is fine.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Renames a file or directory, replacing a file of that name.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// # Errors
    /// `NotFound`; whatever the disk answers.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a directory with all that is in it.
    ///
    /// # Errors
    /// `NotFound`; whatever the disk answers.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a directory durable.
    ///
    /// # Errors
    /// Whatever the disk answers. A failed sync is never to be retried as if fine.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Takes the POSIX write lock on a file, made if need be; it stands until the value is dropped. This is the lock
    /// a Java broker takes (`FileChannel.tryLock`); `flock(2)` would neither see nor block it.
    ///
    /// # Errors
    /// `WouldBlock` when this or another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;

    /// Does a name exist?
    ///
    /// # Errors
    /// Whatever the disk answers, other than `NotFound`.
    fn exists(&self, path: &Path) -> io::Result<bool> {
        match self.metadata(path) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The whole of a file of at most `limit` bytes.
    ///
    /// # Errors
    /// `NotFound`; `FileTooLarge` past the limit; whatever the disk answers.
    fn read_file(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let len = file.len()?;
        if len > limit {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("{} has {len} bytes", path.display())));
        }
        let mut content = vec![0; usize::try_from(len).unwrap_or(usize::MAX)];
        file.read_exact(&mut content, 0)?;
        Ok(content)
    }

    /// Puts `content` in place of whatever `path` holds, so that a reader, and the disk after a power cut, see the
    /// old or the new: write beside it, sync, rename, sync the directory.
    ///
    /// # Errors
    /// Whatever the disk answers; the old file stands then.
    fn replace_file(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(".tmp");
        let beside = PathBuf::from(beside);
        let file = self.open(&beside, Open::TRUNCATE)?;
        file.write_all(&[content], 0)?;
        file.sync()?;
        self.rename(&beside, path)?;
        path.parent().map_or(Ok(()), |parent| self.sync_dir(parent))
    }

    /// Removes a file; one that is gone already is fine.
    ///
    /// # Errors
    /// Whatever the disk answers, other than `NotFound`.
    fn remove_file_if_there(&self, path: &Path) -> io::Result<()> {
        match self.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// A held lock; dropping it gives it back.
pub trait DiskLock: Debug + Send + Sync {}

/// An open file. Reads and writes name their position; there is no cursor.
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// One `pwritev`: writes slices one behind the other and returns how many bytes were taken, perhaps not all.
    ///
    /// # Errors
    /// Whatever the disk answers; `StorageFull` when it is full.
    fn write(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize>;

    /// Reads what is there, perhaps less than asked; 0 at the end of the file.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn read(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Reads only what needs no waiting for the disk (`preadv2` with `RWF_NOWAIT`), perhaps less than asked.
    ///
    /// # Errors
    /// `WouldBlock` when nothing of it is in memory, or the file system has no such call.
    fn read_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Makes the contents durable (`fdatasync`).
    ///
    /// # Errors
    /// Whatever the disk answers. What was written since the last sync may be lost then, even when a later sync
    /// succeeds: never to be retried as if fine.
    fn sync(&self) -> io::Result<()>;

    /// Cuts the file, or makes it longer by a hole of zeros.
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// # Errors
    /// Whatever the disk answers.
    fn len(&self) -> io::Result<u64>;

    /// Is the file empty?
    ///
    /// # Errors
    /// Whatever the disk answers.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Writes all of the slices, in as many calls as the disk wants.
    ///
    /// # Errors
    /// `WriteZero` when the disk takes nothing; whatever it answers. A part may have been written.
    fn write_all(&self, slices: &[&[u8]], position: u64) -> io::Result<()> {
        let mut rest: Vec<IoSlice<'_>> =
            slices.iter().filter(|s| !s.is_empty()).map(|slice| IoSlice::new(slice)).collect();
        self.write_slices(&mut rest, position)
    }

    /// As [`DiskFile::write_all`] with a list made by the caller, which is used up.
    ///
    /// # Errors
    /// As there.
    fn write_slices(&self, slices: &mut [IoSlice<'_>], mut position: u64) -> io::Result<()> {
        let mut rest = slices;
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let now = rest.get(..rest.len().min(SLICES_MAX)).unwrap_or_default();
            match self.write(now, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(taken) => {
                    position += u64::try_from(taken).unwrap_or(u64::MAX);
                    IoSlice::advance_slices(&mut rest, taken);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Fills the buffer.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before: damage, since nobody asks past the end it knows of.
    fn read_exact(&self, buffer: &mut [u8], mut position: u64) -> io::Result<()> {
        let mut rest = buffer;
        while !rest.is_empty() {
            match self.read(rest, position) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(got) => {
                    position += u64::try_from(got).unwrap_or(u64::MAX);
                    rest = rest.get_mut(got..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The machine's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn open(&self, path: &Path, how: Open) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(RealFile(options(how).open(path)?)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let is_dir = entry.file_type()?.is_dir();
            if let Ok(name) = entry.file_name().into_string() {
                entries.push(DirEntry { name, is_dir });
            }
        }
        Ok(entries)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::metadata(path)?;
        let modified = found.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Metadata {
            len: found.len(),
            is_dir: found.is_dir(),
            modified: Wall(i64::try_from(modified.as_millis()).unwrap_or(i64::MAX)),
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o755).create(path)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        options(Open::Read).open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        // A POSIX lock belongs to the process and dies with *any* close of the file in it: a second open of a file
        // this process has locked must not even happen.
        let key = key_of(path)?;
        if !held().lock().insert(key.clone()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let file = match options(Open::CREATE).open(path) {
            Ok(file) => file,
            Err(error) => {
                held().lock().remove(&key);
                return Err(error);
            }
        };
        let lock = RealLock { key, file };
        match rustix::fs::fcntl_lock(&lock.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Box::new(lock)),
            Err(rustix::io::Errno::ACCESS) => Err(io::ErrorKind::WouldBlock.into()),
            Err(error) => Err(error.into()),
        }
    }
}

#[derive(Debug)]
struct RealFile(fs::File);

impl DiskFile for RealFile {
    fn write(&self, slices: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        Ok(rustix::io::pwritev(&self.0, slices, position)?)
    }

    fn read(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.0.read_at(buffer, position)
    }

    fn read_nowait(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match rustix::io::preadv2(&self.0, &mut [IoSliceMut::new(buffer)], position, ReadWriteFlags::NOWAIT) {
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Err(io::ErrorKind::WouldBlock.into()),
            other => Ok(other?),
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }
}

#[derive(Debug)]
struct RealLock {
    key: PathBuf,
    file: fs::File,
}

impl DiskLock for RealLock {}

impl Drop for RealLock {
    fn drop(&mut self) {
        // Unlocking first: with the key gone another thread may open and lock the file before ours is closed.
        let _ = rustix::fs::fcntl_lock(&self.file, FlockOperation::NonBlockingUnlock);
        held().lock().remove(&self.key);
    }
}

/// Lock files this process holds.
fn held() -> &'static Mutex<BTreeSet<PathBuf>> {
    static HELD: OnceLock<Mutex<BTreeSet<PathBuf>>> = OnceLock::new();
    HELD.get_or_init(Mutex::default)
}

/// One spelling per file: its directory without links, and its name.
fn key_of(path: &Path) -> io::Result<PathBuf> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(fs::canonicalize(parent)?.join(name)),
        _ => Err(io::ErrorKind::InvalidInput.into()),
    }
}

fn options(how: Open) -> fs::OpenOptions {
    let mut options = fs::OpenOptions::new();
    match how {
        Open::Read => options.read(true),
        Open::ReadWrite => options.read(true).write(true),
        Open::Create { mode } => options.read(true).write(true).create(true).truncate(false).mode(mode),
        Open::Truncate { mode } => options.read(true).write(true).create(true).truncate(true).mode(mode),
    };
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_real_file_takes_many_slices_and_gives_them_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = RealDisk.open(&path, Open::CREATE).unwrap();
        let piece = [7_u8; 3];
        let pieces: Vec<&[u8]> = (0..SLICES_MAX * 2 + 5).map(|_| &piece[..]).collect();
        file.write_all(&pieces, 10).unwrap();
        let end = 10 + 3 * (SLICES_MAX as u64 * 2 + 5);
        assert_eq!(file.len().unwrap(), end);
        let mut back = vec![0; pieces.len() * 3];
        file.read_exact(&mut back, 10).unwrap();
        assert!(back.iter().all(|&b| b == 7));
        assert_eq!(file.read_exact(&mut [0], end).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let mut some = [0; 4];
        match file.read_nowait(&mut some, 10) {
            Ok(got) => assert_eq!(&some[..got], &[7, 7, 7, 7][..got]),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }

    #[test]
    fn replacing_leaves_no_other_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        RealDisk.replace_file(&path, b"one").unwrap();
        RealDisk.replace_file(&path, b"two").unwrap();
        assert_eq!(RealDisk.read_file(&path, 10).unwrap(), b"two");
        assert_eq!(RealDisk.read_file(&path, 2).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(RealDisk.list(dir.path()).unwrap(), [DirEntry { name: "f".into(), is_dir: false }]);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "this is the file that may")]
    fn a_lock_is_seen_within_the_process_and_by_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(".lock");
        let lock = RealDisk.lock(&path).unwrap();
        assert_eq!(RealDisk.lock(&path).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        // /proc/locks names the lock as POSIX, the kind that Java takes.
        let ours = format!("POSIX  ADVISORY  WRITE {} ", std::process::id());
        assert!(fs::read_to_string("/proc/locks").unwrap().contains(&ours));
        drop(lock);
        drop(RealDisk.lock(&path).unwrap());
    }
}
