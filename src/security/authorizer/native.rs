//! Kafka's own rules, in memory: `org.apache.kafka.metadata.authorizer.StandardAuthorizer` of 4.3.1.
//!
//! 1. A super user may everything (on the listeners that honour super users).
//! 2. Until the rules are loaded nobody else may anything.
//! 3. A matching DENY wins, be it literal, prefixed or `*`.
//! 4. ALLOW of Read, Write, Delete or Alter implies Describe; of AlterConfigs, DescribeConfigs; All implies all. A DENY
//!    implies nothing, except of All.
//! 5. Nothing matched: denied if any binding is about this resource, else `allow.everyone.if.no.acl.found` decides.
//!
//! In every profile a DENY of `*` also reaches names that begin with `*`, which Kafka's search passes over by mistake.
//! *strict* takes two things back from ALLOW, never from DENY: `User:*` does not mean ANONYMOUS, and neither a wildcard
//! nor a prefix reaches an internal topic.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::config::Profile;
use crate::config::authorization::Authorization;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::listener::ListenerName;
use crate::model::principal::KafkaPrincipal;
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};
use crate::model::topic::TopicName;
use crate::model::uuid::Uuid;

use super::filter::AclFilter;
use super::index::{Entry, Index, Resource, TypeIndex};
use super::{Action, Answer, Authorizer, Decision, Requester, Rule, Verdict, audit};

/// What the metadata log says about bindings.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AclChange {
    Add(Uuid, AclBinding),
    Remove(Uuid),
}

/// What configuration says.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `super.users`
    pub super_users: HashSet<KafkaPrincipal>,
    /// `schloss.super.users.listeners`; `None` is every listener, as in Kafka.
    pub super_user_listeners: Option<HashSet<ListenerName>>,
    /// `allow.everyone.if.no.acl.found`
    pub allow_everyone_if_no_acl_found: bool,
    /// `schloss.profile=strict`
    pub strict: bool,
}

impl Settings {
    pub fn new(authorization: &Authorization, profile: Profile) -> Self {
        Self {
            super_users: authorization.super_users.iter().cloned().collect(),
            super_user_listeners: authorization.super_user_listeners.as_ref().map(|l| l.iter().cloned().collect()),
            allow_everyone_if_no_acl_found: authorization.allow_everyone_if_no_acl_found,
            strict: profile == Profile::Strict,
        }
    }
}

/// Fed by the publisher of metadata changes, read by every connection without a lock.
pub struct NativeAuthorizer {
    settings: Settings,
    user_wildcard: KafkaPrincipal,
    current: ArcSwap<Snapshot>,
    /// The last metadata offset that was looked at, with or without a change to bindings.
    offset: AtomicI64,
    /// One writer at a time.
    writer: Mutex<()>,
}

#[derive(Clone, Debug, Default)]
struct Snapshot {
    generation: u64,
    ready: bool,
    index: Index,
}

impl fmt::Debug for NativeAuthorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let current = self.current.load();
        f.debug_struct("NativeAuthorizer")
            .field("acls", &current.index.len())
            .field("generation", &current.generation)
            .field("ready", &current.ready)
            .finish_non_exhaustive()
    }
}

