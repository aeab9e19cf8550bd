//! What may be sent before a login, in every state before it. First byte: the state; second: whether pieces are framed.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::sasl_authenticate_request::SaslAuthenticateRequest;
use schloss_fuzz::{Client, house, piece};

fuzz_target!(|data: &[u8]| {
    let [state, framed, rest @ ..] = data else { return };
    let Some(mut client) = Client::connect(house().sasl) else { return };
    match state % 6 {
        0 => {}
        1 => {
            client.request(ApiKey::ApiVersions, 0, &[]);
            client.answer();
        }
        2 => client.handshake("PLAIN"),
        3 => client.handshake("SCRAM-SHA-256"),
        4 => {
            client.handshake("SCRAM-SHA-512");
            let first = SaslAuthenticateRequest { auth_bytes: b"n,,n=admin,r=0123456789"[..].into() };
            client.ask(ApiKey::SaslAuthenticate, 2, &first);
        }
        // Tokens without frames of their own, as clients before 1.0 send them.
        _ => client.request(ApiKey::SaslHandshake, 0, b"\0\x05PLAIN"),
    }
    let mut rest = rest;
    while let Some(piece) = piece(&mut rest) {
        match framed % 3 {
            0 => client.send(piece),
            1 => {
                client.send(&u32::try_from(piece.len()).unwrap_or(0).to_be_bytes());
                client.send(piece);
            }
            _ => client.ask(
                ApiKey::SaslAuthenticate,
                2,
                &SaslAuthenticateRequest { auth_bytes: bytes::Bytes::copy_from_slice(piece) },
            ),
        }
    }
    client.finish();
});
