use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::records as other;
use proptest::prelude::*;

use super::*;
use crate::model::compression::{CompressionType, TimestampType};

/// The batch of `kafka-disk-observed` 6.1, as Apache Kafka 4.3.1 wrote it.
const OBSERVED: &str = "0000000000000005 00000043 00000000 02 8e3abc38 0010 00000000 000001a208afaf4b \
    000001a208afaf4b 0000000000000001 0000 00000000 00000001 \
    22 00 00 00 04 746b 12 636f6d6d6974746564 00";

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|pair| u8::try_from(pair[0] * 16 + pair[1]).unwrap()).collect()
}

type OwnedHeaders = Vec<(Vec<u8>, Option<Vec<u8>>)>;
type OwnedRecord = (i64, Option<Vec<u8>>, Option<Vec<u8>>, OwnedHeaders);

fn build(mut builder: BatchBuilder, records: &[OwnedRecord]) -> Bytes {
    for (timestamp, key, value, headers) in records {
        let headers: Vec<_> = headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        builder.append(*timestamp, key.as_deref(), value.as_deref(), &headers).unwrap();
    }
    builder.build()
}

fn read(batch: &RecordBatch<'_>) -> Vec<OwnedRecord> {
    let base = batch.header().base_timestamp;
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    batch
        .records()
        .map(|record| record.unwrap())
        .map(|record| {
            let headers = record.headers.map(|(key, value)| (key.to_vec(), own(value))).collect();
            (base + record.timestamp_delta, own(record.key), own(record.value), headers)
        })
        .collect()
}

fn any_record() -> impl Strategy<Value = OwnedRecord> {
    let bytes = || prop::collection::vec(any::<u8>(), 0..80);
    let header = ("[a-z]{0,8}".prop_map(String::into_bytes), prop::option::of(bytes()));
    let headers = prop::collection::vec(header, 0..4);
    (0_i64..2_000_000_000_000, prop::option::of(bytes()), prop::option::of(bytes()), headers)
}

#[test]
fn a_batch_kafka_wrote_is_read_and_written_alike() {
    let bytes = hex(OBSERVED);
    let batch = RecordBatch::parse(&bytes).unwrap();
    batch.check_crc().unwrap();
    let header = batch.header();
    assert_eq!((header.base_offset, header.last_offset(), header.next_offset()), (5, 5, 6));
    assert!(header.is_transactional() && !header.is_control() && header.has_producer_id());
    assert_eq!((header.producer_id, header.producer_epoch, header.last_sequence()), (1, 0, 0));
    assert_eq!(header.codec(), Some(CompressionType::None));
    let record = batch.records().next().unwrap().unwrap();
    assert_eq!((record.key, record.value), (Some(&b"tk"[..]), Some(&b"committed"[..])));
    assert_eq!(header.to_bytes(), bytes[..HEADER_LEN]);

    let mut builder = BatchBuilder::new(5).leader_epoch(0).producer(1, 0, 0).transactional();
    builder.append(header.base_timestamp, Some(b"tk"), Some(b"committed"), &[]).unwrap();
    assert_eq!(builder.build(), bytes);
}

