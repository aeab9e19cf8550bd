//! TLS over bytes, without a socket: rustls' unbuffered server connection and the little it has to keep.
//!
//! Ciphertext is decrypted where the thread's buffer received it and goes from there into the frame; what a connection
//! keeps is an incomplete record and the ciphertext that its socket did not take. Before the ClientHello is understood
//! no more than 16 KiB are kept, during the handshake no more than 48 KiB.

use std::fmt;
use std::sync::Arc;

use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use rustls::{ServerConfig, pki_types::CertificateDer};

use crate::network::pool::Buffer;

/// What may be kept of a peer whose ClientHello is not complete.
const HELLO_BYTES: usize = 16 * 1024;
/// What may be kept during the rest of the handshake: a certificate chain in one message.
const HANDSHAKE_BYTES: usize = 48 * 1024;
/// What may be kept afterwards: one incomplete record.
const RECORD_BYTES: usize = 16 * 1024 + 2048 + 5;

/// Why a peer can't be understood.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Protocol(#[from] rustls::Error),
    #[error("handshake message is too large")]
    TooLarge,
    #[error("the connection has failed before")]
    Failed,
    #[error("{0}")]
    Encrypt(#[from] EncryptError),
    #[error("{0}")]
    Encode(#[from] EncodeError),
}

/// One side of a TLS connection: ours.
pub struct Tls {
    connection: UnbufferedServerConnection,
    /// The front of a record, or of a handshake message, whose rest has not arrived.
    incoming: Option<Buffer>,
    /// Ciphertext to be written before any other.
    outgoing: Vec<u8>,
    written: usize,
    answered: bool,
    peer_closed: bool,
    /// An alert has ended it; rustls must not be asked again.
    failed: bool,
}

impl Tls {
    /// # Errors
    /// The configuration can't serve anybody.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: None,
            outgoing: Vec::new(),
            written: 0,
            answered: false,
            peer_closed: false,
            failed: false,
        })
    }

    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// The peer has said that nothing follows (close_notify).
    pub fn peer_closed(&self) -> bool {
        self.peer_closed
    }

    /// The peer's chain, leaf first; empty if it sent none.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.connection.peer_certificates().unwrap_or_default()
    }

    /// `TLSv1.3` and the cipher suite, as Kafka's metrics name them.
    pub fn negotiated(&self) -> Option<(rustls::ProtocolVersion, rustls::CipherSuite)> {
        Some((self.connection.protocol_version()?, self.connection.negotiated_cipher_suite()?.suite()))
    }

    /// Moves what is kept to the front of `buffer`; says how many bytes.
    pub fn resume(&mut self, buffer: &mut [u8]) -> usize {
        let Some(kept) = self.incoming.take() else { return 0 };
        buffer[..kept.len()].copy_from_slice(&kept);
        kept.len()
    }

    /// Keeps the bytes that [`Self::process`] left over.
    ///
    /// # Errors
    /// They are more than an honest peer leaves.
    pub fn keep(&mut self, rest: &[u8]) -> Result<(), TlsError> {
        let limit = match (self.is_handshaking(), self.answered) {
            (true, false) => HELLO_BYTES,
            (true, true) => HANDSHAKE_BYTES,
            (false, _) => RECORD_BYTES,
        };
        if self.failed {
            return Ok(());
        }
        if rest.len() > limit {
            self.failed = true;
            return Err(TlsError::TooLarge);
        }
        if !rest.is_empty() {
            let mut kept = Buffer::take(rest.len());
            kept.extend(rest);
            self.incoming = Some(kept);
        }
        Ok(())
    }

    /// Bytes kept of an incomplete record.
    pub fn kept(&self) -> &[u8] {
        self.incoming.as_deref().unwrap_or_default()
    }

    /// Decrypts what is complete in `incoming`, hands the plaintext to `sink`, and says how many bytes are done with.
    /// Handshake messages, alerts and key updates in answer are put into [`Self::outgoing`].
    ///
    /// # Errors
    /// The peer is not understood; the alert that tells it so is in [`Self::outgoing`].
    pub fn process(&mut self, incoming: &mut [u8], mut sink: impl FnMut(&[u8])) -> Result<usize, TlsError> {
        if self.failed {
            return Err(TlsError::Failed);
        }
        let mut done = 0;
        loop {
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(&mut incoming[done..]);
            let mut blocked = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record?;
                        sink(record.payload);
                        discard += record.discard;
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => encode(&mut data, &mut self.outgoing)?,
                // What was encoded leaves in order; it counts as sent once it stands in the queue.
                Ok(ConnectionState::TransmitTlsData(transmit)) => {
                    self.answered = true;
                    transmit.done();
                }
                Ok(ConnectionState::PeerClosed) => self.peer_closed = true,
                Ok(_) => blocked = true,
                Err(error) => {
                    self.failed = true;
                    self.encode_alert(&mut incoming[done..]);
                    return Err(error.into());
                }
            }
            done += discard;
            if blocked {
                return Ok(done);
            }
        }
    }

    /// Encrypts `plain` behind what [`Self::outgoing`] holds, into `cipher`; says how many bytes.
    ///
    /// # Errors
    /// `cipher` is too small, or the keys are used up.
    pub fn encrypt(&mut self, plain: &[u8], cipher: &mut [u8]) -> Result<usize, TlsError> {
        if self.failed {
            return Err(TlsError::Failed);
        }
        let Self { connection, incoming, .. } = self;
        match connection.process_tls_records(kept_mut(incoming)).state? {
            ConnectionState::WriteTraffic(mut traffic) => Ok(traffic.encrypt(plain, cipher)?),
            _ => Err(rustls::Error::HandshakeNotComplete.into()),
        }
    }

    /// Says to the peer that nothing follows.
    pub fn close_notify(&mut self) {
        if self.failed {
            return;
        }
        let Self { connection, incoming, outgoing, .. } = self;
        let mut alert = [0; 64];
        if let UnbufferedStatus { state: Ok(ConnectionState::WriteTraffic(mut traffic)), .. } =
            connection.process_tls_records(kept_mut(incoming))
            && let Ok(length) = traffic.queue_close_notify(&mut alert)
        {
            outgoing.extend_from_slice(&alert[..length]);
        }
    }

    /// Ciphertext to be written before any other.
    pub fn outgoing(&self) -> &[u8] {
        &self.outgoing[self.written..]
    }

    /// The socket took `count` bytes of [`Self::outgoing`].
    pub fn took(&mut self, count: usize) {
        self.written += count;
        if self.written == self.outgoing.len() {
            self.outgoing = Vec::new();
            self.written = 0;
        }
    }

    /// Keeps ciphertext that the socket did not take.
    pub fn put_outgoing(&mut self, cipher: &[u8]) {
        self.outgoing.extend_from_slice(cipher);
    }

    /// Takes out what rustls wants to say last. Once that is empty it would look at the broken bytes again.
    fn encode_alert(&mut self, incoming: &mut [u8]) {
        while self.connection.wants_write()
            && let UnbufferedStatus { state: Ok(ConnectionState::EncodeTlsData(mut data)), .. } =
                self.connection.process_tls_records(incoming)
            && encode(&mut data, &mut self.outgoing).is_ok()
        {}
    }
}

