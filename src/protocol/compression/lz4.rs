//! lz4 frames (LZ4 Frame Format 1.6.x), walked by ourselves block by block over one reused buffer.
//!
//! Java's `Lz4BlockOutputStream` writes independent blocks of 64 KiB without checksums, librdkafka and franz-go frames
//! with linked blocks, content checksums, content sizes and blocks of up to 4 MiB: all are read. A match can reach only
//! into this frame's own last 64 KiB, never into what an earlier batch left in the buffer. Dictionaries, legacy and
//! skippable frames are not read; Kafka does not either.

use xxhash_rust::xxh32::xxh32;

use super::{DecompressError, Output, room};
use crate::model::compression::CompressionType;
use crate::protocol::record_batch::Cursor;

const MAGIC: u32 = 0x184D_2204;
/// How far back a match may reach.
const HISTORY_BYTES: usize = 64 * 1024;
/// Set in a block's length when its bytes are stored as they are.
const STORED: u32 = 1 << 31;

const FLAG_VERSION_MASK: u8 = 0xc0;
const FLAG_VERSION: u8 = 0x40;
const FLAG_INDEPENDENT: u8 = 0x20;
const FLAG_BLOCK_CHECKSUM: u8 = 0x10;
const FLAG_CONTENT_SIZE: u8 = 0x08;
const FLAG_CONTENT_CHECKSUM: u8 = 0x04;
const FLAG_RESERVED: u8 = 0x02;
const FLAG_DICTIONARY: u8 = 0x01;

/// Java's block size, and its code in the descriptor.
const WRITTEN_BLOCK_BYTES: usize = 64 * 1024;
const WRITTEN_BLOCK_CODE: u8 = 4 << 4;

/// What the frame's descriptor says.
struct Descriptor {
    independent: bool,
    block_checksum: bool,
    content_checksum: bool,
    content_size: Option<u64>,
    block_bytes: usize,
}

impl Descriptor {
    fn read(cursor: &mut Cursor<'_>) -> Result<Self, DecompressError> {
        const CUT: DecompressError = corrupt("the frame header is cut off");
        if u32::from_le_bytes(cursor.array().ok_or(CUT)?) != MAGIC {
            return Err(corrupt("not an lz4 frame"));
        }
        let descriptor = cursor.rest();
        let [flags, sizes] = cursor.array().ok_or(CUT)?;
        if flags & FLAG_VERSION_MASK != FLAG_VERSION || flags & (FLAG_RESERVED | FLAG_DICTIONARY) != 0 {
            return Err(corrupt("a frame of another version, or with a dictionary"));
        }
        let content_size = match flags & FLAG_CONTENT_SIZE {
            0 => None,
            _ => Some(u64::from_le_bytes(cursor.array().ok_or(CUT)?)),
        };
        let hashed = descriptor.get(..descriptor.len() - cursor.len()).ok_or(CUT)?;
        let [_, expected, _, _] = xxh32(hashed, 0).to_le_bytes();
        if cursor.byte().ok_or(CUT)? != expected {
            return Err(corrupt("the checksum of the frame header differs"));
        }
        let block_bytes = match sizes {
            0x40 => 64 << 10,
            0x50 => 256 << 10,
            0x60 => 1 << 20,
            0x70 => 4 << 20,
            _ => return Err(corrupt("a block size that is not defined")),
        };
        Ok(Self {
            independent: flags & FLAG_INDEPENDENT != 0,
            block_checksum: flags & FLAG_BLOCK_CHECKSUM != 0,
            content_checksum: flags & FLAG_CONTENT_CHECKSUM != 0,
            content_size,
            block_bytes,
        })
    }
}

pub(super) fn decode<E: From<DecompressError>>(
    input: &[u8],
    scratch: &mut Vec<u8>,
    output: &mut Output<'_, E>,
) -> Result<(), E> {
    let mut cursor = Cursor::new(input);
    let frame = Descriptor::read(&mut cursor)?;
    if let Some(size) = frame.content_size {
        output.check(usize::try_from(size).unwrap_or(usize::MAX))?;
    }
    // History first, the block behind it.
    let (history, block) = room(scratch, HISTORY_BYTES + frame.block_bytes).split_at_mut(HISTORY_BYTES);
    let mut known = 0;
    let start = output.produced;

    while let Some(stored) = next_block(&mut cursor, &frame)? {
        let piece = match stored {
            Stored::Plain(bytes) => bytes,
            Stored::Compressed(bytes) => {
                let history = history.get(HISTORY_BYTES - known..).unwrap_or(&[]);
                let made = decompress_block(bytes, block, history)?;
                block.get(..made).unwrap_or(&[])
            }
        };
        output.push(piece)?;
        if !frame.independent {
            known = remember(history, known, piece);
        }
    }

    // Not compared, as in `Lz4BlockInputStream`: the batch's own CRC covers every byte of it.
    if frame.content_checksum && cursor.array::<4>().is_none() {
        return Err(corrupt("the content checksum is cut off").into());
    }
    if frame.content_size.is_some_and(|size| size != output.produced - start) {
        return Err(corrupt("the content has another size than declared").into());
    }
    if !cursor.is_empty() {
        return Err(corrupt("bytes are left behind the frame").into());
    }
    Ok(())
}

