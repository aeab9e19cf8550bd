//! A power cut: the file system is shut down under a running broker without writing its journal, so that what was not
//! synced is gone. Needs root and loop devices.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Load, Victim};
use crate::support::{Broker, program, run};

/// Cuts of the short form; `SCHLOSS_POWER_CUTS` asks for more.
const CUTS: usize = 3;
const IMAGE_BYTES: u64 = 2 << 30;

/// An ext4 file system in a file, mounted.
struct Disk {
    image: PathBuf,
    mounted: PathBuf,
}

impl Disk {
    /// `None` where this machine lets nobody mount.
    fn new(dir: &Path) -> Option<Self> {
        if ["mkfs.ext4", "mount", "umount", "python3"].map(program).contains(&None) {
            return None;
        }
        let (image, mounted) = (dir.join("disk.img"), dir.join("disk"));
        std::fs::File::create(&image).unwrap().set_len(IMAGE_BYTES).unwrap();
        std::fs::create_dir(&mounted).unwrap();
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image), "").expect(0, "");
        let disk = Self { image, mounted };
        disk.mount().then_some(disk)
    }

    fn mount(&self) -> bool {
        let finished = run(Command::new("mount").args(["-o", "loop"]).arg(&self.image).arg(&self.mounted), "");
        if finished.code != Some(0) {
            eprintln!("{}", finished.text());
        }
        finished.code == Some(0)
    }

    /// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH`: from here on nothing reaches the disk.
    fn cut(&self) {
        let ioctl = "import fcntl, os, struct, sys\n\
                     fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587d, struct.pack('I', 2))";
        run(Command::new("python3").args(["-c", ioctl]).arg(&self.mounted), "").expect(0, "");
    }

    /// The power comes back: what is on the disk is all there is.
    fn come_back(&self) {
        run(Command::new("umount").arg(&self.mounted), "").expect(0, "");
        assert!(self.mount());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mounted), "");
    }
}

fn signal(broker: &Broker, name: &str) {
    run(Command::new("kill").args([name, &broker.pid().to_string()]), "").expect(0, "");
}

#[test]
fn what_was_acknowledged_outlives_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(dir.path()) else {
        eprintln!("skipped: this machine mounts no file in a loop (root and loop devices are needed)");
        return;
    };
    let victim =
        Victim::with(tempfile::tempdir().unwrap(), disk.mounted.join("data"), "log.flush.interval.messages=1\n");
    let mut broker = victim.start();
    victim.create_topic();
    let mut load = Load::new(victim.address);
    let cuts = std::env::var("SCHLOSS_POWER_CUTS").map_or(CUTS, |cuts| cuts.parse().unwrap());
    for cut in 0..cuts {
        load.until(victim.address, u64::try_from(cut % 10 * 17).unwrap(), || {
            // It stands still at the moment of the cut, and hears nothing of the disk's end.
            signal(&broker, "-STOP");
            disk.cut();
            broker.kill();
        });
        disk.come_back();
        broker = victim.start();
        victim.check(&load).unwrap_or_else(|fault| panic!("after cut {cut}: {fault}\n{}", broker.output()));
    }
    load.finish(victim.address);
    victim.check(&load).unwrap();
    println!("{cuts} power cuts: {}", load.acknowledged());
    assert_eq!(broker.stop(), Some(0));
}

/// The proof that the test above could fail: without a sync before the answer, records are lost.
#[test]
fn what_was_not_synced_is_lost_by_a_power_cut() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = Disk::new(dir.path()) else {
        eprintln!("skipped: this machine mounts no file in a loop (root and loop devices are needed)");
        return;
    };
    let victim = Victim::with(
        tempfile::tempdir().unwrap(),
        disk.mounted.join("data"),
        "log.flush.interval.ms=3600000\nlog.segment.bytes=1073741824\n",
    );
    let mut broker = victim.start();
    victim.create_topic();
    let mut load = Load::new(victim.address);
    load.until(victim.address, 0, || {
        signal(&broker, "-STOP");
        disk.cut();
        broker.kill();
    });
    disk.come_back();
    broker = victim.start();
    let fault = victim.check_records(&load.producers).unwrap_err();
    assert!(fault.contains("is lost"), "{fault}\n{}", broker.output());
}
