//! The JDK's and Kafka's own readers, over the same generated texts: well-formed ones, and ones with a few characters
//! changed. `SCHLOSS_ORACLE=100000` asks about that many.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::apache::{Chance, answers, libs, rounds};
use crate::config::diagnostics::{Diagnostics, Severity};
use crate::config::jaas::{self, Expansions, LoginModule};
use crate::config::properties;
use crate::config::source::{Located, Origin, Source};

impl Chance {
    /// Some of the parts, one after another.
    fn some_of(&mut self, of: &[&str], at_most: usize) -> String {
        (0..self.below(at_most + 1)).map(|_| self.one_of(of)).collect()
    }

    /// A few characters taken out, put in or replaced.
    fn damaged(&mut self, text: &str, with: &[&str]) -> String {
        let mut parts: Vec<String> = text.chars().map(String::from).collect();
        for _ in 0..self.below(4) {
            let at = self.below(parts.len() + 1);
            let new = self.one_of(with).to_owned();
            match self.below(3) {
                0 => parts.insert(at, new),
                1 if at < parts.len() => drop(parts.remove(at)),
                _ if at < parts.len() => parts[at] = new,
                _ => {}
            }
        }
        parts.concat()
    }
}

const BETWEEN: [&str; 9] = [" ", " ", " ", "\n", "\t", "  ", " /* x */ ", " // x\n", "\r\n"];
const WORDS: [&str; 14] = [
    "a",
    "user_alice",
    "user_b.c",
    "useKeyTab",
    "M",
    "org.apache.M",
    "$x",
    "_y",
    "é",
    "密码",
    "-b",
    "true",
    "a-b",
    "x1",
];
const VALUES: [&str; 16] = [
    "b",
    "\"\"",
    "\"a b\"",
    "\"it's\"",
    "\"x\\\"y\"",
    "\"\\\\\"",
    "\"\\n\\101\\t\"",
    "\"http://x/y\"",
    "\"é密\"",
    "\"a;b}\"",
    "true",
    "b.c",
    "\"=\"",
    "\"#\"",
    "'x y'",
    "\"x\\q\"",
];
const DAMAGE: [&str; 22] = [
    "\"", "'", ";", "{", "}", "=", "#", "/", "//", "/*", "*/", "\\", "\n", " ", "3", "a", ",", ":", "@", ".", "é", "-",
];

fn module(chance: &mut Chance) -> String {
    let mut text = String::new();
    let class = chance.one_of(&["M", "org.apache.M", "\"Q.M\"", "a.b.C"]);
    let flag = chance.one_of(&["required", "Requisite", "sufficient", "OPTIONAL", "required"]);
    for part in [class, flag] {
        text.push_str(part);
        text.push_str(chance.one_of(&BETWEEN));
    }
    for _ in 0..chance.below(4) {
        let (key, value) = (chance.one_of(&WORDS), chance.one_of(&VALUES));
        let (before, after, next) = (chance.some_of(&BETWEEN, 1), chance.some_of(&BETWEEN, 1), chance.one_of(&BETWEEN));
        text.push_str(&format!("{key}{before}={after}{value}{next}"));
    }
    text + ";"
}

fn static_file(chance: &mut Chance) -> String {
    let mut text = chance.some_of(&BETWEEN, 2);
    for name in ["KafkaServer", "KafkaClient", "ext.KafkaServer"].into_iter().take(1 + chance.below(3)) {
        text.push_str(name);
        text.push_str(&chance.some_of(&BETWEEN, 1));
        text.push('{');
        for _ in 0..chance.below(3) {
            text.push_str(chance.one_of(&BETWEEN));
            text.push_str(&module(chance));
        }
        text.push_str(&chance.some_of(&BETWEEN, 1));
        text.push_str("};");
    }
    text
}

fn word(text: &str) -> String {
    format!("'{}", STANDARD.encode(text))
}

fn modules<'a>(modules: impl IntoIterator<Item = &'a LoginModule>) -> String {
    let mut words = Vec::new();
    for module in modules {
        words.extend(["[".to_owned(), word(&module.class), module.flag.name().to_owned()]);
        let mut options: std::collections::BTreeMap<&str, &str> = std::collections::BTreeMap::new();
        for option in &module.options {
            options.insert(&option.key, option.value.expose());
        }
        words.extend(options.into_iter().map(|(key, value)| format!("{}={}", word(key), word(value))));
    }
    words.join(" ")
}

/// "refused", and the codes.
fn refused(diagnostics: &Diagnostics) -> (String, Vec<String>) {
    let errors = diagnostics.iter().filter(|found| found.severity == Severity::Error);
    ("refused".to_owned(), errors.map(|found| format!("{:?}", found.code)).collect())
}

fn reads_file(text: &str) -> (String, Vec<String>) {
    match jaas::parse_file(text.to_owned(), Origin::file("t"), &Expansions::default()) {
        Ok(file) => (file.section("KafkaServer").map_or("absent".to_owned(), modules), Vec::new()),
        Err(diagnostics) => refused(&diagnostics),
    }
}

