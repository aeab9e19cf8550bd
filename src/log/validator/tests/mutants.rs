//! Records of Produce requests, good ones and ones with a few things wrong, at every depth: fields of records, the
//! payload around them, the header, the bytes behind.

use super::{CODECS, NOW, varint};
use crate::apache::Chance;
use crate::model::compression::CompressionType;
use crate::protocol::compression::compress;
use crate::protocol::record_batch::{Attributes, HEADER_LEN};

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const CRC_COVERED_FROM: usize = 21;
/// Numbers at which something may go wrong.
const EDGES: [i64; 14] =
    [-2, -1, 0, 1, 2, 60, 127, 128, 5_000, i16::MAX as i64, i32::MAX as i64, i32::MIN as i64, i64::MAX, i64::MIN];

/// A batch on its way.
struct Batch {
    base_offset: i64,
    leader_epoch: i32,
    magic: u8,
    attributes: i16,
    last_offset_delta: i32,
    base_timestamp: i64,
    max_timestamp: i64,
    producer: (i64, i16, i32),
    count: i32,
    payload: Vec<u8>,
}

impl Batch {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN + self.payload.len());
        bytes.extend(self.base_offset.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(self.leader_epoch.to_be_bytes());
        bytes.push(self.magic);
        bytes.extend([0; 4]);
        bytes.extend(self.attributes.to_be_bytes());
        bytes.extend(self.last_offset_delta.to_be_bytes());
        bytes.extend(self.base_timestamp.to_be_bytes());
        bytes.extend(self.max_timestamp.to_be_bytes());
        bytes.extend(self.producer.0.to_be_bytes());
        bytes.extend(self.producer.1.to_be_bytes());
        bytes.extend(self.producer.2.to_be_bytes());
        bytes.extend(self.count.to_be_bytes());
        bytes.extend(&self.payload);
        let length = i32::try_from(bytes.len() - 12).unwrap();
        bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
        reseal(&mut bytes);
        bytes
    }
}

fn reseal(bytes: &mut [u8]) {
    if let Some(covered) = bytes.get(CRC_COVERED_FROM..) {
        let crc = crc32c::crc32c(covered);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_be_bytes());
    }
}

/// A number as it was, or another.
fn or_edge(chance: &mut Chance, number: i64, once_in: usize) -> i64 {
    match chance.once_in(once_in) {
        true if chance.once_in(2) => number.wrapping_add(chance.one_of(&[-1, 1])),
        true => chance.one_of(&EDGES),
        false => number,
    }
}

/// A length before some bytes; -1 for none.
fn sized(chance: &mut Chance, bytes: Option<&[u8]>, once_in: usize, out: &mut Vec<u8>) {
    let length = bytes.map_or(-1, |bytes| i64::try_from(bytes.len()).unwrap());
    out.extend(varint(or_edge(chance, length, once_in)));
    out.extend(bytes.unwrap_or_default());
}

/// One record; `once_in`: how seldom a field of it is wrong.
fn record(chance: &mut Chance, index: i64, timestamp: i64, once_in: usize) -> Vec<u8> {
    let some = |chance: &mut Chance| vec![b'a' + u8::try_from(index % 26).unwrap(); chance.one_of(&[0, 1, 7, 60, 130])];
    let mut body = vec![if chance.once_in(once_in) { 1 } else { 0 }];
    body.extend(varint(or_edge(chance, timestamp, once_in)));
    body.extend(varint(or_edge(chance, index, once_in)));
    let key = (!chance.once_in(6)).then(|| some(chance));
    sized(chance, key.as_deref(), once_in, &mut body);
    let value = (!chance.once_in(9)).then(|| some(chance));
    sized(chance, value.as_deref(), once_in, &mut body);
    let headers = chance.one_of(&[0, 0, 0, 1, 3]);
    body.extend(varint(or_edge(chance, headers, once_in)));
    for _ in 0..headers {
        sized(chance, Some(b"key"), once_in, &mut body);
        let value = (!chance.once_in(4)).then_some(&b"value"[..]);
        sized(chance, value, once_in, &mut body);
    }
    if chance.once_in(once_in) {
        body.push(0);
    }
    if chance.once_in(once_in) {
        // A number in more bytes than it needs.
        body[1] |= 0x80;
        body.insert(2, chance.one_of(&[0, 0x80, 0xff]));
    }
    let mut record = varint(or_edge(chance, i64::try_from(body.len()).unwrap(), once_in));
    record.extend(body);
    record
}

/// One record with a value that nearly any codec makes small.
fn bomb(chance: &mut Chance) -> Vec<u8> {
    let value = vec![0; chance.one_of(&[5_000, 19_900, 20_000, 40_000, 300_000])];
    let mut body = vec![0, 0, 0, 2, b'k'];
    sized(chance, Some(&value), usize::MAX, &mut body);
    body.push(0);
    [varint(i64::try_from(body.len()).unwrap()), body].concat()
}

