//! The observed corpus: what both Java parsers do with each text, and what we do.

use std::collections::BTreeMap;

use super::Mode::{File, Property};
use super::check::{ClearPasswords, ModuleKind, Rules, check, credentials};
use super::*;
use crate::config::catalogue::Lang;
use crate::config::diagnostics::{Severity, Style};
use crate::config::profile::Profile;

/// What Java does (JDK 17's `ConfigFile`, Kafka 4.3.1's `JaasConfig`).
#[derive(Clone, Copy, PartialEq, Debug)]
enum Java {
    Reads(&'static str),
    /// Reads the file and finds no section `KafkaServer` in it.
    Absent,
    Refuses,
}
use Java::{Absent, Reads, Refuses};

/// Text, what Java does, and our codes: errors where there are any, else warnings.
const OBSERVED: &[(Mode, &str, Java, &str)] = &[
    (
        File,
        "KafkaServer { org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"s\" user_admin=\"s\" user_alice=\"a b\"; };",
        Reads(
            "[org.apache.kafka.common.security.plain.PlainLoginModule required {password=s, user_admin=s, user_alice=a b, username=admin}]",
        ),
        "",
    ),
    (
        Property,
        "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"admin\" password=\"s\" user_admin=\"s\" user_alice=\"a b\";",
        Reads(
            "[org.apache.kafka.common.security.plain.PlainLoginModule required {password=s, user_admin=s, user_alice=a b, username=admin}]",
        ),
        "",
    ),
    (File, "KafkaServer { M required a=b; };", Reads("[M required {a=b}]"), ""),
    (Property, "M required a=b;", Reads("[M required {a=b}]"), ""),
    (File, "KafkaServer { M required a=b-c; };", Reads("[M required {a=b-c}]"), ""),
    (Property, "M required a=b-c;", Reads("[M required {a=b-c}]"), ""),
    (File, "KafkaServer { M required user_a=b_c$d; };", Reads("[M required {user_a=b_c$d}]"), ""),
    (Property, "M required user_a=b_c$d;", Reads("[M required {user_a=b_c$d}]"), ""),
    (File, "KafkaServer { M required keyTab=/etc/x.keytab; };", Refuses, "J0008"),
    (Property, "M required keyTab=/etc/x.keytab;", Refuses, "J0008"),
    (File, "KafkaServer { M required a=b:c; };", Refuses, "J0007"),
    (Property, "M required a=b:c;", Refuses, "J0007"),
    (File, "KafkaServer { M required principal=kafka@EX.COM; };", Refuses, "J0007"),
    (Property, "M required principal=kafka@EX.COM;", Refuses, "J0007"),
    (File, "KafkaServer { M required a=3; };", Refuses, "J0006"),
    (Property, "M required a=3;", Refuses, "J0006"),
    (File, "KafkaServer { M required a=3abc; };", Refuses, "J0006"),
    (Property, "M required a=3abc;", Refuses, "J0006"),
    (File, "KafkaServer { M required useKeyTab=true; };", Reads("[M required {useKeyTab=true}]"), ""),
    (Property, "M required useKeyTab=true;", Reads("[M required {useKeyTab=true}]"), ""),
    (File, "KafkaServer { M required a=b.c; };", Reads("[M required {a=b.c}]"), ""),
    (Property, "M required a=b.c;", Reads("[M required {a=b.c}]"), ""),
    (File, "KafkaServer { M required a='b c'; };", Refuses, "J0009"),
    (Property, "M required a='b c';", Reads("[M required {a=b c}]"), ""),
    (File, "KafkaServer { M required a='x\"y'; };", Refuses, "J0009"),
    (Property, "M required a='x\"y';", Reads("[M required {a=x\"y}]"), ""),
    (File, "KafkaServer { M required a=\"x\\\"y\"; };", Reads("[M required {a=x\"y}]"), ""),
    (Property, "M required a=\"x\\\"y\";", Reads("[M required {a=x\"y}]"), ""),
    (File, "KafkaServer { M required a=\"x\\\\y\"; };", Reads("[M required {a=x\\y}]"), ""),
    (Property, "M required a=\"x\\\\y\";", Reads("[M required {a=x\\y}]"), ""),
    (File, "KafkaServer { M required a=\"x\\ny\"; };", Reads("[M required {a=x\ny}]"), ""),
    (Property, "M required a=\"x\\ny\";", Reads("[M required {a=x\ny}]"), ""),
    (File, "KafkaServer { M required a=\"x\\101y\"; };", Reads("[M required {a=xAy}]"), ""),
    (Property, "M required a=\"x\\101y\";", Reads("[M required {a=xAy}]"), ""),
    (File, "KafkaServer { M required a=\"x\\u0041y\"; };", Reads("[M required {a=xu0041y}]"), "J0103"),
    (Property, "M required a=\"x\\u0041y\";", Reads("[M required {a=xu0041y}]"), "J0103"),
    (File, "KafkaServer { M required a=\"x\ny\"; };", Refuses, "J0010"),
    (Property, "M required a=\"x\ny\";", Refuses, "J0010"),
    (File, "KafkaServer { M required a=\"xy; };", Refuses, "J0010"),
    (Property, "M required a=\"xy;", Refuses, "J0010"),
    (File, "KafkaServer { M required // hello\n a=b; };", Reads("[M required {a=b}]"), ""),
    (Property, "M required // hello\n a=b;", Reads("[M required {a=b}]"), ""),
    (File, "KafkaServer { M required /* hello \n x */ a=b; };", Reads("[M required {a=b}]"), ""),
    (Property, "M required /* hello \n x */ a=b;", Reads("[M required {a=b}]"), ""),
    (File, "KafkaServer { M required # hello\n a=b; };", Refuses, "J0011"),
    (Property, "M required # hello\n a=b;", Refuses, "J0011"),
    (File, "KafkaServer { M required a=b;\n# tail\n };", Refuses, "J0011"),
    (Property, "M required a=b;\n# tail\n", Refuses, "J0011"),
    (File, "KafkaServer { M required a=\"http://x/y\"; };", Reads("[M required {a=http://x/y}]"), ""),
    (Property, "M required a=\"http://x/y\";", Reads("[M required {a=http://x/y}]"), ""),
    (File, "KafkaServer { M ReQuIrEd a=b; };", Reads("[M required {a=b}]"), ""),
    (Property, "M ReQuIrEd a=b;", Reads("[M required {a=b}]"), ""),
    (File, "KafkaServer { M mandatory a=b; };", Refuses, "J0005"),
    (Property, "M mandatory a=b;", Refuses, "J0005"),
    (File, "KafkaServer { M a=b; };", Refuses, "J0005"),
    (Property, "M a=b;", Refuses, "J0005"),
    (File, "KafkaServer { M required a=b };", Refuses, "J0004"),
    (Property, "M required a=b", Refuses, "J0004"),
    (File, "KafkaServer { M required a; };", Refuses, "J0006"),
    (Property, "M required a;", Refuses, "J0006"),
    (File, "KafkaServer { M required a=\"\"; };", Reads("[M required {a=}]"), ""),
    (Property, "M required a=\"\";", Reads("[M required {a=}]"), ""),
    (File, "KafkaServer { M required \"a b\"=c; };", Reads("[M required {a b=c}]"), ""),
    (Property, "M required \"a b\"=c;", Reads("[M required {a b=c}]"), ""),
    (File, "KafkaServer { \"M\" required a=c; };", Reads("[M required {a=c}]"), ""),
    (Property, "\"M\" required a=c;", Reads("[M required {a=c}]"), ""),
    (File, "KafkaServer { M required 9a=c; };", Refuses, "J0006"),
    (Property, "M required 9a=c;", Refuses, "J0006"),
    (File, "KafkaServer { M required a.b=c; };", Reads("[M required {a.b=c}]"), ""),
    (Property, "M required a.b=c;", Reads("[M required {a.b=c}]"), ""),
    (File, "KafkaServer { M required a-b=c; };", Reads("[M required {a-b=c}]"), ""),
    (Property, "M required a-b=c;", Reads("[M required {a-b=c}]"), ""),
    (File, "KafkaServer { M required user_a.b=\"c\"; };", Reads("[M required {user_a.b=c}]"), ""),
    (Property, "M required user_a.b=\"c\";", Reads("[M required {user_a.b=c}]"), ""),
    (File, "KafkaServer { M required user_a@b=\"c\"; };", Refuses, "J0007"),
    (Property, "M required user_a@b=\"c\";", Refuses, "J0007"),
    (File, "KafkaServer { M required \"user_a@b\"=\"c\"; };", Reads("[M required {user_a@b=c}]"), ""),
    (Property, "M required \"user_a@b\"=\"c\";", Reads("[M required {user_a@b=c}]"), ""),
    (File, "KafkaServer { M required a=b a=c; };", Reads("[M required {a=c}]"), "J0101"),
    (Property, "M required a=b a=c;", Reads("[M required {a=c}]"), "J0101"),
    (File, "KafkaServer { M required a = b ; };", Reads("[M required {a=b}]"), ""),
    (Property, "M required a = b ;", Reads("[M required {a=b}]"), ""),
    (File, "KafkaServer { M required a=b; N optional c=d; };", Reads("[M required {a=b}][N optional {c=d}]"), ""),
    (Property, "M required a=b; N optional c=d;", Refuses, "J0013"),
    (File, "KafkaServer { M required a=b, c=d; };", Refuses, "J0007"),
    (Property, "M required a=b, c=d;", Refuses, "J0007"),
    (File, "KafkaServer { M required a=密码; };", Reads("[M required {a=密码}]"), ""),
    (Property, "M required a=密码;", Reads("[M required {a=密码}]"), ""),
    (File, "KafkaServer { M required a=\"密码\"; };", Reads("[M required {a=密码}]"), ""),
    (Property, "M required a=\"密码\";", Reads("[M required {a=密码}]"), ""),
    (File, "KafkaServer { M required a=\"${java.version}\"; };", Reads("[M required {a=17.0.15}]"), ""),
    (Property, "M required a=\"${java.version}\";", Reads("[M required {a=${java.version}}]"), ""),
    (File, "KafkaServer { M required a=\"${no.such}\"; };", Refuses, "J0012"),
    (Property, "M required a=\"${no.such}\";", Reads("[M required {a=${no.such}}]"), ""),
    (File, "KafkaServer { M required a=\"x${/}y\"; };", Reads("[M required {a=x/y}]"), ""),
    (Property, "M required a=\"x${/}y\";", Reads("[M required {a=x${/}y}]"), ""),
    (File, "KafkaServer { M required a=\"${{x}}\"; };", Reads("[M required {a=${{x}}}]"), ""),
    (Property, "M required a=\"${{x}}\";", Reads("[M required {a=${{x}}}]"), ""),
    (File, "KafkaServer { M required a=\"$HOME\"; };", Reads("[M required {a=$HOME}]"), ""),
    (Property, "M required a=\"$HOME\";", Reads("[M required {a=$HOME}]"), ""),
    (
        File,
        "KafkaServer { com.sun.security.auth.module.JndiLoginModule required a=b; };",
        Reads("[com.sun.security.auth.module.JndiLoginModule required {a=b}]"),
        "",
    ),
    (Property, "com.sun.security.auth.module.JndiLoginModule required a=b;", Refuses, ""),
    (
        File,
        "KafkaServer { com.sun.security.auth.module.LdapLoginModule required a=b; };",
        Reads("[com.sun.security.auth.module.LdapLoginModule required {a=b}]"),
        "",
    ),
    (Property, "com.sun.security.auth.module.LdapLoginModule required a=b;", Refuses, ""),
    (File, "KafkaServer {  };", Absent, "J0102"),
    (Property, "", Refuses, "J0013"),
    (File, "KafkaServer { ; };", Refuses, "J0002"),
    (Property, ";", Refuses, "J0002"),
    (File, "KafkaServer { M required a=b; } };", Refuses, "J0004"),
    (Property, "M required a=b; }", Refuses, "J0002"),
    (File, "ext.KafkaServer { M required a=b; }; KafkaServer { N required; };", Reads("[M required {a=b}]"), ""),
    (File, "sasl_ssl-x.KafkaServer { M required a=b; };", Reads("[M required {a=b}]"), ""),
    (File, "\"a b\" { M required a=b; };", Reads("[M required {a=b}]"), ""),
    (File, "KafkaServer { M required a=b; }; KafkaServer { N required; };", Refuses, "J0003"),
    (File, "KafkaServer { M required a=b; }", Refuses, "J0004"),
    (File, "KafkaServer { M required a=b; } KafkaClient { N required; };", Refuses, "J0004"),
    (File, "", Absent, ""),
    (File, "// x\n# y\n/* z */", Refuses, "J0011"),
    (File, "kafkaserver { M required a=b; };", Absent, "J0102"),
    (File, "other { M required a=b; };", Absent, ""),
    (File, "\u{feff}KafkaServer { M required a=b; };", Absent, "J0001"),
    (File, "KafkaServer {\r\n M required\r\n a=b;\r\n};\r\n", Reads("[M required {a=b}]"), ""),
    (File, "KafkaServer {\n M required\n a=b\n};\n", Refuses, "J0004"),
    (File, "KafkaServer {\n M wrong\n a=b;\n};\n", Refuses, "J0005"),
    (File, "KafkaServer {\n M required\n a==b;\n};\n", Refuses, "J0006"),
    (File, "KafkaServer { M required a=b; }; /* x", Reads("[M required {a=b}]"), "J0104"),
    (File, "KafkaServer { ${java.vendor} required; };", Refuses, "J0007"),
    (File, "KafkaServer { M required a=${java.version}; };", Refuses, "J0007"),
];

fn java_version() -> BTreeMap<String, String> {
    BTreeMap::from([("java.version".to_owned(), "17.0.15".to_owned())])
}

fn file(text: &str) -> Result<JaasFile, Diagnostics> {
    let properties = java_version();
    let expansions = Expansions { properties: Some(&properties), env: None };
    parse_file(text.to_owned(), Origin::file("k.conf"), &expansions)
}

fn property(text: &str) -> Result<(LoginModule, Diagnostics), Diagnostics> {
    parse_property(&Located::whole(Arc::new(Source::new(Origin::file("s.properties"), text.to_owned()))))
}

fn codes(diagnostics: &Diagnostics) -> String {
    let errors = diagnostics.has_errors();
    let shown = diagnostics.iter().filter(|d| !errors || d.severity == Severity::Error);
    shown.map(|d| d.code.name()).collect::<Vec<_>>().join(" ")
}

fn shown(modules: &[LoginModule]) -> String {
    let one = |module: &LoginModule| {
        let options: BTreeMap<&str, &str> =
            module.options.iter().map(|option| (option.key.as_str(), option.value.expose())).collect();
        let options: Vec<String> = options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!("[{} {} {{{}}}]", module.class, module.flag.name(), options.join(", "))
    };
    modules.iter().map(one).collect()
}

/// The section the corpus asked for.
fn asked(text: &str) -> &str {
    let name = text.split('{').next().unwrap_or_default().trim().trim_matches('"');
    if name.ends_with(".KafkaServer") || name == "a b" { name } else { "KafkaServer" }
}

#[test]
fn the_corpus() {
    for (mode, text, java, expected) in OBSERVED {
        let (result, found) = match mode {
            File => match file(text) {
                Ok(file) => (file.section(asked(text)).map_or(Ok(None), |m| Ok(Some(shown(m)))), codes(&file.warnings)),
                Err(errors) => (Err(()), codes(&errors)),
            },
            Property => match property(text) {
                Ok((module, warnings)) => (Ok(Some(shown(&[module]))), codes(&warnings)),
                Err(errors) => (Err(()), codes(&errors)),
            },
        };
        assert_eq!(found, *expected, "codes of {mode:?} {text:?}");
        match (java, &result) {
            (Reads(java), Ok(Some(ours))) => assert_eq!(ours, java, "{mode:?} {text:?}"),
            (Absent, Ok(None)) | (Refuses, Err(())) => {}
            // Where Java goes on silently or only the class is refused; the codes above say what we do.
            (Absent | Reads(_), Err(())) if ["J0001", "J0101"].contains(&found.as_str()) => {}
            (Refuses, Ok(Some(_))) if text.contains("JndiLoginModule") || text.contains("LdapLoginModule") => {}
            _ => panic!("{mode:?} {text:?}: Java {java:?}, we {result:?}"),
        }
    }
}

fn errors_of(text: &str) -> Diagnostics {
    file(text).err().unwrap_or_default()
}

#[test]
fn all_errors_of_a_file_in_one_run() {
    let text = "KafkaServer {\n  M required a=b:c\n    keyTab=/etc/x\n    d='e'\n    f=3;\n  N wrong;\n};\nX { M required a=b };\n";
    let errors = errors_of(text);
    assert_eq!(codes(&errors), "J0007 J0008 J0009 J0006 J0005 J0004", "{errors}");
    let lines: Vec<_> = errors.iter().filter_map(|e| e.line().zip(e.column())).collect();
    assert_eq!(lines, [(2, 17), (3, 12), (4, 7), (5, 7), (6, 5), (8, 19)]);
}

#[test]
fn the_fix_can_be_pasted() {
    let help = |text: &str| errors_of(text).iter().next().and_then(|e| e.help(Lang::En)).unwrap_or_default();
    assert_eq!(help("KafkaServer { M required\n keyTab=/etc/x.keytab;\n};"), "keyTab=\"/etc/x.keytab\"");
    assert_eq!(help("KafkaServer { M required principal=kafka@EX.COM; };"), "principal=\"kafka@EX.COM\"");
    assert_eq!(help("KafkaServer { M required user_a@b=\"c\"; };"), "\"user_a@b\"=\"...\"");
    assert_eq!(help("KafkaServer { M required a=3abc; };"), "a=\"3abc\"");
    assert_eq!(help("KafkaServer { M required password=3abc; };"), "password=\"********\"");
}

#[test]
fn no_error_shows_a_password() {
    for text in [
        "KafkaServer { M required password=hunter2:x; };",
        "KafkaServer { M required password='hunter2'; };",
        "KafkaServer { M required password=\"hunter2; };",
        "KafkaServer { M required password=\"a\"hunter2\"; };",
        "KafkaServer { M required user_a@b=hunter2; };",
        "KafkaServer { M required password hunter2 };",
        "KafkaServer { M required password=/hunter2; };",
        "KafkaServer { M user_a=\"hunter2\" x; } garbage",
        "KafkaServer { M required user_a=\"hunter2\" user_a=\"hunter2\"; };",
    ] {
        let errors = errors_of(text);
        assert!(errors.has_errors(), "{text}");
        for style in [Style::Long, Style::Short] {
            assert!(!errors.render(Lang::En, style).contains("hunter2"), "{text}\n{errors}");
        }
        assert!(!format!("{errors:?}").contains("hunter2"), "{text}");
    }
    let read = file("KafkaServer { M required password=\"hunter2\"; };").unwrap();
    assert!(!format!("{read:?}").contains("hunter2"));
}

#[test]
fn a_property_value_is_located_in_its_file() {
    let text = "x=1\nlistener.name.a.plain.sasl.jaas.config=M required \\\n   a=b:c;\n";
    let properties = crate::config::properties::parse(text, Origin::file("server.properties")).unwrap();
    let errors = parse_property(&properties.entries()[1].value).unwrap_err();
    let first = errors.iter().next().unwrap();
    assert_eq!((first.code, first.line(), first.column()), (Code::J0007, Some(3), Some(7)));
    assert!(errors.to_string().contains("********"), "{errors}");
}

#[test]
fn expansions_are_of_files_alone_and_env_is_ours() {
    let env = BTreeMap::from([("PW".to_owned(), "s".to_owned())]);
    let properties = java_version();
    let expansions = Expansions { properties: Some(&properties), env: Some(&env) };
    let read = |value: &str| {
        let text = format!("KafkaServer {{ M required a=\"{value}\"; }};");
        let file = parse_file(text, Origin::file("k"), &expansions).map_err(|e| codes(&e))?;
        Ok::<_, String>(file.sections[0].modules[0].option("a").unwrap().expose().to_owned())
    };
    assert_eq!(read("${env:PW}x").unwrap(), "sx");
    assert_eq!(read("${java.version}${/}").unwrap(), "17.0.15/");
    assert_eq!(read("$${/}").unwrap(), "$/");
    assert_eq!(read("${/").unwrap(), "${/");
    assert_eq!(read("x${{y}z").unwrap(), "x${{y}z");
    assert_eq!(read("${env:NO}").unwrap_err(), "J0012");
    assert_eq!(read("${}").unwrap_err(), "J0012");
}

const PLAIN: &str = "org.apache.kafka.common.security.plain.PlainLoginModule";
const SCRAM: &str = "org.apache.kafka.common.security.scram.ScramLoginModule";

fn judged(module: &str, profile: Profile) -> Vec<(&'static str, Severity)> {
    let file = file(&format!("KafkaServer {{ {module} }};")).unwrap();
    let mut clear = ClearPasswords::default();
    let mut found = check(file.section("KafkaServer").unwrap(), &Rules { profile, ..Rules::default() }, &mut clear);
    found.extend(clear.findings(profile));
    found.iter().map(|d| (d.code.name(), d.severity)).collect()
}

#[test]
fn modules_are_taken_by_allow_list() {
    let strict = Profile::Strict;
    assert_eq!(judged(&format!("{SCRAM} required;"), strict), []);
    for (class, code) in [
        ("com.sun.security.auth.module.JndiLoginModule", "J0020"),
        ("com.sun.security.auth.module.LdapLoginModule", "J0020"),
        ("org.apache.zookeeper.server.auth.DigestLoginModule", "J0020"),
        ("com.example.Own", "J0020"),
        ("com.sun.security.auth.module.Krb5LoginModule", "J0021"),
    ] {
        assert_eq!(judged(&format!("{class} required a=b;"), strict), [(code, Severity::Error)], "{class}");
    }
    let scram = file(&format!("KafkaServer {{ {SCRAM} required; }};")).unwrap();
    let only_plain = Rules { allowed: Some(vec![PLAIN.into()]), ..Rules::default() };
    assert_eq!(
        codes(&check(scram.section("KafkaServer").unwrap(), &only_plain, &mut ClearPasswords::default())),
        "J0020"
    );
    let without = Rules { disallowed: vec![SCRAM.into()], ..Rules::default() };
    assert_eq!(codes(&check(scram.section("KafkaServer").unwrap(), &without, &mut ClearPasswords::default())), "J0020");
}

#[test]
fn passwords_are_judged_by_profile() {
    use Severity::{Error, Note, Warning};
    let sample = format!("{PLAIN} required user_alice=\"alice-secret\";");
    assert_eq!(judged(&sample, Profile::Strict), [("J0202", Error)]);
    assert_eq!(judged(&sample, Profile::Compat), [("J0202", Warning)]);
    assert_eq!(judged(&sample, Profile::Dev), []);
    let clear = format!("{PLAIN} required user_alice=\"p9!\";");
    assert_eq!(judged(&clear, Profile::Strict), [("J0201", Warning)]);
    assert_eq!(judged(&clear, Profile::Compat), [("J0201", Note)]);
    let hashed = format!("{PLAIN} required user_alice=\"$argon2id$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA\";");
    assert_eq!(judged(&hashed, Profile::Strict), []);
    assert_eq!(judged(&format!("{PLAIN} required user_a=\"\";"), Profile::Dev), [("J0031", Error)]);
    assert_eq!(judged(&format!("{PLAIN} required username=a password=\"\";"), Profile::Dev), [("J0031", Error)]);
    assert_eq!(judged(&format!("{PLAIN} required \"user_*\"=\"p9!\";"), Profile::Dev), [("J0032", Error)]);
    assert_eq!(judged(&format!("{PLAIN} required user_ANONYMOUS=\"p9!\";"), Profile::Dev), [("J0032", Error)]);
    assert_eq!(judged(&format!("{SCRAM} required usrname=a;"), Profile::Dev), [("J0106", Warning)]);
}

#[test]
fn clear_passwords_are_one_finding_a_file() {
    let users: String = ["d", "a", "c", "b", "e"].map(|user| format!(" user_{user}=\"p9!{user}\"")).concat();
    let text = format!("KafkaServer {{ {PLAIN} required {users}; {PLAIN} required user_a=\"q9!\"; }};");
    let file = file(&text).unwrap();
    let mut clear = ClearPasswords::default();
    check(file.section("KafkaServer").unwrap(), &Rules::default(), &mut clear);
    let (property, _) = parse_property(&Located::whole(Arc::new(Source::new(
        Origin::file("server.properties"),
        format!("{PLAIN} required user_z=\"p9!\";"),
    ))))
    .unwrap();
    check(&[property], &Rules::default(), &mut clear);
    assert!(clear.findings(Profile::Dev).is_empty());
    let findings = clear.findings(Profile::Strict).into_vec();
    let lines: Vec<String> = findings.iter().map(|finding| finding.message(Lang::En)).collect();
    assert_eq!(
        lines,
        [
            "5 PLAIN users have their passwords here in clear text: a, b, c, …",
            "1 PLAIN users have their passwords here in clear text: z"
        ]
    );
    assert_eq!(findings[0].details().len(), 6);
    assert!(findings[0].details()[1].ends_with("the password of a is in clear text"), "{:?}", findings[0].details());
    let shown = format!("{}{:?}", findings[0].render(Lang::En, Style::Long), findings[0].details());
    assert!(!shown.contains("p9!") && !shown.contains("q9!"), "a password is shown:\n{shown}");
}

#[test]
fn the_first_module_that_names_a_user_decides() {
    let text = format!(
        "KafkaServer {{ {SCRAM} required username=s password=t; {PLAIN} required user_a=\"1\"; {PLAIN} required username=u password=p user_a=\"2\" user_b=\"3\"; }};"
    );
    let file = file(&text).unwrap();
    let plain = credentials(file.section("KafkaServer").unwrap(), ModuleKind::Plain);
    let users: Vec<_> = plain.users.iter().map(|u| (u.name.as_str(), u.password.expose())).collect();
    assert_eq!(users, [("a", "1"), ("b", "3")]);
    let (name, password) = plain.inter_broker.unwrap();
    assert_eq!((name.as_str(), password.expose()), ("u", "p"));
}

/// The files that come with Schloss: each reads, and means what its comments say.
#[test]
#[allow(clippy::disallowed_methods)]
fn the_examples_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("jaas");
    let mut read = Vec::new();
    for folder in [folder.clone(), folder.join("examples")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "conf") {
                continue;
            }
            let file = read_file(&path, &Expansions::default()).unwrap_or_else(|errors| panic!("{errors}"));
            assert!(file.warnings.is_empty(), "{}", file.warnings);
            for section in &file.sections {
                let found = check(
                    &section.modules,
                    &Rules { profile: Profile::Strict, ..Rules::default() },
                    &mut ClearPasswords::default(),
                );
                assert!(!found.has_errors(), "{found}");
            }
            let modules = file.section("KafkaServer").unwrap();
            let users = credentials(modules, ModuleKind::Plain).users.len();
            read.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), file.sections.len(), users));
        }
    }
    read.sort();
    let expected = [
        ("inter-broker", 1, 2),
        ("kafka_server_jaas", 1, 0),
        ("listener-sections", 2, 1),
        ("plain", 1, 2),
        ("scram", 1, 0),
    ];
    assert_eq!(read, expected.map(|(name, sections, users)| (name.to_owned(), sections, users)));
}

/// Every trap of the page is one that is found.
#[test]
#[allow(clippy::disallowed_methods)]
fn the_page_names_codes_that_exist() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("jaas/README.md")).unwrap();
    let known: Vec<&str> = Code::ALL.iter().map(|code| code.name()).collect();
    let named: Vec<&str> = page
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.len() == 5 && word.starts_with(['J', 'P']) && word[1..].bytes().all(|b| b.is_ascii_digit()))
        .collect();
    assert!(named.len() > 12);
    assert!(named.iter().all(|code| known.contains(code)), "{named:?}");
}
