//! What a consumer says it reads: the topics in its metadata (`ConsumerProtocol.deserializeSubscription`).

use bytes::Bytes;

use crate::protocol::wire::Reader;

/// `protocol.type` of consumers.
pub(super) const CONSUMER: &str = "consumer";

/// The topics of a subscription of any version; `None` for metadata that is none.
pub(super) fn topics(metadata: &Bytes) -> Option<Vec<String>> {
    let mut r = Reader::new(metadata.clone());
    r.i16().ok().filter(|version| *version >= 0)?;
    r.array(false, 2, |r| Ok(r.string(false)?.to_string())).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_a_subscription() {
        let version_3 = b"\0\x03\0\0\0\x02\0\x02t1\0\x01x\xff\xff\xff\xff\0\0\0\0\xff\xff\xff\xff\xff\xff";
        assert_eq!(topics(&Bytes::from_static(version_3)), Some(vec!["t1".to_owned(), "x".to_owned()]));
        assert_eq!(topics(&Bytes::from_static(b"\0\0\0\0\0\0")), Some(Vec::new()));
        for none in [&b""[..], b"\0", b"\0\x01\0\0\0\x09\0\x01a", b"\xff\xff\0\0\0\0"] {
            assert_eq!(topics(&Bytes::from_static(none)), None);
        }
    }
}
