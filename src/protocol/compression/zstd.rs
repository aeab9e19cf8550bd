//! zstd (RFC 8878): frames without dictionary, windows up to what Java's client can write.

use zstd::stream::write::Encoder;
use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, ResetDirective};

use super::{DecompressError, Output, PIECE_BYTES, SCRATCH_KEPT_BYTES, room};
use crate::model::compression::CompressionType;

/// 128 MiB: what levels up to 22 write and what zstd-jni reads by default. A frame with a wider window is refused
/// before memory is taken; memory of a narrower one is touched only as far as its content goes, which has its limit.
const WINDOW_LOG_MAX: u32 = 27;
/// `ZstdConstants`: Kafka's default level.
const DEFAULT_LEVEL: i32 = 3;

pub(super) type Writer = Encoder<'static, Vec<u8>>;

pub(super) fn writer(level: Option<i32>, out: Vec<u8>) -> std::io::Result<Writer> {
    let range = zstd::compression_level_range();
    Encoder::new(out, level.unwrap_or(DEFAULT_LEVEL).clamp(*range.start(), *range.end()))
}

/// zstd's context, made at the first batch and again after one with a wide window.
#[derive(Default)]
pub(super) struct Decoder {
    context: Option<DCtx<'static>>,
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("zstd::Decoder")
    }
}

impl Decoder {
    pub(super) fn decode<E: From<DecompressError>>(
        &mut self,
        input: &[u8],
        scratch: &mut Vec<u8>,
        output: &mut Output<'_, E>,
    ) -> Result<(), E> {
        let mut context = match self.context.take() {
            Some(context) => context,
            None => new_context()?,
        };
        let result = frames(&mut context, input, room(scratch, PIECE_BYTES), output);
        if context.sizeof() <= SCRATCH_KEPT_BYTES * 2 && context.reset(ResetDirective::SessionOnly).is_ok() {
            self.context = Some(context);
        }
        result
    }
}

fn new_context() -> Result<DCtx<'static>, DecompressError> {
    let mut context = DCtx::try_create().ok_or(corrupt("no memory for a decoder"))?;
    context
        .set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))
        .map_err(|_| corrupt("the window limit is not accepted"))?;
    Ok(context)
}

fn frames<E: From<DecompressError>>(
    context: &mut DCtx<'static>,
    input: &[u8],
    scratch: &mut [u8],
    output: &mut Output<'_, E>,
) -> Result<(), E> {
    let mut source = InBuffer::around(input);
    loop {
        let mut target = OutBuffer::around(&mut *scratch);
        let more = context
            .decompress_stream(&mut target, &mut source)
            .map_err(|_| corrupt("not a zstd frame, its window too wide, a dictionary needed, or damaged"))?;
        let made = target.pos();
        output.push(scratch.get(..made).unwrap_or(&[]))?;
        let drained = source.pos() == input.len();
        if drained && more == 0 {
            return Ok(());
        }
        if drained && made < scratch.len() {
            return Err(corrupt("it ends too early").into());
        }
    }
}

const fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt { codec: CompressionType::Zstd, reason }
}
