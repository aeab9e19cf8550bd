//! A sparse index: entries of one size in rising order in a preallocated file (`AbstractIndex`).
//!
//! Kafka maps the file; here the newest entries stay in memory and go to the file many at a time, so that an entry
//! costs no system call. Readers take no lock: they see an entry once the count includes it. One writer. It must not
//! know what an entry points to.

use std::fmt::Debug;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;

use super::storage::DiskFile;
use super::width::{to_u32, to_u64, to_usize};

/// Entries kept in memory before they are written together.
const TAIL_ENTRIES: u32 = 128;
const ENTRY_MAX: usize = 12;
/// A search that is down to so many entries reads those of them that are in the file at once.
const WINDOW_ENTRIES: u32 = 64;
const WINDOW_BYTES: usize = 64 * ENTRY_MAX;

/// May a read wait for the disk?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// No: `WouldBlock` is answered instead.
    Cached,
    Blocking,
}

impl Access {
    /// Fills the buffer from a file.
    ///
    /// # Errors
    /// `WouldBlock` for what is not in memory and must not wait; `UnexpectedEof` when the file is shorter.
    pub fn read(self, file: &dyn DiskFile, buffer: &mut [u8], position: u64) -> io::Result<()> {
        match self {
            Self::Blocking => file.read_exact(buffer, position),
            Self::Cached => match file.read_nowait(buffer, position)? {
                got if got == buffer.len() => Ok(()),
                _ => Err(io::ErrorKind::WouldBlock.into()),
            },
        }
    }
}

/// One kind of index entry.
pub trait Entry: Copy + Debug + Send + Sync + 'static {
    /// Bytes in the file.
    const SIZE: usize;
    fn to_words(self) -> [u64; 2];
    fn from_words(words: [u64; 2]) -> Self;
    /// Writes itself over the first [`Self::SIZE`] bytes.
    fn encode(self, out: &mut [u8; ENTRY_MAX]);
    /// Reads itself from the first [`Self::SIZE`] bytes.
    fn decode(bytes: &[u8; ENTRY_MAX]) -> Self;
}

/// An index and its file.
#[derive(Debug)]
pub struct IndexFile<E> {
    file: Arc<dyn DiskFile>,
    max_entries: u32,
    count: AtomicU32,
    tail: ArcSwapOption<Tail>,
    entry: PhantomData<fn() -> E>,
}

/// The newest entries, not yet in the file.
#[derive(Debug)]
struct Tail {
    first: u32,
    slots: Vec<[AtomicU64; 2]>,
}

impl<E: Entry> IndexFile<E> {
    /// Takes over a file that holds `count` entries and may grow to `max_bytes`.
    pub fn new(file: Arc<dyn DiskFile>, count: u32, max_bytes: u32) -> Self {
        let max_entries = max_bytes / to_u32(to_u64(E::SIZE));
        Self { file, max_entries, count: AtomicU32::new(count), tail: ArcSwapOption::empty(), entry: PhantomData }
    }

