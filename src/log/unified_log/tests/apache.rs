//! Apache Kafka's dump tool reads our files. Needs a wrapper around its command-line tools (`wrapper dump-log --files …`)
//! in `SCHLOSS_KAFKA_CLI`; without it the test is skipped by name.

use std::process::Command;

use super::*;
use crate::log::storage::RealDisk;
use crate::model::compression::CompressionType;

const CODECS: [CompressionType; 5] = [
    CompressionType::None,
    CompressionType::Gzip,
    CompressionType::Snappy,
    CompressionType::Lz4,
    CompressionType::Zstd,
];

/// A log with everything in it: codecs, epochs, producers, an abort and a commit, several segments, a clean close.
fn write_log(dir: &Path) {
    let bench = Bench::new();
    let mut log = UnifiedLog::open(OpenLog {
        disk: Arc::new(RealDisk),
        dir: dir.to_owned(),
        log_dir: Arc::new(LogDir::new(dir.parent().unwrap(), None, None)),
        topic_partition: TopicPartition::new("t", 0),
        topic_id: TopicId::ZERO,
        config: Arc::new(LogConfig { segment_bytes: 16_000, ..bench.config }),
        log_start_offset: 0,
        recovery_point: 0,
        high_watermark: 0,
        compacted: false,
        clean: false,
        now: Wall(0),
        seed: 1,
    })
    .unwrap();
    for n in 0..100_i32 {
        let mut builder = BatchBuilder::new(0).compression(CODECS[n as usize % 5]).producer(9, 0, n * 3);
        for record in 0..3_i64 {
            let value = format!("{n}.{record} {}", "value ".repeat(60));
            let headers: [(&[u8], Option<&[u8]>); 1] = [(b"h", None)];
            builder.append(i64::from(n) * 10 - record, Some(b"key"), Some(value.as_bytes()), &headers).unwrap();
        }
        let batch = checked(builder.build(), Wall(0));
        log.append_as_leader(&batch, AppendOrigin::Client, n / 40, Wall(0)).unwrap();
        if n % 20 == 0 {
            append_in_epoch(&mut log, &transactional(1, n / 20, "in a transaction"), n / 40);
            append_in_epoch(&mut log, &end_of_txn(1, n % 40 == 0), n / 40);
        }
    }
    log.update_high_watermark(i64::MAX).unwrap();
    assert!(log.view().segment_count() >= 2);
    log.close().unwrap();
}

fn append_in_epoch(log: &mut UnifiedLog, batch: &ValidatedBatch, epoch: i32) {
    log.append_as_leader(batch, AppendOrigin::Coordinator, epoch, Wall(0)).unwrap();
}

#[test]
fn the_dump_tool_reads_every_file() {
    let Ok(wrapper) = std::env::var("SCHLOSS_KAFKA_CLI") else {
        assert!(std::env::var("SCHLOSS_REQUIRE_TOOLS").is_err(), "SCHLOSS_KAFKA_CLI is not set");
        println!("skipped: SCHLOSS_KAFKA_CLI is not set");
        return;
    };
    let temp = tempfile::tempdir().unwrap();
    let dir = temp.path().join("t-0");
    RealDisk.create_dir(&dir).unwrap();
    write_log(&dir);
    let mut files: Vec<String> = RealDisk.list(&dir).unwrap().into_iter().map(|entry| entry.name).collect();
    files.retain(|name| name.starts_with("000"));
    files.sort();
    let paths: Vec<String> = files.iter().map(|name| dir.join(name).display().to_string()).collect();
    let output = Command::new(&wrapper)
        .args(["dump-log", "--deep-iteration", "--print-data-log", "--files", &paths.join(",")])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    for bad in ["invalid", "Mismatch", "mismatch", "corrupt", "missing", "isvalid: false", "Exception"] {
        assert!(!text.contains(bad) && !errors.contains(bad), "{bad} in:\n{text}\n{errors}");
    }
    for suffix in [".log", ".index", ".timeindex", ".snapshot", ".txnindex"] {
        assert!(files.iter().any(|name| name.ends_with(suffix)), "no {suffix}");
    }
    // The tool says this of the first record of every segment but the first.
    assert_eq!(text.matches(" is followed by ").count(), text.matches("  -1 is followed by ").count());
    assert_eq!(text.matches("payload: ").count(), 305);
    assert_eq!(text.matches("endTxnMarker: COMMIT").count(), 3);
    assert_eq!(text.matches("endTxnMarker: ABORT").count(), 2);
}
