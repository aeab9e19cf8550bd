//! Writes the Rust of messages, of the api table and of the enum of metadata records.

use std::fmt::Write as _;

use super::notation::{Base, Field, Kind, Message, Struct, Versions};
use super::snake;

/// The modules of `messages`, one each, named as the message.
pub(crate) fn module(messages: &[Message]) -> String {
    messages.iter().map(|m| Emitter { message: m }.message()).collect()
}

/// `ApiKey` and the facts about each key, from the requests among `messages`.
pub(crate) fn api_keys(messages: &[Message]) -> String {
    let mut requests: Vec<_> = messages.iter().filter(|m| m.kind == Kind::Request).collect();
    requests.sort_by_key(|m| m.id);
    let mut variants = String::new();
    let mut facts = String::new();
    let mut all = String::new();
    for m in requests {
        let name = m.name.trim_end_matches("Request");
        let id = m.id.unwrap_or_default();
        // The newest version of an unstable message is known to the codec, but not served.
        let stable_max = m.versions.max - i16::from(m.unstable);
        let on = |listener: &str| m.listeners.iter().any(|l| l == listener);
        let _ = writeln!(variants, "    {name} = {id},");
        let _ = writeln!(all, "        Self::{name},");
        let _ = writeln!(
            facts,
            "            Self::{name} => Facts {{ number: {id}, name: \"{name}\", versions: VersionRange::new({}, {stable_max}), \
             flexible_from: {}, broker: {}, controller: {} }},",
            m.versions.min,
            option(m.flexible.map(|f| f.min)),
            on("broker"),
            on("controller"),
        );
    }
    format!(
        "/// Kafka's `ApiKeys`, those that 4.3.1 still knows.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n\
         #[repr(i16)]\n\
         pub enum ApiKey {{\n{variants}}}\n\n\
         impl ApiKey {{\n    /// In the order of their numbers.\n    pub const ALL: &[Self] = &[\n{all}    ];\n\n    \
         const fn facts(self) -> Facts {{\n        match self {{\n{facts}        }}\n    }}\n}}\n"
    )
}

/// `MetadataRecord`: one variant a record type.
pub(crate) fn metadata_records(messages: &[Message]) -> String {
    let records: Vec<_> = messages.iter().filter(|m| m.kind == Kind::Record).collect();
    let each = |line: &dyn Fn(&str, &str, i16) -> String| -> String {
        records
            .iter()
            .map(|m| line(m.name.trim_end_matches("Record"), &m.name, m.id.unwrap_or_default()))
            .collect::<Vec<_>>()
            .join("\n")
    };
    let variants = each(&|variant, name, _| format!("    {variant}({name}),"));
    let ids = each(&|variant, name, _| format!("            Self::{variant}(_) => {name}::ID,"));
    let names = each(&|variant, name, _| format!("            Self::{variant}(_) => {name}::NAME,"));
    let maxima = each(&|variant, name, _| format!("            Self::{variant}(_) => {name}::MAX_VERSION,"));
    let decodes =
        each(&|variant, name, id| format!("            {id} => Self::{variant}(known::<{name}>(r, version)?),"));
    let encodes = each(&|variant, _, _| format!("            Self::{variant}(record) => record.encode(w, version),"));
    let uses = each(&|_, name, _| format!("pub use {}::{name};", snake(name)));
    let froms = each(&|variant, name, _| {
        format!(
            "\nimpl From<{name}> for MetadataRecord {{\n    fn from(record: {name}) -> Self {{\n        \
             Self::{variant}(record)\n    }}\n}}"
        )
    });
    format!(
        "{uses}\n\n/// Any record of `__cluster_metadata`.\n\
         #[derive(Clone, Debug, PartialEq)]\n\
         pub enum MetadataRecord {{\n{variants}\n}}\n\n\
         impl MetadataRecord {{\n    \
         /// The record type, Kafka's `MetadataRecordType`.\n    \
         pub const fn id(&self) -> i16 {{\n        match self {{\n{ids}\n        }}\n    }}\n\n    \
         /// As Kafka names the record: `TopicRecord`.\n    \
         pub const fn name(&self) -> &'static str {{\n        match self {{\n{names}\n        }}\n    }}\n\n    \
         /// The newest version that is known here.\n    \
         pub const fn max_version(&self) -> i16 {{\n        match self {{\n{maxima}\n        }}\n    }}\n\n    \
         fn decode_body(r: &mut Reader, id: u32, version: u32) -> Result<Self, DecodeError> {{\n        \
         Ok(match id {{\n{decodes}\n            _ => return Err(DecodeError::UnknownRecordType(id)),\n        }})\n    }}\n\n    \
         fn encode_body(&self, w: &mut Writer, version: i16) {{\n        match self {{\n{encodes}\n        }}\n    }}\n\
         }}\n{froms}\n"
    )
}

