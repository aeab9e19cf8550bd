//! Every command that the documents show, run as it stands there.
//!
//! Ports are the test's own, and so are folders outside of it. What can't be run here is named, with where it is run.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Broker, free_port, kafka_libs, kcat, repository, run, write};

/// How a block is run.
enum Way {
    /// Beside a quickstart.
    Quickstart,
    /// On a server.properties; whatever serves is stopped once it does.
    Server,
    /// From the checkout.
    Checkout,
    /// Beside a Java key store.
    Store,
    /// Not here.
    Elsewhere(&'static str),
}

/// By the block's first line. The page of `transcripts.rs` has blocks of another kind.
const BLOCKS: [(&str, Way); 16] = [
    ("cargo run --release -- quickstart", Way::Elsewhere("quickstart.rs, by the binary that was built")),
    ("echo hello | schloss produce demo", Way::Quickstart),
    ("echo hello | kcat -F schloss-data/clients/demo.kcat.conf -P -t demo", Way::Quickstart),
    ("kafka-console-producer.sh --bootstrap-server", Way::Quickstart),
    ("schloss storage format -t", Way::Server),
    ("cargo test", Way::Elsewhere("this is it")),
    ("certs/make /tmp/schloss-certs", Way::Checkout),
    ("keytool -importkeystore", Way::Store),
    ("schloss serve server.properties --jaas jaas/kafka_server_jaas.conf", Way::Server),
    ("KAFKA_OPTS=-Djava.security.auth.login.config=", Way::Server),
    ("kafka-acls --bootstrap-server", Way::Quickstart),
    ("tests/tools/install", Way::Elsewhere("the install step of .ci/run; the figures take an hour")),
    ("cargo bench --bench attack", Way::Elsewhere("by hand: ten thousand connections are not for every machine")),
    ("cargo bench --bench timing", Way::Elsewhere("by hand: a release build and a quiet machine")),
    ("listeners=SSL://", Way::Elsewhere("properties, not commands: tests/broker/attacks/certificates.rs")),
    ("schloss quickstart", Way::Elsewhere("transcripts.rs")),
];

struct Block {
    file: String,
    lines: Vec<String>,
}

/// Fenced blocks of commands. An indented one would not be found, and so must not be.
fn blocks(file: &Path) -> Vec<Block> {
    let text = std::fs::read_to_string(file).unwrap();
    let name = file.strip_prefix(repository()).unwrap().display().to_string();
    let mut blocks: Vec<Block> = Vec::new();
    let mut kind: Option<&str> = None;
    for line in text.lines() {
        match (line.strip_prefix("```"), kind) {
            (Some(found), None) => {
                kind = Some(found);
                if ["sh", "bash", "shell", ""].contains(&found) {
                    blocks.push(Block { file: name.clone(), lines: Vec::new() });
                }
            }
            (Some(_), Some(_)) => kind = None,
            (None, Some("sh" | "bash" | "shell" | "")) => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            (None, Some(_)) => {}
            (None, None) => {
                let hidden = line.strip_prefix("    ").map(str::trim_start).unwrap_or_default();
                let commands = ["schloss ", "kafka-", "kcat ", "cargo ", "tests/tools/", "certs/make"];
                assert!(!commands.iter().any(|c| hidden.starts_with(c)), "{name}: commands without a fence: {line}");
            }
        }
    }
    blocks
}

fn documents() -> Vec<PathBuf> {
    let listed = run(Command::new("git").args(["ls-files", "*.md"]).current_dir(repository()), "");
    let found: Vec<PathBuf> = listed.stdout.lines().map(|file| repository().join(file)).collect();
    assert!(found.len() >= 10, "{listed:?}");
    found
}

/// A folder with `schloss` and Kafka's tools, by their names, on its path.
struct Place {
    dir: tempfile::TempDir,
    path: String,
    port: u16,
}

impl Place {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        let shim = |name: &str, text: &str| {
            let file = bin.join(name);
            write(&file, &format!("#!/bin/sh\nexec {text} \"$@\"\n"));
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        shim("schloss", env!("CARGO_BIN_EXE_schloss"));
        for tool in ["topics", "acls", "console-producer", "console-consumer"] {
            let command = format!("{} {tool}", repository().join("tests/tools/kafka").display());
            shim(&format!("kafka-{tool}.sh"), &command);
            shim(&format!("kafka-{tool}"), &command);
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        Self { dir, path, port: free_port() }
    }

    /// The block as it means the same here.
    fn localized(&self, line: &str) -> String {
        line.replace("localhost:9092", &format!("localhost:{}", self.port))
            .replace("/tmp/schloss-certs", self.dir.path().join("certs").to_str().unwrap())
            .replace("/etc/kafka/", "jaas/")
            .replace('…', "of-tests")
    }

    fn command(&self, text: &str, folder: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-ec", text]).current_dir(folder).env("PATH", &self.path);
        command
    }