/// Bits and bytes changed, taken away, put in or doubled.
fn damage(chance: &mut Chance, bytes: &mut Vec<u8>) {
    let at = chance.below(bytes.len() + 1);
    match chance.below(5) {
        0 if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
        1 => bytes.truncate(at),
        2 => bytes.extend(vec![chance.one_of(&[0, 0xff, b'x']); 1 + chance.below(80)]),
        3 => bytes.insert(at, chance.one_of(&[0, 0x80, 0xff])),
        _ => bytes.extend_from_within(..at),
    }
}

/// The records of a request for one partition.
pub(super) fn request(chance: &mut Chance) -> Vec<u8> {
    // Most have nothing wrong at one depth, and something at another.
    let wrong = chance.below(8);
    let in_records = if wrong == 1 { 12 } else { usize::MAX };
    let codec = chance.one_of(&[CODECS[0], CODECS[0], CODECS[1], CODECS[2], CODECS[3], CODECS[4]]);
    let mut count = if chance.once_in(200) { 700 } else { chance.one_of(&[1, 1, 2, 3, 20]) };
    let base_timestamp = NOW + chance.one_of(&[0, 0, -1_000, -90_000, 1_000, 7_200_000]);
    let mut payload = Vec::new();
    let mut max_timestamp = -1;
    for index in 0..count {
        let timestamp = chance.one_of(&[0, 1, index, -5, 3_600_001]);
        max_timestamp = max_timestamp.max(base_timestamp + timestamp);
        payload.extend(record(chance, index, timestamp, in_records));
    }
    if wrong == 6 && chance.once_in(4) {
        payload = bomb(chance);
        (count, max_timestamp) = (1, base_timestamp);
    }
    if wrong == 2 {
        damage(chance, &mut payload);
    }
    if codec != CompressionType::None {
        let plain = std::mem::take(&mut payload);
        compress(codec, None, &plain, &mut payload).unwrap();
        if wrong == 3 {
            damage(chance, &mut payload);
        }
    }
    let producer = chance.one_of(&[(-1, -1, -1), (-1, -1, -1), (7, 0, 0), (7, 3, i32::MAX - 1)]);
    let mut batch = Batch {
        base_offset: 0,
        leader_epoch: chance.one_of(&[-1, 0, 9]),
        magic: 2,
        attributes: Attributes::default().with_codec(codec).0,
        last_offset_delta: i32::try_from(count - 1).unwrap(),
        base_timestamp,
        max_timestamp,
        producer,
        count: i32::try_from(count).unwrap(),
        payload,
    };
    if wrong == 4 {
        header(chance, &mut batch);
    }
    let mut bytes = batch.bytes();
    if wrong == 5 {
        match chance.below(6) {
            0 => damage(chance, &mut bytes),
            1 => bytes[MAGIC_AT] = chance.one_of(&[0, 1, 3, 0xff]),
            2 => {
                let length = i64::try_from(bytes.len() - 12).unwrap();
                let length = i32::try_from(or_edge(chance, length, 1).clamp(i32::MIN.into(), i32::MAX.into())).unwrap();
                bytes[LENGTH_AT..LENGTH_AT + 4].copy_from_slice(&length.to_be_bytes());
            }
            3 => bytes.extend_from_within(..chance.one_of(&[1, 11, 12, 16, 17, 60, 61, bytes.len()]).min(bytes.len())),
            4 => old_format(chance, &mut bytes),
            _ => damage(chance, &mut bytes),
        }
        if chance.once_in(2) {
            reseal(&mut bytes);
        }
    }
    bytes
}

/// Fields of the header that say something else.
fn header(chance: &mut Chance, batch: &mut Batch) {
    for _ in 0..1 + chance.below(2) {
        let edge = chance.one_of(&EDGES);
        let int = i32::try_from(edge.clamp(i32::MIN.into(), i32::MAX.into())).unwrap();
        match chance.below(9) {
            0 => batch.base_offset = edge,
            1 => batch.attributes ^= 1 << chance.below(16),
            2 => batch.last_offset_delta = chance.one_of(&[int, batch.last_offset_delta.wrapping_add(1)]),
            3 => batch.base_timestamp = chance.one_of(&[edge, NOW]),
            4 => batch.max_timestamp = chance.one_of(&[edge, NOW]),
            5 => batch.producer.0 = edge,
            6 => batch.producer.1 = i16::try_from(edge.clamp(i16::MIN.into(), i16::MAX.into())).unwrap(),
            7 => batch.producer.2 = int,
            _ => batch.count = chance.one_of(&[int, batch.count.wrapping_add(1), batch.count.wrapping_sub(1)]),
        }
    }
}

/// A message of format 0 or 1.
fn old_format(chance: &mut Chance, bytes: &mut Vec<u8>) {
    let magic: u8 = chance.one_of(&[0, 1]);
    let mut message = vec![magic, 0];
    if magic == 1 {
        message.extend(NOW.to_be_bytes());
    }
    message.extend((-1_i32).to_be_bytes());
    message.extend(5_i32.to_be_bytes());
    message.extend(b"value");
    bytes.clear();
    bytes.extend(0_i64.to_be_bytes());
    bytes.extend(i32::try_from(message.len() + 4).unwrap().to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&message);
    bytes.extend(crc.sum().to_be_bytes());
    bytes.extend(message);
}
