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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(record: impl Into<MetadataRecord>, version: i16, bytes: &[u8]) {
        let record = record.into();
        assert_eq!(&record.encode_value(version)[..], bytes);
        assert_eq!(MetadataRecord::decode_value(Bytes::copy_from_slice(bytes)), Ok(record));
    }

    /// Values as Kafka 4.3.1 wrote them.
    #[test]
    fn values_have_kafkas_bytes() {
        let level = FeatureLevelRecord { name: "metadata.version".into(), feature_level: 30 };
        check(level, 0, b"\x01\x0c\x00\x11metadata.version\x00\x1e\x00");
        check(NoOpRecord {}, 0, b"\x01\x14\x00\x00");
        let begin = BeginTransactionRecord { name: Some("Bootstrap records".into()) };
        check(begin, 0, b"\x01\x17\x00\x01\x00\x12\x12Bootstrap records");
        let unfenced =
            BrokerRegistrationChangeRecord { broker_id: 1, broker_epoch: 12, fenced: -1, ..Default::default() };
        check(unfenced, 0, b"\x01\x11\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x0c\x01\x00\x01\xff");
        let stopped = PartitionChangeRecord {
            partition_id: 1,
            topic_id: "iHz1u53sQr6fkJz4IsAC9A".parse().unwrap(),
            isr: Some(Vec::new()),
            leader: -1,
            eligible_leader_replicas: Some(vec![1]),
            last_known_elr: Some(vec![1]),
            ..Default::default()
        };
        let bytes = b"\x01\x05\x02\x00\x00\x00\x01\x88\x7c\xf5\xbb\x9d\xec\x42\xbe\x9f\x90\x9c\xf8\x22\xc0\x02\xf4\x04\
            \x00\x01\x01\x01\x04\xff\xff\xff\xff\x06\x05\x02\x00\x00\x00\x01\x07\x05\x02\x00\x00\x00\x01";
        check(stopped, 2, bytes);
    }

    #[test]
    fn what_is_not_known_is_refused() {
        let decode = |bytes: &'static [u8]| MetadataRecord::decode_value(Bytes::from_static(bytes));
        assert_eq!(decode(b"\x00\x14\x00\x00"), Err(DecodeError::UnknownFrameVersion(0)));
        assert_eq!(decode(b"\x01\x06\x00\x00"), Err(DecodeError::UnknownRecordType(6)));
        assert_eq!(decode(b"\x01\x14\x01\x00"), Err(DecodeError::UnknownVersion { name: "NoOpRecord", version: 1 }));
        assert_eq!(decode(b"\x01\x14\x00\x00\x00"), Err(DecodeError::Trailing(1)));
        assert_eq!(decode(b""), Err(DecodeError::Truncated { wanted: 1, left: 0 }));
    }

    #[test]
    fn secrets_are_not_printed() {
        let record = UserScramCredentialRecord { stored_key: Bytes::from_static(b"key"), ..Default::default() };
        let printed = format!("{:?}", MetadataRecord::from(record));
        assert!(printed.contains("stored_key: ********") && !printed.contains("key\""), "{printed}");
    }
}
