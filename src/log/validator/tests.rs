mod apache;
mod mutants;

use std::collections::HashSet;

use bytes::{BufMut, BytesMut};
use proptest::prelude::*;

use super::*;
use crate::model::error_code::ErrorCode;
use crate::model::topic::TopicPartition;
use crate::protocol::compression::{SCRATCH_KEPT_BYTES, compress};
use crate::protocol::record_batch::{Attributes, BatchBuilder, MAGIC_V2, RecordFormatError, Records};

const NOW: i64 = 1_800_000_000_000;
const CODECS: [CompressionType; 5] = [
    CompressionType::None,
    CompressionType::Gzip,
    CompressionType::Snappy,
    CompressionType::Lz4,
    CompressionType::Zstd,
];

fn rules() -> Rules {
    Rules::new(Origin::Client, &LogConfig::default(), Wall(NOW))
}

fn run(bytes: impl Into<Bytes>, rules: &Rules) -> Result<ValidatedBatch, RecordError> {
    validate(bytes.into(), rules, &mut Scratch::default())
}

fn code(bytes: impl Into<Bytes>, rules: &Rules) -> ErrorCode {
    run(bytes, rules).map_or_else(|error| error.code(), |_| ErrorCode::None)
}

fn varint(value: i64) -> Vec<u8> {
    let mut raw = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut out = Vec::new();
    while raw >= 0x80 {
        out.push(raw.to_le_bytes()[0] | 0x80);
        raw >>= 7;
    }
    out.push(raw.to_le_bytes()[0]);
    out
}

/// A record whose every part can be wrong.
#[derive(Clone)]
struct Raw {
    timestamp: i64,
    offset: i64,
    key: Option<&'static [u8]>,
    key_length: Option<i64>,
    headers: Vec<(i64, &'static [u8])>,
    header_count: Option<i64>,
    length: Option<i64>,
    tail: &'static [u8],
}

fn raw(offset: i64) -> Raw {
    Raw {
        timestamp: 0,
        offset,
        key: None,
        key_length: None,
        headers: vec![],
        header_count: None,
        length: None,
        tail: b"",
    }
}

impl Raw {
    fn bytes(&self) -> Vec<u8> {
        let mut body = vec![0];
        body.extend(varint(self.timestamp));
        body.extend(varint(self.offset));
        let key_len = self.key.map_or(-1, |key| i64::try_from(key.len()).unwrap());
        body.extend(varint(self.key_length.unwrap_or(key_len)));
        body.extend(self.key.unwrap_or(b""));
        body.extend(varint(1));
        body.push(b'v');
        body.extend(varint(self.header_count.unwrap_or(i64::try_from(self.headers.len()).unwrap())));
        for (length, key) in &self.headers {
            body.extend(varint(*length));
            body.extend(*key);
            body.extend(varint(-1));
        }
        body.extend(self.tail);
        [varint(self.length.unwrap_or(i64::try_from(body.len()).unwrap())), body].concat()
    }
}

/// A batch whose header fields can be wrong; the CRC is right unless a test breaks it.
#[derive(Clone)]
struct Batch {
    header: BatchHeader,
    payload: Vec<u8>,
}

fn batch(records: &[Raw]) -> Batch {
    let count = i32::try_from(records.len()).unwrap();
    let header = BatchHeader {
        base_offset: 0,
        batch_length: 0,
        partition_leader_epoch: -1,
        magic: MAGIC_V2,
        crc: 0,
        attributes: Attributes(0),
        last_offset_delta: count - 1,
        base_timestamp: NOW,
        max_timestamp: NOW,
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        records_count: count,
    };
    Batch { header, payload: records.iter().flat_map(Raw::bytes).collect() }
}

fn three() -> Batch {
    batch(&[raw(0), raw(1), raw(2)])
}

impl Batch {
    fn with(mut self, change: impl FnOnce(&mut BatchHeader)) -> Self {
        change(&mut self.header);
        self
    }

    fn codec(mut self, codec: CompressionType) -> Self {
        let mut out = Vec::new();
        compress(codec, None, &self.payload, &mut out).unwrap();
        self.payload = out;
        self.with(|header| header.attributes = header.attributes.with_codec(codec))
    }

