//! A script: steps of one request and what was answered, on connections of named users.
//!
//! What differs from run to run (ids, ports, times) is replaced by names on both sides before anything is compared; a
//! request may use the names that earlier answers gave.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use schloss::model::compression::CompressionType;
use schloss::protocol::record_batch::BatchBuilder;
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

#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Step {
    /// `admin` (a super user), `alice` (no rights but what the script gives her), `anonymous` (the clear listener),
    /// `controller` (the controller's listener, of Apache Kafka only), the name of a door of the peer;
    /// `stranger…` is a connection to the SASL listener that nobody has logged in on. `alice#2` is another connection of
    /// hers.
    #[serde(rename = "as")]
    pub user: String,
    pub api: String,
    pub version: i16,
    pub request: Value,
    /// The answer, or the text `closed`.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub response: Value,
    /// Names of lists whose order means nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unordered: Vec<String>,
    /// Names of fields in which we mean to differ, each with its reason; `[name]` is what stands under that `Name` in a list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub differs: BTreeMap<String, String>,
    /// Names of lists of which we may answer a part, each with its reason: what we answer stands in the recorded list.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub part_of: BTreeMap<String, String>,
    /// Apache Kafka answers the step before this one ahead of its effect: recording waits for it, we need not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub kafka_needs_a_moment: bool,
    /// The request is sent, and its answer is not waited for: a later step takes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub answered_later: bool,
    /// Nothing is sent: the answer to what was sent before, of the same API and version, is taken.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub awaited: bool,
    /// Waited before it is sent, for what ends by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
    /// The broker is stopped in order and started again before; every connection is a new one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub after_restart: bool,
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
    ///
    /// # Errors
    /// Every step that was answered otherwise, field by field.
    pub fn replay(&self, peer: &mut Peer) -> Result<(), String> {
        let mut play = Play::new(peer);
        let mut failures = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let start = Instant::now();
            if step.after_restart {
                play.restart();
            }
            loop {
                let before = play.names.clone();
                let given = play.step(step);
                let wanted = without(step.response.clone(), step, &given);
                let given = without(given.clone(), step, &given);
                if given == wanted {
                    break;
                }
                if !step.eventually || start.elapsed() > support::PATIENCE {
                    let mut found = Vec::new();
                    differences("", &wanted, &given, &mut found);
                    failures.push(format!(
                        "step {at}, {} v{} as {}: {}\n    {}",
                        step.api,
                        step.version,
                        step.user,
                        step.request,
                        found.join("\n    ")
                    ));
                    break;
                }
                play.names = before;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.join("\n")) }
    }

    /// Fills in the answers of `peer`. Steps that are asked again are given a moment before.
    pub fn record(&mut self, peer: &mut Peer) {
        let mut play = Play::new(peer);
        for step in &mut self.steps {
            if step.after_restart {
                play.restart();
            }
            if step.eventually {
                // Asking sets it off.
                let before = play.names.clone();
                play.step(step);
                play.names = before;
            }
            if step.eventually || step.kafka_needs_a_moment {
                std::thread::sleep(Duration::from_millis(1500));
            }
            let response = play.step(step);
            // What is not compared would only be noise.
            step.response = without(response.clone(), step, &response);
        }
    }
}

/// Drops what the step says differs, sorts what it says is unordered, and of a list that may hold more than ours keeps
/// what `ours` holds too.
pub fn without(value: Value, step: &Step, ours: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object
                .into_iter()
                .filter(|(name, _)| !step.differs.contains_key(name))
                .map(|(name, value)| {
                    let mut value = without(value, step, &ours[&name]);
                    if let Value::Array(items) = &mut value {
                        if step.part_of.contains_key(&name) {
                            let ours = ours[&name].as_array().map_or(&[][..], Vec::as_slice);
                            assert!(!ours.is_empty(), "{name}: a part is not nothing");
                            items.retain(|item| ours.contains(item));
                        }
                        if step.unordered.contains(&name) {
                            items.sort_by_key(ToString::to_string);
                        }
                    }
                    (name, value)
                })
                .collect(),
        ),
        Value::Array(items) => items
            .into_iter()
            .enumerate()
            .map(|(at, item)| match item["Name"].as_str() {
                Some(name) if step.differs.contains_key(&format!("[{name}]")) => json!({ "Name": name }),
                _ => without(item, step, &ours[at]),
            })
            .collect(),
        other => other,
    }
}

