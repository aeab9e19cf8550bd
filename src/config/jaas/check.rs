//! What the login modules of a broker mean, and which of them may be there.
//!
//! Modules are looked up by class name in an allow-list, never loaded. Kafka's own switches can only narrow it
//! (`org.apache.kafka.allowed.login.modules`, and `…disallowed…`, which refuses the JNDI and LDAP modules by default).

use std::collections::BTreeSet;

use super::lexer::is_secret_option;
use super::{JaasOption, LoginModule};
use crate::config::diagnostics::{Code, Diagnostic, Diagnostics, Severity};
use crate::config::nearest::nearest;
use crate::config::profile::Profile;
use crate::config::source::{Origin, Place};
use crate::model::secret::Secret;

/// What a login module is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ModuleKind {
    Plain,
    Scram,
    OAuthBearer,
    /// Kerberos: known, not built.
    Krb5,
    Unknown,
}

impl ModuleKind {
    pub fn of(class: &str) -> Self {
        match class {
            "org.apache.kafka.common.security.plain.PlainLoginModule" => Self::Plain,
            "org.apache.kafka.common.security.scram.ScramLoginModule" => Self::Scram,
            "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule" => Self::OAuthBearer,
            "com.sun.security.auth.module.Krb5LoginModule" | "com.ibm.security.auth.module.Krb5LoginModule" => {
                Self::Krb5
            }
            _ => Self::Unknown,
        }
    }

    /// Options by exact name, and by prefix.
    const fn options(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Plain => (&["username", "password", "serviceName"], &["user_"]),
            Self::Scram => (&["username", "password", "tokenauth"], &[]),
            Self::OAuthBearer => (
                &[
                    "clientId",
                    "clientSecret",
                    "scope",
                    "unsecuredLoginPrincipalClaimName",
                    "unsecuredLoginLifetimeSeconds",
                    "unsecuredLoginScopeClaimName",
                    "unsecuredValidatorPrincipalClaimName",
                    "unsecuredValidatorScopeClaimName",
                    "unsecuredValidatorRequiredScope",
                    "unsecuredValidatorAllowableClockSkewMs",
                ],
                &[
                    "extension_",
                    "unsecuredLoginStringClaim_",
                    "unsecuredLoginNumberClaim_",
                    "unsecuredLoginListClaim_",
                    "unsecuredLoginExtension_",
                ],
            ),
            Self::Krb5 | Self::Unknown => (&[], &[""]),
        }
    }
}

/// Which modules may be used, and how strictly.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub profile: Profile,
    /// `org.apache.kafka.allowed.login.modules`: when set, only these.
    pub allowed: Option<Vec<String>>,
    /// `org.apache.kafka.disallowed.login.modules`, beside Kafka's own list.
    pub disallowed: Vec<String>,
}

/// Kafka 4.3.1's default refusals.
const DISALLOWED: [&str; 2] =
    ["com.sun.security.auth.module.JndiLoginModule", "com.sun.security.auth.module.LdapLoginModule"];

/// Passwords that documentation prints; whoever attacks tries them first.
const SAMPLES: [&str; 10] = [
    "admin-secret",
    "alice-secret",
    "bob-secret",
    "123456",
    "changeit",
    "admin",
    "password",
    "secret",
    "kafka",
    "test1234",
];

/// A PLAIN user: clear text, or an argon2id hash.
#[derive(Clone, Debug)]
pub struct PlainUser {
    pub name: String,
    pub password: Secret,
    pub place: Place,
}

impl PlainUser {
    /// Whether the value is a hash and not the password itself.
    pub fn is_hashed(&self) -> bool {
        self.password.expose().starts_with("$argon2id$")
    }
}

/// What the modules of one context say for one mechanism.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// `user_<name>` of the PlainLoginModules. The first module that names a user decides, as in Kafka.
    pub users: Vec<PlainUser>,
    /// `username` and `password`: what this broker uses to log in to other brokers.
    pub inter_broker: Option<(String, Secret)>,
}

/// Reads the modules a mechanism uses.
pub fn credentials(modules: &[LoginModule], kind: ModuleKind) -> Credentials {
    let mut out = Credentials::default();
    for module in modules.iter().filter(|module| ModuleKind::of(&module.class) == kind) {
        if let (None, Some(name), Some(password)) =
            (&out.inter_broker, module.option("username"), module.option("password"))
        {
            out.inter_broker = Some((name.expose().to_owned(), password.clone()));
        }
        if kind != ModuleKind::Plain {
            continue;
        }
        for option in &module.options {
            let Some(name) = option.key.strip_prefix("user_") else { continue };
            if !out.users.iter().any(|user| user.name == name) {
                let user = PlainUser {
                    name: name.to_owned(),
                    password: option.value.clone(),
                    place: module.key_place(option),
                };
                out.users.push(user);
            }
        }
    }
    out
}

