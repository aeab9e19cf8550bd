//! What a hostile peer may try, and that the broker goes on afterwards.
//!
//! The numbers are those of the corpus of attacks this broker was designed against. Outcomes are Apache Kafka 4.3.1's as
//! observed, or the stricter one that `docs/deviations.md` writes down. One broker in the *compat* profile serves every
//! case; what may happen before a login is tried on one in *strict* as well, and [`strict`] has what differs there. Each
//! group ends with an ordinary client that logs in and is served.

mod acls;
mod admin;
mod certificates;
mod crowds;
mod framing;
mod groups;
mod payloads;
mod plain;
mod protocols;
mod records;
mod revocation;
mod scram;
mod sessions;
mod strict;
mod tls;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;

use crate::client::Client;
use crate::support::{Broker, free_port, keystore, schloss, write};

/// Users of PLAIN, each with the password `NAME-of-tests`; `u71` and so on have the rights of the case so numbered.
const PLAIN_USERS: [&str; 16] = [
    "admin", "alice", "watcher", "u61", "u71", "u72", "u73", "u73any", "u74", "u75", "u76", "u78", "u80", "u99",
    "u99b", "nobody",
];
/// The user of SCRAM-SHA-256.
const SCRAM_USER: &str = "bob";
const SCRAM_PASSWORD: &str = "bob-of-tests";

struct World {
    broker: Broker,
    clear: SocketAddr,
    sasl: SocketAddr,
    tls: SocketAddr,
    sasl_tls: SocketAddr,
    mtls_required: SocketAddr,
    mtls_requested: SocketAddr,
    authority: certificates::Authority,
    /// Port of a SASL listener for IPv6 and IPv4 in one, if this machine has IPv6; only in *compat*.
    both: Option<u16>,
    ca: PathBuf,
    dir: PathBuf,
    /// Its input is closed when this process ends, however it ends: then the broker and its folder go too.
    _watchdog: Child,
}

/// The broker in the *compat* profile.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new("compat"))
}

/// The one in *strict*.
fn strict_world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| World::new("strict"))
}

/// Both, for what holds in either.
fn worlds() -> [&'static World; 2] {
    [world(), strict_world()]
}

