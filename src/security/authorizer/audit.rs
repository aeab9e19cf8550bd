//! The line about a decision, as `kafka.authorizer.logger` prints it (`StandardAuthorizerData.buildAuditMessage`).

use std::fmt;

use crate::model::acl::AclBinding;
use crate::security::one_line::OneLine;

use super::{Action, Authorizer, Decision, Requester, Rule, Verdict};

/// The logger people filter and alert on.
pub const TARGET: &str = "kafka.authorizer.logger";

/// Kafka's audit line. Printable text comes out byte for byte; control characters in names are escaped, so that no name
/// can forge a second line.
#[derive(Debug)]
pub struct AuditLine<'a> {
    pub who: &'a Requester<'a>,
    pub action: &'a Action<'a>,
    pub decision: Decision,
    pub authorizer: &'a dyn Authorizer,
}

impl fmt::Display for AuditLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { who, action, decision, authorizer } = self;
        let verdict = if decision.is_allowed() { "Allowed" } else { "Denied" };
        write!(
            f,
            "Principal = {}:{} is {verdict} operation = {} from host = {} on resource = {}:LITERAL:{} for request = {} \
             with resourceRefCount = {} based on rule {}",
            OneLine(who.principal.kind()),
            OneLine(who.principal.name()),
            action.operation.name(),
            OneLine(who.host),
            action.resource_type.log_name(),
            OneLine(action.name),
            who.request,
            action.references,
            OneLine(&authorizer.rule_text(decision.rule())),
        )
    }
}

/// Writes the lines of one call: denied INFO, allowed DEBUG, filters TRACE. Text is made only where a level is enabled.
pub(super) fn log(authorizer: &dyn Authorizer, who: &Requester<'_>, actions: &[Action<'_>], decisions: &[Decision]) {
    for (action, &decision) in actions.iter().zip(decisions) {
        let line = AuditLine { who, action, decision, authorizer };
        match decision.verdict() {
            Verdict::Allowed if action.log_if_allowed => tracing::debug!(target: TARGET, "{line}"),
            Verdict::Denied if action.log_if_denied => tracing::info!(target: TARGET, "{line}"),
            _ => tracing::trace!(target: TARGET, "{line}"),
        }
    }
}

/// The rules that are not a binding, as Kafka names them; ours have names of the same kind.
pub(super) fn plain_rule_text(rule: Rule) -> &'static str {
    match rule {
        Rule::SuperUser => "SuperUser",
        Rule::DefaultAllow => "DefaultAllow",
        Rule::DefaultDeny => "DefaultDeny",
        Rule::NotReady => "NotReady",
        Rule::Open => "NoAuthorizer",
        Rule::Acl(_) => "MatchingAcl",
    }
}

/// `MatchingAclRule.toString` around `StandardAcl.toString`.
pub(super) fn acl_rule_text(acl: &AclBinding) -> String {
    format!(
        "MatchingAcl(acl=StandardAcl[resourceType={}, resourceName={}, patternType={}, principal={}, host={}, operation={}, \
         permissionType={}])",
        acl.pattern.resource_type.name(),
        acl.pattern.name,
        acl.pattern.pattern_type.name(),
        acl.principal,
        acl.host,
        acl.operation.name(),
        acl.permission.name(),
    )
}
