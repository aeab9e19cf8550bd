//! One set of hot buffers a thread, borrowed for the length of a system call and never kept across an await.

use std::cell::RefCell;

/// Ciphertext is read from a socket in pieces of at most this size.
pub const INCOMING_BYTES: usize = 128 * 1024;
/// Responses are gathered, encrypted and written in pieces of at most this size: whole TLS records, and four of them take
/// a fetch of 1 MiB with the header before it.
pub const PIECE_BYTES: usize = 272 * 1024;
/// A record of 16 KiB grows by at most this much: header, explicit nonce, content type, tag.
const RECORD_OVERHEAD: usize = 64;
/// The largest plaintext of one TLS record.
const RECORD_BYTES: usize = 16 * 1024;
/// A key update may ride in front of a piece.
const CIPHER_BYTES: usize = PIECE_BYTES + (PIECE_BYTES / RECORD_BYTES + 2) * RECORD_OVERHEAD;

/// The buffers. Their contents mean nothing between two borrows.
#[derive(Debug)]
pub struct Scratch {
    /// From the socket.
    pub incoming: Box<[u8]>,
    /// To be written, or to be encrypted.
    pub piece: Box<[u8]>,
    /// Encrypted.
    pub cipher: Box<[u8]>,
}

thread_local! {
    // Zeroed pages that nobody touches cost nothing: a thread without TLS pays for `piece` alone.
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        incoming: vec![0; INCOMING_BYTES].into(),
        piece: vec![0; PIECE_BYTES].into(),
        cipher: vec![0; CIPHER_BYTES].into(),
    });
}

/// Lends this thread's buffers.
pub fn with<R>(use_it: impl FnOnce(&mut Scratch) -> R) -> R {
    SCRATCH.with_borrow_mut(use_it)
}
