use std::io::{Read, Write};

use proptest::prelude::*;

use super::*;

const CODECS: [CompressionType; 4] =
    [CompressionType::Gzip, CompressionType::Snappy, CompressionType::Lz4, CompressionType::Zstd];
const MIB: u64 = 1 << 20;

fn compressed(codec: CompressionType, input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    compress(codec, None, input, &mut out).unwrap();
    out
}

fn decompressed(codec: CompressionType, input: &[u8]) -> Result<Vec<u8>, DecompressError> {
    let mut out = Vec::new();
    Decompressor::new().decompress(codec, input, 64 * MIB, &mut out).map(|()| out)
}

fn is_corrupt(result: &Result<Vec<u8>, DecompressError>) -> bool {
    matches!(result, Err(DecompressError::Corrupt { .. }))
}

/// Text that repeats itself now and then, over more than one lz4 block and window.
fn content(len: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut out = Vec::with_capacity(len + 64);
    while out.len() < len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let noise = state >> 8;
        if noise.is_multiple_of(4) && out.len() > 70_000 {
            let from = out.len() - 60_000 - usize::try_from(noise % 5_000).unwrap();
            out.extend_from_within(from..from + 40);
        }
        write!(out, "{{\"user\":{noise},\"state\":\"ok\"}}").unwrap();
    }
    out.truncate(len);
    out
}

#[test]
fn every_codec_gives_back_what_it_took() {
    let mut decompressor = Decompressor::new();
    for codec in CODECS {
        for len in [1, 13, 100, 32_768, 65_536, 65_537, 300_000] {
            let input = content(len);
            let mut out = Vec::new();
            decompressor.decompress(codec, &compressed(codec, &input), MIB, &mut out).unwrap();
            assert!(out == input, "{codec:?} {len}");
        }
        // What does not compress is still carried.
        let noise: Vec<u8> = (0..200_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13).to_le_bytes()[0]).collect();
        assert!(decompressed(codec, &compressed(codec, &noise)).unwrap() == noise, "{codec:?}");
    }
}

#[test]
fn levels_outside_the_range_are_brought_into_it() {
    let input = content(50_000);
    for codec in CODECS {
        for level in [i32::MIN, -1, 0, 1, 9, 22, i32::MAX] {
            // zstd's highest levels take their time.
            if codec == CompressionType::Zstd && level > 9 {
                continue;
            }
            let mut out = b"front".to_vec();
            compress(codec, Some(level), &input, &mut out).unwrap();
            assert!(decompressed(codec, out.strip_prefix(b"front").unwrap()).unwrap() == input, "{codec:?} {level}");
        }
    }
}

#[test]
fn other_decoders_read_what_is_compressed() {
    let input = content(300_000);
    let mut out = Vec::new();
    flate2::read::GzDecoder::new(&compressed(CompressionType::Gzip, &input)[..]).read_to_end(&mut out).unwrap();
    assert!(out == input);
    out.clear();
    ::lz4::Decoder::new(&compressed(CompressionType::Lz4, &input)[..]).unwrap().read_to_end(&mut out).unwrap();
    assert!(out == input);
    assert!(::zstd::decode_all(&compressed(CompressionType::Zstd, &input)[..]).unwrap() == input);
}

#[test]
fn frames_of_other_lz4_writers_are_read() {
    use ::lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder, liblz4::BlockChecksum};
    for len in [0, 1, 70_000, 5_000_000] {
        let input = content(len);
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for mode in [BlockMode::Linked, BlockMode::Independent] {
                for (checksum, block_checksum) in [
                    (ContentChecksum::NoChecksum, BlockChecksum::NoBlockChecksum),
                    (ContentChecksum::ChecksumEnabled, BlockChecksum::BlockChecksumEnabled),
                ] {
                    let mut encoder = EncoderBuilder::new()
                        .block_size(size.clone())
                        .block_mode(mode.clone())
                        .checksum(checksum.clone())
                        .block_checksum(block_checksum)
                        .content_size(u64::try_from(len).unwrap())
                        .build(Vec::new())
                        .unwrap();
                    encoder.write_all(&input).unwrap();
                    let (frame, done) = encoder.finish();
                    done.unwrap();
                    assert!(decompressed(CompressionType::Lz4, &frame).unwrap() == input, "{len}");
                    if matches!(checksum, ContentChecksum::ChecksumEnabled) && len == 70_000 {
                        let (middle, last) = (frame.len() / 2, frame.len() - 1);
                        let mut damaged = frame;
                        damaged[middle] ^= 1;
                        assert!(is_corrupt(&decompressed(CompressionType::Lz4, &damaged)), "a block");
                        damaged[middle] ^= 1;
                        // The content's checksum, which Kafka does not look at either.
                        damaged[last] ^= 1;
                        assert!(decompressed(CompressionType::Lz4, &damaged).unwrap() == input);
                        damaged.pop();
                        assert!(is_corrupt(&decompressed(CompressionType::Lz4, &damaged)), "cut off");
                    }
                }
            }
        }
    }
}

