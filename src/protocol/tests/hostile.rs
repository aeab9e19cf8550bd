//! Bytes that no honest peer sends: refused or read as something else, never more than that.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::author::{Random, Style, write};
use super::{each, reencode};
use crate::protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::messages::produce_request::ProduceRequest;
use crate::protocol::wire::{DecodeError, Message, Reader};

/// Changes, drops or adds some bytes.
fn spoil(bytes: &Bytes, random: &mut Random) -> Bytes {
    let mut out = BytesMut::from(&bytes[..]);
    for _ in 0..=random.below(3) {
        let at = random.below(out.len() + 1);
        let any = random.next().to_be_bytes();
        match random.below(5) {
            0 => out.truncate(at),
            1 => out.extend_from_slice(&any[..random.below(9)]),
            2 if at < out.len() => out[at] ^= 1 << random.below(8),
            3 if at < out.len() => out[at] = [0x00, 0x7f, 0x80, 0xff][random.below(4)],
            _ if at + 4 <= out.len() => out[at..at + 4].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff]),
            _ => {}
        }
    }
    out.freeze()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// What is read from spoilt bytes is a message like any other: written, it is read as the same.
    #[test]
    fn spoilt_messages_never_panic(seed: u64) {
        let mut random = Random(seed);
        each(|definition, version| {
            let spoilt = spoil(&write(definition, version, Style::Rich, random.next()), &mut random);
            if let Ok(once) = reencode(&definition.name, version, spoilt) {
                prop_assert_eq_or_panic(&definition.name, version, once);
            }
        });
    }
}

fn prop_assert_eq_or_panic(name: &str, version: i16, once: Bytes) {
    assert_eq!(reencode(name, version, once.clone()), Ok(once), "{name} v{version}");
}

#[test]
fn a_truncated_message_is_refused_at_every_length() {
    each(|definition, version| {
        let whole = write(definition, version, Style::Rich, 7);
        for len in 0..whole.len() {
            let cut = reencode(&definition.name, version, whole.slice(..len));
            assert!(cut.is_err(), "{} v{version} cut to {len} of {}", definition.name, whole.len());
        }
    });
}

/// The four bytes that made another codec abort its process.
#[test]
fn a_count_that_cannot_be_is_refused_before_anything_is_reserved() {
    let body = Bytes::from_static(b"\xff\xff\x00\x01\x00\x00\x75\x30\x7f\xff\xff\xff");
    let refused = ProduceRequest::decode(&mut Reader::new(body), 3);
    assert_eq!(refused, Err(DecodeError::ArrayTooLong { count: 0x7fff_ffff, left: 0 }));

    let mut r = Reader::new(Bytes::from_static(b"\x00\x00\x00\x03\x00\x00\x00\x00\x00"));
    let read = |_: &mut Reader| -> Result<[u8; 1 << 10], _> { unreachable!("nothing of it is read") };
    assert_eq!(r.array(false, 2, read), Err(DecodeError::ArrayTooLong { count: 3, left: 5 }));
}

#[test]
fn lengths_that_are_none_are_refused() {
    let read = |bytes: &'static [u8]| Reader::new(Bytes::from_static(bytes));
    assert_eq!(read(b"\x7f\xff\xff\xff").bytes(false), Err(DecodeError::Truncated { wanted: 0x7fff_ffff, left: 0 }));
    assert_eq!(read(b"\xff\xff\xff\xfe").bytes(false), Err(DecodeError::Length(-2)));
    assert_eq!(read(b"\xff\xfe").string(false), Err(DecodeError::Length(-2)));
    assert_eq!(read(b"\xff\xff").string(false), Err(DecodeError::Null));
    assert_eq!(read(b"\x00").string(true), Err(DecodeError::Null));
    assert_eq!(read(b"\x00").nullable_string(true, true), Ok(None));
    assert_eq!(read(b"\xff\xff\xff\xff\x0f").string(true), Err(DecodeError::StringTooLong(0xffff_fffe)));
    assert_eq!(read(b"\xff\xff\xff\xff\x1f").string(true), Err(DecodeError::Varint));
    assert_eq!(read(b"\x03\xc3\x28").string(true), Err(DecodeError::Utf8));
    assert_eq!(read(b"\x02").nullable(|_| Ok(())), Err(DecodeError::NullMarker(2)));
}

#[test]
fn tagged_fields_ascend_and_are_read_whole() {
    let tags = |bytes: &'static [u8]| {
        let mut seen = Vec::new();
        let read = Reader::new(Bytes::from_static(bytes)).tagged_fields(|tag, r| {
            seen.push(tag);
            if tag == 1 { r.i8().map(|_| true) } else { Ok(false) }
        });
        read.map(|()| seen)
    };
    assert_eq!(tags(b"\x02\x01\x01\xaa\x05\x02\xbb\xbb"), Ok(vec![1, 5]));
    assert_eq!(tags(b"\x02\x05\x00\x01\x01\xaa"), Err(DecodeError::TagOrder(1)));
    assert_eq!(tags(b"\x02\x05\x00\x05\x00"), Err(DecodeError::TagOrder(5)));
    assert_eq!(tags(b"\x01\x01\x02\xaa\xaa"), Err(DecodeError::Trailing(1)));
    assert_eq!(tags(b"\x01\x01\x00"), Err(DecodeError::Truncated { wanted: 1, left: 0 }));
    assert_eq!(tags(b"\x01\x05\x05\xaa"), Err(DecodeError::Truncated { wanted: 5, left: 1 }));
    assert_eq!(tags(b"\xff\xff\xff\xff\x0f"), Err(DecodeError::ArrayTooLong { count: u32::MAX, left: 0 }));
}

/// Empty strings take 1 byte on the wire and 32 in memory: many of them are a memory attack, not a request.
#[test]
fn a_frame_may_not_take_far_more_memory_than_its_bytes() {
    let mut dense = BytesMut::from(&b"\x81\x80\x80\x04"[..]);
    dense.resize(4 + (8 << 20), 1);
    let mut r = Reader::new(dense.freeze());
    assert_eq!(r.array(true, 1, |r| r.string(true)), Err(DecodeError::Memory));

    // The densest honest request: very many topics with very short names.
    let topics = (0..50_000u32).map(|n| {
        let name = format!("{:02x}", n % 256);
        MetadataRequestTopic { name: Some(name.into()), ..Default::default() }
    });
    let request = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
    let bytes = request.to_bytes(1);
    assert_eq!(MetadataRequest::decode(&mut Reader::new(bytes), 1).unwrap().topics, request.topics);
}
