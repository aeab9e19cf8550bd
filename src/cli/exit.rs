//! Exit codes (`sysexits.h` where it has one).

/// Anything that went wrong while running.
pub(super) const FAILURE: u8 = 1;
/// The command line is not understood.
pub(super) const USAGE: u8 = 2;
/// The answer is no: denied, not ready, not confirmed.
pub(super) const NO: u8 = 3;
/// A disk failed, or a directory is another broker's.
pub(super) const DISK: u8 = 74;
/// The configuration is refused; starting again won't help.
pub(super) const CONFIG: u8 = 78;
