//! PLAIN (RFC 4616) as Kafka's `PlainSaslServer` reads it: no SASLprep, names compared byte for byte.

use std::sync::Arc;

use crate::model::secret::Secret;
use crate::security::credentials::check_user_name;

use super::cause::{Cause, Reason};
use super::session::{Environment, Mechanism};
use super::{PasswordClaim, Step, VerifyRequest};

/// Longer ones are refused before anything is computed from them, in bytes.
pub const MAX_PASSWORD: usize = 1024;

/// One message: `authzid NUL authcid NUL password`.
#[derive(Debug, Default)]
pub(super) struct Plain;

impl Mechanism for Plain {
    fn step(&mut self, token: &[u8], _: &Environment) -> Step {
        match parse(token) {
            Ok(claim) => Step::Verify(VerifyRequest::Password(claim)),
            Err(cause) => Step::Fail(cause),
        }
    }
}

/// `PlainSaslServer.extractTokens` and the checks that follow it, in its order.
fn parse(token: &[u8]) -> Result<PasswordClaim, Cause> {
    // At most four parts are told apart, as in Kafka.
    let mut parts = token.splitn(4, |&b| b == 0);
    let (Some(authorization_id), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        let count = token.iter().filter(|&&b| b == 0).count().saturating_add(1).min(4);
        return Err(Cause::new(Reason::Tokens(count), None));
    };
    let text = |bytes| str::from_utf8(bytes).map_err(|_| Cause::new(Reason::Malformed("not UTF-8"), None));
    let user = text(user)?;
    if user.is_empty() {
        return Err(Cause::new(Reason::NoUserName, None));
    }
    if password.is_empty() {
        return Err(Cause::new(Reason::NoPassword, Some(user)));
    }
    if let Err(e) = check_user_name(user) {
        return Err(Cause::new(Reason::ForbiddenName(e.reason()), Some(user)));
    }
    if password.len() > MAX_PASSWORD {
        return Err(Cause::new(Reason::PasswordTooLong, Some(user)));
    }
    let authorization_id = text(authorization_id)?;
    Ok(PasswordClaim {
        user: Arc::from(user),
        password: Secret::new(text(password)?),
        acts_for_another: !authorization_id.is_empty() && authorization_id != user,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(token: &[u8]) -> Reason {
        parse(token).unwrap_err().reason
    }

    #[test]
    fn reads_three_parts() {
        let claim = parse(b"\0alice\0secret").unwrap();
        assert_eq!((&*claim.user, claim.password.expose(), claim.acts_for_another), ("alice", "secret", false));
        assert!(!parse(b"alice\0alice\0s").unwrap().acts_for_another);
        assert!(parse(b"root\0alice\0s").unwrap().acts_for_another);
    }

    #[test]
    fn counts_parts_as_kafka_does() {
        assert_eq!(reason(b""), Reason::Tokens(1));
        assert_eq!(reason(b"alice"), Reason::Tokens(1));
        assert_eq!(reason(b"\0alice"), Reason::Tokens(2));
        assert_eq!(reason(b"\0alice\0a\0b"), Reason::Tokens(4));
        assert_eq!(reason(b"\0alice\0a\0b\0c\0d"), Reason::Tokens(4));
        assert_eq!(reason(b"\0\0secret"), Reason::NoUserName);
        assert_eq!(reason(b"\0alice\0"), Reason::NoPassword);
    }

    #[test]
    fn names_are_bytes_and_some_are_nobodys() {
        // Composed and decomposed are two users; full width is a third.
        let composed = parse("\0\u{e9}\0s".as_bytes()).unwrap().user;
        let decomposed = parse("\0e\u{301}\0s".as_bytes()).unwrap().user;
        assert_ne!(composed, decomposed);
        assert_ne!(&*parse("\0\u{ff21}\0s".as_bytes()).unwrap().user, "A");
        assert_eq!(&*parse(b"\0a;User:root\0s").unwrap().user, "a;User:root");
        for name in ["*", "ANONYMOUS", "a\nb", "a\u{7f}"] {
            assert!(matches!(reason(format!("\0{name}\0s").as_bytes()), Reason::ForbiddenName(_)), "{name:?}");
        }
        assert_eq!(reason(b"\0\xff\0s"), Reason::Malformed("not UTF-8"));
        assert_eq!(reason(b"\0a\0\xff"), Reason::Malformed("not UTF-8"));
    }

    #[test]
    fn long_passwords_are_refused_before_hashing() {
        let token = |len: usize| [b"\0alice\0".as_slice(), &vec![b'x'; len]].concat();
        assert!(parse(&token(MAX_PASSWORD)).is_ok());
        assert_eq!(reason(&token(MAX_PASSWORD + 1)), Reason::PasswordTooLong);
        assert_eq!(reason(&token(500 * 1024)), Reason::PasswordTooLong);
    }
}
