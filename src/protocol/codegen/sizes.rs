//! How few bytes a structure can take: what bounds the count of an array before anything is reserved for it.

use super::notation::{Base, Field, Message, Struct};

impl Message {
    /// The smallest encoding of a structure over all its versions.
    pub(super) fn min_size(&self, s: &Struct) -> usize {
        (s.versions.min..=s.versions.max).map(|version| self.size_in(s, version)).min().unwrap_or_default()
    }

    /// The smallest encoding of one element of an array.
    pub(super) fn element_min_size(&self, f: &Field) -> usize {
        base_size(&f.base, self.flexible.is_some())
    }

    fn size_in(&self, s: &Struct, version: i16) -> usize {
        let flexible = self.flexible.is_some_and(|f| f.contains(version));
        let tags = usize::from(flexible);
        let present = s.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
        present.map(|f| self.field_size(f, version, flexible && !f.inflexible)).sum::<usize>() + tags
    }

    fn field_size(&self, f: &Field, version: i16, flexible: bool) -> usize {
        match &f.base {
            _ if f.array => base_size(&Base::Bytes, flexible),
            Base::Struct(_) if f.nullable.is_some() => 1,
            Base::Struct(name) => self.find(name).map_or(0, |s| self.size_in(s, version)),
            base => base_size(base, flexible),
        }
    }
}

/// The smallest encoding of a type that is not a structure.
fn base_size(base: &Base, flexible: bool) -> usize {
    match (base, flexible) {
        (Base::Bool | Base::Int8, _) | (Base::String | Base::Bytes | Base::Records, true) => 1,
        (Base::Int16 | Base::Uint16, _) | (Base::String, false) => 2,
        (Base::Int32, _) | (Base::Bytes | Base::Records, false) => 4,
        (Base::Int64 | Base::Float64, _) => 8,
        (Base::Uuid, _) => 16,
        (Base::Struct(_), _) => 0,
    }
}
