//! Whole exchanges: right ones, wrong ones, hostile ones.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use sasl::client::Mechanism as _;
use sasl::client::mechanisms::Scram;
use sasl::common::scram::Sha256;
use sasl::common::{ChannelBinding, Credentials};

use super::cause::Reason;
use super::session::Environment;
use super::*;
use crate::model::scram::ScramCredential;
use crate::model::time::Mono;
use crate::security::credentials::{PlainUsers, ScramChange, ScramCredentials};
use crate::security::password::hash_password;
use crate::security::verifier::{FailureDelay, ListenerLogins, Verdict, Verifier};

const SHA256: ScramMechanism = ScramMechanism::Sha256;
const SHA512: ScramMechanism = ScramMechanism::Sha512;

struct House {
    scram: Arc<ScramCredentials>,
    logins: ListenerLogins,
    verifier: Verifier,
}

/// Deriving keys is slow on purpose: once for all tests.
static CREDENTIALS: LazyLock<Vec<(Arc<str>, ScramMechanism, ScramCredential)>> = LazyLock::new(|| {
    [("alice", SHA256, 4096), ("bob", SHA512, 8192), ("weak", SHA256, 1000), ("a,b=c", SHA256, 4096)]
        .into_iter()
        .map(|(user, mechanism, iterations)| {
            let salt = b"0123456789abcdefghijklmnop";
            let credential = scram_keys::credential_from_password(mechanism, b"secret", salt, iterations).unwrap();
            (user.into(), mechanism, credential)
        })
        .collect()
});

fn house_with(accept_doubled_nonce: bool) -> House {
    let scram = Arc::new(ScramCredentials::new(&[3; 32]));
    scram.load(CREDENTIALS.iter().cloned());
    let plain = PlainUsers::new([("alice", &Secret::new("secret"))]).unwrap();
    let environment = Environment { scram: Arc::clone(&scram), accept_doubled_nonce };
    let logins = ListenerLogins::new(SaslMechanism::ALL.to_vec(), Arc::new(plain), environment).unwrap();
    House { scram, logins, verifier: Verifier::new(1, FailureDelay::Growing) }
}

fn house() -> House {
    house_with(true)
}

/// A client that can be told to misbehave.
struct Client<'a> {
    mechanism: ScramMechanism,
    user: &'a str,
    password: &'a str,
    header: &'a str,
    extensions: &'a str,
    /// Made from the nonce of the server's first message.
    nonce: fn(&str) -> String,
    binding: Option<&'a str>,
    proof: fn(Vec<u8>) -> Vec<u8>,
}

const CLIENT_NONCE: &str = "fyko+d2lbbFgONRv9qkxdawL";

impl Default for Client<'_> {
    fn default() -> Self {
        Self {
            mechanism: SHA256,
            user: "alice",
            password: "secret",
            header: "n,,",
            extensions: "",
            nonce: str::to_owned,
            binding: None,
            proof: |p| p,
        }
    }
}