/// Sorts the lists whose order means nothing by what does not differ from run to run, so that ids get the same names.
fn ordered(value: Value, step: &Step) -> Value {
    match value {
        Value::Object(object) => {
            let sorted = object.into_iter().map(|(name, value)| {
                let mut value = ordered(value, step);
                if step.unordered.contains(&name)
                    && let Value::Array(items) = &mut value
                {
                    items.sort_by_cached_key(|item| {
                        let mut item = item.clone();
                        if let Value::Object(fields) = &mut item
                            && !fields.get("Name").is_none_or(Value::is_null)
                        {
                            fields.remove("TopicId");
                        }
                        item.to_string()
                    });
                }
                (name, value)
            });
            Value::Object(sorted.collect())
        }
        Value::Array(items) => items.into_iter().map(|item| ordered(item, step)).collect(),
        other => other,
    }
}

/// Where two answers differ, path by path.
pub fn differences(path: &str, wanted: &Value, given: &Value, found: &mut Vec<String>) {
    match (wanted, given) {
        (Value::Object(w), Value::Object(g)) if w.keys().eq(g.keys()) => {
            for (name, wanted) in w {
                differences(&format!("{path}.{name}"), wanted, &g[name], found);
            }
        }
        (Value::Array(w), Value::Array(g)) if are_named(w) && are_named(g) => {
            for item in w.iter().filter(|w| g.iter().all(|g| g["Name"] != w["Name"])) {
                found.push(format!("{path}: wanted {item}, not given"));
            }
            for given in g {
                match w.iter().find(|w| w["Name"] == given["Name"]) {
                    Some(wanted) => differences(&format!("{path}[{}]", given["Name"]), wanted, given, found),
                    None => found.push(format!("{path}: not wanted, given {given}")),
                }
            }
        }
        (Value::Array(w), Value::Array(g)) if w.len() == g.len() => {
            for (at, (wanted, given)) in w.iter().zip(g).enumerate() {
                differences(&format!("{path}[{at}]"), wanted, given, found);
            }
        }
        _ if wanted == given => {}
        _ => found.push(format!("{path}: wanted {wanted}, given {given}")),
    }
}

/// Do the items tell each other apart by their names?
fn are_named(items: &[Value]) -> bool {
    let names: BTreeSet<&str> = items.iter().filter_map(|item| item["Name"].as_str()).collect();
    !items.is_empty() && names.len() == items.len()
}

/// One run of a script: its connections and the names it has given.
pub struct Play<'a> {
    peer: &'a mut Peer,
    schema: Vec<Message>,
    connections: HashMap<String, Connection>,
    pub names: Names,
}

/// What values were called: from the value to its name, kind by kind.
#[derive(Clone, Default)]
pub struct Names(Vec<(String, Value)>);

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
                        ("MemberId" | "Leader", Value::String(text)) if !text.is_empty() => self.name("member", &value),
                        ("ClusterId", Value::String(_)) => json!("<cluster>"),
                        ("Port", Value::Number(_)) => json!("<port>"),
                        ("FinalizedFeaturesEpoch", Value::Number(_)) => json!("<offset>"),
                        ("ErrorMessage", Value::String(text)) if text.starts_with("Request Request(") => {
                            json!("<the broker's dump of the request>")
                        }
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
                let object: Map<String, Value> =
                    object.iter().map(|(field, value)| (field.clone(), self.specialise(value))).collect();
                object.get("$batch").map_or_else(|| Value::Object(object.clone()), batch)
            }
            Value::Array(items) => items.iter().map(|item| self.specialise(item)).collect(),
            Value::String(text) => self.value(text).unwrap_or(value).clone(),
            other => other.clone(),
        }
    }
}

impl<'a> Play<'a> {
    pub fn new(peer: &'a mut Peer) -> Self {
        let folder = support::repository().join("src/protocol/schema/api");
        let mut schema = Vec::new();
        for entry in fs::read_dir(folder).unwrap() {
            schema.extend(codegen::parse(&fs::read_to_string(entry.unwrap().path()).unwrap()).unwrap());
        }
        Self { peer, schema, connections: HashMap::new(), names: Names::default() }
    }

