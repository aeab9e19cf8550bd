//! What a crowd of peers can do: no descriptor left, and memory of those that say five bytes.
//!
//! Both need a process of their own. The second is a measurement, run by hand:
//! `cargo test --release --lib five_byte -- --ignored --nocapture`.

use std::process::Command;
use std::time::Duration;

use super::house::{Client, House, eventually, open, request, spec};
use crate::model::listener::SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl};
use crate::protocol::api::ApiKey;

const ROOM: &str = "network::tests::exhaustion::";

/// Runs one ignored test of this file in a process of its own, with `limit` descriptors.
fn in_own_process(test: &str, limit: &str) {
    let script = format!("ulimit -n {limit} && exec \"$0\" --ignored --exact --nocapture {ROOM}{test}");
    let exe = std::env::current_exe().unwrap();
    let output = Command::new("sh").arg("-c").arg(script).arg(exe).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn accept_survives_running_out_of_descriptors() {
    in_own_process("without_descriptors", "60");
}

#[test]
#[ignore = "run by accept_survives_running_out_of_descriptors"]
fn without_descriptors() {
    let house = House::new();
    let (network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut clients: Vec<_> = (0..35).map(|_| Client::connect(address)).collect();
    std::thread::sleep(Duration::from_millis(500));
    let accepted = network.connections();
    assert!(accepted < 35, "there were descriptors for all");
    let mut last = clients.pop().unwrap();
    last.send(&request(ApiKey::Metadata, 1, 1, b""));
    clients.truncate(1);
    assert_eq!(last.answer().0, 1);
    eventually(|| network.connections() == 2);
}

#[test]
#[ignore = "a measurement"]
fn five_byte_connections_in_clear() {
    measure(spec("CLIENT", SaslPlaintext, None), &[0, 0, 255, 255, 0]);
}

#[test]
#[ignore = "a measurement"]
fn five_byte_connections_to_tls() {
    let (server, _) = super::tls::configs();
    measure(spec("SECURE", SaslSsl, Some(server)), &[22, 3, 1, 63, 0]);
}

/// Half of what the limit on descriptors allows, for both ends are in this process.
const CONNECTIONS: usize = 9500;

fn measure(spec: crate::network::listener::ListenerSpec, bytes: &[u8]) {
    let house = House::new();
    let (network, address) = open(&house, spec);
    let before = resident_bytes();
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = Client::connect(address);
        client.send(bytes);
        clients.push(client);
    }
    eventually(|| network.connections() == CONNECTIONS);
    std::thread::sleep(Duration::from_millis(500));
    let each = (resident_bytes() - before) / CONNECTIONS;
    println!("{CONNECTIONS} connections of {} bytes: {each} bytes resident each", bytes.len());
    assert!(each < 16 * 1024, "{each}");
    drop(clients);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
