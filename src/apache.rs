//! Apache Kafka's own classes as the other side of unit tests.
//!
//! A test writes questions, one a line; a Java program beside it, compiled by `java` itself, answers each with one line.
//! `SCHLOSS_KAFKA_LIBS` names the folder of the jars; without it such a test is a skip by name, or a failure with
//! `SCHLOSS_REQUIRE_TOOLS=1`.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The folder of the jars. `None` is a skip of `test`, which has been said.
pub(crate) fn libs(test: &str) -> Option<PathBuf> {
    let libs = std::env::var_os("SCHLOSS_KAFKA_LIBS").map(PathBuf::from);
    if libs.is_none() {
        let required = std::env::var_os("SCHLOSS_REQUIRE_TOOLS").is_some_and(|v| v == "1");
        assert!(!required, "SCHLOSS_KAFKA_LIBS is not set");
        eprintln!("skipped: {test}: SCHLOSS_KAFKA_LIBS is not set");
    }
    libs
}

/// How many questions to ask: `usual`, or as many as `SCHLOSS_ORACLE` says.
pub(crate) fn rounds(usual: usize) -> usize {
    std::env::var("SCHLOSS_ORACLE").map_or(usual, |count| count.parse().unwrap())
}

/// What the program answers to the questions. `program` is a path below `src/`.
pub(crate) fn answers(libs: &Path, program: &str, questions: String) -> String {
    let mut java = Command::new("java")
        .args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(libs.join("*"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(program))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = java.stdin.take().unwrap();
    let sender = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = java.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} ended by {}", output.status);
    sender.join().unwrap().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Chance with a seed (SplitMix64).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from(mixed >> 33).unwrap() % bound
    }

    pub(crate) fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Once in so many times.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
