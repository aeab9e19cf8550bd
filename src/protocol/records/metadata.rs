//! Records of `__cluster_metadata`, one module each, and [`MetadataRecord`], any of them.
//!
//! A record's value is framed as: unsigned varint frame version, always 1; unsigned varint record type; unsigned varint
//! record version; the record, with flexible encoding. Precedent: Kafka's `MetadataRecordSerde`.

use bytes::Bytes;

use crate::protocol::wire::{DecodeError, Message, Reader, Versioned, Writer};

include!(concat!(env!("OUT_DIR"), "/metadata.rs"));

/// The one frame version that exists.
const FRAME_VERSION: u32 = 1;

impl MetadataRecord {
    /// Reads a record's value.
    ///
    /// # Errors
    /// A frame, a type or a version that is not known, and whatever the record's bytes do not hold.
    pub fn decode_value(value: Bytes) -> Result<Self, DecodeError> {
        let mut r = Reader::new(value);
        let frame = r.unsigned_varint()?;
        if frame != FRAME_VERSION {
            return Err(DecodeError::UnknownFrameVersion(frame));
        }
        let id = r.unsigned_varint()?;
        let version = r.unsigned_varint()?;
        let record = Self::decode_body(&mut r, id, version)?;
        r.expect_end()?;
        Ok(record)
    }

    /// Writes a record's value. `version` is what the finalized metadata.version implies for this record type.
    pub fn encode_value(&self, version: i16) -> Bytes {
        let mut w = Writer::new();
        w.unsigned_varint(FRAME_VERSION);
        w.unsigned_varint(self.id().cast_unsigned().into());
        w.unsigned_varint(version.cast_unsigned().into());
        self.encode_body(&mut w, version);
        w.finish().bytes
    }
}

fn known<R: Versioned>(r: &mut Reader, version: u32) -> Result<R, DecodeError> {
    match i16::try_from(version) {
        Ok(v) if (R::MIN_VERSION..=R::MAX_VERSION).contains(&v) => R::decode(r, v),
        _ => Err(DecodeError::UnknownVersion { name: R::NAME, version }),
    }
}
