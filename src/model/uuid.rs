//! `org.apache.kafka.common.Uuid`: 16 bytes, printed as 22 characters of unpadded base64url.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A 128-bit identifier in network byte order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid([u8; 16]);

/// The text is not 22 characters of base64url that hold 16 bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Kafka uuid (22 characters of base64url)")]
pub struct ParseUuidError(String);

impl Uuid {
    /// `uuid(0,0)`: no id; as a log directory, MIGRATING.
    pub const ZERO: Self = Self([0; 16]);
    /// `uuid(0,1)`: the topic id of `__cluster_metadata`; as a log directory, UNASSIGNED.
    pub const ONE: Self = Self::from_u128(1);
    /// `uuid(0,2)`: as a log directory, LOST.
    pub const TWO: Self = Self::from_u128(2);

    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    pub const fn from_u128(value: u128) -> Self {
        Self(value.to_be_bytes())
    }

    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub const fn is_zero(&self) -> bool {
        u128::from_be_bytes(self.0) == 0
    }

    /// Makes an id from 16 random bytes, as RFC 9562 version 4. Returns `None` where the text form would start with
    /// `-`: Kafka draws again then, because command lines would take such an id for an option.
    pub fn from_random(mut random: [u8; 16]) -> Option<Self> {
        random[6] = (random[6] & 0x0f) | 0x40;
        random[8] = (random[8] & 0x3f) | 0x80;
        let id = Self(random);
        (!id.to_string().starts_with('-')).then_some(id)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let err = || ParseUuidError(text.chars().take(64).collect());
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| err())?;
        Ok(Self(bytes.try_into().map_err(|_| err())?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_as_kafka_does() {
        assert_eq!(Uuid::ONE.to_string(), "AAAAAAAAAAAAAAAAAAAAAQ");
        let id: Uuid = "HHnIV-EsThCbqlI9qdk6dQ".parse().unwrap();
        assert_eq!(id.to_string(), "HHnIV-EsThCbqlI9qdk6dQ");
        assert!("short".parse::<Uuid>().is_err());
    }
}