    pub fn message(&self, api: &str, kind: Kind) -> &Message {
        let name = format!("{api}{}", if kind == Kind::Request { "Request" } else { "Response" });
        self.schema.iter().find(|m| m.name == name).unwrap_or_else(|| panic!("there is no {name}"))
    }

    pub fn step(&mut self, step: &Step) -> Value {
        if let Some(after_ms) = step.after_ms {
            std::thread::sleep(Duration::from_millis(after_ms));
        }
        let body = self.names.specialise(&step.request);
        let mut connection = match self.connections.remove(&step.user) {
            Some(connection) => connection,
            None => self.connect(&step.user),
        };
        if step.answered_later {
            self.send(&mut connection, &step.api, step.version, &body);
            self.connections.insert(step.user.clone(), connection);
            return json!("later");
        }
        let answer = if step.awaited {
            self.receive(&mut connection, &step.api, step.version)
        } else {
            self.ask(&mut connection, &step.api, step.version, &body)
        };
        match answer {
            Some(response) => {
                // acks=0 is answered by the next request's answer.
                self.connections.insert(step.user.clone(), connection);
                self.names.generalise(ordered(self.peer.without_addresses(response), step))
            }
            None => json!("closed"),
        }
    }

    fn restart(&mut self) {
        self.connections.clear();
        self.peer.stop();
        self.peer.start();
    }

    /// Everything that comes back for a request: it is followed by an ApiVersions, whose answer is the end. The text `closed`
    /// is last if the peer closes instead.
    pub fn exchange(&mut self, step: &Step) -> Vec<Value> {
        let body = self.names.specialise(&step.request);
        let mut connection = match self.connections.remove(&step.user) {
            Some(connection) => connection,
            None => self.connect(&step.user),
        };
        self.send(&mut connection, &step.api, step.version, &body);
        let asked = connection.correlation;
        self.send(&mut connection, "ApiVersions", 0, &json!({}));
        connection.asked = format!("{} v{} {body}", step.api, step.version);
        let mut messages = Vec::new();
        while let Some(answer) = connection.receive() {
            let correlation = i32::from_be_bytes(answer[..4].try_into().unwrap());
            if correlation == connection.correlation {
                self.connections.insert(step.user.clone(), connection);
                return messages;
            }
            assert_eq!(correlation, asked, "the answer is to another request");
            let response = self.decode(&answer, &step.api, step.version);
            let response = ordered(self.peer.without_addresses(response), step);
            messages.push(self.names.generalise(response));
        }
        messages.push(json!("closed"));
        messages
    }

    fn connect(&self, user: &str) -> Connection {
        if let Some((_, open)) = self.peer.doors.iter().find(|(name, _)| name == user) {
            return Connection::over(open());
        }
        if user == "anonymous" {
            return Connection::open(self.peer.clear);
        }
        if user == "controller" {
            return Connection::open(SocketAddr::from(([127, 0, 0, 1], self.peer.controller)));
        }
        let mut connection = Connection::open(self.peer.sasl);
        if user.starts_with("stranger") {
            return connection;
        }
        let shaken = self.ask(&mut connection, "SaslHandshake", 1, &json!({"Mechanism": "PLAIN"})).unwrap();
        assert_eq!(shaken["ErrorCode"], 0, "{shaken}");
        let user = user.split('#').next().unwrap();
        let token = dynamic::to_hex(format!("\0{user}\0{user}-secret-of-tests").as_bytes());
        let logged_in = self.ask(&mut connection, "SaslAuthenticate", 2, &json!({"AuthBytes": token})).unwrap();
        assert_eq!(logged_in["ErrorCode"], 0, "{logged_in}");
        connection
    }

    fn ask(&self, connection: &mut Connection, api: &str, version: i16, body: &Value) -> Option<Value> {
        self.send(connection, api, version, body)?;
        self.receive(connection, api, version)
    }

