//! Client quotas, for those who may describe the cluster's configs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::RequestContext;
use crate::metadata::client_quotas::ClientQuotaEntity;

/// What one part of an entity must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QuotaFilter {
    Name(String),
    /// The one without a name.
    Default,
    /// There, whatever its name.
    Any,
}

/// Types and names of an entity, `None` for the default; and its quotas.
pub type QuotaEntry = (Vec<(Arc<str>, Option<Arc<str>>)>, Vec<(Arc<str>, f64)>);

impl RequestContext<'_> {
    /// The quotas of every entity that has what the filters ask for; `strict`: and nothing else.
    pub fn client_quotas(&self, filters: &BTreeMap<String, QuotaFilter>, strict: bool) -> Vec<QuotaEntry> {
        let image = self.broker.image.load();
        let matching = image.client_quotas.iter().filter(|(entity, _)| is_match(entity, filters, strict));
        matching
            .map(|(entity, quotas)| {
                let values = quotas.iter().map(|(name, value)| (Arc::clone(name), *value)).collect();
                (entity.parts().to_vec(), values)
            })
            .collect()
    }
}

fn is_match(entity: &ClientQuotaEntity, filters: &BTreeMap<String, QuotaFilter>, strict: bool) -> bool {
    if strict && entity.parts().len() != filters.len() {
        return false;
    }
    filters.iter().all(|(entity_type, filter)| {
        let part = entity.parts().iter().find(|(part, _)| **part == **entity_type);
        match (part, filter) {
            (None, _) => false,
            (Some(_), QuotaFilter::Any) => true,
            (Some((_, name)), QuotaFilter::Default) => name.is_none(),
            (Some((_, name)), QuotaFilter::Name(wanted)) => name.as_deref() == Some(wanted.as_str()),
        }
    })
}
