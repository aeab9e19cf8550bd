//! `partition.metadata`: which incarnation of a topic a partition's directory belongs to (`PartitionMetadataFile`).
//!
//! Two lines without a newline at the end. Without the file Kafka takes a directory for a stray one and starts the
//! partition empty, so it is written, durably, before the first record.

use std::io;
use std::path::Path;

use super::file_name::PARTITION_METADATA;
use super::storage::Disk;
use crate::model::topic::TopicId;
use crate::model::uuid::Uuid;

const FILE_MAX: u64 = 4096;

/// Writes the file of a partition's directory; durable when it returns.
///
/// # Errors
/// Whatever the disk answers.
pub fn write(disk: &dyn Disk, dir: &Path, topic_id: TopicId) -> io::Result<()> {
    disk.replace_file(&dir.join(PARTITION_METADATA), format!("version: 0\ntopic_id: {topic_id}").as_bytes())
}

/// Reads the file of a partition's directory; `None` where there is none.
///
/// # Errors
/// `InvalidData` for a file that is not version 0 with an id; whatever the disk answers.
pub fn read(disk: &dyn Disk, dir: &Path) -> io::Result<Option<TopicId>> {
    let path = dir.join(PARTITION_METADATA);
    let bytes = match disk.read_file(&path, FILE_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let found = str::from_utf8(&bytes).ok().and_then(parse);
    found.map(Some).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{} holds no topic id of version 0", path.display()))
    })
}

fn parse(text: &str) -> Option<TopicId> {
    let mut lines = text.lines();
    let version = lines.next()?.strip_prefix("version:")?.trim();
    let id: Uuid = lines.next()?.strip_prefix("topic_id:")?.trim().parse().ok()?;
    (version == "0" && !id.is_zero()).then_some(TopicId(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::storage::FaultyDisk;

    #[test]
    fn it_is_43_bytes_without_a_newline() {
        let disk = FaultyDisk::new();
        let id = TopicId("HHnIV-EsThCbqlI9qdk6dQ".parse().unwrap());
        write(&disk, Path::new("/"), id).unwrap();
        let path = Path::new("/partition.metadata");
        assert_eq!(disk.read_file(path, 99).unwrap(), b"version: 0\ntopic_id: HHnIV-EsThCbqlI9qdk6dQ");
        assert_eq!(read(&disk, Path::new("/")).unwrap(), Some(id));
    }

    #[test]
    fn a_missing_file_is_no_id_and_a_bad_one_an_error() {
        let disk = FaultyDisk::new();
        assert_eq!(read(&disk, Path::new("/")).unwrap(), None);
        for text in ["", "version: 1\ntopic_id: HHnIV-EsThCbqlI9qdk6dQ", "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA"]
        {
            disk.replace_file(Path::new("/partition.metadata"), text.as_bytes()).unwrap();
            assert_eq!(read(&disk, Path::new("/")).unwrap_err().kind(), io::ErrorKind::InvalidData, "{text:?}");
        }
    }
}
