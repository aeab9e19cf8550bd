//! The codec once more, by walking the schema: JSON in, bytes out, and back. Shares nothing with the generated code but
//! the notation, so the two check each other; and scripts can say what no generated type could hold.
//!
//! Field names are Kafka's as its messages spell them. Integers are JSON numbers, uuids their 22 characters, bytes and
//! records lower-case hexadecimal.

use serde_json::{Map, Value, json};

use schloss::model::uuid::Uuid;

use crate::codegen::notation::{Base, Field, Message, Struct, Versions};

fn has(versions: Versions, version: i16) -> bool {
    versions.min <= version && version <= versions.max
}

fn is_flexible(message: &Message, version: i16) -> bool {
    message.flexible.is_some_and(|f| has(f, version))
}

fn default_of(field: &Field) -> Value {
    let text = field.default.as_deref();
    if text == Some("null") {
        return Value::Null;
    }
    if field.array {
        return json!([]);
    }
    match &field.base {
        Base::Bool => json!(text == Some("true")),
        Base::String => json!(text.unwrap_or("")),
        Base::Bytes | Base::Records => json!(""),
        Base::Uuid => json!(Uuid::ZERO.to_string()),
        Base::Float64 => json!(text.map_or(0.0, |t| t.parse().unwrap())),
        Base::Struct(_) => json!({}),
        _ => json!(text.map_or(0, |t| t.parse::<i64>().unwrap())),
    }
}

/// Bytes of `value` as `version` of `message`. Missing fields take their defaults.
pub fn encode(message: &Message, version: i16, value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_struct(message, &message.structs[0], version, value, &mut out);
    out
}

fn encode_struct(message: &Message, of: &Struct, version: i16, value: &Value, out: &mut Vec<u8>) {
    let empty = Map::new();
    let given = value.as_object().unwrap_or(&empty);
    for name in given.keys() {
        assert!(of.fields.iter().any(|f| &f.name == name), "{} has no field {name}", of.name);
    }
    let flexible = is_flexible(message, version);
    let mut tagged: Vec<(u32, Vec<u8>)> = Vec::new();
    for field in of.fields.iter().filter(|f| has(f.versions, version)) {
        let default = default_of(field);
        let value = given.get(&field.name).unwrap_or(&default);
        match field.tag {
            Some(tag) if flexible => {
                if *value != default && given.contains_key(&field.name) {
                    let mut bytes = Vec::new();
                    encode_field(message, field, version, value, &mut bytes);
                    tagged.push((tag, bytes));
                }
            }
            _ => encode_field(message, field, version, value, out),
        }
    }
    if flexible {
        tagged.sort_by_key(|(tag, _)| *tag);
        put_varint(out, u32::try_from(tagged.len()).unwrap());
        for (tag, bytes) in tagged {
            put_varint(out, tag);
            put_varint(out, u32::try_from(bytes.len()).unwrap());
            out.extend(bytes);
        }
    }
}

fn encode_field(message: &Message, field: &Field, version: i16, value: &Value, out: &mut Vec<u8>) {
    let compact = is_flexible(message, version) && !field.inflexible;
    if field.array {
        match value.as_array() {
            Some(items) => {
                put_length(out, Some(items.len()), compact, 4);
                for item in items {
                    encode_base(message, field, version, item, compact, out);
                }
            }
            None => put_length(out, None, compact, 4),
        }
    } else {
        encode_base(message, field, version, value, compact, out);
    }
}

fn encode_base(message: &Message, field: &Field, version: i16, value: &Value, compact: bool, out: &mut Vec<u8>) {
    let number = || value.as_i64().unwrap_or_else(|| panic!("{}: {value} is no number", field.name));
    match &field.base {
        Base::Bool => out.push(u8::from(value.as_bool().unwrap())),
        Base::Int8 => out.extend(i8::try_from(number()).unwrap().to_be_bytes()),
        Base::Int16 => out.extend(i16::try_from(number()).unwrap().to_be_bytes()),
        Base::Uint16 => out.extend(u16::try_from(number()).unwrap().to_be_bytes()),
        Base::Int32 => out.extend(i32::try_from(number()).unwrap().to_be_bytes()),
        Base::Int64 => out.extend(number().to_be_bytes()),
        Base::Float64 => out.extend(value.as_f64().unwrap().to_be_bytes()),
        Base::Uuid => out.extend(value.as_str().unwrap().parse::<Uuid>().unwrap().as_bytes()),
        Base::String => {
            put_length(out, value.as_str().map(str::len), compact, 2);
            out.extend(value.as_str().unwrap_or("").bytes());
        }
        Base::Bytes | Base::Records => {
            let bytes = value.as_str().map(from_hex);
            put_length(out, bytes.as_ref().map(Vec::len), compact, 4);
            out.extend(bytes.unwrap_or_default());
        }
        Base::Struct(name) => {
            let of = message.find(name).unwrap();
            let nullable = field.nullable.is_some_and(|n| has(n, version)) && !field.array;
            if nullable {
                out.push(if value.is_null() { 0xff } else { 1 });
                if value.is_null() {
                    return;
                }
            }
            encode_struct(message, of, version, value, out);
        }
    }
}