/// For tests: calls `again`, which reads as one version and writes as another, for the message of a name.
pub(crate) fn reencode(modules: &[(&str, &[Message])]) -> String {
    let mut arms = String::new();
    for (path, messages) in modules {
        for m in *messages {
            let _ = writeln!(
                arms,
                "        \"{0}\" => again::<{path}::{1}::{0}>(bytes, read, write),",
                m.name,
                snake(&m.name)
            );
        }
    }
    format!(
        "fn translate(name: &str, read: i16, write: i16, bytes: Bytes) -> Result<Bytes, DecodeError> {{\n    \
         match name {{\n{arms}        _ => panic!(\"no message {{name}}\"),\n    }}\n}}\n"
    )
}

struct Emitter<'a> {
    message: &'a Message,
}

impl Emitter<'_> {
    fn message(&self) -> String {
        let m = self.message;
        let structs: String = m.structs.iter().map(|s| self.structure(s)).collect();
        let flexible = option(m.flexible.map(|f| f.min));
        let mut tail = format!(
            "\n    impl Versioned for {0} {{\n        const NAME: &'static str = \"{0}\";\n        \
             const MIN_VERSION: i16 = {1};\n        const MAX_VERSION: i16 = {2};\n        \
             const FLEXIBLE_FROM: Option<i16> = {flexible};\n    }}\n",
            m.name, m.versions.min, m.versions.max
        );
        match (m.kind, m.id) {
            (Kind::Request, _) => {
                let api = m.name.trim_end_matches("Request");
                let _ = write!(
                    tail,
                    "\n    impl Request for {}{{\n        const KEY: ApiKey = ApiKey::{api};\n        \
                     type Response = super::{}_response::{api}Response;\n    }}\n",
                    m.name,
                    snake(api)
                );
            }
            (Kind::Record | Kind::Key | Kind::Value, Some(id)) => {
                let _ = write!(
                    tail,
                    "\n    impl {} {{\n        /// The record type.\n        pub const ID: i16 = {id};\n    }}\n",
                    m.name
                );
            }
            _ => {}
        }
        let mut imports = String::new();
        let has = |base: &Base| m.structs.iter().flat_map(|s| &s.fields).any(|f| f.base == *base);
        for (used, path) in [
            (has(&Base::Bytes), "bytes::Bytes"),
            (has(&Base::String), "bytestring::ByteString"),
            (has(&Base::Uuid), "crate::model::uuid::Uuid"),
            (m.kind == Kind::Request, "crate::protocol::api::ApiKey"),
            (has(&Base::Records), "crate::protocol::wire::Records"),
            (m.kind == Kind::Request, "crate::protocol::wire::Request"),
        ] {
            if used {
                let _ = writeln!(imports, "    use {path};");
            }
        }
        format!(
            "/// `{}`, versions {}-{}.\npub mod {} {{\n{imports}    \
             use crate::protocol::wire::{{DecodeError, Message, Reader, Versioned, Writer}};\n{structs}{tail}}}\n\n",
            m.name,
            m.versions.min,
            m.versions.max,
            snake(&m.name)
        )
    }

    fn structure(&self, s: &Struct) -> String {
        let name = &s.name;
        let plain_default = s.fields.iter().all(|f| default_value(f) == "Default::default()");
        let derive = if plain_default { "Clone, Debug, Default, PartialEq" } else { "Clone, Debug, PartialEq" };
        let mut out = format!("\n    #[derive({derive})]\n    pub struct {name} {{\n");
        for f in &s.fields {
            let _ = writeln!(out, "        pub {}: {},", ident(f), rust_type(f));
        }
        out.push_str("    }\n");
        if !plain_default {
            let _ =
                write!(out, "\n    impl Default for {name} {{\n        fn default() -> Self {{\n            Self {{\n");
            for f in &s.fields {
                let _ = writeln!(out, "                {}: {},", ident(f), default_value(f));
            }
            out.push_str("            }\n        }\n    }\n");
        }
        let decode = self.decode(s);
        let encode = self.encode(s);
        let _ = write!(
            out,
            "\n    impl Message for {name} {{\n        const MIN_SIZE: usize = {};\n\n        \
             fn decode({}: &mut Reader, {}: i16) -> Result<Self, DecodeError> {{\n{decode}        }}\n\n        \
             fn encode(&self, {}: &mut Writer, {}: i16) {{\n{encode}        }}\n    }}\n",
            self.min_size(s),
            unused("r", &decode),
            unused("version", &decode),
            unused("w", &encode),
            unused("version", &encode),
        );
        out
    }

    fn decode(&self, s: &Struct) -> String {
        let tagged: Vec<_> = s.fields.iter().filter(|f| f.tag.is_some()).collect();
        let has_tags = self.has_tags(s);
        let mut body = String::new();
        let (open, close) = match (has_tags, tagged.is_empty()) {
            (false, _) => ("            Ok(Self {", "            })\n"),
            (true, true) => ("            let message = Self {", "            };\n"),
            (true, false) => ("            let mut message = Self {", "            };\n"),
        };
        let _ = writeln!(body, "{open}");
        for f in &s.fields {
            let value = match (f.tag, condition(f.versions, s.versions)) {
                (Some(_), _) => default_value(f),
                (None, None) => format!("{}?", self.read(f, s)),
                (None, Some(only)) => {
                    format!("if {only} {{ {}? }} else {{ {} }}", self.read(f, s), default_value(f))
                }
            };
            let _ = writeln!(body, "                {}: {value},", ident(f));
        }
        body.push_str(close);
        if has_tags {
            let fields = if tagged.is_empty() {
                "r.skip_tagged_fields()?;".to_owned()
            } else {
                let mut arms = String::new();
                for f in &tagged {
                    let (tag, read) = (f.tag.unwrap_or_default(), self.read(f, s));
                    let only =
                        condition(f.versions, self.flexible_part(s)).map_or(String::new(), |c| format!(" if {c}"));
                    let _ = writeln!(arms, "        {tag}{only} => message.{} = {read}?,", ident(f));
                }
                format!(
                    "r.tagged_fields(|tag, r| {{\n    match tag {{\n{arms}        _ => return Ok(false),\n    }}\n    \
                     Ok(true)\n}})?;"
                )
            };
            body.push_str(&indent(&self.if_flexible(s, &fields)));
            body.push_str("            Ok(message)\n");
        }
        self.with_flexible(s, body)
    }

    fn encode(&self, s: &Struct) -> String {
        let mut body = String::new();
        for f in s.fields.iter().filter(|f| f.tag.is_none()) {
            let write = self.write(f, s);
            let _ = match condition(f.versions, s.versions) {
                None => writeln!(body, "            {write};"),
                Some(only) => writeln!(body, "            if {only} {{ {write}; }}"),
            };
        }
        if self.has_tags(s) {
            let mut tagged: Vec<_> = s.fields.iter().filter(|f| f.tag.is_some()).collect();
            tagged.sort_by_key(|f| f.tag);
            let mut fields = String::from(if tagged.is_empty() { "" } else { "let mut tags = " });
            fields.push_str("w.tagged_fields();");
            for f in tagged {
                let only = condition(f.versions, self.flexible_part(s)).map_or(String::new(), |c| format!("{c} && "));
                let (differs, tag, write) = (differs(f), f.tag.unwrap_or_default(), self.write(f, s));
                let _ = write!(fields, "\nif {only}{differs} {{ tags.field({tag}, |w| {write}); }}");
            }
            body.push_str(&indent(&self.if_flexible(s, &fields)));
        }
        self.with_flexible(s, body)
    }

    /// The expression that reads a field's value, without its `?`.
    fn read(&self, f: &Field, s: &Struct) -> String {
        let flexible = self.flexible(f, s);
        let allowed = allowed(f);
        if f.array {
            let element = match &f.base {
                Base::Struct(name) => format!("|r| {name}::decode(r, version)"),
                Base::String => format!("|r| r.string({flexible})"),
                Base::Bytes => format!("|r| r.bytes({flexible})"),
                base => format!("Reader::{}", primitive(base)),
            };
            let min = self.element_min_size(f);
            return match allowed {
                None => format!("r.array({flexible}, {min}, {element})"),
                Some(allowed) => format!("r.nullable_array({allowed}, {flexible}, {min}, {element})"),
            };
        }
        match (&f.base, allowed) {
            (Base::Struct(name), None) => format!("{name}::decode(r, version)"),
            (Base::Struct(name), Some(_)) => format!("r.nullable(|r| {name}::decode(r, version))"),
            (Base::String, None) => format!("r.string({flexible})"),
            (Base::String, Some(allowed)) => format!("r.nullable_string({allowed}, {flexible})"),
            (Base::Bytes, None) => format!("r.bytes({flexible})"),
            (Base::Bytes, Some(allowed)) => format!("r.nullable_bytes({allowed}, {flexible})"),
            (Base::Records, allowed) => format!("r.records({}, {flexible})", allowed.as_deref().unwrap_or("false")),
            (base, _) => format!("r.{}()", primitive(base)),
        }
    }

    fn write(&self, f: &Field, s: &Struct) -> String {
        let flexible = self.flexible(f, s);
        let allowed = allowed(f);
        let value = format!("self.{}", ident(f));
        if f.array {
            let element = match &f.base {
                Base::Struct(_) => "|w, element| element.encode(w, version)".to_owned(),
                Base::String => format!("|w, element| w.string(element, {flexible})"),
                Base::Bytes => format!("|w, element| w.bytes(element, {flexible})"),
                Base::Uuid => "Writer::uuid".to_owned(),
                base => format!("|w, element| w.{}(*element)", primitive(base)),
            };
            return match allowed {
                None => format!("w.array({flexible}, &{value}, {element})"),
                Some(allowed) => format!("w.nullable_array({allowed}, {flexible}, {value}.as_ref(), {element})"),
            };
        }
        match (&f.base, allowed) {
            (Base::Struct(_), None) => format!("{value}.encode(w, version)"),
            (Base::Struct(_), Some(_)) => format!("w.nullable({value}.as_ref(), version)"),
            (Base::String, None) => format!("w.string(&{value}, {flexible})"),
            (Base::String, Some(allowed)) => format!("w.nullable_string({allowed}, {value}.as_ref(), {flexible})"),
            (Base::Bytes, None) => format!("w.bytes(&{value}, {flexible})"),
            (Base::Bytes, Some(allowed)) => format!("w.nullable_bytes({allowed}, {value}.as_ref(), {flexible})"),
            (Base::Records, allowed) => {
                format!("w.records({}, &{value}, {flexible})", allowed.as_deref().unwrap_or("false"))
            }
            (Base::Uuid, _) => format!("w.uuid(&{value})"),
            (base, _) => format!("w.{}({value})", primitive(base)),
        }
    }

    fn has_tags(&self, s: &Struct) -> bool {
        self.message.flexible.is_some_and(|f| f.min <= s.versions.max)
    }

    /// The versions of a structure that are flexible; only asked where there are some.
    fn flexible_part(&self, s: &Struct) -> Versions {
        let min = self.message.flexible.map_or(s.versions.min, |f| f.min.max(s.versions.min));
        Versions { min, max: s.versions.max }
    }

    /// Whether a field has the compact encoding: `true`, `false`, or the name of the variable that says so.
    fn flexible(&self, f: &Field, s: &Struct) -> &'static str {
        match self.message.flexible {
            Some(flexible) if !f.inflexible && flexible.min <= f.versions.max => {
                if flexible.min <= f.versions.min.max(s.versions.min) { "true" } else { "flexible" }
            }
            _ => "false",
        }
    }

    fn if_flexible(&self, s: &Struct, statements: &str) -> String {
        if self.flexible_part(s).min == s.versions.min {
            statements.to_owned()
        } else {
            format!("if flexible {{\n    {}\n}}", statements.replace('\n', "\n    "))
        }
    }

    /// Puts the variable `flexible` before a body that needs it.
    fn with_flexible(&self, s: &Struct, body: String) -> String {
        let used = body.contains("flexible)") || body.contains("flexible,") || body.contains("if flexible ");
        if used {
            format!("            let flexible = version >= {};\n{body}", self.flexible_part(s).min)
        } else {
            body
        }
    }

    /// The smallest encoding over all versions of a structure.
    fn min_size(&self, s: &Struct) -> usize {
        (s.versions.min..=s.versions.max).map(|v| self.size_in(s, v)).min().unwrap_or_default()
    }

    fn size_in(&self, s: &Struct, version: i16) -> usize {
        let flexible = self.message.flexible.is_some_and(|f| f.min <= version);
        let fields = s.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
        fields.map(|f| self.field_size(f, version, flexible && !f.inflexible)).sum::<usize>() + usize::from(flexible)
    }

    fn field_size(&self, f: &Field, version: i16, flexible: bool) -> usize {
        match &f.base {
            _ if f.array => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Base::Struct(_) if f.nullable.is_some() => 1,
            Base::Struct(name) => self.message.find(name).map_or(0, |s| self.size_in(s, version)),
            base => self.base_size(base, flexible),
        }
    }

    fn base_size(&self, base: &Base, flexible: bool) -> usize {
        match base {
            Base::Bool | Base::Int8 => 1,
            Base::Int16 | Base::Uint16 => 2,
            Base::Int32 => 4,
            Base::Int64 | Base::Float64 => 8,
            Base::Uuid => 16,
            Base::String => {
                if flexible {
                    1
                } else {
                    2
                }
            }
            Base::Bytes | Base::Records => {
                if flexible {
                    1
                } else {
                    4
                }
            }
            Base::Struct(name) => self.message.find(name).map_or(0, |s| self.min_size(s)),
        }
    }

    fn element_min_size(&self, f: &Field) -> String {
        match &f.base {
            Base::Struct(name) => format!("{name}::MIN_SIZE"),
            base => self.base_size(base, self.message.flexible.is_some()).to_string(),
        }
    }
}

