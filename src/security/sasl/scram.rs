//! SCRAM-SHA-256 and SCRAM-SHA-512, the server (RFC 5802, RFC 7677).
//!
//! Stricter than Kafka's `ScramSaslServer` where RFC 5802 says MUST: `c=` has to repeat the header, `m=` is refused. An
//! unknown user runs through the whole exchange with a stable made-up salt and fails at the proof, as a wrong password
//! does. One deviation is tolerated for clients in the field: the doubled nonce of librdkafka before 2.6.1.

use std::hint::select_unpredictable;
use std::sync::Arc;

use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{constant_time, rand};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::model::scram::{ScramCredential, ScramMechanism};
use crate::security::credentials::{Found, ScramCredentials, check_user_name};

use super::cause::{Cause, Reason};
use super::session::{Environment, Mechanism};
use super::{Step, VerifyRequest, scram_keys};

/// The longest message that is looked at, in bytes.
pub const MAX_MESSAGE: usize = 8 * 1024;
/// The longest nonce a client may bring, in bytes.
pub const MAX_CLIENT_NONCE: usize = 1024;
/// Random bytes in our half of the nonce.
const NONCE_BYTES: usize = 24;

/// The proof of a client, for the verifier.
#[derive(Debug)]
pub struct ScramProof {
    pub user: Arc<str>,
    pub mechanism: ScramMechanism,
    /// The peer sent its own nonce twice, as librdkafka before 2.6.1 does.
    pub doubled_nonce: bool,
    auth_message: Vec<u8>,
    proof: Vec<u8>,
    shown: Shown,
    /// Set where the credential is made up: why the login can't succeed, whatever the proof.
    doomed: Option<Reason>,
}

impl ScramProof {
    /// Checks the proof against the credential of the first message, and that this credential is still the one stored.
    /// Gives the server's last message.
    ///
    /// # Errors
    /// The cause. The work done is the same for a wrong password and for a user that does not exist.
    pub(in crate::security) fn verify(self, store: &ScramCredentials) -> Result<Vec<u8>, Cause> {
        let Self { user, mechanism, auth_message, proof, shown, doomed, .. } = self;
        let credential = shown.credential();
        let fail = |reason| Err(Cause::new(reason, Some(&user)));
        let matches = scram_keys::proof_matches(mechanism, &credential.stored_key, &auth_message, &proof);
        let unchanged = store.is_current(mechanism, &user, credential);
        match (doomed, matches, unchanged) {
            (Some(reason), _, _) => fail(reason),
            (None, false, _) => fail(Reason::WrongPassword),
            (None, true, false) => fail(Reason::CredentialChanged),
            (None, true, true) => {
                let signature = scram_keys::server_signature(mechanism, &credential.server_key, &auth_message);
                Ok(format!("v={}", STANDARD.encode(signature.as_ref())).into_bytes())
            }
        }
    }
}

/// The exchange, from the server's side.
#[derive(Debug)]
pub(super) struct Scram {
    mechanism: ScramMechanism,
    state: State,
}

#[derive(Debug)]
enum State {
    First,
    Final(Box<Waiting>),
    Over,
}

/// Between the two messages of the client.
#[derive(Debug)]
struct Waiting {
    user: Arc<str>,
    header: Vec<u8>,
    client_nonce: Vec<u8>,
    /// Client's and ours.
    nonce: Vec<u8>,
    /// client-first-message-bare `,` server-first-message `,`
    auth_message: Vec<u8>,
    shown: Shown,
    doomed: Option<Reason>,
}

impl Scram {
    pub(super) fn new(mechanism: ScramMechanism) -> Self {
        Self { mechanism, state: State::First }
    }

    fn first(&mut self, token: &[u8], environment: &Environment) -> Result<Vec<u8>, Cause> {
        let server_nonce = server_nonce().map_err(|_| Cause::new(Reason::Internal, None))?;
        let (waiting, message) = answer_first(self.mechanism, token, &server_nonce, &environment.scram)?;
        self.state = State::Final(Box::new(waiting));
        Ok(message)
    }
}