    fn bytes(&self) -> Bytes {
        let mut room = vec![0; HEADER_LEN];
        room.extend(&self.payload);
        let sealed = seal(self.header, room);
        // Sealing writes magic as it is given.
        assert_eq!(sealed[16], self.header.magic.to_be_bytes()[0]);
        sealed
    }

    /// `batch_length` that lies by so much; it is not covered by the CRC.
    fn lying(&self, by: i32) -> Vec<u8> {
        let mut bytes = self.bytes().to_vec();
        let length = i32::try_from(bytes.len()).unwrap() - 12 + by;
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes
    }
}

fn records_of(batch: &ValidatedBatch) -> Vec<u8> {
    let mut out = Vec::new();
    Decompressor::new().decompress(batch.header().codec().unwrap(), batch.record_bytes(), 1 << 30, &mut out).unwrap();
    out
}

/// What would be written for a validated batch.
fn written(batch: &ValidatedBatch, base_offset: i64, leader_epoch: i32) -> Bytes {
    let mut out = BytesMut::new();
    out.put_slice(&batch.header_bytes(base_offset, leader_epoch));
    out.put_slice(batch.record_bytes());
    out.freeze()
}

/// Case 85 of the attack list and its neighbours; each code but those marked was given by Apache Kafka 4.3.1.
#[test]
fn framing_is_judged_as_kafka_does() {
    use ErrorCode::{CorruptMessage, InvalidRecord, None as Fine};
    let good = three();
    let bytes = good.bytes();
    let magic = |magic| good.clone().with(|header| header.magic = magic).bytes();
    let behind = |tail: &[u8]| [&bytes[..], tail].concat();
    let front = |size: i32| [&[0; 8][..], &size.to_be_bytes(), &[0; 4], &[2]].concat();
    let cases: Vec<(&str, Vec<u8>, ErrorCode)> = vec![
        ("good", bytes.to_vec(), Fine),
        ("empty", vec![], InvalidRecord),
        ("11 zeros", vec![0; 11], InvalidRecord),
        ("16 zeros", vec![0; 16], CorruptMessage),
        ("magic 3", magic(3).to_vec(), CorruptMessage),
        ("magic -1", magic(-1).to_vec(), CorruptMessage),
        ("magic 1", magic(1).to_vec(), InvalidRecord),
        ("magic 0", magic(0).to_vec(), InvalidRecord),
        ("length +10", good.lying(10), InvalidRecord),
        ("length +1", good.lying(1), InvalidRecord),
        ("length -1", good.lying(-1), CorruptMessage),
        ("length -10", good.lying(-10), CorruptMessage),
        ("length -200", good.lying(-200), CorruptMessage),
        ("5 bytes behind", behind(&[1; 5]), Fine),
        ("half a batch behind", behind(&bytes[..bytes.len() - 1]), Fine),
        ("a front behind", behind(&front(20)), Fine),
        ("13 zeros behind", behind(&[0; 13]), CorruptMessage),
        ("30 zeros behind", behind(&[0; 30]), CorruptMessage),
        ("two batches", behind(&bytes), InvalidRecord),
        ("a v2 header that does not fit", [front(48), vec![0; 43]].concat(), CorruptMessage),
        // Kafka answers -1.
        ("a v2 batch without a header", [front(20), vec![0; 15]].concat(), CorruptMessage),
        ("a front that needs one byte more", front(14)[..16].to_vec(), InvalidRecord),
    ];
    for (name, input, expected) in cases {
        assert_eq!(code(input, &rules()), expected, "{name}");
    }
    let trimmed = run(behind(&[1; 5]), &rules()).unwrap();
    assert_eq!(trimmed.bytes(), &bytes, "what stands behind the batch is not written");
}

#[test]
fn damage_of_the_frame_has_kafkas_message() {
    let partition = TopicPartition::new("plain", 0);
    let message = |bytes: Vec<u8>| run(bytes, &rules()).unwrap_err().message(&partition);
    assert_eq!(message(vec![0; 16]).unwrap(), "Record size 0 is less than the minimum record overhead (14)");
    let magic = three().with(|header| header.magic = 3).bytes();
    assert_eq!(message(magic.to_vec()).unwrap(), "Invalid magic found in record: 3");
    assert_eq!(message(vec![]), None);
    assert_eq!(message(three().lying(-1)), None);
}

#[test]
fn headers_are_judged_as_kafka_does() {
    use ErrorCode::{CorruptMessage, InvalidRecord, None as Fine};
    let with = |change: &dyn Fn(&mut BatchHeader)| three().with(|header| change(header)).bytes();
    let count = |count, delta| {
        with(&|header| {
            header.records_count = count;
            header.last_offset_delta = delta;
        })
    };
    for (records, delta) in [(-1, 2), (0, 2), (2, 2), (4, 2), (i32::MAX, 2), (i32::MIN, 2), (3, 0), (3, 3), (3, -1)] {
        assert_eq!(code(count(records, delta), &rules()), InvalidRecord, "{records} {delta}");
    }
    for (records, delta) in [(4, 3), (2, 1), (1, 0), (i32::MAX, i32::MAX - 1), (3, i32::MAX), (3, i32::MIN), (0, -1)] {
        assert_eq!(code(count(records, delta), &rules()), InvalidRecord, "{records} {delta}");
    }
    assert_eq!(code(count(3, 2), &rules()), Fine);

    let mut crc = three().bytes().to_vec();
    crc[17] ^= 1;
    assert!(matches!(run(crc.clone(), &rules()), Err(RecordError::Crc { .. })));
    assert_eq!(code(crc.clone(), &rules()), CorruptMessage);

    let base = with(&|header| header.base_offset = 5);
    assert_eq!(code(base.clone(), &rules()), InvalidRecord);
    assert_eq!(code(with(&|header| header.base_offset = -1), &rules()), InvalidRecord);
    let coordinator = Rules { origin: Origin::Coordinator, ..rules() };
    assert_eq!(code(base.clone(), &coordinator), Fine);

    let small = Rules { max_message_bytes: 84, ..rules() };
    assert_eq!(code(three().bytes(), &small), ErrorCode::MessageTooLarge);
    assert_eq!(code(three().bytes(), &Rules { max_message_bytes: 85, ..rules() }), Fine);
    // Base offset, then size, then CRC.
    assert_eq!(code(crc, &small), ErrorCode::MessageTooLarge);
    assert_eq!(code(base, &small), InvalidRecord);

    for bits in [5, 6, 7] {
        // Kafka answers -1.
        assert_eq!(code(with(&|header| header.attributes.0 = bits), &rules()), CorruptMessage);
    }
    assert_eq!(code(with(&|header| header.attributes.0 = -128), &rules()), Fine, "bits nobody defined");
    assert_eq!(code(with(&|header| header.partition_leader_epoch = 99), &rules()), Fine);
}

/// Case 86, and the producer fields of cases 85 and 103.
#[test]
fn clients_do_not_write_what_is_not_theirs() {
    use ErrorCode::{InvalidRecord, None as Fine};
    let with = |attributes: i16, id, epoch, sequence| {
        let batch = three().with(|header| {
            header.attributes.0 = attributes;
            (header.producer_id, header.producer_epoch, header.base_sequence) = (id, epoch, sequence);
        });
        code(batch.bytes(), &rules())
    };
    assert_eq!(with(0x20, -1, -1, -1), InvalidRecord, "control");
    assert_eq!(with(0x30, 1, 0, 0), InvalidRecord, "control in a transaction");
    assert_eq!(with(0x10, 5, 0, 0), Fine, "a transaction is the caller's to judge");
    assert_eq!(with(0, 80, 0, 0), Fine);
    assert_eq!(with(0, 500, 0, i32::MAX - 1), Fine);
    assert_eq!(with(0, -1, 3, 4), Fine, "epoch and sequence mean nothing without an id");
    assert_eq!(with(0, 78, 0, -1), InvalidRecord);
    assert_eq!(with(0, 79, 0, -5), InvalidRecord);
    // Kafka accepts these.
    assert_eq!(with(0x10, -1, -1, -1), InvalidRecord, "a transaction of nobody");
    assert_eq!(with(0x40, -1, -1, -1), InvalidRecord, "delete horizon");
    assert_eq!(with(0, -2, 0, 0), InvalidRecord);
    assert_eq!(with(0, -2, -1, -1), InvalidRecord);
    assert_eq!(with(0, 77, -1, 0), InvalidRecord);

    let coordinator = Rules { origin: Origin::Coordinator, ..rules() };
    let marker = three().with(|header| {
        header.attributes.0 = 0x30;
        (header.producer_id, header.producer_epoch, header.base_sequence) = (9, 0, -1);
    });
    let marker = run(marker.bytes(), &coordinator).unwrap();
    assert!(marker.is_control() && marker.is_transactional());
}

#[test]
fn every_record_is_walked_in_every_codec() {
    use ErrorCode::{InvalidRecord, None as Fine};
    let headers = |count| vec![Raw { header_count: Some(count), ..raw(0) }];
    let one = |record: Raw| vec![record];
    let cases: Vec<(&str, Vec<Raw>, ErrorCode)> = vec![
        ("good", vec![raw(0), raw(1)], Fine),
        ("header count -1", headers(-1), InvalidRecord),
        ("header count 1", headers(1), InvalidRecord),
        ("header count 2^31-1", headers(i64::from(i32::MAX)), InvalidRecord),
        ("header key -1", one(Raw { headers: vec![(-1, b"")], ..raw(0) }), InvalidRecord),
        ("header key too long", one(Raw { headers: vec![(90, b"x")], ..raw(0) }), InvalidRecord),
        ("header key not UTF-8", one(Raw { headers: vec![(2, b"\xff\xfe")], ..raw(0) }), Fine),
        ("bytes behind the headers", one(Raw { tail: b"xx", ..raw(0) }), InvalidRecord),
        ("key length -5", one(Raw { key_length: Some(-5), ..raw(0) }), Fine),
        ("key length 1000", one(Raw { key_length: Some(1000), ..raw(0) }), InvalidRecord),
        // Kafka takes the next three from compressed batches.
        ("length 3", one(Raw { length: Some(3), ..raw(0) }), InvalidRecord),
        ("length -1", one(Raw { length: Some(-1), ..raw(0) }), InvalidRecord),
        ("length 300", one(Raw { length: Some(300), ..raw(0) }), InvalidRecord),
        // Kafka takes these from uncompressed batches and answers -1 to compressed ones.
        ("deltas 0 0 0", vec![raw(0), raw(0), raw(0)], InvalidRecord),
        ("deltas 0 2 1", vec![raw(0), raw(2), raw(1)], InvalidRecord),
        ("deltas 5 6 7", vec![raw(5), raw(6), raw(7)], InvalidRecord),
    ];
    for (name, records, expected) in cases {
        for codec in CODECS {
            assert_eq!(code(batch(&records).codec(codec).bytes(), &rules()), expected, "{name} {codec:?}");
        }
    }
    for codec in CODECS {
        let fewer = three().with(|header| (header.records_count, header.last_offset_delta) = (4, 3));
        let error = run(fewer.codec(codec).bytes(), &rules()).unwrap_err();
        assert_eq!(error, RecordError::Format(RecordFormatError::Premature { read: 3 }), "{codec:?}");
        let more = three().with(|header| (header.records_count, header.last_offset_delta) = (2, 1));
        let error = run(more.codec(codec).bytes(), &rules()).unwrap_err();
        assert_eq!(error, RecordError::Format(RecordFormatError::Remaining), "{codec:?}");
    }
}

/// Case 82: Kafka answers -1 and a stack trace in its log.
#[test]
fn damaged_payloads_are_corrupt() {
    for codec in CODECS.into_iter().skip(1) {
        for payload in [&b"garbage"[..], b""] {
            let mut batch = batch(&[raw(0)]).with(|header| header.attributes = header.attributes.with_codec(codec));
            batch.payload = payload.to_vec();
            assert_eq!(code(batch.bytes(), &rules()), ErrorCode::CorruptMessage, "{codec:?}");
        }
        let mut cut = three().codec(codec);
        cut.payload.truncate(cut.payload.len() - 1);
        assert_eq!(code(cut.bytes(), &rules()), ErrorCode::CorruptMessage, "{codec:?}");
    }
    let zstd = three().codec(CompressionType::Zstd).bytes();
    let early = Rules { zstd_allowed: false, ..rules() };
    assert_eq!(code(zstd.clone(), &early), ErrorCode::UnsupportedCompressionType);
    assert_eq!(code([&zstd[..], &zstd[..]].concat(), &early), ErrorCode::UnsupportedCompressionType);
    assert_eq!(code(zstd, &rules()), ErrorCode::None);
}

/// Case 81: 200 MB out of 200 KB.
#[test]
fn a_bomb_is_refused_in_little_memory() {
    let body = 200_000_000_i64;
    // Attributes, deltas, null key, value; then nothing, for the limit comes first.
    let record = [varint(body), vec![0, 0, 0, 1], varint(body - 9)].concat();
    for codec in [CompressionType::Gzip, CompressionType::Zstd, CompressionType::Lz4] {
        let mut compressor = Compressor::new(codec, Some(1), Vec::new()).unwrap();
        compressor.write(&record).unwrap();
        for _ in 0..110 {
            compressor.write(&vec![0; 1_000_000]).unwrap();
        }
        let mut bomb = batch(&[raw(0)]).with(|header| header.attributes = header.attributes.with_codec(codec));
        bomb.payload = compressor.finish().unwrap();
        let mut scratch = Scratch::default();
        let error = validate(bomb.bytes(), &rules(), &mut scratch).unwrap_err();
        assert_eq!(error.code(), ErrorCode::MessageTooLarge, "{codec:?}");
    }
    const { assert!(SCRATCH_KEPT_BYTES <= 8 << 20) };
}

#[test]
fn a_large_record_passes_in_pieces() {
    let value = vec![7; 3_000_000];
    for codec in CODECS {
        let mut builder = BatchBuilder::new(0).compression(codec);
        builder.append(NOW, Some(b"k"), Some(&value), &[(b"h", Some(&value))]).unwrap();
        builder.append(NOW, Some(b"k"), None, &[]).unwrap();
        let rules = Rules { max_message_bytes: 10_000_000, compacted: true, ..rules() };
        let batch = run(builder.build(), &rules).unwrap();
        assert_eq!(batch.records_count(), 2, "{codec:?}");
    }
}

#[test]
fn timestamps_outside_the_window_are_named() {
    let window = Rules { timestamp_before_max_ms: 3_600_000, timestamp_after_max_ms: 60_000, ..rules() };
    let at = |timestamp, offset| Raw { timestamp, ..raw(offset) };
    let partition = TopicPartition::new("window", 0);
    for codec in CODECS {
        let mixed = batch(&[at(0, 0), at(-7_200_000, 1), at(120_000, 2), at(-3_600_000, 3), at(60_000, 4)]);
        let error = run(mixed.codec(codec).bytes(), &window).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
        assert_eq!(
            error.message(&partition).unwrap(),
            "One or more records have been rejected due to invalid timestamp"
        );
        let range = "The timestamp should be within [1799996400000, 1800000060000]";
        assert_eq!(
            error.record_errors(&partition),
            [
                (1, format!("Timestamp 1799992800000 of message with offset 1 is out of range. {range}")),
                (2, format!("Timestamp 1800000120000 of message with offset 2 is out of range. {range}")),
            ]
        );
    }
    // No timestamp is none to judge; the far past does not wrap around into the window.
    let none = three().with(|header| header.base_timestamp = -1);
    assert_eq!(code(none.bytes(), &window), ErrorCode::None);
    let past = three().with(|header| header.base_timestamp = i64::MIN);
    assert_eq!(code(past.bytes(), &rules()), ErrorCode::InvalidTimestamp);
    let old = three().with(|header| header.base_timestamp = 0);
    assert_eq!(code(old.bytes(), &rules()), ErrorCode::None, "by default nothing is too old");
    let log_append_time = Rules { timestamp_type: TimestampType::LogAppendTime, ..window };
    let late = three().with(|header| header.base_timestamp = NOW + 7_200_000);
    assert_eq!(code(late.bytes(), &log_append_time), ErrorCode::None);
}

#[test]
fn compacted_topics_need_keys() {
    let compacted = Rules { compacted: true, ..rules() };
    let partition = TopicPartition::new("compact", 0);
    let text = "Compacted topic cannot accept message without key in topic partition compact-0";
    let key = |offset| Raw { key: Some(b"k"), ..raw(offset) };
    for codec in CODECS {
        let some = batch(&[raw(0), raw(1), key(2), raw(3), raw(4)]).codec(codec);
        let error = run(some.bytes(), &compacted).unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidRecord);
        let named = [0, 1, 3, 4].map(|index| (index, text.to_owned()));
        assert_eq!(error.record_errors(&partition), named);
        assert_eq!(
            error.message(&partition).unwrap(),
            format!(
                "One or more records have been rejected due to 4 record errors in total, and only showing the first \
                 three errors at most: [RecordError(batchIndex=0, message='{text}'), RecordError(batchIndex=1, \
                 message='{text}'), RecordError(batchIndex=3, message='{text}')]"
            )
        );
        let empty_key = batch(&[Raw { key: Some(b""), ..raw(0) }]).codec(codec);
        assert_eq!(code(empty_key.bytes(), &compacted), ErrorCode::None);
    }
    // One bad timestamp makes all of it a matter of timestamps.
    let both = batch(&[raw(0), Raw { timestamp: 7_200_000, ..key(1) }]);
    let error = run(both.bytes(), &compacted).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    assert_eq!(error.record_errors(&partition).len(), 2);
}