    #[track_caller]
    fn run(&self, block: &Block, folder: &Path) {
        let text = self.localized(&block.lines.join("\n"));
        // A producer at a terminal sends what is typed.
        let finished = run(&mut self.command(&text, folder), "typed\n");
        assert_eq!(finished.code, Some(0), "{}:\n{text}\n{finished:?}", block.file);
    }

    /// Lines that serve are stopped once they do; the others are run.
    #[track_caller]
    fn serve(&self, block: &Block) {
        let dir = self.dir.path();
        let jaas = std::fs::read_to_string(repository().join("jaas/kafka_server_jaas.conf")).unwrap();
        for place in ["kafka_server_jaas.conf", "jaas/kafka_server_jaas.conf"] {
            write(&dir.join(place), &jaas);
        }
        let (port, controller) = (free_port(), free_port());
        let text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@localhost:{controller}\n\
             controller.listener.names=CONTROLLER\n\
             listeners=SASL_PLAINTEXT://localhost:{port},CONTROLLER://localhost:{controller}\n\
             listener.security.protocol.map=SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT\n\
             inter.broker.listener.name=SASL_PLAINTEXT\nsasl.enabled.mechanisms=SCRAM-SHA-512\n\
             sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512\nlog.dirs={}\n",
            dir.join("data").display()
        );
        write(&dir.join("server.properties"), &text);
        if !block.lines.iter().any(|line| line.contains("storage format")) {
            let format = "schloss storage format -t MkU3OEVBNTcwNTJENDM2Qg -c server.properties";
            assert_eq!(run(&mut self.command(format, dir), "").code, Some(0));
        }
        for line in &block.lines {
            let line = self.localized(line);
            if line.contains("schloss serve") {
                let mut broker = Broker::background(&mut self.command(&format!("exec env {line}"), dir));
                broker.wait_for_line("Kafka Server started");
                assert_eq!(broker.stop(), Some(0), "{}: {line}", block.file);
            } else {
                let finished = run(&mut self.command(&line, dir), "");
                assert_eq!(finished.code, Some(0), "{}: {line}\n{finished:?}", block.file);
            }
        }
    }
}

fn way(block: &Block) -> &'static Way {
    let first = block.lines.first().map(String::as_str).unwrap_or_default();
    let found = BLOCKS.iter().find(|(start, _)| first.starts_with(start));
    &found.unwrap_or_else(|| panic!("{}: nobody runs the block that begins with {first:?}", block.file)).1
}

#[test]
fn every_command_of_the_documents() {
    if kcat().is_none() || kafka_libs().is_none() {
        return;
    }
    let all: Vec<Block> = documents().iter().flat_map(|file| blocks(file)).collect();
    let place = Place::new();
    let mut quickstart = Command::new(env!("CARGO_BIN_EXE_schloss"));
    quickstart.args(["quickstart", "--port", &place.port.to_string()]).current_dir(place.dir.path());
    let mut broker = Broker::background(&mut quickstart);
    broker.wait_for_line("Ready in ");
    let mut count = 0;
    let mut done: Vec<String> = Vec::new();
    for block in &all {
        count += 1;
        // The same commands stand in two languages.
        let text = block.lines.join("\n");
        if done.contains(&text) {
            continue;
        }
        done.push(text);
        match way(block) {
            Way::Quickstart => place.run(block, place.dir.path()),
            Way::Server => Place::new().serve(block),
            Way::Checkout => {
                place.run(block, repository());
                for file in ["ca.crt", "broker.pem", "client.pem"] {
                    assert!(place.dir.path().join("certs").join(file).is_file(), "{file}");
                }
            }
            Way::Store => {
                write(&place.dir.path().join("store.pass"), "store-of-tests");
                let make = "keytool -genkeypair -alias a -dname CN=localhost -keyalg EC -keystore store.jks -storetype JKS \
                            -storepass:file store.pass -keypass:file store.pass";
                assert_eq!(run(&mut place.command(make, place.dir.path()), "").code, Some(0));
                place.run(block, place.dir.path());
                let pem = std::fs::read_to_string(place.dir.path().join("broker.pem")).unwrap();
                assert!(pem.contains("PRIVATE KEY") && pem.contains("CERTIFICATE"), "{pem}");
            }
            Way::Elsewhere(reason) => println!("{}: {} is run elsewhere: {reason}", block.file, block.lines[0]),
        }
    }
    assert!(count >= 15, "{count} blocks: the documents are not read to their ends");
    for (start, _) in
        BLOCKS.iter().filter(|(start, _)| !start.starts_with("listeners=") && *start != "schloss quickstart")
    {
        assert!(all.iter().any(|block| block.lines[0].starts_with(start)), "no document has {start:?} any more");
    }
    assert_eq!(broker.stop(), Some(0));
}
