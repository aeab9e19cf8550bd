//! Ten thousand strangers at the door: what they cost, and whether anybody else still gets in.
//! `cargo bench --bench attack`, under three minutes; `SCHLOSS_ATTACKERS` for another number than 10,000.
//!
//! The real binary serves SASL_PLAINTEXT and SASL_SSL as a child; the attackers are processes of their own, each with as
//! many connections as its limit of open files allows. Four kinds, each at a broker just started:
//!
//! - *five bytes*: a length of 512 KiB and one byte of the frame, then silence; whoever is closed comes again at once.
//!   Apache Kafka 4.3.1 allocates what is declared and ends with OutOfMemoryError, at 301 connections with a heap of
//!   384 MiB and at 963 with 1 GiB.
//! - *slow*: one byte of a good request every five seconds (slowloris).
//! - *silent*: nothing at all.
//! - *half-open*: the first message of a TLS handshake, then silence.
//!
//! All the while somebody logs in with SCRAM-SHA-256 and asks a question. The exit code is not 0 when a connection costs
//! 16 KiB or more (TLS: 64), a login fails or takes a second or more, or a connection lives longer than the 30 s that a
//! login may take.
#![expect(clippy::disallowed_methods, reason = "a bench asks the clock and reads /proc")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its result")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may fail")]
#![allow(unreachable_pub, unused_qualifications, dead_code, reason = "it uses its part of the tests' client")]

#[path = "../tests/broker/client.rs"]
mod client;
#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use sasl::client::Mechanism as _;
use sasl::client::mechanisms::Scram;
use sasl::common::scram::Sha256;
use sasl::common::{ChannelBinding, Credentials};

use client::Client;
use support::{Broker, free_port, schloss, write};

const ATTACKERS: usize = 10_000;
/// Bounds: G2 to G4 of the goals.
const KIB_PER_CONNECTION: f64 = 16.0;
const KIB_PER_TLS_CONNECTION: f64 = 64.0;
const LOGIN: Duration = Duration::from_secs(1);
const HANDSHAKE: Duration = Duration::from_secs(30);
/// What the attackers may be late in seeing that they are closed, on a busy machine.
const SLACK: Duration = Duration::from_secs(5);
/// Open files that a process needs for other things.
const SPARE_FILES: usize = 200;
const USER: &str = "bob";
const PASSWORD: &str = "bobs-long-password";

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    FiveBytes,
    Slow,
    Silent,
    HalfOpen,
}

impl Kind {
    const ALL: [Self; 4] = [Self::FiveBytes, Self::Slow, Self::Silent, Self::HalfOpen];

    fn name(self) -> &'static str {
        match self {
            Self::FiveBytes => "five-bytes",
            Self::Slow => "slow",
            Self::Silent => "silent",
            Self::HalfOpen => "half-open",
        }
    }

    /// How long logins are tried beside it: over the deadline at which such connections are closed.
    fn lasts(self) -> Duration {
        match self {
            Self::FiveBytes => Duration::from_secs(25),
            Self::Slow | Self::Silent | Self::HalfOpen => HANDSHAKE + SLACK,
        }
    }

    fn kib(self) -> f64 {
        if self == Self::HalfOpen { KIB_PER_TLS_CONNECTION } else { KIB_PER_CONNECTION }
    }

    /// What is sent at once.
    fn greeting(self) -> Vec<u8> {
        let mut greeting = Vec::new();
        match self {
            Self::FiveBytes => greeting.extend_from_slice(b"\0\x08\0\0\0"),
            Self::Slow | Self::Silent => {}
            Self::HalfOpen => {
                let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
                let config = ClientConfig::builder_with_provider(provider)
                    .with_safe_default_protocol_versions()
                    .unwrap()
                    .with_root_certificates(RootCertStore::empty())
                    .with_no_client_auth();
                let name = ServerName::try_from("localhost").unwrap();
                let mut hello = ClientConnection::new(Arc::new(config), name).unwrap();
                while hello.wants_write() {
                    hello.write_tls(&mut greeting).unwrap();
                }
            }
        }
        greeting
    }
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    if let [_, mode, kind, address, count] = &args[..]
        && mode == "--attack"
    {
        let kind = Kind::ALL.into_iter().find(|k| k.name() == kind).unwrap();
        attack(kind, address.parse().unwrap(), count.parse().unwrap());
        return ExitCode::SUCCESS;
    }
    // `cargo test` runs benches too, without this.
    if !args.iter().any(|arg| arg == "--bench") {
        return ExitCode::SUCCESS;
    }
    defend()
}

