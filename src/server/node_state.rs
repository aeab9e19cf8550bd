//! What a node keeps outside its data directories: its own secret, and a stamp with the last cluster id.
//!
//! `<state dir>/secret` makes the salts of users that do not exist, so that they stay the same over restarts and can't
//! be computed outside; `<state dir>/stamp` keeps a node whose disks were emptied from formatting them as a new cluster.
//! Server files in one folder share both: each has its own line in the stamp.

use std::path::{Path, PathBuf};

use super::files::{self, FileError, Mode};
use crate::controller::Random;
use crate::model::broker::BrokerId;

const SECRET_BYTES: usize = 32;
/// Lines of a stamp; past them the oldest are forgotten.
const MAX_LINES: usize = 1000;

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

/// What tells a node from others that share its folder, as its line of the stamp has it: its id and server file, and its
/// log directories. Either is enough, so that neither an emptied disk nor a mistyped `log.dirs` makes a new cluster.
#[derive(Clone, Debug)]
pub struct Owner {
    node: String,
    file: String,
    log_dirs: Vec<String>,
}

impl Owner {
    pub fn new(node: BrokerId, file: Option<&Path>, log_dirs: &[PathBuf]) -> Self {
        Self {
            node: node.to_string(),
            file: file.map(field).unwrap_or_default(),
            log_dirs: log_dirs.iter().map(|dir| field(dir)).collect(),
        }
    }

    /// `cluster id <tab> node <tab> server file <tab> log directory ...`
    fn line(&self, cluster_id: &str) -> String {
        [&[cluster_id, &self.node, &self.file], &*self.log_dirs.iter().map(String::as_str).collect::<Vec<_>>()]
            .concat()
            .join("\t")
    }

    fn owns(&self, line: &str) -> bool {
        let mut fields = line.split('\t').skip(1);
        let (node, file) = (fields.next(), fields.next());
        (node == Some(&self.node) && file == Some(&self.file))
            || fields.any(|dir| self.log_dirs.iter().any(|own| own == dir))
    }
}

/// A path as it stands in a line: from the root, control characters escaped.
fn field(path: &Path) -> String {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut field = String::new();
    for c in absolute.to_string_lossy().chars() {
        if c.is_control() {
            field.extend(c.escape_default());
        } else {
            field.push(c);
        }
    }
    field
}

/// The folder, as one of its nodes sees it.
#[derive(Clone, Debug)]
pub struct NodeState {
    dir: PathBuf,
    owner: Owner,
}

