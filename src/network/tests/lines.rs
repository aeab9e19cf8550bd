//! What the operator reads about peers that made a mistake.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tracing_subscriber::fmt::MakeWriter;

use super::deadlines::with_client;
use super::house::request;
use crate::model::listener::SecurityProtocol::{self, SaslPlaintext};
use crate::protocol::api::ApiKey;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The lines that a peer which sends `bytes` and reads to the end causes.
fn lines_about(protocol: SecurityProtocol, bytes: &[u8]) -> String {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(lines.clone())
        .with_ansi(false)
        .without_time()
        .with_target(false)
        .finish();
    let bytes = bytes.to_vec();
    tracing::subscriber::with_default(subscriber, || {
        with_client(protocol, |mut stream| async move {
            stream.write_all(&bytes).await.unwrap();
            let _ = stream.read_to_end(&mut Vec::new()).await;
        });
    });
    let bytes = lines.0.lock().clone();
    String::from_utf8(bytes).unwrap().trim().to_owned()
}

#[test]
fn tls_and_http_on_a_plaintext_listener() {
    assert_eq!(
        lines_about(SaslPlaintext, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        "INFO listener CLIENT 0: 127.0.0.1 speaks TLS, this listener is SASL_PLAINTEXT: \
         set security.protocol=SASL_PLAINTEXT, or use port 9093 (SASL_SSL)"
    );
    assert_eq!(
        lines_about(SaslPlaintext, b"GET /\x1b[31m HTTP/1.1\r\n\r\n"),
        "INFO listener CLIENT 0: 127.0.0.1 speaks HTTP (\"GET /\\x1b[31m\"), this listener speaks Kafka"
    );
}

#[test]
fn a_client_that_does_not_log_in_is_told_what_it_lacks() {
    assert_eq!(
        lines_about(SaslPlaintext, &request(ApiKey::Metadata, 1, 1, b"")),
        "INFO Failed authentication with /127.0.0.1 (api key 3 before authentication: this listener is SASL_PLAINTEXT, \
         set security.protocol=SASL_PLAINTEXT and sasl.mechanism) on listener CLIENT 0"
    );
}

#[test]
fn a_frame_that_is_too_large_and_a_peer_that_just_leaves() {
    assert_eq!(
        lines_about(SaslPlaintext, &[0, 1, 0, 1]),
        "INFO listener CLIENT 0: closed the connection of 127.0.0.1: frame length 65537 is larger than 65536"
    );
    assert_eq!(
        lines_about(SaslPlaintext, &[]),
        "INFO Failed authentication with /127.0.0.1 (not logged in within 30 s) on listener CLIENT 0"
    );
}