#[test]
fn only_so_many_records_are_named() {
    let records: Vec<Raw> = (0..3_000).map(raw).collect();
    let error = run(batch(&records).bytes(), &Rules { compacted: true, ..rules() }).unwrap_err();
    let partition = TopicPartition::new("compact", 0);
    assert_eq!(error.record_errors(&partition).len(), Rejection::MOST_NAMED);
    assert!(error.message(&partition).unwrap().contains("due to 3000 record errors"));
}

#[test]
fn producers_do_not_set_log_append_time() {
    let log_append_time = Rules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    let partition = TopicPartition::new("lat", 0);
    let set = |codec| {
        let record = Raw { key: Some(b"abc"), ..raw(0) };
        batch(&[record, raw(1)]).codec(codec).with(|header| {
            header.attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
            header.max_timestamp = 77;
        })
    };
    let error = run(set(CompressionType::None).bytes(), &log_append_time).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidTimestamp);
    let claim = "Producer should not set timestamp type to LogAppendTime.";
    let text = |class, offset, key| {
        format!(
            "Invalid timestamp type in message {class}(offset={offset}, timestamp=77, key={key} bytes, value=1 bytes). \
             {claim}"
        )
    };
    assert_eq!(error.record_errors(&partition), [(0, text("DefaultRecord", 0, 3)), (1, text("DefaultRecord", 1, 0))]);
    let error = run(set(CompressionType::Gzip).bytes(), &log_append_time).unwrap_err();
    let class = "PartialDefaultRecord";
    assert_eq!(error.record_errors(&partition), [(0, text(class, 0, 3)), (1, text(class, 1, -1))]);

    // A CreateTime topic takes it, with the time that it claims, and takes the mark away.
    let taken = run(set(CompressionType::None).bytes(), &rules()).unwrap();
    assert_eq!(taken.header().timestamp_type(), TimestampType::CreateTime);
    assert_eq!(taken.max_timestamp(), 77);
    // Neither the claim nor the records get around the topic's window.
    let window = Rules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 1000, ..rules() };
    assert_eq!(code(set(CompressionType::None).bytes(), &window), ErrorCode::InvalidTimestamp);
}

