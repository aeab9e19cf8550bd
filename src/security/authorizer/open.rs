//! No authorizer (`authorizer.class.name` empty): everybody may do everything, and ACL requests answer SECURITY_DISABLED.

use crate::model::acl::{AclBinding, AclOperation};
use crate::model::resource::ResourceType;

use super::filter::AclFilter;
use super::{Action, Answer, Authorizer, Decision, Requester, Rule, Verdict};

/// Allows. There for the *compat* and *dev* profiles, and for tests.
#[derive(Debug, Default, Clone, Copy)]
pub struct OpenAuthorizer;

const ALLOWED: Decision = Decision { verdict: Verdict::Allowed, rule: Rule::Open, generation: 0, metadata_offset: -1 };

impl Authorizer for OpenAuthorizer {
    fn authorize(&self, _: &Requester<'_>, actions: &[Action<'_>]) -> Answer<Vec<Decision>> {
        Answer::Ready(vec![ALLOWED; actions.len()])
    }

    fn authorize_by_resource_type(&self, _: &Requester<'_>, _: AclOperation, _: ResourceType) -> Answer<Decision> {
        Answer::Ready(ALLOWED)
    }

    fn generation(&self) -> u64 {
        0
    }

    fn rule_text(&self, rule: Rule) -> String {
        super::audit::plain_rule_text(rule).to_owned()
    }

    fn acls(&self, _: &AclFilter) -> Option<Vec<AclBinding>> {
        None
    }
}
