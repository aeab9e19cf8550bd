//! A script: steps of one request and what was answered, on connections of named users.
//!
//! What differs from run to run (ids, ports, times) is replaced by names on both sides before anything is compared; a
//! request may use the names that earlier answers gave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::codegen::notation::{Kind, Message};
use crate::{codegen, dynamic, support};

/// A file of `tests/wire/scripts`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Script {
    /// What it shows.
    pub about: String,
    /// Where the answers come from.
    pub recorded_on: String,
    /// Lines added to the server.properties of both sides.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub server: BTreeMap<String, String>,
    pub steps: Vec<Step>,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Step {
    /// `admin` (a super user), `alice` (no rights but what the script gives her), `anonymous` (the clear listener).
    #[serde(rename = "as")]
    pub user: String,
    pub api: String,
    pub version: i16,
    pub request: Value,
    /// The answer, or the text `closed`.
    #[serde(default)]
    pub response: Value,
    /// Names of lists whose order means nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unordered: Vec<String>,
    /// Names of fields in which we mean to differ, each with its reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differs: BTreeMap<String, String>,
    /// Asked again until the answer is as recorded: effects that take a moment.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub eventually: bool,
}

impl Script {
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn write(&self, path: &Path) {
        fs::write(path, serde_json::to_string_pretty(self).unwrap() + "\n").unwrap();
    }

    /// Plays every step against `peer`.
    pub fn replay(&self, peer: &Peer) -> Result<(), String> {
        let mut play = Play::new(peer);
        let mut report = String::new();
        for (at, step) in self.steps.iter().enumerate() {
            let wanted = without(step.response.clone(), step);
            let start = Instant::now();
            loop {
                let before = play.names.clone();
                let given = without(play.step(step), step);
                if given == wanted {
                    break;
                }
                if !step.eventually || start.elapsed() > support::PATIENCE {
                    report += &format!("step {at}, {} v{} as {}\n", step.api, step.version, step.user);
                    differences("", &wanted, &given, &mut report);
                    break;
                }
                play.names = before;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if report.is_empty() { Ok(()) } else { Err(report) }
    }

    /// Fills in the answers of `peer`, as they are compared: what differs from run to run would be noise. Steps that are asked again are given a moment before.
    pub fn record(&mut self, peer: &Peer) {
        let mut play = Play::new(peer);
        for step in &mut self.steps {
            if step.eventually {
                std::thread::sleep(Duration::from_millis(1500));
            }
            let before = play.names.clone();
            let mut response = play.step(step);
            while step.eventually && response["ErrorCode"] == COORDINATOR_LOAD_IN_PROGRESS {
                std::thread::sleep(Duration::from_millis(100));
                play.names = before.clone();
                response = play.step(step);
            }
            step.response = without(response, step);
        }
    }
}

/// Tells the places in which two answers differ, a line each.
fn differences(place: &str, wanted: &Value, given: &Value, report: &mut String) {
    match (wanted, given) {
        (Value::Object(w), Value::Object(g)) => {
            let names: BTreeSet<&String> = w.keys().chain(g.keys()).collect();
            for name in names {
                let of = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or(json!("<missing>"));
                differences(&format!("{place}/{name}"), &of(w), &of(g), report);
            }
        }
        (Value::Array(w), Value::Array(g)) if w.len() == g.len() => {
            for (at, (w, g)) in w.iter().zip(g).enumerate() {
                differences(&format!("{place}/{at}"), w, g, report);
            }
        }
        _ if wanted == given => {}
        _ => *report += &format!("  {place}: wanted {wanted}, given {given}\n"),
    }
}

/// Drops what the step says differs, and sorts what it says is unordered.
fn without(value: Value, step: &Step) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .filter(|(name, _)| !step.differs.contains_key(name))
                .map(|(name, value)| {
                    let mut value = without(value, step);
                    if step.unordered.contains(&name)
                        && let Value::Array(items) = &mut value
                    {
                        items.sort_by_key(ToString::to_string);
                    }
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(items) => items.into_iter().map(|item| without(item, step)).collect(),
        other => other,
    }
}

/// One run of a script: its connections and the names it has given.
struct Play<'a> {
    peer: &'a Peer,
    schema: Vec<Message>,
    connections: HashMap<String, Connection>,
    names: Names,
}

/// What values were called: from the value to its name, kind by kind.
#[derive(Clone, Default)]
struct Names(Vec<(String, Value)>);

impl Names {
    fn name(&mut self, kind: &str, value: &Value) -> Value {
        if let Some((name, _)) = self.0.iter().find(|(name, known)| known == value && name.starts_with(kind)) {
            return json!(name);
        }
        let number = self.0.iter().filter(|(name, _)| name.starts_with(kind)).count() + 1;
        self.0.push((format!("{kind}-{number}"), value.clone()));
        json!(format!("{kind}-{number}"))
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    /// Names instead of what differs from run to run.
    fn generalise(&mut self, value: Value) -> Value {
        match value {
            Value::Object(object) => {
                let named = object.into_iter().map(|(field, value)| {
                    let value = match (field.as_str(), &value) {
                        ("TopicId", Value::String(text)) if text != "AAAAAAAAAAAAAAAAAAAAAA" => {
                            self.name("topic", &value)
                        }
                        ("SessionId", Value::Number(n)) if n.as_i64() != Some(0) => self.name("session", &value),
                        ("ProducerId", Value::Number(n)) if n.as_i64() != Some(-1) => self.name("producer", &value),
                        ("ClusterId", Value::String(_)) => json!("<cluster>"),
                        ("Host", Value::String(_)) => json!("<host>"),
                        ("Port", Value::Number(_)) => json!("<port>"),
                        ("FinalizedFeaturesEpoch", Value::Number(_)) => json!("<offset>"),
                        ("LogAppendTimeMs", Value::Number(n)) if n.as_i64() != Some(-1) => json!("<time>"),
                        _ => self.generalise(value),
                    };
                    (field, value)
                });
                Value::Object(named.collect())
            }
            Value::Array(items) => items.into_iter().map(|item| self.generalise(item)).collect(),
            other => other,
        }
    }

    /// The values of this run instead of their names.
    fn specialise(&self, value: &Value) -> Value {
        match value {
            Value::Object(object) => {
                Value::Object(object.iter().map(|(field, value)| (field.clone(), self.specialise(value))).collect())
            }
            Value::Array(items) => items.iter().map(|item| self.specialise(item)).collect(),
            Value::String(text) => self.value(text).unwrap_or(value).clone(),
            other => other.clone(),
        }
    }
}

impl<'a> Play<'a> {
    fn new(peer: &'a Peer) -> Self {
        let folder = support::repository().join("src/protocol/schema/api");
        let mut schema = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            schema.extend(codegen::parse(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap());
        }
        Self { peer, schema, connections: HashMap::new(), names: Names::default() }
    }