#[test]
fn bare_snappy_blocks_and_streams_in_a_row_are_read() {
    let input = content(200_000);
    let bare = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert!(decompressed(CompressionType::Snappy, &bare).unwrap() == input);

    let two = [compressed(CompressionType::Snappy, &input), compressed(CompressionType::Snappy, b"more")].concat();
    assert!(decompressed(CompressionType::Snappy, &two).unwrap() == [&input[..], b"more"].concat());
}

#[test]
fn gzip_members_and_zstd_frames_in_a_row_are_read() {
    for codec in [CompressionType::Gzip, CompressionType::Zstd] {
        let two = [compressed(codec, b"one "), compressed(codec, b"two")].concat();
        assert_eq!(decompressed(codec, &two).unwrap(), b"one two");
    }
}

#[test]
fn bombs_stop_at_the_limit() {
    let zeros = vec![0; 20 << 20];
    let bare = snap::raw::Encoder::new().compress_vec(&zeros).unwrap();
    let mut bombs: Vec<_> = CODECS.map(|codec| (codec, compressed(codec, &zeros))).to_vec();
    bombs.push((CompressionType::Snappy, bare));
    for (codec, bomb) in bombs {
        let mut decompressor = Decompressor::new();
        let mut seen = 0;
        let result = decompressor.pieces(codec, &bomb, MIB, &mut |piece| {
            seen += count(piece.len());
            Ok(())
        });
        assert_eq!(result, Err(DecompressError::TooLarge { limit: MIB }), "{codec:?}");
        assert!(seen <= MIB, "{codec:?}");
        assert!(decompressor.scratch.len() <= 128 * 1024, "{codec:?} took {}", decompressor.scratch.len());
    }
}

#[test]
fn large_scratch_is_given_back() {
    let input = content(12 << 20);
    let bare = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    let mut decompressor = Decompressor::new();
    let mut out = Vec::new();
    decompressor.decompress(CompressionType::Snappy, &bare, 64 * MIB, &mut out).unwrap();
    assert!(out == input);
    assert!(decompressor.scratch.is_empty());
}

#[test]
fn a_sink_that_fails_stops_the_work() {
    #[derive(PartialEq, Debug)]
    enum Stop {
        Sink,
        Codec(DecompressError),
    }
    impl From<DecompressError> for Stop {
        fn from(error: DecompressError) -> Self {
            Self::Codec(error)
        }
    }
    for codec in CODECS {
        let mut calls = 0;
        let payload = compressed(codec, &content(500_000));
        let result = Decompressor::new().pieces(codec, &payload, MIB, &mut |_| {
            calls += 1;
            Err(Stop::Sink)
        });
        assert_eq!((result, calls), (Err(Stop::Sink), 1), "{codec:?}");
    }
}

#[test]
fn payloads_that_are_cut_or_followed_by_something_are_damage() {
    for codec in CODECS {
        let whole = compressed(codec, &content(1_000));
        for cut in 0..whole.len() {
            // A cut xerial stream may end between its header and its first block; the records are then missing.
            let empty_stream = codec == CompressionType::Snappy && cut == 16;
            let result = decompressed(codec, &whole[..cut]);
            assert!(is_corrupt(&result) || empty_stream && result == Ok(Vec::new()), "{codec:?} cut at {cut}");
        }
        assert!(is_corrupt(&decompressed(codec, &[&whole[..], b"x"].concat())), "{codec:?}");
        assert!(is_corrupt(&decompressed(codec, b"garbage")), "{codec:?}");
    }
}

#[test]
fn wide_windows_and_dictionaries_of_zstd_are_refused() {
    // Magic, descriptor, window of 2 GiB, a stored block of one byte.
    let wide = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x09, 0x00, 0x00, b'x'];
    assert!(is_corrupt(&decompressed(CompressionType::Zstd, &wide)));
    let fine = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x09, 0x00, 0x00, b'x'];
    assert_eq!(decompressed(CompressionType::Zstd, &fine).unwrap(), b"x");
    // One byte of dictionary id.
    let dictionary = [0x28, 0xb5, 0x2f, 0xfd, 0x01, 10 << 3, 0x07, 0x09, 0x00, 0x00, b'x'];
    assert!(is_corrupt(&decompressed(CompressionType::Zstd, &dictionary)));
}