#[test]
fn headers_are_corrected_and_records_are_not_moved() {
    for codec in CODECS {
        let records = [raw(0), Raw { timestamp: 900, ..raw(1) }, Raw { timestamp: 900, ..raw(2) }];
        let sent = batch(&records).codec(codec).bytes();
        let batch = run(sent.clone(), &rules()).unwrap();
        assert_eq!((batch.max_timestamp(), batch.offset_delta_of_max_timestamp()), (NOW + 900, 1));
        assert_eq!(batch.log_append_time(), None);
        assert_eq!(batch.bytes().as_ptr(), sent.as_ptr(), "the bytes are those that came");
        let log = written(&batch, 40, 7);
        let again = RecordBatch::parse(&log).unwrap();
        again.check_crc().unwrap();
        assert_eq!((again.header().base_offset, again.header().partition_leader_epoch), (40, 7));
        assert_eq!((again.header().last_offset(), again.header().max_timestamp), (42, NOW + 900));

        let log_append_time = Rules { timestamp_type: TimestampType::LogAppendTime, now: Wall(5), ..rules() };
        let batch = run(sent, &log_append_time).unwrap();
        assert_eq!((batch.log_append_time(), batch.max_timestamp()), (Some(5), 5));
        let log = written(&batch, 0, 0);
        let again = RecordBatch::parse(&log).unwrap();
        again.check_crc().unwrap();
        assert_eq!(again.header().timestamp_type(), TimestampType::LogAppendTime);
    }
    let right = three().bytes();
    assert_eq!(written(&run(right.clone(), &rules()).unwrap(), 0, -1), right, "a right batch stays as it is");
    let none = three().with(|header| header.base_timestamp = -2);
    assert_eq!(run(none.bytes(), &rules()).unwrap().max_timestamp(), -1);
}

