//! Contents of files as pages: what is seen, what is synced, and what a power cut leaves of the two.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Draw;
use crate::model::time::Wall;

pub(super) const PAGE: usize = 4096;

/// A file's contents as seen, and as synced. Pages that were never written are holes.
#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) seen: Content,
    synced: Content,
    dirty: BTreeSet<u64>,
    pub(super) modified: Wall,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) len: u64,
    pages: BTreeMap<u64, Arc<[u8; PAGE]>>,
}

impl Content {
    pub(super) fn read(&self, buffer: &mut [u8], position: u64) -> usize {
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
    pub(super) fn new(modified: Wall) -> Self {
        Self { modified, ..Self::default() }
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) {
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

    pub(super) fn set_len(&mut self, len: u64) {
        if let Some(page) = self.seen.set_len(len) {
            self.dirty.insert(page);
        }
        // Pages beyond the new end that the disk still has must not come back when the file grows again.
        let kept = len.div_ceil(to_u64(PAGE));
        self.dirty.extend(self.synced.pages.range(kept..).map(|(page, _)| *page));
    }

    pub(super) fn sync(&mut self) {
        self.synced.set_len(self.seen.len);
        for page in std::mem::take(&mut self.dirty) {
            carry(&self.seen, &mut self.synced, page);
        }
    }

    /// The pages count as clean from here on, though they never reached the disk.
    pub(super) fn sync_failed(&mut self) {
        self.dirty.clear();
    }

    pub(super) fn cut(&mut self, draw: Option<&mut Draw>) {
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

pub(super) fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
