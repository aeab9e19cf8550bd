//! Segments.

/// A range of bytes of one segment.
#[derive(Clone, Debug)]
pub struct FileRange {
    pub len: u32,
}
