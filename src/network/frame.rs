//! From bytes to frames: a length of four bytes, then the request (Kafka's `NetworkReceive`).
//!
//! Pure: it offers room for the bytes to come, and says what it needs next. Bytes sit in the connection's buffer, up to
//! 64 KiB of them; a frame moves once, into a pooled buffer of its final size, and a large one receives the rest of its
//! bytes there. A connection that waits holds what has arrived, not what was declared; one that sends large frames in a
//! row gets the buffer of the next one at once, within its reservation.
//!
//! ```text
//!             length read            admitted, > 64 KiB arrived
//!   Head ──────────────▶ Head+size ───────────────────────────▶ Body ──▶ frame
//!                            └──────── admitted, all arrived ──────────▶ frame
//! ```

use std::time::Duration;

use bytes::buf::Limit;
use bytes::{Buf as _, Bytes};

use crate::network::pool::Buffer;
use crate::quota::memory::Reservation;

/// Most that the connection's buffer holds.
pub const HEAD_BYTES: usize = 64 * 1024;
/// A waiting connection whose buffer holds no more than this keeps it in a small one.
const PARKED_BYTES: usize = 16 * 1024;
/// What is read first of a connection that sends large frames, one after the other: the rest goes where it stays.
const STREAM_HEAD_BYTES: usize = 4 * 1024;
/// What must be there before a frame is admitted: key, version, correlation id, length of the client id.
const ADMISSION_BYTES: usize = 10;
const LENGTH_BYTES: usize = 4;
/// Decrypted records can't be taken in halves: two of them fit, whatever stands in the buffer.
const RECORD_ROOM_BYTES: usize = 32 * 1024;

/// Whoever sends or reads slower than this, beyond [`FRAME_GRACE`], is cut off.
const SLOWEST_BYTES_PER_SECOND: u64 = 1_000_000;
const FRAME_GRACE: Duration = Duration::from_secs(10);

/// How long a peer may take for `bytes` that it announced or asked for: 10 s and a second for each megabyte.
pub fn transfer_deadline(bytes: usize) -> Duration {
    let millis = u64::try_from(bytes).unwrap_or(u64::MAX) / (SLOWEST_BYTES_PER_SECOND / 1000);
    FRAME_GRACE.saturating_add(Duration::from_millis(millis))
}

/// What the reader needs next.
#[derive(Debug)]
pub enum Next {
    /// More bytes.
    Bytes,
    /// [`FrameReader::admit`], with the memory for `length` bytes. `api_key` as far as it is there.
    Admission { length: usize, api_key: Option<i16> },
    /// Nothing: here is one whole frame, without its length.
    Frame(Bytes),
}

/// The length can't be right (Kafka's `InvalidReceiveException`). The connection is to be closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FrameError {
    #[error("frame length {0} is negative")]
    Negative(i32),
    #[error("frame length {length} is larger than {limit}")]
    TooLarge { length: usize, limit: usize },
    #[error("frame is empty")]
    Empty,
}

/// Reads the frames of one connection.
#[derive(Debug)]
pub struct FrameReader {
    limit: usize,
    head: Option<Buffer>,
    /// Bytes at the front of `head` that were already given out.
    consumed: usize,
    admitted: Option<Admitted>,
    /// The last frame was larger than the head.
    streaming: bool,
}

#[derive(Debug)]
struct Admitted {
    length: usize,
    reservation: Option<Reservation>,
    /// Taken when the frame no longer fits into the head.
    body: Option<Buffer>,
}

