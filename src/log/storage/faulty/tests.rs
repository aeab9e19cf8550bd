use super::content::PAGE;
use super::*;

fn disk_with_file(content: &[u8]) -> (FaultyDisk, Arc<dyn DiskFile>) {
    let disk = FaultyDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    let file = disk.open(Path::new("/d/f"), Open::CREATE).unwrap();
    file.write_all(&[content], 0).unwrap();
    (disk, file)
}

fn content(disk: &FaultyDisk, path: &str) -> io::Result<Vec<u8>> {
    disk.read_file(Path::new(path), 1 << 30)
}

#[test]
fn a_power_cut_takes_what_was_not_synced() {
    let (disk, file) = disk_with_file(b"synced");
    file.sync().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.power_cut(None);
    assert!(content(&disk, "/d/f").is_err(), "the name was not synced");

    let (disk, file) = disk_with_file(b"synced");
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.write_all(&[b"lost"], 6).unwrap();
    disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
    assert_eq!(content(&disk, "/d/g").unwrap(), b"syncedlost");
    disk.power_cut(None);
    assert_eq!(content(&disk, "/d/f").unwrap(), b"synced");
    assert!(content(&disk, "/d/g").is_err());
}

#[test]
fn a_failed_sync_loses_the_pages_for_good() {
    let (disk, file) = disk_with_file(b"lost");
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.plan(Fault { operation: Some(Operation::Sync), nth: 0, effect: Effect::Fail });
    file.sync().unwrap_err();
    file.sync().unwrap();
    disk.power_cut(None);
    assert_eq!(content(&disk, "/d/f").unwrap(), [0; 4]);
}

#[test]
fn short_writes_are_finished_and_a_full_disk_stays_full() {
    let (disk, file) = disk_with_file(b"");
    disk.plan(Fault { operation: Some(Operation::Write), nth: 0, effect: Effect::Short(2) });
    file.write_all(&[b"abc", b"def"], 0).unwrap();
    assert_eq!(content(&disk, "/d/f").unwrap(), b"abcdef");
    disk.plan(Fault { operation: Some(Operation::Write), nth: 0, effect: Effect::Full(1) });
    assert_eq!(file.write_all(&[b"xyz"], 6).unwrap_err().kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk, "/d/f").unwrap(), b"abcdefx");
    assert_eq!(file.write_all(&[b"y"], 7).unwrap_err().kind(), ErrorKind::StorageFull);
    disk.heal();
    file.write_all(&[b"y"], 7).unwrap();
}

#[test]
fn a_cut_file_grows_again_with_zeros() {
    let (disk, file) = disk_with_file(&[9; 3 * PAGE]);
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    file.set_len(10).unwrap();
    file.set_len(to_u64(2 * PAGE)).unwrap();
    file.sync().unwrap();
    disk.power_cut(None);
    let after = content(&disk, "/d/f").unwrap();
    assert_eq!(after.len(), 2 * PAGE);
    assert!(after[..10].iter().all(|&b| b == 9) && after[10..].iter().all(|&b| b == 0));
}

#[test]
fn directories_move_with_all_in_them() {
    let (disk, _file) = disk_with_file(b"x");
    disk.rename(Path::new("/d"), Path::new("/e")).unwrap();
    assert_eq!(content(&disk, "/e/f").unwrap(), b"x");
    assert_eq!(disk.list(Path::new("/e")).unwrap().len(), 1);
    disk.remove_dir(Path::new("/e")).unwrap();
    assert!(disk.list(Path::new("/e")).is_err());
}

#[test]
fn a_disk_that_lies_loses_what_it_said_it_had() {
    let (disk, file) = disk_with_file(b"there");
    file.sync().unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.pretend_syncs(true);
    file.write_all(&[b"gone!"], 0).unwrap();
    file.sync().unwrap();
    let copy = disk.copy();
    disk.power_cut(None);
    assert_eq!(content(&disk, "/d/f").unwrap(), b"there");
    assert_eq!(content(&copy, "/d/f").unwrap(), b"gone!");
}