impl World {
    fn new(profile: &str) -> Self {
        let dir = tempfile::tempdir().unwrap().keep();
        let [clear, sasl, tls, sasl_tls, mtls_required, mtls_requested] =
            [(); 6].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let keystore_file = dir.join("broker.pem");
        keystore(&keystore_file);
        let authority = certificates::Authority::new("authority of tests");
        let truststore = dir.join("clients.pem");
        write(&truststore, &authority.pem);
        let mtls = format!("REQUIRED://{mtls_required},REQUESTED://{mtls_requested}");
        // *strict* takes no passwords in clear beyond this machine.
        let has_both = profile == "compat" && TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
        let both = has_both.then(free_port);
        let both_listener = both.map_or_else(String::new, |port| format!(",BOTH://[::]:{port}"));
        let both_advertised = both.map_or_else(String::new, |port| format!(",BOTH://localhost:{port}"));
        let users = PLAIN_USERS.map(|user| format!(" user_{user}=\"{user}-of-tests\"")).concat();
        let both_logins = both.map_or_else(String::new, |_| {
            format!(
                "listener.name.both.sasl.enabled.mechanisms=PLAIN\nlistener.name.both.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required{users};\n"
            )
        });
        let config = dir.join("server.properties");
        write(
            &config,
            &format!(
                "schloss.profile={profile}\nprocess.roles=broker,controller\nnode.id=1\n\
                 listeners=PLAINTEXT://{clear},SASL_PLAINTEXT://{sasl},SSL://{tls},SASL_SSL://{sasl_tls},{mtls}{both_listener}\n\
                 advertised.listeners=PLAINTEXT://{clear},SASL_PLAINTEXT://{sasl},SSL://{tls},SASL_SSL://{sasl_tls},{mtls}{both_advertised}\n\
                 listener.security.protocol.map=\
                 PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,REQUIRED:SSL,REQUESTED:SSL,BOTH:SASL_PLAINTEXT\n{both_logins}\
                 inter.broker.listener.name=PLAINTEXT\n\
                 sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512\n\
                 listener.name.sasl_plaintext.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required{users};\n\
                 listener.name.sasl_ssl.plain.sasl.jaas.config=\
                 org.apache.kafka.common.security.plain.PlainLoginModule required{users};\n\
                 listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=\
                 org.apache.kafka.common.security.scram.ScramLoginModule required;\n\
                 ssl.truststore.type=PEM\nssl.truststore.location={truststore}\n\
                 listener.name.required.ssl.client.auth=required\nlistener.name.requested.ssl.client.auth=requested\n\
                 ssl.keystore.type=PEM\nssl.keystore.location={keystore}\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 connection.failed.authentication.delay.ms=100\n\
                 super.users=User:admin\nauto.create.topics.enable=false\n\
                 offsets.topic.replication.factor=1\nlog.dirs={data}\n",
                keystore = keystore_file.display(),
                truststore = truststore.display(),
                data = dir.join("data").display(),
            ),
        );
        let config = config.to_str().unwrap();
        let scram = format!("SCRAM-SHA-256=[name={SCRAM_USER},password={SCRAM_PASSWORD}]");
        schloss(&["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config, "--add-scram", &scram])
            .expect(0, "Formatting");
        let broker = Broker::start(&["serve", config], &[]);
        let watchdog = Command::new("sh")
            .args(["-c", "read _; kill -9 \"$0\"; rm -rf \"$1\"", &broker.pid().to_string()])
            .arg(&dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            broker,
            clear,
            sasl,
            tls,
            sasl_tls,
            mtls_required,
            mtls_requested,
            authority,
            both,
            ca: keystore_file,
            dir,
            _watchdog: watchdog,
        }
    }

    fn login(&self, user: &str) -> Client {
        Client::login(self.sasl, user, &format!("{user}-of-tests"))
    }

    /// An ordinary client is served.
    #[track_caller]
    fn still_serves(&self) {
        let answer = self.login("admin").metadata(&[]).unwrap();
        assert_eq!((answer.error_code, answer.brokers.len()), (0, 1));
        let output = self.broker.output();
        assert!(!output.contains("panicked"), "{output}");
    }

    /// The broker's resident memory.
    fn resident_kib(&self) -> u64 {
        resident_kib(self.broker.pid())
    }

    fn create_topic(&self, name: &str) -> i16 {
        create_topic(&mut self.login("admin"), name)
    }
}

fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn create_topic<S: Read + Write>(client: &mut Client<S>, name: &str) -> i16 {
    let topic = CreatableTopic { name: name.into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let answer: CreateTopicsResponse = client.ask(ApiKey::CreateTopics, 7, &request).unwrap();
    answer.topics[0].error_code
}

/// A request byte by byte: header with correlation id 7 and client id `t`, then `body`.
fn request(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut frame = [key.to_be_bytes(), version.to_be_bytes()].concat();
    frame.extend_from_slice(&7_i32.to_be_bytes());
    frame.extend_from_slice(b"\0\x01t");
    if flexible {
        frame.push(0);
    }
    frame.extend_from_slice(body);
    frame
}

/// The peer closes without a word.
#[track_caller]
fn closes(client: &mut Client, what: &str) {
    assert_eq!(client.closed(), b"", "{what}: closed, but with an answer");
}

/// Sends bytes as they are to a new connection, which is closed without a word.
#[track_caller]
fn closes_on(address: SocketAddr, bytes: &[u8], what: &str) {
    let mut client = Client::connect(address);
    // A write may fail: the broker need not read all of it.
    let _ = client.stream.write_all(bytes);
    closes(&mut client, what);
}

/// The same for one frame, with the length in front.
#[track_caller]
fn closes_on_frame(address: SocketAddr, frame: &[u8], what: &str) {
    closes_on(address, &[&i32::try_from(frame.len()).unwrap().to_be_bytes(), frame].concat(), what);
}
