//! Apache Kafka's `ProduceRequest.validateRecords`, `UnifiedLog.analyzeAndValidateRecords` and `LogValidator` on the same
//! bytes: taken or refused with the same code, and the same bytes on the disk. `SCHLOSS_ORACLE=1000000` asks about that
//! many, and `SCHLOSS_ORACLE_FROM=7` begins with the seventh: with `SCHLOSS_ORACLE=1` that case alone.

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
const AT_ONCE: u64 = 50_000;
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
/// Without `timestamps` theirs may be others.
fn are_alike(ours: &[u8], theirs: &[u8], timestamps: bool) -> bool {
    let read = |bytes| {
        let (mut header, mut records) = records_of(bytes)?;
        if !timestamps {
            header.max_timestamp = 0;
            records.iter_mut().for_each(|record| record.timestamp = 0);
        }
        Some((header, records))
    };
    read(ours).is_some_and(|ours| read(theirs).is_some_and(|theirs| ours == theirs))
}

/// A record with what it says of itself but for its timestamp.
#[derive(PartialEq, Eq)]
struct Read {
    timestamp: i64,
    rest: String,
}

fn records_of(bytes: &[u8]) -> Option<(BatchHeader, Vec<Read>)> {
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
        let said = format!("{} {:?} {:?} {headers:?}", record.offset_delta, record.key, record.value);
        records.push(Read { timestamp, rest: said });
        rest = behind;
    }
    (header.batch_length, header.crc, header.base_timestamp) = (0, 0, 0);
    Some((header, records))
}

/// Where we are stricter than Kafka, and no honest client can notice (`docs/deviations.md`); with what Kafka does.
fn stricter(bytes: &[u8], error: &RecordError, attributes: Attributes, kafka: &str) -> Option<&'static str> {
    let is_compressed = attributes.0 & Attributes::CODEC_MASK != 0;
    let claims_append_time = attributes.timestamp_type() == TimestampType::LogAppendTime;
    Some(match error {
        // 81
        RecordError::Decompress(DecompressError::TooLarge { .. }) => "expands too far",
        // 82 to 84
        RecordError::Decompress(DecompressError::Corrupt { .. }) => "payload that its codec has not written",
        // Asked first of all there, and an exception.
        _ if attributes.codec().is_none() && kafka == "-1" => "unknown codec",
        RecordError::NoBatch if declares_too_much(bytes) => "length whose end no number holds",
        // Kafka passes over the lengths inside compressed records, or ends in an exception that it expects as little.
        RecordError::Format(_) if is_compressed => "lengths inside compressed records",
        RecordError::Format(_) if kafka == "-1" => "lengths inside records",
        RecordError::OffsetDelta { .. } => "offset deltas that skip",
        // 86
        RecordError::Producer { .. } => "impossible producer",
        RecordError::DeleteHorizon => "delete horizon",
        RecordError::Rejected(_) if claims_append_time => "records behind a claim of LogAppendTime",
        _ => return None,
    })
}

