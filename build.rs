//! Generates the protocol's messages and records from `src/protocol/schema` into `OUT_DIR`.
#![allow(clippy::print_stdout, reason = "a build script speaks to cargo on its output")]
#![allow(clippy::disallowed_methods, reason = "a build script is a program of its own, before the house stands")]

use std::error::Error;
use std::path::Path;
use std::{env, fs};

#[path = "src/protocol/codegen/mod.rs"]
mod codegen;

use codegen::Message;

/// Schema file, and the path of the module that holds its messages.
const RECORDS: [(&str, &str); 5] = [
    ("control", "crate::protocol::records::control"),
    ("group", "crate::protocol::records::group"),
    ("metadata", "crate::protocol::records::metadata"),
    ("share", "crate::protocol::records::share"),
    ("transaction", "crate::protocol::records::transaction"),
];
const MESSAGES: &str = "crate::protocol::messages";

fn main() -> Result<(), Box<dyn Error>> {
    for path in ["build.rs", "src/protocol/schema", "src/protocol/codegen"] {
        println!("cargo:rerun-if-changed={path}");
    }
    let out = env::var("OUT_DIR")?;
    let write = |name: &str, text: String| fs::write(Path::new(&out).join(name), text);
    let schema = Path::new("src/protocol/schema");

    let mut files = vec![schema.join("header.schema"), schema.join("client.schema")];
    for entry in fs::read_dir(schema.join("api"))? {
        files.push(entry?.path());
    }
    files.sort();
    let mut messages = Vec::new();
    let mut all = String::new();
    for file in files {
        messages.extend(read(&file, &mut all)?);
    }
    write("messages.rs", codegen::module(&messages))?;
    write("api_keys.rs", codegen::api_keys(&messages))?;

    let mut records = Vec::new();
    for (name, path) in RECORDS {
        let messages = read(&schema.join(format!("{name}.schema")), &mut all)?;
        let text = codegen::module(&messages);
        let text = if name == "metadata" { text + &codegen::metadata_records(&messages) } else { text };
        write(&format!("{name}.rs"), text)?;
        records.push((path, messages));
    }
    let modules = records.iter().map(|(path, messages)| (*path, messages.as_slice()));
    let modules: Vec<_> = modules.chain([(MESSAGES, messages.as_slice())]).collect();
    write("translate.rs", codegen::translate(&modules))?;
    // What the tests read.
    write("all.schema", all)?;
    Ok(())
}

/// Reads a schema file, and appends its text to `all`.
fn read(file: &Path, all: &mut String) -> Result<Vec<Message>, Box<dyn Error>> {
    let text = fs::read_to_string(file)?;
    all.push_str(&text);
    codegen::parse(&text).map_err(|e| format!("{}, {e}", file.display()).into())
}