fn reads_property(text: &str) -> (String, Vec<String>) {
    let source = std::sync::Arc::new(Source::new(Origin::file("t"), text.to_owned()));
    match jaas::parse_property(&Located::whole(source)) {
        Ok((module, _)) => (modules([&module]), Vec::new()),
        Err(diagnostics) => refused(&diagnostics),
    }
}

/// Java reads it and we do not, on purpose: a `/` right behind a word, a string that its line does not close, an option of
/// a user or a password twice, a number for a section's name. What Java makes of these is never what was meant.
fn is_deviation(java: &str, ours: &str, codes: &[String]) -> bool {
    let first_is = |of: &str| codes.first().is_some_and(|code| code == of);
    if java == "absent" && first_is("J0006") {
        return true;
    }
    java != "refused" && ours == "refused" && ["J0008", "J0010", "J0101"].into_iter().any(first_is)
}

#[test]
fn jaas_is_read_as_java_reads_it() {
    let Some(libs) = libs("jaas_is_read_as_java_reads_it") else { return };
    let mut chance = Chance(7);
    let (mut questions, mut texts, mut ours) = (String::new(), Vec::new(), Vec::new());
    for round in 0..rounds(3_000) {
        let of_file = round % 2 == 0;
        let whole = if of_file { static_file(&mut chance) } else { module(&mut chance) };
        let text = if chance.below(3) == 0 { whole } else { chance.damaged(&whole, &DAMAGE) };
        let kind = if of_file { "file" } else { "property" };
        questions.push_str(&format!("{kind}\t{}\n", STANDARD.encode(&text)));
        ours.push(if of_file { reads_file(&text) } else { reads_property(&text) });
        texts.push((kind, text));
    }
    let answers = answers(&libs, "config/tests/Reads.java", questions);
    assert_eq!(answers.lines().count(), texts.len());
    let mut kinds = std::collections::BTreeMap::new();
    let mut wrong = Vec::new();
    for ((java, (ours, codes)), (kind, text)) in answers.lines().zip(&ours).zip(&texts) {
        if is_deviation(java, ours, codes) {
            *kinds.entry("deviates").or_insert(0) += 1;
            continue;
        }
        *kinds.entry(if java.starts_with('[') { "read" } else { "not read" }).or_insert(0) += 1;
        if java != ours {
            wrong.push(format!("{kind} {text:?}\n  Java {java}\n  ours {ours} {codes:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), texts.len(), wrong[..wrong.len().min(12)].join("\n"));
    assert!(kinds["read"] > texts.len() / 5 && kinds["not read"] > texts.len() / 5, "{kinds:?}");
}

const OF_PROPERTIES: [&str; 26] = [
    "a", "b", "key", "=", ":", " ", "\t", "\n", "\r", "\r\n", "\\", "\\\n", "\\\n   ", "#", "!", "\\u0041", "\\u00e9",
    "\\u12", "\\n", "\\:", "\\=", "\\ ", "\u{c}", "\"", "\\u5bc6", "\\q",
];

#[test]
fn properties_are_read_as_java_reads_them() {
    let Some(libs) = libs("properties_are_read_as_java_reads_them") else { return };
    let mut chance = Chance(9);
    let (mut questions, mut texts, mut ours) = (String::new(), Vec::new(), Vec::new());
    for _ in 0..rounds(5_000) {
        let mut text = chance.some_of(&OF_PROPERTIES, 24).into_bytes();
        if [&b"\\"[..], b"\\\n", b"\\\r"].iter().any(|end| text.ends_with(end)) {
            // Java may make an entry of nothing out of a continued line at the very end.
            text.push(b'a');
        }
        if chance.below(4) == 0 {
            // Not UTF-8, so that we read it as Java always does.
            text.push(0xe9);
        }
        questions.push_str(&format!("properties\t{}\n", STANDARD.encode(&text)));
        ours.push(match properties::parse_bytes(&text, Origin::file("t")) {
            Ok(read) => {
                let last: std::collections::BTreeMap<&str, &str> =
                    read.entries().iter().map(|entry| (entry.key.as_str(), entry.value.expose())).collect();
                let mut words: Vec<_> =
                    last.into_iter().map(|(key, value)| format!("{}={}", word(key), word(value))).collect();
                words.sort();
                if words.is_empty() { "absent".to_owned() } else { words.join(" ") }
            }
            Err(_) => "refused".to_owned(),
        });
        texts.push(text);
    }
    let answers = answers(&libs, "config/tests/Reads.java", questions);
    assert_eq!(answers.lines().count(), texts.len());
    for ((java, ours), text) in answers.lines().zip(&ours).zip(&texts) {
        assert_eq!(java, ours, "{:?}", String::from_utf8_lossy(text));
    }
    assert!(answers.lines().filter(|java| *java == "refused").count() > texts.len() / 50);
}