impl NativeAuthorizer {
    /// An authorizer without bindings that refuses everybody but super users until [`Self::complete_initial_load`].
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            user_wildcard: KafkaPrincipal::user("*"),
            current: ArcSwap::default(),
            offset: AtomicI64::new(-1),
            writer: Mutex::new(()),
        }
    }

    /// Carries out the changes of the metadata log up to and including `offset`.
    pub fn apply(&self, changes: impl IntoIterator<Item = AclChange>, offset: i64) {
        let mut changes = changes.into_iter().peekable();
        if changes.peek().is_some() {
            self.change(|next| next.index.apply(changes));
        }
        self.offset.store(offset, Ordering::Release);
    }

    /// Replaces everything, as after loading a snapshot of the metadata.
    pub fn load(&self, bindings: impl IntoIterator<Item = (Uuid, AclBinding)>, offset: i64) {
        self.change(|next| {
            next.index = Index::default();
            next.index.apply(bindings.into_iter().map(|(id, binding)| AclChange::Add(id, binding)));
        });
        self.offset.store(offset, Ordering::Release);
    }

    /// The rules are complete: from here on decisions are made by them.
    pub fn complete_initial_load(&self) {
        self.change(|next| next.ready = true);
    }

    fn change(&self, edit: impl FnOnce(&mut Snapshot)) {
        let _writer = self.writer.lock();
        let mut next = Snapshot::clone(&self.current.load());
        edit(&mut next);
        next.generation = next.generation.saturating_add(1);
        self.current.store(Arc::new(next));
    }

    /// How many bindings there are.
    pub fn acl_count(&self) -> usize {
        self.current.load().index.len()
    }

    /// Is exactly this binding there already? CreateAcls answers such a one with success and writes nothing.
    pub fn contains(&self, binding: &AclBinding) -> bool {
        self.current.load().index.contains(binding)
    }

    /// Ids and bindings that a filter selects, for DeleteAcls.
    pub fn select(&self, filter: &AclFilter) -> Vec<(Uuid, Arc<AclBinding>)> {
        let current = self.current.load();
        let selected = current.index.iter().filter(|(_, binding)| filter.matches(binding));
        let mut selected: Vec<_> = selected.map(|(id, binding)| (*id, Arc::clone(binding))).collect();
        selected.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
        selected
    }

    /// How many entries a decision about this principal and name walks over.
    #[cfg(test)]
    pub(super) fn entries_seen(&self, resource_type: ResourceType, name: &str, principal: &KafkaPrincipal) -> usize {
        let current = self.current.load();
        let Some(types) = current.index.of_type(resource_type) else { return 0 };
        let resources = [types.literal(name), types.literal(ResourcePattern::WILDCARD)];
        let resources = resources.into_iter().flatten().chain(types.prefixes_of(name));
        let slices = resources.flat_map(|r| [r.get(principal), r.get(&self.user_wildcard)]);
        slices.flatten().map(|entries| entries.len()).sum()
    }

    fn is_super_user(&self, who: &Requester<'_>) -> bool {
        self.settings.super_users.contains(who.principal)
            && self.settings.super_user_listeners.as_ref().is_none_or(|listeners| listeners.contains(who.listener))
    }

    fn decide(&self, current: &Snapshot, who: &Requester<'_>, action: &Action<'_>) -> (Verdict, Rule) {
        if self.is_super_user(who) {
            return (Verdict::Allowed, Rule::SuperUser);
        }
        if !current.ready {
            return (Verdict::Denied, Rule::NotReady);
        }
        let Some(types) = current.index.of_type(action.resource_type) else {
            return (Verdict::Denied, Rule::DefaultDeny);
        };
        self.find_rule(types, who, action)
    }

    /// `StandardAuthorizerData.findAclRule`. Where several bindings match, the one that is named is the one Kafka names:
    /// the first DENY, the last ALLOW, in the order literal, longest to shortest prefix, wildcard.
    fn find_rule(&self, types: &TypeIndex, who: &Requester<'_>, action: &Action<'_>) -> (Verdict, Rule) {
        let mut search = Search {
            who,
            operation: action.operation,
            user_wildcard: &self.user_wildcard,
            wildcard_covers: !(self.settings.strict && who.principal.is_anonymous()),
            allow: None,
            any: false,
        };
        let guarded = self.settings.strict
            && action.resource_type == ResourceType::Topic
            && TopicName::is_internal_name(action.name);
        let literal = types.literal(action.name).map(|r| (r, true));
        let prefixed = types.prefixes_of(action.name).map(|r| (r, !guarded));
        for (resource, may_allow) in literal.into_iter().chain(prefixed) {
            if let Some(deny) = search.visit(resource, may_allow) {
                return (Verdict::Denied, Rule::Acl(deny));
            }
        }
        if action.name != ResourcePattern::WILDCARD
            && let Some(wildcard) = types.literal(ResourcePattern::WILDCARD)
        {
            // Kafka's search takes the wildcard for a shorter name where the name itself begins with `*`, and passes over
            // it. An ALLOW stays without effect here too; a DENY does not, or `*x` would be a way around it.
            let hidden = action.name.starts_with(ResourcePattern::WILDCARD);
            let any = search.any;
            if let Some(deny) = search.visit(wildcard, !guarded && !hidden) {
                return (Verdict::Denied, Rule::Acl(deny));
            }
            if hidden {
                search.any = any;
            }
        }
        match search.allow {
            Some(id) => (Verdict::Allowed, Rule::Acl(id)),
            None if !search.any && self.settings.allow_everyone_if_no_acl_found => {
                (Verdict::Allowed, Rule::DefaultAllow)
            }
            None => (Verdict::Denied, Rule::DefaultDeny),
        }
    }

    /// The default method of Kafka's `Authorizer` interface, which StandardAuthorizer inherits: only the operation itself
    /// and All count, no implication.
    fn decide_by_type(
        &self,
        current: &Snapshot,
        who: &Requester<'_>,
        operation: AclOperation,
        resource_type: ResourceType,
    ) -> (Verdict, Rule) {
        // Kafka asks about one made-up name first: it catches super users, wildcards and the default.
        let probe = self.decide(current, who, &Action::new(operation, resource_type, "hardcode"));
        if probe.0 == Verdict::Allowed || !current.ready {
            return probe;
        }
        let Some(types) = current.index.of_type(resource_type) else { return probe };
        let wildcard_covers = !(self.settings.strict && who.principal.is_anonymous());
        let mut denied = ByKind::default();
        let mut allowed = ByKind::default();
        for (principal, may_allow) in [(who.principal, true), (&self.user_wildcard, wildcard_covers)] {
            for (kind, name, entries) in types.patterns_of(principal) {
                let relevant = entries.iter().filter(|e| {
                    (e.operation == operation || e.operation == AclOperation::All) && e.matches_host(who.host)
                });
                for entry in relevant {
                    match entry.permission {
                        AclPermission::Deny => denied.insert(kind, name, entry.id),
                        AclPermission::Allow if may_allow => allowed.insert(kind, name, entry.id),
                        _ => {}
                    }
                }
            }
        }
        if let Some(id) = denied.literal(ResourcePattern::WILDCARD) {
            return (Verdict::Denied, Rule::Acl(id));
        }
        match allowed.first_not_dominated(&denied) {
            Some(id) => (Verdict::Allowed, Rule::Acl(id)),
            None => (Verdict::Denied, Rule::DefaultDeny),
        }
    }
}

