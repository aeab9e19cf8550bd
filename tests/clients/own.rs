//! The program's own commands as clients: every protocol and mechanism, refusals, exit codes, groups with others in them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Broker, Finished, free_port, kcat, program, run, write};

/// A quickstart, started again with three more listeners.
struct World {
    broker: Broker,
    dir: tempfile::TempDir,
    ports: [u16; 4],
}

const PROTOCOLS: [&str; 4] = ["SASL_SSL", "SASL_PLAINTEXT", "SSL", "PLAINTEXT"];

impl World {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ports = std::array::from_fn(|_| free_port());
        let data = dir.path().join("schloss-data");
        let args = ["quickstart", "--dir", data.to_str().unwrap(), "--port", &ports[0].to_string()];
        let mut first = Broker::launch(&args, &[]);
        first.wait_for_line("Ready in ");
        assert_eq!(first.stop(), Some(0));
        let broker = Self::serve(&data, ports);
        Self { broker, dir, ports }
    }

    fn serve(data: &Path, ports: [u16; 4]) -> Broker {
        let listeners = PROTOCOLS.iter().zip(ports).map(|(protocol, port)| format!("{protocol}://localhost:{port}"));
        let listeners = format!("listeners={}", listeners.collect::<Vec<_>>().join(","));
        let plain = "listener.name.sasl_plaintext.plain.sasl.jaas.config=\
            org.apache.kafka.common.security.plain.PlainLoginModule required user_carol=\"carols own\";";
        let mut args = vec!["serve".to_owned(), data.join("server.properties").to_str().unwrap().to_owned()];
        let overrides = [
            &listeners,
            "schloss.profile=compat",
            "sasl.enabled.mechanisms=SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512",
            plain,
            "super.users=User:admin;User:ANONYMOUS;User:carol;User:e=v,e",
        ];
        args.extend(overrides.iter().flat_map(|text| ["--override".to_owned(), (*text).to_owned()]));
        Broker::start(&args.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    }

    fn restart(&mut self) {
        assert_eq!(self.broker.stop(), Some(0));
        self.broker = Self::serve(&self.dir.path().join("schloss-data"), self.ports);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_schloss"));
        command.args(args).current_dir(self.dir.path());
        command
    }

    fn schloss(&self, args: &[&str], input: &str) -> Finished {
        run(&mut self.command(args), input)
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        write(&path, text);
        path
    }
}

#[test]
fn every_protocol_and_mechanism() {
    let world = World::start();
    let ca = world.dir.path().join("schloss-data/certs/ca.crt");
    let ca = format!("ssl.truststore.type=PEM\nssl.truststore.location={}\n", ca.display());
    let scram = |mechanism: &str, user: &str| {
        let added = world.schloss(&["users", "add", user, "--mechanism", mechanism, "--password-stdin"], "pass word\n");
        added.expect(0, &format!("Created user {user} ({mechanism})."));
        let module = "org.apache.kafka.common.security.scram.ScramLoginModule";
        let jaas = format!("{module} required username=\"{user}\" password=\"pass word\";");
        format!("sasl.mechanism={mechanism}\nsasl.jaas.config={jaas}\n")
    };
    let plain = "sasl.mechanism=PLAIN\nsasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule \
        required username=\"carol\" password=\"carols own\";\n";
    let cases = [
        (0, "SASL_SSL", scram("SCRAM-SHA-256", "e=v,e") + &ca),
        (1, "SASL_PLAINTEXT", scram("SCRAM-SHA-512", "admin2")),
        (1, "SASL_PLAINTEXT", plain.to_owned()),
        (2, "SSL", ca.clone()),
        (3, "PLAINTEXT", String::new()),
    ];
    for (n, (listener, protocol, text)) in cases.iter().enumerate() {
        let text =
            format!("bootstrap.servers=localhost:{}\nsecurity.protocol={protocol}\n{text}", world.ports[*listener]);
        let file = world.file(&format!("{n}.properties"), &text);
        let listed = world.schloss(&["topic", "list", "--command-config", file.to_str().unwrap()], "");
        if text.contains("admin2") {
            // Who has no rights sees nothing.
            assert_eq!((listed.code, listed.text().lines().count()), (Some(0), 1), "{listed:?}");
        } else {
            listed.expect(0, "demo");
        }
    }
    // librdkafka's file does as well, and so do flags alone.
    let conf = "schloss-data/clients/admin.kcat.conf";
    world.schloss(&["topic", "list", "--command-config", conf], "").expect(0, "demo");
    let (clear, file) = (format!("localhost:{}", world.ports[3]), world.file("empty.properties", ""));
    let args = ["topic", "list", "-b", &clear, "-X", "security.protocol=PLAINTEXT", "--command-config"];
    world.schloss(&[&args[..], &[file.to_str().unwrap()]].concat(), "").expect(0, "demo");
}