impl Mechanism for Scram {
    fn step(&mut self, token: &[u8], environment: &Environment) -> Step {
        if token.len() > MAX_MESSAGE {
            self.state = State::Over;
            return Step::Fail(Cause::new(Reason::Malformed("longer than 8 KiB"), None));
        }
        match std::mem::replace(&mut self.state, State::Over) {
            State::First => match self.first(token, environment) {
                Ok(message) => Step::Challenge(message),
                Err(cause) => Step::Fail(cause),
            },
            State::Final(waiting) => {
                let user = Arc::clone(&waiting.user);
                match check_final(self.mechanism, *waiting, token, environment.accept_doubled_nonce) {
                    Ok(proof) => Step::Verify(VerifyRequest::Scram(proof)),
                    Err(reason) => Step::Fail(Cause::new(reason, Some(&user))),
                }
            }
            State::Over => Step::Fail(Cause::new(Reason::AfterEnd, None)),
        }
    }
}

/// Our half of the nonce.
fn server_nonce() -> Result<String, Unspecified> {
    let mut random = [0; NONCE_BYTES];
    rand::fill(&mut random)?;
    Ok(URL_SAFE_NO_PAD.encode(random))
}

/// client-first-message → server-first-message.
fn answer_first(
    mechanism: ScramMechanism,
    token: &[u8],
    server_nonce: &str,
    store: &ScramCredentials,
) -> Result<(Waiting, Vec<u8>), Cause> {
    let first = ClientFirst::parse(token).map_err(|reason| Cause::new(reason, None))?;
    let user: Arc<str> = first.user.as_str().into();
    if let Err(e) = check_user_name(&user) {
        return Err(Cause::new(Reason::ForbiddenName(e.reason()), Some(&user)));
    }
    if first.authorization_id.as_ref().is_some_and(|id| *id != first.user) {
        return Err(Cause::new(Reason::AuthorizationIdDiffers, Some(&user)));
    }
    let (shown, doomed) = credential_for(mechanism, &user, first.token_authentication, store);
    let credential = shown.credential();
    let nonce = [first.nonce, server_nonce.as_bytes()].concat();
    let mut message = Vec::with_capacity(128);
    message.extend_from_slice(b"r=");
    message.extend_from_slice(&nonce);
    message
        .extend_from_slice(format!(",s={},i={}", STANDARD.encode(&credential.salt), credential.iterations).as_bytes());
    let auth_message = [first.bare, b",", &message, b","].concat();
    let waiting = Waiting {
        user,
        header: first.header.to_vec(),
        client_nonce: first.nonce.to_vec(),
        nonce,
        auth_message,
        shown,
        doomed,
    };
    Ok((waiting, message))
}

/// What the exchange goes on with: the user's credential, or one that nobody can tell from a real one and that no proof
/// satisfies. Both are kept until the end, so that both are given back there.
#[derive(Debug)]
struct Shown {
    own: ScramCredential,
    made_up: ScramCredential,
    is_own: bool,
}

impl Shown {
    fn credential(&self) -> &ScramCredential {
        select_unpredictable(self.is_own, &self.own, &self.made_up)
    }
}

fn credential_for(
    mechanism: ScramMechanism,
    user: &str,
    token_authentication: bool,
    store: &ScramCredentials,
) -> (Shown, Option<Reason>) {
    let Found { own, is_known, made_up, has_other, is_empty } = store.find(mechanism, user);
    let doomed = match is_known {
        _ if token_authentication => Some(Reason::DelegationToken),
        true if own.iterations < ScramMechanism::MIN_ITERATIONS => Some(Reason::WeakIterations(own.iterations)),
        true => None,
        false if has_other => Some(Reason::OtherMechanism(mechanism.other())),
        false if is_empty => Some(Reason::NoUsers),
        false => Some(Reason::UnknownUser),
    };
    (Shown { own, made_up, is_own: doomed.is_none() }, doomed)
}

