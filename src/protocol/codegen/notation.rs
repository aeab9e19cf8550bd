//! Reads the schema notation into [`Message`]s.
//!
//! ```text
//! request 0 ProduceRequest 3-13 flexible 9+ on broker {      kind, api key or record id, name, versions
//!     TransactionalId string? = null                         `?`: nullable; `?2+`: nullable in these versions
//!     TopicData []TopicProduceData {                         a structure described in place
//!         TopicId uuid 13+ ignorable                         only in these versions (none said: as what encloses it)
//!     }
//!     NodeEndpoints []NodeEndpoint 10+ #0                    `#0`: a tagged field (KIP-482)
//!     struct NodeEndpoint { ... }                            a structure named more than once
//! }
//! ```
//! Further words: `unstable` (the newest version is not served), `inflexible` (the field keeps the old encoding in
//! flexible versions), `= value` (default; without it zero, false or empty), `ignorable` (Kafka leaves the field out of
//! versions without it even when it is not its default; Schloss always does), `secret` (ours: never printed), `#` at the
//! start of a line (a remark).
//! Precedent: the message definitions of Apache Kafka, whose names are kept as they are spelled there.

use std::fmt;

/// An inclusive range of versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Versions {
    pub(crate) min: i16,
    pub(crate) max: i16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request,
    Response,
    Header,
    /// Stands alone: control records, client protocols.
    Data,
    /// A record of `__cluster_metadata`.
    Record,
    /// Key or value of a coordinator's record.
    Key,
    Value,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Message {
    pub(crate) kind: Kind,
    /// Api key of a request or response, type of a record.
    pub(crate) id: Option<i16>,
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) flexible: Option<Versions>,
    pub(crate) unstable: bool,
    /// `broker`, `controller`
    pub(crate) listeners: Vec<String>,
    /// The message itself first, then every structure inside it in the order of appearance.
    pub(crate) structs: Vec<Struct>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Struct {
    pub(crate) name: String,
    /// Versions in which it can occur.
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) array: bool,
    pub(crate) base: Base,
    pub(crate) versions: Versions,
    pub(crate) nullable: Option<Versions>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    pub(crate) inflexible: bool,
    /// Ours, not Kafka's.
    pub(crate) secret: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Base {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Int64,
    Float64,
    Uuid,
    String,
    Bytes,
    Records,
    Struct(String),
}

/// A line that is not of the notation.
#[derive(Debug)]
pub(crate) struct NotationError {
    line: usize,
    what: String,
}

impl fmt::Display for NotationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for NotationError {}

impl Versions {
    /// Reads `3`, `3-5` or `3+`; `3+` ends where `outer` does.
    pub(crate) fn parse(text: &str, outer: Self) -> Option<Self> {
        let (min, max) = if let Some(min) = text.strip_suffix('+') {
            (min.parse().ok()?, outer.max)
        } else if let Some((min, max)) = text.split_once('-') {
            (min.parse().ok()?, max.parse().ok()?)
        } else {
            let only = text.parse().ok()?;
            (only, only)
        };
        (outer.min <= min && min <= max && max <= outer.max).then_some(Self { min, max })
    }

    pub(crate) fn contains(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

impl Base {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            name if name.starts_with(|c: char| c.is_ascii_uppercase()) => Self::Struct(name.to_owned()),
            _ => return None,
        })
    }
}

impl Message {
    /// The structure named `name`.
    pub(crate) fn find(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|s| s.name == name)
    }
}

/// Reads one schema file.
///
/// # Errors
/// The first line that is not of the notation.
pub(crate) fn parse(text: &str) -> Result<Vec<Message>, NotationError> {
    let mut messages = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let fail = |what: &str| NotationError { line: number + 1, what: what.to_owned() };
        match (words.as_slice(), &mut open) {
            ([] | ["#", ..], _) => {}
            (["}"], Some(o)) => {
                if o.close() {
                    messages.extend(open.take().map(|o| o.message));
                }
            }
            (words, Some(o)) => o.line(words).map_err(|what| fail(&what))?,
            (words, None) => open = Some(Open::message(words).ok_or_else(|| fail("not the head of a message"))?),
        }
    }
    match open {
        Some(o) => Err(NotationError { line: text.lines().count(), what: format!("{} is not closed", o.message.name) }),
        None => Ok(messages),
    }
}

/// A message being read, with the structures whose braces are open.
struct Open {
    message: Message,
    stack: Vec<usize>,
}

