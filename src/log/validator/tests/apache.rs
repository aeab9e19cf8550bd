//! Apache Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator` on the same
//! bytes: taken or refused with the same code, and the same bytes on the disk. `SCHLOSS_ORACLE=1000000` asks about that
//! many.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;

use super::mutants::request;
use super::{CODECS, NOW};
use crate::apache::{Chance, answers, libs, rounds};
use crate::log::config::LogConfig;
use crate::log::validator::{Origin, RecordError, Rules, Scratch, TargetCompression, ValidatedBatch, validate};
use crate::model::compression::{CompressionType, TimestampType};
use crate::model::time::Wall;
use crate::protocol::compression::{DecompressError, Decompressor};
use crate::protocol::record_batch::{Attributes, BatchHeader, HEADER_LEN, Record, RecordBatch};

/// Questions to one run of Java.
const AT_ONCE: usize = 50_000;
const BASE_OFFSET: i64 = 1000;
const LEADER_EPOCH: i32 = 5;

/// A topic and a version of Produce.
fn rules(chance: &mut Chance) -> (Rules, i16, String) {
    let config = LogConfig::default();
    let mut rules = Rules::new(Origin::Client, &config, Wall(NOW));
    let version = chance.one_of(&[3, 6, 7, 9, 12]);
    rules.zstd_allowed = version >= 7;
    if chance.once_in(4) {
        rules.timestamp_type = TimestampType::LogAppendTime;
    }
    if chance.once_in(3) {
        rules.timestamp_before_max_ms = 60_000;
        rules.timestamp_after_max_ms = 3_600_000;
    }
    rules.compacted = chance.once_in(3);
    if chance.once_in(6) {
        rules.max_message_bytes = 200;
    }
    if chance.once_in(3) {
        rules.compression = Some(TargetCompression { codec: chance.one_of(&CODECS), level: None });
    }
    let codec = match rules.compression.map(|target| target.codec) {
        None => "producer",
        Some(CompressionType::None) => "uncompressed",
        Some(codec) => codec.name(),
    };
    let text = format!(
        "message.timestamp.type={},message.timestamp.before.max.ms={},message.timestamp.after.max.ms={},\
         cleanup.policy={},max.message.bytes={},compression.type={codec}",
        if rules.timestamp_type == TimestampType::CreateTime { "CreateTime" } else { "LogAppendTime" },
        rules.timestamp_before_max_ms,
        rules.timestamp_after_max_ms,
        if rules.compacted { "compact" } else { "delete" },
        rules.max_message_bytes,
    );
    (rules, version, text)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

fn written(batch: &ValidatedBatch) -> Vec<u8> {
    [&batch.header_bytes(BASE_OFFSET, LEADER_EPOCH)[..], batch.record_bytes()].concat()
}

/// Two batches with the same records, which were compressed, and counted from another base, by each in its own way.
fn are_alike(ours: &[u8], theirs: &[u8]) -> bool {
    records_of(ours).is_some_and(|ours| records_of(theirs).is_some_and(|theirs| ours == theirs))
}

fn records_of(bytes: &[u8]) -> Option<(BatchHeader, Vec<String>)> {
    RecordBatch::parse(bytes).ok()?.check_crc().ok()?;
    let mut header = BatchHeader::parse(bytes).ok()?;
    let (mut plain, payload) = (Vec::new(), bytes.get(HEADER_LEN..)?);
    match header.codec()? {
        CompressionType::None => plain.extend(payload),
        codec => Decompressor::new().decompress(codec, payload, 1 << 30, &mut plain).ok()?,
    }
    let mut records = Vec::new();
    let mut rest = &plain[..];
    while !rest.is_empty() {
        let (record, behind) = Record::parse(rest).ok()?;
        let timestamp = match header.timestamp_type() {
            TimestampType::CreateTime => header.base_timestamp.wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        // Kafka makes texts of the keys, and bytes of the texts.
        let headers = record.headers.map(|(key, value)| (String::from_utf8_lossy(key).into_owned(), value));
        let headers: Vec<_> = headers.collect();
        records.push(format!("{} {timestamp} {:?} {:?} {headers:?}", record.offset_delta, record.key, record.value));
        rest = behind;
    }
    (header.batch_length, header.crc, header.base_timestamp) = (0, 0, 0);
    Some((header, records))
}

/// Where we are stricter than Kafka, and no honest client can notice (`docs/deviations.md`); with what Kafka does.
fn stricter(error: &RecordError, attributes: Attributes, kafka: &str) -> Option<String> {
    let is_compressed = attributes.0 & Attributes::CODEC_MASK != 0;
    let claims_append_time = attributes.timestamp_type() == TimestampType::LogAppendTime;
    let what = match error {
        // 81
        RecordError::Decompress(DecompressError::TooLarge { .. }) => "expands too far".to_owned(),
        // 82 to 84
        RecordError::Decompress(DecompressError::Corrupt { .. }) => error.to_string(),
        // Exceptions that Kafka expects as little as its clients.
        _ if kafka == "-1" => "refused".to_owned(),
        // Kafka passes over the lengths inside compressed records.
        RecordError::Format(_) if is_compressed => "lengths inside compressed records".to_owned(),
        RecordError::OffsetDelta { .. } => "offset deltas that skip".to_owned(),
        // 86
        RecordError::Producer { .. } => "impossible producer".to_owned(),
        RecordError::DeleteHorizon => "delete horizon".to_owned(),
        RecordError::Rejected(_) if claims_append_time => "records behind a claim of LogAppendTime".to_owned(),
        _ => return None,
    };
    let there = if kafka.len() > 8 { "taken" } else { kafka };
    Some(format!("stricter: {what}; {there} there"))
}

#[test]
fn validates_as_log_validator_does() {
    let Some(libs) = libs("validates_as_log_validator_does") else { return };
    let mut chance = Chance(43);
    let mut scratch = Scratch::default();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    let mut left = rounds(4_000);
    while left > 0 {
        let count = left.min(AT_ONCE);
        left -= count;
        let cases: Vec<_> = (0..count).map(|_| (rules(&mut chance), request(&mut chance))).collect();
        let questions = cases.iter().fold(String::new(), |mut text, ((_, version, configs), bytes)| {
            let _ = writeln!(text, "{NOW}\t{version}\t{configs}\t{}", hex(bytes));
            text
        });
        let answers = answers(&libs, "log/validator/tests/Validates.java", questions);
        assert_eq!(answers.lines().count(), count);
        for (((rules, version, configs), bytes), kafka) in cases.into_iter().zip(answers.lines()) {
            let ours = validate(Bytes::from(bytes.clone()), &rules, &mut scratch);
            let attributes = BatchHeader::parse(&bytes).map(|header| header.attributes).unwrap_or_default();
            let is_anew = rules.compression.is_some_and(|target| Some(target.codec) != attributes.codec());
            let what = match &ours {
                Ok(batch) if hex(&written(batch)) == kafka => "taken, the same bytes".to_owned(),
                // There it is no time, and ends in an exception.
                Ok(_) if is_anew && kafka == "-1" => {
                    "taken, compressed anew; -1 there for a timestamp before 1970".to_owned()
                }
                // There its records get the timestamp that it claims.
                Ok(_) if attributes.timestamp_type() == TimestampType::LogAppendTime && is_anew && kafka.len() > 8 => {
                    "taken, compressed anew, claims LogAppendTime".to_owned()
                }
                Ok(batch) if is_anew && unhex(kafka).is_some_and(|b| are_alike(&written(batch), &b)) => {
                    "taken, compressed anew".to_owned()
                }
                Err(RecordError::TooLarge { .. }) if is_anew && kafka.len() > 8 => {
                    "too large, compressed anew; taken there".to_owned()
                }
                Ok(_) if is_anew && kafka == "10" => "taken, compressed anew; too large there".to_owned(),
                Err(error) if error.code().code().to_string() == kafka => format!("refused with {kafka}"),
                Err(error) if stricter(error, attributes, kafka).is_some() => {
                    stricter(error, attributes, kafka).unwrap_or_default()
                }
                _ => {
                    let ours = match &ours {
                        Ok(batch) => hex(&written(batch)),
                        Err(error) => format!("{} ({error})", error.code().code()),
                    };
                    differences
                        .push(format!("v{version} {configs}\n  {}\n  here  {ours}\n  there {kafka}", hex(&bytes)));
                    "DIFFERENT".to_owned()
                }
            };
            *counted.entry(what).or_default() += 1;
        }
    }
    println!("{counted:#?}");
    let shown = differences.len().min(10);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences[..shown].join("\n"));
}