#[test]
fn a_topic_may_want_another_codec() {
    let content: HashSet<Vec<u8>> = CODECS
        .into_iter()
        .flat_map(|from| CODECS.into_iter().map(move |to| (from, to)))
        .map(|(from, to)| {
            let sent = three()
                .codec(from)
                .with(|header| {
                    (header.producer_id, header.producer_epoch, header.base_sequence) = (90, 1, 4);
                    header.max_timestamp = 1;
                })
                .bytes();
            let target = Some(TargetCompression { codec: to, level: None });
            let batch = run(sent.clone(), &Rules { compression: target, ..rules() }).unwrap();
            assert_eq!(batch.header().codec(), Some(to));
            assert_eq!(from == to, batch.bytes().as_ptr() == sent.as_ptr(), "recompressed only where it differs");
            let producer = batch.producer().unwrap();
            assert_eq!((producer.id, producer.epoch, producer.base_sequence, producer.last_sequence), (90, 1, 4, 6));
            assert_eq!(batch.max_timestamp(), NOW);
            let log = written(&batch, 9, 2);
            let again = RecordBatch::parse(&log).unwrap();
            again.check_crc().unwrap();
            assert_eq!(again.header().records_count, 3);
            records_of(&batch)
        })
        .collect();
    assert_eq!(content.len(), 1, "the records are the same whatever the codec");

    // What fits compressed may not fit as the topic wants it.
    let mut builder = BatchBuilder::new(0).compression(CompressionType::Gzip);
    builder.append(NOW, None, Some(&[0; 5_000]), &[]).unwrap();
    let uncompressed = Some(TargetCompression { codec: CompressionType::None, level: None });
    let rules = Rules { compression: uncompressed, max_message_bytes: 1_000, ..rules() };
    assert_eq!(code(builder.build(), &rules), ErrorCode::MessageTooLarge);
}