    fn message(&self, api: &str, kind: Kind) -> &Message {
        let name = format!("{api}{}", if kind == Kind::Request { "Request" } else { "Response" });
        self.schema.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    fn step(&mut self, step: &Step) -> Value {
        let body = self.names.specialise(&step.request);
        let mut connection = match self.connections.remove(&step.user) {
            Some(connection) => connection,
            None => self.connect(&step.user),
        };
        let answer = self.ask(&mut connection, &step.api, step.version, &body);
        match answer {
            Some(response) => {
                // acks=0 is answered by the next request's answer.
                self.connections.insert(step.user.clone(), connection);
                self.names.generalise(response)
            }
            None => json!("closed"),
        }
    }

    fn connect(&self, user: &str) -> Connection {
        if user == "anonymous" {
            return Connection::open(self.peer.clear);
        }
        let mut connection = Connection::open(self.peer.sasl);
        let shaken = self.ask(&mut connection, "SaslHandshake", 1, &json!({"Mechanism": "PLAIN"})).unwrap();
        assert_eq!(shaken["ErrorCode"], 0, "{shaken}");
        let token = dynamic::to_hex(format!("\0{user}\0{user}-secret-of-tests").as_bytes());
        let logged_in = self.ask(&mut connection, "SaslAuthenticate", 2, &json!({"AuthBytes": token})).unwrap();
        assert_eq!(logged_in["ErrorCode"], 0, "{logged_in}");
        connection
    }

    fn ask(&self, connection: &mut Connection, api: &str, version: i16, body: &Value) -> Option<Value> {
        let request = self.message(api, Kind::Request);
        let response = self.message(api, Kind::Response);
        // A version of ApiVersions that there is not yet is written as the latest, as a newer client's would be.
        let known = if api == "ApiVersions" { version.min(API_VERSIONS_LATEST) } else { version };
        let is_flexible = |m: &Message| m.flexible.is_some_and(|f| f.min <= known && known <= f.max);
        connection.correlation += 1;
        let mut frame = Vec::new();
        frame.extend(request.id.unwrap().to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(connection.correlation.to_be_bytes());
        frame.extend(6_i16.to_be_bytes());
        frame.extend(b"script");
        if is_flexible(request) {
            frame.push(0);
        }
        frame.extend(dynamic::encode(request, known, body));
        let answer = connection.exchange(&frame)?;
        assert_eq!(answer[..4], connection.correlation.to_be_bytes(), "the answer is to another request");
        if api == "ApiVersions" {
            // Its header never has tags, and a version the peer does not know is answered as version 0.
            let version = if known < version { 0 } else { version };
            return Some(dynamic::decode(response, version, &answer[4..]));
        }
        let header = if is_flexible(response) { 5 } else { 4 };
        Some(dynamic::decode(response, version, &answer[header..]))
    }
}

struct Connection {
    stream: TcpStream,
    correlation: i32,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        Self { stream, correlation: 0 }
    }

    /// Sends a frame and reads one; `None` if the peer closes instead.
    fn exchange(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let mut bytes = i32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(frame);
        self.stream.write_all(&bytes).ok()?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).ok()?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut answer).ok()?;
        Some(answer)
    }
}

/// A running broker of either kind, on the same configuration.
pub struct Peer {
    clear: SocketAddr,
    sasl: SocketAddr,
    dir: tempfile::TempDir,
    broker: Option<support::Broker>,
    java: Option<Child>,
}

impl Peer {
    pub fn schloss(script: &Script) -> Self {
        let mut peer = Self::configure(script);
        let config = peer.dir.path().join("server.properties");
        let config = config.to_str().unwrap();
        support::schloss(&["storage", "format", "-t", CLUSTER_ID, "-c", config]).expect(0, "");
        peer.broker = Some(support::Broker::start(&["serve", config], &[]));
        peer
    }

