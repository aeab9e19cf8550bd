//! Planted secrets: whatever happens, none of them is printed, not even at TRACE, and none is told to a client.
//!
//! A secret is looked for as it is, in base64, in hexadecimal and as a list of numbers.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use schloss::protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResponse;
use schloss::protocol::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use schloss::protocol::messages::create_topics_response::CreateTopicsResponse;
use schloss::protocol::messages::describe_configs_request::{DescribeConfigsRequest, DescribeConfigsResource};
use schloss::protocol::messages::describe_configs_response::DescribeConfigsResponse;
use schloss::protocol::messages::describe_user_scram_credentials_request::DescribeUserScramCredentialsRequest;
use schloss::protocol::messages::metadata_request::MetadataRequest;
use schloss::protocol::messages::produce_request::{PartitionProduceData, ProduceRequest, TopicProduceData};
use schloss::protocol::messages::produce_response::ProduceResponse;
use schloss::protocol::record_batch::BatchBuilder;
use schloss::protocol::wire::{Message as _, Reader, Records};

use crate::client::Client;
use crate::support::{Broker, Finished, free_port, keystore, run, schloss, write};

/// What every planted secret begins with.
const CANARY: &str = "cAnAry";

/// Every way in which `secret` may be spelled.
fn spellings(secret: &[u8]) -> [String; 5] {
    let list = |format: fn(&u8) -> String, between: &str| secret.iter().map(format).collect::<Vec<_>>().join(between);
    [
        String::from_utf8_lossy(secret).into_owned(),
        STANDARD_NO_PAD.encode(secret),
        list(|b| format!("{b:02x}"), ""),
        list(|b| format!("{b:02X}"), ""),
        list(u8::to_string, ", "),
    ]
}

#[track_caller]
fn holds_no_secret(text: &str, secrets: &[Vec<u8>], where_: &str) {
    for secret in secrets {
        for spelling in spellings(secret) {
            assert!(!text.contains(&spelling), "{where_} tells {spelling:?}:\n{text}");
        }
    }
}

fn canaries() -> Vec<Vec<u8>> {
    vec![CANARY.into()]
}

/// Lines of a private key that tell something.
fn key_lines(pem: &Path) -> Vec<Vec<u8>> {
    let text = std::fs::read_to_string(pem).unwrap();
    let key = text.split("-----BEGIN PRIVATE KEY-----").nth(1).unwrap().split("-----END").next().unwrap();
    let lines: Vec<Vec<u8>> = key.lines().filter(|l| l.len() > 20).map(|l| l.as_bytes().to_vec()).collect();
    assert!(!lines.is_empty());
    lines
}

struct Bank {
    broker: Broker,
    dir: tempfile::TempDir,
    sasl: SocketAddr,
    secrets: Vec<Vec<u8>>,
}

impl Bank {
    fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keystore_file = dir.path().join("broker.pem");
        keystore(&keystore_file);
        let mut secrets = canaries();
        secrets.extend(key_lines(&keystore_file));
        let [clear, sasl, tls] = [(); 3].map(|()| SocketAddr::from((Ipv4Addr::LOCALHOST, free_port())));
        let jaas = dir.path().join("jaas.conf");
        write(
            &jaas,
            &format!(
                "KafkaServer {{\n org.apache.kafka.common.security.plain.PlainLoginModule required\n \
                 username=\"admin\" password=\"{CANARY}-admin\" user_admin=\"{CANARY}-admin\" user_alice=\"{CANARY}-alice\";\n}};\n\
                 Client {{\n org.apache.zookeeper.server.auth.DigestLoginModule required username=\"zk\" \
                 password=\"{CANARY}-zk\";\n}};\n"
            ),
        );
        let config = dir.path().join("server.properties");
        write(
            &config,
            &format!(
                "schloss.profile=compat\nprocess.roles=broker,controller\nnode.id=1\n\
                 listeners=PLAINTEXT://{clear},SASL_PLAINTEXT://{sasl},SSL://{tls}\n\
                 inter.broker.listener.name=PLAINTEXT\nsasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256\n\
                 ssl.keystore.type=PEM\nssl.keystore.location={keystore}\n\
                 authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
                 super.users=User:admin\nlog.dirs={data}\nmy.plugin.password={CANARY}-unknown-key\n",
                keystore = keystore_file.display(),
                data = dir.path().join("data").display(),
            ),
        );
        let config = config.to_str().unwrap();
        let scram = format!("SCRAM-SHA-256=[name=bob,password={CANARY}-bob]");
        let formatted =
            schloss(&["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", config, "--add-scram", &scram])
                .expect(0, "Formatting");
        holds_no_secret(&formatted.text(), &secrets, "storage format");
        let broker = Broker::start(&["serve", config, "--jaas", jaas.to_str().unwrap()], &[("RUST_LOG", "trace")]);
        Self { broker, dir, sasl, secrets }
    }

    fn admin(&self) -> Client {
        Client::login(self.sasl, "admin", &format!("{CANARY}-admin"))
    }
}

