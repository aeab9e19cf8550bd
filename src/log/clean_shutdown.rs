//! `.kafka_cleanshutdown`: the mark that a log directory was closed in order (`CleanShutdownFileHandler`).
//!
//! One line of JSON without a newline. It lets the next start skip recovery, so it may be written only after every
//! log of the directory is closed with its producer snapshot, and it is removed once the logs are loaded. Its broker
//! epoch tells the controller that nothing was lost.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::storage::Disk;

pub const FILE_NAME: &str = ".kafka_cleanshutdown";

const FILE_MAX: u64 = 4096;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Content {
    version: i32,
    broker_epoch: i64,
}

/// Writes the mark; durable when it returns.
///
/// # Errors
/// Whatever the disk answers.
pub fn write(disk: &dyn Disk, log_dir: &Path, broker_epoch: i64) -> io::Result<()> {
    let text = serde_json::to_vec(&Content { version: 0, broker_epoch })?;
    disk.replace_file(&log_dir.join(FILE_NAME), &text)
}

/// The broker epoch of the registration that ended, -1 where the mark holds none (brokers before 3.7 leave it empty);
/// `None` without a mark.
///
/// # Errors
/// Whatever the disk answers.
pub fn read(disk: &dyn Disk, log_dir: &Path) -> io::Result<Option<i64>> {
    match disk.read_file(&log_dir.join(FILE_NAME), FILE_MAX) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_or(-1, |content: Content| content.broker_epoch))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes the mark; durable when it returns, since a mark that comes back after a crash would hide the damage.
///
/// # Errors
/// Whatever the disk answers.
pub fn remove(disk: &dyn Disk, log_dir: &Path) -> io::Result<()> {
    disk.remove_file_if_there(&log_dir.join(FILE_NAME))?;
    disk.sync_dir(log_dir)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::FaultyDisk;

    #[test]
    fn the_text_is_kafkas() {
        let (disk, dir) = (FaultyDisk::new(), Path::new("/"));
        assert_eq!(read(&disk, dir).unwrap(), None);
        write(&disk, dir, 12).unwrap();
        assert_eq!(
            disk.read_file(Path::new("/.kafka_cleanshutdown"), 99).unwrap(),
            br#"{"version":0,"brokerEpoch":12}"#
        );
        assert_eq!(read(&disk, dir).unwrap(), Some(12));
        remove(&disk, dir).unwrap();
        disk.power_cut(None);
        assert_eq!(read(&disk, dir).unwrap(), None);
    }

    #[test]
    fn an_empty_mark_is_clean_without_an_epoch() {
        let disk = FaultyDisk::new();
        disk.replace_file(Path::new("/.kafka_cleanshutdown"), b"").unwrap();
        assert_eq!(read(&disk, Path::new("/")).unwrap(), Some(-1));
    }
}
