//! A connection's socket, plain or TLS, read into frames and written from the outbox.
//!
//! Nothing here keeps a thread's buffer across an await: every method that moves bytes is one non-blocking attempt, and
//! the two that wait move none. Reading and writing may wait at the same time, in one task.

use std::cell::{Cell, RefCell};
use std::io;
use std::sync::Arc;

use bytes::BufMut as _;
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use tokio::io::{AsyncWriteExt as _, Interest};
use tokio::net::TcpStream;

use crate::network::frame::FrameReader;
use crate::network::outbox::{FileBytes, Gathered, Outbox};
use crate::network::scratch::{self, INCOMING_BYTES, PIECE_BYTES, Scratch};
use crate::network::tls::{Tls, TlsError};

/// The smallest piece for a socket that does not keep up: encrypted, it has to be kept.
const SMALLEST_TLS_PIECE_BYTES: usize = 16 * 1024;
/// The smallest piece for a plain socket that does not keep up: what it does not take is read again.
const SMALLEST_PLAIN_PIECE_BYTES: usize = 64 * 1024;
/// What one call reads before it lets others have the thread.
const READ_AT_ONCE_BYTES: usize = 1024 * 1024;
/// A handshake is read in small pieces, so that little of what follows it has to be kept.
const HANDSHAKE_PIECE_BYTES: usize = 8 * 1024;

/// What a read brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Filled {
    /// Bytes for the frames.
    Bytes,
    /// Nothing follows.
    Eof,
}

/// What a write did.
#[derive(Debug)]
pub enum Sent<F> {
    /// So many answers are complete by it; more can be tried at once.
    Answers(usize),
    /// Nothing is left to send.
    All,
    /// The disk has to be asked first.
    Cold { range: F, at: usize, length: usize },
}

/// The socket of one connection.
#[derive(Debug)]
pub struct Transport {
    stream: TcpStream,
    tls: Option<Box<RefCell<Tls>>>,
    /// How much is gathered for one write: less for a socket that did not take the last piece, because TLS has to keep
    /// what it has encrypted.
    piece_bytes: Cell<usize>,
}

impl Transport {
    pub fn plain(stream: TcpStream) -> Self {
        Self { stream, tls: None, piece_bytes: Cell::new(PIECE_BYTES) }
    }

    /// # Errors
    /// The configuration can't serve anybody.
    pub fn tls(stream: TcpStream, config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let tls = Box::new(RefCell::new(Tls::new(config)?));
        Ok(Self { stream, tls: Some(tls), piece_bytes: Cell::new(SMALLEST_TLS_PIECE_BYTES) })
    }

    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    pub async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// Takes the handshake one step further; `true` when it is complete. [`io::ErrorKind::WouldBlock`]: wait until the
    /// socket is readable. What comes with the last step already belongs to `frames`.
    ///
    /// # Errors
    /// The peer is not understood or gone; what it is to be told was sent as far as the socket took it.
    pub fn try_handshake(&self, frames: &mut FrameReader) -> io::Result<bool> {
        let Some(tls) = &self.tls else { return Ok(true) };
        let mut tls = tls.borrow_mut();
        self.flush(&mut tls)?;
        if !tls.is_handshaking() {
            return Ok(true);
        }
        scratch::with(|scratch| {
            let incoming = &mut scratch.incoming;
            let kept = tls.resume(incoming);
            let end = (kept + HANDSHAKE_PIECE_BYTES).min(INCOMING_BYTES);
            let read = self.stream.try_read(&mut incoming[kept..end]);
            let filled = kept + *read.as_ref().unwrap_or(&0);
            let done = tls.process(&mut incoming[..filled], |plain| frames.accept(plain));
            let result = done.and_then(|done| tls.keep(&incoming[done..filled]));
            let flushed = self.flush(&mut tls);
            result.map_err(io::Error::from)?;
            if read? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            flushed.map(|()| !tls.is_handshaking())
        })
    }