/// One process of attackers: says `open` when all are there, and at the end (its input is closed) how many times it was
/// closed and how long the longest lived.
fn attack(kind: Kind, address: SocketAddr, count: usize) {
    let (stop, stopped) = channel::<()>();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        drop(stop);
    });
    let greeting = kind.greeting();
    let mut strangers: Vec<Stranger> = (0..count).map(|_| Stranger::come(&greeting, address)).collect();
    println!("open");
    while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
        for stranger in &mut strangers {
            stranger.go_on(kind, &greeting, address);
        }
        thread::sleep(Duration::from_millis(200));
    }
    let closed: usize = strangers.iter().map(|s| s.closed).sum();
    let longest = strangers.iter().map(|s| s.longest).max().unwrap_or_default();
    let open = strangers.iter().filter(|s| s.stream.is_some()).count();
    println!("{closed} {} {open}", longest.as_millis());
}

/// An ApiVersions request, its length in front; long enough for a byte every five seconds.
const REQUEST: &[u8] = b"\0\0\0\x14\0\x12\0\0\0\0\0\x07\0\x0aattackerss";

struct Stranger {
    stream: Option<TcpStream>,
    came: Instant,
    sent: usize,
    closed: usize,
    longest: Duration,
}

impl Stranger {
    fn come(greeting: &[u8], address: SocketAddr) -> Self {
        let mut stranger = Self { stream: None, came: Instant::now(), sent: 0, closed: 0, longest: Duration::ZERO };
        stranger.connect(greeting, address);
        stranger
    }

    fn connect(&mut self, greeting: &[u8], address: SocketAddr) {
        self.came = Instant::now();
        self.sent = 0;
        self.stream = TcpStream::connect(address).ok();
        if let Some(stream) = &mut self.stream {
            stream.set_nonblocking(true).unwrap();
            let _ = stream.write_all(greeting);
        }
    }

    fn go_on(&mut self, kind: Kind, greeting: &[u8], address: SocketAddr) {
        if let Some(stream) = &mut self.stream {
            if kind == Kind::Slow {
                let due = usize::try_from(self.came.elapsed().as_secs() / 5).unwrap() + 1;
                if due > self.sent
                    && let Some(byte) = REQUEST.get(self.sent)
                    && stream.write_all(&[*byte]).is_ok()
                {
                    self.sent += 1;
                }
            }
            match stream.read(&mut [0; 4096]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Ok(1..) => return,
                _ => {}
            }
            self.longest = self.longest.max(self.came.elapsed());
            self.closed += 1;
            self.stream = None;
        }
        if kind == Kind::FiveBytes {
            self.connect(greeting, address);
        }
    }
}