impl NodeState {
    pub fn new(dir: &Path, owner: Owner) -> Self {
        Self { dir: dir.to_owned(), owner }
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

    /// The cluster this node last belonged to. A line that names no node, as earlier versions wrote it, is anybody's.
    ///
    /// # Errors
    /// The stamp can't be read.
    pub fn last_cluster_id(&self) -> Result<Option<String>, FileError> {
        let lines = self.lines()?;
        let own = lines.iter().find(|line| self.owner.owns(line));
        let line = own.or_else(|| lines.iter().find(|line| !line.contains('\t')));
        Ok(line.and_then(|line| line.split('\t').next()).map(str::to_owned))
    }

    /// Notes the cluster this node belongs to. Other nodes' lines stay.
    ///
    /// # Errors
    /// The stamp can't be written.
    pub fn stamp(&self, cluster_id: &str) -> Result<(), FileError> {
        let lines = self.lines()?;
        let mut stamped: Vec<String> =
            lines.iter().filter(|line| !self.owner.owns(line) && *line != cluster_id).cloned().collect();
        stamped.push(self.owner.line(cluster_id));
        if lines.len() == stamped.len() && stamped.iter().all(|line| lines.contains(line)) {
            return Ok(());
        }
        files::create_dir(&self.dir)?;
        let kept = stamped.get(stamped.len().saturating_sub(MAX_LINES)..).unwrap_or_default();
        files::write(&self.dir.join("stamp"), format!("{}\n", kept.join("\n")).as_bytes(), Mode::Public)
    }

    fn lines(&self) -> Result<Vec<String>, FileError> {
        let stamp = files::read_if_there(&self.dir.join("stamp"))?.unwrap_or_default();
        let lines = String::from_utf8_lossy(&stamp).lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>();
        Ok(lines.into_iter().filter(|line| !line.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(dir: &Path, node: i32, file: Option<&str>, log_dirs: &[&str]) -> NodeState {
        let log_dirs: Vec<PathBuf> = log_dirs.iter().map(PathBuf::from).collect();
        NodeState::new(dir, Owner::new(BrokerId(node), file.map(Path::new), &log_dirs))
    }

    fn text_of(dir: &Path) -> String {
        String::from_utf8(files::read(&dir.join("stamp")).unwrap()).unwrap()
    }

    fn last(state: &NodeState) -> Option<String> {
        state.last_cluster_id().unwrap()
    }

    #[test]
    fn each_server_file_and_each_directory_has_its_line() {
        let dir = tempfile::tempdir().unwrap();
        let one = node(dir.path(), 1, Some("one.properties"), &["/data/one"]);
        let two = node(dir.path(), 2, Some("two.properties"), &["/data/two", "/data/tab\tbed"]);
        one.stamp("ONE").unwrap();
        assert_eq!((last(&one).as_deref(), last(&two)), (Some("ONE"), None));
        two.stamp("TWO").unwrap();
        one.stamp("ONE").unwrap();
        assert_eq!((last(&one).as_deref(), last(&two).as_deref()), (Some("ONE"), Some("TWO")));
        // The same file with other directories, the same directory under another file, with and without more of them.
        for (of, wanted) in [
            (node(dir.path(), 1, Some("one.properties"), &["/data/typo"]), Some("ONE")),
            (node(dir.path(), 1, None, &["/data/one"]), Some("ONE")),
            (node(dir.path(), 9, Some("other"), &["/data/new", "/data/tab\tbed"]), Some("TWO")),
            // One file for several nodes, by overrides.
            (node(dir.path(), 3, Some("one.properties"), &["/data/three"]), None),
        ] {
            assert_eq!(last(&of).as_deref(), wanted, "{of:?}");
        }
        one.stamp("ANEW").unwrap();
        assert_eq!((last(&one).as_deref(), last(&two).as_deref()), (Some("ANEW"), Some("TWO")));
        assert_eq!(text_of(dir.path()).lines().count(), 2);
    }

    #[test]
    fn the_stamp_of_an_earlier_version_is_anybodys_until_its_node_has_started() {
        let dir = tempfile::tempdir().unwrap();
        files::write(&dir.path().join("stamp"), b"OLD\n", Mode::Public).unwrap();
        let one = node(dir.path(), 1, Some("one.properties"), &["/data/one"]);
        let two = node(dir.path(), 2, Some("two.properties"), &["/data/two"]);
        assert_eq!((last(&one).as_deref(), last(&two).as_deref()), (Some("OLD"), Some("OLD")));
        two.stamp("TWO").unwrap();
        assert_eq!((last(&one).as_deref(), last(&two).as_deref()), (Some("OLD"), Some("TWO")));
        one.stamp("OLD").unwrap();
        let three = node(dir.path(), 3, Some("three.properties"), &["/data/three"]);
        assert_eq!((last(&one).as_deref(), last(&three)), (Some("OLD"), None));
    }

    #[test]
    fn a_full_stamp_forgets_its_oldest_lines() {
        let dir = tempfile::tempdir().unwrap();
        let full = "X\t1\tf\t/d\n".repeat(MAX_LINES);
        files::write(&dir.path().join("stamp"), full.as_bytes(), Mode::Public).unwrap();
        node(dir.path(), 2, None, &["/data/two"]).stamp("TWO").unwrap();
        let text = text_of(dir.path());
        assert_eq!((text.lines().count(), text.lines().last()), (MAX_LINES, Some("TWO\t2\t\t/data/two")));
    }
}
