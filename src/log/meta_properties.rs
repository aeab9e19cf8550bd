//! `meta.properties`: whose log directory this is (`MetaProperties`, `MetaPropertiesEnsemble`).
//!
//! Written by formatting, in the shape `java.util.Properties` writes: a comment line that is empty, one with the date,
//! then `key=value` lines. The broker only reads it, and refuses directories of another cluster or node.

use std::io;
use std::path::{Path, PathBuf};

use time::OffsetDateTime;

use super::storage::Disk;
use crate::model::time::Wall;
use crate::model::uuid::Uuid;

pub const FILE_NAME: &str = "meta.properties";

const FILE_MAX: u64 = 64 << 10;

/// What the file says. Version 0 is the one of ZooKeeper's time (`broker.id`, no directory id).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetaProperties {
    pub version: i32,
    pub cluster_id: Option<String>,
    pub node_id: Option<i32>,
    pub directory_id: Option<Uuid>,
}

/// Why log directories do not belong together, or not to this node.
#[derive(Debug, thiserror::Error)]
pub enum MetaPropertiesError {
    #[error("{}: {error}", path.display())]
    Disk { path: PathBuf, error: io::Error },
    #[error("{}: {what}", path.display())]
    Malformed { path: PathBuf, what: String },
    #[error("Invalid cluster.id in: {}/{FILE_NAME}. Expected {expected}, but read {found}", path.display())]
    Cluster { path: PathBuf, found: String, expected: String },
    #[error(
        "Stored node id {found} doesn't match previous node id {expected} in {}/{FILE_NAME}: was data moved, or node.id \
         changed?", path.display()
    )]
    Node { path: PathBuf, found: i32, expected: i32 },
    #[error(
        "Duplicate directory ID {id} found. It was the ID of {}, but also of {}: one is a copy of the other",
        first.display(), second.display()
    )]
    SameDirectory { first: PathBuf, second: PathBuf, id: Uuid },
    #[error("{} has no {key}: it was not formatted", path.display())]
    Missing { path: PathBuf, key: &'static str },
}

impl MetaProperties {
    /// What formatting writes.
    pub fn new(cluster_id: impl Into<String>, node_id: i32, directory_id: Uuid) -> Self {
        Self {
            version: 1,
            cluster_id: Some(cluster_id.into()),
            node_id: Some(node_id),
            directory_id: Some(directory_id),
        }
    }

    /// Reads the file of a log directory; `None` where there is none: an empty or a foreign directory.
    ///
    /// # Errors
    /// `Malformed` for a file of an unknown version or with a value of the wrong kind; `Disk`.
    pub fn read(disk: &dyn Disk, log_dir: &Path) -> Result<Option<Self>, MetaPropertiesError> {
        let path = log_dir.join(FILE_NAME);
        match disk.read_file(&path, FILE_MAX) {
            Ok(bytes) => match Self::parse(&String::from_utf8_lossy(&bytes)) {
                Ok(meta) => Ok(Some(meta)),
                Err(what) => Err(MetaPropertiesError::Malformed { path, what }),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(MetaPropertiesError::Disk { path, error }),
        }
    }

    /// Writes the file of a log directory; durable when it returns.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn write(&self, disk: &dyn Disk, log_dir: &Path, now: Wall) -> io::Result<()> {
        disk.replace_file(&log_dir.join(FILE_NAME), self.text(now).as_bytes())
    }

    /// The text of the file, dated `now` in UTC.
    pub fn text(&self, now: Wall) -> String {
        let mut text = format!("#\n#{}\n", java_date(now));
        let node_key = if self.version == 0 { "broker.id" } else { "node.id" };
        let values = [
            (node_key, self.node_id.map(|id| id.to_string())),
            ("directory.id", self.directory_id.map(|id| id.to_string())),
            ("version", Some(self.version.to_string())),
            ("cluster.id", self.cluster_id.clone()),
        ];
        for (key, value) in values {
            if let Some(value) = value {
                text.push_str(&format!("{key}={}\n", escape(&value)));
            }
        }
        text
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut meta = Self::default();
        let mut version = None;
        for (key, value) in properties(text) {
            let number = || value.parse::<i32>().map_err(|_| format!("{key}={value} is not a number"));
            match key.as_str() {
                "version" => version = Some(number()?),
                "cluster.id" => meta.cluster_id = Some(value),
                "node.id" | "broker.id" => meta.node_id = Some(number()?),
                "directory.id" => meta.directory_id = Some(value.parse().map_err(|e| format!("directory.id: {e}"))?),
                _ => {}
            }
        }
        match version {
            Some(known @ (0 | 1)) => Ok(Self { version: known, ..meta }),
            Some(other) => Err(format!("version {other} is not known")),
            None => Err("has no version".to_owned()),
        }
    }
}

