//! Deadlines, on a clock that jumps to the next one whenever nothing else happens.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::house::{House, request, spec, turns};
use crate::model::listener::ListenerName;
use crate::model::listener::SecurityProtocol::{self, Plaintext, SaslPlaintext, SaslSsl, Ssl};
use crate::network::listener::BoundListener;
use crate::network::processor::{Facilities, Processor};
use crate::network::session::Session;
use crate::protocol::api::ApiKey;
use crate::quota::memory::Budget;

/// Serves one connection of a listener, and gives the client's side to `client`.
pub(super) fn with_client<F: Future<Output = ()>>(protocol: SecurityProtocol, client: impl FnOnce(TcpStream) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build_local(tokio::runtime::LocalOptions::default())
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (accepted, peer) = listener.accept().await.unwrap();
        let facilities = Facilities::new(Budget::new(1 << 20));
        let secure = BoundListener {
            name: ListenerName::new("SECURE"),
            protocol: SaslSsl,
            address: "127.0.0.1:9093".parse().unwrap(),
        };
        facilities.bound.set(vec![secure]).unwrap();
        let processor = Rc::new(Processor::new(House::new(), Arc::new(facilities)));
        let tls = protocol.is_tls().then(|| super::tls::configs().0);
        let spec = Arc::new(spec("CLIENT", protocol, tls));
        let transport = processor.transport(accepted.into_std().unwrap(), &spec).unwrap();
        let connection = processor.connection(peer, &spec);
        tokio::task::spawn_local(Session::new(processor, spec, connection, transport).run());
        client(stream).await;
    });
}

/// How long the broker keeps the connection from `since` on.
async fn closed_after(stream: &mut TcpStream, since: Instant) -> Duration {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.is_empty());
    since.elapsed()
}

#[test]
fn a_connection_that_says_nothing_is_closed_at_the_login_deadline() {
    with_client(SaslPlaintext, |mut stream| async move {
        let kept = closed_after(&mut stream, Instant::now()).await;
        assert!((29..=31).contains(&kept.as_secs()), "{kept:?}");
    });
}

#[test]
fn half_a_tls_handshake_is_closed_at_the_same_deadline() {
    for protocol in [Ssl, SaslSsl] {
        with_client(protocol, |mut stream| async move {
            stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
            let kept = closed_after(&mut stream, Instant::now()).await;
            assert!((29..=31).contains(&kept.as_secs()), "{kept:?}");
        });
    }
}

#[test]
fn one_byte_every_five_seconds_does_not_get_further_than_the_frame_deadline() {
    with_client(SaslPlaintext, |mut stream| async move {
        let begun = Instant::now();
        let bytes = request(ApiKey::ApiVersions, 0, 1, b"");
        let mut sent = 0;
        for byte in bytes {
            if stream.write_all(&[byte]).await.is_err() {
                break;
            }
            sent += 1;
            tokio::time::sleep(Duration::from_secs(5)).await;
        }
        assert!(sent < 6, "{sent}");
        let kept = closed_after(&mut stream, begun).await;
        assert!(kept < Duration::from_secs(31), "{kept:?}");
    });
}

#[test]
fn one_deadline_for_the_whole_login() {
    with_client(SaslPlaintext, |mut stream| async move {
        let begun = Instant::now();
        stream.write_all(&request(ApiKey::ApiVersions, 0, 1, b"")).await.unwrap();
        let mut answer = [0; 18];
        stream.read_exact(&mut answer).await.unwrap();
        tokio::time::sleep(Duration::from_secs(20)).await;
        stream.write_all(&request(ApiKey::SaslHandshake, 1, 2, b"")).await.unwrap();
        let mut answer = [0; 17];
        stream.read_exact(&mut answer).await.unwrap();
        let kept = closed_after(&mut stream, begun).await;
        assert!((29..=31).contains(&kept.as_secs()), "{kept:?}");
    });
}

#[test]
fn a_large_frame_has_as_long_as_its_size_allows() {
    with_client(Plaintext, |mut stream| async move {
        let begun = Instant::now();
        stream.write_all(&5_000_000_i32.to_be_bytes()).await.unwrap();
        stream.write_all(&[0; 1000]).await.unwrap();
        let kept = closed_after(&mut stream, begun).await;
        assert!((14..=16).contains(&kept.as_secs()), "{kept:?}");
    });
}

#[test]
fn an_idle_connection_is_closed_after_max_idle() {
    with_client(Plaintext, |mut stream| async move {
        for id in 0..3 {
            stream.write_all(&request(ApiKey::Metadata, 1, id, b"")).await.unwrap();
            let mut answer = [0; 14];
            stream.read_exact(&mut answer).await.unwrap();
            tokio::time::sleep(Duration::from_secs(500)).await;
        }
        let kept = closed_after(&mut stream, Instant::now()).await;
        assert!((99..=101).contains(&kept.as_secs()), "{kept:?}");
    });
}

#[test]
fn whoever_does_not_read_an_answer_in_memory_is_cut_off() {
    with_client(Plaintext, |mut stream| async move {
        let begun = Instant::now();
        let wanted = request(ApiKey::Metadata, 1, 1, &vec![1; 8 << 20]);
        stream.write_all(&wanted).await.unwrap();
        turns(100).await;
        // Sockets hold some of it; the rest waits for a reader that does not come.
        tokio::time::sleep(Duration::from_secs(60)).await;
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.len() < 8 << 20, "{}", rest.len());
        assert!(begun.elapsed() < Duration::from_secs(61));
    });
}
