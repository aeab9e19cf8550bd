//! The wire, field by field: scripts of requests and responses recorded on Apache Kafka 4.3.1 and replayed here.
//!
//! `tests/wire/record` records them anew and shows what changed.
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

#[path = "../../src/protocol/codegen/mod.rs"]
#[allow(dead_code, unused_imports, clippy::all, reason = "the generator is used for its notation")]
mod codegen;
mod dynamic;
mod script;
#[path = "../support/mod.rs"]
mod support;

use std::path::PathBuf;

use schloss::protocol::api::ApiKey;
use script::{Peer, Script};

fn scripts() -> Vec<PathBuf> {
    let folder = support::repository().join("tests/wire/scripts");
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "no script was found");
    match std::env::var("SCHLOSS_SCRIPT") {
        Ok(only) => paths.into_iter().filter(|path| path.to_str().unwrap().contains(&only)).collect(),
        Err(_) => paths,
    }
}

#[test]
fn schloss_answers_as_recorded() {
    let mut failures = Vec::new();
    for path in scripts() {
        let script = Script::read(&path);
        let peer = Peer::schloss(&script);
        if let Err(difference) = script.replay(&peer) {
            failures.push(format!("{}: {difference}\n{}", path.display(), peer.log()));
        }
    }
    assert!(failures.is_empty(), "{} scripts differ\n\n{}", failures.len(), failures.join("\n\n"));
}

/// Every API has a script of its answers and one of its refusals; those of the login are played in `tests/broker`.
#[test]
fn every_api_has_its_scripts() {
    let folder = support::repository().join("tests/wire/scripts");
    let mut missing = Vec::new();
    for spec in schloss::handlers::table() {
        if matches!(spec.key, ApiKey::SaslHandshake | ApiKey::SaslAuthenticate) {
            continue;
        }
        let mut name = String::new();
        for c in format!("{:?}", spec.key).chars() {
            if c.is_uppercase() && !name.is_empty() {
                name.push('-');
            }
            name.extend(c.to_lowercase());
        }
        for kind in ["answers", "refuses"] {
            let file = format!("{name}-{kind}.json");
            if !folder.join(&file).is_file() {
                missing.push(file);
            }
        }
    }
    assert!(missing.is_empty(), "scripts are missing: {missing:?}");
}

#[test]
#[ignore = "records on Apache Kafka; tests/wire/record runs it"]
fn record() {
    for path in scripts() {
        let mut script = Script::read(&path);
        let peer = Peer::kafka(&script);
        script.record(&peer);
        script.write(&path);
    }
}