#[test]
fn refusals_say_what_and_end_with_their_codes() {
    let world = World::start();
    // A typo, and what was meant.
    world.schloss(&["topics", "creat", "x"], "").expect(2, "'create'");
    // A wrong password, a wrong protocol, nobody there, a wrong authority.
    let demo = std::fs::read_to_string(world.dir.path().join("schloss-data/clients/demo.kcat.conf")).unwrap();
    let wrong: Vec<&str> = demo.lines().filter(|line| !line.starts_with("sasl.password")).collect();
    let wrong = world.file("wrong.conf", &(wrong.join("\n") + "\nsasl.password=secret-of-nobody\n"));
    let wrong = wrong.to_str().unwrap();
    let refused = world.schloss(&["produce", "demo", "--command-config", wrong], "x\n");
    assert!(!refused.text().contains("secret-of-nobody"), "{refused:?}");
    refused
        .expect(1, "refused the login of demo: Authentication failed during authentication due to invalid credentials");
    let clear = format!("localhost:{}", world.ports[3]);
    world.schloss(&["consume", "demo", "-b", &clear], "").expect(1, "can't be reached");
    world.schloss(&["health", "-b", "localhost:1"], "").expect(3, "not ready");
    let other = world.schloss(&["certs", "init-ca", "--dir", "other"], "");
    other.expect(0, "Made CN=schloss-ca");
    let args = ["topic", "list", "-X", "ssl.truststore.location=other/ca.crt"];
    world.schloss(&args, "").expect(1, "invalid peer certificate");
    // No rights: told, counted, and a code that scripts see.
    world.schloss(&["topic", "create", "closed"], "").expect(0, "Created topic closed");
    world.schloss(&["produce", "closed"], "x\n").expect(1, "Topic authorization failed. (TOPIC_AUTHORIZATION_FAILED)");
    world.schloss(&["produce", "absent"], "x\n").expect(1, "(TOPIC_AUTHORIZATION_FAILED)");
    world.schloss(&["consume", "demo", "-g", "other", "-e"], "").expect(1, "(GROUP_AUTHORIZATION_FAILED)");
    // Nothing is taken away where nobody can answer.
    world.schloss(&["topic", "delete", "closed"], "").expect(1, "say --yes");
    world.schloss(&["topic", "delete", "closed", "--dry-run"], "").expect(0, "Would delete topic closed.");
    world.schloss(&["topic", "describe", "closed"], "").expect(0, "closed");
    world.schloss(&["topic", "delete", "closed", "--yes"], "").expect(0, "Deleted topic closed.");
    world.schloss(&["topic", "describe", "closed"], "").expect(1, "(UNKNOWN_TOPIC_OR_PARTITION)");
    // A line that is no record stops the work where it stands.
    let broken = world.schloss(&["produce", "demo", "-J"], "{\"value\":\"a\"}\nnone\n");
    broken.expect(1, "line 2");
}

