//! Apache Kafka 4.3.1 itself: the schema says what the definitions in its jars say, and its classes read and write the
//! bytes that ours do. `SCHLOSS_KAFKA_LIBS` names the folder of the jars.

use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::author::{Style, write};
use super::notation::{Base, Field, Kind, Struct, Versions};
use super::{Definition, definitions, each, translate};
use crate::model::error_code::ErrorCode;

const VERSION: &str = "4.3.1";
const JARS: [&str; 5] = [
    "kafka-clients",
    "kafka-metadata",
    "kafka-group-coordinator",
    "kafka-transaction-coordinator",
    "kafka-share-coordinator",
];

/// The folder of Apache's jars; without it the test of that name is passed over, or fails where tools are required.
fn libs(test: &str) -> Option<PathBuf> {
    let libs = env::var_os("SCHLOSS_KAFKA_LIBS").map(PathBuf::from);
    if libs.is_none() {
        assert!(env::var_os("SCHLOSS_REQUIRE_TOOLS").is_none_or(|v| v != "1"), "{test}: SCHLOSS_KAFKA_LIBS is not set");
        eprintln!("skipped: {test}: SCHLOSS_KAFKA_LIBS is not set");
    }
    libs
}

#[test]
fn the_schema_says_what_apaches_definitions_say() {
    let Some(libs) = libs("the_schema_says_what_apaches_definitions_say") else { return };
    let mut theirs = BTreeMap::new();
    for jar in JARS {
        for json in jar_definitions(&libs.join(format!("{jar}-{VERSION}.jar"))) {
            if let Some(definition) = definition(&json) {
                theirs.insert(definition.name.clone(), definition);
            }
        }
    }
    let mut ours: BTreeMap<_, _> = definitions().into_iter().map(|d| (d.name.clone(), d)).collect();
    // Kafka's definitions do not say what is secret.
    let fields = ours.values_mut().flat_map(|d| &mut d.structs).flat_map(|s| &mut s.fields);
    fields.for_each(|f| f.secret = false);
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, ours) in &ours {
        assert_eq!(ours, &theirs[name]);
    }
}

#[test]
fn apaches_classes_read_and_write_the_same_bytes() {
    let Some(libs) = libs("apaches_classes_read_and_write_the_same_bytes") else { return };
    let mut questions = String::new();
    let mut ours = Vec::new();
    for seed in 100..104 {
        each(|definition, read| {
            let bytes = write(definition, read, Style::Rich, seed);
            // Read as one version and written as another: so the defaults and what is left out are compared as well.
            for write in [read, definition.versions.min, definition.versions.max] {
                let _ = writeln!(questions, "{} {read} {write} {}", definition.name, hex(&bytes));
                ours.push(hex(&translate(&definition.name, read, write, bytes.clone()).unwrap()));
            }
        });
    }
    let answers = apache(&libs, "reencode", questions.clone());
    assert_eq!(answers.lines().count(), ours.len());
    let mut compared = 0;
    for ((question, theirs), ours) in questions.lines().zip(answers.lines()).zip(&ours) {
        // Another version may have no room for what was read: Kafka throws where Schloss leaves it out.
        let refused = ["UnsupportedVersionException", "NullPointerException"].iter().any(|e| theirs.starts_with(e));
        let mut words = question.split(' ').skip(1);
        if !refused || words.next() == words.next() {
            assert_eq!(theirs, ours, "{question}");
            compared += 1;
        }
    }
    assert!(compared * 2 > ours.len(), "Kafka answered only {compared} of {}", ours.len());
}

#[test]
fn the_errors_are_apaches() {
    let Some(libs) = libs("the_errors_are_apaches") else { return };
    let line = |e: &ErrorCode| format!("{}\t{}\t{}\t{}\n", e.code(), e.name(), e.is_retriable(), e.message());
    assert_eq!(apache(&libs, "errors", String::new()), ErrorCode::ALL.iter().map(line).collect::<String>());
}

/// Runs `Apache.java` on the jars; killed after two minutes.
fn apache(libs: &Path, what: &str, input: String) -> String {
    let mut java = Command::new("java")
        .arg("-cp")
        .arg(libs.join("*"))
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/src/protocol/tests/Apache.java"))
        .arg(what)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, mut stdout) = (java.stdin.take().unwrap(), java.stdout.take().unwrap());
    let sender = thread::spawn(move || stdin.write_all(input.as_bytes()));
    let receiver = thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).map(|_| output)
    });
    let mut waits = 0..1200;
    while java.try_wait().unwrap().is_none() {
        if waits.next().is_none() {
            java.kill().unwrap();
            panic!("java did not end");
        }
        thread::sleep(Duration::from_millis(100));
    }
    sender.join().unwrap().unwrap();
    receiver.join().unwrap().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[expect(clippy::disallowed_methods, reason = "a test reads a jar")]