fn put_length(out: &mut Vec<u8>, len: Option<usize>, compact: bool, width: usize) {
    if compact {
        put_varint(out, len.map_or(0, |len| u32::try_from(len).unwrap() + 1));
    } else if width == 2 {
        out.extend(len.map_or(-1, |len| i16::try_from(len).unwrap()).to_be_bytes());
    } else {
        out.extend(len.map_or(-1, |len| i32::try_from(len).unwrap()).to_be_bytes());
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// Reads `version` of `message`; everything must be read.
///
/// # Panics
/// When the bytes are not such a message.
pub fn decode(message: &Message, version: i16, bytes: &[u8]) -> Value {
    let mut input = Input { bytes, at: 0 };
    let value = decode_struct(message, &message.structs[0], version, &mut input);
    assert_eq!(input.at, bytes.len(), "{} v{version}: bytes are left over", message.name);
    value
}

struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Input<'_> {
    fn take(&mut self, len: usize) -> &[u8] {
        let slice = self.bytes.get(self.at..self.at + len).expect("the message is longer than its bytes");
        self.at += len;
        slice
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        self.take(N).try_into().unwrap()
    }

    fn varint(&mut self) -> usize {
        let (mut value, mut shift) = (0_usize, 0);
        loop {
            let byte = self.array::<1>()[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return value;
            }
            shift += 7;
        }
    }

    fn length(&mut self, compact: bool, width: usize) -> Option<usize> {
        if compact {
            self.varint().checked_sub(1)
        } else if width == 2 {
            usize::try_from(i16::from_be_bytes(self.array())).ok()
        } else {
            usize::try_from(i32::from_be_bytes(self.array())).ok()
        }
    }
}

fn decode_struct(message: &Message, of: &Struct, version: i16, input: &mut Input<'_>) -> Value {
    let flexible = is_flexible(message, version);
    let mut object = Map::new();
    for field in of.fields.iter().filter(|f| has(f.versions, version)) {
        if field.tag.is_none() || !flexible {
            object.insert(field.name.clone(), decode_field(message, field, version, input));
        }
    }
    if flexible {
        for _ in 0..input.varint() {
            let (tag, len) = (input.varint(), input.varint());
            let end = input.at + len;
            let known = of.fields.iter().find(|f| f.tag.is_some_and(|t| usize::try_from(t).unwrap() == tag));
            match known {
                Some(field) if has(field.versions, version) => {
                    object.insert(field.name.clone(), decode_field(message, field, version, input));
                }
                _ => {
                    object.insert(format!("tag {tag}"), json!(to_hex(input.take(len))));
                }
            }
            assert_eq!(input.at, end, "{}: tagged field {tag} has another length", of.name);
        }
    }
    Value::Object(object)
}

fn decode_field(message: &Message, field: &Field, version: i16, input: &mut Input<'_>) -> Value {
    let compact = is_flexible(message, version) && !field.inflexible;
    if !field.array {
        return decode_base(message, field, version, compact, input);
    }
    match input.length(compact, 4) {
        None => Value::Null,
        Some(len) => (0..len).map(|_| decode_base(message, field, version, compact, input)).collect(),
    }
}

fn decode_base(message: &Message, field: &Field, version: i16, compact: bool, input: &mut Input<'_>) -> Value {
    match &field.base {
        Base::Bool => json!(input.array::<1>()[0] != 0),
        Base::Int8 => json!(i8::from_be_bytes(input.array())),
        Base::Int16 => json!(i16::from_be_bytes(input.array())),
        Base::Uint16 => json!(u16::from_be_bytes(input.array())),
        Base::Int32 => json!(i32::from_be_bytes(input.array())),
        Base::Int64 => json!(i64::from_be_bytes(input.array())),
        Base::Float64 => json!(f64::from_be_bytes(input.array())),
        Base::Uuid => json!(Uuid::from_bytes(input.array()).to_string()),
        Base::String => match input.length(compact, 2) {
            None => Value::Null,
            Some(len) => json!(String::from_utf8(input.take(len).to_vec()).unwrap()),
        },
        Base::Bytes | Base::Records => match input.length(compact, 4) {
            None => Value::Null,
            Some(len) => json!(to_hex(input.take(len))),
        },
        Base::Struct(name) => {
            let of = message.find(name).unwrap();
            let nullable = field.nullable.is_some_and(|n| has(n, version)) && !field.array;
            if nullable && i8::from_be_bytes(input.array()) < 0 {
                return Value::Null;
            }
            decode_struct(message, of, version, input)
        }
    }
}

pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub fn from_hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text:?} is no hexadecimal");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}
