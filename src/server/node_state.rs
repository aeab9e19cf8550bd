//! What a node keeps outside its data directories: its own secret, and a stamp with the last cluster id.
//!
//! `<state dir>/secret` makes the salts of users that do not exist, so that they stay the same over restarts and can't
//! be computed outside; `<state dir>/stamp` keeps a node whose disks were emptied from formatting them as a new cluster.

use std::path::{Path, PathBuf};

use super::files::{self, FileError, Mode};
use crate::controller::Random;

const SECRET_BYTES: usize = 32;

/// The node's own secret.
#[derive(Clone)]
pub struct NodeSecret(Vec<u8>);

impl std::fmt::Debug for NodeSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeSecret(********)")
    }
}

impl NodeSecret {
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub struct NodeState {
    dir: PathBuf,
}

impl NodeState {
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// The node's secret, drawn at the first start.
    ///
    /// # Errors
    /// It can't be read, or can't be kept.
    pub fn secret(&self, random: &mut dyn Random) -> Result<NodeSecret, FileError> {
        let path = self.dir.join("secret");
        if let Some(secret) = files::read_if_there(&path)?
            && secret.len() >= SECRET_BYTES
        {
            return Ok(NodeSecret(secret));
        }
        let mut secret = vec![0; SECRET_BYTES];
        random.fill(&mut secret);
        files::create_dir(&self.dir)?;
        files::write(&path, &secret, Mode::Secret)?;
        Ok(NodeSecret(secret))
    }

    /// The cluster this node last belonged to.
    ///
    /// # Errors
    /// The stamp can't be read.
    pub fn last_cluster_id(&self) -> Result<Option<String>, FileError> {
        let stamp = files::read_if_there(&self.dir.join("stamp"))?;
        Ok(stamp.and_then(|bytes| String::from_utf8(bytes).ok()).map(|text| text.trim().to_owned()))
    }

    /// Notes the cluster this node belongs to.
    ///
    /// # Errors
    /// The stamp can't be written.
    pub fn stamp(&self, cluster_id: &str) -> Result<(), FileError> {
        if self.last_cluster_id()?.as_deref() == Some(cluster_id) {
            return Ok(());
        }
        files::create_dir(&self.dir)?;
        files::write(&self.dir.join("stamp"), format!("{cluster_id}\n").as_bytes(), Mode::Public)
    }
}
