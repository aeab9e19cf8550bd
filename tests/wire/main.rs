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
mod rights;
mod script;
#[path = "../support/mod.rs"]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use script::{Peer, Script};
use serde_json::Value;

fn scripts() -> Vec<PathBuf> {
    recorded_in("scripts")
}

/// The files of a folder; `SCHLOSS_SCRIPT=part-of-a-name` leaves the others out.
fn recorded_in(folder: &str) -> Vec<PathBuf> {
    let folder = support::repository().join("tests/wire").join(folder);
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty(), "nothing was found");
    match std::env::var("SCHLOSS_SCRIPT") {
        Ok(only) => paths.into_iter().filter(|path| path.to_str().unwrap().contains(&only)).collect(),
        Err(_) => paths,
    }
}

/// Runs `each` on every file, a few at a time, and fails with all that failed.
fn for_each(paths: &[PathBuf], at_once: usize, each: impl Fn(&Path) -> Result<(), String> + Sync) {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let result = catch_unwind(AssertUnwindSafe(|| each(path)));
                    let failure = match result {
                        Ok(Ok(())) => continue,
                        Ok(Err(difference)) => difference,
                        Err(panic) => panic.downcast_ref::<String>().cloned().unwrap_or("panicked".to_owned()),
                    };
                    failures.lock().unwrap().push(format!("{}: {failure}", path.display()));
                }
            });
        }
    });
    let mut failures = failures.into_inner().unwrap();
    failures.sort();
    assert!(failures.is_empty(), "{} files fail\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn schloss_answers_as_recorded() {
    for_each(&scripts(), 4, |path| {
        let script = Script::read(path);
        let mut peer = Peer::schloss(&script);
        script.replay(&mut peer).map_err(|difference| format!("{difference}\n{}", peer.log()))
    });
}

/// `api-name-answers.json` and `api-name-refuses.json`: each API has one script where Kafka answers data and one where it
/// refuses.
#[test]
fn every_api_answers_in_one_script_and_refuses_in_another() {
    let mut missing = Vec::new();
    for spec in schloss::handlers::table() {
        let api = spec.key.name();
        for (what, wanted) in [("answers", false), ("refuses", true)] {
            let name = format!("{}-{what}.json", hyphenated(api));
            let path = support::repository().join("tests/wire/scripts").join(&name);
            let is_shown = path.is_file()
                && Script::read(&path).steps.iter().any(|step| step.api == api && is_refusal(&step.response) == wanted);
            if !is_shown {
                missing.push(name);
            }
        }
    }
    assert!(missing.is_empty(), "not there, or without such an answer: {}", missing.join(", "));
}

#[test]
fn every_script_was_recorded() {
    for path in scripts() {
        let script = Script::read(&path);
        assert!(script.recorded_on.starts_with("Apache Kafka 4.3.1"), "{}: {}", path.display(), script.recorded_on);
        let unanswered = script.steps.iter().position(|step| step.response.is_null());
        assert_eq!(unanswered, None, "{}: a step has no answer; tests/wire/record records it", path.display());
    }
}

/// `describe-cluster` for `DescribeCluster`.
fn hyphenated(name: &str) -> String {
    let mut hyphenated = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !hyphenated.is_empty() {
            hyphenated.push('-');
        }
        hyphenated.extend(c.to_lowercase());
    }
    hyphenated
}

/// Is there an error anywhere in this answer, or none at all?
fn is_refusal(answer: &Value) -> bool {
    match answer {
        Value::Object(fields) => fields
            .iter()
            .any(|(name, value)| (name == "ErrorCode" && value != 0) || (!value.is_string() && is_refusal(value))),
        Value::Array(items) => items.iter().any(is_refusal),
        Value::String(text) => text == "closed",
        _ => false,
    }
}

#[test]
#[ignore = "records on Apache Kafka; tests/wire/record runs it"]
fn record() {
    for_each(&scripts(), 2, |path| {
        let mut script = Script::read(path);
        let mut peer = Peer::kafka(&script);
        script.record(&mut peer);
        script.write(path);
        Ok(())
    });
}
