//! gzip (RFC 1952): one or more members, each with its CRC-32 and length checked.

use flate2::{Compression, Decompress, FlushDecompress, Status, write::GzEncoder};

use super::{DecompressError, Output, PIECE_BYTES, room};
use crate::model::compression::CompressionType;

/// The window of deflate: 32 KiB.
const WINDOW_BITS: u8 = 15;
const LEVELS: (i32, i32) = (1, 9);

pub(super) type Writer = GzEncoder<Vec<u8>>;

/// `level` -1 and `None` are zlib's default, 6.
pub(super) fn writer(level: Option<i32>, out: Vec<u8>) -> Writer {
    let level = level
        .filter(|level| *level != -1)
        .and_then(|level| u32::try_from(level.clamp(LEVELS.0, LEVELS.1)).ok())
        .map_or_else(Compression::default, Compression::new);
    GzEncoder::new(out, level)
}

/// zlib's state, made at the first batch.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    inflate: Option<Decompress>,
}

impl Decoder {
    pub(super) fn decode<E: From<DecompressError>>(
        &mut self,
        input: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Output<'_, E>,
    ) -> Result<(), E> {
        let inflate = self.inflate.get_or_insert_with(|| Decompress::new_gzip(WINDOW_BITS));
        let scratch = room(scratch, PIECE_BYTES);
        let mut rest = input;
        inflate.reset(true);
        loop {
            let before = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(rest, scratch, FlushDecompress::None)
                .map_err(|_| corrupt("not a gzip stream, or its checksum differs"))?;
            let used = usize::try_from(inflate.total_in() - before.0).unwrap_or(usize::MAX);
            let made = usize::try_from(inflate.total_out() - before.1).unwrap_or(usize::MAX);
            rest = rest.get(used..).unwrap_or(&[]);
            output.push(scratch.get(..made).unwrap_or(&[]))?;
            match status {
                Status::StreamEnd if rest.is_empty() => return Ok(()),
                Status::StreamEnd => inflate.reset(true),
                Status::Ok | Status::BufError if used == 0 && made == 0 => {
                    return Err(corrupt("it ends too early").into());
                }
                Status::Ok | Status::BufError => {}
            }
        }
    }
}

const fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt { codec: CompressionType::Gzip, reason }
}