#[test]
fn lying_snappy_lengths_are_refused_before_memory_is_taken() {
    let mut decompressor = Decompressor::new();
    let stream = compressed(CompressionType::Snappy, b"");
    for length in [i32::MAX, i32::MIN, -1, 0, 5] {
        let lying = [&stream[..16], &length.to_be_bytes(), b"ab"].concat();
        let result = decompressor.decompress(CompressionType::Snappy, &lying, 64 * MIB, &mut Vec::new());
        assert!(matches!(result, Err(DecompressError::Corrupt { .. })), "{length}");
    }
    // A bare block that says it holds 32 MiB.
    let lying = [0x80, 0x80, 0x80, 0x10, 0x00, b'a'];
    let result = decompressor.decompress(CompressionType::Snappy, &lying, 64 * MIB, &mut Vec::new());
    assert!(matches!(result, Err(DecompressError::Corrupt { .. })));
    assert!(decompressor.scratch.is_empty());
}

/// An lz4 frame with one block, of our own making.
fn frame(flags: u8, block: &[u8]) -> Vec<u8> {
    let descriptor = [flags, 0x40];
    let [_, checksum, _, _] = xxhash_rust::xxh32::xxh32(&descriptor, 0).to_le_bytes();
    let length = u32::try_from(block.len()).unwrap();
    [&[0x04, 0x22, 0x4d, 0x18], &descriptor[..], &[checksum], &length.to_le_bytes(), block, &[0; 4]].concat()
}

#[test]
fn lz4_never_shows_what_it_decoded_before() {
    let mut decompressor = Decompressor::new();
    let secret = b"a secret of another tenant".repeat(5_000);
    let before = compressed(CompressionType::Lz4, &secret);
    decompressor.decompress(CompressionType::Lz4, &before, MIB, &mut Vec::new()).unwrap();
    for independent in [0x60, 0x40] {
        // One literal, a match that reaches `offset` back, and five literals to end.
        for offset in [2_u16, 100, u16::MAX, 0] {
            let [low, high] = offset.to_le_bytes();
            let block = [0x14, b'x', low, high, 0x50, b'1', b'2', b'3', b'4', b'5'];
            let mut out = Vec::new();
            let result = decompressor.decompress(CompressionType::Lz4, &frame(independent, &block), MIB, &mut out);
            assert!(matches!(result, Err(DecompressError::Corrupt { .. })), "offset {offset}");
            assert!(out.is_empty());
        }
        let block = [0x14, b'x', 1, 0, 0x50, b'1', b'2', b'3', b'4', b'5'];
        let mut out = Vec::new();
        decompressor.decompress(CompressionType::Lz4, &frame(independent, &block), MIB, &mut out).unwrap();
        assert_eq!(out, b"xxxxxxxxx12345");
    }
}

#[test]
fn lz4_frame_headers_are_checked() {
    let good = frame(0x60, &[0x50, b'1', b'2', b'3', b'4', b'5']);
    assert_eq!(decompressed(CompressionType::Lz4, &good).unwrap(), b"12345");
    let mut checksum = good.clone();
    checksum[6] ^= 1;
    assert!(is_corrupt(&decompressed(CompressionType::Lz4, &checksum)));
    // Another version, a reserved bit, a dictionary.
    for flags in [0x20, 0xa0, 0x62, 0x61] {
        assert!(is_corrupt(&decompressed(CompressionType::Lz4, &frame(flags, &[0x10, b'1']))), "{flags:x}");
    }
    let mut long = good;
    long[7..11].copy_from_slice(&0x7fff_ffff_u32.to_le_bytes());
    assert!(is_corrupt(&decompressed(CompressionType::Lz4, &long)));
}

proptest! {
    #[test]
    fn no_payload_panics_or_passes_the_limit(
        codec in prop::sample::select(CODECS.to_vec()),
        len in 0_usize..5_000,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut payload = compressed(codec, &content(len));
        for (at, value) in flips {
            let at = at.index(payload.len());
            payload[at] = value;
        }
        if let Some(cut) = cut {
            payload.truncate(cut.index(payload.len()));
        }
        let mut seen = 0;
        let _: Result<u64, DecompressError> = Decompressor::new().pieces(codec, &payload, 4_000, &mut |piece| {
            seen += piece.len();
            Ok(())
        });
        prop_assert!(seen <= 4_000);
    }
}