impl FrameReader {
    /// A reader that refuses frames over `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, head: None, consumed: 0, admitted: None, streaming: false }
    }

    /// Changes the limit, for frames whose length has not been read yet.
    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// Says what is needed next, or gives out the next frame.
    pub fn step(&mut self) -> Result<Next, FrameError> {
        let Some(admitted) = &mut self.admitted else { return self.next_length() };
        let length = admitted.length;
        if let Some(body) = &admitted.body {
            return Ok(if body.len() < length { Next::Bytes } else { self.finish_body() });
        }
        let pending = self.pending();
        if pending.len() >= length {
            let mut frame = Buffer::take(length);
            frame.extend(&pending[..length]);
            self.consume(length);
            let reservation = self.admitted.take().and_then(|a| a.reservation);
            self.streaming = length > HEAD_BYTES;
            return Ok(Next::Frame(frame.freeze(reservation)));
        }
        let head_is_full = self.head.as_ref().is_some_and(|head| head.room() == 0);
        if length > HEAD_BYTES && (self.streaming || head_is_full || self.pending().len() >= HEAD_BYTES) {
            self.start_body();
        }
        Ok(Next::Bytes)
    }

    /// Lets the frame in that [`Next::Admission`] announced.
    pub fn admit(&mut self, length: usize, reservation: Option<Reservation>) {
        self.consume(LENGTH_BYTES);
        self.admitted = Some(Admitted { length, reservation, body: None });
    }

    /// Whether a frame has begun and is not complete: then a deadline runs.
    pub fn in_frame(&self) -> bool {
        self.admitted.is_some() || !self.pending().is_empty()
    }

    /// The length of the frame that is being read, as far as it is known.
    pub fn length(&self) -> Option<usize> {
        self.admitted.as_ref().map(|a| a.length)
    }

    /// The bytes that have arrived and belong to no admitted frame yet.
    pub fn pending(&self) -> &[u8] {
        self.head.as_deref().and_then(|head| head.get(self.consumed..)).unwrap_or_default()
    }

    /// How many bytes [`Self::accept`] takes now: never less than a TLS record may hold.
    pub fn room(&self) -> usize {
        self.body_room() + self.head_room().max(RECORD_ROOM_BYTES)
    }

    /// Whether a large frame is not complete, so that it is worth asking for more at once.
    pub fn wants_more(&self) -> bool {
        self.body_room() > 0
    }

    /// Room for the next bytes, to be filled straight from a socket. Never empty.
    pub fn spare(&mut self) -> Limit<&mut Vec<u8>> {
        let body_room = self.body_room();
        if body_room == 0 {
            let limit = if self.streaming { STREAM_HEAD_BYTES } else { HEAD_BYTES };
            return self.head_with_room(1).spare(limit);
        }
        match self.admitted.as_mut().and_then(|a| a.body.as_mut()) {
            Some(body) => body.spare(body_room),
            None => unreachable!("only a body has room"),
        }
    }

    /// Takes bytes that were decrypted elsewhere; no more than [`Self::room`].
    pub fn accept(&mut self, bytes: &[u8]) {
        let to_body = self.body_room().min(bytes.len());
        let (first, rest) = bytes.split_at(to_body);
        if let Some(body) = self.admitted.as_mut().and_then(|a| a.body.as_mut()) {
            body.extend(first);
        }
        if !rest.is_empty() {
            let taken = self.head_with_room(rest.len()).extend(rest);
            assert!(taken == rest.len(), "accepted more than there was room for");
        }
    }

    /// Before waiting for the peer: keeps only what has arrived.
    pub fn park(&mut self) {
        let pending = self.pending().len();
        let Some(head) = &self.head else { return };
        if pending == 0 {
            self.head = None;
        } else if pending <= PARKED_BYTES && head.len() + head.room() > 2 * PARKED_BYTES {
            let mut small = Buffer::take(pending);
            small.extend(self.pending());
            self.head = Some(small);
        } else {
            return;
        }
        self.consumed = 0;
    }

    fn next_length(&mut self) -> Result<Next, FrameError> {
        let mut bytes = self.pending();
        if bytes.len() < LENGTH_BYTES {
            return Ok(Next::Bytes);
        }
        let declared = bytes.get_i32();
        let length = usize::try_from(declared).map_err(|_| FrameError::Negative(declared))?;
        if length > self.limit {
            return Err(FrameError::TooLarge { length, limit: self.limit });
        }
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if bytes.len() < ADMISSION_BYTES.min(length) {
            return Ok(Next::Bytes);
        }
        Ok(Next::Admission { length, api_key: bytes.try_get_i16().ok() })
    }

    fn finish_body(&mut self) -> Next {
        match self.admitted.take() {
            Some(Admitted { body: Some(body), reservation, .. }) => {
                self.streaming = true;
                Next::Frame(body.freeze(reservation))
            }
            _ => Next::Bytes,
        }
    }

    fn start_body(&mut self) {
        let Some(admitted) = &self.admitted else { return };
        let mut body = Buffer::take(admitted.length);
        body.extend(self.pending());
        self.head = None;
        self.consumed = 0;
        if let Some(admitted) = &mut self.admitted {
            admitted.body = Some(body);
        }
    }

    fn body_room(&self) -> usize {
        self.admitted.as_ref().and_then(|a| a.body.as_ref().map(|body| a.length - body.len())).unwrap_or(0)
    }

    /// Room in the head as it is or as [`Self::head_with_room`] would make it.
    fn head_room(&self) -> usize {
        match &self.head {
            Some(head) if head.len() + head.room() >= HEAD_BYTES && head.room() > 0 => head.room(),
            _ => HEAD_BYTES.saturating_sub(self.pending().len()),
        }
    }

    /// The connection's buffer, of full size and with room for `more` bytes.
    fn head_with_room(&mut self, more: usize) -> &mut Buffer {
        let fits = self.head.as_ref().is_some_and(|h| h.len() + h.room() >= HEAD_BYTES && h.room() >= more);
        if !fits {
            let mut head = Buffer::take(HEAD_BYTES.max(self.pending().len() + more));
            head.extend(self.pending());
            self.consumed = 0;
            self.head = Some(head);
        }
        self.head.get_or_insert_with(|| Buffer::take(HEAD_BYTES))
    }

    fn consume(&mut self, count: usize) {
        self.consumed += count;
        if self.pending().is_empty()
            && let Some(head) = &mut self.head
        {
            let all = head.len();
            head.discard(all);
            self.consumed = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut as _, BytesMut};
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 1 << 20;

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut bytes = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    /// Gives the reader what it has room for, in pieces of `piece` bytes, half of them through `spare`.
    fn feed(reader: &mut FrameReader, mut wire: &[u8], piece: usize) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let mut through_spare = false;
        loop {
            match reader.step().unwrap() {
                Next::Frame(frame) => frames.push(frame),
                Next::Admission { length, .. } => reader.admit(length, None),
                Next::Bytes if wire.is_empty() => return frames,
                Next::Bytes => {
                    reader.park();
                    let count = if through_spare {
                        let mut spare = reader.spare();
                        let count = spare.remaining_mut().min(piece).min(wire.len());
                        assert!(count > 0, "no room for the next byte");
                        spare.put_slice(&wire[..count]);
                        count
                    } else {
                        let count = reader.room().min(piece).min(wire.len());
                        reader.accept(&wire[..count]);
                        count
                    };
                    wire.advance(count);
                    through_spare = !through_spare;
                }
            }
        }
    }

    #[test]
    fn a_frame_in_one_byte_pieces() {
        let mut reader = FrameReader::new(LIMIT);
        let frames = feed(&mut reader, &framed(b"\x00\x12\x00\x03abcdefgh"), 1);
        assert_eq!(frames, [&b"\x00\x12\x00\x03abcdefgh"[..]]);
        assert!(!reader.in_frame());
    }

    #[test]
    fn refuses_lengths_that_cannot_be_right() {
        for (length, error) in [
            (-1, FrameError::Negative(-1)),
            (i32::MIN, FrameError::Negative(i32::MIN)),
            (0, FrameError::Empty),
            (1 << 20 | 1, FrameError::TooLarge { length: (1 << 20) + 1, limit: LIMIT }),
            (i32::MAX, FrameError::TooLarge { length: 0x7fff_ffff, limit: LIMIT }),
        ] {
            let mut reader = FrameReader::new(LIMIT);
            reader.accept(&length.to_be_bytes());
            assert_eq!(reader.step().unwrap_err(), error);
        }
    }

    #[test]
    fn a_declared_length_holds_nothing() {
        let mut reader = FrameReader::new(LIMIT);
        reader.accept(&framed(&vec![0; LIMIT])[..5]);
        assert!(matches!(reader.step().unwrap(), Next::Bytes), "ten bytes before admission");
        reader.park();
        assert_eq!(reader.head.as_ref().map(|h| h.len() + h.room()), Some(1024));
        reader.accept(&[0; 9]);
        let Next::Admission { length, api_key } = reader.step().unwrap() else { panic!("no admission") };
        assert_eq!((length, api_key), (LIMIT, Some(0)));
        reader.admit(length, None);
        reader.park();
        assert!(matches!(reader.step().unwrap(), Next::Bytes));
        assert_eq!(reader.head.as_ref().map(|h| h.len() + h.room()), Some(1024));
        assert!(reader.in_frame());
    }

    #[test]
    fn a_large_frame_moves_once_and_is_never_larger_than_its_class() {
        let body: Vec<u8> = (0..300_000u32).map(|i| i as u8).collect();
        let mut reader = FrameReader::new(LIMIT);
        let frames = feed(&mut reader, &framed(&body), 10_000);
        assert_eq!(frames, [&body[..]]);
        assert!(reader.head.is_none());
    }

    #[test]
    fn a_stream_of_large_frames_fills_its_buffers_from_the_start() {
        let mut reader = FrameReader::new(LIMIT);
        feed(&mut reader, &framed(&vec![1; 100_000]), 50_000);
        assert_eq!(reader.spare().remaining_mut(), STREAM_HEAD_BYTES);
        reader.accept(&framed(&vec![1; 100_000])[..100]);
        let Next::Admission { length, .. } = reader.step().unwrap() else { panic!("no admission") };
        reader.admit(length, None);
        reader.step().unwrap();
        assert_eq!(reader.spare().remaining_mut(), 100_000 - 96);
        reader.accept(&vec![1; 100_000 - 96]);
        assert!(matches!(reader.step().unwrap(), Next::Frame(_)));
        feed(&mut reader, &framed(b"0123456789"), 100);
        assert_eq!(reader.spare().remaining_mut(), HEAD_BYTES);
    }

    #[test]
    fn an_idle_reader_holds_no_buffer() {
        let mut reader = FrameReader::new(LIMIT);
        feed(&mut reader, &framed(b"0123456789"), 100);
        reader.park();
        assert!(reader.head.is_none());
    }

    #[test]
    fn deadlines_grow_with_the_size() {
        assert_eq!(transfer_deadline(0), Duration::from_secs(10));
        assert_eq!(transfer_deadline(100_000_000), Duration::from_secs(110));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100))]

        #[test]
        fn any_bytes_are_frames_or_refused(
            bytes in prop::collection::vec(prop_oneof![4 => Just(0u8), 1 => any::<u8>()], 0..3000),
            piece in 1usize..3000,
        ) {
            let mut reader = FrameReader::new(2000);
            for piece in bytes.chunks(piece) {
                reader.accept(piece);
                loop {
                    match reader.step() {
                        Ok(Next::Frame(frame)) => prop_assert!((1..=2000).contains(&frame.len())),
                        Ok(Next::Admission { length, .. }) => reader.admit(length, None),
                        Ok(Next::Bytes) => break,
                        Err(_) => return Ok(()),
                    }
                }
                reader.park();
            }
        }

        #[test]
        fn any_frames_in_any_pieces(
            lengths in prop::collection::vec(prop_oneof![1usize..50, 1usize..5000, 60_000usize..70_000, 100_000usize..200_000], 1..12),
            piece in prop_oneof![Just(7usize), 1000usize..70_000, Just(200_000usize)],
        ) {
            let mut wire = BytesMut::new();
            let bodies: Vec<Vec<u8>> =
                lengths.iter().enumerate().map(|(i, &length)| (0..length).map(|j| (i * 31 + j) as u8).collect()).collect();
            for body in &bodies {
                wire.put_slice(&framed(body));
            }
            let mut reader = FrameReader::new(LIMIT);
            let frames = feed(&mut reader, &wire, piece);
            prop_assert_eq!(frames.len(), bodies.len());
            for (frame, body) in frames.iter().zip(&bodies) {
                prop_assert_eq!(&frame[..], &body[..]);
            }
            prop_assert!(!reader.in_frame());
        }
    }
}
