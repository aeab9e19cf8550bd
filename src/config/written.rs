//! What the operator wrote for each key: the file, and above it the overrides of the command line.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::properties::{Properties, is_secret_name};
use super::source::{Located, Origin, Place, Source};

/// One key as it was written.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) value: Located,
    /// The value held a reference to a config provider: what it became may be a secret, whatever the key.
    pub(super) resolved: bool,
    key_source: Arc<Source>,
    key_range: Range<usize>,
}

impl Written {
    /// A value that stands in no file.
    fn outside_a_file(key: &str, value: &str, origin: Origin) -> Self {
        let text = format!("{key}={value}");
        let at = key.len() + 1;
        let hidden = if is_secret_name(key) { at..text.len() } else { 0..0 };
        let source = Arc::new(Source::new(origin, text).hiding(std::iter::once(hidden)));
        let offsets = (at..=at + value.len()).collect();
        let value = Located::new(value.to_owned(), Arc::clone(&source), offsets);
        Self { value, resolved: false, key_source: source, key_range: 0..key.len() }
    }

    pub(super) fn key_place(&self) -> Place {
        self.key_source.place(&self.key_range)
    }

    pub(super) fn value_place(&self) -> Place {
        let place = self.value.place_all();
        if self.value.expose().is_empty() { self.key_place() } else { place }
    }

    /// The value as Kafka's typed getters see it: without blanks around it.
    pub(super) fn text(&self) -> &str {
        self.value.expose().trim_matches(|c| c <= ' ')
    }
}

/// All keys, each with the value that counts.
#[derive(Clone, Debug, Default)]
pub(super) struct WrittenKeys {
    keys: BTreeMap<String, Written>,
}

impl WrittenKeys {
    /// The file's last value of each key, then the overrides in their order.
    pub(super) fn merge(file: Option<&Properties>, overrides: &[(String, String)]) -> (Self, Diagnostics) {
        let mut keys = BTreeMap::new();
        let mut errors = Diagnostics::new();
        for entry in file.iter().flat_map(|file| file.entries()) {
            let written = Written {
                value: entry.value.clone(),
                resolved: false,
                key_source: Arc::clone(entry.value.source()),
                key_range: entry.key_range.clone(),
            };
            keys.insert(entry.key.clone(), written);
        }
        for (key, value) in overrides {
            let written = Written::outside_a_file(key, value, Origin::CommandLine("--override".into()));
            if key.is_empty() {
                errors.push(Diagnostic::error(Code::P0304).arg("=").at(written.key_place()));
                continue;
            }
            keys.insert(key.clone(), written);
        }
        (Self { keys }, errors)
    }

    /// Keys of TLS alone.
    pub(super) fn only_tls(&self) -> Self {
        let of_tls = self.keys.iter().filter(|(key, _)| key.starts_with("ssl.") || key.contains(".ssl."));
        Self { keys: of_tls.map(|(key, written)| (key.clone(), written.clone())).collect() }
    }

    /// These keys, with what was stored at run time above them.
    pub(super) fn with<'a>(&self, stored: impl Iterator<Item = (&'a str, &'a str)>) -> Self {
        let mut keys = self.keys.clone();
        for (key, value) in stored {
            keys.insert(key.to_owned(), Written::outside_a_file(key, value, Origin::DynamicConfig));
        }
        Self { keys }
    }

    pub(super) fn get(&self, key: &str) -> Option<&Written> {
        self.keys.get(key)
    }

    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).map(Written::text)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &Written)> {
        self.keys.iter().map(|(key, written)| (key.as_str(), written))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Written)> {
        self.keys.iter_mut().map(|(key, written)| (key.as_str(), written))
    }

    /// `listener.name.<listener>.<key>`, else `<key>`.
    pub(super) fn for_listener(&self, prefix: &str, key: &str) -> Option<&Written> {
        self.get(&format!("{prefix}{key}")).or_else(|| self.get(key))
    }
}