impl Authorizer for NativeAuthorizer {
    fn authorize(&self, who: &Requester<'_>, actions: &[Action<'_>]) -> Answer<Vec<Decision>> {
        // Offset before rules: what is named is surely contained.
        let offset = self.offset.load(Ordering::Acquire);
        let current = self.current.load();
        let decisions: Vec<Decision> = actions
            .iter()
            .map(|action| {
                let (verdict, rule) = self.decide(&current, who, action);
                Decision::new(verdict, rule, current.generation, offset)
            })
            .collect();
        audit::log(self, who, actions, &decisions);
        Answer::Ready(decisions)
    }

    fn authorize_by_resource_type(
        &self,
        who: &Requester<'_>,
        operation: AclOperation,
        resource_type: ResourceType,
    ) -> Answer<Decision> {
        let offset = self.offset.load(Ordering::Acquire);
        let current = self.current.load();
        let (verdict, rule) = self.decide_by_type(&current, who, operation, resource_type);
        Answer::Ready(Decision::new(verdict, rule, current.generation, offset))
    }

    fn generation(&self) -> u64 {
        self.current.load().generation
    }

    fn rule_text(&self, rule: Rule) -> String {
        match rule {
            Rule::Acl(id) => match self.current.load().index.get(&id) {
                Some(binding) => audit::acl_rule_text(binding),
                // Deleted between the decision and the line.
                None => format!("MatchingAcl(id={id})"),
            },
            other => audit::plain_rule_text(other).to_owned(),
        }
    }

    fn acls(&self, filter: &AclFilter) -> Option<Vec<AclBinding>> {
        Some(self.select(filter).into_iter().map(|(_, binding)| AclBinding::clone(&binding)).collect())
    }
}

