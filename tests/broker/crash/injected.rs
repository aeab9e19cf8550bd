//! System calls of the running broker fail by strace's hand: a second opinion on the in-memory faulty disk. Whatever
//! fails, and whenever, nothing acknowledged is lost, and the next start on a good disk works.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use super::promises::TOPIC_ALREADY_EXISTS;
use super::records::{Producer, Round};
use super::{PARTITIONS, Victim};
use crate::support::{Broker, PATIENCE, strace};

/// How long a broker whose calls never fail is watched.
const WATCHED: Duration = Duration::from_millis(1500);

/// Call, error, and which calls of each thread fail: once, or all from that on. `write` is left out: threads wake each
/// other by it.
const FAULTS: [(&str, &str, &str); 16] = [
    ("pwritev", "ENOSPC", "1"),
    ("pwritev", "ENOSPC", "4+"),
    ("pwritev", "EIO", "2"),
    ("pwritev", "EIO", "25"),
    ("fdatasync", "EIO", "1"),
    ("fdatasync", "EIO", "3"),
    ("fdatasync", "EIO", "12"),
    ("fdatasync", "EIO", "40"),
    ("fsync", "EIO", "1"),
    ("fsync", "EIO", "5"),
    ("fsync", "EIO", "15"),
    ("rename", "EIO", "1"),
    ("rename", "EIO", "4"),
    ("rename", "ENOSPC", "8"),
    ("ftruncate", "EIO", "2"),
    ("mkdir", "ENOSPC", "3"),
];

#[test]
fn no_failing_call_loses_what_was_acknowledged() {
    if strace().is_none() {
        return;
    }
    let (mut refused, mut ended, mut served) = (0, 0, 0);
    for (call, error, which) in FAULTS {
        let fault = format!("{call}:error={error}:when={which}");
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let victim = Victim::with(dir, data, "log.flush.interval.messages=50\n");
        let mut failing = Broker::launch_injected(&["serve", victim.config.to_str().unwrap()], &fault);
        let start = Instant::now();
        while TcpStream::connect(victim.address).is_err() && !failing.has_ended() && start.elapsed() < PATIENCE {
            thread::sleep(Duration::from_millis(10));
        }
        let mut producers: Vec<Producer> = match victim.try_create_topic() {
            Ok(0) => (0..PARTITIONS).filter_map(|partition| Producer::try_new(victim.address, partition)).collect(),
            _ => Vec::new(),
        };
        let round = &Round::default();
        let is_idle = producers.is_empty();
        thread::scope(|scope| {
            for producer in &mut producers {
                scope.spawn(move || producer.run(victim.address, round, usize::MAX));
            }
            let start = Instant::now();
            while !failing.has_ended() && start.elapsed() < WATCHED {
                thread::sleep(Duration::from_millis(10));
            }
            match (failing.has_ended(), is_idle) {
                (true, true) => refused += 1,
                (true, false) => ended += 1,
                (false, _) => served += 1,
            }
            if failing.has_ended() {
                assert_ne!(failing.wait(), Some(0), "{fault}: {}", failing.output());
            }
            failing.kill();
        });
        let output = failing.output();
        assert!(!output.contains("panicked"), "{fault}: {output}");

        let mut broker = victim.start();
        let made = victim.try_create_topic().unwrap();
        assert!([0, TOPIC_ALREADY_EXISTS].contains(&made), "{fault}: {made}");
        let seen = |producers: &[Producer]| {
            let lost = victim.check_records(producers).err();
            assert_eq!(lost, None, "{fault}\nbefore:\n{output}\nafter:\n{}", broker.output());
        };
        seen(&producers);
        for producer in &mut producers {
            producer.run(victim.address, &Round::default(), 3);
            assert!(producer.unanswered.is_empty(), "{fault}: the last batches are unanswered");
        }
        seen(&producers);
        assert_eq!(broker.stop(), Some(0), "{fault}: {}", broker.output());
    }
    println!("{} faults: {refused} starts refused, {ended} brokers ended, {served} served on", FAULTS.len());
    assert!(refused > 0 && ended > 0 && served == 0, "{refused} refused, {ended} ended, {served} served on");
}