impl Client<'_> {
    fn login(&self, house: &House) -> Result<String, Cause> {
        let mut server = house.logins.start(self.mechanism.name()).unwrap();
        let bare = format!("n={},r={CLIENT_NONCE}{}", self.user, self.extensions);
        let first = match server.step(format!("{}{bare}", self.header).as_bytes()) {
            Step::Challenge(bytes) => String::from_utf8(bytes).unwrap(),
            Step::Fail(cause) => return Err(cause),
            Step::Verify(_) => panic!("verify without a proof"),
        };
        let mut fields = first.split(',');
        let nonce = fields.next().unwrap().strip_prefix("r=").unwrap();
        let salt = STANDARD.decode(fields.next().unwrap().strip_prefix("s=").unwrap()).unwrap();
        let iterations: NonZeroU32 = fields.next().unwrap().strip_prefix("i=").unwrap().parse().unwrap();
        assert!(nonce.starts_with(CLIENT_NONCE) && nonce.len() >= CLIENT_NONCE.len() + 24, "{nonce}");
        let binding = STANDARD.encode(self.binding.unwrap_or(self.header));
        let without_proof = format!("c={binding},r={}", (self.nonce)(nonce));
        let auth_message = format!("{bare},{first},{without_proof}");
        let salted = scram_keys::salted_password(self.mechanism, self.password.as_bytes(), &salt, iterations);
        let (hmac_kind, hash_kind) = match self.mechanism {
            SHA256 => (hmac::HMAC_SHA256, &digest::SHA256),
            SHA512 => (hmac::HMAC_SHA512, &digest::SHA512),
        };
        let mac = |key: &[u8], message: &[u8]| hmac::sign(&hmac::Key::new(hmac_kind, key), message);
        let client_key = mac(&salted, b"Client Key");
        let stored_key = digest::digest(hash_kind, client_key.as_ref());
        let signature = mac(stored_key.as_ref(), auth_message.as_bytes());
        let proof = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b).collect();
        let last = format!("{without_proof},p={}", STANDARD.encode((self.proof)(proof)));
        match server.step(last.as_bytes()) {
            Step::Verify(request) => match house.verifier.verify(request, &house.logins) {
                Verdict::Accepted(identity) => {
                    let expected = mac(mac(&salted, b"Server Key").as_ref(), auth_message.as_bytes());
                    let expected = format!("v={}", STANDARD.encode(expected.as_ref()));
                    assert_eq!(String::from_utf8(identity.final_message.clone()).unwrap(), expected);
                    Ok(format!("{}{}", identity.principal(), if identity.doubled_nonce { " doubled" } else { "" }))
                }
                Verdict::Refused(cause) => Err(cause),
                Verdict::Check(_) => panic!("nothing costly in SCRAM"),
            },
            Step::Fail(cause) => Err(cause),
            Step::Challenge(_) => panic!("a third round"),
        }
    }

    fn reason(&self, house: &House) -> Reason {
        self.login(house).unwrap_err().reason
    }
}

#[test]
fn the_right_password_logs_in() {
    let house = house();
    assert_eq!(Client::default().login(&house).unwrap(), "User:alice");
    assert_eq!(Client { mechanism: SHA512, user: "bob", ..Client::default() }.login(&house).unwrap(), "User:bob");
    assert_eq!(Client { user: "a=2Cb=3Dc", ..Client::default() }.login(&house).unwrap(), "User:a,b=c");
    assert_eq!(Client { header: "n,a=alice,", ..Client::default() }.login(&house).unwrap(), "User:alice");
    assert_eq!(Client { extensions: ",x=y", ..Client::default() }.login(&house).unwrap(), "User:alice");
}

/// An exchange of the `sasl` crate's client up to its last message.
fn independent_client(house: &House) -> (Scram<Sha256>, SaslServer, Vec<u8>) {
    let credentials = Credentials::default().with_username("alice").with_password("secret");
    let mut client = Scram::<Sha256>::from_credentials(credentials.with_channel_binding(ChannelBinding::None)).unwrap();
    let mut server = house.logins.start("SCRAM-SHA-256").unwrap();
    let Step::Challenge(challenge) = server.step(&client.initial()) else { panic!("no challenge") };
    let last = client.response(&challenge).unwrap();
    (client, server, last)
}

#[test]
fn an_independent_client_logs_in() {
    let house = house();
    let (mut client, mut server, last) = independent_client(&house);
    let Step::Verify(request) = server.step(&last) else { panic!("no proof") };
    let Verdict::Accepted(identity) = house.verifier.verify(request, &house.logins) else { panic!("refused") };
    client.success(&identity.final_message).expect("the server knows the password too");
    assert!(matches!(server.step(b"again"), Step::Fail(Cause { reason: Reason::AfterEnd, .. })));
}

