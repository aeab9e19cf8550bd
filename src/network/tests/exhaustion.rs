//! What a crowd of peers can do: no descriptor left, and memory of those that say five bytes.
//!
//! Both need a process of their own. The second is a measurement, run by hand:
//! `cargo test --release --lib five_byte -- --ignored --nocapture`.

use std::io::Read as _;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketType};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::house::{Client, House, eventually, open, request, spec};
use crate::model::listener::SecurityProtocol::{Plaintext, SaslPlaintext, SaslSsl};
use crate::protocol::api::ApiKey;

const ROOM: &str = "network::tests::exhaustion::";

/// Runs one ignored test of this file in a process of its own.
fn in_own_process(test: &str) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "--nocapture", &format!("{ROOM}{test}")]);
    let output = child.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
}

#[test]
fn accept_survives_running_out_of_descriptors() {
    in_own_process("without_descriptors");
}

#[test]
#[ignore = "run by accept_survives_running_out_of_descriptors"]
fn without_descriptors() {
    let house = House::new();
    let (network, address) = open(&house, spec("OPEN", Plaintext, None));
    // The thread has all the descriptors it needs for itself.
    let mut first = Client::connect(address);
    first.send(&request(ApiKey::Metadata, 1, 1, b""));
    first.answer();
    let socket = || rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    let sockets: Vec<_> = (0..10).map(|_| socket()).collect();
    let highest = sockets.iter().map(|socket| socket.as_raw_fd()).max().unwrap();
    let limit = getrlimit(Resource::Nofile);
    let lowered = Rlimit { current: Some(u64::try_from(highest).unwrap() + 4), ..limit };
    setrlimit(Resource::Nofile, lowered).unwrap();

    let mut clients = Vec::new();
    for socket in sockets {
        rustix::net::connect(&socket, &address).unwrap();
        clients.push(Client(socket.into()));
    }
    std::thread::sleep(Duration::from_millis(500));
    let accepted = network.connections();
    assert!((2..10).contains(&accepted), "{accepted} were accepted");
    let mut last = clients.pop().unwrap();
    last.send(&request(ApiKey::Metadata, 1, 1, b""));
    drop(clients);
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
    let mut statm = String::new();
    std::fs::File::options().read(true).open("/proc/self/statm").unwrap().read_to_string(&mut statm).unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}