    pub fn kafka(script: &Script) -> Self {
        let mut peer = Self::configure(script);
        let config = peer.dir.path().join("server.properties");
        let config = config.to_str().unwrap();
        support::kafka_libs().expect("Apache Kafka is needed to record");
        support::kafka_tool("storage", &["format", "-t", CLUSTER_ID, "-c", config], "").expect(0, "Formatting");
        let log = fs::File::create(peer.dir.path().join("kafka.log")).unwrap();
        let child = Command::new(support::repository().join("tests/tools/kafka"))
            .args(["server", config])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        peer.java = Some(child);
        support::wait_for_port(peer.clear);
        support::wait_for_port(peer.sasl);
        peer
    }

    /// What the broker printed, for the message of a failure.
    pub fn log(&self) -> String {
        self.broker.as_ref().map(support::Broker::output).unwrap_or_default()
    }

    fn configure(script: &Script) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [clear, sasl, controller] = [(); 3].map(|()| support::free_port());
        let mut lines: Map<String, Value> = Map::new();
        let mut set = |key: &str, value: String| {
            lines.insert(key.to_owned(), Value::String(value));
        };
        set("process.roles", "broker,controller".into());
        set("node.id", "1".into());
        set("controller.quorum.voters", format!("1@127.0.0.1:{controller}"));
        set("controller.listener.names", "CONTROLLER".into());
        set(
            "listeners",
            format!(
                "PLAINTEXT://127.0.0.1:{clear},SASL_PLAINTEXT://127.0.0.1:{sasl},CONTROLLER://127.0.0.1:{controller}"
            ),
        );
        set(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT".into(),
        );
        set("inter.broker.listener.name", "PLAINTEXT".into());
        set("sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256".into());
        set(
            "listener.name.sasl_plaintext.plain.sasl.jaas.config",
            "org.apache.kafka.common.security.plain.PlainLoginModule required user_admin=\"admin-secret-of-tests\" \
             user_alice=\"alice-secret-of-tests\" user_bob=\"bob-secret-of-tests\";"
                .into(),
        );
        set(
            "listener.name.sasl_plaintext.scram-sha-256.sasl.jaas.config",
            "org.apache.kafka.common.security.scram.ScramLoginModule required;".into(),
        );
        set("authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer".into());
        // The broker logs in to its own controller over the clear listener.
        set("super.users", "User:admin;User:ANONYMOUS".into());
        set("log.dirs", dir.path().join("data").to_str().unwrap().to_owned());
        set("offsets.topic.replication.factor", "1".into());
        for (key, value) in &script.server {
            set(key, value.clone());
        }
        let text: String = lines.iter().map(|(k, v)| format!("{k}={}\n", v.as_str().unwrap())).collect();
        fs::write(dir.path().join("server.properties"), text).unwrap();
        let at = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        Self { clear: at(clear), sasl: at(sasl), dir, broker: None, java: None }
    }
}

/// Kafka has no producer ids yet; it is asked again.
const COORDINATOR_LOAD_IN_PROGRESS: i16 = 14;

/// The latest version of ApiVersions in Apache Kafka 4.3.1.
const API_VERSIONS_LATEST: i16 = 4;

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(mut child) = self.java.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