    /// The same file with only its first `count` entries, for a segment that becomes the active one again.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn cut(&self, count: u32, max_bytes: u32) -> io::Result<Self> {
        self.flush()?;
        Ok(Self::new(Arc::clone(&self.file), count.min(self.count()), max_bytes))
    }

    pub fn count(&self) -> u32 {
        self.count.load(Ordering::Acquire)
    }

    /// Entries there is still room for.
    pub fn room(&self) -> u32 {
        self.max_entries.saturating_sub(self.count())
    }

    /// Bytes of all entries.
    pub fn size_in_bytes(&self) -> u64 {
        u64::from(self.count()) * to_u64(E::SIZE)
    }

    /// Adds an entry at the end. Only the log's one writer may.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn append(&self, entry: E) -> io::Result<()> {
        let count = self.count();
        let mut tail = self.tail.load_full();
        if tail.as_ref().is_none_or(|tail| count - tail.first >= TAIL_ENTRIES) {
            self.flush()?;
            let slots = (0..TAIL_ENTRIES).map(|_| [AtomicU64::new(0), AtomicU64::new(0)]).collect();
            let fresh = Arc::new(Tail { first: count, slots });
            self.tail.store(Some(Arc::clone(&fresh)));
            tail = Some(fresh);
        }
        let slot = tail.as_deref().and_then(|tail| tail.slot(count));
        if let (Some([first, second]), [one, two]) = (slot, entry.to_words()) {
            first.store(one, Ordering::Relaxed);
            second.store(two, Ordering::Relaxed);
            self.count.store(count + 1, Ordering::Release);
        }
        Ok(())
    }

    /// The n-th entry.
    ///
    /// # Errors
    /// As [`Access::read`].
    pub fn entry(&self, n: u32, access: Access) -> io::Result<E> {
        // The tail is taken after the count was: entries below its start are in the file by then.
        match self.tail.load().as_deref().and_then(|tail| tail.slot(n)) {
            Some([one, two]) => Ok(E::from_words([one.load(Ordering::Relaxed), two.load(Ordering::Relaxed)])),
            None => {
                let mut bytes = [0; ENTRY_MAX];
                let wanted = bytes.get_mut(..E::SIZE).unwrap_or_default();
                access.read(&*self.file, wanted, u64::from(n) * to_u64(E::SIZE))?;
                Ok(E::decode(&bytes))
            }
        }
    }

    /// # Errors
    /// As [`Access::read`].
    pub fn last(&self, access: Access) -> io::Result<Option<E>> {
        self.count().checked_sub(1).map(|n| self.entry(n, access)).transpose()
    }

    /// How many entries from the front satisfy the test, and the last of them; the test must hold for a prefix.
    ///
    /// # Errors
    /// As [`Access::read`].
    pub fn last_where(&self, access: Access, test: impl Fn(E) -> bool) -> io::Result<(u32, Option<E>)> {
        let (mut low, mut high) = (0, self.count());
        let mut found = None;
        let mut window = None;
        while low < high {
            if window.is_none() && high - low <= WINDOW_ENTRIES {
                window = self.window(low, high, access)?;
            }
            let middle = low + (high - low) / 2;
            let entry = match window.as_ref().and_then(|window| window.entry(middle)) {
                Some(entry) => entry,
                None => self.entry(middle, access)?,
            };
            if test(entry) {
                found = Some(entry);
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        Ok((low, found))
    }

    /// Those of the entries from `low` to `high` that are in the file, if any.
    fn window(&self, low: u32, high: u32, access: Access) -> io::Result<Option<Window<E>>> {
        let high = self.tail.load().as_deref().map_or(high, |tail| tail.first.min(high));
        let Some(count) = high.checked_sub(low).filter(|count| *count > 0) else { return Ok(None) };
        let len = to_usize(u64::from(count)) * E::SIZE;
        let mut window = Window { first: low, bytes: [0; WINDOW_BYTES], len, entry: PhantomData };
        let wanted = window.bytes.get_mut(..len).unwrap_or_default();
        access.read(&*self.file, wanted, u64::from(low) * to_u64(E::SIZE))?;
        Ok(Some(window))
    }

    /// Writes what is only in memory to the file.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn flush(&self) -> io::Result<()> {
        let tail = self.tail.load_full();
        let Some(tail) = tail else { return Ok(()) };
        let mut bytes = Vec::with_capacity(to_usize(u64::from(TAIL_ENTRIES)) * E::SIZE);
        for [one, two] in tail.slots.iter().take(to_usize(u64::from(self.count() - tail.first))) {
            let entry = E::from_words([one.load(Ordering::Relaxed), two.load(Ordering::Relaxed)]);
            let mut encoded = [0; ENTRY_MAX];
            entry.encode(&mut encoded);
            bytes.extend(encoded.iter().take(E::SIZE));
        }
        self.file.write_all(&[&bytes], u64::from(tail.first) * to_u64(E::SIZE))
    }

    /// Cuts the file to its entries; the segment takes no more, or is closed.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn trim(&self) -> io::Result<()> {
        self.flush()?;
        self.tail.store(None);
        self.file.set_len(self.size_in_bytes())
    }

    /// Makes the file as long as it may get: a hole that costs nothing. 10485756 bytes for a time index, whose entries
    /// do not divide 10 MiB.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn preallocate(&self) -> io::Result<()> {
        self.file.set_len(u64::from(self.max_entries.max(self.count())) * to_u64(E::SIZE))
    }

    /// # Errors
    /// Whatever the disk answers.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