    /// `None` if the peer has closed.
    fn send(&self, connection: &mut Connection, api: &str, version: i16, body: &Value) -> Option<()> {
        let request = self.message(api, Kind::Request);
        // A version that nobody knows is sent in the newest known form; ApiVersions answers it in its oldest.
        let known = version.min(request.versions.max);
        connection.correlation += 1;
        connection.asked = format!("{api} v{version} {body}");
        let mut frame = Vec::new();
        frame.extend(request.id.unwrap().to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(connection.correlation.to_be_bytes());
        frame.extend(6_i16.to_be_bytes());
        frame.extend(b"script");
        if is_flexible(request, known) {
            frame.push(0);
        }
        frame.extend(dynamic::encode(request, known, body));
        connection.send(&frame)
    }

    /// `None` if the peer closes instead.
    fn receive(&self, connection: &mut Connection, api: &str, version: i16) -> Option<Value> {
        let answer = connection.receive()?;
        assert_eq!(answer[..4], connection.correlation.to_be_bytes(), "the answer is to another request");
        Some(self.decode(&answer, api, version))
    }

    fn decode(&self, answer: &[u8], api: &str, version: i16) -> Value {
        let response = self.message(api, Kind::Response);
        let known = version.min(self.message(api, Kind::Request).versions.max);
        let answered = if version > known { 0 } else { version };
        let header = if is_flexible(response, known) && api != "ApiVersions" { 5 } else { 4 };
        dynamic::decode(response, answered, &answer[header..])
    }
}

fn is_flexible(message: &Message, version: i16) -> bool {
    message.flexible.is_some_and(|flexible| flexible.min <= version && version <= flexible.max)
}

/// `{"$batch": {…}}` in a request: a batch of records as its bytes. `Records` are pairs of key and value; a `Timestamp`
/// counts up by one from record to record, or `Timestamps` names them all. `Cut` leaves that many bytes.
fn batch(of: &Value) -> Value {
    let number = |name: &str, default: i64| of[name].as_i64().unwrap_or(default);
    let int = |name: &str, default: i64| i32::try_from(number(name, default)).unwrap();
    let mut builder = BatchBuilder::new(number("BaseOffset", 0)).leader_epoch(int("LeaderEpoch", -1)).producer(
        number("ProducerId", -1),
        i16::try_from(number("ProducerEpoch", -1)).unwrap(),
        int("BaseSequence", -1),
    );
    if let Some(codec) = of["Codec"].as_str() {
        builder = builder.compression(match codec {
            "gzip" => CompressionType::Gzip,
            "snappy" => CompressionType::Snappy,
            "lz4" => CompressionType::Lz4,
            "zstd" => CompressionType::Zstd,
            other => panic!("no codec is called {other}"),
        });
    }
    if of["Transactional"] == true {
        builder = builder.transactional();
    }
    if of["Control"] == true {
        builder = builder.control();
    }
    for (at, record) in of["Records"].as_array().unwrap().iter().enumerate() {
        let counted = number("Timestamp", 0) + i64::try_from(at).unwrap();
        let timestamp = of["Timestamps"][at].as_i64().unwrap_or(counted);
        let text = |at: usize| record[at].as_str().map(str::as_bytes);
        builder.append(timestamp, text(0), text(1), &[]).unwrap();
    }
    let mut bytes = builder.build().to_vec();
    // [place, value] pairs: bytes changed afterwards.
    for patch in of["Patches"].as_array().into_iter().flatten() {
        bytes[usize::try_from(patch[0].as_u64().unwrap()).unwrap()] = u8::try_from(patch[1].as_u64().unwrap()).unwrap();
    }
    bytes.truncate(of["Cut"].as_u64().map_or(bytes.len(), |len| usize::try_from(len).unwrap()));
    json!(dynamic::to_hex(&bytes))
}

pub fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    stream
}

/// What is under the frames.
pub trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

pub struct Connection {
    stream: Box<dyn Stream>,
    correlation: i32,
    /// The last request, for the message of a failure.
    asked: String,
}

impl Connection {
    fn open(address: SocketAddr) -> Self {
        Self::over(Box::new(connect(address)))
    }

    pub fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, correlation: 0, asked: String::new() }
    }

    pub fn send(&mut self, frame: &[u8]) -> Option<()> {
        let mut bytes = i32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(frame);
        self.stream.write_all(&bytes).ok()
    }

    /// The next frame; `None` if the peer closes instead.
    pub fn receive(&mut self) -> Option<Vec<u8>> {
        let mut length = [0; 4];
        self.read(&mut length)?;
        let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.read(&mut answer)?;
        Some(answer)
    }

    fn read(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(bytes) {
            // Silence is no close.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                panic!("neither answered nor closed: {}", self.asked)
            }
            read => read.ok(),
        }
    }
}