#[test]
fn wrong_passwords_and_unknown_users_fail_alike_at_the_proof() {
    let house = house();
    let wrong = Client { password: "wrong", ..Client::default() }.login(&house).unwrap_err();
    let unknown = Client { user: "nobody", ..Client::default() }.login(&house).unwrap_err();
    assert_eq!((&wrong.reason, &unknown.reason), (&Reason::WrongPassword, &Reason::UnknownUser));
    let mechanism = SaslMechanism::Scram(SHA256);
    assert_eq!(wrong.outward(mechanism), unknown.outward(mechanism));
    assert_eq!(
        wrong.outward(mechanism),
        "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256"
    );
    assert_eq!(Client { user: "bob", ..Client::default() }.reason(&house), Reason::OtherMechanism(SHA512));
    assert_eq!(Client { user: "weak", ..Client::default() }.reason(&house), Reason::WeakIterations(1000));
    assert_eq!(Client { extensions: ",tokenauth=true", ..Client::default() }.reason(&house), Reason::DelegationToken);
    house.scram.load([]);
    assert_eq!(Client::default().reason(&house), Reason::NoUsers);
}

#[test]
fn attacks_on_the_exchange_are_refused() {
    let house = house();
    let base = Client::default;
    assert_eq!(Client { header: "n,a=root,", ..base() }.reason(&house), Reason::AuthorizationIdDiffers);
    assert_eq!(Client { nonce: |n| format!("EVIL{n}"), ..base() }.reason(&house), Reason::NonceMismatch);
    assert_eq!(Client { nonce: |n| n[..n.len() - 4].into(), ..base() }.reason(&house), Reason::NonceMismatch);
    assert_eq!(Client { nonce: |n| n.to_lowercase(), ..base() }.reason(&house), Reason::NonceMismatch);
    assert_eq!(Client { binding: Some("y,,"), ..base() }.reason(&house), Reason::HeaderMismatch);
    assert_eq!(Client { binding: Some("n,a=alice,"), ..base() }.reason(&house), Reason::HeaderMismatch);
    assert_eq!(Client { header: "y,,", ..base() }.reason(&house), Reason::ChannelBinding);
    assert_eq!(Client { header: "p=tls-exporter,,", ..base() }.reason(&house), Reason::ChannelBinding);
    assert_eq!(Client { header: "n,,m=ext,", ..base() }.reason(&house), Reason::MandatoryExtension);
    assert_eq!(Client { extensions: ",m=ext", ..base() }.reason(&house), Reason::MandatoryExtension);
    assert!(matches!(Client { extensions: ",n=root", ..base() }.reason(&house), Reason::Malformed(_)));
    assert_eq!(Client { proof: |p| vec![0; p.len()], ..base() }.reason(&house), Reason::WrongPassword);
    assert_eq!(Client { proof: |_| vec![], ..base() }.reason(&house), Reason::WrongPassword);
    assert_eq!(
        Client {
            proof: |mut p| {
                p.push(0);
                p
            },
            ..base()
        }
        .reason(&house),
        Reason::WrongPassword
    );
    assert_eq!(Client { proof: |p| p[..16].into(), ..base() }.reason(&house), Reason::WrongPassword);
    assert!(matches!(Client { user: "*", ..base() }.reason(&house), Reason::ForbiddenName(_)));
    assert!(matches!(Client { user: "a\nb", ..base() }.reason(&house), Reason::ForbiddenName(_)));
}

#[test]
fn librdkafkas_doubled_nonce_is_taken_unless_refused() {
    let doubled = Client { nonce: |n| format!("{CLIENT_NONCE}{n}"), ..Client::default() };
    assert_eq!(doubled.login(&house()).unwrap(), "User:alice doubled");
    assert_eq!(doubled.reason(&house_with(false)), Reason::NonceMismatch);
    let tripled = Client { nonce: |n| format!("{CLIENT_NONCE}{CLIENT_NONCE}{n}"), ..Client::default() };
    assert_eq!(tripled.reason(&house()), Reason::NonceMismatch);
    let wrong = Client { nonce: |n| format!("{CLIENT_NONCE}{n}"), password: "wrong", ..Client::default() };
    assert_eq!(wrong.reason(&house()), Reason::WrongPassword);
}

