//! One log directory, and whether it still works.
//!
//! Shared by all logs in it. The first failed write or sync takes it offline for good (until the next start): after a
//! failed sync nobody knows what the disk holds, so nothing in it is answered as if fine. Precedent:
//! `LogDirFailureChannel` (KIP-112).

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use crate::model::error_code::ErrorCode;
use crate::model::uuid::Uuid;

/// Called once, by the thread that met the failure, when a directory goes offline.
pub type OfflineListener = Arc<dyn Fn(&LogDir) + Send + Sync>;

/// A directory that failed, with the first cause.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("log directory {} is offline: {cause}", dir.display())]
pub struct StorageError {
    pub dir: PathBuf,
    pub cause: Arc<str>,
}

impl StorageError {
    pub const fn code(&self) -> ErrorCode {
        ErrorCode::KafkaStorageError
    }
}

/// A log directory.
pub struct LogDir {
    path: PathBuf,
    id: Option<Uuid>,
    failure: OnceLock<Arc<str>>,
    listener: Option<OfflineListener>,
}

impl LogDir {
    pub fn new(path: impl Into<PathBuf>, id: Option<Uuid>, listener: Option<OfflineListener>) -> Self {
        Self { path: path.into(), id, failure: OnceLock::new(), listener }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `directory.id` of its meta.properties.
    pub const fn id(&self) -> Option<Uuid> {
        self.id
    }

    pub fn is_online(&self) -> bool {
        self.failure.get().is_none()
    }

    /// # Errors
    /// The first failure, once there was one.
    pub fn check(&self) -> Result<(), StorageError> {
        self.failure.get().map_or(Ok(()), |cause| Err(self.error(cause)))
    }

    /// Takes the directory offline. The first cause stays, and is what is answered from now on.
    pub fn fail(&self, doing: &str, error: &io::Error) -> StorageError {
        let mut first = false;
        let cause = self.failure.get_or_init(|| {
            first = true;
            format!("{doing}: {error}").into()
        });
        if first {
            tracing::error!(dir = %self.path.display(), %cause, "log directory goes offline");
            if let Some(listener) = &self.listener {
                listener(self);
            }
        }
        self.error(cause)
    }

    fn error(&self, cause: &Arc<str>) -> StorageError {
        StorageError { dir: self.path.clone(), cause: Arc::clone(cause) }
    }
}

impl fmt::Debug for LogDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogDir")
            .field("path", &self.path)
            .field("id", &self.id)
            .field("failure", &self.failure)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_first_failure_stays_and_is_told_once() {
        let told = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&told);
        let listener: OfflineListener = Arc::new(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let dir = LogDir::new("/d", None, Some(listener));
        dir.check().unwrap();
        dir.fail("sync t-0", &io::Error::other("first"));
        let second = dir.fail("write", &io::Error::other("second"));
        assert_eq!(second.to_string(), "log directory /d is offline: sync t-0: first");
        assert_eq!(dir.check().unwrap_err(), second);
        assert_eq!(second.code(), ErrorCode::KafkaStorageError);
        assert_eq!(told.load(Ordering::Relaxed), 1);
    }
}
