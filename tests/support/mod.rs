//! What the test binaries share: the real broker as a child process, free ports, and the other sides' tools.
//!
//! A tool that is not on the machine is a skip by name; `SCHLOSS_REQUIRE_TOOLS=1` turns skips into failures.
#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// Longer than any step takes on a busy machine; only ever reached by a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A port that was free a moment ago, below the range of outgoing connections.
pub fn free_port() -> u16 {
    static NEXT: Mutex<u16> = Mutex::new(0);
    let mut next = NEXT.lock().unwrap();
    if *next == 0 {
        // Tests that start together have neighbouring numbers: far apart, so that none waits on another's port.
        *next = 20_000 + u16::try_from(u64::from(std::process::id()) * 7_919 % 10_000).unwrap();
    }
    loop {
        *next = if *next >= 31_999 { 20_000 } else { *next + 1 };
        if TcpListener::bind(("127.0.0.1", *next)).is_ok() {
            return *next;
        }
    }
}

/// The real binary as a child; its output is kept; it is killed when dropped.
pub struct Broker {
    child: Child,
    output: Arc<Mutex<String>>,
}

impl Broker {
    /// Starts `schloss` with these arguments and waits until it says that it is ready.
    pub fn start(args: &[&str], env: &[(&str, &str)]) -> Self {
        let broker = Self::launch(args, env);
        broker.wait_for(|text| text.contains("Kafka Server started"), "the broker to start");
        broker
    }

    /// Starts `schloss` without waiting for anything.
    pub fn launch(args: &[&str], env: &[(&str, &str)]) -> Self {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_schloss")).args(args).envs(env.iter().copied()))
    }

    /// Starts `schloss` under strace, which writes the calls that name files to `trace`; waits until it is ready. It is
    /// the tracer that is the child's child, and ends with it.
    pub fn start_traced(args: &[&str], trace: &Path) -> Self {
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o"]).arg(trace);
        let broker = Self::spawn(command.arg(env!("CARGO_BIN_EXE_schloss")).args(args));
        broker.wait_for_line("Kafka Server started");
        broker
    }

    /// Starts `schloss` under strace, which makes system calls fail as `fault` says (`fsync:error=EIO:when=3`); does not wait
    /// for anything.
    pub fn launch_injected(args: &[&str], fault: &str) -> Self {
        let call = fault.split(':').next().unwrap();
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
        command.args(["-e", &format!("inject={fault}")]);
        Self::spawn(command.arg(env!("CARGO_BIN_EXE_schloss")).args(args))
    }

    /// Starts Apache Kafka on a server.properties, without waiting for anything.
    pub fn launch_kafka(config: &Path) -> Self {
        Self::spawn(Command::new(repository().join("tests/tools/kafka")).arg("server").arg(config))
    }

    /// Any other program in the background, with its output kept.
    pub fn background(command: &mut Command) -> Self {
        Self::spawn(command)
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let output = Arc::new(Mutex::new(String::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for stream in streams {
            let output = Arc::clone(&output);
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut output = output.lock().unwrap();
                    output.push_str(&line);
                    output.push('\n');
                }
            });
        }
        Self { child, output }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything printed so far, both streams.
    pub fn output(&self) -> String {
        self.output.lock().unwrap().clone()
    }

