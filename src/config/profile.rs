//! How much the operator must say out loud before something is left open.

use std::fmt;
use std::str::FromStr;

/// `schloss.profile`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
pub enum Profile {
    /// What Schloss writes itself: what is open must be allowed by name.
    Strict,
    /// A file made for Kafka: starts as Kafka would, and says loudly what is open.
    #[default]
    Compat,
    /// Toys on loopback: silent.
    Dev,
}

/// No profile has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a profile (strict, compat or dev)")]
pub struct UnknownProfile(pub String);

impl Profile {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::Compat => "compat",
            Self::Dev => "dev",
        }
    }
}

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        [Self::Strict, Self::Compat, Self::Dev]
            .into_iter()
            .find(|profile| profile.name() == name)
            .ok_or_else(|| UnknownProfile(name.to_owned()))
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
