//! Bindings, arranged so that a decision touches only what can match it.
//!
//! Resource type → name (literal and `*`) or prefix → principal → rules. A principal's rules on a resource are one sorted
//! slice. The maps are persistent: a change rebuilds the slices it touches and shares the rest with the readers' copy.
//! Prefixes of a name are found by trying each prefix length that exists, so the cost is lengths, not bindings.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rpds::HashTrieMapSync;

use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::principal::KafkaPrincipal;
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};
use crate::model::uuid::Uuid;

use super::native::AclChange;

/// One binding, seen from its resource and principal. The order is `StandardAcl`'s, principal left out.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Entry {
    pub(super) operation: AclOperation,
    pub(super) host: Arc<str>,
    pub(super) permission: AclPermission,
    pub(super) id: Uuid,
}

impl Entry {
    pub(super) fn matches_host(&self, host: &str) -> bool {
        &*self.host == AclBinding::WILDCARD_HOST || &*self.host == host
    }
}

type Entries = Arc<[Entry]>;

/// The rules of one pattern, by principal. Never empty while it is in a map.
pub(super) type Resource = HashTrieMapSync<KafkaPrincipal, Entries>;

/// A principal's patterns of one resource type.
type Patterns = HashTrieMapSync<(PatternType, Arc<str>), Entries>;

#[derive(Clone, Default, Debug)]
pub(super) struct TypeIndex {
    literal: HashTrieMapSync<Arc<str>, Resource>,
    prefixed: HashTrieMapSync<Arc<str>, Resource>,
    /// Length in bytes → how many prefixes have it.
    prefix_lengths: Arc<BTreeMap<usize, usize>>,
    by_principal: HashTrieMapSync<KafkaPrincipal, Patterns>,
}

impl TypeIndex {
    pub(super) fn literal(&self, name: &str) -> Option<&Resource> {
        self.literal.get(name)
    }

    /// The prefixed patterns that `name` starts with, the longest first.
    pub(super) fn prefixes_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Resource> {
        self.prefix_lengths
            .range(..=name.len())
            .rev()
            .filter_map(|(&len, _)| name.get(..len))
            .filter_map(|prefix| self.prefixed.get(prefix))
    }

    /// Everything said about one principal on resources of this type.
    pub(super) fn patterns_of<'a>(
        &'a self,
        principal: &KafkaPrincipal,
    ) -> impl Iterator<Item = (PatternType, &'a str, &'a [Entry])> + use<'a> {
        self.by_principal
            .get(principal)
            .into_iter()
            .flat_map(|patterns| patterns.iter())
            .map(|((kind, name), entries)| (*kind, &**name, &**entries))
    }

    fn map(&mut self, kind: PatternType) -> &mut HashTrieMapSync<Arc<str>, Resource> {
        if kind == PatternType::Prefixed { &mut self.prefixed } else { &mut self.literal }
    }

    fn store(&mut self, kind: PatternType, name: &Arc<str>, principal: &KafkaPrincipal, entries: Vec<Entry>) {
        let entries: Option<Entries> = (!entries.is_empty()).then(|| entries.into());
        self.store_by_principal(kind, name, principal, entries.clone());
        let map = self.map(kind);
        let before = map.get(name).cloned();
        let existed = before.is_some();
        let mut resource = before.unwrap_or_else(Resource::new_sync);
        match entries {
            Some(entries) => resource.insert_mut(principal.clone(), entries),
            None => {
                resource.remove_mut(principal);
            }
        }
        let exists = !resource.is_empty();
        if exists {
            map.insert_mut(Arc::clone(name), resource);
        } else {
            map.remove_mut(name);
        }
        if kind == PatternType::Prefixed && existed != exists {
            self.count_length(name.len(), exists);
        }
    }

    fn store_by_principal(
        &mut self,
        kind: PatternType,
        name: &Arc<str>,
        principal: &KafkaPrincipal,
        entries: Option<Entries>,
    ) {
        let mut patterns = self.by_principal.get(principal).cloned().unwrap_or_else(Patterns::new_sync);
        let key = (kind, Arc::clone(name));
        match entries {
            Some(entries) => patterns.insert_mut(key, entries),
            None => {
                patterns.remove_mut(&key);
            }
        }
        if patterns.is_empty() {
            self.by_principal.remove_mut(principal);
        } else {
            self.by_principal.insert_mut(principal.clone(), patterns);
        }
    }

    fn count_length(&mut self, length: usize, added: bool) {
        let lengths = Arc::make_mut(&mut self.prefix_lengths);
        let count = lengths.entry(length).or_default();
        *count = if added { count.saturating_add(1) } else { count.saturating_sub(1) };
        if *count == 0 {
            lengths.remove(&length);
        }
    }
}

/// All bindings of one generation.
#[derive(Clone, Default, Debug)]
pub(super) struct Index {
    topic: TypeIndex,
    group: TypeIndex,
    cluster: TypeIndex,
    transactional_id: TypeIndex,
    delegation_token: TypeIndex,
    user: TypeIndex,
    by_id: HashTrieMapSync<Uuid, Arc<AclBinding>>,
}

