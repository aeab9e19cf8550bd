//! The structures of a message, and how they are read and written.

use super::fields::condition;
use super::notation::{Base, Field, Kind, Message, Struct, Versions};
use super::snake;

/// One module for each message, named as the message.
pub(crate) fn module(messages: &[Message]) -> String {
    messages.iter().map(Message::module).collect()
}

impl Message {
    fn module(&self) -> String {
        let Self { name, versions: Versions { min, max }, .. } = self;
        let module = snake(name);
        let imports = self.imports();
        let structs: String = self.structs.iter().map(|s| self.structure(s)).collect();
        let flexible_from = self.flexible.map_or("None".to_owned(), |f| format!("Some({})", f.min));
        let extra = self.extra();
        format!(
            "
/// `{name}`, versions {min}-{max}.
pub mod {module} {{
    use crate::protocol::wire::{{DecodeError, Message, Reader, Versioned, Writer}};
{imports}{structs}
    impl Versioned for {name} {{
        const NAME: &'static str = \"{name}\";
        const MIN_VERSION: i16 = {min};
        const MAX_VERSION: i16 = {max};
        const FLEXIBLE_FROM: Option<i16> = {flexible_from};
    }}
{extra}}}
"
        )
    }

    fn imports(&self) -> String {
        let has = |base: &Base| self.structs.iter().flat_map(|s| &s.fields).any(|f| f.base == *base);
        let imports = [
            (has(&Base::Bytes), "bytes::Bytes"),
            (has(&Base::String), "bytestring::ByteString"),
            (has(&Base::Uuid), "crate::model::uuid::Uuid"),
            (has(&Base::Records), "crate::protocol::wire::Records"),
            (self.kind == Kind::Request, "crate::protocol::{api::ApiKey, wire::Request}"),
        ];
        imports.iter().filter(|(used, _)| *used).map(|(_, path)| format!("    use {path};\n")).collect()
    }

    /// What a request, or a record with a type, says of itself besides.
    fn extra(&self) -> String {
        let name = &self.name;
        match (self.kind, self.id) {
            (Kind::Request, _) => {
                let api = name.trim_end_matches("Request");
                let module = snake(api);
                format!(
                    "
    impl Request for {name} {{
        const KEY: ApiKey = ApiKey::{api};
        type Response = super::{module}_response::{api}Response;
    }}
"
                )
            }
            (Kind::Record | Kind::Key | Kind::Value, Some(id)) => format!(
                "
    impl {name} {{
        /// The record type.
        pub const ID: i16 = {id};
    }}
"
            ),
            _ => String::new(),
        }
    }

    fn structure(&self, s: &Struct) -> String {
        let name = &s.name;
        let plain = s.fields.iter().all(|f| f.default_value() == "Default::default()");
        let secret = s.fields.iter().any(|f| f.secret);
        let derives = [("Clone", true), ("Debug", !secret), ("Default", plain), ("PartialEq", true)];
        let derives: Vec<_> = derives.iter().filter(|(_, yes)| *yes).map(|(derive, _)| *derive).collect();
        let derives = derives.join(", ");
        let fields = lines(2, s.fields.iter().map(|f| format!("pub {}: {},", f.ident(), f.rust_type())));
        let default = if plain { String::new() } else { default(s) };
        let debug = if secret { debug(s) } else { String::new() };
        let min_size = self.min_size(s);
        let decode = self.decode(s);
        let encode = self.encode(s);
        let [r, decoded] = ["r", "version"].map(|parameter| named(parameter, &decode));
        let [w, encoded] = ["w", "version"].map(|parameter| named(parameter, &encode));
        format!(
            "
    #[derive({derives})]
    pub struct {name} {{
{fields}    }}
{default}{debug}
    impl Message for {name} {{
        const MIN_SIZE: usize = {min_size};

        fn decode({r}: &mut Reader, {decoded}: i16) -> Result<Self, DecodeError> {{
{decode}        }}

        fn encode(&self, {w}: &mut Writer, {encoded}: i16) {{
{encode}        }}
    }}
"
        )
    }

    fn decode(&self, s: &Struct) -> String {
        let tagged: Vec<&Field> = s.fields.iter().filter(|f| f.tag.is_some()).collect();
        let values = s.fields.iter().map(|f| {
            let value = match (f.tag, condition(f.versions, s.versions)) {
                (Some(_), _) => f.default_value(),
                (None, None) => format!("{}?", self.read(f, s)),
                (None, Some(only)) => format!("if {only} {{ {}? }} else {{ {} }}", self.read(f, s), f.default_value()),
            };
            format!("    {}: {value},", f.ident())
        });
        let values: Vec<String> = values.collect();
        let mut body = Vec::new();
        match self.flexible_part(s) {
            None => {
                body.push("Ok(Self {".to_owned());
                body.extend(values);
                body.push("})".to_owned());
            }
            Some(flexible) => {
                body.push(format!("let {}message = Self {{", if tagged.is_empty() { "" } else { "mut " }));
                body.extend(values);
                body.push("};".to_owned());
                body.extend(if_flexible(s, flexible, self.read_tagged(s, flexible, &tagged)));
                body.push("Ok(message)".to_owned());
            }
        }
        self.with_flexible(s, body)
    }

