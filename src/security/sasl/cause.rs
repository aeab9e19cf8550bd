//! Why a login failed: one text for the peer, another for the operator.
//!
//! The peer gets Kafka's constant text for its mechanism and nothing that tells whether a user exists. The operator gets
//! the user, what went wrong and what to do about it.

use std::fmt;

use crate::model::scram::ScramMechanism;

use super::SaslMechanism;

/// A failed login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cause {
    pub reason: Reason,
    /// As the peer spelled it, if it came that far. Untrusted text.
    pub user: Option<String>,
}

/// What went wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reason {
    /// PLAIN: so many parts instead of three (four stands for more).
    Tokens(usize),
    NoUserName,
    NoPassword,
    /// Longer than [`super::plain::MAX_PASSWORD`]; not hashed.
    PasswordTooLong,
    AuthorizationIdDiffers,
    UnknownUser,
    WrongPassword,
    /// `*`, `ANONYMOUS`, control characters.
    ForbiddenName(&'static str),
    /// A message that does not follow the mechanism's grammar.
    Malformed(&'static str),
    /// The listener has no users for this mechanism.
    NoUsers,
    /// The user has credentials, but for another mechanism.
    OtherMechanism(ScramMechanism),
    ChannelBinding,
    /// The `c=` of the last message is not the header of the first.
    HeaderMismatch,
    MandatoryExtension,
    NonceMismatch,
    DelegationToken,
    WeakIterations(i32),
    /// Changed or deleted between the two messages.
    CredentialChanged,
    /// The hashing queue is full or its deadline has passed.
    Overloaded,
    /// A token after the exchange had ended.
    AfterEnd,
    Internal,
}

impl Cause {
    pub fn new(reason: Reason, user: Option<&str>) -> Self {
        Self { reason, user: user.map(str::to_owned) }
    }

    /// What goes to the peer in `error_message`: Kafka's texts, which do not tell whether the user exists.
    pub fn outward(&self, mechanism: SaslMechanism) -> String {
        const OTHER_IDENTITY: &str =
            "Authentication failed: Client requested an authorization id that is different from username";
        match (mechanism, &self.reason) {
            (_, Reason::AuthorizationIdDiffers) => OTHER_IDENTITY.to_owned(),
            (SaslMechanism::Plain, Reason::Tokens(count)) => {
                format!("Invalid SASL/PLAIN response: expected 3 tokens, got {count}")
            }
            (SaslMechanism::Plain, Reason::NoUserName) => "Authentication failed: username not specified".to_owned(),
            (SaslMechanism::Plain, Reason::NoPassword) => "Authentication failed: password not specified".to_owned(),
            (SaslMechanism::Plain, _) => "Authentication failed: Invalid username or password".to_owned(),
            (SaslMechanism::Scram(_), _) => invalid_credentials(mechanism),
        }
    }

    /// What the operator should do.
    pub fn fix(&self) -> &'static str {
        match self.reason {
            Reason::Tokens(_) | Reason::Malformed(_) | Reason::AfterEnd => {
                "check which client this is: its messages do not follow the mechanism"
            }
            Reason::NoUserName | Reason::NoPassword => "set username and password in the client's sasl.jaas.config",
            Reason::PasswordTooLong => "use a password of at most 1024 bytes",
            Reason::AuthorizationIdDiffers => "remove the authorization id from the client's SASL settings",
            Reason::UnknownUser => "create the user, or correct the name in the client's sasl.jaas.config",
            Reason::WrongPassword => "correct the password in the client's sasl.jaas.config, or set a new one",
            Reason::ForbiddenName(_) => "give the user another name",
            Reason::NoUsers => {
                "add user_NAME=\"password\" to PlainLoginModule in the broker's JAAS section, or create SCRAM users"
            }
            Reason::OtherMechanism(_) => {
                "set the client's sasl.mechanism to one the user has, or add a credential for this one with kafka-configs"
            }
            Reason::ChannelBinding | Reason::HeaderMismatch => {
                "turn channel binding off in the client: no -PLUS mechanism is offered"
            }
            Reason::MandatoryExtension => "turn the extension off in the client: none is required here",
            Reason::NonceMismatch => {
                "update the client; if it is current, somebody between it and the broker changes messages"
            }
            Reason::DelegationToken => "log in with a password: delegation tokens are not enabled",
            Reason::WeakIterations(_) => "set the user's password again with iterations of at least 4096",
            Reason::CredentialChanged => "log in again: the user's password was changed during the login",
            Reason::Overloaded => "many logins at once: raise the deadline, add cores, or use SCRAM instead of PLAIN",
            Reason::Internal => "report this with the lines before it",
        }
    }
}

impl fmt::Display for Cause {
    /// What went wrong, for the operator. The user's name is not part of it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Reason::Tokens(count) => write!(f, "PLAIN message of {count} parts instead of 3"),
            Reason::NoUserName => f.write_str("empty user name"),
            Reason::NoPassword => f.write_str("empty password"),
            Reason::PasswordTooLong => f.write_str("password longer than 1024 bytes"),
            Reason::AuthorizationIdDiffers => f.write_str("asked to act for another user"),
            Reason::UnknownUser => f.write_str("no such user"),
            Reason::WrongPassword => f.write_str("wrong password"),
            Reason::ForbiddenName(why) => write!(f, "user name {why}"),
            Reason::Malformed(what) => write!(f, "malformed message: {what}"),
            Reason::NoUsers => f.write_str("this listener has no users for this mechanism"),
            Reason::OtherMechanism(has) => write!(f, "the user has a credential for {} only", has.name()),
            Reason::ChannelBinding => f.write_str("client asked for channel binding"),
            Reason::HeaderMismatch => f.write_str("channel binding data does not match the first message"),
            Reason::MandatoryExtension => f.write_str("client requires an extension (m=)"),
            Reason::NonceMismatch => f.write_str("nonce of the last message is not the one that was agreed"),
            Reason::DelegationToken => f.write_str("login with a delegation token"),
            Reason::WeakIterations(count) => write!(f, "stored credential has only {count} iterations"),
            Reason::CredentialChanged => f.write_str("credential changed during the login"),
            Reason::Overloaded => f.write_str("too many password checks waiting"),
            Reason::AfterEnd => f.write_str("message after the end of the exchange"),
            Reason::Internal => f.write_str("internal error in the mechanism"),
        }
    }
}

/// `SaslServerAuthenticator`'s text for whatever a mechanism refused without a text of its own.
fn invalid_credentials(mechanism: SaslMechanism) -> String {
    format!(
        "Authentication failed during authentication due to invalid credentials with SASL mechanism {}",
        mechanism.name()
    )
}
