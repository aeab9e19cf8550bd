//! What stands before every request and response.
//!
//! Precedent: Kafka's `RequestHeader` and `ResponseHeader`.

use bytestring::ByteString;

use super::api::ApiKey;
use super::messages::request_header;
use super::wire::{DecodeError, Message, Reader, Writer};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    pub api_key: ApiKey,
    /// Not checked: what the handlers' table does not serve is refused there.
    pub api_version: i16,
    pub correlation_id: i32,
    pub client_id: Option<ByteString>,
}

impl RequestHeader {
    /// Bytes at the start of every frame that say which request it is: key, version, correlation id.
    pub const FIXED_LEN: usize = 8;

    /// Reads the header; `r` then stands at the request's body.
    ///
    /// # Errors
    /// [`DecodeError::UnknownApiKey`], and whatever the bytes do not hold.
    pub fn decode(r: &mut Reader) -> Result<Self, DecodeError> {
        let mut ahead = r.clone();
        let number = ahead.i16()?;
        let api_version = ahead.i16()?;
        let api_key = ApiKey::from_number(number).ok_or(DecodeError::UnknownApiKey(number))?;
        let header = request_header::RequestHeader::decode(r, api_key.request_header_version(api_version))?;
        Ok(Self { api_key, api_version, correlation_id: header.correlation_id, client_id: header.client_id })
    }

    pub fn encode(&self, w: &mut Writer) {
        let header = request_header::RequestHeader {
            request_api_key: self.api_key.number(),
            request_api_version: self.api_version,
            correlation_id: self.correlation_id,
            client_id: self.client_id.clone(),
        };
        header.encode(w, self.api_key.request_header_version(self.api_version));
    }

    /// The header of the response to this request.
    pub fn response(&self) -> ResponseHeader {
        ResponseHeader {
            version: self.api_key.response_header_version(self.api_version),
            correlation_id: self.correlation_id,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseHeader {
    /// Version of the header, which is not the response's.
    pub version: i16,
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// # Errors
    /// Whatever the bytes do not hold.
    pub fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        let header = super::messages::response_header::ResponseHeader::decode(r, version)?;
        Ok(Self { version, correlation_id: header.correlation_id })
    }

    pub fn encode(&self, w: &mut Writer) {
        let header = super::messages::response_header::ResponseHeader { correlation_id: self.correlation_id };
        header.encode(w, self.version);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn round_trip(header: &RequestHeader, bytes: &[u8]) {
        let mut w = Writer::new();
        header.encode(&mut w);
        assert_eq!(&w.finish().bytes[..], bytes);
        let mut r = Reader::new(Bytes::copy_from_slice(bytes));
        assert_eq!(RequestHeader::decode(&mut r).as_ref(), Ok(header));
        assert_eq!(r.remaining(), 0);
    }

    #[test]
    fn the_client_id_keeps_its_old_length_in_the_flexible_header() {
        let header = RequestHeader {
            api_key: ApiKey::Produce,
            api_version: 8,
            correlation_id: 7,
            client_id: Some(ByteString::from_static("ab")),
        };
        round_trip(&header, b"\x00\x00\x00\x08\x00\x00\x00\x07\x00\x02ab");
        let header = RequestHeader { api_version: 9, ..header };
        round_trip(&header, b"\x00\x00\x00\x09\x00\x00\x00\x07\x00\x02ab\x00");
        let header = RequestHeader { client_id: None, ..header };
        round_trip(&header, b"\x00\x00\x00\x09\x00\x00\x00\x07\xff\xff\x00");
    }

    #[test]
    fn a_key_from_elsewhere_is_refused() {
        let mut r = Reader::new(Bytes::from_static(b"\x16\x03\x01\x02\x00\x01\x00\x01\xff\xff"));
        assert_eq!(RequestHeader::decode(&mut r), Err(DecodeError::UnknownApiKey(0x1603)));
    }
}
