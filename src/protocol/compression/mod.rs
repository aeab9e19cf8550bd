//! The four codecs of record batches, with a limit on what comes out.
//!
//! Precedents: `org.apache.kafka.common.compress`, KIP-110 (zstd), KIP-390 (levels). A [`Decompressor`] is kept and used
//! again: its buffers live as long as it does, and bytes leave it piece by piece, so that a batch that expands without
//! end is refused at the limit and not when memory is gone. It must know neither records nor topics.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use crate::model::compression::CompressionType;

/// Bytes per piece where the codec leaves the choice to us (gzip, zstd).
pub const PIECE_BYTES: usize = 64 * 1024;
/// Scratch that grew beyond this (raw snappy, wide zstd windows) is given back after the batch that needed it.
pub const SCRATCH_KEPT_BYTES: usize = 8 * 1024 * 1024;

/// Why a payload does not decompress.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecompressError {
    /// Not what the codec writes, cut off, or with something behind it.
    #[error("{} payload: {reason}", codec.name())]
    Corrupt { codec: CompressionType, reason: &'static str },
    /// More comes out than is allowed.
    #[error("the batch expands to more than {limit} bytes")]
    TooLarge { limit: u64 },
}

/// A codec refused to compress.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{} can not compress this", codec.name())]
pub struct CompressError {
    pub codec: CompressionType,
}

/// All decoders and their scratch; one per lane or connection thread.
#[derive(Debug, Default)]
pub struct Decompressor {
    /// What a decoder writes into; zeroed once, when it grows.
    scratch: Vec<u8>,
    gzip: gzip::Decoder,
    snappy: snappy::Decoder,
    zstd: zstd::Decoder,
}

impl Decompressor {
    pub fn new() -> Self {
        Self::default()
    }

    /// Hands `sink` the decompressed bytes of `input` in pieces and returns how many there were. Nothing beyond `limit`
    /// bytes reaches the sink; the piece that would pass it is not handed over.
    ///
    /// # Errors
    /// [`DecompressError`], or what the sink returns: it stops the work at once.
    pub fn pieces<E: From<DecompressError>>(
        &mut self,
        codec: CompressionType,
        input: &[u8],
        limit: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<u64, E> {
        let mut output = Output { sink, produced: 0, limit };
        let result = match codec {
            CompressionType::None => output.push(input),
            CompressionType::Gzip => self.gzip.decode(input, &mut self.scratch, &mut output),
            CompressionType::Snappy => self.snappy.decode(input, &mut self.scratch, &mut output),
            CompressionType::Lz4 => lz4::decode(input, &mut self.scratch, &mut output),
            CompressionType::Zstd => self.zstd.decode(input, &mut self.scratch, &mut output),
        };
        let produced = output.produced;
        self.release();
        result.map(|()| produced)
    }

    /// Decompresses `input` as a whole onto the end of `out`.
    ///
    /// # Errors
    /// [`DecompressError`]; `out` then ends with what came before it.
    pub fn decompress(
        &mut self,
        codec: CompressionType,
        input: &[u8],
        limit: u64,
        out: &mut Vec<u8>,
    ) -> Result<(), DecompressError> {
        self.pieces(codec, input, limit, &mut |piece| {
            out.extend_from_slice(piece);
            Ok(())
        })
        .map(|_: u64| ())
    }

    fn release(&mut self) {
        if self.scratch.len() > SCRATCH_KEPT_BYTES {
            self.scratch = Vec::new();
        }
    }
}

/// Where a decoder's pieces go, and how much more may come.
struct Output<'s, E> {
    sink: &'s mut dyn FnMut(&[u8]) -> Result<(), E>,
    produced: u64,
    limit: u64,
}

impl<E: From<DecompressError>> Output<'_, E> {
    fn push(&mut self, piece: &[u8]) -> Result<(), E> {
        self.check(piece.len())?;
        self.produced += count(piece.len());
        if piece.is_empty() { Ok(()) } else { (self.sink)(piece) }
    }

    /// May `more` bytes still come? Asked before memory is taken for them.
    fn check(&self, more: usize) -> Result<(), E> {
        if self.produced.saturating_add(count(more)) > self.limit {
            return Err(DecompressError::TooLarge { limit: self.limit }.into());
        }
        Ok(())
    }
}

/// The first `len` bytes of `scratch`, which grows to hold them.
fn room(scratch: &mut Vec<u8>, len: usize) -> &mut [u8] {
    if scratch.len() < len {
        scratch.resize(len, 0);
    }
    scratch.get_mut(..len).unwrap_or(&mut [])
}

fn count(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// Appends `input`, compressed, to `out`. A `level` outside the codec's range is brought into it; `None` is Kafka's
/// default; snappy has no levels and lz4 none here.
///
/// # Errors
/// [`CompressError`]; `out` is then not usable.
pub fn compress(
    codec: CompressionType,
    level: Option<i32>,
    input: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), CompressError> {
    let mut compressor = Compressor::new(codec, level, std::mem::take(out))?;
    compressor.write(input)?;
    *out = compressor.finish()?;
    Ok(())
}

/// Compresses bytes that come in pieces.
pub struct Compressor {
    codec: CompressionType,
    writer: Writer,
}

enum Writer {
    None(Vec<u8>),
    Gzip(gzip::Writer),
    Snappy(Box<snappy::Writer>),
    Lz4(Box<lz4::Writer>),
    Zstd(zstd::Writer),
}

impl std::fmt::Debug for Compressor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compressor").field("codec", &self.codec).finish_non_exhaustive()
    }
}

impl Compressor {
    /// Compressed bytes are appended to `out`, which [`Self::finish`] gives back.
    ///
    /// # Errors
    /// The codec cannot be set up.
    pub fn new(codec: CompressionType, level: Option<i32>, out: Vec<u8>) -> Result<Self, CompressError> {
        let writer = match codec {
            CompressionType::None => Writer::None(out),
            CompressionType::Gzip => Writer::Gzip(gzip::writer(level, out)),
            CompressionType::Snappy => Writer::Snappy(Box::new(snappy::Writer::new(out))),
            CompressionType::Lz4 => Writer::Lz4(Box::new(lz4::Writer::new(out))),
            CompressionType::Zstd => Writer::Zstd(zstd::writer(level, out).map_err(|_| CompressError { codec })?),
        };
        Ok(Self { codec, writer })
    }

    /// # Errors
    /// The codec fails.
    pub fn write(&mut self, input: &[u8]) -> Result<(), CompressError> {
        use std::io::Write;
        let done = match &mut self.writer {
            Writer::None(out) => {
                out.extend_from_slice(input);
                true
            }
            Writer::Gzip(writer) => writer.write_all(input).is_ok(),
            Writer::Snappy(writer) => writer.write(input),
            Writer::Lz4(writer) => writer.write(input),
            Writer::Zstd(writer) => writer.write_all(input).is_ok(),
        };
        done.then_some(()).ok_or(CompressError { codec: self.codec })
    }

    /// Ends the stream and returns what was given to [`Self::new`] with the compressed bytes behind it.
    ///
    /// # Errors
    /// The codec fails.
    pub fn finish(self) -> Result<Vec<u8>, CompressError> {
        let out = match self.writer {
            Writer::None(out) => Some(out),
            Writer::Gzip(writer) => writer.finish().ok(),
            Writer::Snappy(writer) => writer.finish(),
            Writer::Lz4(writer) => writer.finish(),
            Writer::Zstd(writer) => writer.finish().ok(),
        };
        out.ok_or(CompressError { codec: self.codec })
    }
}

#[cfg(test)]
mod tests;
