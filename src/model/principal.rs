//! Who a connection speaks for.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// `org.apache.kafka.common.security.auth.KafkaPrincipal`: a type and a name, compared byte for byte, never normalised.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KafkaPrincipal {
    kind: Arc<str>,
    name: Arc<str>,
}

/// The text has no `:`, or nothing before it (`SecurityUtils.parseKafkaPrincipal`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a string in format principalType:principalName but got {0}")]
pub struct ParsePrincipalError(pub String);

impl KafkaPrincipal {
    /// `KafkaPrincipal.USER_TYPE`
    pub const USER: &'static str = "User";

    pub fn new(kind: &str, name: &str) -> Self {
        Self { kind: kind.into(), name: name.into() }
    }

    pub fn user(name: &str) -> Self {
        Self::new(Self::USER, name)
    }

    /// `User:ANONYMOUS`: a peer on a listener that asks for no identity.
    pub fn anonymous() -> Self {
        Self::user("ANONYMOUS")
    }

    pub fn is_anonymous(&self) -> bool {
        &*self.kind == Self::USER && &*self.name == "ANONYMOUS"
    }

    pub fn kind(&self) -> &str {
        &self.kind
    }

    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for KafkaPrincipal {
    type Err = ParsePrincipalError;

    /// `Type:name`; the name may itself hold colons.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            Some((kind, name)) if !kind.is_empty() => Ok(Self::new(kind, name)),
            _ => Err(ParsePrincipalError(text.to_owned())),
        }
    }
}

impl fmt::Display for KafkaPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.name)
    }
}

impl fmt::Debug for KafkaPrincipal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
