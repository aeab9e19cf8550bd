//! Writes messages of arbitrary content as the schema describes them.

use bytes::{BufMut, Bytes, BytesMut};

use super::notation::Message;
use super::notation::{Base, Field, Struct};

/// SplitMix64: the same seed writes the same messages.
pub(super) struct Random(pub(super) u64);

/// What an [`Author`] likes to write.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Anything, null and tagged fields included.
    Rich,
    /// Three elements in every array, and everything in them as short as it can be.
    Sparse,
    /// As `Rich`, with tagged fields from a later version after the known ones.
    FromTheFuture,
}

pub(super) struct Author<'a> {
    definition: &'a Message,
    version: i16,
    style: Style,
    random: Random,
    out: BytesMut,
}

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }
}

/// One message, ready to be decoded.
pub(super) fn write(definition: &Message, version: i16, style: Style, seed: u64) -> Bytes {
    let mut author = Author { definition, version, style, random: Random(seed), out: BytesMut::new() };
    author.structure(&definition.structs[0]);
    author.out.freeze()
}

impl Author<'_> {
    fn is_flexible(&self) -> bool {
        self.definition.flexible.is_some_and(|f| f.min <= self.version)
    }

    fn structure(&mut self, s: &Struct) {
        let present: Vec<&Field> = s.fields.iter().filter(|f| f.versions.contains(self.version)).collect();
        for field in present.iter().filter(|f| f.tag.is_none()) {
            self.field(field);
        }
        if self.is_flexible() {
            self.tagged_fields(present.into_iter().filter(|f| f.tag.is_some()).collect());
        }
    }

    fn tagged_fields(&mut self, mut fields: Vec<&Field>) {
        fields.sort_by_key(|f| f.tag);
        let mut written = Vec::new();
        for field in fields {
            let value = self.aside(|author| author.field(field));
            // What equals the default is not written: so says KIP-482, and so do the bytes stay comparable.
            if self.style != Style::Sparse && self.random.below(4) > 0 && value != self.default_of(field) {
                written.push((field.tag.unwrap(), value));
            }
        }
        if self.style == Style::FromTheFuture {
            written.extend([(90, BytesMut::new()), (1000, BytesMut::from(&b"later"[..]))]);
        }
        self.varint(written.len());
        for (tag, value) in written {
            self.varint(usize::try_from(tag).unwrap());
            self.varint(value.len());
            self.out.put_slice(&value);
        }
    }

    fn field(&mut self, field: &Field) {
        let nullable = field.nullable.is_some_and(|n| n.contains(self.version));
        let flexible = self.is_flexible() && !field.inflexible;
        let structure = matches!(field.base, Base::Struct(_)) && !field.array;
        if nullable && (self.style == Style::Sparse || self.random.below(4) == 0) {
            return match (structure, field.array || field.base != Base::String, flexible) {
                (true, ..) => self.out.put_i8(-1),
                (_, _, true) => self.varint(0),
                (_, true, false) => self.out.put_i32(-1),
                (_, false, false) => self.out.put_i16(-1),
            };
        }
        if structure && field.nullable.is_some() {
            self.out.put_i8(1);
        }
        if !field.array {
            return self.value(&field.base, flexible);
        }
        let count = if self.style == Style::Sparse { 3 } else { self.random.below(4) };
        self.length(count, flexible);
        for _ in 0..count {
            self.value(&field.base, flexible);
        }
    }

    fn value(&mut self, base: &Base, flexible: bool) {
        let any = match self.random.below(8) {
            _ if self.style == Style::Sparse => 0,
            0 => 0,
            1 => u64::MAX,
            2 => 1 << 63,
            _ => self.random.next(),
        };
        let bytes = any.to_be_bytes();
        match base {
            Base::Bool => self.out.put_u8(u8::from(any & 1 == 1)),
            Base::Int8 => self.out.put_slice(&bytes[..1]),
            Base::Int16 | Base::Uint16 => self.out.put_slice(&bytes[..2]),
            Base::Int32 => self.out.put_slice(&bytes[..4]),
            Base::Int64 => self.out.put_slice(&bytes),
            Base::Float64 => self.out.put_f64(f64::from(u32::from_be_bytes(bytes[..4].try_into().unwrap())) / 7.0),
            Base::Uuid => {
                self.out.put_slice(&bytes);
                self.out.put_u64(any.rotate_left(17));
            }
            Base::String => {
                let text = self.text(any);
                if flexible {
                    self.varint(text.len() + 1);
                } else {
                    self.out.put_i16(i16::try_from(text.len()).unwrap());
                }
                self.out.put_slice(text.as_bytes());
            }
            Base::Bytes | Base::Records => {
                let text = self.text(any);
                self.length(text.len(), flexible);
                self.out.put_slice(text.as_bytes());
            }
            Base::Struct(name) => {
                let definition = self.definition;
                self.structure(definition.find(name).unwrap());
            }
        }
    }

    /// Some text: often short, at times longer than one byte of a length can say.
    fn text(&self, any: u64) -> String {
        match any % 16 {
            _ if self.style == Style::Sparse => String::new(),
            0 => String::new(),
            1 => "schloß".repeat(40),
            n => "topic-\u{20ac}-name".chars().take(usize::try_from(n).unwrap()).collect(),
        }
    }

    /// The bytes of a field's default value.
    fn default_of(&mut self, field: &Field) -> BytesMut {
        self.aside(|author| author.default(field))
    }

    fn default(&mut self, field: &Field) {
        if field.default.as_deref() == Some("null") {
            return if matches!(field.base, Base::Struct(_)) && !field.array {
                self.out.put_i8(-1);
            } else {
                self.varint(0);
            };
        }
        if field.array {
            return self.varint(1);
        }
        let number = || match field.default.as_deref() {
            None | Some("false") => 0,
            Some("true") => 1,
            Some(number) => number.parse::<i64>().unwrap(),
        };
        match &field.base {
            Base::Bool | Base::Int8 => self.out.put_i8(number().try_into().unwrap()),
            Base::Int16 => self.out.put_i16(number().try_into().unwrap()),
            Base::Int32 => self.out.put_i32(number().try_into().unwrap()),
            Base::Int64 => self.out.put_i64(number()),
            Base::Uuid => self.out.put_u128(0),
            Base::String | Base::Bytes | Base::Records => self.varint(1),
            Base::Uint16 | Base::Float64 => unreachable!("no tagged field has this type"),
            Base::Struct(name) => {
                if field.nullable.is_some() {
                    self.out.put_i8(1);
                }
                let s = self.definition.find(name).unwrap().clone();
                let version = self.version;
                for inner in s.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version)) {
                    self.default(inner);
                }
                self.varint(0);
            }
        }
    }

    /// What `write` writes, kept apart.
    fn aside(&mut self, write: impl FnOnce(&mut Self)) -> BytesMut {
        let before = std::mem::take(&mut self.out);
        write(self);
        std::mem::replace(&mut self.out, before)
    }

    fn length(&mut self, len: usize, flexible: bool) {
        if flexible {
            self.varint(len + 1);
        } else {
            self.out.put_i32(i32::try_from(len).unwrap());
        }
    }

    fn varint(&mut self, mut value: usize) {
        while value >= 0x80 {
            self.out.put_u8(u8::try_from(value & 0x7f).unwrap() | 0x80);
            value >>= 7;
        }
        self.out.put_u8(u8::try_from(value).unwrap());
    }
}
