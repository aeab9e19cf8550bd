//! How fast a batch is validated: CRC and walk, uncompressed and in each codec. `cargo bench --bench validate`.
//!
//! One thread, batches of 1 MiB before compression, again and again from a ring that is larger than the caches; the
//! figure is bytes of records, before compression, per second. The first line is the CRC alone: the limit of all others.
#![expect(clippy::disallowed_methods, reason = "a bench asks the clock")]
#![expect(clippy::print_stdout, reason = "its result")]
#![expect(clippy::unwrap_used, reason = "a bench may fail")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::Bytes;
use schloss::log::config::LogConfig;
use schloss::log::validator::{Origin, Rules, Scratch, validate};
use schloss::model::compression::{CompressionType, TimestampType};
use schloss::model::time::Wall;
use schloss::protocol::record_batch::{BatchBuilder, CRC_COVERED_FROM};

const NOW: i64 = 1_800_000_000_000;
const BATCH_BYTES: usize = 1 << 20;
/// Batches in the ring: 64 MiB.
const RING: usize = 64;
const RUN: Duration = Duration::from_millis(700);

/// Values of a fixed length: JSON with numbers that differ, which every codec makes about three times smaller.
fn batch(seed: u64, value_len: usize, limit: usize, codec: CompressionType) -> (Bytes, usize) {
    let mut state = seed | 1;
    let mut builder = BatchBuilder::new(0).limit(limit).compression(codec);
    loop {
        let mut value = String::new();
        while value.len() < value_len {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            value.push_str(&format!("{{\"user\":{},\"state\":\"ok\",\"amount\":{}}},", state >> 40, state & 0xffff));
        }
        let value = &value.as_bytes()[..value_len];
        if builder.append(NOW, None, Some(value), &[]).is_err() {
            break;
        }
    }
    let size = builder.size_in_bytes();
    (builder.build(), size)
}

fn measure(name: &str, ring: &[(Bytes, usize)], mut each: impl FnMut(&Bytes)) {
    let start = Instant::now();
    let (mut bytes, mut batches) = (0, 0_u32);
    while start.elapsed() < RUN {
        for (batch, size) in ring {
            each(batch);
            bytes += size;
            batches += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let gb = f64::from(u32::try_from(bytes / 1000).unwrap()) / 1e6;
    println!("{name:44} {:7.2} GB/s {:9.2} us/batch", gb / seconds, seconds * 1e6 / f64::from(batches));
}

fn main() {
    let rules = Rules { max_message_bytes: 2 << 20, ..Rules::new(Origin::Client, &LogConfig::default(), Wall(NOW)) };
    let mut scratch = Scratch::default();
    for value_len in [1024, 100, 10] {
        let ring: Vec<_> = (0..RING)
            .map(|seed| batch(u64::try_from(seed).unwrap() << 20, value_len, BATCH_BYTES, CompressionType::None))
            .collect();
        measure(&format!("crc alone, {value_len} B records"), &ring, |bytes| {
            black_box(crc32c::crc32c(&bytes[CRC_COVERED_FROM..]));
        });
        measure(&format!("validate, {value_len} B records"), &ring, |bytes| {
            black_box(validate(bytes.clone(), &rules, &mut scratch).unwrap());
        });
        let append_time = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules };
        measure(&format!("validate, {value_len} B records, LogAppendTime"), &ring, |bytes| {
            black_box(validate(bytes.clone(), &append_time, &mut scratch).unwrap());
        });
    }
    let small: Vec<_> = (0..4096).map(|seed| batch(seed << 20, 100, 300, CompressionType::None)).collect();
    measure("validate, batches of two 100 B records", &small, |bytes| {
        black_box(validate(bytes.clone(), &rules, &mut scratch).unwrap());
    });
    let append_time = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules };
    measure("the same, LogAppendTime", &small, |bytes| {
        black_box(validate(bytes.clone(), &append_time, &mut scratch).unwrap());
    });
    for codec in [CompressionType::Gzip, CompressionType::Snappy, CompressionType::Lz4, CompressionType::Zstd] {
        let ring: Vec<_> = (0..16).map(|seed| batch(seed << 20, 1024, BATCH_BYTES, codec)).collect();
        measure(&format!("validate, 1 KiB records, {}", codec.name()), &ring, |bytes| {
            black_box(validate(bytes.clone(), &rules, &mut scratch).unwrap());
        });
    }
}