/// client-final-message → what the verifier needs.
fn check_final(
    mechanism: ScramMechanism,
    waiting: Waiting,
    token: &[u8],
    accept_doubled_nonce: bool,
) -> Result<ScramProof, Reason> {
    let last = ClientFinal::parse(token)?;
    let same = |a: &[u8], b: &[u8]| constant_time::verify_slices_are_equal(a, b).is_ok();
    let doubled = [&*waiting.client_nonce, &*waiting.nonce].concat();
    let is_doubled = accept_doubled_nonce && same(last.nonce, &doubled);
    if !is_doubled && !same(last.nonce, &waiting.nonce) {
        return Err(Reason::NonceMismatch);
    }
    if last.channel_binding != waiting.header {
        return Err(Reason::HeaderMismatch);
    }
    let mut auth_message = waiting.auth_message;
    auth_message.extend_from_slice(last.without_proof);
    Ok(ScramProof {
        user: waiting.user,
        mechanism,
        doubled_nonce: is_doubled,
        auth_message,
        proof: last.proof,
        shown: waiting.shown,
        doomed: waiting.doomed,
    })
}

/// `n,[a=authzid],n=name,r=nonce[,extensions]`
#[derive(Debug, PartialEq, Eq)]
struct ClientFirst<'a> {
    /// gs2-header, with its last comma.
    header: &'a [u8],
    /// Everything after it.
    bare: &'a [u8],
    authorization_id: Option<String>,
    user: String,
    nonce: &'a [u8],
    /// Extension `tokenauth=true` (KIP-48): the name is a delegation token's id.
    token_authentication: bool,
}

impl<'a> ClientFirst<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Reason> {
        let mut commas = message.iter().enumerate().filter(|(_, b)| **b == b',').map(|(i, _)| i);
        let (Some(_), Some(end)) = (commas.next(), commas.next()) else {
            return Err(Reason::Malformed("first message without a gs2 header"));
        };
        let (header, bare) =
            message.split_at_checked(end.saturating_add(1)).ok_or(Reason::Malformed("first message ends early"))?;
        let authorization_id = parse_header(header)?;
        let mut fields = bare.split(|&b| b == b',');
        let name = match fields.next().and_then(attribute) {
            Some((b"n", name)) => name,
            Some((b"m", _)) => return Err(Reason::MandatoryExtension),
            _ => return Err(Reason::Malformed("first message without n=")),
        };
        let Some((b"r", nonce)) = fields.next().and_then(attribute) else {
            return Err(Reason::Malformed("first message without r="));
        };
        if !is_nonce(nonce) || nonce.len() > MAX_CLIENT_NONCE {
            return Err(Reason::Malformed("nonce is empty, too long or not printable"));
        }
        let token_authentication = extensions(fields, &[b"n", b"r", b"a", b"m"])?
            .into_iter()
            .any(|(key, value)| key == b"tokenauth" && value.eq_ignore_ascii_case(b"true"));
        Ok(Self { header, bare, authorization_id, user: sasl_name(name)?, nonce, token_authentication })
    }
}

/// `c=header,r=nonce[,extensions],p=proof`
#[derive(Debug, PartialEq, Eq)]
struct ClientFinal<'a> {
    channel_binding: Vec<u8>,
    nonce: &'a [u8],
    proof: Vec<u8>,
    without_proof: &'a [u8],
}

impl<'a> ClientFinal<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, Reason> {
        let comma = message.iter().rposition(|&b| b == b',').ok_or(Reason::Malformed("last message without p="))?;
        let (without_proof, tail) =
            message.split_at_checked(comma).ok_or(Reason::Malformed("last message ends early"))?;
        let Some((b"p", proof)) = tail.get(1..).and_then(attribute) else {
            return Err(Reason::Malformed("last message does not end with p="));
        };
        let mut fields = without_proof.split(|&b| b == b',');
        let Some((b"c", binding)) = fields.next().and_then(attribute) else {
            return Err(Reason::Malformed("last message without c="));
        };
        let Some((b"r", nonce)) = fields.next().and_then(attribute) else {
            return Err(Reason::Malformed("last message without r="));
        };
        extensions(fields, &[b"c", b"r", b"p", b"m"])?;
        let decode = |text| STANDARD.decode(text).map_err(|_| Reason::Malformed("not base64"));
        Ok(Self { channel_binding: decode(binding)?, nonce, proof: decode(proof)?, without_proof })
    }
}