    /// Whether the handshake waits for the peer to read rather than for its bytes.
    pub fn has_outgoing(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.borrow().outgoing().is_empty())
    }

    /// Looks at the first bytes without taking them.
    pub async fn peek(&self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(into).await
    }

    /// The peer's certificate chain, leaf first.
    pub fn peer_certificates(&self) -> Vec<CertificateDer<'static>> {
        self.tls.as_ref().map(|tls| tls.borrow().peer_certificates().to_vec()).unwrap_or_default()
    }

    /// Reads what is there into `frames`. [`io::ErrorKind::WouldBlock`]: wait until the socket is readable.
    ///
    /// # Errors
    /// The peer is gone or not understood.
    pub fn try_fill(&self, frames: &mut FrameReader) -> io::Result<Filled> {
        match &self.tls {
            None => self.try_fill_plain(frames),
            Some(tls) => {
                let mut tls = tls.borrow_mut();
                let filled = scratch::with(|scratch| self.try_fill_tls(&mut tls, frames, scratch));
                // A key update or an alert; if the socket is full, the writer takes it along.
                match self.flush(&mut tls) {
                    Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
                    _ => filled,
                }
            }
        }
    }

    /// Sends one piece of what is in `outbox`. [`io::ErrorKind::WouldBlock`]: wait until the socket is writable.
    ///
    /// # Errors
    /// The peer is gone, or a file can't be read.
    pub fn try_send<F: FileBytes>(&self, outbox: &mut Outbox<F>) -> io::Result<Sent<F>> {
        let mut tls = self.tls.as_ref().map(|tls| tls.borrow_mut());
        if let Some(tls) = &mut tls {
            self.flush(tls)?;
        }
        scratch::with(|Scratch { piece, cipher, .. }| {
            let gathered = outbox.gather(&mut piece[..self.piece_bytes.get()])?;
            let plain: &[u8] = match &gathered {
                Gathered::Piece(count) => &piece[..*count],
                Gathered::Direct(bytes) => bytes,
                Gathered::Empty => return Ok(Sent::All),
                Gathered::Cold { range, at, length } => {
                    return Ok(Sent::Cold { range: range.clone(), at: *at, length: *length });
                }
            };
            let taken = match &mut tls {
                None => self.stream.try_write(plain)?,
                Some(tls) => self.send_encrypted(tls, plain, cipher)?,
            };
            self.adapt(plain.len(), taken, tls.as_ref().is_some_and(|tls| !tls.outgoing().is_empty()));
            Ok(Sent::Answers(outbox.advance(taken)))
        })
    }

    /// Sends ciphertext that is kept, if the socket takes it.
    ///
    /// # Errors
    /// [`io::ErrorKind::WouldBlock`] if something is left, or the peer is gone.
    pub fn try_flush(&self) -> io::Result<()> {
        match &self.tls {
            Some(tls) => self.flush(&mut tls.borrow_mut()),
            None => Ok(()),
        }
    }

    /// Says that nothing follows, reads and drops at most 64 KiB of what the peer still sends, so that the last answer is
    /// not destroyed by a reset. The caller bounds the time.
    pub async fn close_gently(mut self) {
        if let Some(tls) = &self.tls {
            tls.borrow_mut().close_notify();
            let _ = self.try_flush();
        }
        if self.stream.shutdown().await.is_err() {
            return;
        }
        let mut dropped = [0; 1024];
        for _ in 0..64 {
            if self.stream.readable().await.is_err() {
                return;
            }
            match self.stream.try_read(&mut dropped) {
                Ok(count) if count > 0 => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                _ => return,
            }
        }
    }

    fn try_fill_plain(&self, frames: &mut FrameReader) -> io::Result<Filled> {
        let mut spare = frames.spare();
        debug_assert!(spare.has_remaining_mut(), "an empty read looks like the end");
        // Not all that it may take, but what one read can fill.
        let asked = spare.chunk_mut().len();
        let read = self.drain(asked, || self.stream.try_read_buf(&mut spare))?;
        Ok(if read == 0 { Filled::Eof } else { Filled::Bytes })
    }

    /// One read of at most `asked` bytes. A socket that had fewer is empty: it is not asked again before it says that there
    /// is more.
    fn drain(&self, asked: usize, read: impl FnOnce() -> io::Result<usize>) -> io::Result<usize> {
        let mut outcome = Err(io::ErrorKind::WouldBlock.into());
        let _ = self.stream.try_io(Interest::READABLE, || {
            outcome = read();
            match outcome {
                Ok(count) if 0 < count && count < asked => Err(io::ErrorKind::WouldBlock.into()),
                _ => Ok(()),
            }
        });
        outcome
    }

    fn try_fill_tls(&self, tls: &mut Tls, frames: &mut FrameReader, scratch: &mut Scratch) -> io::Result<Filled> {
        let incoming = &mut scratch.incoming;
        let mut filled = tls.resume(incoming);
        let mut brought = 0;
        // What the handshake left over may hold whole records: they come before the socket is asked.
        let mut ended = false;
        let outcome = loop {
            let done = tls.process(&mut incoming[..filled], |plain| {
                brought += plain.len();
                frames.accept(plain);
            });
            match done {
                Ok(done) => incoming.copy_within(done..filled, 0),
                Err(error) => break Err(error.into()),
            }
            filled -= done.unwrap_or(0);
            if tls.peer_closed() || ended {
                break Ok(if brought > 0 { Filled::Bytes } else { Filled::Eof });
            }
            if brought > 0 && (!frames.wants_more() || brought >= READ_AT_ONCE_BYTES) {
                break Ok(Filled::Bytes);
            }
            let end = frames.room().min(INCOMING_BYTES).max(filled + 1);
            match self.drain(end - filled, || self.stream.try_read(&mut incoming[filled..end])) {
                Ok(0) => ended = true,
                Ok(count) => filled += count,
                Err(_) if brought > 0 => break Ok(Filled::Bytes),
                Err(error) => break Err(error),
            }
        };
        tls.keep(&incoming[..filled]).map_err(io::Error::from)?;
        outcome
    }

    /// Encrypts `plain` and sends it; what the socket did not take is kept. All of `plain` counts as taken.
    fn send_encrypted(&self, tls: &mut Tls, plain: &[u8], cipher: &mut [u8]) -> io::Result<usize> {
        let length = tls.encrypt(plain, cipher).map_err(io::Error::from)?;
        let taken = match self.stream.try_write(&cipher[..length]) {
            Ok(taken) => taken,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        if taken < length {
            tls.put_outgoing(&cipher[taken..length]);
        }
        Ok(plain.len())
    }

    fn flush(&self, tls: &mut Tls) -> io::Result<()> {
        while !tls.outgoing().is_empty() {
            let taken = self.stream.try_write(tls.outgoing())?;
            tls.took(taken);
        }
        Ok(())
    }

    /// Larger pieces for a socket that takes them whole, smaller ones for one that does not.
    fn adapt(&self, piece: usize, taken: usize, kept: bool) {
        let now = self.piece_bytes.get();
        let smallest = if self.tls.is_some() { SMALLEST_TLS_PIECE_BYTES } else { SMALLEST_PLAIN_PIECE_BYTES };
        if kept || taken < piece {
            self.piece_bytes.set((now / 2).max(smallest));
        } else if piece == now {
            self.piece_bytes.set((now * 2).min(PIECE_BYTES));
        }
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
