//! The crate `kafka-protocol`, written by others from the same definitions, reads and writes the same bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};

use super::author::{Style, write};
use super::notation::Kind;
use super::{Definition, each, reencode};

/// What the other codec makes of a message; `None` where it does not know the message or the version.
fn theirs(definition: &Definition, version: i16, mut bytes: Bytes) -> Option<Bytes> {
    let key = ApiKey::try_from(definition.id?).ok()?;
    let mut out = BytesMut::new();
    let encoded = match definition.kind {
        Kind::Request => RequestKind::decode(key, &mut bytes, version).and_then(|m| m.encode(&mut out, version)),
        Kind::Response => ResponseKind::decode(key, &mut bytes, version).and_then(|m| m.encode(&mut out, version)),
        _ => return None,
    };
    match encoded {
        Err(e) if format!("{e:#}").contains("version not supported") => None,
        encoded => {
            let all = encoded.map(|()| bytes.is_empty());
            assert!(matches!(all, Ok(true)), "{} v{version}: {all:?}", definition.name);
            Some(out.freeze())
        }
    }
}

#[test]
fn another_codec_reads_and_writes_the_same_bytes() {
    let mut compared = 0;
    for seed in 0..8 {
        each(|definition, version| {
            let ours = reencode(&definition.name, version, write(definition, version, Style::Rich, seed)).unwrap();
            if let Some(theirs) = theirs(definition, version, ours.clone()) {
                assert_eq!(theirs, ours, "{} v{version}, seed {seed}", definition.name);
                compared += 1;
            }
        });
    }
    assert!(compared > 8 * 400, "only {compared} comparisons: the other codec knows less than it did");
}