/// When a field is there, as Rust; `None` when it always is.
fn condition(inner: Versions, outer: Versions) -> Option<String> {
    match (inner.min > outer.min, inner.max < outer.max) {
        (false, false) => None,
        (true, false) => Some(format!("version >= {}", inner.min)),
        _ if inner.min == inner.max => Some(format!("version == {}", inner.min)),
        (false, true) => Some(format!("version <= {}", inner.max)),
        (true, true) => Some(format!("({}..={}).contains(&version)", inner.min, inner.max)),
    }
}

/// Whether null is allowed, as Rust; `None` for a field that never is.
fn allowed(f: &Field) -> Option<String> {
    f.nullable.map(|n| condition(n, f.versions).unwrap_or_else(|| "true".to_owned()))
}

fn optional(f: &Field) -> bool {
    f.nullable.is_some() && (f.array || f.base != Base::Records)
}

fn ident(f: &Field) -> String {
    let name = snake(&f.name);
    if matches!(name.as_str(), "type" | "match") { format!("r#{name}") } else { name }
}

fn rust_type(f: &Field) -> String {
    let base = match &f.base {
        Base::Uuid => "Uuid",
        Base::String => "ByteString",
        Base::Bytes => "Bytes",
        Base::Records => "Records",
        Base::Struct(name) => name,
        base => primitive(base),
    };
    let array = if f.array { format!("Vec<{base}>") } else { base.to_owned() };
    if optional(f) { format!("Option<{array}>") } else { array }
}