/// gs2-header: `n,,` or `n,a=name,`. Channel binding (`p=…`) is not offered, and who could use it (`y`) is refused too,
/// as in Kafka.
fn parse_header(header: &[u8]) -> Result<Option<String>, Reason> {
    let mut fields = header.split(|&b| b == b',');
    match fields.next() {
        Some(b"n") => {}
        Some(b"y") => return Err(Reason::ChannelBinding),
        Some(flag) if flag.starts_with(b"p=") => return Err(Reason::ChannelBinding),
        _ => return Err(Reason::Malformed("unknown gs2 header")),
    }
    match fields.next() {
        Some(b"") => Ok(None),
        Some(field) => match attribute(field) {
            Some((b"a", name)) => sasl_name(name).map(Some),
            _ => Err(Reason::Malformed("unknown gs2 header")),
        },
        None => Err(Reason::Malformed("unknown gs2 header")),
    }
}

/// Key and value.
type Attribute<'a> = (&'a [u8], &'a [u8]);

/// `key=value`, the key one or more letters.
fn attribute(field: &[u8]) -> Option<Attribute<'_>> {
    let equals = field.iter().position(|&b| b == b'=')?;
    let (key, rest) = field.split_at_checked(equals)?;
    let is_key = !key.is_empty() && key.iter().all(u8::is_ascii_alphabetic);
    is_key.then(|| rest.get(1..)).flatten().map(|value| (key, value))
}

/// Optional extensions: unknown ones are ignored, but none may come twice or repeat what stands before them.
fn extensions<'a>(fields: impl Iterator<Item = &'a [u8]>, taken: &[&[u8]]) -> Result<Vec<Attribute<'a>>, Reason> {
    /// More than any client sends.
    const MAX_EXTENSIONS: usize = 16;
    let mut found: Vec<Attribute<'_>> = Vec::new();
    for field in fields {
        let (key, value) = attribute(field).ok_or(Reason::Malformed("malformed extension"))?;
        if key == b"m" {
            return Err(Reason::MandatoryExtension);
        }
        if taken.contains(&key) || found.iter().any(|(k, _)| *k == key) || found.len() >= MAX_EXTENSIONS {
            return Err(Reason::Malformed("attribute given twice"));
        }
        if value.is_empty() || value.contains(&0) {
            return Err(Reason::Malformed("malformed extension"));
        }
        found.push((key, value));
    }
    Ok(found)
}

/// saslname: UTF-8 in which `,` is `=2C` and `=` is `=3D`.
fn sasl_name(escaped: &[u8]) -> Result<String, Reason> {
    let text = str::from_utf8(escaped).map_err(|_| Reason::Malformed("name is not UTF-8"))?;
    if text.is_empty() || text.contains('\0') {
        return Err(Reason::Malformed("empty name"));
    }
    let mut name = String::with_capacity(text.len());
    let mut parts = text.split('=');
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (character, rest) = match part.split_at_checked(2) {
            Some(("2C", rest)) => (',', rest),
            Some(("3D", rest)) => ('=', rest),
            _ => return Err(Reason::Malformed("'=' in a name is written =3D, ',' is =2C")),
        };
        name.push(character);
        name.push_str(rest);
    }
    Ok(name)
}

