//! SCRAM, by a client that can misbehave at every step.

use std::collections::HashSet;
use std::num::NonZeroU32;

use aws_lc_rs::{digest, hmac, pbkdf2};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::alter_user_scram_credentials_request::{
    AlterUserScramCredentialsRequest, ScramCredentialUpsertion,
};
use schloss::protocol::messages::alter_user_scram_credentials_response::AlterUserScramCredentialsResponse;

use super::{SCRAM_PASSWORD, SCRAM_USER, World, closes, worlds};
use crate::client::Client;

const NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

/// One login; every part of it may be wrong.
pub(super) struct Attempt<'a> {
    pub(super) mechanism: &'a str,
    pub(super) header: &'a str,
    pub(super) bare: String,
    pub(super) password: &'a str,
    /// The header as the last message tells it.
    pub(super) told_header: &'a str,
    /// From the nonce agreed upon to the one that is sent.
    pub(super) nonce: fn(&str) -> String,
    /// From the right proof, in base64, to what is sent.
    pub(super) proof: fn(String) -> String,
}

impl Default for Attempt<'_> {
    fn default() -> Self {
        Self {
            mechanism: "SCRAM-SHA-256",
            header: "n,,",
            bare: format!("n={SCRAM_USER},r={NONCE}"),
            password: SCRAM_PASSWORD,
            told_header: "n,,",
            nonce: str::to_owned,
            proof: |proof| proof,
        }
    }
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// Messages the server took before the end.
    pub(super) steps: usize,
    pub(super) code: i16,
    pub(super) text: String,
    pub(super) server_first: String,
    pub(super) client_final: String,
}

impl Attempt<'_> {
    pub(super) fn run(&self, world: &World) -> Outcome {
        let mut client = Client::connect(world.sasl);
        assert_eq!(client.handshake(1, self.mechanism).error_code, 0);
        let first = client.authenticate(format!("{}{}", self.header, self.bare).as_bytes()).unwrap();
        let text = first.error_message.unwrap_or_default().to_string();
        let server_first = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
        if first.error_code != 0 {
            closes(&mut client, "after the first message");
            return Outcome { steps: 0, code: first.error_code, text, server_first, client_final: String::new() };
        }
        let client_final = self.last_message(&server_first);
        let last = client.authenticate(client_final.as_bytes()).unwrap();
        let text = last.error_message.unwrap_or_default().to_string();
        if last.error_code == 0 {
            assert_eq!(client.metadata(&[]).unwrap().error_code, 0);
        } else {
            closes(&mut client, "after the last message");
        }
        Outcome { steps: 1, code: last.error_code, text, server_first, client_final }
    }

    /// Kafka's clients' way from the server's first message to the last one, always with SHA-256.
    pub(super) fn last_message(&self, server_first: &str) -> String {
        let (agreed, salt, iterations) = parse_first(server_first);
        let without_proof = format!("c={},r={}", STANDARD.encode(self.told_header), (self.nonce)(agreed));
        let mut salted = [0; 32];
        let rounds = NonZeroU32::new(iterations).unwrap();
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, rounds, &salt, self.password.as_bytes(), &mut salted);
        let sign = |key: &[u8], message: &[u8]| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message);
        let client_key = sign(&salted, b"Client Key");
        let stored_key = digest::digest(&digest::SHA256, client_key.as_ref());
        let message = format!("{},{server_first},{without_proof}", self.bare);
        let signature = sign(stored_key.as_ref(), message.as_bytes());
        let proof: Vec<u8> = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        format!("{without_proof},p={}", (self.proof)(STANDARD.encode(proof)))
    }
}

/// Nonce, salt and iterations.
fn parse_first(message: &str) -> (&str, Vec<u8>, u32) {
    let mut fields = message.split(',');
    let mut field = |key| fields.next().and_then(|field| field.strip_prefix(key)).unwrap();
    let (nonce, salt, iterations) = (field("r="), field("s="), field("i="));
    (nonce, STANDARD.decode(salt).unwrap(), iterations.parse().unwrap())
}

const REFUSED: &str =
    "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256";