#[test]
fn the_transactional_bit_is_reported() {
    let batch = three().with(|header| {
        header.attributes.0 = 0x10;
        (header.producer_id, header.producer_epoch, header.base_sequence) = (5, 0, 0);
    });
    assert!(has_transactional_batch(&batch.bytes()));
    assert!(!has_transactional_batch(&three().bytes()));
    assert!(!has_transactional_batch(b"short"));
    let producer = run(batch.bytes(), &rules()).unwrap().producer().unwrap();
    assert!(producer.transactional);
    assert_eq!(run(three().bytes(), &rules()).unwrap().producer(), None);
}

fn any_batch() -> impl Strategy<Value = Bytes> {
    let bytes = || prop::option::of(prop::collection::vec(any::<u8>(), 0..200));
    let record = (0_i64..1_000, bytes(), bytes(), prop::collection::vec(("[a-z]{0,5}", bytes()), 0..3));
    let records = prop::collection::vec(record, 1..30);
    (records, prop::sample::select(CODECS.to_vec())).prop_map(|(records, codec)| {
        let mut builder = BatchBuilder::new(0).compression(codec);
        for (timestamp, key, value, headers) in &records {
            let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_bytes(), value.as_deref())).collect();
            builder.append(NOW + timestamp, key.as_deref(), value.as_deref(), &headers).unwrap();
        }
        builder.build()
    })
}