/// PLAIN users whose password stands where all can read it who can read the file: one finding for each file.
#[derive(Clone, Debug, Default)]
pub struct ClearPasswords(Vec<(String, Place)>);

impl ClearPasswords {
    /// Users that are named; of the others only the number is told.
    const NAMED: usize = 3;

    /// What is to be said of them.
    pub fn findings(&self, profile: Profile) -> Diagnostics {
        let mut out = Diagnostics::new();
        let severity = match profile {
            Profile::Strict => Severity::Warning,
            Profile::Compat => Severity::Note,
            Profile::Dev => return out,
        };
        let mut seen: Vec<&Origin> = Vec::new();
        for (_, place) in &self.0 {
            if seen.contains(&&place.origin) {
                continue;
            }
            seen.push(&place.origin);
            let users = || self.0.iter().filter(|(_, other)| other.origin == place.origin);
            let names: BTreeSet<&str> = users().map(|(name, _)| name.as_str()).collect();
            let mut named = names.iter().take(Self::NAMED).copied().collect::<Vec<_>>().join(", ");
            if names.len() > Self::NAMED {
                named.push_str(", …");
            }
            let finding = Diagnostic::new(severity, Code::J0201).arg(names.len()).arg(named).at(place.clone());
            out.push(users().fold(finding, |finding, (name, Place { origin, line, column, .. })| {
                finding.with_detail(format!("{origin}:{line}:{column}: the password of {name} is in clear text"))
            }));
        }
        out
    }
}

/// Judges the modules of a context that the broker uses.
pub fn check(modules: &[LoginModule], rules: &Rules, clear: &mut ClearPasswords) -> Diagnostics {
    let mut out = Diagnostics::new();
    for module in modules {
        let kind = ModuleKind::of(&module.class);
        match admission(module, kind, rules) {
            Some(refusal) => out.push(refusal),
            None => {
                for option in &module.options {
                    check_option(module, kind, option, rules.profile, &mut out, clear);
                }
            }
        }
    }
    out
}

fn admission(module: &LoginModule, kind: ModuleKind, rules: &Rules) -> Option<Diagnostic> {
    let class = module.class.as_str();
    let listed_out = rules.allowed.as_ref().is_some_and(|allowed| !allowed.iter().any(|name| name == class))
        || (rules.allowed.is_none() && rules.disallowed.iter().any(|name| name == class));
    let code = match kind {
        ModuleKind::Krb5 => Code::J0021,
        ModuleKind::Unknown => Code::J0020,
        _ if listed_out || DISALLOWED.contains(&class) => Code::J0020,
        _ => return None,
    };
    Some(Diagnostic::error(code).arg(class).at(module.class_place()))
}

fn check_option(
    module: &LoginModule,
    kind: ModuleKind,
    option: &JaasOption,
    profile: Profile,
    out: &mut Diagnostics,
    clear: &mut ClearPasswords,
) {
    let key = option.key.as_str();
    let (names, prefixes) = kind.options();
    if !names.contains(&key) && !prefixes.iter().any(|prefix| key.starts_with(prefix)) {
        let known = names.iter().copied().chain(prefixes.iter().copied());
        let hint = nearest(key, known).map_or_else(String::new, |name| format!("did you mean {name} ?"));
        let place = module.key_place(option);
        out.push(Diagnostic::warning(Code::J0106).arg(module.short_name()).arg(key).arg(hint).at(place));
        return;
    }
    let user = key.strip_prefix("user_").filter(|_| kind == ModuleKind::Plain);
    if let Some(name) = user.filter(|name| !is_user_name(name)) {
        out.push(Diagnostic::error(Code::J0032).arg(name).at(module.key_place(option)));
    }
    if !is_secret_option(key) {
        return;
    }
    let who = user.or(module.option("username").map(Secret::expose)).unwrap_or(key);
    let value = option.value.expose();
    if value.is_empty() {
        out.push(Diagnostic::error(Code::J0031).arg(who).at(module.value_place(option)));
        return;
    }
    if SAMPLES.contains(&value) {
        let severity = match profile {
            Profile::Strict => Severity::Error,
            Profile::Compat => Severity::Warning,
            Profile::Dev => return,
        };
        out.push(Diagnostic::new(severity, Code::J0202).arg(who).at(module.key_place(option)));
    } else if let Some(user) = user
        && !value.starts_with("$argon2id$")
    {
        clear.0.push((user.to_owned(), module.key_place(option)));
    }
}

/// Names nobody may have: they mean something else, or would forge a log line.
fn is_user_name(name: &str) -> bool {
    !name.is_empty() && name != "*" && name != "ANONYMOUS" && !name.chars().any(char::is_control)
}
