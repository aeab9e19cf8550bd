//! Which authorizer judges, and for whom it does not.

use super::diagnostics::{Code, Diagnostic, Diagnostics, Severity};
use super::profile::Profile;
use super::values::Values;
use super::written::{Written, WrittenKeys};
use crate::model::listener::ListenerName;
use crate::model::principal::KafkaPrincipal;

/// The engine behind `authorizer.class.name`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthorizerKind {
    /// No authorizer: every client may do everything.
    None,
    /// ACLs in the metadata log, with Kafka's decision rules.
    Native,
}

/// Kafka's ACL authorizers, which the native one stands for.
const ACL_AUTHORIZERS: [&str; 3] = [
    "kafka.security.authorizer.AclAuthorizer",
    "kafka.security.auth.SimpleAclAuthorizer",
    "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
];

/// Who judges, and who need not be judged.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Authorization {
    pub kind: AuthorizerKind,
    pub super_users: Vec<KafkaPrincipal>,
    /// Listeners on which super users are super users; `None` for all. Strict: those where a peer can show who it is.
    pub super_user_listeners: Option<Vec<ListenerName>>,
    /// `allow.everyone.if.no.acl.found`
    pub allow_everyone_if_no_acl_found: bool,
}

/// Reads the keys. Errors are reported; the result is then not used.
pub(super) fn read(values: &Values, written: &WrittenKeys, profile: Profile, out: &mut Diagnostics) -> Authorization {
    let by_profile = |strict, compat| match profile {
        Profile::Strict => Some(strict),
        Profile::Compat => Some(compat),
        Profile::Dev => None,
    };
    let kind = match values.string("authorizer.class.name").as_deref() {
        None if profile == Profile::Strict && !values.is_set("authorizer.class.name") => AuthorizerKind::Native,
        None => {
            let severity = by_profile(Severity::Warning, Severity::Warning);
            let place = written.get("authorizer.class.name").map(Written::key_place);
            out.extend_maybe(severity.map(|severity| Diagnostic::new(severity, Code::A0110).at_maybe(place)));
            AuthorizerKind::None
        }
        Some(class) if ACL_AUTHORIZERS.contains(&class) => AuthorizerKind::Native,
        Some(class) => {
            let place = written.get("authorizer.class.name").map(Written::value_place);
            out.push(Diagnostic::error(Code::A0001).arg(class).at_maybe(place));
            AuthorizerKind::None
        }
    };
    let everyone = values.bool("allow.everyone.if.no.acl.found");
    if everyone {
        let confirmed = values.bool("schloss.allow.everyone");
        let strict = if confirmed { Severity::Warning } else { Severity::Error };
        let place = written.get("allow.everyone.if.no.acl.found").map(Written::key_place);
        let severity = by_profile(strict, Severity::Warning);
        out.extend_maybe(severity.map(|severity| Diagnostic::new(severity, Code::A0111).at_maybe(place)));
    }
    Authorization {
        kind,
        super_users: super_users(values, written, profile, out),
        super_user_listeners: super_user_listeners(values),
        allow_everyone_if_no_acl_found: everyone,
    }
}

/// `User:a;User:b`
fn super_users(values: &Values, written: &WrittenKeys, profile: Profile, out: &mut Diagnostics) -> Vec<KafkaPrincipal> {
    let text = values.string("super.users").unwrap_or_default();
    let place = || written.get("super.users").map(Written::value_place);
    let mut users = Vec::new();
    for user in text.split(';').map(str::trim).filter(|user| !user.is_empty()) {
        let principal: KafkaPrincipal = match user.parse() {
            Ok(principal) => principal,
            Err(error) => {
                out.push(Diagnostic::error(Code::A0002).arg(error).at_maybe(place()));
                continue;
            }
        };
        if principal.name().contains(",User:") {
            out.push(Diagnostic::warning(Code::A0003).arg(principal.name()).at_maybe(place()));
        }
        if principal.is_anonymous() {
            let severity = match profile {
                Profile::Strict => Some(Severity::Error),
                Profile::Compat => Some(Severity::Warning),
                Profile::Dev => None,
            };
            out.extend_maybe(severity.map(|severity| Diagnostic::new(severity, Code::A0004).at_maybe(place())));
        }
        users.push(principal);
    }
    users
}

fn super_user_listeners(values: &Values) -> Option<Vec<ListenerName>> {
    let names = values.is_set("schloss.super.users.listeners").then(|| values.list("schloss.super.users.listeners"))?;
    if names.iter().any(|name| name == "*") { None } else { Some(names.iter().map(|n| ListenerName::new(n)).collect()) }
}