/// One walk over the resources that a name belongs to.
struct Search<'a> {
    who: &'a Requester<'a>,
    operation: AclOperation,
    user_wildcard: &'a KafkaPrincipal,
    wildcard_covers: bool,
    allow: Option<Uuid>,
    /// Some binding is about the resource, whoever it is for.
    any: bool,
}

impl Search<'_> {
    /// The first DENY on this resource, if one matches; else remembers the last ALLOW.
    fn visit(&mut self, resource: &Resource, may_allow: bool) -> Option<Uuid> {
        self.any = true;
        let mut deny: Option<(&Entry, &KafkaPrincipal)> = None;
        let mut allow: Option<(&Entry, &KafkaPrincipal)> = None;
        for (principal, covers) in [(self.who.principal, true), (self.user_wildcard, self.wildcard_covers)] {
            for entry in resource.get(principal).into_iter().flat_map(|e| e.iter()) {
                if !entry.matches_host(self.who.host) || !applies(entry, self.operation) {
                    continue;
                }
                let found = (entry, principal);
                if entry.permission == AclPermission::Allow {
                    if may_allow && covers && allow.is_none_or(|best| listed_before(best, found)) {
                        allow = Some(found);
                    }
                } else if deny.is_none_or(|best| listed_before(found, best)) {
                    deny = Some(found);
                }
            }
        }
        if let Some((entry, _)) = allow {
            self.allow = Some(entry.id);
        }
        deny.map(|(entry, _)| entry.id)
    }
}

/// Does this entry speak about this operation? (`StandardAuthorizerData.findResult`)
fn applies(entry: &Entry, operation: AclOperation) -> bool {
    if entry.operation == operation || entry.operation == AclOperation::All {
        return true;
    }
    entry.permission == AclPermission::Allow
        && match operation {
            AclOperation::Describe => matches!(
                entry.operation,
                AclOperation::Read | AclOperation::Write | AclOperation::Delete | AclOperation::Alter
            ),
            AclOperation::DescribeConfigs => entry.operation == AclOperation::AlterConfigs,
            _ => false,
        }
}

/// `StandardAcl.compareTo` within one resource: operation, principal, host, permission. The id settles the rest.
fn listed_before(a: (&Entry, &KafkaPrincipal), b: (&Entry, &KafkaPrincipal)) -> bool {
    let by_principal = || (a.1.kind(), a.1.name()).cmp(&(b.1.kind(), b.1.name()));
    let by_rest = || (&a.0.host, a.0.permission, a.0.id).cmp(&(&b.0.host, b.0.permission, b.0.id));
    a.0.operation.cmp(&b.0.operation).then_with(by_principal).then_with(by_rest).is_lt()
}

/// Names by kind of pattern, for the question about a whole resource type.
#[derive(Default)]
struct ByKind<'a> {
    literal: BTreeMap<&'a str, Uuid>,
    prefixed: BTreeMap<&'a str, Uuid>,
}

impl<'a> ByKind<'a> {
    fn insert(&mut self, kind: PatternType, name: &'a str, id: Uuid) {
        match kind {
            PatternType::Literal => self.literal.entry(name).or_insert(id),
            PatternType::Prefixed => self.prefixed.entry(name).or_insert(id),
            PatternType::Unknown | PatternType::Any | PatternType::Match => return,
        };
    }

    fn literal(&self, name: &str) -> Option<Uuid> {
        self.literal.get(name).copied()
    }

    /// An allowed pattern that no denied one covers: `*` covers (and is asked before), an equal literal, any prefix of it.
    fn first_not_dominated(&self, denied: &ByKind<'_>) -> Option<Uuid> {
        if let Some(id) = self.literal(ResourcePattern::WILDCARD) {
            return Some(id);
        }
        let dominated =
            |name: &str| !denied.prefixed.is_empty() && prefixes(name).any(|p| denied.prefixed.contains_key(p));
        let literal = self.literal.iter().find(|(name, _)| !denied.literal.contains_key(*name) && !dominated(name));
        literal.or_else(|| self.prefixed.iter().find(|(name, _)| !dominated(name))).map(|(_, id)| *id)
    }
}

/// Every non-empty prefix of a name, itself included.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    (1..=name.len()).filter_map(|len| name.get(..len))
}