struct Castle {
    broker: Broker,
    sasl: SocketAddr,
    sasl_tls: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Castle {
    fn build() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keystore = dir.path().join("broker.pem");
        support::keystore(&keystore);
        let [clear, sasl, sasl_tls] = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "schloss.profile=compat\nprocess.roles=broker,controller\nnode.id=1\n\
                 listeners=PLAINTEXT://{clear},SASL_PLAINTEXT://{sasl},SASL_SSL://{sasl_tls}\n\
                 ssl.keystore.type=PEM\nssl.keystore.location={}\ninter.broker.listener.name=PLAINTEXT\n\
                 sasl.enabled.mechanisms=SCRAM-SHA-256\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 log.dirs={}\n",
                keystore.display(),
                dir.path().join("data").display()
            ),
        );
        let config = config.to_str().unwrap();
        let scram = format!("SCRAM-SHA-256=[name={USER},password={PASSWORD}]");
        schloss(&["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config, "--add-scram", &scram])
            .expect(0, "Formatting");
        Self { broker: Broker::start(&["serve", config], &[]), sasl, sasl_tls, _dir: dir }
    }

    fn resident_kib(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.broker.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn open_files(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.broker.pid())).unwrap().count()
    }

    /// Connect, handshake, SCRAM, one answered request.
    fn log_in(&self) -> io::Result<Duration> {
        let start = Instant::now();
        let mut client = Client::try_connect(self.sasl)?;
        let failed = |what: &str| io::Error::other(what.to_owned());
        if client.try_handshake(1, "SCRAM-SHA-256")?.error_code != 0 {
            return Err(failed("handshake"));
        }
        let credentials = Credentials::default().with_username(USER).with_password(PASSWORD);
        let credentials = credentials.with_channel_binding(ChannelBinding::None);
        let mut scram = Scram::<Sha256>::from_credentials(credentials).map_err(|e| failed(&e.to_string()))?;
        let first = client.authenticate(&scram.initial())?;
        let proof = scram.response(&first.auth_bytes).map_err(|e| failed(&e.to_string()))?;
        let last = client.authenticate(&proof)?;
        if last.error_code != 0 {
            return Err(failed("refused"));
        }
        scram.success(&last.auth_bytes).map_err(|e| failed(&e.to_string()))?;
        client.metadata(&[])?;
        Ok(start.elapsed())
    }

    /// Logs in again and again, at least 20 times.
    fn log_in_for(&self, time: Duration) -> Logins {
        let start = Instant::now();
        let mut logins = Logins::default();
        while start.elapsed() < time || logins.took.len() + logins.failed < 20 {
            match self.log_in() {
                Ok(took) => logins.took.push(took),
                Err(error) => {
                    eprintln!("a login failed: {error}");
                    logins.failed += 1;
                }
            }
            logins.resident_kib = logins.resident_kib.max(self.resident_kib());
            thread::sleep(Duration::from_millis(50));
        }
        logins.took.sort();
        logins
    }
}

#[derive(Default)]
struct Logins {
    took: Vec<Duration>,
    failed: usize,
    /// The broker's memory at its most.
    resident_kib: f64,
}

impl Logins {
    fn median(&self) -> Duration {
        self.took.get(self.took.len() / 2).copied().unwrap_or_default()
    }

    fn max(&self) -> Duration {
        self.took.last().copied().unwrap_or(Duration::MAX)
    }

    fn line(&self, when: &str) -> String {
        let ms = |d: Duration| d.as_secs_f64() * 1000.0;
        format!(
            "{when:<26} {:>7} {:>7} {:>10.1} {:>10.1}",
            self.took.len(),
            self.failed,
            ms(self.median()),
            ms(self.max())
        )
    }

    fn good(&self) -> bool {
        self.failed == 0 && self.max() < LOGIN
    }
}

/// The attackers' processes.
struct Crowd {
    children: Vec<(Child, Receiver<String>)>,
}

impl Crowd {
    fn gather(kind: Kind, address: SocketAddr, count: usize) -> Self {
        let each = open_file_limit().saturating_sub(SPARE_FILES).max(1);
        let processes = count.div_ceil(each).max(2);
        let children = (0..processes).map(|i| {
            let share = count / processes + usize::from(i < count % processes);
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args(["--attack", kind.name(), &address.to_string(), &share.to_string()])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let (line, lines) = channel();
            let out = BufReader::new(child.stdout.take().unwrap());
            thread::spawn(move || out.lines().map_while(Result::ok).all(|text| line.send(text).is_ok()));
            (child, lines)
        });
        let crowd = Self { children: children.collect() };
        for (_, lines) in &crowd.children {
            assert_eq!(lines.recv_timeout(Duration::from_secs(120)).unwrap(), "open");
        }
        crowd
    }

