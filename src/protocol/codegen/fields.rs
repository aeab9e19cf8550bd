//! One field as Rust: its name, type and default, and the expressions that read and write it.

use super::notation::{Base, Field, Message, Struct, Versions};
use super::snake;

impl Field {
    pub(super) fn ident(&self) -> String {
        let name = snake(&self.name);
        if matches!(name.as_str(), "type" | "match") { format!("r#{name}") } else { name }
    }

    pub(super) fn rust_type(&self) -> String {
        let base = match &self.base {
            Base::Uuid => "Uuid",
            Base::String => "ByteString",
            Base::Bytes => "Bytes",
            Base::Records => "Records",
            Base::Struct(name) => name,
            base => number(base),
        };
        let array = if self.array { format!("Vec<{base}>") } else { base.to_owned() };
        if self.is_option() { format!("Option<{array}>") } else { array }
    }

    pub(super) fn default_value(&self) -> String {
        match self.default.as_deref() {
            None if self.is_option() => "Some(Default::default())".to_owned(),
            None | Some("null") => "Default::default()".to_owned(),
            Some(value) => literal(value),
        }
    }

    /// The expression that says that a field is not its default, and so must be written.
    pub(super) fn differs(&self) -> String {
        let value = format!("self.{}", self.ident());
        match (self.default.as_deref(), &self.base) {
            (Some("null"), _) => format!("{value}.is_some()"),
            (Some("true"), _) => format!("!{value}"),
            (Some(default), _) => format!("{value} != {}", literal(default)),
            (None, _) if self.is_option() => format!("{value} != Some(Default::default())"),
            (None, _) if self.array => format!("!{value}.is_empty()"),
            (None, Base::String | Base::Bytes) => format!("!{value}.is_empty()"),
            (None, Base::Uuid) => format!("!{value}.is_zero()"),
            (None, Base::Bool) => value,
            (None, Base::Struct(name)) => format!("{value} != {name}::default()"),
            (None, _) => format!("{value} != 0"),
        }
    }

    /// The condition under which null is allowed; `None` for a field that never is null.
    fn null_allowed(&self) -> Option<String> {
        self.nullable.map(|n| condition(n, self.versions).unwrap_or_else(|| "true".to_owned()))
    }

    fn is_option(&self) -> bool {
        self.nullable.is_some() && (self.array || self.base != Base::Records)
    }
}

impl Message {
    /// The expression that reads a field of `s`, without its `?`.
    pub(super) fn read(&self, f: &Field, s: &Struct) -> String {
        let flexible = self.flexible_now(f, s);
        let null = f.null_allowed();
        if f.array {
            let (min, element) = match &f.base {
                Base::Struct(name) => (format!("{name}::MIN_SIZE"), format!("|r| {name}::decode(r, version)")),
                Base::String => (self.element_min_size(f).to_string(), format!("|r| r.string({flexible})")),
                Base::Bytes => (self.element_min_size(f).to_string(), format!("|r| r.bytes({flexible})")),
                base => (self.element_min_size(f).to_string(), format!("Reader::{}", number(base))),
            };
            return match null {
                None => format!("r.array({flexible}, {min}, {element})"),
                Some(null) => format!("r.nullable_array({null}, {flexible}, {min}, {element})"),
            };
        }
        match (&f.base, null) {
            (Base::Struct(name), None) => format!("{name}::decode(r, version)"),
            (Base::Struct(name), Some(_)) => format!("r.nullable(|r| {name}::decode(r, version))"),
            (Base::String, None) => format!("r.string({flexible})"),
            (Base::String, Some(null)) => format!("r.nullable_string({null}, {flexible})"),
            (Base::Bytes, None) => format!("r.bytes({flexible})"),
            (Base::Bytes, Some(null)) => format!("r.nullable_bytes({null}, {flexible})"),
            (Base::Records, null) => format!("r.records({}, {flexible})", null.as_deref().unwrap_or("false")),
            (base, _) => format!("r.{}()", number(base)),
        }
    }

    /// The expression that writes a field of `s`.
    pub(super) fn write(&self, f: &Field, s: &Struct) -> String {
        let flexible = self.flexible_now(f, s);
        let null = f.null_allowed();
        let value = format!("self.{}", f.ident());
        if f.array {
            let element = match &f.base {
                Base::Struct(_) => "|w, element| element.encode(w, version)".to_owned(),
                Base::String => format!("|w, element| w.string(element, {flexible})"),
                Base::Bytes => format!("|w, element| w.bytes(element, {flexible})"),
                Base::Uuid => "Writer::uuid".to_owned(),
                base => format!("|w, element| w.{}(*element)", number(base)),
            };
            return match null {
                None => format!("w.array({flexible}, &{value}, {element})"),
                Some(null) => format!("w.nullable_array({null}, {flexible}, {value}.as_ref(), {element})"),
            };
        }
        match (&f.base, null) {
            (Base::Struct(_), None) => format!("{value}.encode(w, version)"),
            (Base::Struct(_), Some(_)) => format!("w.nullable({value}.as_ref(), version)"),
            (Base::String, None) => format!("w.string(&{value}, {flexible})"),
            (Base::String, Some(null)) => format!("w.nullable_string({null}, {value}.as_ref(), {flexible})"),
            (Base::Bytes, None) => format!("w.bytes(&{value}, {flexible})"),
            (Base::Bytes, Some(null)) => format!("w.nullable_bytes({null}, {value}.as_ref(), {flexible})"),
            (Base::Records, null) => format!("w.records({}, &{value}, {flexible})", null.as_deref().unwrap_or("false")),
            (Base::Uuid, _) => format!("w.uuid(&{value})"),
            (base, _) => format!("w.{}({value})", number(base)),
        }
    }

    /// Whether a field has the compact encoding: `true`, `false`, or the variable that says so.
    fn flexible_now(&self, f: &Field, s: &Struct) -> &'static str {
        match self.flexible {
            Some(flexible) if !f.inflexible && flexible.min <= f.versions.max => {
                if flexible.min <= f.versions.min.max(s.versions.min) { "true" } else { "flexible" }
            }
            _ => "false",
        }
    }
}

/// When something is there within what encloses it; `None` when it always is.
pub(super) fn condition(inner: Versions, outer: Versions) -> Option<String> {
    match (inner.min > outer.min, inner.max < outer.max) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", inner.min)),
        _ if inner.min == inner.max => Some(format!("version == {}", inner.min)),
        (false, true) => Some(format!("version <= {}", inner.max)),
        (true, true) => Some(format!("({}..={}).contains(&version)", inner.min, inner.max)),
    }
}

/// The Rust type of a number, which is also the name of what reads and writes it.
fn number(base: &Base) -> &'static str {
    match base {
        Base::Bool => "bool",
        Base::Int8 => "i8",
        Base::Int16 => "i16",
        Base::Uint16 => "u16",
        Base::Int32 => "i32",
        Base::Int64 => "i64",
        Base::Float64 => "f64",
        Base::Uuid => "uuid",
        Base::String | Base::Bytes | Base::Records | Base::Struct(_) => unreachable!("{base:?} is no number"),
    }
}

fn literal(value: &str) -> String {
    match value {
        "2147483647" => "i32::MAX".to_owned(),
        "-2147483648" => "i32::MIN".to_owned(),
        "9223372036854775807" => "i64::MAX".to_owned(),
        value => value.to_owned(),
    }
}