fn jar_definitions(jar: &Path) -> Vec<Value> {
    let file = std::fs::File::open(jar).unwrap_or_else(|e| panic!("{}: {e}", jar.display()));
    let mut jar = zip::ZipArchive::new(file).unwrap();
    let names = jar.file_names().map(|name| name.unwrap().into_owned());
    let names: Vec<_> = names.filter(|name| name.starts_with("common/") && name.ends_with(".json")).collect();
    let mut read = |name: &String| {
        let mut text = String::new();
        jar.by_name(name).unwrap().read_to_string(&mut text).unwrap();
        serde_json::from_str(&without_remarks(&text)).unwrap_or_else(|e| panic!("{name}: {e}"))
    };
    names.iter().map(&mut read).collect()
}

/// JSON without its `//` remarks, as the definitions have them.
fn without_remarks(text: &str) -> String {
    let mut out = String::new();
    let mut in_string = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '/' if !in_string && chars.peek() == Some(&'/') => {
                while chars.peek().is_some_and(|&c| c != '\n') {
                    chars.next();
                }
                continue;
            }
            '\\' if in_string => {
                out.push(c);
                out.extend(chars.next());
                continue;
            }
            '"' => in_string = !in_string,
            _ => {}
        }
        out.push(c);
    }
    out
}

/// A definition of Apache's in our terms; `None` for one that has no version left or lists no fields.
fn definition(json: &Value) -> Option<Definition> {
    let text = |key: &str| json[key].as_str().unwrap_or_default();
    let every = Versions { min: 0, max: i16::MAX };
    let versions = (text("validVersions") != "none").then(|| within(&json["validVersions"], every)).flatten()?;
    let kind = match text("type") {
        "request" => Kind::Request,
        "response" => Kind::Response,
        "header" => Kind::Header,
        "data" => Kind::Data,
        "metadata" => Kind::Record,
        "coordinator-key" => Kind::Key,
        "coordinator-value" => Kind::Value,
        other => panic!("a definition of type {other}"),
    };
    let mut definition = Definition {
        kind,
        id: json["apiKey"].as_i64().map(|id| id.try_into().unwrap()),
        name: text("name").to_owned(),
        versions,
        flexible: within(&json["flexibleVersions"], versions),
        unstable: json["latestVersionUnstable"].as_bool().unwrap_or_default(),
        listeners: list(&json["listeners"]).map(|l| l.as_str().unwrap().to_owned()).collect(),
        structs: Vec::new(),
    };
    structure(&mut definition, text("name"), versions, json.get("fields")?);
    for common in list(&json["commonStructs"]) {
        let versions = within(&common["versions"], versions).unwrap();
        structure(&mut definition, common["name"].as_str().unwrap(), versions, &common["fields"]);
    }
    Some(definition)
}

fn structure(definition: &mut Definition, name: &str, versions: Versions, fields: &Value) {
    let at = definition.structs.len();
    definition.structs.push(Struct { name: name.to_owned(), versions, fields: Vec::new() });
    for json in list(fields) {
        // A field that says nothing of its versions has those in which it is tagged.
        let said = json.get("versions").or(json.get("taggedVersions")).unwrap();
        let Some(versions) = within(said, versions) else { continue };
        let ty = json["type"].as_str().unwrap();
        let base = Base::parse(ty.trim_start_matches("[]")).unwrap_or_else(|| panic!("a field of type {ty}"));
        let tagged = json.get("taggedVersions").and_then(|tagged| within(tagged, versions));
        assert!(tagged.is_none_or(|tagged| tagged == versions), "{json} is tagged in some versions only");
        definition.structs[at].fields.push(Field {
            name: json["name"].as_str().unwrap().to_owned(),
            array: ty.starts_with("[]"),
            base: base.clone(),
            versions,
            nullable: json.get("nullableVersions").and_then(|n| within(n, versions)),
            tag: tagged.and_then(|_| json["tag"].as_u64()).map(|tag| tag.try_into().unwrap()),
            default: default(&json["default"], &base),
            ignorable: json["ignorable"].as_bool().unwrap_or_default(),
            inflexible: json["flexibleVersions"].as_str() == Some("none"),
            secret: false,
        });
        if let (Base::Struct(name), Some(fields)) = (&base, json.get("fields")) {
            structure(definition, name, versions, fields);
        }
    }
}

/// A default as the notation writes it: nothing for zero, false, empty, and for JSON's own null.
fn default(json: &Value, base: &Base) -> Option<String> {
    let text = match json {
        Value::String(text) => text.clone(),
        Value::Null => return None,
        other => other.to_string(),
    };
    let number = text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| i64::from_str_radix(hex, 16).ok());
    match (base, number) {
        (Base::Bool, _) => (text == "true").then_some(text),
        (Base::String, _) if text.is_empty() => None,
        (_, Some(0)) => None,
        (_, Some(number)) => Some(number.to_string()),
        (_, None) => Some(text),
    }
}

/// A range of versions, as far as it lies within `outer`.
fn within(json: &Value, outer: Versions) -> Option<Versions> {
    let text = json.as_str().filter(|&text| text != "none")?;
    let said = Versions::parse(text, Versions { min: 0, max: i16::MAX })?;
    let both = Versions { min: said.min.max(outer.min), max: said.max.min(outer.max) };
    (both.min <= both.max).then_some(both)
}

fn list(json: &Value) -> impl Iterator<Item = &Value> {
    json.as_array().into_iter().flatten()
}
