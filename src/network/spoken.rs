//! What a peer speaks, told by its first bytes: the operator is told when it is not what the listener speaks.
//!
//! Clients print such a mistake as a receive size: HTTP as 1195725856 (`GET `), TLS as 369295616 and more (`16 03 0x`).

use std::fmt;

use bytes::Bytes;

use crate::protocol::header::RequestHeader;
use crate::protocol::wire::Reader;
use crate::telemetry::printable::Printable;

/// Bytes that are enough to tell, client id included.
pub const TELLING_BYTES: usize = 128;

/// Characters of an HTTP request line or a client id that are shown.
const SHOWN_CHARS: usize = 40;
/// No request that a client sends first is larger; a random length is, mostly.
const FIRST_REQUEST_BYTES: usize = 64 * 1024;

/// A protocol that is not the listener's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Spoken {
    Tls,
    /// The start of the request line.
    Http(String),
    /// A Kafka request in clear: its name and the client id.
    PlaintextKafka {
        request: &'static str,
        client_id: Option<String>,
    },
}

impl Spoken {
    /// What speaks on a listener without TLS, if it is not Kafka.
    pub fn on_plaintext(first: &[u8]) -> Option<Self> {
        match first {
            [0x16, 0x03, 0..=4, ..] => Some(Self::Tls),
            _ => http_line(first).map(Self::Http),
        }
    }

    /// What speaks on a listener with TLS, if it is not TLS.
    pub fn on_tls(first: &[u8]) -> Option<Self> {
        http_line(first).map(Self::Http).or_else(|| plaintext_kafka(first))
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls => f.write_str("TLS"),
            Self::Http(line) => write!(f, "HTTP (\"{}\")", Printable::at_most(line, SHOWN_CHARS)),
            Self::PlaintextKafka { request, client_id: None } => write!(f, "plaintext Kafka ({request})"),
            Self::PlaintextKafka { request, client_id: Some(id) } => {
                write!(f, "plaintext Kafka ({request}, client.id={})", Printable::at_most(id, SHOWN_CHARS))
            }
        }
    }
}

/// The request's method and target, if these bytes begin an HTTP request.
fn http_line(first: &[u8]) -> Option<String> {
    const METHODS: [&[u8]; 8] = [b"GET ", b"POST ", b"PUT ", b"HEAD ", b"DELETE ", b"OPTIONS ", b"PRI * ", b"CONNECT "];
    // Four bytes tell: no method shares its first four with another protocol that is asked for here.
    METHODS.iter().find(|method| first.get(..4) == method.get(..4))?;
    let line = first.split(|byte| *byte == b'\r' || *byte == b'\n').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let shown: Vec<_> = words.by_ref().take(2).map(String::from_utf8_lossy).collect();
    Some(shown.join(" "))
}

fn plaintext_kafka(first: &[u8]) -> Option<Spoken> {
    let (length, request) = first.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    if !(RequestHeader::FIXED_LEN..=FIRST_REQUEST_BYTES).contains(&length) {
        return None;
    }
    let header = RequestHeader::decode(&mut Reader::new(Bytes::copy_from_slice(request))).ok()?;
    let client_id = header.client_id.map(|id| id.to_string());
    Some(Spoken::PlaintextKafka { request: header.api_key.name(), client_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_hello_on_a_plaintext_listener() {
        assert_eq!(Spoken::on_plaintext(b"\x16\x03\x01\x02\x00\x01"), Some(Spoken::Tls));
        assert_eq!(Spoken::on_plaintext(b"\x00\x00\x00\x2b\x00\x12"), None);
        assert_eq!(Spoken::on_plaintext(b"\x16\x03"), None);
    }

    #[test]
    fn http_is_quoted_and_escaped() {
        let spoken = Spoken::on_plaintext(b"GET / HTTP/1.1\r\nHost: x").unwrap();
        assert_eq!(spoken.to_string(), "HTTP (\"GET /\")");
        let spoken = Spoken::on_tls(b"POST /\x1b[31m HTTP/1.1").unwrap();
        assert_eq!(spoken.to_string(), "HTTP (\"POST /\\x1b[31m\")");
    }

    #[test]
    fn plaintext_kafka_on_a_tls_listener_names_the_client() {
        let spoken = Spoken::on_tls(b"\x00\x00\x00\x2b\x00\x12\x00\x04\x00\x00\x00\x01\x00\x0aorders-app\x00").unwrap();
        assert_eq!(spoken.to_string(), "plaintext Kafka (ApiVersions, client.id=orders-app)");
        assert_eq!(Spoken::on_tls(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"), None);
        assert_eq!(Spoken::on_tls(b"\x00\x00\x00\x2b"), None);
        assert_eq!(Spoken::on_tls(b""), None);
    }
}
