//! The two images that others may hold, and who is told when the committed one moves.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::metadata::delta::{MetadataDelta, Touched};
use crate::metadata::image::MetadataImage;

/// A place where the current image is always found.
pub type ImageHandle = Arc<ArcSwap<MetadataImage>>;

/// What a subscriber is told, on the metadata log's thread: it must not wait for anything.
#[derive(Debug)]
pub struct Committed<'a> {
    /// Everything up to and with this offset is on disk and agreed on.
    pub offset: i64,
    /// What changed since the last time; empty where nothing did.
    pub delta: &'a MetadataDelta,
}

/// Called at every commit, before anybody is answered whose request it commits: what a subscriber derives from the image
/// is in force when it is acknowledged.
pub type Subscriber = Box<dyn FnMut(&Committed<'_>) + Send>;

/// An image that is appended but not committed.
#[derive(Debug)]
struct Appended {
    /// Offset after its last record.
    end: i64,
    image: Arc<MetadataImage>,
    touched: Touched,
}

/// Latest and committed image. The latest runs ahead by what waits for the disk.
pub(super) struct Images {
    latest: ImageHandle,
    committed: ImageHandle,
    waiting: VecDeque<Appended>,
    /// Committed, but inside a metadata transaction that is still open.
    held: Touched,
    subscribers: Vec<Subscriber>,
}

impl Images {
    /// Nothing is committed yet; `latest` is what the log holds.
    pub(super) fn new(latest: Arc<MetadataImage>, end: i64) -> Self {
        let empty = Arc::new(MetadataImage::default());
        let touched = Touched::between(&empty, &latest);
        Self {
            committed: Arc::new(ArcSwap::new(empty)),
            waiting: VecDeque::from([Appended { end, image: Arc::clone(&latest), touched }]),
            latest: Arc::new(ArcSwap::new(latest)),
            held: Touched::default(),
            subscribers: Vec::new(),
        }
    }

    pub(super) fn latest(&self) -> &ImageHandle {
        &self.latest
    }

    pub(super) fn committed(&self) -> &ImageHandle {
        &self.committed
    }

    /// Records up to `end` were appended and make `image` of the latest one.
    pub(super) fn appended(&mut self, end: i64, image: Arc<MetadataImage>, touched: Touched) {
        self.latest.store(Arc::clone(&image));
        self.waiting.push_back(Appended { end, image, touched });
    }

    /// Everything below `high_watermark` is committed. Returns what changed.
    pub(super) fn commit(&mut self, high_watermark: i64) -> Option<MetadataDelta> {
        let mut image = None;
        while let Some(next) = self.waiting.pop_front_if(|next| next.end <= high_watermark) {
            self.held.add(next.touched);
            image = Some(next.image);
        }
        let image = image?;
        let touched = if image.in_transaction() { Touched::default() } else { std::mem::take(&mut self.held) };
        let delta = MetadataDelta::new(self.committed.load_full(), image.visible(), touched);
        self.committed.store(Arc::clone(&delta.after));
        let committed = Committed { offset: high_watermark - 1, delta: &delta };
        for subscriber in &mut self.subscribers {
            subscriber(&committed);
        }
        Some(delta)
    }

    /// Tells a new subscriber everything that is committed, and later what follows.
    pub(super) fn subscribe(&mut self, mut subscriber: Subscriber) {
        let committed = self.committed.load_full();
        let delta = MetadataDelta::between(Arc::new(MetadataImage::default()), Arc::clone(&committed));
        subscriber(&Committed { offset: committed.offset(), delta: &delta });
        self.subscribers.push(subscriber);
    }
}

impl fmt::Debug for Images {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Images")
            .field("waiting", &self.waiting.len())
            .field("subscribers", &self.subscribers.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::protocol::records::metadata::{
        BeginTransactionRecord, EndTransactionRecord, MetadataRecord, UserScramCredentialRecord,
    };

    fn user(name: &str) -> MetadataRecord {
        UserScramCredentialRecord { name: name.into(), mechanism: 1, iterations: 4096, ..Default::default() }.into()
    }

    fn append(images: &mut Images, record: &MetadataRecord) -> i64 {
        let mut image = images.latest().load_full().as_ref().clone();
        let mut touched = Touched::default();
        let offset = image.offset() + 1;
        image.apply_noting(offset, record, &mut touched).unwrap();
        images.appended(offset + 1, Arc::new(image), touched);
        offset + 1
    }

    #[test]
    fn the_committed_image_follows_and_subscribers_see_each_change_once() {
        let mut images = Images::new(Arc::new(MetadataImage::default()), 0);
        let (tell, told) = mpsc::channel();
        images.subscribe(Box::new(move |committed| {
            tell.send((committed.offset, committed.delta.scram().count())).unwrap();
        }));
        assert_eq!(told.recv().unwrap(), (-1, 0));
        let first = append(&mut images, &user("a"));
        let second = append(&mut images, &user("b"));
        assert_eq!((images.latest().load().scram.len(), images.committed().load().scram.len()), (2, 0));
        images.commit(first);
        assert_eq!((told.recv().unwrap(), images.committed().load().scram.len()), ((0, 1), 1));
        assert!(images.commit(first).is_none());
        images.commit(second);
        assert_eq!((told.recv().unwrap(), images.committed().load().scram.len()), ((1, 1), 2));
        let (tell, late) = mpsc::channel();
        images.subscribe(Box::new(move |committed| {
            tell.send((committed.offset, committed.delta.scram().count())).unwrap();
        }));
        assert_eq!(late.recv().unwrap(), (1, 2));
    }

    #[test]
    fn an_open_transaction_shows_nothing_until_it_ends() {
        let mut images = Images::new(Arc::new(MetadataImage::default()), 0);
        append(&mut images, &BeginTransactionRecord::default().into());
        let end = append(&mut images, &user("a"));
        assert_eq!(images.commit(end).unwrap().scram().count(), 0);
        assert_eq!(images.committed().load().scram.len(), 0);
        let end = append(&mut images, &EndTransactionRecord::default().into());
        assert_eq!(images.commit(end).unwrap().scram().count(), 1);
        assert_eq!(images.committed().load().scram.len(), 1);
    }
}