#[track_caller]
fn refused(world: &World, attempt: &Attempt<'_>, steps: usize, case: &str) -> Outcome {
    let outcome = attempt.run(world);
    assert_eq!((outcome.code, &*outcome.text, outcome.steps), (58, REFUSED, steps), "{case}");
    outcome
}

#[test]
fn an_honest_client_logs_in() {
    for world in worlds() {
        assert_eq!(Attempt::default().run(world).code, 0);
        let named_itself = Attempt { header: "n,a=bob,", told_header: "n,a=bob,", ..Attempt::default() };
        assert_eq!(named_itself.run(world).code, 0);
        // librdkafka before 2.6.1 sends its own nonce twice; it is let in, as docs/deviations.md says.
        let doubled = Attempt { nonce: |agreed| format!("{NONCE}{agreed}"), ..Attempt::default() };
        assert_eq!(doubled.run(world).code, 0);
    }
}

#[test]
fn first_messages_that_are_refused() {
    for world in worlds() {
        let other = Attempt { header: "n,a=root,", told_header: "n,a=root,", ..Attempt::default() }.run(world);
        assert_eq!(
            (other.code, &*other.text),
            (58, "Authentication failed: Client requested an authorization id that is different from username"),
            "case 31"
        );
        refused(world, &Attempt { header: "p=tls-exporter,,", ..Attempt::default() }, 0, "case 38, channel binding");
        let required = Attempt { bare: format!("m=ext,n={SCRAM_USER},r={NONCE}"), ..Attempt::default() };
        refused(world, &required, 0, "case 38, m= in front");
        let required = Attempt { bare: format!("n={SCRAM_USER},r={NONCE},m=ext"), ..Attempt::default() };
        refused(world, &required, 0, "case 38, m= behind");
        for bare in ["n=bob,n=root,r=", "n=bob,r=abc,n=root,r=", "n=bo=b,r=", "n=bob=,r=", "n=bob=2c,r=", "n=,r="] {
            refused(
                world,
                &Attempt { bare: format!("{bare}{NONCE}"), ..Attempt::default() },
                0,
                &format!("case 40: {bare}"),
            );
        }
        for message in [&b""[..], b"n", b"n,,", b"n,,n", b"n,,n=x,", b"\xff\xfe", b"n,,n=\xff,r=abcdefgh"] {
            let mut client = Client::connect(world.sasl);
            assert_eq!(client.handshake(1, "SCRAM-SHA-256").error_code, 0);
            let answer = client.authenticate(message).unwrap();
            let text = answer.error_message.as_deref();
            assert_eq!((answer.error_code, text), (58, Some(REFUSED)), "{:?}", String::from_utf8_lossy(message));
            closes(&mut client, "a first message that is none");
        }
        world.still_serves();
    }
}

/// Case 38: `y,,` says that the client could bind the channel but believes that the server can't, which is so here.
#[test]
fn a_client_that_could_bind_the_channel() {
    for world in worlds() {
        refused(world, &Attempt { header: "y,,", told_header: "y,,", ..Attempt::default() }, 0, "case 38, y");
        world.still_serves();
    }
}

/// Case 32.
#[test]
fn an_unknown_user_fails_at_the_proof() {
    for world in worlds() {
        let unknown = |name: &str| Attempt { bare: format!("n={name},r={NONCE}"), ..Attempt::default() };
        let (once, again) =
            (refused(world, &unknown("mallory"), 1, "case 32"), refused(world, &unknown("mallory"), 1, "case 32"));
        let known = refused(world, &Attempt { password: "wrong", ..Attempt::default() }, 1, "a wrong password");
        let (_, salt, iterations) = parse_first(&once.server_first);
        let (_, again_salt, _) = parse_first(&again.server_first);
        let (_, known_salt, known_iterations) = parse_first(&known.server_first);
        assert_eq!(salt, again_salt, "a salt that changes tells that there is no such user");
        assert_eq!((salt.len(), iterations), (known_salt.len(), known_iterations));
        let trudy = refused(world, &unknown("trudy"), 1, "case 32");
        let (_, other_salt, _) = parse_first(&trudy.server_first);
        assert_ne!(salt, other_salt);
        // Case 40: escapes are read, and name users that do not exist.
        refused(world, &unknown("a=2Cb"), 1, "=2C");
        refused(world, &unknown("a=3Db"), 1, "=3D");
        world.still_serves();
    }
}

