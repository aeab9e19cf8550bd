//! Opening what a crash, damage, or a missing file left.

use super::*;
use crate::log::storage::Open;

/// Five batches; offsets of the batches and where each begins in the file.
fn five() -> (Bench, Vec<u8>, Vec<(i64, usize)>) {
    let bench = Bench::with(|config| config.index_interval_bytes = 100);
    let mut log = bench.open(false);
    let mut starts = Vec::new();
    for (n, text) in ["a", "bb", "", "dddd", "e"].iter().enumerate() {
        let at = if n == 0 { 0 } else { bench.len(&log_name(0)) as usize };
        let values = [*text, "second"];
        let batch = if n == 3 { plain(&values, 4) } else { from_producer(1, 0, [0, 2, 4, 0, 6][n], &values) };
        starts.push((append(&mut log, &batch).unwrap().base_offset, at));
    }
    let bytes = bench.file(&log_name(0));
    (bench, bytes, starts)
}

fn with_log(bytes: &[u8]) -> Bench {
    let bench = Bench::with(|config| config.index_interval_bytes = 100);
    let path = Path::new(DIR).join(log_name(0));
    bench.disk.open(&path, Open::CREATE).unwrap().write_all(&[bytes], 0).unwrap();
    bench
}

#[test]
fn a_tail_torn_at_any_byte_is_cut_to_the_longest_valid_prefix() {
    let (_, bytes, starts) = five();
    for cut in 0..bytes.len() {
        let bench = with_log(&bytes[..cut]);
        let mut log = bench.open(false);
        let whole = starts.iter().skip(1).filter(|(_, at)| *at <= cut).count();
        assert_eq!(log.log_end_offset(), whole as i64 * 2, "cut at {cut}");
        assert_eq!(bench.len(&log_name(0)), if cut == bytes.len() { cut } else { starts[whole].1 } as u64);
        assert_eq!(log.recovery().bytes_cut, (cut - starts[whole].1) as u64);
        // The producers are those of the prefix: what is missing of them may be sent again.
        if whole < 5 && whole != 3 {
            let text = ["a", "bb", "", "", "e"][whole];
            let again = from_producer(1, 0, [0, 2, 4, 0, 6][whole], &[text, "second"]);
            assert!(!append(&mut log, &again).unwrap().duplicate, "cut at {cut}");
        }
    }
    assert_eq!(with_log(&bytes).open(false).log_end_offset(), 10);
}

#[test]
fn a_flipped_byte_anywhere_is_found() {
    let (bench, bytes, starts) = five();
    let expected = texts(&bench.open(false));
    for at in 0..bytes.len() {
        let batch = starts.iter().rposition(|(_, start)| *start <= at).unwrap();
        let within = at - starts[batch].1;
        for mask in [0x01, 0x80, 0xff] {
            let mut damaged = bytes.clone();
            damaged[at] ^= mask;
            let log = with_log(&damaged).open(false);
            let end = log.log_end_offset();
            match within {
                // The leader epoch is the one field that nothing else tells.
                12..16 => assert!(end == 10, "byte {at} of mask {mask}"),
                _ => assert_eq!(end, starts[batch].0, "byte {at} of mask {mask}"),
            }
            assert_eq!(texts(&log)[..batch * 2], expected[..batch * 2]);
        }
    }
}

#[test]
fn damage_in_a_segment_drops_what_is_behind_it() {
    let bench = Bench::with(|config| config.segment_bytes = 150);
    let mut log = bench.open(false);
    for n in 0..6 {
        append(&mut log, &from_producer(1, 0, n, &[&format!("{n}{}", "x".repeat(30))])).unwrap();
    }
    assert_eq!(log.view().segment_count(), 6);
    drop(log);
    let file = bench.disk.open(&Path::new(DIR).join(log_name(3)), Open::ReadWrite).unwrap();
    file.write_all(&[b"!"], 70).unwrap();
    let log = bench.open(false);
    assert_eq!((log.log_end_offset(), log.recovery().segments_dropped), (3, 2));
    assert_eq!(texts(&log).len(), 3);
    assert_eq!(log.producers().get(1).unwrap().last_sequence(), 2);
    // Before the recovery point nothing is read again: that part was durable.
    let bench = Bench { recovery_point: 3, ..bench };
    assert_eq!(bench.open(false).recovery().segments_read, 1);
}

/// A snapshot has the newest batch of a producer only: the four before it must be found in the segments before.
#[test]
fn the_last_five_batches_are_known_after_a_crash_wherever_segments_end() {
    for recovery_point in 0..=12 {
        let bench = Bench::with(|config| config.segment_bytes = 150);
        let mut log = bench.open(false);
        let batch = |n: i32| from_producer(1, 0, n, &[&format!("{n}{}", "x".repeat(30))]);
        for n in 0..12 {
            append(&mut log, &batch(n)).unwrap();
        }
        assert_eq!(log.view().segment_count(), 12);
        drop(log);
        let snapshots = bench.names().iter().filter(|name| name.ends_with(".snapshot")).count();
        let bench = Bench { recovery_point, ..bench };
        let mut log = bench.open(false);
        for n in 7..12 {
            let again = append(&mut log, &batch(n)).unwrap();
            assert!(again.duplicate && again.base_offset == i64::from(n), "{n} behind {recovery_point}");
        }
        assert!(!append(&mut log, &batch(12)).unwrap().duplicate);
        drop(log);
        let after = bench.names().iter().filter(|name| name.ends_with(".snapshot")).count();
        assert!(after >= snapshots, "snapshots of segments that stay are kept");
    }
}