enum Stored<'a> {
    Plain(&'a [u8]),
    Compressed(&'a [u8]),
}

/// The next block, its checksum compared; `None` at the end mark.
fn next_block<'a>(cursor: &mut Cursor<'a>, frame: &Descriptor) -> Result<Option<Stored<'a>>, DecompressError> {
    let length = cursor.array().map(u32::from_le_bytes).ok_or(corrupt("the end mark is missing"))?;
    if length == 0 {
        return Ok(None);
    }
    let len = usize::try_from(length & !STORED).unwrap_or(usize::MAX);
    if len > frame.block_bytes {
        return Err(corrupt("a block is larger than declared"));
    }
    let bytes = cursor.take(len).ok_or(corrupt("a block is cut off"))?;
    if frame.block_checksum {
        let expected = cursor.array().map(u32::from_le_bytes).ok_or(corrupt("a block checksum is cut off"))?;
        if xxh32(bytes, 0) != expected {
            return Err(corrupt("a block checksum differs"));
        }
    }
    Ok(Some(if length & STORED != 0 { Stored::Plain(bytes) } else { Stored::Compressed(bytes) }))
}

fn decompress_block(bytes: &[u8], block: &mut [u8], history: &[u8]) -> Result<usize, DecompressError> {
    let made = if history.is_empty() {
        lz4_flex::block::decompress_into(bytes, block)
    } else {
        lz4_flex::block::decompress_into_with_dict(bytes, block, history)
    };
    made.map_err(|_| corrupt("a damaged block"))
}

/// Moves the last 64 KiB that were decoded to the end of `history`; returns how many of its bytes are now real.
fn remember(history: &mut [u8], known: usize, piece: &[u8]) -> usize {
    if let Some(tail) = piece.last_chunk::<HISTORY_BYTES>() {
        history.copy_from_slice(tail);
        return HISTORY_BYTES;
    }
    // A piece shorter than the history pushes the older bytes forward.
    history.copy_within(piece.len().., 0);
    if let Some(end) = history.get_mut(HISTORY_BYTES - piece.len()..) {
        end.copy_from_slice(piece);
    }
    (known + piece.len()).min(HISTORY_BYTES)
}

/// Writes frames as Java's client does: independent blocks of 64 KiB, no checksums but the header's.
pub(super) struct Writer {
    table: lz4_flex::block::CompressTable,
    block: Vec<u8>,
    compressed: Vec<u8>,
    out: Vec<u8>,
}

impl Writer {
    pub(super) fn new(mut out: Vec<u8>) -> Self {
        let descriptor = [FLAG_VERSION | FLAG_INDEPENDENT, WRITTEN_BLOCK_CODE];
        let [_, checksum, _, _] = xxh32(&descriptor, 0).to_le_bytes();
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&descriptor);
        out.push(checksum);
        Self {
            table: lz4_flex::block::CompressTable::large(),
            block: Vec::with_capacity(WRITTEN_BLOCK_BYTES),
            compressed: vec![0; lz4_flex::block::get_maximum_output_size(WRITTEN_BLOCK_BYTES)],
            out,
        }
    }

    pub(super) fn write(&mut self, mut input: &[u8]) -> bool {
        while !input.is_empty() {
            let free = WRITTEN_BLOCK_BYTES.saturating_sub(self.block.len()).min(input.len());
            let (now, later) = input.split_at(free);
            self.block.extend_from_slice(now);
            input = later;
            if self.block.len() == WRITTEN_BLOCK_BYTES && !self.flush() {
                return false;
            }
        }
        true
    }

    pub(super) fn finish(mut self) -> Option<Vec<u8>> {
        if !self.block.is_empty() && !self.flush() {
            return None;
        }
        self.out.extend_from_slice(&0_u32.to_le_bytes());
        Some(self.out)
    }

    fn flush(&mut self) -> bool {
        let made = lz4_flex::block::compress_into_with_table(&self.block, &mut self.compressed, &mut self.table);
        let Ok(made) = made else { return false };
        let smaller = self.compressed.get(..made).filter(|bytes| bytes.len() < self.block.len());
        let (bytes, mark) = smaller.map_or((self.block.as_slice(), STORED), |bytes| (bytes, 0));
        let Ok(length) = u32::try_from(bytes.len()) else { return false };
        self.out.extend_from_slice(&(length | mark).to_le_bytes());
        self.out.extend_from_slice(bytes);
        self.block.clear();
        true
    }
}

const fn corrupt(reason: &'static str) -> DecompressError {
    DecompressError::Corrupt { codec: CompressionType::Lz4, reason }
}
