//! The README's first command, and every client the files it wrote are for.

use std::io::Write as _;
use std::net::TcpStream;
use std::process::Command;

use crate::support::{Broker, Finished, franz_go, free_port, kafka_libs, kafka_tool, kcat, run, write};

struct Quickstart {
    broker: Broker,
    dir: tempfile::TempDir,
    port: u16,
}

impl Quickstart {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let data = dir.path().join("schloss-data");
        let broker = Broker::launch(&["quickstart", "--dir", data.to_str().unwrap(), "--port", &port.to_string()], &[]);
        broker.wait_for_line("Ready in ");
        Self { broker, dir, port }
    }

    fn file(&self, name: &str) -> String {
        self.dir.path().join("schloss-data").join(name).to_str().unwrap().to_owned()
    }

    fn bootstrap(&self) -> String {
        format!("localhost:{}", self.port)
    }

    fn kcat(&self, user: &str, args: &[&str], input: &str) -> Finished {
        run(Command::new("kcat").args(["-F", &self.file(&format!("clients/{user}.kcat.conf"))]).args(args), input)
    }
}

#[test]
fn prints_what_it_made_and_no_secret() {
    let mut quickstart = Quickstart::start();
    let text = quickstart.broker.output();
    for part in ["certificate authority", "user admin", "user demo", "topic demo", "SASL_SSL://localhost:"] {
        assert!(text.contains(part), "{part} is missing in\n{text}");
    }
    for user in ["admin", "demo"] {
        let file = std::fs::read_to_string(quickstart.file(&format!("clients/{user}.kcat.conf"))).unwrap();
        let password = file.lines().find_map(|l| l.strip_prefix("sasl.password=")).unwrap().to_owned();
        assert!(password.len() >= 20, "a generated password is long");
        assert!(!text.contains(&password), "the password of {user} was printed");
        let mode = std::os::unix::fs::PermissionsExt::mode(
            &std::fs::metadata(quickstart.file(&format!("clients/{user}.kcat.conf"))).unwrap().permissions(),
        );
        assert_eq!(mode & 0o777, 0o600, "a file with a password is its owner's alone");
    }
    assert_eq!(quickstart.broker.stop(), Some(0));
}

#[test]
fn kcat_produces_consumes_and_is_refused() {
    if kcat().is_none() {
        return;
    }
    let quickstart = Quickstart::start();
    quickstart.kcat("demo", &["-P", "-t", "demo"], "one\ntwo\nthree\n").expect(0, "");
    quickstart.kcat("demo", &["-C", "-t", "demo", "-o", "beginning", "-e", "-q"], "").expect(0, "one\ntwo\nthree\n");
    let refused = quickstart.kcat("demo", &["-P", "-t", "other"], "x\n");
    assert!(refused.text().contains("Topic authorization failed"), "{refused:?}");
    quickstart.broker.wait_for_line("Principal = User:demo is Denied operation = ");

    let refused = quickstart.kcat("demo", &["-X", "sasl.password=wrong", "-L", "-m", "5"], "");
    assert!(refused.text().contains("invalid credentials with SASL mechanism SCRAM-SHA-512"), "{refused:?}");
    quickstart.broker.wait_for_line("Failed authentication with /127.0.0.1");

    let clear = run(Command::new("kcat").args(["-b", &quickstart.bootstrap(), "-L", "-m", "3"]), "");
    assert_ne!(clear.code, Some(0));
    quickstart.broker.wait_for_line("speaks plaintext Kafka");
}

/// One line of a kind about a peer in a minute: a broken handshake must not hide that the peer speaks the wrong protocol.
#[test]
fn each_kind_of_mishap_is_told() {
    let quickstart = Quickstart::start();
    let address = ("127.0.0.1", quickstart.port);
    // A TLS alert, "internal error", as a client sends one that gives up.
    TcpStream::connect(address).unwrap().write_all(b"\x15\x03\x03\x00\x02\x02\x50").unwrap();
    quickstart.broker.wait_for_line("TLS handshake");
    // ApiVersions in the clear.
    let clear = b"\x00\x00\x00\x0e\x00\x12\x00\x00\x00\x00\x00\x01\x00\x04kcat";
    TcpStream::connect(address).unwrap().write_all(clear).unwrap();
    quickstart.broker.wait_for_line("speaks plaintext Kafka");
}

#[test]
fn a_second_start_reuses_everything() {
    if kcat().is_none() {
        return;
    }
    let mut quickstart = Quickstart::start();
    quickstart.kcat("demo", &["-P", "-t", "demo"], "kept\n").expect(0, "");
    let before = std::fs::read_to_string(quickstart.file("clients/demo.kcat.conf")).unwrap();
    assert_eq!(quickstart.broker.stop(), Some(0));
    quickstart.broker =
        Broker::launch(&["quickstart", "--dir", &quickstart.file(""), "--port", &quickstart.port.to_string()], &[]);
    quickstart.broker.wait_for_line("Ready in ");
    assert_eq!(before, std::fs::read_to_string(quickstart.file("clients/demo.kcat.conf")).unwrap());
    quickstart.kcat("demo", &["-C", "-t", "demo", "-o", "beginning", "-e", "-q"], "").expect(0, "kept\n");
}

#[test]
fn franz_go_produces_and_consumes() {
    let Some(program) = franz_go() else { return };
    let quickstart = Quickstart::start();
    let conf = quickstart.file("clients/demo.kcat.conf");
    run(Command::new(&program).args(["produce", &conf, "demo"]), "eins\nzwei\n").expect(0, "demo-0 @ 1");
    run(Command::new(&program).args(["consume", &conf, "demo", "2"]), "").expect(0, "eins\nzwei\n");
}

#[test]
fn apaches_console_tools_produce_consume_and_are_refused() {
    if kafka_libs().is_none() {
        return;
    }
    let quickstart = Quickstart::start();
    let bootstrap = quickstart.bootstrap();
    let demo = quickstart.file("clients/demo.properties");
    let connect = ["--bootstrap-server", &bootstrap, "--command-config", &demo];

    kafka_tool("console-producer", &[&connect[..], &["--topic", "demo"]].concat(), "hello\nworld\n").expect(0, "");
    let consume = ["--topic", "demo", "--partition", "0", "--offset", "earliest", "--max-messages", "2"];
    kafka_tool("console-consumer", &[&connect[..], &consume[..]].concat(), "").expect(0, "hello\nworld\n");

    let refused = kafka_tool("console-producer", &[&connect[..], &["--topic", "other"]].concat(), "x\n");
    assert!(refused.text().contains("Not authorized to access topics: [other]"), "{refused:?}");

    let wrong = quickstart.file("clients/wrong.properties");
    let text = std::fs::read_to_string(&demo).unwrap().replace("password=\"", "password=\"not-");
    write(wrong.as_ref(), &text);
    kafka_tool("topics", &["--bootstrap-server", &bootstrap, "--command-config", &wrong, "--list"], "").expect(
        1,
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-512",
    );
}
