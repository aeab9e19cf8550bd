//! What spans messages: the table of APIs, the enum of metadata records, and what tests find messages by.

use super::notation::{Kind, Message};
use super::snake;

/// `ApiKey` and the facts about each key, from the requests among `messages`.
pub(crate) fn api_keys(messages: &[Message]) -> String {
    let mut requests: Vec<_> = messages.iter().filter(|m| m.kind == Kind::Request).collect();
    requests.sort_by_key(|m| m.id);
    let [mut variants, mut all, mut facts] = [const { String::new() }; 3];
    for m in requests {
        let name = m.name.trim_end_matches("Request");
        let id = m.id.unwrap_or_default();
        let min = m.versions.min;
        // The newest version of an unstable message is known to the codec, but not served.
        let max = m.versions.max - i16::from(m.unstable);
        let flexible = m.flexible.map_or("None".to_owned(), |f| format!("Some({})", f.min));
        let [broker, controller] = ["broker", "controller"].map(|listener| m.listeners.iter().any(|l| l == listener));
        variants += &format!("    {name} = {id},\n");
        all += &format!("        Self::{name},\n");
        facts += &format!(
            "            Self::{name} => Facts {{
                number: {id},
                name: \"{name}\",
                versions: VersionRange::new({min}, {max}),
                flexible_from: {flexible},
                broker: {broker},
                controller: {controller},
            }},
"
        );
    }
    format!(
        "/// Kafka's `ApiKeys`, those that 4.3.1 still knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum ApiKey {{
{variants}}}

impl ApiKey {{
    /// In the order of their numbers.
    pub const ALL: &[Self] = &[
{all}    ];

    const fn facts(self) -> Facts {{
        match self {{
{facts}        }}
    }}
}}
"
    )
}

/// `MetadataRecord`: one variant a record type.
pub(crate) fn metadata_records(messages: &[Message]) -> String {
    let [mut uses, mut variants, mut ids, mut names, mut maxima] = [const { String::new() }; 5];
    let [mut decodes, mut encodes, mut froms] = [const { String::new() }; 3];
    for m in messages.iter().filter(|m| m.kind == Kind::Record) {
        let name = &m.name;
        let variant = name.trim_end_matches("Record");
        let id = m.id.unwrap_or_default();
        uses += &format!("pub use {}::{name};\n", snake(name));
        variants += &format!("    {variant}({name}),\n");
        ids += &format!("            Self::{variant}(_) => {name}::ID,\n");
        names += &format!("            Self::{variant}(_) => {name}::NAME,\n");
        maxima += &format!("            Self::{variant}(_) => {name}::MAX_VERSION,\n");
        decodes += &format!("            {id} => Self::{variant}(known::<{name}>(r, version)?),\n");
        encodes += &format!("            Self::{variant}(record) => record.encode(w, version),\n");
        froms += &format!(
            "
impl From<{name}> for MetadataRecord {{
    fn from(record: {name}) -> Self {{
        Self::{variant}(record)
    }}
}}
"
        );
    }
    format!(
        "
{uses}
/// Any record of `__cluster_metadata`.
#[derive(Clone, Debug, PartialEq)]
pub enum MetadataRecord {{
{variants}}}

impl MetadataRecord {{
    /// The record type, Kafka's `MetadataRecordType`.
    pub const fn id(&self) -> i16 {{
        match self {{
{ids}        }}
    }}

    /// As Kafka names the record: `TopicRecord`.
    pub const fn name(&self) -> &'static str {{
        match self {{
{names}        }}
    }}

    /// The newest version that is known here.
    pub const fn max_version(&self) -> i16 {{
        match self {{
{maxima}        }}
    }}

    fn decode_body(r: &mut Reader, id: u32, version: u32) -> Result<Self, DecodeError> {{
        Ok(match id {{
{decodes}            _ => return Err(DecodeError::UnknownRecordType(id)),
        }})
    }}

    fn encode_body(&self, w: &mut Writer, version: i16) {{
        match self {{
{encodes}        }}
    }}
}}
{froms}"
    )
}

/// For tests: calls `again`, which reads as one version and writes as another, for the message of a name.
pub(crate) fn translate(modules: &[(&str, &[Message])]) -> String {
    let mut arms = String::new();
    for (path, messages) in modules {
        for Message { name, .. } in *messages {
            arms += &format!("        \"{name}\" => again::<{path}::{}::{name}>(bytes, read, write),\n", snake(name));
        }
    }
    format!(
        "fn translate(name: &str, read: i16, write: i16, bytes: Bytes) -> Result<Bytes, DecodeError> {{
    match name {{
{arms}        _ => panic!(\"no message {{name}}\"),
    }}
}}
"
    )
}