#[test]
fn last_messages_that_are_refused() {
    for world in worlds() {
        let nonce = |nonce| Attempt { nonce, ..Attempt::default() };
        refused(world, &nonce(|agreed| format!("EVIL{agreed}")), 1, "case 33");
        refused(world, &nonce(|agreed| agreed[..agreed.len() - 4].to_owned()), 1, "case 34");
        for told_header in ["y,,", "n,a=bob,", ""] {
            refused(world, &Attempt { told_header, ..Attempt::default() }, 1, "case 37");
        }
        let proof = |proof| Attempt { proof, ..Attempt::default() };
        refused(world, &proof(|_| STANDARD.encode([0; 32])), 1, "case 39, zeros");
        refused(world, &proof(|_| String::new()), 1, "case 39, empty");
        refused(world, &proof(|right| STANDARD.encode(&STANDARD.decode(right).unwrap()[..31])), 1, "case 39, short");
        refused(
            world,
            &proof(|right| STANDARD.encode([&STANDARD.decode(right).unwrap()[..], b"x"].concat())),
            1,
            "case 39, long",
        );
        refused(world, &proof(|_| "*not base64*".to_owned()), 1, "case 39, not base64");
        world.still_serves();
    }
}

/// Case 40: a credential of one mechanism is none of another.
#[test]
fn a_credential_of_another_mechanism() {
    for world in worlds() {
        let outcome = Attempt { mechanism: "SCRAM-SHA-512", ..Attempt::default() }.run(world);
        assert_eq!((outcome.code, outcome.steps), (58, 1), "{outcome:?}");
        world.still_serves();
    }
}

/// Case 40: what is too weak to be stored, or too strong to be checked, is not stored.
#[test]
fn iterations_have_bounds() {
    for world in worlds() {
        let mut admin = world.login("admin");
        for (iterations, code) in [(4095, 93), (16_385, 93), (0, 93), (-1, 93), (4096, 0)] {
            let upsertion = ScramCredentialUpsertion {
                name: "weak".into(),
                mechanism: 1,
                iterations,
                salt: Bytes::from_static(b"saltofsixandtwentybytes26x"),
                salted_password: Bytes::from_static(&[7; 32]),
            };
            let request = AlterUserScramCredentialsRequest { deletions: Vec::new(), upsertions: vec![upsertion] };
            let answer: AlterUserScramCredentialsResponse =
                admin.ask(ApiKey::AlterUserScramCredentials, 0, &request).unwrap();
            assert_eq!(answer.results[0].error_code, code, "{iterations}");
        }
        world.still_serves();
    }
}

/// Cases 35 and 36.
#[test]
fn a_recorded_login_is_worth_nothing() {
    for world in worlds() {
        let recorded = Attempt::default().run(world);
        assert_eq!(recorded.code, 0);
        let mut client = Client::connect(world.sasl);
        client.handshake(1, "SCRAM-SHA-256");
        let first = client.authenticate(format!("n,,n={SCRAM_USER},r={NONCE}").as_bytes()).unwrap();
        assert_eq!(first.error_code, 0);
        let last = client.authenticate(recorded.client_final.as_bytes()).unwrap();
        assert_eq!(last.error_code, 58, "case 35");
        closes(&mut client, "case 35");

        let mut nonces = HashSet::new();
        for _ in 0..200 {
            let mut client = Client::connect(world.sasl);
            client.handshake(1, "SCRAM-SHA-256");
            let first = client.authenticate(format!("n,,n={SCRAM_USER},r={NONCE}").as_bytes()).unwrap();
            let message = String::from_utf8(first.auth_bytes.to_vec()).unwrap();
            let ours = parse_first(&message).0.strip_prefix(NONCE).unwrap().to_owned();
            assert!(ours.len() >= 24, "case 36: 18 bytes of chance are 24 characters, not {ours}");
            assert!(nonces.insert(ours), "case 36: the same nonce twice");
        }
        world.still_serves();
    }
}