/// A running broker of either kind, on the same configuration.
pub struct Peer {
    pub clear: SocketAddr,
    sasl: SocketAddr,
    controller: u16,
    dir: tempfile::TempDir,
    is_kafka: bool,
    broker: Option<support::Broker>,
    /// More ways in, by the name of who uses them.
    pub doors: Vec<(String, Open)>,
}

type Open = Box<dyn Fn() -> Box<dyn Stream>>;

impl Peer {
    pub fn schloss(script: &Script) -> Self {
        Self::schloss_with(script, &[])
    }

    /// With more listeners: name, protocol, address.
    pub fn schloss_with(script: &Script, listeners: &[(&str, &str, SocketAddr)]) -> Self {
        let mut peer = Self::configure(script, listeners, false);
        support::schloss(&["storage", "format", "-t", CLUSTER_ID, "-c", &peer.config()]).expect(0, "");
        peer.start();
        peer
    }

    pub fn kafka(script: &Script) -> Self {
        let mut peer = Self::configure(script, &[], true);
        support::kafka_libs().expect("Apache Kafka is needed to record");
        // Schloss does not finalize this feature, and it shows: in configs and in lists of eligible replicas.
        let without_elr = ["--feature", "eligible.leader.replicas.version=0"];
        let config = peer.config();
        let format = [&["format", "-t", CLUSTER_ID, "-c", &config], &without_elr[..]].concat();
        support::kafka_tool("storage", &format, "").expect(0, "Formatting");
        peer.start();
        peer
    }

    fn config(&self) -> String {
        self.dir.path().join("server.properties").to_str().unwrap().to_owned()
    }

    fn start(&mut self) {
        let config = self.config();
        self.broker = Some(if self.is_kafka {
            support::Broker::launch_kafka(config.as_ref())
        } else {
            support::Broker::start(&["serve", &config], &[])
        });
        support::wait_for_port(self.clear);
        support::wait_for_port(self.sasl);
    }

    fn stop(&mut self) {
        if let Some(mut broker) = self.broker.take() {
            let code = broker.stop();
            // A JVM says which signal ended it.
            assert_eq!(code, Some(if self.is_kafka { 143 } else { 0 }), "{}", broker.output());
        }
    }

    /// Names for the ports and the directory of this run, wherever a text holds them.
    fn without_addresses(&self, value: Value) -> Value {
        match value {
            Value::String(text) => {
                let mut text = text.replace(self.dir.path().to_str().unwrap(), "<dir>");
                for (name, port) in
                    [("clear", self.clear.port()), ("sasl", self.sasl.port()), ("controller", self.controller)]
                {
                    text = text.replace(&format!(":{port}"), &format!(":<{name}>"));
                }
                Value::String(text)
            }
            Value::Object(fields) => {
                Value::Object(fields.into_iter().map(|(name, value)| (name, self.without_addresses(value))).collect())
            }
            Value::Array(items) => items.into_iter().map(|item| self.without_addresses(item)).collect(),
            other => other,
        }
    }

    /// Is it Apache Kafka, where a change takes effect somewhat after its answer?
    pub fn is_kafka(&self) -> bool {
        self.is_kafka
    }

    /// What the broker printed, for the message of a failure.
    pub fn log(&self) -> String {
        self.broker.as_ref().map(support::Broker::output).unwrap_or_default()
    }

    fn configure(script: &Script, more: &[(&str, &str, SocketAddr)], is_kafka: bool) -> Self {
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
            ) + &more.iter().map(|(name, _, address)| format!(",{name}://{address}")).collect::<String>(),
        );
        set(
            "listener.security.protocol.map",
            "PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned()
                + &more.iter().map(|(name, protocol, _)| format!(",{name}:{protocol}")).collect::<String>(),
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
        Self { clear: at(clear), sasl: at(sasl), controller, dir, is_kafka, broker: None, doors: Vec::new() }
    }
}

const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";
