//! Order, barriers, back-pressure, ends.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::house::{ANSWER, Client, House, eventually, open, open_with, request, spec};
use crate::model::listener::SecurityProtocol::Plaintext;
use crate::network::responses::IN_FLIGHT_REQUESTS;
use crate::protocol::api::ApiKey;
use crate::quota::connections::BrokerLimits;

#[test]
fn a_thousand_pipelined_requests_are_answered_in_order() {
    let house = House::new();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    let all: Vec<u8> = (0..1000).flat_map(|i| request(ApiKey::Metadata, 1, i, b"")).collect();
    client.send(&all);
    for i in 0..1000 {
        assert_eq!(client.answer(), (i, ANSWER.to_vec()));
    }
}

#[test]
fn frames_may_arrive_in_any_pieces() {
    let house = House::new();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.0.set_nodelay(true).unwrap();
    for byte in request(ApiKey::Metadata, 1, 1, b"abc") {
        client.send(&[byte]);
    }
    assert_eq!(client.answer(), (1, b"abc".to_vec()));
    let large = vec![9; 3 << 20];
    for piece in request(ApiKey::Metadata, 1, 2, &large).chunks(77_777) {
        client.send(piece);
    }
    assert!(client.answer() == (2, large));
}

#[test]
fn overlapping_requests_go_on_while_an_answer_waits() {
    let house = House::closed();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::Fetch, 4, 1, b"f"));
    client.send(&request(ApiKey::Metadata, 1, 2, b""));
    eventually(|| house.seen.lock().len() == 2);
    house.gate.store(true, Ordering::SeqCst);
    assert_eq!(client.answer().0, 1);
    assert_eq!(client.answer().0, 2);
}

#[test]
fn a_barrier_waits_for_those_before_it_and_holds_those_behind_it() {
    let house = House::closed();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::Fetch, 4, 1, b""));
    client.send(&request(ApiKey::Heartbeat, 1, 2, b""));
    client.send(&request(ApiKey::Metadata, 1, 3, b""));
    eventually(|| house.seen.lock().len() == 1);
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(*house.seen.lock(), ["Fetch 1"]);
    house.gate.store(true, Ordering::SeqCst);
    for id in 1..=3 {
        assert_eq!(client.answer().0, id);
    }
    assert_eq!(*house.seen.lock(), ["Fetch 1", "complete 1", "Heartbeat 2", "complete 2", "Metadata 3"]);
}

#[test]
fn a_half_closed_connection_gets_its_answers() {
    let house = House::new();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    for i in 0..10 {
        client.send(&request(ApiKey::Fetch, 4, i, b""));
    }
    client.0.shutdown(Shutdown::Write).unwrap();
    for i in 0..10 {
        assert_eq!(client.answer().0, i);
    }
    client.assert_closed();
}

#[test]
fn what_was_read_is_served_though_the_peer_is_gone() {
    let house = House::new();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    let all: Vec<u8> = (0..400).flat_map(|i| request(ApiKey::Produce, 8, i, &[0; 1000])).collect();
    client.send(&all);
    drop(client);
    eventually(|| house.seen.lock().len() == 400);
}

#[test]
fn a_peer_that_reads_nothing_is_not_read_from() {
    let house = House::new();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.0.set_nonblocking(true).unwrap();
    let wanted = request(ApiKey::Metadata, 1, 1, &vec![1; 100_000]);
    let mut sent = 0_usize;
    let mut blocked = 0;
    while blocked < 20 {
        let from = sent % wanted.len();
        match client.0.write(&wanted[from..]) {
            Ok(count) => sent += count,
            Err(_) => {
                blocked += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(sent < 1 << 30, "the broker reads without end");
    }
    let served = house.seen.lock().len();
    assert!(served < IN_FLIGHT_REQUESTS / 2, "{served}: sockets hold some, and a megabyte may wait");
    // Whoever reads again is served again.
    client.0.set_nonblocking(false).unwrap();
    let mut answered = vec![0; 100_008 * served];
    client.0.read_exact(&mut answered).unwrap();
    eventually(|| house.seen.lock().len() > served);
}

#[test]
fn a_muted_connection_is_answered_at_once_and_read_later() {
    let mut house = House::new();
    house.mute = Some(Duration::from_millis(200));
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::Metadata, 1, 1, b""));
    client.send(&request(ApiKey::Metadata, 1, 2, b""));
    assert_eq!(client.answer().0, 1);
    assert_eq!(house.seen.lock().len(), 1);
    assert_eq!(client.answer().0, 2);
}

#[test]
fn an_api_that_is_not_served_closes_after_the_answers_before_it() {
    let house = House::new();
    let (_network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    client.send(&request(ApiKey::Fetch, 4, 1, b""));
    client.send(&request(ApiKey::Vote, 0, 2, b""));
    client.send(&request(ApiKey::Metadata, 1, 3, b""));
    assert_eq!(client.answer().0, 1);
    client.assert_closed();
    assert!(!house.seen.lock().contains(&"Metadata 3".to_owned()));
}

#[test]
fn an_address_with_too_many_connections_is_closed_and_let_in_when_one_leaves() {
    let house = House::new();
    let limits = BrokerLimits { max_connections_per_ip: 2, ..BrokerLimits::default() };
    let (network, address) = open_with(&house, spec("OPEN", Plaintext, None), limits);
    let mut first = Client::connect(address);
    first.send(&request(ApiKey::Metadata, 1, 1, b""));
    first.answer();
    let second = Client::connect(address);
    eventually(|| network.connections() == 2);
    Client::connect(address).assert_closed();
    drop(second);
    eventually(|| network.connections() == 1);
    let mut third = Client::connect(address);
    third.send(&request(ApiKey::Metadata, 1, 3, b""));
    assert_eq!(third.answer().0, 3);
}

#[test]
fn accept_waits_for_a_slot() {
    let house = House::new();
    let limits = BrokerLimits { max_connections: 1, ..BrokerLimits::default() };
    let (network, address) = open_with(&house, spec("OPEN", Plaintext, None), limits);
    let first = Client::connect(address);
    eventually(|| network.connections() == 1);
    let mut second = Client::connect(address);
    second.send(&request(ApiKey::Metadata, 1, 2, b""));
    std::thread::sleep(Duration::from_millis(50));
    assert!(house.seen.lock().is_empty());
    drop(first);
    assert_eq!(second.answer().0, 2);
}

#[test]
fn shutdown_finishes_what_was_read() {
    let house = House::closed();
    let (network, address) = open(&house, spec("OPEN", Plaintext, None));
    let mut client = Client::connect(address);
    let mut idle = Client::connect(address);
    client.send(&request(ApiKey::Fetch, 4, 1, b""));
    eventually(|| house.seen.lock().len() == 1);
    let gate = house.gate.clone();
    let stopped = std::thread::spawn(move || network.shutdown(Duration::from_secs(20)));
    idle.assert_closed();
    gate.store(true, Ordering::SeqCst);
    assert_eq!(client.answer().0, 1);
    client.assert_closed();
    stopped.join().unwrap();
    assert!(std::net::TcpStream::connect(address).is_err());
}
