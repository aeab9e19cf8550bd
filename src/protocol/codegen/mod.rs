//! From the schema notation to Rust: the module that `build.rs` includes by path; tests include `notation`.
//!
//! Text in, text out, standard library only. Precedent: Kafka's message generator (`MessageDataGenerator`); what is
//! generated is described in `protocol/wire`.

mod emit;
mod notation;

pub(crate) use emit::{api_keys, metadata_records, module, reencode};
pub(crate) use notation::{Message, parse};

/// The name of a field or a module: `KRaftVersionFeature` becomes `kraft_version_feature`.
pub(crate) fn snake(name: &str) -> String {
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
