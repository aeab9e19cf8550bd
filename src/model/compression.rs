//! The codecs of record batches.

/// Bits 0-2 of a batch's attributes (`org.apache.kafka.common.record.CompressionType`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum CompressionType {
    None = 0,
    Gzip = 1,
    Snappy = 2,
    Lz4 = 3,
    Zstd = 4,
}

impl CompressionType {
    pub const fn from_id(id: u8) -> Option<Self> {
        match id {
            0 => Some(Self::None),
            1 => Some(Self::Gzip),
            2 => Some(Self::Snappy),
            3 => Some(Self::Lz4),
            4 => Some(Self::Zstd),
            _ => None,
        }
    }

    /// As in `compression.type`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// Bit 3 of a batch's attributes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum TimestampType {
    CreateTime,
    LogAppendTime,
}
