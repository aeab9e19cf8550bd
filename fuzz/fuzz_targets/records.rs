//! Batches as producers send them, with a checksum that is made good so that what is behind it is reached.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use schloss::log::config::LogConfig;
use schloss::log::validator::{Origin, Rules, Scratch, TargetCompression, validate};
use schloss::model::compression::{CompressionType, TimestampType};
use schloss::model::time::Wall;
use schloss::protocol::record_batch::{CRC_COVERED_FROM, batches};

fuzz_target!(|data: &[u8]| {
    let [settings, batch @ ..] = data else { return };
    let mut batch = batch.to_vec();
    if settings & 1 == 0 && batch.len() > CRC_COVERED_FROM {
        let crc = crc32c::crc32c(&batch[CRC_COVERED_FROM..]);
        batch[CRC_COVERED_FROM - 4..CRC_COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
        let length = u32::try_from(batch.len() - 12).unwrap_or(0);
        batch[8..12].copy_from_slice(&length.to_be_bytes());
    }
    let mut rules = Rules::new(Origin::Client, &LogConfig::default(), Wall(1_800_000_000_000));
    if settings & 2 != 0 {
        rules.timestamp_type = TimestampType::LogAppendTime;
    }
    if settings & 4 != 0 {
        rules.compacted = true;
    }
    if let Some(codec) = CompressionType::from_id(settings >> 3 & 7) {
        rules.compression = Some(TargetCompression { codec, level: None });
    }
    let mut scratch = Scratch::default();
    if let Ok(valid) = validate(Bytes::from(batch), &rules, &mut scratch) {
        // What was taken is read back by whoever consumes it, and taken again by the next broker.
        let mut stored = valid.header_bytes(7, 3).to_vec();
        stored.extend_from_slice(valid.record_bytes());
        let stored = Bytes::from(stored);
        for batch in batches(&stored) {
            let batch = batch.expect("a batch that was taken");
            if batch.header().codec() == Some(CompressionType::None) {
                assert!(batch.records().all(|record| record.is_ok()), "a record that was taken");
            }
        }
    }
});