#[test]
fn no_secret_is_printed_or_told() {
    let mut bank = Bank::open();
    records(&bank);
    logins_right_and_wrong(&bank);
    let derived = scram_user(&bank);
    bank.secrets.extend(derived);
    descriptions(&bank);

    // Everything that was meant to happen did, and TRACE was on.
    bank.broker.wait_for_line("User:alice is Denied operation = DESCRIBE");
    let output = bank.broker.output();
    assert!(output.contains("] DEBUG ") && output.contains("] TRACE "), "{output}");
    assert!(output.contains("Failed authentication") && output.contains("user=alice"), "{output}");
    assert_eq!(bank.broker.stop(), Some(0));
    holds_no_secret(&bank.broker.output(), &bank.secrets, "the broker's output");
    drop(bank.dir);
}

fn logins_right_and_wrong(bank: &Bank) {
    bank.admin().metadata(&[]).unwrap();
    let long = format!("\0alice\0{CANARY}{}", "x".repeat(2000));
    for token in [
        format!("\0alice\0{CANARY}-wrong"),
        format!("\0nobody\0{CANARY}-wrong"),
        format!("root\0alice\0{CANARY}-alice"),
        format!("\0*\0{CANARY}-wrong"),
        format!("\0\0{CANARY}-wrong"),
        format!("{CANARY}-alone"),
        format!("\0alice\0{CANARY}\0more"),
        format!("\0alice\0{CANARY}\r\n\u{1b}[31m"),
        long,
    ] {
        let mut client = Client::connect(bank.sasl);
        assert_eq!(client.handshake(1, "PLAIN").error_code, 0);
        let answer = client.authenticate(token.as_bytes()).unwrap();
        assert_eq!(answer.error_code, 58);
        holds_no_secret(&answer.error_message.unwrap(), &bank.secrets, "a refusal");
    }
    // Tokens in the wrong place, for another mechanism, and as the frame they are not.
    let token = format!("\0alice\0{CANARY}-alice").into_bytes();
    for (version, mechanism) in [(0, "PLAIN"), (1, "SCRAM-SHA-256"), (0, "SCRAM-SHA-256")] {
        let mut client = Client::connect(bank.sasl);
        assert_eq!(client.handshake(version, mechanism).error_code, 0);
        client.send_frame(&token).unwrap();
        let _ = client.frame();
    }
    let mut client = Client::connect(bank.sasl);
    let answer = client.handshake(1, "NO-MECHANISM");
    assert_eq!(answer.error_code, 33);
    let mut client = Client::login(bank.sasl, "alice", &format!("{CANARY}-alice"));
    assert_eq!(client.authenticate(&token).unwrap().error_code, 34);
    // A denial, and one that is only a filter.
    assert_eq!(client.metadata(&["t"]).unwrap().topics[0].error_code, 29);
    raw(&mut client, ApiKey::Metadata, 12, &MetadataRequest { topics: None, ..Default::default() });
}

/// A SCRAM user set by request; what the broker derives and stores for it.
fn scram_user(bank: &Bank) -> Vec<Vec<u8>> {
    let (salt, salted) = (format!("{CANARY}-salt-of-twenty-six").into_bytes(), [b'c'; 32]);
    let mut results = Vec::new();
    for (user, iterations) in [("carol", 4096), ("weak", 4095)] {
        let upsertion = ScramCredentialUpsertion {
            name: user.into(),
            mechanism: 1,
            iterations,
            salt: salt.clone().into(),
            salted_password: Bytes::copy_from_slice(&salted),
        };
        let request = AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: vec![upsertion] };
        let answer: AlterUserScramCredentialsResponse =
            bank.admin().ask(ApiKey::AlterUserScramCredentials, 0, &request).unwrap();
        holds_no_secret(&format!("{answer:?}"), &bank.secrets, "AlterUserScramCredentials");
        results.push(answer.results[0].error_code);
    }
    assert_eq!(results, [0, 93]);
    let sign = |message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &salted), message);
    let stored = digest::digest(&digest::SHA256, sign(b"Client Key").as_ref());
    vec![salted.to_vec(), stored.as_ref().to_vec(), sign(b"Server Key").as_ref().to_vec()]
}

