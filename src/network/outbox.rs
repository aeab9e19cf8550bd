//! The bytes that are ready to leave: encoded answers, and ranges of segment files between them.
//!
//! Pure but for the reads it asks its ranges for. What leaves is gathered into one piece: many small answers into one
//! write, file bytes behind the header that announces them. What the socket did not take is dropped and read again, so a
//! connection that waits holds no file bytes. Precedent: Kafka's `MultiRecordsSend`.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf as _, Bytes};

use crate::handlers::Response;
use crate::log::segment::FileRange;

/// Answers from this size on are written from where they lie, smaller ones are copied together.
const DIRECT_BYTES: usize = 16 * 1024;

/// Bytes of a file that belong into an answer.
pub trait FileBytes: Clone + Send + 'static {
    fn length(&self) -> usize;

    /// Reads what the page cache holds, from `at` on; [`io::ErrorKind::WouldBlock`] if that is nothing.
    fn read_cached(&self, at: usize, into: &mut [u8]) -> io::Result<usize>;

    /// Reads exactly `into.len()` bytes, from `at` on, and waits for the disk.
    fn read_exactly(&self, at: usize, into: &mut [u8]) -> io::Result<()>;
}

impl FileBytes for FileRange {
    fn length(&self) -> usize {
        usize::try_from(self.len).unwrap_or(usize::MAX)
    }

    fn read_cached(&self, at: usize, into: &mut [u8]) -> io::Result<usize> {
        self.read_nowait(offset(at)?, into)
    }

    fn read_exactly(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
        self.read_at(offset(at)?, into)
    }
}

fn offset(at: usize) -> io::Result<u32> {
    u32::try_from(at).map_err(|_| io::ErrorKind::UnexpectedEof.into())
}

/// What is to be sent next.
#[derive(Debug)]
pub enum Gathered<F> {
    /// So many bytes stand in the piece.
    Piece(usize),
    /// These bytes, from where they lie.
    Direct(Bytes),
    /// Nothing before `length` bytes of `range` are read from the disk; [`Outbox::warm`] takes them.
    Cold {
        range: F,
        at: usize,
        length: usize,
    },
    Empty,
}

/// Answers in the order in which they leave.
#[derive(Debug)]
pub struct Outbox<F = FileRange> {
    parts: VecDeque<Part<F>>,
    /// Bytes left of each answer, and whether file bytes are among them.
    answers: VecDeque<Answer>,
    memory_bytes: usize,
}

#[derive(Debug)]
enum Part<F> {
    Memory(Bytes),
    File { range: F, at: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Bytes that have not left.
    pub left: usize,
    /// Some of its bytes lie in files, so that it holds little memory.
    pub from_files: bool,
}

impl<F> Default for Outbox<F> {
    fn default() -> Self {
        Self { parts: VecDeque::new(), answers: VecDeque::new(), memory_bytes: 0 }
    }
}

impl Outbox<FileRange> {
    pub fn push_response(&mut self, response: Response) {
        self.push(response.bytes, response.files);
    }
}

impl<F: FileBytes> Outbox<F> {
    /// Adds one answer: `bytes`, with each file range before the byte at its offset.
    pub fn push(&mut self, mut bytes: Bytes, files: Vec<(usize, F)>) {
        let from_files = !files.is_empty();
        let mut left = bytes.len();
        self.memory_bytes += bytes.len();
        let mut split_before = 0;
        for (offset, range) in files {
            let before = bytes.split_to(offset.saturating_sub(split_before).min(bytes.len()));
            split_before = offset;
            if !before.is_empty() {
                self.parts.push_back(Part::Memory(before));
            }
            if range.length() > 0 {
                left += range.length();
                self.parts.push_back(Part::File { range, at: 0 });
            }
        }
        if !bytes.is_empty() {
            self.parts.push_back(Part::Memory(bytes));
        }
        if left > 0 {
            self.answers.push_back(Answer { left, from_files });
        }
    }

    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Bytes in memory that wait here.
    pub fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    /// Answers of which something has not left.
    pub fn len(&self) -> usize {
        self.answers.len()
    }

    /// The answer that is leaving.
    pub fn front(&self) -> Option<Answer> {
        self.answers.front().copied()
    }

    /// Collects what leaves next into `piece`.
    ///
    /// # Errors
    /// A file can't be read.
    pub fn gather(&self, piece: &mut [u8]) -> io::Result<Gathered<F>> {
        let mut filled = 0;
        for part in &self.parts {
            let space = &mut piece[filled..];
            if space.is_empty() {
                break;
            }
            match part {
                Part::Memory(bytes) if bytes.len() >= DIRECT_BYTES => {
                    if filled == 0 {
                        return Ok(Gathered::Direct(bytes.slice(..bytes.len().min(space.len()))));
                    }
                    break;
                }
                Part::Memory(bytes) => {
                    let count = bytes.len().min(space.len());
                    space[..count].copy_from_slice(&bytes[..count]);
                    filled += count;
                }
                Part::File { range, at } => {
                    let wanted = (range.length() - at).min(space.len());
                    let count = match range.read_cached(*at, &mut space[..wanted]) {
                        Ok(count) => count,
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                        Err(error) => return Err(error),
                    };
                    if count == 0 && filled == 0 {
                        return Ok(Gathered::Cold { range: range.clone(), at: *at, length: wanted });
                    }
                    filled += count;
                    if count < wanted {
                        break;
                    }
                }
            }
        }
        Ok(if filled == 0 { Gathered::Empty } else { Gathered::Piece(filled) })
    }

