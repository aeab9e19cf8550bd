//! Led this epoch and is about to stop. Votes for nobody, appends nothing.

#[derive(Debug)]
pub(super) struct Resigned {
    pub(super) epoch: i32,
}
