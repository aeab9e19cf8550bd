//! Access control entries, by their ids.

use rpds::HashTrieMapSync;

use super::image::InvalidRecord;
use crate::model::acl::{AclBinding, AclOperation, AclPermission};
use crate::model::resource::{PatternType, ResourcePattern, ResourceType};
use crate::model::uuid::Uuid;
use crate::protocol::records::metadata::{AccessControlEntryRecord, RemoveAccessControlEntryRecord};

/// What the log says about rights. Deciding by it is `security/authorizer`.
#[derive(Clone, PartialEq, Default, Debug)]
pub struct AclsImage {
    by_id: HashTrieMapSync<Uuid, AclBinding>,
    /// How many ids stand for a binding: old logs can hold one twice.
    counts: HashTrieMapSync<AclBinding, u32>,
}

impl AclsImage {
    pub fn get(&self, id: &Uuid) -> Option<&AclBinding> {
        self.by_id.get(id)
    }

    /// In no order.
    pub fn iter(&self) -> impl Iterator<Item = (&Uuid, &AclBinding)> {
        self.by_id.iter()
    }

    pub fn contains(&self, binding: &AclBinding) -> bool {
        self.counts.contains_key(binding)
    }

    pub fn len(&self) -> usize {
        self.by_id.size()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    pub(super) fn add(&mut self, record: &AccessControlEntryRecord) -> Result<(), InvalidRecord> {
        if self.by_id.contains_key(&record.id) {
            return Err(InvalidRecord::new(format!("an access control entry with id {} is there already", record.id)));
        }
        let binding = binding(record)?;
        let count = self.counts.get(&binding).copied().unwrap_or(0);
        self.counts.insert_mut(binding.clone(), count + 1);
        self.by_id.insert_mut(record.id, binding);
        Ok(())
    }

    pub(super) fn remove(&mut self, record: &RemoveAccessControlEntryRecord) -> Result<(), InvalidRecord> {
        let Some(binding) = self.by_id.get(&record.id).cloned() else {
            return Err(InvalidRecord::new(format!("no access control entry has id {}", record.id)));
        };
        self.by_id.remove_mut(&record.id);
        match self.counts.get(&binding).copied() {
            Some(count) if count > 1 => {
                self.counts.insert_mut(binding, count - 1);
            }
            _ => {
                self.counts.remove_mut(&binding);
            }
        }
        Ok(())
    }
}

/// Text is taken as it stands: what an old broker or another one wrote is judged by the authorizer, not here.
fn binding(record: &AccessControlEntryRecord) -> Result<AclBinding, InvalidRecord> {
    let invalid = |what: &str, code: i8| InvalidRecord::new(format!("{code} is no {what} of an access control entry"));
    let resource_type = ResourceType::from_code(record.resource_type);
    if matches!(resource_type, ResourceType::Unknown | ResourceType::Any) {
        return Err(invalid("resource type", record.resource_type));
    }
    let pattern_type = PatternType::from_code(record.pattern_type);
    if !matches!(pattern_type, PatternType::Literal | PatternType::Prefixed) {
        return Err(invalid("pattern type", record.pattern_type));
    }
    let operation = AclOperation::from_code(record.operation);
    if matches!(operation, AclOperation::Unknown | AclOperation::Any) {
        return Err(invalid("operation", record.operation));
    }
    let permission = AclPermission::from_code(record.permission_type);
    if !matches!(permission, AclPermission::Allow | AclPermission::Deny) {
        return Err(invalid("permission", record.permission_type));
    }
    Ok(AclBinding {
        pattern: ResourcePattern { resource_type, name: (&*record.resource_name).into(), pattern_type },
        principal: (&*record.principal).into(),
        host: (&*record.host).into(),
        operation,
        permission,
    })
}
