//! Does the time of a refusal tell more than the refusal? `cargo bench --bench timing`, a few minutes;
//! `SCHLOSS_TIMING_SAMPLES` for another number than a million.
//!
//! In process: the whole of a login that fails, for two kinds of claims in random turns; Welch's t over the samples below
//! the common 95th percentile (dudect's way), beyond 4.5 means that the two can be told apart. It is asked of many sets of
//! users with keys of their own: where a name stands among the others in one of them takes its time too, by a nanosecond or
//! two, and says nothing of whether it exists. Over loopback: a login that
//! fails at the real binary, two kinds in turns, and the ratio of the medians; beyond one percent the exit code is 1, as it is
//! for a t beyond the bound.
#![expect(clippy::disallowed_methods, reason = "a bench asks the clock")]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "its result")]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench may fail")]
#![allow(unreachable_pub, unused_qualifications, dead_code, reason = "it uses its part of the tests' client")]

#[path = "../tests/broker/client.rs"]
mod client;
#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schloss::model::listener::ListenerName;
use schloss::model::scram::ScramMechanism;
use schloss::model::secret::Secret;
use schloss::security::credentials::{PlainUsers, ScramCredentials};
use schloss::security::sasl::session::Environment;
use schloss::security::sasl::{SaslMechanism, Step, scram_keys};
use schloss::security::verifier::{FailureDelay, ListenerLogins, Logins, Verdict, Verifier};

use client::Client;
use support::{Broker, free_port, write};

const SAMPLES: usize = 1_000_000;
/// Beyond it two kinds can be told apart.
const T: f64 = 4.5;
/// Logins of each kind over loopback.
const LOGINS: usize = 4_000;
const RATIO: f64 = 1.01;

const KNOWN: &str = "alice";
const UNKNOWN: &str = "agnes";
/// Sets of users, and how many of them. In each one name that exists and one that does not: more of them would end at
/// different numbers of passwords, and that would tell of the processor's cache.
const SETS: usize = 250;
const USERS: usize = 16;
const PASSWORD: &str = "a-long-password-of-alice";
/// Wrong from its first letter, and only in its last.
const FIRST_WRONG: &str = "X-long-password-of-alice";
const LAST_WRONG: &str = "a-long-password-of-alicX";

/// Turns that nobody can foresee, least of all the processor.
struct Turns(u64);

impl Turns {
    fn next(&mut self) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 & (1 << 33) != 0
    }
}

fn logins(users: &[String], secret: u8) -> (ListenerName, Logins) {
    let scram = Arc::new(ScramCredentials::new(&[secret; 32]));
    let credential = |user: &String| {
        let (mechanism, salt) = (ScramMechanism::Sha256, b"sixteen-bytes-of");
        let credential = scram_keys::credential_from_password(mechanism, PASSWORD.as_bytes(), salt, 4096).unwrap();
        (Arc::from(user.as_str()), mechanism, credential)
    };
    scram.load(users.iter().map(credential));
    let password = Secret::new(PASSWORD);
    let plain = PlainUsers::new(users.iter().map(|user| (user.as_str(), &password))).unwrap();
    let environment = Environment { scram, accept_doubled_nonce: true };
    let listener = ListenerLogins::new(SaslMechanism::ALL.to_vec(), Arc::new(plain), environment).unwrap();
    let name = ListenerName::new("SASL");
    (name.clone(), Logins::new(Verifier::new(1, FailureDelay::Fixed(Duration::ZERO)), [(name, listener)]))
}

struct Set {
    name: ListenerName,
    logins: Logins,
    known: String,
    unknown: String,
}

impl Set {
    fn new(number: u8) -> Self {
        let users: Vec<_> = (0..USERS).map(|user| format!("user{number:03}{user:02}")).collect();
        let (name, logins) = logins(&users, number);
        let (known, unknown) = (users[0].clone(), format!("none{number:03}00"));
        Self { name, logins, known, unknown }
    }