#[test]
fn a_recorded_exchange_does_not_work_twice() {
    let house = house();
    let first = format!("n,,n=alice,r={CLIENT_NONCE}");
    let challenge = || match house.logins.start("SCRAM-SHA-256").unwrap().step(first.as_bytes()) {
        Step::Challenge(bytes) => bytes,
        other => panic!("{other:?}"),
    };
    let nonces: std::collections::HashSet<Vec<u8>> = (0..1000).map(|_| challenge()).collect();
    assert_eq!(nonces.len(), 1000);
}

#[test]
fn a_password_changed_between_the_messages_ends_the_login() {
    let house = house();
    let (_, mut server, last) = independent_client(&house);
    let Step::Verify(request) = server.step(&last) else { panic!("no proof") };
    house.scram.apply([ScramChange::Remove { user: "alice".into(), mechanism: SHA256 }]);
    let verdict = house.verifier.verify(request, &house.logins);
    assert!(matches!(verdict, Verdict::Refused(Cause { reason: Reason::CredentialChanged, .. })), "{verdict:?}");
}

#[test]
fn mechanisms_are_named_exactly_and_offered_per_listener() {
    let house = house();
    for name in ["plain", "SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "", "GSSAPI", "PLAIN "] {
        assert!(house.logins.start(name).is_none(), "{name}");
    }
    let environment = Environment { scram: Arc::clone(&house.scram), accept_doubled_nonce: true };
    let only = ListenerLogins::new(vec![SaslMechanism::Plain], Arc::default(), environment).unwrap();
    assert!(only.start("PLAIN").is_some());
    assert!(only.start("SCRAM-SHA-256").is_none());
}

fn plain(house: &House, token: &str) -> Result<String, Cause> {
    let mut server = house.logins.start("PLAIN").unwrap();
    match server.step(token.as_bytes()) {
        Step::Verify(request) => match house.verifier.verify(request, &house.logins) {
            Verdict::Accepted(identity) => Ok(identity.principal().to_string()),
            Verdict::Refused(cause) => Err(cause),
            Verdict::Check(pending) => {
                let right = pending.check.run();
                match house.verifier.conclude(pending, right) {
                    Verdict::Accepted(identity) => Ok(identity.principal().to_string()),
                    Verdict::Refused(cause) => Err(cause),
                    Verdict::Check(_) => panic!("a second check"),
                }
            }
        },
        Step::Fail(cause) => Err(cause),
        Step::Challenge(_) => panic!("PLAIN has one message"),
    }
}

#[test]
fn plain_answers_with_kafkas_texts() {
    let house = house();
    assert_eq!(plain(&house, "\0alice\0secret").unwrap(), "User:alice");
    let text = |token: &str| plain(&house, token).unwrap_err().outward(SaslMechanism::Plain);
    assert_eq!(text("\0alice\0wrong"), "Authentication failed: Invalid username or password");
    assert_eq!(text("\0nobody\0secret"), "Authentication failed: Invalid username or password");
    assert_eq!(text("\0*\0secret"), "Authentication failed: Invalid username or password");
    assert_eq!(
        text("root\0alice\0secret"),
        "Authentication failed: Client requested an authorization id that is different from username"
    );
    assert_eq!(text("root\0alice\0wrong"), "Authentication failed: Invalid username or password");
    assert_eq!(text("\0\0secret"), "Authentication failed: username not specified");
    assert_eq!(text("\0alice\0"), "Authentication failed: password not specified");
    assert_eq!(text(""), "Invalid SASL/PLAIN response: expected 3 tokens, got 1");
    assert_eq!(text("\0a\0b\0c"), "Invalid SASL/PLAIN response: expected 3 tokens, got 4");
}

