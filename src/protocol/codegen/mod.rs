//! From the schema notation to Rust: the module that `build.rs` includes by path; tests include [`notation`].
//!
//! Text in, text out, standard library only. What is generated leans on `protocol/wire`, so that each message is little
//! more than the list of its fields, once to read and once to write. Precedent: Kafka's `MessageDataGenerator`.

mod fields;
pub(crate) mod notation;
mod sizes;
mod structures;
mod tables;

pub(crate) use notation::{Message, parse};
pub(crate) use structures::module;
pub(crate) use tables::{api_keys, metadata_records, translate};

/// The name of a field or a module: `KRaftVersionFeature` becomes `kraft_version_feature`.
fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let chars: Vec<char> = name.chars().collect();
    let mut out = String::new();
    for (at, &c) in chars.iter().enumerate() {
        let after_lower = at > 0 && !chars[at - 1].is_ascii_uppercase();
        let before_lower = at > 0 && chars.get(at + 1).is_some_and(char::is_ascii_lowercase);
        if c.is_ascii_uppercase() && (after_lower || before_lower) {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
