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

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

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

/// Runs `each` on every script, a few at a time, and fails with all that failed.
fn for_each_script(at_once: usize, each: impl Fn(&Path) -> Result<(), String> + Sync) {
    let paths = scripts();
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
    assert!(failures.is_empty(), "{} scripts fail\n\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn schloss_answers_as_recorded() {
    for_each_script(4, |path| {
        let script = Script::read(path);
        let peer = Peer::schloss(&script);
        script.replay(&peer).map_err(|difference| format!("{difference}\n{}", peer.log()))
    });
}

/// Every API has a script of its answers and one of its refusals, about it and recorded.
#[test]
fn every_api_has_its_scripts() {
    let folder = support::repository().join("tests/wire/scripts");
    let mut missing = Vec::new();
    for spec in schloss::handlers::table() {
        for part in ["answers", "refuses"] {
            let file = format!("{}-{part}.json", file_name(spec.key));
            let path = folder.join(&file);
            let is_whole = path.is_file() && {
                let steps = Script::read(&path).steps;
                steps.iter().any(|step| step.api == spec.key.name())
                    && steps.iter().all(|step| !step.response.is_null())
            };
            if !is_whole {
                missing.push(file);
            }
        }
    }
    assert!(missing.is_empty(), "scripts are missing: {missing:?}");
}

/// `DescribeConfigs` as `describe-configs`.
fn file_name(key: ApiKey) -> String {
    let mut name = String::new();
    for c in key.name().chars() {
        if c.is_uppercase() && !name.is_empty() {
            name.push('-');
        }
        name.extend(c.to_lowercase());
    }
    name
}

#[test]
#[ignore = "records on Apache Kafka; tests/wire/record runs it"]
fn record() {
    for_each_script(2, |path| {
        let mut script = Script::read(path);
        let peer = Peer::kafka(&script);
        script.record(&peer);
        script.write(path);
        Ok(())
    });
}
