//! Readers beside the writer: what they see is whole, in order, and never past the end they were told.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::log::view::ReadError;

/// Follows the log from its start until `end`; returns how often it had to begin anew at the log start.
fn follow(view: &LogView, end: i64, done: &AtomicBool) -> Result<u32, String> {
    let (mut next, mut restarts) = (0, 0);
    while next < end {
        // Asked before reading: what is read afterwards is all there will be.
        let finished = done.load(Ordering::Acquire);
        let request = ReadRequest {
            from: next,
            max_bytes: 2000,
            up_to: UpTo::HighWatermark,
            at_least_one: true,
            access: Access::Blocking,
        };
        let slice = match view.read(&request) {
            Ok(slice) => slice,
            Err(ReadError::OffsetOutOfRange { log_start, .. }) if log_start > next => {
                (next, restarts) = (log_start, restarts + 1);
                continue;
            }
            Err(error) => return Err(error.to_string()),
        };
        let ends = slice.ends;
        if ends.last_stable.offset > ends.high_watermark.offset || ends.high_watermark.offset > ends.log_end.offset {
            return Err(format!("ends out of order: {ends:?}"));
        }
        let Some(range) = slice.range else {
            if finished && ends.high_watermark.offset < end {
                return Err(format!("stuck at {next} of {ends:?}"));
            }
            std::thread::yield_now();
            continue;
        };
        let mut bytes = vec![0; range.len as usize];
        range.read_at(0, &mut bytes).map_err(|error| error.to_string())?;
        for batch in batches(&bytes).checked() {
            let Ok(batch) = batch else { break };
            let header = batch.header();
            if header.base_offset > next || header.last_offset() >= ends.high_watermark.offset {
                return Err(format!("expected {next} below {}, got {header:?}", ends.high_watermark.offset));
            }
            for record in batch.records().map(Result::unwrap) {
                let offset = header.base_offset + i64::from(record.offset_delta);
                if record.value != Some(offset.to_string().as_bytes()) {
                    return Err(format!("offset {offset} holds {:?}", record.value));
                }
            }
            next = header.next_offset();
        }
    }
    Ok(restarts)
}

#[test]
fn readers_see_whole_batches_in_order_while_segments_come_and_go() {
    const END: i64 = 6000;
    let bench = Bench::with(|config| {
        config.segment_bytes = 3000;
        config.index_interval_bytes = 200;
    });
    let mut log = bench.open(false);
    let done = AtomicBool::new(false);
    let view = Arc::clone(log.view());
    let outcomes: Vec<Result<u32, String>> = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3).map(|_| scope.spawn(|| follow(&view, END, &done))).collect();
        let mut next = 0_i64;
        while next < END {
            let count = (next % 5 + 1).min(END - next);
            let texts: Vec<String> = (next..next + count).map(|n| n.to_string()).collect();
            let batch = plain(&texts.iter().map(String::as_str).collect::<Vec<_>>(), 1);
            next = append(&mut log, &batch).unwrap().last_offset + 1;
            log.update_high_watermark(next - i64::from(next % 3 == 0 && next < END)).unwrap();
            if next % 700 < 5 {
                log.delete_records((next - 1500).max(0)).unwrap();
                log.retention(Wall(1)).unwrap();
            }
        }
        done.store(true, Ordering::Release);
        readers.into_iter().map(|reader| reader.join().unwrap()).collect()
    });
    for outcome in outcomes {
        outcome.unwrap();
    }
}