    /// Puts bytes that were read from the disk in the place of the front part's next ones.
    pub fn warm(&mut self, bytes: Bytes) {
        if let Some(Part::File { range, at }) = self.parts.front_mut() {
            *at += bytes.len();
            if *at >= range.length() {
                self.parts.pop_front();
            }
            self.memory_bytes += bytes.len();
            self.parts.push_front(Part::Memory(bytes));
        }
    }

    /// Forgets `count` bytes: they have left. Says how many answers are complete by that.
    pub fn advance(&mut self, mut count: usize) -> usize {
        self.advance_parts(count);
        let mut complete = 0;
        while let Some(answer) = self.answers.front_mut() {
            if answer.left > count {
                answer.left -= count;
                break;
            }
            count -= answer.left;
            self.answers.pop_front();
            complete += 1;
        }
        complete
    }

    fn advance_parts(&mut self, mut count: usize) {
        while count > 0 {
            let Some(part) = self.parts.front_mut() else { return };
            let left = match part {
                Part::Memory(bytes) => {
                    let taken = bytes.len().min(count);
                    bytes.advance(taken);
                    self.memory_bytes -= taken;
                    count -= taken;
                    bytes.len()
                }
                Part::File { range, at } => {
                    let taken = (range.length() - *at).min(count);
                    *at += taken;
                    count -= taken;
                    range.length() - *at
                }
            };
            if left == 0 {
                self.parts.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A file whose first `cached` bytes are in the page cache.
    #[derive(Clone, Debug)]
    struct File {
        bytes: Arc<Vec<u8>>,
        cached: Arc<AtomicUsize>,
    }

    impl File {
        fn new(bytes: Vec<u8>, cached: usize) -> Self {
            Self { bytes: Arc::new(bytes), cached: Arc::new(AtomicUsize::new(cached)) }
        }
    }

    impl FileBytes for File {
        fn length(&self) -> usize {
            self.bytes.len()
        }

        fn read_cached(&self, at: usize, into: &mut [u8]) -> io::Result<usize> {
            let count = self.cached.load(Ordering::Relaxed).saturating_sub(at).min(into.len());
            if count == 0 {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            into[..count].copy_from_slice(&self.bytes[at..at + count]);
            Ok(count)
        }

        fn read_exactly(&self, at: usize, into: &mut [u8]) -> io::Result<()> {
            into.copy_from_slice(&self.bytes[at..at + into.len()]);
            Ok(())
        }
    }

    /// Sends everything through a socket that takes at most `takes` bytes at a time.
    fn drain(outbox: &mut Outbox<File>, piece: usize, takes: usize) -> (Vec<u8>, usize) {
        let sent = RefCell::new(Vec::new());
        let mut complete = 0;
        let mut piece = vec![0; piece];
        let take = |bytes: &[u8]| {
            let count = bytes.len().min(takes);
            sent.borrow_mut().extend_from_slice(&bytes[..count]);
            count
        };
        loop {
            match outbox.gather(&mut piece).unwrap() {
                Gathered::Empty => return (sent.into_inner(), complete),
                Gathered::Piece(count) => complete += outbox.advance(take(&piece[..count])),
                Gathered::Direct(bytes) => complete += outbox.advance(take(&bytes)),
                Gathered::Cold { range, at, length } => {
                    let mut bytes = vec![0; length];
                    range.read_exactly(at, &mut bytes).unwrap();
                    outbox.warm(bytes.into());
                }
            }
        }
    }

    fn bytes(length: usize, seed: u8) -> Vec<u8> {
        (0..length).map(|i| (i as u8).wrapping_mul(7).wrapping_add(seed)).collect()
    }

    #[test]
    fn ranges_stand_before_their_offsets_whatever_the_socket_takes() {
        for (piece, takes) in [(64 * 1024, usize::MAX), (1000, 333), (10, 1), (100_000, 5000)] {
            let (head, one, two) = (bytes(100, 1), bytes(30_000, 2), bytes(70_000, 3));
            let mut outbox = Outbox::default();
            outbox.push(
                head.clone().into(),
                vec![(40, File::new(one.clone(), 20_000)), (100, File::new(two.clone(), 0))],
            );
            outbox.push(bytes(50_000, 4).into(), Vec::new());
            outbox.push(bytes(7, 5).into(), Vec::new());
            assert_eq!(outbox.len(), 3);
            let (sent, complete) = drain(&mut outbox, piece, takes);
            let expected = [&head[..40], &one, &head[40..], &two, &bytes(50_000, 4), &bytes(7, 5)].concat();
            assert!(sent == expected, "piece {piece}, takes {takes}");
            assert_eq!((complete, outbox.len(), outbox.memory_bytes()), (3, 0, 0));
        }
    }

    #[test]
    fn many_small_answers_leave_in_one_piece() {
        let mut outbox = Outbox::<File>::default();
        for _ in 0..100 {
            outbox.push(bytes(20, 0).into(), Vec::new());
        }
        let mut piece = vec![0; 64 * 1024];
        assert!(matches!(outbox.gather(&mut piece).unwrap(), Gathered::Piece(2000)));
        assert_eq!(outbox.advance(1990), 99);
        assert_eq!(outbox.advance(10), 1);
    }

    #[test]
    fn file_bytes_that_were_not_taken_are_not_kept() {
        let mut outbox = Outbox::default();
        outbox.push(bytes(10, 0).into(), vec![(10, File::new(bytes(100_000, 1), 100_000))]);
        let mut piece = vec![0; 64 * 1024];
        assert!(matches!(outbox.gather(&mut piece).unwrap(), Gathered::Piece(65536)));
        outbox.advance(10 + 5);
        assert_eq!(outbox.memory_bytes(), 0);
        assert_eq!(outbox.front(), Some(Answer { left: 99_995, from_files: true }));
    }
}