/// What rustls must be shown at every call: it remembers offsets into an incomplete handshake message, and looks there
/// even when there is nothing new.
fn kept_mut(incoming: &mut Option<Buffer>) -> &mut [u8] {
    incoming.as_mut().map(Buffer::filled_mut).unwrap_or_default()
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("handshaking", &self.is_handshaking())
            .field("kept", &self.kept().len())
            .field("outgoing", &self.outgoing().len())
            .finish_non_exhaustive()
    }
}

fn encode<Data>(
    data: &mut rustls::unbuffered::EncodeTlsData<'_, Data>,
    outgoing: &mut Vec<u8>,
) -> Result<(), EncodeError> {
    let at = outgoing.len();
    match data.encode(&mut []) {
        Err(EncodeError::InsufficientSize(needed)) => {
            outgoing.resize(at + needed.required_size, 0);
            data.encode(&mut outgoing[at..])?;
            Ok(())
        }
        other => other.map(drop),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rustls::pki_types::{PrivateKeyDer, ServerName};
    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;

    fn server() -> Arc<ServerConfig> {
        let (certificate, key) = certificate();
        let key = PrivateKeyDer::try_from(key.clone()).unwrap();
        let builder = ServerConfig::builder().with_no_client_auth();
        Arc::new(builder.with_single_cert(vec![certificate.clone()], key).unwrap())
    }

    /// A server and a client that have shaken hands.
    fn established(config: Arc<ServerConfig>) -> (Tls, ClientConnection) {
        let mut tls = Tls::new(config).unwrap();
        let mut client = client();
        while tls.is_handshaking() || client.is_handshaking() || client.wants_write() {
            let mut wire = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut wire).unwrap();
            }
            feed(&mut tls, &wire, usize::MAX).unwrap();
            client.read_tls(&mut tls.outgoing()).unwrap();
            tls.took(tls.outgoing().len());
            client.process_new_packets().unwrap();
        }
        (tls, client)
    }

    fn client_hello() -> Vec<u8> {
        let mut hello = Vec::new();
        client().write_tls(&mut hello).unwrap();
        hello
    }

    fn client() -> ClientConnection {
        let mut roots = RootCertStore::empty();
        roots.add(certificate().0.clone()).unwrap();
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from("localhost").unwrap();
        ClientConnection::new(Arc::new(config), name).unwrap()
    }

    /// One certificate and key for all tests.
    fn certificate() -> &'static (CertificateDer<'static>, Vec<u8>) {
        static CERTIFICATE: std::sync::OnceLock<(CertificateDer<'static>, Vec<u8>)> = std::sync::OnceLock::new();
        CERTIFICATE.get_or_init(|| {
            let certified = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
            (certified.cert.der().clone(), certified.signing_key.serialize_der())
        })
    }

    /// Feeds `wire` in pieces, as the transport does; ends at the first error.
    fn feed(tls: &mut Tls, wire: &[u8], piece: usize) -> Result<(), TlsError> {
        let mut buffer = vec![0; 128 * 1024];
        for bytes in wire.chunks(piece) {
            let kept = tls.resume(&mut buffer);
            buffer[kept..kept + bytes.len()].copy_from_slice(bytes);
            let filled = kept + bytes.len();
            let done = tls.process(&mut buffer[..filled], |_| ())?;
            tls.keep(&buffer[done..filled])?;
        }
        Ok(())
    }

    #[test]
    fn a_hello_in_fragments_is_answered_and_what_is_no_tls_gets_an_alert() {
        let config = server();
        for piece in [1, 7, 1000, 10_000] {
            let mut tls = Tls::new(Arc::clone(&config)).unwrap();
            feed(&mut tls, &client_hello(), piece).unwrap();
            assert_eq!(tls.outgoing().first(), Some(&22), "a handshake record");
            assert!(tls.is_handshaking() && tls.kept().is_empty());
            let all = tls.outgoing().len();
            tls.took(all - 1);
            assert_eq!(tls.outgoing().len(), 1);
        }
        let mut tls = Tls::new(config).unwrap();
        assert!(feed(&mut tls, b"GET / HTTP/1.1\r\n\r\n", 100).is_err());
        assert_eq!(tls.outgoing().first(), Some(&21), "an alert");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn a_damaged_handshake_is_refused_or_waits_and_is_bounded(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in prop::option::of(any::<prop::sample::Index>()),
            fragments in prop::option::of(1usize..200),
            tail in prop::collection::vec(any::<u8>(), 0..300),
            piece in 1usize..3000,
        ) {
            let mut hello = client_hello();
            if let Some(size) = fragments {
                hello = hello[5..]
                    .chunks(size)
                    .flat_map(|part| [&[22, 3, 1][..], &u16::try_from(part.len()).unwrap().to_be_bytes(), part].concat())
                    .collect();
            }
            for (at, byte) in damage {
                let at = at.index(hello.len());
                hello[at] = byte;
            }
            if let Some(cut) = cut {
                hello.truncate(cut.index(hello.len()));
            }
            hello.extend_from_slice(&tail);
            let mut tls = Tls::new(server()).unwrap();
            let _ = feed(&mut tls, &hello, piece);
            prop_assert!(tls.kept().len() <= HANDSHAKE_BYTES);
            tls.close_notify();
        }

        #[test]
        fn damaged_records_end_the_connection_and_nothing_else(
            lengths in prop::collection::vec(1usize..20_000, 1..5),
            damage in prop::option::of((any::<prop::sample::Index>(), 1u8..)),
            piece in 1usize..20_000,
        ) {
            let (mut tls, mut client) = established(server());
            let mut wire = Vec::new();
            for length in lengths {
                std::io::Write::write_all(&mut client.writer(), &vec![7; length]).unwrap();
                while client.wants_write() {
                    client.write_tls(&mut wire).unwrap();
                }
            }
            if let Some((at, flip)) = damage {
                let at = at.index(wire.len());
                wire[at] ^= flip;
            }
            let mut cipher = [0; 200];
            for piece in wire.chunks(piece) {
                let fed = feed(&mut tls, piece, usize::MAX);
                prop_assert!(fed.is_ok() || damage.is_some());
                prop_assert!(tls.kept().len() <= RECORD_BYTES);
                prop_assert_eq!(tls.encrypt(b"answer", &mut cipher).is_ok(), fed.is_ok());
                if fed.is_err() {
                    break;
                }
            }
            tls.close_notify();
        }
    }
}
