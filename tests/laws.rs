//! The laws of the house, read from the source: who may know whom, and where the outside world may be named.
#![allow(
    unreachable_pub,
    unused_qualifications,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a failing test ends by panicking, and tests read files and clocks"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Rooms by floor. A room may name only rooms on a strictly lower floor.
const FLOORS: [&[&str]; 8] = [
    &["model"],
    &["protocol", "config", "telemetry"],
    &["log", "raft", "metadata", "security", "quota"],
    &["replica", "coordinator", "controller"],
    &["handlers"],
    &["network"],
    &["server", "console"],
    &["cli"],
];

/// Text that only some files may hold: (text, why, where it is allowed as path prefixes under `src/`).
const BANS: [(&str, &str, &[&str]); 9] = [
    ("tokio::", "the machines below know no runtime", &["handlers/", "network/", "server/", "cli/"]),
    ("std::fs", "files have their rooms", &["log/storage", "config/", "server/files", "cli/"]),
    ("rustix::fs", "system calls on files stand beside std::fs", &["log/storage"]),
    ("Instant::now", "time is an argument", &["server/clock.rs"]),
    ("SystemTime::now", "time is an argument", &["server/clock.rs"]),
    ("std::net::Tcp", "sockets live in network/", &["network/", "server/", "cli/"]),
    ("std::env::var", "the environment is read once, at the door", &["cli/", "telemetry/"]),
    ("tokio::spawn(", "tasks are spawned where their runtime is known", &[]),
    ("process::exit", "only the door ends the process", &["cli/"]),
];

/// Where a permit may be made without asking the authorizer, with the number of call sites.
const INTERNAL_PERMITS: &[(&str, usize)] = &[
    ("cli/quickstart/mod.rs", 2),
    ("handlers/context/groups.rs", 1),
    ("handlers/join_group.rs", 1),
    ("server/groups/load.rs", 1),
    ("server/groups/slot.rs", 1),
];

fn source_files() -> Vec<(String, String)> {
    fn walk(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    walk(&root, &mut paths);
    paths.sort();
    assert!(paths.len() > 50, "the source was not found");
    let of_tests = test_modules(&paths);
    paths
        .into_iter()
        .filter(|path| !of_tests.iter().any(|module| path.starts_with(module) || *path == module.with_extension("rs")))
        .map(|p| {
            (
                p.strip_prefix(&root).unwrap().to_str().unwrap().to_owned(),
                product_code(&fs::read_to_string(&p).unwrap()),
            )
        })
        .collect()
}

/// Modules that only tests are built with, as paths without `.rs`.
fn test_modules(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut modules = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).unwrap();
        let folder = match path.file_stem().unwrap().to_str().unwrap() {
            "mod" | "lib" | "main" => path.parent().unwrap().to_owned(),
            _ => path.with_extension(""),
        };
        for (at, _) in text.match_indices("#[cfg(test)]") {
            let declaration = text[at..].lines().nth(1).unwrap_or("").trim();
            let name = declaration.trim_start_matches("pub(crate) ").trim_start_matches("pub ").strip_prefix("mod ");
            if let Some(name) = name.and_then(|rest| rest.strip_suffix(';')) {
                modules.push(folder.join(name));
            }
        }
    }
    modules
}

/// The file without its comments and without the test module at its end.
fn product_code(text: &str) -> String {
    let end = text.find("#[cfg(test)]\nmod ").unwrap_or(text.len());
    text[..end].lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code)).collect::<Vec<_>>().join("\n")
}

fn floor_of(room: &str) -> Option<usize> {
    FLOORS.iter().position(|rooms| rooms.contains(&room))
}

fn rooms_named(code: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let mut depth = 0_i32;
            for part in group.split_inclusive([',', '{', '}']) {
                if depth == 0 {
                    let name: String = part.trim().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    rooms.insert(name);
                }
                depth += i32::try_from(part.matches('{').count()).unwrap();
                depth -= i32::try_from(part.matches('}').count()).unwrap();
                if depth < 0 {
                    break;
                }
            }
        } else {
            rooms.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
        }
    }
    rooms
}

