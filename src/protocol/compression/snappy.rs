//! snappy: xerial's framing, which Java and Sarama write, or one bare block, which librdkafka and franz-go write.
//!
//! xerial's frame (`org.xerial.snappy.SnappyOutputStream`) is a 16-byte header and then, again and again, a big-endian
//! length and a block of at most 32 KiB before compression. What does not begin with the header is one bare block.

use super::{DecompressError, Output, room};
use crate::model::compression::CompressionType;

const MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
/// Magic, version and oldest compatible version.
const HEADER_LEN: usize = 16;
const VERSION: u32 = 1;
/// Java's block size before compression.
const BLOCK_BYTES: usize = 32 * 1024;
/// The best a snappy block can do: 3 bytes that copy 64. What declares more is a lie, found before memory is taken.
const MOST_PER_BYTE: usize = 22;

#[derive(Default)]
pub(super) struct Decoder {
    decoder: snap::raw::Decoder,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("snappy::Decoder")
    }
}

impl Decoder {
    pub(super) fn decode<E: From<DecompressError>>(
        &mut self,
        input: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Output<'_, E>,
    ) -> Result<(), E> {
        if !input.starts_with(&MAGIC) {
            return self.block(input, scratch, output);
        }
        let mut rest = input;
        while !rest.is_empty() {
            // Streams may follow each other, each with its header.
            if rest.starts_with(&MAGIC) {
                rest = rest.get(HEADER_LEN..).ok_or(corrupt("the stream header is cut off"))?;
                continue;
            }
            let (length, behind) = rest.split_first_chunk::<4>().ok_or(corrupt("a block length is cut off"))?;
            let len = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            let (block, behind) = behind.split_at_checked(len).ok_or(corrupt("a block is cut off"))?;
            self.block(block, scratch, output)?;
            rest = behind;
        }
        Ok(())
    }

    fn block<E: From<DecompressError>>(
        &mut self,
        block: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Output<'_, E>,
    ) -> Result<(), E> {
        if block.is_empty() {
            return Err(corrupt("an empty block").into());
        }
        let len = snap::raw::decompress_len(block).map_err(|_| corrupt("no length in front of a block"))?;
        if len > block.len().saturating_mul(MOST_PER_BYTE) {
            return Err(corrupt("a block declares more than it can hold").into());
        }
        output.check(len)?;
        let scratch = room(scratch, len);
        let made = self.decoder.decompress(block, scratch).map_err(|_| corrupt("a damaged block"))?;
        output.push(scratch.get(..made).unwrap_or(&[]))
    }
}

/// Writes xerial's framing, as Java does.
pub(super) struct Writer {
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
    compressed: Vec<u8>,
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn new(mut out: Vec<u8>) -> Self {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&VERSION.to_be_bytes());
        let compressed = vec![0; snap::raw::max_compress_len(BLOCK_BYTES)];
        Self { encoder: snap::raw::Encoder::new(), block: Vec::with_capacity(BLOCK_BYTES), compressed, out }
    }

    pub(super) fn write(&mut self, mut input: &[u8]) -> bool {
        while !input.is_empty() {
            let free = BLOCK_BYTES.saturating_sub(self.block.len()).min(input.len());
            let (now, later) = input.split_at(free);
            self.block.extend_from_slice(now);
            input = later;
            if self.block.len() == BLOCK_BYTES && !self.flush() {
                return false;
            }
        }
        true
    }

    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        (self.block.is_empty() || self.flush()).then_some(self.out)
    }

    fn flush(&mut self) -> bool {
        let Ok(len) = self.encoder.compress(&self.block, &mut self.compressed) else { return false };
        let (Some(bytes), Ok(length)) = (self.compressed.get(..len), u32::try_from(len)) else { return false };
        self.out.extend_from_slice(&length.to_be_bytes());
        self.out.extend_from_slice(bytes);
        self.block.clear();
        true
    }
}

const fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt { codec: CompressionType::Snappy, reason }
}