    fn read_tagged(&self, s: &Struct, flexible: Versions, tagged: &[&Field]) -> Vec<String> {
        if tagged.is_empty() {
            return vec!["r.skip_tagged_fields()?;".to_owned()];
        }
        let mut out = vec!["r.tagged_fields(|tag, r| {".to_owned(), "    match tag {".to_owned()];
        for f in tagged {
            let tag = f.tag.unwrap_or_default();
            let only = condition(f.versions, flexible).map_or(String::new(), |only| format!(" if {only}"));
            out.push(format!("        {tag}{only} => message.{} = {}?,", f.ident(), self.read(f, s)));
        }
        out.extend(["        _ => return Ok(false),", "    }", "    Ok(true)", "})?;"].map(str::to_owned));
        out
    }

    fn encode(&self, s: &Struct) -> String {
        let mut body = Vec::new();
        for f in s.fields.iter().filter(|f| f.tag.is_none()) {
            let write = self.write(f, s);
            body.push(match condition(f.versions, s.versions) {
                None => format!("{write};"),
                Some(only) => format!("if {only} {{ {write}; }}"),
            });
        }
        if let Some(flexible) = self.flexible_part(s) {
            body.extend(if_flexible(s, flexible, self.write_tagged(s, flexible)));
        }
        self.with_flexible(s, body)
    }

    fn write_tagged(&self, s: &Struct, flexible: Versions) -> Vec<String> {
        let mut tagged: Vec<&Field> = s.fields.iter().filter(|f| f.tag.is_some()).collect();
        tagged.sort_by_key(|f| f.tag);
        let tags = if tagged.is_empty() { "" } else { "let mut tags = " };
        let mut out = vec![format!("{tags}w.tagged_fields();")];
        for f in tagged {
            let (tag, differs, write) = (f.tag.unwrap_or_default(), f.differs(), self.write(f, s));
            let only = condition(f.versions, flexible).map_or(String::new(), |only| format!("{only} && "));
            out.push(format!("if {only}{differs} {{ tags.field({tag}, |w| {write}); }}"));
        }
        out
    }

    /// The versions of a structure that are flexible, if any.
    fn flexible_part(&self, s: &Struct) -> Option<Versions> {
        let min = self.flexible?.min.max(s.versions.min);
        (min <= s.versions.max).then_some(Versions { min, max: s.versions.max })
    }

    /// Statements as the body of a method, with the variable `flexible` before them where they need it.
    fn with_flexible(&self, s: &Struct, mut body: Vec<String>) -> String {
        let needed = |line: &String| ["flexible,", "flexible)", "if flexible"].iter().any(|word| line.contains(word));
        if body.iter().any(needed) {
            let from = self.flexible_part(s).map_or(s.versions.max, |f| f.min);
            body.insert(0, format!("let flexible = version >= {from};"));
        }
        lines(3, body)
    }
}

fn default(s: &Struct) -> String {
    let name = &s.name;
    let values = lines(4, s.fields.iter().map(|f| format!("{}: {},", f.ident(), f.default_value())));
    format!(
        "
    impl Default for {name} {{
        fn default() -> Self {{
            Self {{
{values}            }}
        }}
    }}
"
    )
}

/// What prints a structure with secrets in it: all but those.
fn debug(s: &Struct) -> String {
    let name = &s.name;
    let fields = lines(
        4,
        s.fields.iter().map(|f| {
            let ident = f.ident();
            let value = if f.secret { "format_args!(\"********\")".to_owned() } else { format!("self.{ident}") };
            format!(".field(\"{ident}\", &{value})")
        }),
    );
    format!(
        "
    impl std::fmt::Debug for {name} {{
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {{
            f.debug_struct(\"{name}\")
{fields}                .finish()
        }}
    }}
"
    )
}

fn if_flexible(s: &Struct, flexible: Versions, statements: Vec<String>) -> Vec<String> {
    if flexible == s.versions {
        return statements;
    }
    let mut out = vec!["if flexible {".to_owned()];
    out.extend(statements.iter().map(|line| format!("    {line}")));
    out.push("}".to_owned());
    out
}

fn lines(depth: usize, lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| format!("{:1$}{line}\n", "", depth * 4)).collect()
}

/// The name of a parameter, with an underscore before it where the body has no use for it.
fn named(parameter: &str, body: &str) -> String {
    let uses: &[&str] = match parameter {
        "r" => &[" r.", "(r, "],
        "w" => &[" w.", "(w, "],
        _ => &["version >", "version <", "version =", "&version", ", version)"],
    };
    if uses.iter().any(|word| body.contains(word)) { parameter.to_owned() } else { format!("_{parameter}") }
}
