//! The codec against the schema, against another codec, and against Apache Kafka itself.
//!
//! Messages are made by [`author`], which walks the schema and shares no code with what is generated from it.

mod apache;
mod author;
mod hostile;
#[path = "../codegen/notation.rs"]
mod notation;
mod notation_errors;
mod round_trip;
mod second_opinion;

use bytes::Bytes;

use self::notation::Message as Definition;
use super::wire::{DecodeError, Reader, Versioned};

include!(concat!(env!("OUT_DIR"), "/translate.rs"));

/// Every message and record, as the schema describes it.
fn definitions() -> Vec<Definition> {
    notation::parse(include_str!(concat!(env!("OUT_DIR"), "/all.schema"))).unwrap()
}

fn again<M: Versioned>(bytes: Bytes, read: i16, write: i16) -> Result<Bytes, DecodeError> {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, read)?;
    r.expect_end()?;
    Ok(message.to_bytes(write))
}

fn reencode(name: &str, version: i16, bytes: Bytes) -> Result<Bytes, DecodeError> {
    translate(name, version, version, bytes)
}

/// Every message in every version.
fn each(mut check: impl FnMut(&Definition, i16)) {
    for definition in definitions() {
        for version in definition.versions.min..=definition.versions.max {
            check(&definition, version);
        }
    }
}