#[test]
fn missing_and_bad_indexes_are_rebuilt_even_after_a_clean_stop() {
    let bench = Bench::with(|config| {
        config.segment_bytes = 400;
        config.index_interval_bytes = 100;
    });
    let mut log = bench.open(false);
    for n in 0..20 {
        append(&mut log, &plain(&[&format!("{n}{}", "x".repeat(20))], n)).unwrap();
    }
    log.close().unwrap();
    let before: Vec<(String, Vec<u8>)> =
        bench.names().into_iter().map(|name| (name.clone(), bench.file(&name))).collect();
    let second = crate::log::file_name::offset_of(
        &bench.names().iter().filter(|n| n.ends_with(".log")).nth(1).unwrap().clone(),
        ".log",
    )
    .unwrap();
    for suffix in [".index", ".timeindex"] {
        let path = crate::log::file_name::path_of(Path::new(DIR), second, suffix);
        bench.disk.remove_file(&path).unwrap();
        let log = bench.open(true);
        assert_eq!((log.recovery().indexes_rebuilt, log.recovery().segments_read, all(&log).len()), (1, 0, 20));
        log.close().unwrap();
        bench.disk.open(&path, Open::ReadWrite).unwrap().set_len(5).unwrap();
        let log = bench.open(true);
        assert_eq!((log.recovery().indexes_rebuilt, all(&log).len()), (1, 20));
        log.close().unwrap();
    }
    let after: Vec<(String, Vec<u8>)> =
        bench.names().into_iter().map(|name| (name.clone(), bench.file(&name))).collect();
    assert_eq!(before, after, "rebuilt byte for byte");
}

#[test]
fn a_torn_tail_is_cut_even_behind_a_clean_mark() {
    let (_, bytes, _) = five();
    let bench = with_log(&bytes);
    bench.open(false).close().unwrap();
    bench
        .disk
        .open(&Path::new(DIR).join(log_name(0)), Open::ReadWrite)
        .unwrap()
        .write_all(&[&bytes[..40]], bytes.len() as u64)
        .unwrap();
    let mut log = bench.open(true);
    assert_eq!((log.log_end_offset(), log.recovery().bytes_cut), (10, 40));
    assert_eq!(put(&mut log, "next"), 10);
    assert_eq!(texts(&log).len(), 11);
}

#[test]
fn lost_files_other_than_the_log_are_made_again() {
    let (_, bytes, _) = five();
    let bench = with_log(&bytes);
    let mut log = bench.open(false);
    log.append_as_leader(&plain(&["epoch"], 1), AppendOrigin::Client, 6, Wall(0)).unwrap();
    log.close().unwrap();
    for name in bench.names() {
        if !name.ends_with(".log") {
            bench.disk.remove_file(&Path::new(DIR).join(name)).unwrap();
        }
    }
    let mut log = bench.open(false);
    assert_eq!(bench.file("leader-epoch-checkpoint"), b"0\n2\n0 0\n6 10\n");
    assert!(append(&mut log, &from_producer(1, 0, 6, &["e", "second"])).unwrap().duplicate);
    drop(log);
    // Also where only the snapshot is gone and the stop was clean: the producers are read from the log.
    bench.open(false).close().unwrap();
    bench.disk.remove_file(&Path::new(DIR).join("00000000000000000011.snapshot")).unwrap();
    assert!(append(&mut bench.open(true), &from_producer(1, 0, 6, &["e", "second"])).unwrap().duplicate);
}

#[test]
fn leftovers_go_and_a_finished_compaction_takes_its_place() {
    let (_, bytes, starts) = five();
    let mut bench = with_log(&bytes);
    bench.config.cleanup_policy.compact = true;
    let make = |name: &str, content: &[u8]| {
        bench.disk.open(&Path::new(DIR).join(name), Open::TRUNCATE).unwrap().write_all(&[content], 0).unwrap();
    };
    make("00000000000000000007.log.deleted", b"x");
    make("00000000000000000000.log.cleaned", b"x");
    make("00000000000000000099.index", b"orphan");
    // A compaction of the first four batches had come to its end.
    make("00000000000000000000.log.swap", &bytes[starts[1].1..starts[4].1]);
    make("00000000000000000000.index.swap", b"");
    make("00000000000000000008.log", &bytes[starts[4].1..]);
    make("00000000000000000002.log", &bytes[starts[1].1..starts[2].1]);
    let log = bench.open(false);
    assert_eq!(all(&log).iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(
        bench
            .names()
            .iter()
            .all(|name| !name.contains("swap") && !name.contains("cleaned") && !name.contains("deleted"))
    );
    assert!(!bench.names().contains(&"00000000000000000099.index".to_owned()));
}

#[test]
fn old_message_formats_are_left_as_they_are() {
    // A v1 message: offset, size, CRC, magic, attributes, timestamp, null key, value.
    let mut message = vec![1, 0];
    message.extend(5_i64.to_be_bytes());
    message.extend((-1_i32).to_be_bytes());
    message.extend(3_i32.to_be_bytes());
    message.extend(b"old");
    let mut crc = flate2::Crc::new();
    crc.update(&message);
    let mut bytes = 0_i64.to_be_bytes().to_vec();
    bytes.extend((message.len() as i32 + 4).to_be_bytes());
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend(&message);
    for copies in [1, 3] {
        let file = bytes.repeat(copies);
        let bench = with_log(&file);
        assert!(matches!(bench.try_open(false), Err(OpenError::OldFormat(_))), "{copies} messages");
        assert_eq!(bench.file(&log_name(0)), file);
    }
}

#[test]
fn a_log_that_ends_before_its_start_is_dropped() {
    let (_, bytes, _) = five();
    let bench = Bench { log_start: 50, ..with_log(&bytes) };
    let mut log = bench.open(false);
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (50, 50));
    assert_eq!(put(&mut log, "x"), 50);
}