    /// Sends them home. How many times they were closed, how long the longest lived in ms, how many are still open.
    fn leave(mut self) -> (u64, u64, u64) {
        let mut told = (0, 0, 0);
        for (child, lines) in &mut self.children {
            drop(child.stdin.take());
            let line = lines.recv_timeout(Duration::from_secs(30)).unwrap();
            let numbers: Vec<u64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
            told = (told.0 + numbers[0], told.1.max(numbers[1]), told.2 + numbers[2]);
            child.wait().unwrap();
        }
        told
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for (child, _) in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Open files that a process of ours may have: the soft limit.
fn open_file_limit() -> usize {
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap())
}

/// Those that the broker may have: it raises itself to the hard limit.
fn brokers_limit() -> usize {
    getrlimit(Resource::Nofile).maximum.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap())
}

fn defend() -> ExitCode {
    let asked = std::env::var("SCHLOSS_ATTACKERS").map_or(ATTACKERS, |text| text.parse().unwrap());
    let count = asked.min(brokers_limit().saturating_sub(SPARE_FILES));
    if count < asked {
        println!("only {count} attackers: the broker may open no more files (ulimit -Hn)");
    }
    let mut broken = Vec::new();
    let mut notes = Vec::new();
    println!("{:<26} {:>7} {:>7} {:>10} {:>10}", "SCRAM logins", "good", "failed", "median ms", "max ms");
    for kind in Kind::ALL {
        notes.push(besiege(kind, count, &mut broken));
    }
    println!();
    for note in notes {
        println!("{note}");
    }
    for line in &broken {
        println!("BROKEN {line}");
    }
    if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One kind of attack, at a broker of its own. A line about it; what it broke goes to `broken`.
fn besiege(kind: Kind, count: usize, broken: &mut Vec<String>) -> String {
    let castle = Castle::build();
    let alone = castle.log_in_for(Duration::from_secs(2));
    println!("{}", alone.line(&format!("before {}", kind.name())));
    let (before, files) = (castle.resident_kib(), castle.open_files());
    let gathering = Instant::now();
    let crowd = Crowd::gather(kind, if kind == Kind::HalfOpen { castle.sasl_tls } else { castle.sasl }, count);
    let gathered = gathering.elapsed();
    let held = castle.open_files().saturating_sub(files);
    let during = castle.log_in_for(kind.lasts());
    println!("{}", during.line(&format!("{count} {}", kind.name())));
    let (closed, longest_ms, open) = crowd.leave();
    let after = castle.log_in_for(Duration::from_secs(2));
    println!("{}", after.line(&format!("after {}", kind.name())));

    let each = (during.resident_kib - before) / f64::from(u32::try_from(held.max(1)).unwrap());
    if held * 100 < count * 95 {
        broken.push(format!("{}: only {held} connections were held at a time", kind.name()));
    }
    if each >= kind.kib() {
        broken.push(format!("{}: {each:.1} KiB a connection", kind.name()));
    }
    if !during.good() || !after.good() {
        broken.push(format!("{}: a login failed or took {LOGIN:?} or more", kind.name()));
    }
    let comes_again = kind == Kind::FiveBytes;
    if (!comes_again && open > 0) || Duration::from_millis(longest_ms) > HANDSHAKE + SLACK {
        broken.push(format!("{}: a connection outlived {HANDSHAKE:?}", kind.name()));
    }
    if castle.broker.output().contains("panicked") {
        broken.push(format!("{}: the broker panicked", kind.name()));
    }
    format!(
        "{:<11} {held} held after {:.1} s; resident {:.0} MiB before, {:.0} at most, {:.0} after: {each:.1} KiB a \
         connection; closed {closed} times, the longest lived {:.1} s, {open} open at the end",
        kind.name(),
        gathered.as_secs_f64(),
        before / 1024.0,
        during.resident_kib / 1024.0,
        castle.resident_kib() / 1024.0,
        Duration::from_millis(longest_ms).as_secs_f64(),
    )
}