    /// Waits until the output satisfies `condition`.
    ///
    /// # Panics
    /// After [`PATIENCE`], or when the process has ended without it; with the whole output.
    pub fn wait_for(&self, condition: impl Fn(&str) -> bool, what: &str) {
        let start = Instant::now();
        while !condition(&self.output()) {
            let ended = !Path::new(&format!("/proc/{}/exe", self.pid())).exists();
            if ended {
                thread::sleep(Duration::from_millis(100));
                if condition(&self.output()) {
                    return;
                }
            }
            assert!(!ended && start.elapsed() < PATIENCE, "waited for {what}; the output:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn wait_for_line(&self, part: &str) {
        self.wait_for(|text| text.contains(part), part);
    }

    /// SIGTERM, and the exit code.
    pub fn stop(&mut self) -> Option<i32> {
        signal(self.pid(), "TERM");
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the broker did not stop; the output:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for the process to end by itself; its exit code.
    pub fn wait(&mut self) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                thread::sleep(Duration::from_millis(50));
                return status.code();
            }
            assert!(start.elapsed() < PATIENCE, "the process did not end; the output:\n{}", self.output());
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// SIGKILL, at once.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Waits until something accepts connections there.
pub fn wait_for_port(address: SocketAddr) {
    let start = Instant::now();
    while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
        assert!(start.elapsed() < PATIENCE, "nothing listens on {address}");
        thread::sleep(Duration::from_millis(10));
    }
}

/// What a finished program printed and how it ended.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Finished {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Both streams.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    #[track_caller]
    pub fn expect(self, code: i32, part: &str) -> Self {
        assert!(self.code == Some(code) && self.text().contains(part), "wanted exit {code} and {part:?}:\n{self:#?}");
        self
    }
}

/// Runs a program to its end, feeding it `input`, at most [`PATIENCE`].
pub fn run(command: &mut Command, input: &str) -> Finished {
    let name = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    thread::spawn(move || {
        let _ = stdin.write_all(input.as_bytes());
    });
    let pid = child.id();
    let (done, finished) = std::sync::mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        if finished.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            signal(pid, "KILL");
        }
    });
    let output = child.wait_with_output().unwrap();
    let _ = done.send(());
    let _ = watchdog.join();
    Finished::of(output)
}

/// The binary under test as a command that ends.
pub fn schloss(args: &[&str]) -> Finished {
    run(Command::new(env!("CARGO_BIN_EXE_schloss")).args(args), "")
}

fn required(tool: &str, found: Option<PathBuf>) -> Option<PathBuf> {
    if found.is_none() {
        assert!(std::env::var_os("SCHLOSS_REQUIRE_TOOLS").is_none(), "{tool} is not here: run tests/tools/install");
        eprintln!("skipped: {tool} is not here (tests/tools/install brings it)");
    }
    found
}

fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(program)).find(|path| path.is_file())
}

/// A program of this machine.
pub fn program(name: &str) -> Option<PathBuf> {
    required(name, on_path(name))
}

/// librdkafka's command line client.
pub fn kcat() -> Option<PathBuf> {
    program("kcat")
}

/// Shows which files a process names.
pub fn strace() -> Option<PathBuf> {
    program("strace")
}

/// The franz-go program of `tests/clients/franz-go`.
pub fn franz_go() -> Option<PathBuf> {
    required("franz-go", Some(repository().join("target/tools/franz-go")).filter(|p| p.is_file()))
}

/// KafkaJS, with the node that runs it.
pub fn kafkajs() -> Option<PathBuf> {
    let package = repository().join("target/tools/kafkajs/node_modules/kafkajs");
    required("KafkaJS", Some(package).filter(|p| p.is_dir() && on_path("node").is_some()))
}

/// A Python that has librdkafka's current version.
pub fn confluent_kafka() -> Option<PathBuf> {
    required("confluent-kafka", Some(repository().join("target/tools/librdkafka/bin/python")).filter(|p| p.is_file()))
}

/// Apache Kafka's jars.
pub fn kafka_libs() -> Option<PathBuf> {
    let libs = std::env::var_os("SCHLOSS_KAFKA_LIBS")
        .map_or_else(|| repository().join("target/tools/kafka-4.3.1/libs"), PathBuf::from);
    required("Apache Kafka 4.3.1", Some(libs).filter(|p| p.is_dir() && on_path("java").is_some()))
}

/// One of Apache Kafka's tools, by its short name (`topics`, `console-producer` …).
pub fn kafka_tool(tool: &str, args: &[&str], input: &str) -> Finished {
    run(Command::new(repository().join("tests/tools/kafka")).arg(tool).args(args), input)
}

/// The same with `KAFKA_OPTS`.
pub fn kafka_tool_with_opts(tool: &str, args: &[&str], input: &str, opts: &str) -> Finished {
    run(Command::new(repository().join("tests/tools/kafka")).arg(tool).args(args).env("KAFKA_OPTS", opts), input)
}

/// A key with its certificate for `localhost`, in one PEM file as `ssl.keystore.location` takes it. Whoever reads the file
/// as a trust store trusts it.
pub fn keystore(path: &Path) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    write(path, &format!("{}{}", certified.signing_key.serialize_pem(), certified.cert.pem()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}
