//! The wire, field by field: scripts of requests and responses recorded on Apache Kafka 4.3.1 and replayed here.
//!
//! `tests/wire/record` records them anew and shows what changed.

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

#[test]
fn every_api_has_its_scripts() {
    let folder = support::repository().join("tests/wire/scripts");
    for spec in schloss::handlers::table() {
        for part in ["answers", "refuses"] {
            let path = folder.join(format!("{}-{part}.json", spec.key.name()));
            assert!(path.is_file(), "{} is missing", path.display());
            let script = Script::read(&path);
            assert!(script.steps.iter().any(|step| step.api == spec.key.name()), "{} is about another", path.display());
            assert!(script.steps.iter().all(|step| !step.response.is_null()), "{} is not recorded", path.display());
        }
    }
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