    fn plain(&self, user: &str, password: &str) {
        let mut server = self.logins.start(&self.name, "PLAIN").unwrap();
        let Step::Verify(request) = server.step(format!("\0{user}\0{password}").as_bytes()) else { panic!() };
        assert!(matches!(black_box(self.logins.verify(&self.name, request)), Verdict::Refused(_)));
    }

    /// Both messages, with a proof that is wrong.
    fn scram(&self, user: &str) {
        let mut server = self.logins.start(&self.name, "SCRAM-SHA-256").unwrap();
        let first = format!("n,,n={user},r=rOprNGfwEbeRWgbNEkqO");
        let Step::Challenge(challenge) = server.step(first.as_bytes()) else { panic!() };
        let challenge = String::from_utf8(challenge).unwrap();
        let nonce = challenge.split(',').next().unwrap();
        let last = format!("c=biws,{nonce},p={}", STANDARD.encode([7; 32]));
        let Step::Verify(request) = server.step(last.as_bytes()) else { panic!() };
        assert!(matches!(black_box(self.logins.verify(&self.name, request)), Verdict::Refused(_)));
    }
}

/// Welch's t of the two kinds, and their medians in nanoseconds.
fn compare(sets: &[Set], samples: usize, what: &str, kinds: [Kind; 2]) -> bool {
    let mut turns = Turns(0x9e37_79b9_7f4a_7c15);
    let mut times = [Vec::with_capacity(samples), Vec::with_capacity(samples)];
    for set in sets {
        let names = kinds.each_ref().map(|(exists, _)| if *exists { &set.known } else { &set.unknown });
        for _ in 0..256 {
            kinds.iter().zip(names).for_each(|((_, login), name)| login(set, name));
        }
        for _ in 0..samples * 2 / sets.len() {
            let kind = usize::from(turns.next());
            let (name, login) = (names[kind], kinds[kind].1);
            let start = Instant::now();
            login(set, name);
            let ns = u32::try_from(start.elapsed().as_nanos()).unwrap_or(u32::MAX);
            times[kind].push(ns);
        }
    }
    let mut all: Vec<u32> = times.iter().flatten().copied().collect();
    all.sort_unstable();
    let bound = all[all.len() / 100 * 95];
    let cropped = times.each_ref().map(|times| Moments::of(times.iter().filter(|ns| **ns <= bound)));
    let t = cropped[0].welch(&cropped[1]);
    let medians = times.map(|mut times| median(&mut times));
    let verdict = if t.abs() < T { "" } else { "  TOLD APART" };
    println!("{what:68} {:7} {:7}  t {t:7.2}{verdict}", medians[0], medians[1]);
    t.abs() < T
}

/// Whether its names exist, and a login that fails.
type Kind = (bool, fn(&Set, &str));

struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    fn of<'a>(samples: impl Iterator<Item = &'a u32>) -> Self {
        let (mut count, mut mean, mut squares) = (0.0, 0.0, 0.0);
        for sample in samples {
            count += 1.0;
            let delta = f64::from(*sample) - mean;
            mean += delta / count;
            squares += delta * (f64::from(*sample) - mean);
        }
        Self { count, mean, variance: squares / (count - 1.0) }
    }

    fn welch(&self, other: &Self) -> f64 {
        (self.mean - other.mean) / (self.variance / self.count + other.variance / other.count).sqrt()
    }
}

fn median(times: &mut [u32]) -> u32 {
    times.sort_unstable();
    times[times.len() / 2]
}