/// The batch with a CRC that fits its bytes, so that what lies deeper is reached.
fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(covered) = bytes.get(21..) {
        let crc = crc32c::crc32c(covered);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

proptest! {
    #[test]
    fn what_is_accepted_reads_back_the_same(
        bytes in any_batch(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        target in prop::option::of(prop::sample::select(CODECS.to_vec())),
        append_time in any::<bool>(),
    ) {
        let mut bytes = bytes.to_vec();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        let bytes = Bytes::from(with_crc(bytes));
        let timestamp_type = if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        let compression = target.map(|codec| TargetCompression { codec, level: None });
        let rules = Rules { timestamp_type, compression, ..rules() };
        if let Ok(batch) = run(bytes.clone(), &rules) {
            let log = written(&batch, 100, 1);
            let again = RecordBatch::parse(&log).unwrap();
            again.check_crc().unwrap();
            let sent = BatchHeader::parse(&bytes).unwrap();
            let mut before = Vec::new();
            Decompressor::new()
                .decompress(sent.codec().unwrap(), &bytes[HEADER_LEN..sent.size_in_bytes()], 1 << 30, &mut before)
                .unwrap();
            prop_assert_eq!(&records_of(&batch), &before);
            let records: Vec<_> = Records::new(&before, sent.records_count).collect::<Result<_, _>>().unwrap();
            prop_assert_eq!(records.len(), usize::try_from(batch.records_count()).unwrap());
            for (index, record) in records.iter().enumerate() {
                prop_assert_eq!(usize::try_from(record.offset_delta).unwrap(), index);
                let timestamp = sent.base_timestamp.wrapping_add(record.timestamp_delta);
                prop_assert!(append_time || timestamp <= batch.max_timestamp());
            }
        }
    }

    #[test]
    fn the_walk_agrees_with_the_iterator_wherever_pieces_end(
        bytes in any_batch(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        count in 0_i32..32,
    ) {
        let header = BatchHeader::parse(&bytes).unwrap();
        let mut payload = Vec::new();
        Decompressor::new().decompress(header.codec().unwrap(), &bytes[HEADER_LEN..], 1 << 30, &mut payload).unwrap();
        for (at, value) in flips {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        let count = if count == 0 { header.records_count } else { count };
        let expected: Result<Vec<_>, RecordFormatError> = Records::new(&payload, count)
            .map(|record| record.map(|record| {
                let len = |bytes: Option<&[u8]>| bytes.map_or(-1, |bytes| i32::try_from(bytes.len()).unwrap());
                (record.timestamp_delta, record.offset_delta, len(record.key), len(record.value))
            }))
            .collect();
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(payload.len())).collect();
        ends.push(payload.len());
        ends.sort_unstable();
        let mut walk = RecordWalk::new(count);
        let mut seen = Vec::new();
        let mut from = 0;
        let mut result = Ok(());
        for end in ends {
            result = result.and_then(|()| walk.feed::<RecordFormatError>(&payload[from..end], &mut |facts| {
                seen.push((facts.timestamp_delta, facts.offset_delta, facts.key_len, facts.value_len));
                Ok(())
            }));
            from = end;
        }
        let result = result.and_then(|()| walk.finish()).map(|()| seen);
        prop_assert_eq!(result.is_ok(), expected.is_ok());
        if let (Ok(result), Ok(expected)) = (result, expected) {
            prop_assert_eq!(result, expected);
        }
    }
}
