//! PLAIN.

use std::time::{Duration, Instant};

use super::{World, closes, world, worlds};
use crate::client::Client;

const WRONG: &str = "Authentication failed: Invalid username or password";

/// A token is refused with 58 and this text, after a delay; then the connection is closed.
#[track_caller]
fn refuses(world: &World, token: &[u8], text: &str, case: &str) {
    let mut client = Client::connect(world.sasl);
    assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
    let start = Instant::now();
    let answer = client.authenticate(token).unwrap();
    let took = start.elapsed();
    assert_eq!((answer.error_code, answer.error_message.as_deref()), (58, Some(text)), "{case}");
    assert!((Duration::from_millis(100)..Duration::from_secs(10)).contains(&took), "{case}: after {took:?}");
    closes(&mut client, case);
}

#[test]
fn what_is_refused() {
    for world in worlds() {
        let other = "Authentication failed: Client requested an authorization id that is different from username";
        refuses(world, b"root\0alice\0alice-of-tests", other, "case 21");
        refuses(world, b"\0alice\0wrong", WRONG, "case 22, wrong password");
        refuses(world, b"\0mallory\0wrong", WRONG, "case 22, unknown user");
        refuses(world, b"\0\0secret", "Authentication failed: username not specified", "case 23, no user");
        refuses(world, b"\0alice\0", "Authentication failed: password not specified", "case 23, no password");
        let parts = |count| format!("Invalid SASL/PLAIN response: expected 3 tokens, got {count}");
        refuses(world, b"", &parts(1), "case 23, empty");
        refuses(world, b"a\0b\0c\0d", &parts(4), "case 23, four parts");
        refuses(world, &[b"\0alice\0", &[b'x'; 60 * 1024][..]].concat(), WRONG, "case 24");
        world.still_serves();
    }
    // More than a frame of *strict* holds.
    refuses(world(), &[b"\0alice\0", &[b'x'; 500 * 1024][..]].concat(), WRONG, "case 24");
}

/// Case 25.
#[test]
fn names_that_are_no_names() {
    for world in worlds() {
        for name in ["ali\u{202e}ce", "alice\n", "\u{1b}[31mred", "*", "ANONYMOUS", &"é".repeat(200)] {
            refuses(world, format!("\0{name}\0secret").as_bytes(), WRONG, name);
        }
        let mut client = Client::connect(world.sasl);
        assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
        let answer = client.authenticate(b"\0al\xffice\0secret").unwrap();
        assert_eq!(answer.error_code, 58);
        let output = world.broker.output();
        for raw in ['\u{1b}', '\u{202e}'] {
            assert!(!output.contains(raw), "{raw:?} came into the log");
        }
        world.still_serves();
    }
}

/// Case 29: tokens without Kafka's headers, after version 0 of the handshake.
#[test]
fn raw_tokens() {
    for world in worlds() {
        let mut client = Client::connect(world.sasl);
        assert_eq!(client.handshake(0, "PLAIN").error_code, 0);
        client.send_frame(b"\0alice\0alice-of-tests").unwrap();
        assert_eq!(client.frame().unwrap(), b"");
        assert_eq!(client.metadata(&[]).unwrap().error_code, 0);

        let mut client = Client::connect(world.sasl);
        assert_eq!(client.handshake(0, "PLAIN").error_code, 0);
        client.send_frame(b"\0alice\0wrong").unwrap();
        closes(&mut client, "a wrong password in a raw token");
        world.still_serves();
    }
}
