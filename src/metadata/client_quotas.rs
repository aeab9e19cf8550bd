//! Client quotas (KIP-546).

use std::sync::Arc;

use rpds::RedBlackTreeMapSync;

use crate::protocol::records::metadata::ClientQuotaRecord;

/// `user`, `client-id` or `ip` with a name each, `None` for the default; in the order of the types.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ClientQuotaEntity(Vec<(Arc<str>, Option<Arc<str>>)>);

impl ClientQuotaEntity {
    pub fn new(mut parts: Vec<(Arc<str>, Option<Arc<str>>)>) -> Self {
        parts.sort();
        Self(parts)
    }

    pub fn parts(&self) -> &[(Arc<str>, Option<Arc<str>>)] {
        &self.0
    }
}

/// Quota name to value.
pub type QuotaMap = RedBlackTreeMapSync<Arc<str>, f64>;

#[derive(Clone, PartialEq, Default, Debug)]
pub struct ClientQuotasImage {
    by_entity: RedBlackTreeMapSync<ClientQuotaEntity, QuotaMap>,
}

impl ClientQuotasImage {
    pub fn get(&self, entity: &ClientQuotaEntity) -> Option<&QuotaMap> {
        self.by_entity.get(entity)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&ClientQuotaEntity, &QuotaMap)> {
        self.by_entity.iter()
    }

    pub(super) fn apply(&mut self, record: &ClientQuotaRecord) -> ClientQuotaEntity {
        let part = |name: &Option<bytestring::ByteString>| name.as_ref().map(|name| (&**name).into());
        let parts = record.entity.iter().map(|data| ((&*data.entity_type).into(), part(&data.entity_name)));
        let entity = ClientQuotaEntity::new(parts.collect());
        let mut map = self.by_entity.get(&entity).cloned().unwrap_or_default();
        if record.remove {
            map.remove_mut(&*record.key);
        } else {
            map.insert_mut((&*record.key).into(), record.value);
        }
        if map.is_empty() {
            self.by_entity.remove_mut(&entity);
        } else {
            self.by_entity.insert_mut(entity.clone(), map);
        }
        entity
    }
}