/// An answer as it came.
fn raw<Q: schloss::protocol::wire::Message>(client: &mut Client, key: ApiKey, version: i16, request: &Q) -> Bytes {
    client.send(key, version, request).unwrap();
    client.receive(key, version).unwrap().1
}

fn descriptions(bank: &Bank) {
    let mut admin = bank.admin();
    let resource = |resource_type, name: &str| DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        ..Default::default()
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource(4, "1"), resource(4, "")],
        include_synonyms: true,
        include_documentation: true,
    };
    let body = raw(&mut admin, ApiKey::DescribeConfigs, 4, &request);
    holds_no_secret(&String::from_utf8_lossy(&body), &bank.secrets, "DescribeConfigs");
    let answer = DescribeConfigsResponse::decode(&mut Reader::new(body), 4).unwrap();
    let sensitive: Vec<_> = answer.results[0].configs.iter().filter(|config| config.is_sensitive).collect();
    assert!(sensitive.iter().any(|config| config.name == "ssl.key.password"), "{sensitive:?}");
    for config in sensitive {
        assert_eq!(config.value, None, "{}", config.name);
        assert!(config.synonyms.iter().all(|synonym| synonym.value.is_none()), "{}", config.name);
    }
    let request = DescribeUserScramCredentialsRequest { users: None };
    let body = raw(&mut admin, ApiKey::DescribeUserScramCredentials, 0, &request);
    holds_no_secret(&String::from_utf8_lossy(&body), &bank.secrets, "DescribeUserScramCredentials");
}

/// What is in records is nobody's business either.
fn records(bank: &Bank) {
    let mut admin = bank.admin();
    let topic = CreatableTopic { name: "t".into(), num_partitions: 1, replication_factor: 1, ..Default::default() };
    let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, validate_only: false };
    let answer: CreateTopicsResponse = admin.ask(ApiKey::CreateTopics, 7, &request).unwrap();
    assert_eq!(answer.topics[0].error_code, 0);
    let mut batch = BatchBuilder::new(0);
    let value = format!("{CANARY}-value");
    batch.append(1_700_000_000_000, Some(value.as_bytes()), Some(value.as_bytes()), &[]).unwrap();
    let good = batch.build();
    let mut damaged = good.to_vec();
    damaged[18] ^= 1;
    for (records, code) in [(good, 0), (Bytes::from(damaged), 2)] {
        let partition_data = vec![PartitionProduceData { index: 0, records: Records::Bytes(records) }];
        let topic = TopicProduceData { name: "t".into(), partition_data, ..Default::default() };
        let request = ProduceRequest { acks: 1, timeout_ms: 10_000, topic_data: vec![topic], transactional_id: None };
        let answer: ProduceResponse = admin.ask(ApiKey::Produce, 9, &request).unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, code);
    }
}