/// printable: `!` to `~` without the comma.
fn is_nonce(nonce: &[u8]) -> bool {
    !nonce.is_empty() && nonce.iter().all(|&b| b.is_ascii_graphic() && b != b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::credentials::ScramChange;
    use crate::security::sasl::scram_keys;

    #[test]
    fn a_million_nonces_are_a_million() {
        let nonces: std::collections::HashSet<[u8; 32]> =
            (0..1_000_000).map(|_| server_nonce().unwrap().into_bytes().try_into().unwrap()).collect();
        assert_eq!(nonces.len(), 1_000_000);
    }

    /// The example of RFC 7677 section 3.
    #[test]
    fn follows_the_rfcs_example() {
        let store = ScramCredentials::new(&[1; 32]);
        let mechanism = ScramMechanism::Sha256;
        let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        let credential = scram_keys::credential_from_password(mechanism, b"pencil", &salt, 4096).unwrap();
        store.apply([ScramChange::Set { user: "user".into(), mechanism, credential }]);
        let (waiting, first) =
            answer_first(mechanism, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0", &store)
                .unwrap();
        assert_eq!(
            String::from_utf8(first).unwrap(),
            "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
        );
        let last = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let proof = check_final(mechanism, waiting, last, false).unwrap();
        assert_eq!(proof.verify(&store).unwrap(), b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    fn first(message: &str) -> Result<ClientFirst<'_>, Reason> {
        ClientFirst::parse(message.as_bytes())
    }

    #[test]
    fn reads_the_first_message() {
        let m = first("n,a=a=2Cb,n=a=2Cb,r=xyz,foo=bar,tokenauth=true").unwrap();
        assert_eq!((m.header, &*m.user, m.nonce), (b"n,a=a=2Cb,".as_slice(), "a,b", b"xyz".as_slice()));
        assert_eq!(m.authorization_id.as_deref(), Some("a,b"));
        assert!(m.token_authentication);
        assert_eq!(m.bare, b"n=a=2Cb,r=xyz,foo=bar,tokenauth=true");
        assert_eq!(first("n,,n=x=3D=3Dy,r=a").unwrap().user, "x==y");
        assert!(!first("n,,n=x,r=a,tokenauth=false").unwrap().token_authentication);
    }

    #[test]
    fn refuses_what_is_not_offered_or_not_allowed() {
        assert_eq!(first("y,,n=a,r=x"), Err(Reason::ChannelBinding));
        assert_eq!(first("p=tls-exporter,,n=a,r=x"), Err(Reason::ChannelBinding));
        assert_eq!(first("n,,m=ext,n=a,r=x"), Err(Reason::MandatoryExtension));
        assert_eq!(first("n,,n=a,r=x,m=ext"), Err(Reason::MandatoryExtension));
        for bad in [
            "",
            "n",
            "n,",
            "n,,",
            "n,,n",
            "n,,n=",
            "n,,n=a",
            "n,,n=a,",
            "n,,n=a,r",
            "n,,n=a,r=",
            "n,a,n=x,r=y",
            "n,b=x,n=x,r=y",
            "z,,n=a,r=x",
            "n,,n=bob,n=root,r=x",
            "n,,n=a,r=x,r=y",
            "n,,n=a,r=x,n=root",
            "n,,n=a,r=x,e=1,e=2",
            "n,,n=a=b,r=x",
            "n,,n=a=2c,r=x",
            "n,,n=a=,r=x",
            "n,,n=a,r=x y",
            "n,,n=a,r=x,1=2",
            "n,,n=a,r=x,",
            "n,,r=x,n=a",
            "n,a=,n=a,r=x",
        ] {
            assert!(matches!(first(bad), Err(Reason::Malformed(_))), "{bad}");
        }
        assert!(first(&format!("n,,n=a,r={}", "x".repeat(MAX_CLIENT_NONCE + 1))).is_err());
    }

    #[test]
    fn reads_the_last_message() {
        let m = ClientFinal::parse(b"c=biws,r=abc,x=1,p=AAAA").unwrap();
        assert_eq!((&*m.channel_binding, m.nonce, &*m.proof), (b"n,,".as_slice(), b"abc".as_slice(), &[0, 0, 0][..]));
        assert_eq!(m.without_proof, b"c=biws,r=abc,x=1");
        for bad in [
            "",
            "c",
            "c=biws",
            "c=biws,r",
            "c=biws,r=x",
            "c=biws,r=x,p",
            "c=biws,r=x,",
            "c=biws,r=x,p=AAAA,",
            "r=x,c=biws,p=AAAA",
            "c=biws,r=x,p=A",
            "c=biws,r=x,p=AA==AA",
            "c=biws,r=x,p=****",
            "c=biws,c=biws,r=x,p=AAAA",
            "c=biws,r=x,r=y,p=AAAA",
            "c=biws,r=x,p=AAAA,p=AAAA",
            "c=!,r=x,p=AAAA",
        ] {
            assert!(ClientFinal::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
