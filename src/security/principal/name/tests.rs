//! What Java 17 prints for the same names: recorded for the odd ones, asked for thousands where a `java` is there.

use std::io::Write as _;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::*;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    match length {
        0..=0x7f => out.push(u8::try_from(length).unwrap()),
        0x80..=0xff => out.extend([0x81, u8::try_from(length).unwrap()]),
        _ => out.extend([0x82, u8::try_from(length >> 8).unwrap(), u8::try_from(length & 0xff).unwrap()]),
    }
    out.extend_from_slice(content);
    out
}

const CN: &[u8] = &[0x55, 4, 3];
const O: &[u8] = &[0x55, 4, 10];
const OU: &[u8] = &[0x55, 4, 11];
const EMAIL: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1];
const UTF8: u8 = 0x0c;

type Attribute<'a> = (&'a [u8], u8, &'a [u8]);

fn name(rdns: &[&[Attribute<'_>]]) -> Vec<u8> {
    let mut content = Vec::new();
    for rdn in rdns {
        let attributes: Vec<Vec<u8>> =
            rdn.iter().map(|(oid, tag, value)| tlv(SEQUENCE, &[tlv(OID, oid), tlv(*tag, value)].concat())).collect();
        content.extend(tlv(SET, &attributes.concat()));
    }
    tlv(SEQUENCE, &content)
}

fn cn(tag: u8, value: &[u8]) -> String {
    rfc2253(&name(&[&[(CN, tag, value)]])).unwrap()
}

#[test]
fn names_come_out_as_java_prints_them() {
    let c: &[u8] = &[0x55, 4, 6];
    let three = name(&[&[(c, 0x13, b"DE")], &[(O, UTF8, b"Acme, Inc")], &[(CN, UTF8, b"broker1")]]);
    assert_eq!(rfc2253(&three).unwrap(), r"CN=broker1,O=Acme\, Inc,C=DE");
    let multi = name(&[&[(O, UTF8, b"x")], &[(CN, UTF8, b"a+b"), (OU, UTF8, b"c,d")]]);
    assert_eq!(rfc2253(&multi).unwrap(), r"CN=a\+b+OU=c\,d,O=x");
    let email = name(&[&[(EMAIL, 0x16, b"a@b.c")], &[(CN, UTF8, b"x")]]);
    assert_eq!(rfc2253(&email).unwrap(), "CN=x,1.2.840.113549.1.9.1=#16056140622e63");
    let twice = name(&[&[(CN, UTF8, b"alice")], &[(CN, UTF8, b"root")]]);
    assert_eq!(rfc2253(&twice).unwrap(), "CN=root,CN=alice");
    assert_eq!(rfc2253(&name(&[])).unwrap(), "");
    assert_eq!(rfc2253(&name(&[&[], &[(CN, UTF8, b"x")]])).unwrap(), "CN=x,");
}

#[test]
fn values_are_escaped_as_java_escapes_them() {
    assert_eq!(cn(UTF8, b"a,b+c\"d\\e<f>g;h=i#j"), r#"CN=a\,b\+c\"d\\e\<f\>g\;h\=i\#j"#);
    assert_eq!(cn(UTF8, b"  lead and trail  "), r"CN=\ \ lead and trail\ \ ");
    assert_eq!(cn(UTF8, b"   "), r"CN=\ \ \ ");
    assert_eq!(cn(UTF8, b"\rx\r"), "CN=\\\rx\\\r");
    assert_eq!(cn(UTF8, b"\nx\t"), "CN=\nx\t");
    assert_eq!(cn(UTF8, b"a\0b"), r"CN=a\00b");
    assert_eq!(cn(UTF8, b"a,O=x"), r"CN=a\,O\=x");
    assert_eq!(cn(UTF8, b""), "CN=");
    assert_eq!(cn(UTF8, "é日本😀".as_bytes()), "CN=é日本😀");
    assert_eq!(cn(0x1e, b"\0a\0b"), r"CN=\00a\00b");
    assert_eq!(cn(0x14, b"a\xe9"), "CN=a\u{fffd}");
    assert_eq!(cn(UTF8, b"a\xe3\x81b\xed\xa0\x80c\xf0\x9f\x98"), "CN=a\u{fffd}b\u{fffd}c\u{fffd}");
    assert_eq!(cn(0x1c, b"\0\0\0a"), "CN=#1c0400000061");
    assert_eq!(cn(0x02, &[5]), "CN=#020105");
}

#[test]
fn what_is_no_name_is_none() {
    let good = name(&[&[(CN, UTF8, b"x")]]);
    for end in 0..good.len() {
        assert_eq!(rfc2253(&good[..end]), None);
    }
    assert_eq!(rfc2253(&[&*good, b"x"].concat()), None);
    assert_eq!(rfc2253(&name(&[&[(&[0x80], UTF8, b"x")]])), None);
}

proptest! {
    #[test]
    fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let _ = rfc2253(&bytes);
        let _ = rfc2253(&tlv(SEQUENCE, &bytes));
    }
}

#[test]
fn java_prints_the_same_for_thousands_of_names() {
    let value = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..12),
        "[ ,=+<>#;\"\\\\a-c\u{0}\r\n\té日😀]{0,10}".prop_map(String::into_bytes),
        prop::collection::vec(
            prop::sample::select(vec![0xed_u8, 0xa0, 0x80, 0xbf, b'a', 0xe3, 0xf0, 0x9f, 0xc0]),
            0..8
        ),
    ];
    let oid =
        prop::sample::select(vec![CN, O, OU, EMAIL, &[0x55, 4, 5], &[0x55, 4, 9], &[0x2a, 3, 4, 5], &[0x88, 0x37]]);
    let tag = prop::sample::select(vec![UTF8, 0x13, 0x14, 0x16, 0x1b, 0x1e, 0x1c, 0x12, 0x04]);
    let attribute = (oid, tag, value);
    let names = prop::collection::vec(prop::collection::vec(attribute, 1..3), 0..4);
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[9; 32]));
    let names: Vec<Vec<u8>> = (0..3000)
        .map(|_| {
            let rdns = names.new_tree(&mut runner).unwrap().current();
            let rdns: Vec<Vec<Attribute<'_>>> =
                rdns.iter().map(|rdn| rdn.iter().map(|(oid, tag, value)| (*oid, *tag, &**value)).collect()).collect();
            name(&rdns.iter().map(|rdn| &**rdn).collect::<Vec<_>>())
        })
        .collect();
    let Some(answers) = ask_java(&names) else { return };
    let mut compared = 0;
    for (name, answer) in names.iter().zip(answers) {
        if answer != "-" {
            let ours = rfc2253(name).unwrap();
            assert_eq!(hex(ours.as_bytes())[1..], answer, "{} {ours:?}", hex(name));
            compared += 1;
        }
    }
    assert!(compared > 2500, "Java answered only {compared}");
}

/// `None` where there is no `java` (a failure where tools are required).
fn ask_java(names: &[Vec<u8>]) -> Option<Vec<String>> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/security/principal/name/DnText.java");
    let java = Command::new("java").arg(source).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let Ok(mut java) = java else {
        assert!(std::env::var_os("SCHLOSS_REQUIRE_TOOLS").is_none_or(|v| v != "1"), "java is not here");
        eprintln!("skipped: java_prints_the_same_for_thousands_of_names: java is not here");
        return None;
    };
    let questions: String = names.iter().map(|name| format!("{}\n", &hex(name)[1..])).collect();
    let mut stdin = java.stdin.take().unwrap();
    let sender = std::thread::spawn(move || stdin.write_all(questions.as_bytes()));
    let output = java.wait_with_output().unwrap();
    sender.join().unwrap().unwrap();
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}