#[test]
fn headers_that_can_not_be_are_named() {
    let bytes = hex(OBSERVED);
    assert_eq!(BatchHeader::parse(&bytes[..60]), Err(HeaderError::Short { have: 60 }));
    let mut magic = bytes.clone();
    magic[16] = 1;
    assert_eq!(BatchHeader::parse(&magic), Err(HeaderError::Magic(1)));
    for length in [48, 0, -1, i32::MIN] {
        let mut short = bytes.clone();
        short[8..12].copy_from_slice(&length.to_be_bytes());
        assert_eq!(BatchHeader::parse(&short), Err(HeaderError::Length(length)));
    }
    let mut long = bytes.clone();
    long[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    assert_eq!(RecordBatch::parse(&long).unwrap_err(), BatchError::Torn { needed: 2_147_483_659, have: bytes.len() });
    let mut flipped = bytes;
    flipped[70] ^= 1;
    assert!(matches!(RecordBatch::parse(&flipped).unwrap().check_crc(), Err(BatchError::Crc { .. })));
}

#[test]
fn damage_is_found_where_it_begins() {
    let first = build(BatchBuilder::new(0), &[(1, None, Some(vec![1; 30]), vec![])]);
    let second = build(BatchBuilder::new(1), &[(2, None, Some(vec![2; 30]), vec![])]);
    let mut log = [&first[..], &second[..]].concat();

    let bases: Vec<i64> = batches(&log).checked().map(|batch| batch.unwrap().header().base_offset).collect();
    assert_eq!(bases, [0, 1]);

    for cut in first.len() + 1..log.len() {
        let damage = batches(&log[..cut]).checked().last().unwrap().unwrap_err();
        assert_eq!(damage.position, first.len());
        assert!(damage.error.is_torn(), "cut at {cut}");
    }

    log[first.len() + 80] ^= 0x10;
    let mut walk = batches(&log).checked();
    assert!(walk.next().unwrap().is_ok());
    let damage = walk.next().unwrap().unwrap_err();
    assert!(matches!(damage, BatchDamage { position, error: BatchError::Crc { .. } } if position == first.len()));
    assert!(walk.next().is_none());
    assert_eq!(walk.position(), first.len());
    assert_eq!(batches(&log).count(), 2, "without the CRC it is not seen");
}

#[test]
fn sequences_wrap_to_zero() {
    assert_eq!(increment_sequence(i32::MAX, 1), 0);
    assert_eq!(increment_sequence(i32::MAX - 1, 3), 1);
    assert_eq!(increment_sequence(5, 0), 5);
}

#[test]
fn a_full_batch_stays_as_it_was() {
    let mut builder = BatchBuilder::new(0).limit(100);
    assert_eq!(builder.append(7, None, Some(&[0; 20]), &[]), Ok(0));
    let size = builder.size_in_bytes();
    assert_eq!(builder.append(7, None, Some(&[0; 20]), &[]), Err(BatchFull { would_be: size + 27, limit: 100 }));
    assert_eq!((builder.size_in_bytes(), builder.records_count()), (size, 1));
    let bytes = builder.build();
    RecordBatch::parse(&bytes).unwrap().check_crc().unwrap();
}

#[test]
fn records_that_do_not_add_up_are_errors() {
    let good = build(BatchBuilder::new(0), &vec![(1, Some(vec![7]), None, vec![(b"h".to_vec(), None)]); 3]);
    let records = RecordBatch::parse(&good).unwrap().record_bytes();
    let errors = |bytes: &[u8], declared| Records::new(bytes, declared).find_map(Result::err);
    assert_eq!(errors(records, 3), None);
    assert_eq!(errors(records, 4), Some(RecordFormatError::Premature { read: 3 }));
    assert_eq!(errors(records, 2), Some(RecordFormatError::Remaining));
    assert_eq!(errors(records, 0), Some(RecordFormatError::Remaining));
    assert_eq!(errors(records, -1), Some(RecordFormatError::Remaining));
    assert_eq!(errors(&[], 0), None);
    assert_eq!(errors(&[0x01], 1), Some(RecordFormatError::Length { length: -1 }));
    assert_eq!(errors(&[0x40, 0, 0], 1), Some(RecordFormatError::Length { length: 32 }));
    // Length, attributes, timestamp delta, offset delta, null key, null value, headers.
    assert_eq!(errors(&[0x0c, 0, 0, 0, 1, 1, 0], 1), None);
    assert_eq!(errors(&[0x0e, 0, 0, 0, 1, 1, 0, 9], 1), Some(RecordFormatError::Padding));
    assert_eq!(errors(&[0x0c, 0, 0, 0, 1, 1, 1], 1), Some(RecordFormatError::HeaderCount(-1)));
    assert_eq!(errors(&[0x0c, 0, 0, 0, 1, 1, 2], 1), Some(RecordFormatError::HeaderCount(1)));
    assert_eq!(errors(&[0x10, 0, 0, 0, 1, 1, 2, 1, 1], 1), Some(RecordFormatError::HeaderKey(-1)));
    assert_eq!(errors(&[0x0e, 0, 0, 0, 1, 1, 2, 2], 1), Some(RecordFormatError::Structure));
    assert_eq!(errors(&[0x04, 0, 0x80], 1), Some(RecordFormatError::Structure));
}

#[test]
fn log_append_time_and_null_fields_are_kept() {
    let bytes = build(BatchBuilder::new(3).log_append_time(99), &[(5, None, None, vec![]), (9, None, None, vec![])]);
    let batch = RecordBatch::parse(&bytes).unwrap();
    assert_eq!(batch.header().timestamp_type(), TimestampType::LogAppendTime);
    assert_eq!((batch.header().base_timestamp, batch.header().max_timestamp), (5, 99));
    let record = batch.records().nth(1).unwrap().unwrap();
    assert_eq!((record.key, record.value, record.offset_delta, record.timestamp_delta), (None, None, 1, 4));
}

proptest! {
    #[test]
    fn what_is_built_is_read(records in prop::collection::vec(any_record(), 1..20)) {
        let bytes = build(BatchBuilder::new(40), &records);
        let batch = RecordBatch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        prop_assert_eq!(batch.header().max_timestamp, records.iter().map(|record| record.0).max().unwrap());
        prop_assert_eq!(read(&batch), records);
    }

    #[test]
    fn a_changed_header_has_the_crc_of_all_bytes(
        records in prop::collection::vec(any_record(), 1..20),
        max_timestamp in any::<i64>(),
        append_time in any::<bool>(),
        offset in any::<i64>(),
        epoch in any::<i32>(),
    ) {
        let bytes = build(BatchBuilder::new(0), &records);
        let batch = RecordBatch::parse(&bytes).unwrap();
        let mut header = *batch.header();
        let kind = if append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime };
        patch_timestamps(&mut header, kind, max_timestamp);
        let mut head = header.to_bytes();
        patch_base_offset(&mut head, offset);
        patch_partition_leader_epoch(&mut head, epoch);
        let patched = [&head[..], batch.record_bytes()].concat();
        let again = RecordBatch::parse(&patched).unwrap();
        again.check_crc().unwrap();
        prop_assert_eq!(again.header().max_timestamp, max_timestamp);
        prop_assert_eq!(again.header().timestamp_type(), kind);
        prop_assert_eq!((again.header().base_offset, again.header().partition_leader_epoch), (offset, epoch));
    }

    #[test]
    fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
        if magic && bytes.len() > 16 {
            bytes[8..12].copy_from_slice(&[0, 0, 0, 120]);
            bytes[16] = 2;
        }
        for batch in batches(&bytes).flatten() {
            for record in batch.records().flatten() {
                record.headers.for_each(drop);
            }
        }
    }

    #[test]
    fn another_decoder_reads_what_is_built(
        records in prop::collection::vec(any_record(), 1..12),
        codec in prop::sample::select(vec![
            CompressionType::None, CompressionType::Gzip, CompressionType::Snappy, CompressionType::Lz4, CompressionType::Zstd,
        ]),
    ) {
        let bytes = build(BatchBuilder::new(11).compression(codec).producer(4, 2, 8), &records);
        let set = other::RecordBatchDecoder::decode(&mut bytes.clone()).unwrap();
        prop_assert_eq!(set.records.len(), records.len());
        for (at, (record, (timestamp, key, value, headers))) in set.records.iter().zip(&records).enumerate() {
            let at = i64::try_from(at).unwrap();
            prop_assert_eq!(record.offset, 11 + at);
            prop_assert_eq!(i64::from(record.sequence), 8 + at);
            prop_assert_eq!((record.producer_id, record.producer_epoch), (4, 2));
            prop_assert_eq!(record.timestamp, *timestamp);
            prop_assert_eq!(record.key.as_deref(), key.as_deref());
            prop_assert_eq!(record.value.as_deref(), value.as_deref());
            // A map keeps only the last header of a name.
            for (name, _) in headers {
                prop_assert!(record.headers.keys().any(|key| key.as_bytes() == name));
            }
        }
    }

    #[test]
    fn what_another_encoder_builds_is_read(records in prop::collection::vec(any_record(), 1..12)) {
        let theirs: Vec<_> = records.iter().enumerate().map(|(at, (timestamp, key, value, headers))| other::Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: 7,
            producer_epoch: 1,
            timestamp_type: other::TimestampType::Creation,
            offset: i64::try_from(at).unwrap(),
            sequence: i32::try_from(at).unwrap(),
            timestamp: *timestamp,
            key: key.clone().map(Bytes::from),
            value: value.clone().map(Bytes::from),
            headers: headers.iter().map(|(key, value)| {
                let key = String::from_utf8(key.clone()).unwrap();
                (kafka_protocol::protocol::StrBytes::from_string(key), value.clone().map(Bytes::from))
            }).collect::<IndexMap<_, _>>(),
        }).collect();
        let mut bytes = BytesMut::new();
        let options = other::RecordEncodeOptions { version: 2, compression: other::Compression::None };
        other::RecordBatchEncoder::encode(&mut bytes, &theirs, &options).unwrap();
        let batch = RecordBatch::parse(&bytes).unwrap();
        batch.check_crc().unwrap();
        prop_assert_eq!((batch.header().producer_id, batch.header().partition_leader_epoch), (7, 3));
        let ours = read(&batch);
        prop_assert_eq!(ours.len(), records.len());
        for (ours, theirs) in ours.iter().zip(&records) {
            prop_assert_eq!((ours.0, &ours.1, &ours.2), (theirs.0, &theirs.1, &theirs.2));
        }
    }
}
