//! JAAS: who may log in, in the two grammars that Kafka users write it in.
//!
//! The static file is read as the JDK's `ConfigFile` reads it, the value of `sasl.jaas.config` as Kafka's `JaasConfig`
//! does: a text that works here works there and the other way round. Differences exist only where Java fails silently
//! (byte order mark, unclosed quote, unquoted `/`, one name twice) and are errors or warnings with a place. The class names
//! are words to us: [`check`] maps them to what is built in and refuses the rest. No password leaves this room except as
//! a `Secret`.

pub mod check;
mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

pub use lexer::Mode;

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::properties::MAX_FILE_BYTES;
use super::source::{Located, Origin, Place, Source};
use crate::model::secret::Secret;

/// The control flag: parsed, kept, and without effect on a broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ControlFlag {
    Required,
    Requisite,
    Sufficient,
    Optional,
}

impl ControlFlag {
    /// Any letter case, as Java takes it.
    pub fn from_name(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "required" => Some(Self::Required),
            "requisite" => Some(Self::Requisite),
            "sufficient" => Some(Self::Sufficient),
            "optional" => Some(Self::Optional),
            _ => None,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Requisite => "requisite",
            Self::Sufficient => "sufficient",
            Self::Optional => "optional",
        }
    }
}

/// `key="value"`. Every value is kept as a secret: most are.
#[derive(Clone, Debug)]
pub struct JaasOption {
    pub key: String,
    pub value: Secret,
    key_range: Range<usize>,
    value_range: Range<usize>,
}

/// `class flag options ;`
#[derive(Clone, Debug)]
pub struct LoginModule {
    pub class: String,
    pub flag: ControlFlag,
    /// In the order of the text. A key written twice is here twice.
    pub options: Vec<JaasOption>,
    class_range: Range<usize>,
    text: Located,
}

impl LoginModule {
    /// The last part of the class name: `PlainLoginModule`.
    pub fn short_name(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or(&self.class)
    }

    /// The value of an option; the last one if it is written twice.
    pub fn option(&self, key: &str) -> Option<&Secret> {
        self.options.iter().rev().find(|option| option.key == key).map(|option| &option.value)
    }

    pub fn class_place(&self) -> Place {
        self.text.place(&self.class_range)
    }

    pub fn key_place(&self, option: &JaasOption) -> Place {
        self.text.place(&option.key_range)
    }

    pub fn value_place(&self, option: &JaasOption) -> Place {
        self.text.place(&option.value_range)
    }
}

/// `name { modules };`
#[derive(Clone, Debug)]
pub struct Section {
    pub name: String,
    pub modules: Vec<LoginModule>,
    name_range: Range<usize>,
}

/// A static file.
#[derive(Clone, Debug)]
pub struct JaasFile {
    pub sections: Vec<Section>,
    pub warnings: Diagnostics,
    source: Arc<Source>,
}

impl JaasFile {
    /// The modules of the section of exactly this name. An empty section reads as absent, as in Java.
    pub fn section(&self, name: &str) -> Option<&[LoginModule]> {
        let section = self.sections.iter().find(|section| section.name == name)?;
        (!section.modules.is_empty()).then_some(&section.modules)
    }

    pub fn origin(&self) -> &Origin {
        self.source.origin()
    }
}

/// Values for `${…}` in a static file: `-D` properties, and the environment for `${env:NAME}`.
#[derive(Clone, Debug, Default)]
pub struct Expansions<'a> {
    pub properties: Option<&'a BTreeMap<String, String>>,
    pub env: Option<&'a BTreeMap<String, String>>,
}

/// Reads a static file.
///
/// # Errors
/// J0014 (not readable, too large, not UTF-8) and every error of the text.
#[allow(clippy::disallowed_methods)]
pub fn read_file(path: &Path, expansions: &Expansions<'_>) -> Result<JaasFile, Diagnostics> {
    let origin = Origin::file(path.display());
    let unreadable = |why: String| {
        let place = Source::new(origin.clone(), String::new()).place(&(0..0));
        Diagnostics::from(Diagnostic::error(Code::J0014).arg(why).at(place))
    };
    let size = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(unreadable(format!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8".into()))?;
    parse_file(text, origin.clone(), expansions)
}

/// Reads the text of a static file.
///
/// # Errors
/// All of the text's errors, at most [`Diagnostics::MAX`].
pub fn parse_file(text: String, origin: Origin, expansions: &Expansions<'_>) -> Result<JaasFile, Diagnostics> {
    let secrets = lexer::secret_ranges(&text);
    let source = Arc::new(Source::new(origin, text).hiding(secrets));
    let located = Located::whole(Arc::clone(&source));
    if source.expose().starts_with('\u{feff}') {
        return Err(Diagnostic::error(Code::J0001).at(located.place(&(0..0))).into());
    }
    let (sections, diagnostics) = parser::file(&located, expansions);
    if diagnostics.has_errors() { Err(diagnostics) } else { Ok(JaasFile { sections, warnings: diagnostics, source }) }
}

/// Reads the value of a `sasl.jaas.config` key: exactly one module.
///
/// # Errors
/// As [`parse_file`], and J0013.
pub fn parse_property(value: &Located) -> Result<(LoginModule, Diagnostics), Diagnostics> {
    let (mut modules, mut diagnostics) = parser::property(value);
    if !diagnostics.has_errors() && modules.len() != 1 {
        diagnostics.push(Diagnostic::error(Code::J0013).arg(modules.len()).at(value.place_all()));
    }
    match modules.pop() {
        Some(module) if !diagnostics.has_errors() => Ok((module, diagnostics)),
        _ => Err(diagnostics),
    }
}