/// Some entries of the file, read together.
#[derive(Debug)]
struct Window<E> {
    first: u32,
    bytes: [u8; WINDOW_BYTES],
    len: usize,
    entry: PhantomData<fn() -> E>,
}

impl<E: Entry> Window<E> {
    fn entry(&self, n: u32) -> Option<E> {
        let from = to_usize(u64::from(n.checked_sub(self.first)?)) * E::SIZE;
        let bytes = self.bytes.get(..self.len)?.get(from..from + E::SIZE)?;
        let mut entry = [0; ENTRY_MAX];
        entry.get_mut(..E::SIZE)?.copy_from_slice(bytes);
        Some(E::decode(&entry))
    }
}

impl Tail {
    fn slot(&self, n: u32) -> Option<&[AtomicU64; 2]> {
        self.slots.get(to_usize(u64::from(n.checked_sub(self.first)?)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::log::storage::{Disk as _, FaultyDisk, Open};

    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Number(u64);

    impl Entry for Number {
        const SIZE: usize = 8;
        fn to_words(self) -> [u64; 2] {
            [self.0, 0]
        }
        fn from_words([word, _]: [u64; 2]) -> Self {
            Self(word)
        }
        fn encode(self, out: &mut [u8; ENTRY_MAX]) {
            out[..8].copy_from_slice(&self.0.to_be_bytes());
        }
        fn decode(bytes: &[u8; ENTRY_MAX]) -> Self {
            Self(u64::from_be_bytes(bytes[..8].try_into().unwrap()))
        }
    }

    #[test]
    fn entries_are_found_in_memory_and_in_the_file() {
        let disk = FaultyDisk::new();
        let file = disk.open(Path::new("/i"), Open::CREATE).unwrap();
        let index = IndexFile::<Number>::new(Arc::clone(&file), 0, 4096);
        assert_eq!(index.last(Access::Blocking).unwrap(), None);
        for n in 0..300 {
            index.append(Number(n * 10)).unwrap();
        }
        assert_eq!(index.room(), 4096 / 8 - 300);
        for (limit, count, last) in [(0, 1, Some(0)), (5, 1, Some(0)), (1999, 200, Some(1990)), (9999, 300, Some(2990))]
        {
            let found = index.last_where(Access::Blocking, |Number(n)| n <= limit).unwrap();
            assert_eq!(found, (count, last.map(Number)), "{limit}");
        }
        // Every limit, through searches that end in the file, in memory and across the two.
        for limit in 0..3010 {
            let found = index.last_where(Access::Blocking, |Number(n)| n <= limit).unwrap();
            let last = (limit / 10).min(299);
            assert_eq!(found, (u32::try_from(last).unwrap() + 1, Some(Number(last * 10))), "{limit}");
        }
        disk.evict_cache(true);
        let missing = index.last_where(Access::Cached, |Number(n)| n <= 5).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::WouldBlock);
        disk.evict_cache(false);
        index.trim().unwrap();
        assert_eq!(file.len().unwrap(), 300 * 8);
        let again = IndexFile::<Number>::new(file, 300, 4096);
        assert_eq!(again.entry(299, Access::Blocking).unwrap(), Number(2990));
        let cut = again.cut(7, 4096).unwrap();
        cut.append(Number(1)).unwrap();
        assert_eq!((cut.count(), again.count()), (8, 300));
    }
}