/// A login that fails, on a connection of its own.
fn fails(address: SocketAddr, mechanism: &str, user: &str, password: &str) -> u32 {
    let mut client = Client::connect(address);
    assert_eq!(client.handshake(1, mechanism).error_code, 0);
    let start = Instant::now();
    let code = if mechanism == "PLAIN" {
        client.authenticate(format!("\0{user}\0{password}").as_bytes()).unwrap().error_code
    } else {
        let first = client.authenticate(format!("n,,n={user},r=rOprNGfwEbeRWgbNEkqO").as_bytes()).unwrap();
        let challenge = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
        let nonce = challenge.split(',').next().unwrap();
        let last = format!("c=biws,{nonce},p={}", STANDARD.encode([7; 32]));
        client.authenticate(last.as_bytes()).unwrap().error_code
    };
    let ns = u32::try_from(start.elapsed().as_nanos()).unwrap();
    assert_eq!(code, 58);
    ns
}

fn compare_over_loopback(address: SocketAddr, mechanism: &str) -> bool {
    let mut turns = Turns(0x9e37_79b9_7f4a_7c15);
    let mut times = [Vec::new(), Vec::new()];
    while times[0].len() + times[1].len() < 2 * LOGINS {
        let kind = usize::from(turns.next());
        times[kind].push(fails(address, mechanism, [KNOWN, UNKNOWN][kind], FIRST_WRONG));
    }
    let medians = times.map(|mut times| f64::from(median(&mut times)));
    let ratio = (medians[0] / medians[1]).max(medians[1] / medians[0]);
    let verdict = if ratio < RATIO { "" } else { "  TOLD APART" };
    let what = format!("{mechanism} over loopback: a user that exists, one that does not");
    println!("{what:68} {:7} {:7}  ratio {ratio:.3}{verdict}", medians[0], medians[1]);
    ratio < RATIO
}

fn over_loopback() -> bool {
    let dir = tempfile::tempdir().unwrap();
    let [clear, sasl] = [(); 2].map(|()| free_port());
    let config = dir.path().join("server.properties");
    write(
        &config,
        &format!(
            "broker.id=1\nlog.dirs={}\nlisteners=PLAINTEXT://127.0.0.1:{clear},SASL_PLAINTEXT://127.0.0.1:{sasl}\n\
             sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\nconnection.failed.authentication.delay.ms=0\n\
             listener.name.sasl_plaintext.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
             required user_{KNOWN}=\"{PASSWORD}\" user_bob=\"{PASSWORD}\";\n\
             listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
             org.apache.kafka.common.security.scram.ScramLoginModule required;\n",
            dir.path().join("data").display()
        ),
    );
    let _broker = Broker::start(&["serve", config.to_str().unwrap()], &[]);
    let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
    support::schloss(&["users", "add", KNOWN, "-b", &at(clear).to_string(), "--mechanism", "SCRAM-SHA-256"])
        .expect(0, "");
    // Both, whatever the first says.
    let both = ["PLAIN", "SCRAM-SHA-256"].map(|mechanism| compare_over_loopback(at(sasl), mechanism));
    both == [true; 2]
}

fn main() -> ExitCode {
    let samples = std::env::var("SCHLOSS_TIMING_SAMPLES").map_or(SAMPLES, |text| text.parse().expect("a number"));
    let sets: Vec<Set> = (0..SETS).map(|number| Set::new(u8::try_from(number).unwrap())).collect();
    println!("{:68} {:>7} {:>7}", format!("{samples} samples of each, medians in ns"), "one", "other");
    let plain: fn(&Set, &str) = |set, name| set.plain(name, FIRST_WRONG);
    let last_wrong: fn(&Set, &str) = |set, name| set.plain(name, LAST_WRONG);
    let scram: fn(&Set, &str) = Set::scram;
    let in_process = [
        ("nothing: the same claim twice", [(true, plain), (true, plain)]),
        ("PLAIN: a user that exists, one that does not", [(true, plain), (false, plain)]),
        ("PLAIN: wrong in the first letter, in the last", [(true, plain), (true, last_wrong)]),
        ("SCRAM-SHA-256: a user that exists, one that does not", [(true, scram), (false, scram)]),
    ]
    .map(|(what, kinds)| compare(&sets, samples, what, kinds));
    let on_the_wire = over_loopback();
    if in_process == [true; 4] && on_the_wire { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
