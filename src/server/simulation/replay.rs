//! The metadata log read by somebody else, to be compared with the images in memory.

use std::path::Path;
use std::sync::Arc;

use super::node::Ground;
use crate::log::storage::{Disk, FaultyDisk};
use crate::metadata::image::MetadataImage;
use crate::model::time::Clock as _;
use crate::model::uuid::Uuid;
use crate::protocol::record_batch::batches;
use crate::server::metadata_log::{DIRECTORY, MetadataLog, OpenError, batch};

/// Largest segment that is read, in bytes.
const SEGMENT_MAX: u64 = 1 << 30;

/// An image of every committed record since the first, no snapshot among them.
#[derive(Default)]
pub(super) struct FullReplay {
    image: MetadataImage,
    next: i64,
}

impl FullReplay {
    /// Applies what was committed since the last time. Before segments are deleted it must have read them.
    pub(super) fn follow(&mut self, disk: &FaultyDisk, metadata_log_dir: &Path, high_watermark: i64) {
        let dir = metadata_log_dir.join(DIRECTORY);
        let mut segments: Vec<String> = disk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
        segments.retain(|name| name.ends_with(".log"));
        segments.sort();
        for segment in segments {
            let bytes = disk.read_file(&dir.join(segment), SEGMENT_MAX).unwrap();
            for found in batches(&bytes).map_while(Result::ok) {
                let header = found.header();
                if header.base_offset < self.next || header.next_offset() > high_watermark {
                    continue;
                }
                assert_eq!(header.base_offset, self.next, "a committed batch is gone");
                if !header.is_control() {
                    for (offset, record) in batch::decode(&found).unwrap() {
                        self.image.apply(offset, &record).unwrap();
                    }
                }
                self.image.advance(header.last_offset());
                self.next = header.next_offset();
            }
        }
    }

    pub(super) fn image(&self) -> &MetadataImage {
        &self.image
    }
}

/// What a start would make of the disk as it is: the newest snapshot, and the log behind it.
pub(super) fn reopened(ground: &Ground, directory: Uuid) -> Result<Arc<MetadataImage>, OpenError> {
    let (now, wall) = (ground.clock.mono(), ground.clock.wall());
    let log = MetadataLog::open(Arc::new(ground.disk.copy()), ground.metadata_log(directory), now, wall)?;
    Ok(log.latest().load_full())
}
