//! Case 108: connections by the hundred thousand, more of them than descriptors, and more than one address may have.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketType};

use crate::client::Client;
use crate::support::{Broker, PATIENCE, free_port, write};

const DESCRIPTORS: usize = 1024;
const PER_ADDRESS: usize = 50;
const ALL: usize = 120;

/// Two listeners, the second one for brokers, by a process of at most [`DESCRIPTORS`] files.
struct Crowded {
    broker: Broker,
    clients: SocketAddr,
    brokers: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Crowded {
    fn start(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [clients, brokers] = [(); 2].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "broker.id=1\nlisteners=CLIENTS://{clients},BROKERS://{brokers}\n\
                 listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,BROKERS:PLAINTEXT\n\
                 inter.broker.listener.name=BROKERS\nsasl.enabled.mechanisms=PLAIN\n\
                 listener.name.clients.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required user_alice=\"alice-of-tests\";\n\
                 log.dirs={}\n{more}",
                dir.path().join("data").display()
            ),
        );
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n {DESCRIPTORS}; exec \"$0\" serve \"$1\"")]);
        let broker = Broker::background(command.arg(env!("CARGO_BIN_EXE_schloss")).arg(&config));
        broker.wait_for_line("Kafka Server started");
        Self { broker, clients, brokers, _dir: dir }
    }

    fn descriptors(&self) -> usize {
        Path::new(&format!("/proc/{}/fd", self.broker.pid())).read_dir().unwrap().count()
    }

    fn resident_kib(&self) -> u64 {
        super::resident_kib(self.broker.pid())
    }

    /// Waits until it has no more descriptors than that.
    fn settles_at(&self, descriptors: usize) {
        for _ in 0..PATIENCE.as_millis() / 20 {
            if self.descriptors() <= descriptors {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{} descriptors, not {descriptors}", self.descriptors());
    }

    #[track_caller]
    fn serves(&self) {
        let mut client = Client::login(self.clients, "alice", "alice-of-tests");
        assert_eq!(client.metadata(&[]).unwrap().brokers.len(), 1);
        assert_eq!(Client::connect(self.brokers).metadata(&[]).unwrap().brokers.len(), 1);
    }
}

/// A connection from this address of the loopback network.
fn connect_from(last: u8, to: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    rustix::net::connect(&socket, &to).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Ends with a reset, as fast as may be: neither side has to remember it.
fn reset(stream: TcpStream) {
    set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
}

/// A hundred thousand come and go, most before anyone looks at them, while others log in; nothing of them stays.
#[test]
fn a_hundred_thousand_short_connections() {
    const THREADS: u8 = 4;
    const EACH: usize = 25_000;
    let crowded = Crowded::start("");
    crowded.serves();
    let (descriptors, resident) = (crowded.descriptors(), crowded.resident_kib());
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..THREADS)
            .map(|thread| {
                let to = crowded.clients;
                scope.spawn(move || {
                    for round in 0..EACH {
                        let mut stream = connect_from(2 + thread, to);
                        match round % 4 {
                            0 => {}
                            1 => stream.write_all(&[0, 0, 0]).unwrap_or_default(),
                            2 => stream.write_all(b"\0\0\xff\xff\0").unwrap_or_default(),
                            _ => stream.shutdown(std::net::Shutdown::Both).unwrap_or_default(),
                        }
                        reset(stream);
                    }
                })
            })
            .collect();
        let good = scope.spawn(|| {
            let mut logins = 0;
            while !over.load(Ordering::Relaxed) {
                crowded.serves();
                logins += 1;
            }
            logins
        });
        for thread in crowd {
            thread.join().unwrap();
        }
        over.store(true, Ordering::Relaxed);
        assert!(good.join().unwrap() > 0);
    });
    crowded.settles_at(descriptors + 2);
    crowded.serves();
    let grown = crowded.resident_kib().saturating_sub(resident);
    assert!(grown < 32 * 1024, "{grown} KiB for connections that are gone");
    let lines = crowded.broker.output().lines().count();
    assert!(lines < 200, "{lines} lines");
}

/// More peers than descriptors: who is in is served, who is not waits, and comes in when somebody leaves.
#[test]
fn more_peers_than_descriptors() {
    let crowded = Crowded::start("");
    let descriptors = crowded.descriptors();
    let mut first = Client::login(crowded.clients, "alice", "alice-of-tests");
    let mut peers: Vec<TcpStream> = (0..DESCRIPTORS).map(|_| connect_from(2, crowded.clients)).collect();
    crowded.broker.wait_for_line("Too many open files");
    assert!(first.metadata(&[]).is_ok());
    assert!(crowded.descriptors() <= DESCRIPTORS);
    // Those in the backlog wait: the last of them is served as soon as the others are gone.
    let mut last = Client::over(peers.pop().unwrap());
    peers.into_iter().for_each(reset);
    assert_eq!(last.plain("alice", "alice-of-tests").error_code, 0);
    crowded.serves();
    drop((first, last));
    crowded.settles_at(descriptors);
    let said = crowded.broker.output().matches("Too many open files").count();
    assert!(said <= 2, "said {said} times");
}

/// An address that has all it may is answered by a close; when the broker has all it may, only brokers still come in.
#[test]
fn more_than_an_address_may_have_and_more_than_all_may() {
    let limits = format!("max.connections.per.ip={PER_ADDRESS}\nmax.connections={ALL}\n");
    let crowded = Crowded::start(&limits);
    let mut peers: Vec<TcpStream> = (0..PER_ADDRESS).map(|_| connect_from(2, crowded.clients)).collect();
    for _ in 0..20 {
        assert_eq!(Client::over(connect_from(2, crowded.clients)).closed(), b"");
    }
    crowded
        .broker
        .wait_for_line("rejected connection from 127.0.0.2: address already has the configured maximum of 50");
    let rejected = crowded.broker.output().matches("rejected connection").count();
    assert_eq!(rejected, 1, "one line an address and minute");
    let of_another = Client::over(connect_from(3, crowded.clients)).plain("alice", "alice-of-tests");
    assert_eq!(of_another.error_code, 0);

    peers.extend((peers.len()..ALL).map(|at| connect_from(if at < 2 * PER_ADDRESS { 3 } else { 4 }, crowded.clients)));
    let mut waiting = Client::over(connect_from(5, crowded.clients));
    waiting.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let ended = waiting.metadata(&[]).unwrap_err();
    assert_eq!(ended.kind(), std::io::ErrorKind::WouldBlock, "it was let in, or sent away: {ended}");
    for _ in 0..20 {
        assert_eq!(Client::connect(crowded.brokers).metadata(&[]).unwrap().brokers.len(), 1);
    }
    drop(peers);
    drop(waiting);
    crowded.serves();
}