/// Starts that fail: a secret stands beside what is wrong, or is what is wrong.
#[test]
fn no_secret_is_printed_when_a_file_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let port = free_port();
    let base = format!(
        "broker.id=1\nlisteners=SASL_PLAINTEXT://127.0.0.1:{port}\nsecurity.inter.broker.protocol=SASL_PLAINTEXT\n\
         sasl.enabled.mechanisms=PLAIN\nsasl.mechanism.inter.broker.protocol=PLAIN\nlog.dirs={}\n",
        path("data")
    );
    let module = "org.apache.kafka.common.security.plain.PlainLoginModule";
    let fails = |finished: Finished, what: &str| {
        assert!(!matches!(finished.code, Some(0) | None), "{what}: {finished:?}");
        assert!(!finished.text().is_empty(), "{what} fails without a word");
        holds_no_secret(&finished.text(), &canaries(), what);
    };

    for (what, jaas) in [
        ("no semicolon", format!("KafkaServer {{ {module} required user_a=\"{CANARY}-1\" }};")),
        ("no closing quote", format!("KafkaServer {{ {module} required user_a=\"{CANARY}-2; }};")),
        ("no quotes", format!("KafkaServer {{ {module} required user_a={CANARY} {CANARY} ; }};")),
        ("no equals sign", format!("KafkaServer {{ {module} required user_a \"{CANARY}-3\"; }};")),
        ("an unknown flag", format!("KafkaServer {{ {module} reqired user_a=\"{CANARY}-4\"; }};")),
        ("no flag", format!("KafkaServer {{ {module} user_a=\"{CANARY}-0\"; }};")),
        ("the secret where the flag belongs", format!("KafkaServer {{ {module} \"{CANARY}-5\"; }};")),
        ("given twice", format!("KafkaServer {{ {module} required user_a=\"{CANARY}-6\" user_a=\"{CANARY}-7\" ")),
        ("an unknown module", format!("KafkaServer {{ com.example.Unknown required password=\"{CANARY}-8\"; }};")),
        ("no such section", format!("KafkaSrver {{ {module} required user_a=\"{CANARY}-9\"; }};")),
        (
            "several lines",
            format!("KafkaServer {{\n {module} required\n user_a=\"{CANARY}-10\"\n password=\"{CANARY}\n;}}"),
        ),
    ] {
        write(dir.path().join("jaas.conf").as_path(), &jaas);
        write(dir.path().join("server.properties").as_path(), &base);
        let args = ["serve", &path("server.properties"), "--jaas", &path("jaas.conf")];
        fails(
            run(Command::new(env!("CARGO_BIN_EXE_schloss")).args(args).env("RUST_LOG", "trace"), ""),
            &format!("JAAS file, {what}"),
        );
        let inline = format!(
            "{base}listener.name.sasl_plaintext.plain.sasl.jaas.config={}\n",
            jaas.trim_start_matches("KafkaServer {").trim_end_matches("};").replace('\n', " ")
        );
        if what != "no such section" {
            write(dir.path().join("server.properties").as_path(), &inline);
            let finished = run(
                Command::new(env!("CARGO_BIN_EXE_schloss"))
                    .args(["serve", &path("server.properties"), "--override", "node.id=x"])
                    .env("RUST_LOG", "trace"),
                "",
            );
            fails(finished, &format!("sasl.jaas.config, {what}"));
        }
    }

    for lines in [
        format!("ssl.keystore.pasword={CANARY}"),
        format!("ssl.keystore.password={CANARY}\nssl.keystore.location=/nowhere.jks"),
        format!("ssl.keystore.type=PEM\nssl.keystore.key={CANARY}\nssl.keystore.certificate.chain={CANARY}"),
        format!(
            "ssl.keystore.type=PEM\nssl.keystore.certificate.chain=x\n\
             ssl.keystore.key=-----BEGIN PRIVATE KEY----- {CANARY} -----END PRIVATE KEY-----"
        ),
        format!("ssl.truststore.password={CANARY}\nssl.truststore.location=/nowhere.jks"),
        format!("ssl.key.password={CANARY}\nssl.keystore.type=PKCS12\nssl.keystore.location=/nowhere.p12"),
        format!("sasl.jaas.confg={module} required user_a=\"{CANARY}\";"),
        format!("delegation.token.secret.key={CANARY}\nnode.id=x"),
        format!("sasl.jaas.config={module} required user_a=\"{CANARY}\"\nnode.id=x"),
        format!("my.plugin.password={CANARY}\nnode.id=x"),
    ] {
        let lines = format!("{base}listeners=SASL_SSL://127.0.0.1:{port}\n{lines}\n");
        write(dir.path().join("server.properties").as_path(), &lines);
        fails(schloss(&["serve", &path("server.properties")]), &lines);
    }
    write(dir.path().join("server.properties").as_path(), &base);
    for over in [format!("ssl.keystore.password={CANARY}"), format!("ssl.keystore.pasword={CANARY}")] {
        let over = ["serve", &path("server.properties"), "--override", &over, "--override", "node.id=x"];
        fails(schloss(&over), over[3]);
    }
    let scram = format!("SCRAM-SHA-256=[name=bob,password={CANARY},iterations=1]");
    for add in [&*scram, &*scram.replace("SHA-256", "SHA-1"), &*scram.replace("name", "nme"), &scram[..scram.len() - 1]]
    {
        let args =
            ["storage", "format", "-t", "MkU3OEVBNTcwNTJENDM2Qg", "-c", &path("server.properties"), "--add-scram", add];
        fails(schloss(&args), add);
    }
}