#[test]
fn a_group_with_kcat_in_it_goes_on_through_a_restart() {
    if kcat().is_none() {
        return;
    }
    let mut world = World::start();
    world.schloss(&["topic", "create", "t", "-p", "4"], "").expect(0, "Created topic t");
    let admin = ["--command-config", "schloss-data/clients/admin.properties"];
    let numbers = |range: std::ops::Range<u32>| range.map(|n| format!("{n}\t{n}\n")).collect::<String>();
    let produce = |world: &World, text: &str| {
        let args = [&["produce", "t", "-q", "-f", "%k\\t%v", "-z", "lz4"][..], &admin].concat();
        world.schloss(&args, text).expect(0, "");
    };
    let args = [&["consume", "t", "-g", "g", "-o", "start"][..], &admin].concat();
    let own = Broker::background(&mut world.command(&args));
    let conf = world.dir.path().join("schloss-data/clients/admin.kcat.conf");
    let mut kcat = Command::new("kcat");
    kcat.args([
        "-F",
        conf.to_str().unwrap(),
        "-X",
        "auto.offset.reset=earliest",
        "-X",
        "partition.assignment.strategy=range",
    ]);
    let mut other = Broker::background(kcat.args(["-q", "-u", "-G", "g", "t"]));
    let wait_for_members = |world: &World, count: usize| {
        let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
        loop {
            let members = world.schloss(&["group", "members", "g"], "").text();
            // A header, and everybody with a share.
            if members.lines().count() == count + 1 && members.matches(" t-").count() == count {
                return;
            }
            assert!(std::time::Instant::now() < until, "{members}");
            std::thread::sleep(std::time::Duration::from_millis(200));
        }
    };
    wait_for_members(&world, 2);
    let all = |own: &Broker, other: &Broker| {
        let (own, other) = (own.output(), other.output());
        let read = |text: &str| text.lines().filter_map(|line| line.parse().ok()).collect::<BTreeSet<u32>>();
        (read(&own), read(&other))
    };
    let wait = |own: &Broker, other: &Broker, wanted: u32| {
        own.wait_for(
            |_| {
                let (mine, theirs) = all(own, other);
                mine.union(&theirs).count() == wanted as usize
            },
            "all records",
        );
    };
    produce(&world, &numbers(0..1000));
    wait(&own, &other, 1000);
    let (mine, theirs) = all(&own, &other);
    assert!(!mine.is_empty() && !theirs.is_empty(), "one of them read everything: {} {}", mine.len(), theirs.len());
    // kcat gives up when its only broker is away.
    other.stop();
    wait_for_members(&world, 1);
    world.restart();
    produce(&world, &numbers(1000..2000));
    wait(&own, &other, 2000);
    drop((own, other));
}

/// Who watches a long run on a terminal sees how far it is; files and pipes get nothing of it.
#[test]
fn a_terminal_shows_how_far_it_is() {
    let Some(script) = program("script") else { return };
    let world = World::start();
    let lines: String = (0..100_000).map(|number| format!("{number:0100}\n")).collect();
    let input = world.file("lines", &lines);
    let output = world.dir.path().join("read");
    let on_a_terminal = |line: &str| {
        let line = format!("{} {line}", env!("CARGO_BIN_EXE_schloss"));
        run(Command::new(&script).args(["-qec", &line, "/dev/null"]).current_dir(world.dir.path()), "")
            .expect(0, "")
            .text()
    };
    let written = on_a_terminal(&format!("produce demo {}", input.display()));
    assert!(written.contains("demo-0 @ 0-99999"), "{written:?}");
    let counted = |text: &str, mark: &str| {
        let counts = text.split(mark).filter_map(|before| before.rsplit(' ').next()?.replace(',', "").parse().ok());
        counts.max().unwrap_or(0_u32)
    };
    assert_ne!(counted(&written, " records, "), 0, "{written:?}");
    let read = on_a_terminal(&format!("consume demo -o start -e > {}", output.display()));
    assert_ne!(counted(&read, " of 100,000 records, "), 0, "{read:?}");
    assert_eq!(std::fs::read_to_string(&output).unwrap(), lines);
    let piped = run(&mut world.command(&["consume", "demo", "-o", "start", "-e"]), "");
    assert_eq!((piped.stdout, piped.stderr), (lines, String::new()));
}