/// The Rust type of a number, which is also the name of its reader and writer.
fn primitive(base: &Base) -> &'static str {
    match base {
        Base::Bool => "bool",
        Base::Int8 => "i8",
        Base::Int16 => "i16",
        Base::Uint16 => "u16",
        Base::Int32 => "i32",
        Base::Int64 => "i64",
        Base::Float64 => "f64",
        Base::Uuid => "uuid",
        Base::String => "string",
        Base::Bytes => "bytes",
        Base::Records => "records",
        Base::Struct(_) => "structure",
    }
}

fn default_value(f: &Field) -> String {
    match f.default.as_deref() {
        None if optional(f) => "Some(Default::default())".to_owned(),
        None | Some("null") => "Default::default()".to_owned(),
        Some(value) => literal(value),
    }
}

/// The expression that says that a field is not its default, and so must be written.
fn differs(f: &Field) -> String {
    let value = format!("self.{}", ident(f));
    match (f.default.as_deref(), &f.base) {
        (Some("null"), _) => format!("{value}.is_some()"),
        (None, _) if optional(f) => format!("{value} != Some(Default::default())"),
        (None, Base::String | Base::Bytes) => format!("!{value}.is_empty()"),
        (None, _) if f.array => format!("!{value}.is_empty()"),
        (None, Base::Uuid) => format!("!{value}.is_zero()"),
        (None, Base::Bool) => value,
        (None, Base::Struct(name)) => format!("{value} != {name}::default()"),
        (None, _) => format!("{value} != 0"),
        (Some("true"), _) => format!("!{value}"),
        (Some(default), _) => format!("{value} != {}", literal(default)),
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

fn option(value: Option<i16>) -> String {
    value.map_or("None".to_owned(), |value| format!("Some({value})"))
}

/// Statements at the depth of a method's body.
fn indent(statements: &str) -> String {
    statements.lines().map(|line| format!("            {line}\n")).collect()
}

/// The name of a parameter, with an underscore where the body has no use for it.
fn unused(name: &str, body: &str) -> String {
    let uses = match name {
        "version" => {
            ["version >", "version <", "version =", "&version", ", version)"].iter().any(|use_| body.contains(use_))
        }
        name => body.contains(&format!("{name}.")) || body.contains(&format!("({name}")),
    };
    if uses { name.to_owned() } else { format!("_{name}") }
}