#[test]
fn a_room_knows_only_lower_floors() {
    let mut broken = Vec::new();
    for (path, code) in source_files() {
        let Some((room, _)) = path.split_once('/') else { continue };
        let floor = floor_of(room).unwrap_or_else(|| panic!("room {room} stands on no floor"));
        for named in rooms_named(&code) {
            match floor_of(&named) {
                Some(other) if named != room && other >= floor => {
                    broken.push(format!("{path} (floor {floor}) names crate::{named} (floor {other})"));
                }
                _ => {}
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn the_outside_world_is_named_where_it_may_be() {
    let mut broken = Vec::new();
    for (path, code) in source_files() {
        for (text, why, allowed) in BANS {
            if code.contains(text) && !allowed.iter().any(|prefix| path.starts_with(prefix)) && path != "main.rs" {
                broken.push(format!("{path} names {text}: {why}"));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn handlers_see_the_image_only_through_the_context() {
    for (path, code) in source_files() {
        if path.starts_with("handlers/") && !path.starts_with("handlers/context") {
            assert!(
                !rooms_named(&code).contains("metadata"),
                "{path} names crate::metadata; its view belongs in handlers/context"
            );
        }
    }
}

#[test]
fn permits_without_a_question_are_listed() {
    let mut found = Vec::new();
    for (path, code) in source_files() {
        let count = code.matches("::internal(").count();
        if count > 0 && !path.starts_with("security/") {
            found.push((path, count));
        }
    }
    let expected: Vec<(String, usize)> = INTERNAL_PERMITS.iter().map(|(p, n)| ((*p).to_owned(), *n)).collect();
    assert_eq!(found, expected, "every call of Permit::internal is listed here, with its reason beside the call");
}

#[test]
fn every_room_says_what_it_is_for() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    for room in FLOORS.iter().copied().flatten() {
        let path = root.join(room).join("mod.rs");
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let head: String = text.lines().take_while(|l| l.starts_with("//!")).collect();
        assert!(
            head.len() > 120,
            "src/{room}/mod.rs: its first paragraph says what the room is for and what it must never know"
        );
    }
}

#[test]
fn no_kafka_crate_is_in_the_product() {
    let output = std::process::Command::new(env!("CARGO"))
        .args(["tree", "--edges", "normal", "--prefix", "none", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    assert!(tree.contains("rustls"), "the tree was not printed");
    for line in tree.lines() {
        assert!(!line.contains("kafka"), "{line} is in the product");
    }
}

/// The reference page is the table of keys, nothing else. `SCHLOSS_UPDATE_DOCS=1` writes it anew.
#[test]
fn every_key_is_documented() {
    use schloss::config::keys::{self, Default, Key, Status};

    fn section(title: &str, about: &str, table: &[Key]) -> String {
        let mut page = format!(
            "\n## {title}\n\n{about}\n\n| key | type | default | valid | here | |\n|---|---|---|---|---|---|\n"
        );
        for key in table {
            assert!(!key.doc.is_empty(), "{} says nothing", key.name);
            let default = match key.default {
                Default::Text("") => "(empty)".to_owned(),
                Default::Text(text) => format!("`{text}`"),
                Default::Null => "null".to_owned(),
                Default::Required => "required".to_owned(),
            };
            let status = match key.status {
                Status::Used => "used",
                Status::Quiet => "no effect",
                Status::Refused => "refused unless default",
            };
            let valid = key.valid.to_string().replace('|', "\\|");
            let (name, kind, doc) = (key.name, key.kind.name(), key.doc.replace('|', "\\|"));
            page += &format!("| `{name}` | {kind} | {default} | {valid} | {status} | {doc} |\n");
        }
        page
    }

    let page = format!(
        "# Configuration keys\n\nEvery key that Apache Kafka 4.3.1 knows, those of its earlier years, and our own. *used*: it \
         does here what it does in Kafka; *no effect*: accepted, and nothing depends on it yet; *refused unless default*: it \
         would promise something that is not built. This page is made from the table in `src/config/keys/table.rs`.\n{}{}{}{}",
        section("Brokers and controllers", "In server.properties.", keys::BROKER),
        section("Topics", "With `kafka-topics --config`; over the broker's key of the same meaning.", keys::TOPIC),
        section("Schloss", "Keys of the built-in authorizer, and our own.", keys::SCHLOSS),
        section(
            "Earlier years",
            "Keys that Kafka had once: accepted, explained, translated where that makes sense.",
            keys::LEGACY
        ),
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference/configuration.md");
    if std::env::var_os("SCHLOSS_UPDATE_DOCS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/configuration.md is not the table; run this test with SCHLOSS_UPDATE_DOCS=1"
    );
}