/// A slice of rules that a batch of changes touches, opened for editing.
type Touched = HashMap<(ResourceType, PatternType, Arc<str>, KafkaPrincipal), HashMap<Uuid, Entry>>;

impl Index {
    /// `None` for types that no binding can name.
    pub(super) fn of_type(&self, resource_type: ResourceType) -> Option<&TypeIndex> {
        match resource_type {
            ResourceType::Topic => Some(&self.topic),
            ResourceType::Group => Some(&self.group),
            ResourceType::Cluster => Some(&self.cluster),
            ResourceType::TransactionalId => Some(&self.transactional_id),
            ResourceType::DelegationToken => Some(&self.delegation_token),
            ResourceType::User => Some(&self.user),
            ResourceType::Unknown | ResourceType::Any => None,
        }
    }

    fn of_type_mut(&mut self, resource_type: ResourceType) -> Option<&mut TypeIndex> {
        match resource_type {
            ResourceType::Topic => Some(&mut self.topic),
            ResourceType::Group => Some(&mut self.group),
            ResourceType::Cluster => Some(&mut self.cluster),
            ResourceType::TransactionalId => Some(&mut self.transactional_id),
            ResourceType::DelegationToken => Some(&mut self.delegation_token),
            ResourceType::User => Some(&mut self.user),
            ResourceType::Unknown | ResourceType::Any => None,
        }
    }

    pub(super) fn get(&self, id: &Uuid) -> Option<&Arc<AclBinding>> {
        self.by_id.get(id)
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.size()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Uuid, &Arc<AclBinding>)> {
        self.by_id.iter()
    }

    /// Is exactly this binding there already?
    pub(super) fn contains(&self, binding: &AclBinding) -> bool {
        let Some(types) = self.of_type(binding.pattern.resource_type) else { return false };
        let resource = match binding.pattern.pattern_type {
            PatternType::Literal => types.literal.get(&binding.pattern.name),
            PatternType::Prefixed => types.prefixed.get(&binding.pattern.name),
            PatternType::Unknown | PatternType::Any | PatternType::Match => None,
        };
        resource.and_then(|r| r.get(&parse_principal(&binding.principal))).is_some_and(|entries| {
            entries.iter().any(|e| {
                e.operation == binding.operation && e.host == binding.host && e.permission == binding.permission
            })
        })
    }

    /// Carries out a batch; every touched slice is rebuilt once.
    pub(super) fn apply(&mut self, changes: impl IntoIterator<Item = AclChange>) {
        let mut touched = Touched::new();
        for change in changes {
            match change {
                AclChange::Add(id, binding) => {
                    self.remove(&mut touched, &id);
                    self.add(&mut touched, id, binding);
                }
                AclChange::Remove(id) => self.remove(&mut touched, &id),
            }
        }
        for ((resource_type, kind, name, principal), entries) in touched {
            let mut entries: Vec<Entry> = entries.into_values().collect();
            entries.sort_unstable();
            if let Some(types) = self.of_type_mut(resource_type) {
                types.store(kind, &name, &principal, entries);
            }
        }
    }

    fn add(&mut self, touched: &mut Touched, id: Uuid, binding: AclBinding) {
        let entry =
            Entry { operation: binding.operation, host: Arc::clone(&binding.host), permission: binding.permission, id };
        self.open(touched, &binding).insert(id, entry);
        self.by_id.insert_mut(id, Arc::new(binding));
    }

    fn remove(&mut self, touched: &mut Touched, id: &Uuid) {
        if let Some(binding) = self.by_id.get(id).cloned() {
            self.open(touched, &binding).remove(id);
            self.by_id.remove_mut(id);
        }
    }

    fn open<'t>(&self, touched: &'t mut Touched, binding: &AclBinding) -> &'t mut HashMap<Uuid, Entry> {
        let ResourcePattern { resource_type, name, pattern_type } = &binding.pattern;
        let principal = parse_principal(&binding.principal);
        let key = (*resource_type, *pattern_type, Arc::clone(name), principal.clone());
        touched.entry(key).or_insert_with(|| {
            let types = self.of_type(*resource_type);
            let map = types.map(|t| if *pattern_type == PatternType::Prefixed { &t.prefixed } else { &t.literal });
            let entries = map.and_then(|m| m.get(name)).and_then(|r| r.get(&principal));
            entries.into_iter().flat_map(|e| e.iter()).map(|e| (e.id, e.clone())).collect()
        })
    }
}

/// Up to the first colon is the type. Text without one names nobody that can log in, but its binding is still there.
pub(super) fn parse_principal(text: &str) -> KafkaPrincipal {
    match text.split_once(':') {
        Some((kind, name)) => KafkaPrincipal::new(kind, name),
        None => KafkaPrincipal::new("", text),
    }
}