/// Checks that formatted directories belong to one cluster and to this node, and that none is a copy of another.
///
/// # Errors
/// The first rule a directory breaks.
pub fn verify(
    dirs: &[(PathBuf, MetaProperties)],
    node_id: i32,
    cluster_id: Option<&str>,
) -> Result<(), MetaPropertiesError> {
    let first_cluster = || dirs.iter().find_map(|(_, meta)| meta.cluster_id.as_deref());
    let expected = cluster_id.or_else(first_cluster);
    for (index, (path, meta)) in dirs.iter().enumerate() {
        match (&meta.cluster_id, expected) {
            (None, _) => return Err(MetaPropertiesError::Missing { path: path.clone(), key: "cluster.id" }),
            (Some(found), Some(expected)) if found != expected => {
                return Err(MetaPropertiesError::Cluster {
                    path: path.clone(),
                    found: found.clone(),
                    expected: expected.to_owned(),
                });
            }
            _ => {}
        }
        match meta.node_id {
            None => return Err(MetaPropertiesError::Missing { path: path.clone(), key: "node.id" }),
            Some(found) if found != node_id => {
                return Err(MetaPropertiesError::Node { path: path.clone(), found, expected: node_id });
            }
            Some(_) => {}
        }
        let earlier = dirs.iter().take(index);
        if let (Some(id), Some((first, _))) =
            (meta.directory_id, earlier.into_iter().find(|(_, m)| m.directory_id == meta.directory_id))
        {
            return Err(MetaPropertiesError::SameDirectory { first: first.clone(), second: path.clone(), id });
        }
    }
    Ok(())
}

/// `java.util.Date.toString()` in UTC.
fn java_date(now: Wall) -> String {
    let at = OffsetDateTime::from_unix_timestamp(now.0.div_euclid(1000)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let short = |name: String| name.chars().take(3).collect::<String>();
    let (hour, minute, second) = at.to_hms();
    let (weekday, month) = (short(at.weekday().to_string()), short(at.month().to_string()));
    format!("{weekday} {month} {:02} {hour:02}:{minute:02}:{second:02} UTC {}", at.day(), at.year())
}

/// What `Properties.store` puts a backslash before, in a value.
fn escape(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for (at, c) in value.chars().enumerate() {
        if matches!(c, '=' | ':' | '#' | '!' | '\\') || (c == ' ' && at == 0) {
            text.push('\\');
        }
        text.push(c);
    }
    text
}

/// Keys and values of a properties text without continued lines, which `Properties.store` never writes.
fn properties(text: &str) -> impl Iterator<Item = (String, String)> {
    text.lines().map(str::trim_start).filter(|line| !line.is_empty() && !line.starts_with(['#', '!'])).map(|line| {
        let mut escaped = false;
        let end = line.find(|c: char| {
            let separates = !escaped && (matches!(c, '=' | ':') || c.is_ascii_whitespace());
            escaped = !escaped && c == '\\';
            separates
        });
        let (key, rest) = line.split_at(end.unwrap_or(line.len()));
        let rest = rest.trim_start();
        let value = rest.strip_prefix(['=', ':']).unwrap_or(rest).trim_start();
        (unescape(key), unescape(value))
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::FaultyDisk;

    const KAFKAS: &str = "#\n#Mon Nov 23 13:50:38 UTC 2026\nnode.id=1\ndirectory.id=1ShAuC8lofkxRPpTfnTlJw\nversion=1\n\
        cluster.id=MkU3OEVBNTcwNTJENDM2Qg\n";

    fn kafkas() -> MetaProperties {
        MetaProperties::new("MkU3OEVBNTcwNTJENDM2Qg", 1, "1ShAuC8lofkxRPpTfnTlJw".parse().unwrap())
    }

    #[test]
    fn the_text_is_kafkas() {
        assert_eq!(kafkas().text(Wall(1_795_441_838_123)), KAFKAS);
        assert_eq!(MetaProperties::parse(KAFKAS).unwrap(), kafkas());
        let disk = FaultyDisk::new();
        assert_eq!(MetaProperties::read(&disk, Path::new("/")).unwrap(), None);
        kafkas().write(&disk, Path::new("/"), Wall(1_795_441_838_123)).unwrap();
        assert_eq!(disk.read_file(Path::new("/meta.properties"), 999).unwrap(), KAFKAS.as_bytes());
        assert_eq!(MetaProperties::read(&disk, Path::new("/")).unwrap(), Some(kafkas()));
    }

    #[test]
    fn odd_texts_are_read_as_java_reads_them() {
        let meta = MetaProperties::parse("! c\n  version : 0\nbroker.id 7\ncluster.id=a\\=b\\:c\nx=y\n").unwrap();
        assert_eq!((meta.version, meta.node_id), (0, Some(7)));
        assert_eq!(meta.cluster_id.as_deref(), Some("a=b:c"));
        assert!(meta.text(Wall(0)).contains("cluster.id=a\\=b\\:c\n"));
        for text in ["", "version=2\n", "version=1\nnode.id=x\n", "version=1\ndirectory.id=short\n"] {
            assert!(MetaProperties::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn foreign_and_copied_directories_are_refused() {
        let dir = |name: &str, meta| (PathBuf::from(name), meta);
        let other = MetaProperties { directory_id: Some(Uuid::from_u128(9)), ..kafkas() };
        verify(&[dir("a", kafkas()), dir("b", other.clone())], 1, None).unwrap();
        verify(&[dir("a", kafkas())], 1, Some("MkU3OEVBNTcwNTJENDM2Qg")).unwrap();
        let refused = |dirs: &[_], node| verify(dirs, node, None).unwrap_err();
        assert!(matches!(refused(&[dir("a", kafkas())], 2), MetaPropertiesError::Node { found: 1, .. }));
        assert!(matches!(
            refused(&[dir("a", kafkas()), dir("b", kafkas())], 1),
            MetaPropertiesError::SameDirectory { .. }
        ));
        let foreign = MetaProperties { cluster_id: Some("x".into()), ..other };
        assert!(matches!(refused(&[dir("a", kafkas()), dir("b", foreign)], 1), MetaPropertiesError::Cluster { .. }));
    }
}