#[test]
fn hashed_passwords_are_checked_once_and_remembered() {
    let mut house = house();
    let hash = Secret::new(hash_password(&Secret::new("secret")).unwrap());
    let users = PlainUsers::new([("alice", &hash), ("clear", &Secret::new("secret"))]).unwrap();
    let environment = Environment { scram: Arc::clone(&house.scram), accept_doubled_nonce: true };
    house.logins = ListenerLogins::new(vec![SaslMechanism::Plain], Arc::new(users), environment).unwrap();
    let is_check = |token: &[u8]| {
        let Step::Verify(request) = house.logins.start("PLAIN").unwrap().step(token) else { panic!() };
        matches!(house.verifier.verify(request, &house.logins), Verdict::Check(_))
    };
    // Known, unknown and clear-text users all cost one hash.
    for token in ["\0alice\0wrong", "\0nobody\0secret", "\0clear\0wrong"] {
        assert!(is_check(token.as_bytes()), "{token}");
        assert!(plain(&house, token).is_err());
        assert!(is_check(token.as_bytes()), "a failure is not remembered as a success");
    }
    assert_eq!(plain(&house, "\0alice\0secret").unwrap(), "User:alice");
    assert!(!is_check(b"\0alice\0secret"), "remembered");
    assert!(is_check(b"\0alic\0esecret"), "name and password are not run together");
    assert_eq!(plain(&house, "root\0alice\0secret").unwrap_err().reason, Reason::AuthorizationIdDiffers);
    assert_eq!(plain(&house, "\0clear\0secret").unwrap(), "User:clear");
}

#[test]
fn failures_are_answered_later_and_later() {
    let house = house();
    let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    let at = |s: u64| Mono(s * 1_000_000_000);
    let delays: Vec<u64> = (0..6).map(|i| house.verifier.failed(one, Some("alice"), at(i)).as_secs()).collect();
    assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
    assert_eq!(house.verifier.failed(two, Some("alice"), at(7)).as_secs(), 1);
    assert_eq!(house.verifier.failed(one, Some("bob"), at(7)).as_secs(), 1);
    house.verifier.succeeded(one, "alice");
    assert_eq!(house.verifier.failed(one, Some("alice"), at(8)).as_secs(), 1);
    assert_eq!(house.verifier.failed(one, Some("alice"), at(1000)).as_secs(), 1, "forgotten after a while");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever comes, no mechanism panics, and nothing but the right proof is accepted.
    #[test]
    fn any_bytes_are_answered(
        mechanism in prop::sample::select(SaslMechanism::ALL.to_vec()),
        tokens in prop::collection::vec(prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "[nyp],(a=[a-z=,23CD]{0,8})?,(m=x,)?n=[a-z=,23CD]{0,8},r=[!-~]{0,20}(,[a-z]=[!-~]{0,8}){0,3}".prop_map(String::into_bytes),
            "c=(biws|[A-Za-z0-9+/=]{0,8}),r=[!-~]{0,60}(,[a-z]=[!-~]{0,8}){0,2},p=[A-Za-z0-9+/=]{0,90}".prop_map(String::into_bytes),
        ], 1..4),
    ) {
        let house = house();
        let mut server = house.logins.start(mechanism.name()).unwrap();
        for token in tokens {
            match server.step(&token) {
                Step::Challenge(bytes) => prop_assert!(!bytes.is_empty()),
                Step::Fail(cause) => {
                    prop_assert!(!cause.outward(mechanism).is_empty());
                    prop_assert!(!cause.to_string().is_empty() && !cause.fix().is_empty());
                }
                Step::Verify(request) => {
                    prop_assert!(!matches!(house.verifier.verify(request, &house.logins), Verdict::Accepted(_)));
                }
            }
        }
    }
}

/// A right exchange with one byte changed anywhere is never accepted.
#[test]
fn a_changed_byte_spoils_the_login() {
    let house = house();
    let (_, _, template) = independent_client(&house);
    for at in (0..template.len()).step_by(7) {
        let (_, mut server, mut last) = independent_client(&house);
        last[at] ^= 1;
        if let Step::Verify(request) = server.step(&last) {
            assert!(!matches!(house.verifier.verify(request, &house.logins), Verdict::Accepted(_)), "byte {at}");
        }
    }
}