impl Open {
    fn message(words: &[&str]) -> Option<Self> {
        let (kind, rest) = words.split_first()?;
        let kind = match *kind {
            "request" => Kind::Request,
            "response" => Kind::Response,
            "header" => Kind::Header,
            "data" => Kind::Data,
            "record" => Kind::Record,
            "key" => Kind::Key,
            "value" => Kind::Value,
            _ => return None,
        };
        let (id, rest) = match kind {
            Kind::Header | Kind::Data => (None, rest),
            _ => (Some(rest.first()?.parse().ok()?), rest.get(1..)?),
        };
        let (&[name, versions], mut rest) = rest.split_at_checked(2)? else { return None };
        let versions = Versions::parse(versions, Versions { min: 0, max: i16::MAX })?;
        let mut message = Message {
            kind,
            id,
            name: name.to_owned(),
            versions,
            flexible: None,
            unstable: false,
            listeners: Vec::new(),
            structs: vec![Struct { name: name.to_owned(), versions, fields: Vec::new() }],
        };
        loop {
            rest = match rest {
                ["{"] => return Some(Self { message, stack: vec![0] }),
                ["flexible", range, rest @ ..] => {
                    message.flexible = Some(Versions::parse(range, versions)?);
                    rest
                }
                ["unstable", rest @ ..] => {
                    message.unstable = true;
                    rest
                }
                ["on", rest @ ..] => rest,
                [listener @ ("broker" | "controller"), rest @ ..] => {
                    message.listeners.push((*listener).to_owned());
                    rest
                }
                _ => return None,
            };
        }
    }

    /// Closes the innermost brace; true when that was the message's own.
    fn close(&mut self) -> bool {
        self.stack.pop();
        self.stack.is_empty()
    }

    fn line(&mut self, words: &[&str]) -> Result<(), String> {
        let top = *self.stack.last().ok_or("nothing is open")?;
        let outer = self.message.structs[top].versions;
        if let ["struct", name, rest @ ..] = words {
            let versions = match rest {
                ["{"] => outer,
                [range, "{"] => Versions::parse(range, outer).ok_or("bad versions")?,
                _ => return Err("not the head of a structure".to_owned()),
            };
            return self.open_struct(name, versions);
        }
        let (field, opens) = parse_field(words, outer)?;
        if field.tag.is_some() {
            if self.message.flexible.is_none_or(|f| f.min > field.versions.min) {
                return Err("a field is tagged in flexible versions only".to_owned());
            }
            if field.base == Base::Records {
                return Err("records are never tagged".to_owned());
            }
        }
        let inner = match (&field.base, opens) {
            (Base::Struct(name), true) => Some((name.clone(), field.versions)),
            (_, true) => return Err("only a structure has fields".to_owned()),
            _ => None,
        };
        self.message.structs[top].fields.push(field);
        inner.map_or(Ok(()), |(name, versions)| self.open_struct(&name, versions))
    }

    fn open_struct(&mut self, name: &str, versions: Versions) -> Result<(), String> {
        if self.message.find(name).is_some() {
            return Err(format!("{name} is described twice"));
        }
        self.stack.push(self.message.structs.len());
        self.message.structs.push(Struct { name: name.to_owned(), versions, fields: Vec::new() });
        Ok(())
    }
}

/// Reads `Name type [versions]`, then other words in any order, then perhaps a brace: true when it is there.
fn parse_field(words: &[&str], outer: Versions) -> Result<(Field, bool), String> {
    let [name, ty, rest @ ..] = words else { return Err("a field has a name and a type".to_owned()) };
    let (ty, nullable) = ty.split_once('?').map_or((*ty, None), |(ty, versions)| (ty, Some(versions)));
    let (array, base) = ty.strip_prefix("[]").map_or((false, ty), |base| (true, base));
    let base = Base::parse(base).ok_or_else(|| format!("{base} is no type"))?;
    let mut field = Field {
        name: (*name).to_owned(),
        array,
        base,
        versions: outer,
        nullable: None,
        tag: None,
        default: None,
        ignorable: false,
        inflexible: false,
        secret: false,
    };
    let mut rest = rest;
    if let [range, tail @ ..] = rest
        && range.starts_with(|c: char| c.is_ascii_digit())
    {
        field.versions = Versions::parse(range, outer).ok_or("versions outside of what encloses them")?;
        rest = tail;
    }
    field.nullable = match nullable {
        None => None,
        Some("") => Some(field.versions),
        Some(range) => Some(Versions::parse(range, field.versions).ok_or("bad nullable versions")?),
    };
    if matches!(field.base, Base::Struct(_)) && !field.array && field.nullable.is_some_and(|n| n != field.versions) {
        return Err("a structure is nullable in all versions or in none".to_owned());
    }
    loop {
        rest = match rest {
            [] => return Ok((field, false)),
            ["{"] => return Ok((field, true)),
            ["secret", rest @ ..] => {
                field.secret = true;
                rest
            }
            ["=", default, rest @ ..] => {
                field.default = Some((*default).to_owned());
                rest
            }
            ["ignorable", rest @ ..] => {
                field.ignorable = true;
                rest
            }
            ["inflexible", rest @ ..] => {
                field.inflexible = true;
                rest
            }
            [word, rest @ ..] => {
                let tag = word.strip_prefix('#').and_then(|tag| tag.parse().ok());
                field.tag = Some(tag.ok_or_else(|| format!("{word} means nothing here"))?);
                rest
            }
        };
    }
}