/// What the two made of one question, by kind; `None` if it should have been the same.
fn compared(bytes: &[u8], rules: &Rules, ours: &Result<ValidatedBatch, RecordError>, kafka: &str) -> Option<String> {
    let attributes = BatchHeader::parse(bytes).map(|header| header.attributes).unwrap_or_default();
    let is_anew = rules.compression.is_some_and(|target| Some(target.codec) != attributes.codec());
    let claims_append_time = attributes.timestamp_type() == TimestampType::LogAppendTime;
    // Nothing but a batch is longer than a code.
    let theirs = (kafka.len() > 8).then(|| unhex(kafka).unwrap());
    match ours {
        Ok(batch) if theirs.as_ref().is_some_and(|theirs| *theirs == written(batch)) => {
            Some("taken, the same bytes".to_owned())
        }
        Ok(batch) if is_anew => match &theirs {
            // There its records get the timestamp that it claims.
            Some(theirs) if are_alike(&written(batch), theirs, !claims_append_time) => Some(format!(
                "taken, compressed anew{}",
                if claims_append_time { ", claims LogAppendTime" } else { "" }
            )),
            None if kafka == "-1" && has_time_before_1970(bytes) => {
                Some("taken, compressed anew; -1 there for a timestamp before 1970".to_owned())
            }
            None if kafka == "10" && nearly_fits(batch.size_in_bytes(), rules) => {
                Some("taken, compressed anew; a few bytes too large there".to_owned())
            }
            _ => None,
        },
        Ok(_) => None,
        Err(RecordError::TooLarge { size, .. })
            if is_anew && theirs.as_ref().is_some_and(|theirs| theirs.len() < *size) && nearly_fits(*size, rules) =>
        {
            Some("a few bytes too large, compressed anew; taken there".to_owned())
        }
        Err(RecordError::TooLarge { .. }) if is_anew && kafka == "-1" && has_time_before_1970(bytes) => {
            Some("too large, compressed anew; -1 there for a timestamp before 1970".to_owned())
        }
        Err(error) if error.code().code().to_string() == kafka => Some(format!("refused with {kafka}")),
        Err(error) => {
            let what = stricter(bytes, error, attributes, kafka)?;
            let there = if theirs.is_some() { "taken" } else { kafka };
            Some(format!("stricter: {what}, {}; {there} there", error.code().code()))
        }
    }
}

/// Together with what stands before it, it is more than Java's int.
fn declares_too_much(bytes: &[u8]) -> bool {
    let length = bytes.get(8..12).map(|length| i32::from_be_bytes(length.try_into().unwrap()));
    length.is_some_and(|length| length > i32::MAX - 12)
}

/// As far as two compressors of one codec are apart.
fn nearly_fits(size: usize, rules: &Rules) -> bool {
    let max = usize::try_from(rules.max_message_bytes).unwrap();
    size.abs_diff(max) <= max / 4
}

/// Java's builder of batches ends in an exception for these, but for -1, which is none.
fn has_time_before_1970(bytes: &[u8]) -> bool {
    records_of(bytes).is_some_and(|(_, records)| records.iter().any(|record| record.timestamp < -1))
}

#[test]
fn validates_as_log_validator_does() {
    let Some(libs) = libs("validates_as_log_validator_does") else { return };
    let mut scratch = Scratch::default();
    let mut counted: BTreeMap<String, usize> = BTreeMap::new();
    let mut differences = Vec::new();
    let first: u64 = std::env::var("SCHLOSS_ORACLE_FROM").map_or(0, |first| first.parse().unwrap());
    let end = first + u64::try_from(rounds(4_000)).unwrap();
    let mut next = first;
    while next < end {
        let numbers = next..end.min(next + AT_ONCE);
        next = numbers.end;
        let cases: Vec<_> = numbers
            .map(|number| {
                let mut chance = Chance(number);
                (number, rules(&mut chance), request(&mut chance))
            })
            .collect();
        let questions = cases.iter().fold(String::new(), |mut text, (_, (_, version, configs), bytes)| {
            let _ = writeln!(text, "{NOW}\t{version}\t{configs}\t{}", hex(bytes));
            text
        });
        let answers = answers(&libs, "log/validator/tests/Validates.java", questions);
        assert_eq!(answers.lines().count(), cases.len());
        for ((number, (rules, version, configs), bytes), kafka) in cases.into_iter().zip(answers.lines()) {
            let ours = validate(Bytes::from(bytes.clone()), &rules, &mut scratch);
            let what = compared(&bytes, &rules, &ours, kafka).unwrap_or_else(|| {
                let ours = match &ours {
                    Ok(batch) => hex(&written(batch)),
                    Err(error) => format!("{} ({error})", error.code().code()),
                };
                let asked = hex(&bytes);
                differences
                    .push(format!("case {number}: v{version} {configs}\n  {asked}\n  here  {ours}\n  there {kafka}"));
                "DIFFERENT".to_owned()
            });
            *counted.entry(what).or_default() += 1;
        }
    }
    println!("{counted:#?}");
    let shown = differences.len().min(10);
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences[..shown].join("\n"));
}
