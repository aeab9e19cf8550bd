//! Every broker key with its value: typed, checked, and with where it came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::keys::{self, Key, Kind, Scope, Status, Value};
use super::nearest::nearest;
use super::profile::Profile;
use super::source::STARS;
use super::written::{Written, WrittenKeys};

/// `DescribeConfigsResponse.ConfigSource`
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum ConfigSource {
    Topic,
    DynamicBroker,
    DynamicDefaultBroker,
    StaticBroker,
    Default,
    ClientMetrics,
    Group,
}

impl ConfigSource {
    pub const fn wire_id(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::ClientMetrics => 7,
            Self::Group => 8,
        }
    }
}

/// The static values of a node.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// What was written, or put in its place by a translation. Keys not in here are at their default.
    set: BTreeMap<&'static str, Value>,
    /// Defaults that the profile changes.
    profile: BTreeMap<&'static str, Value>,
    /// The texts as written, by full name, for DescribeConfigs: prefixed and unknown keys too.
    texts: BTreeMap<String, Arc<str>>,
}

impl Values {
    /// The value in force.
    pub fn get(&self, name: &str) -> Value {
        if let Some(value) = self.set.get(name).or_else(|| self.profile.get(name)) {
            return value.clone();
        }
        keys::broker(name).map_or(Value::Null, Key::default_value)
    }

    pub fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    /// The text a file or an override gave the full name; not for secrets.
    pub fn text(&self, name: &str) -> Option<&Arc<str>> {
        self.texts.get(name)
    }

    /// Full names that were written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// The default that holds here, the profile's before the table's.
    pub fn default_value(&self, name: &str) -> Value {
        let table = || keys::broker(name).map_or(Value::Null, Key::default_value);
        self.profile.get(name).cloned().unwrap_or_else(table)
    }

    /// Sets a key as if it had been written: a translation of an older one.
    pub(super) fn translate(&mut self, name: &'static str, value: Value) {
        self.set.entry(name).or_insert(value);
    }

    pub(super) fn bool(&self, name: &str) -> bool {
        self.get(name) == Value::Bool(true)
    }

    pub(super) fn list(&self, name: &str) -> Vec<String> {
        match self.get(name) {
            Value::List(items) => items,
            _ => Vec::new(),
        }
    }

    /// A text that is not empty.
    pub(super) fn string(&self, name: &str) -> Option<String> {
        match self.get(name) {
            Value::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

/// Types and checks every key. Prefixed keys are checked by [`check_prefixed`] once the listeners are known.
pub(super) fn read(written: &WrittenKeys, profile: Profile, out: &mut Diagnostics) -> Values {
    let mut values = Values::default();
    if profile == Profile::Strict {
        values.profile.insert("auto.create.topics.enable", Value::Bool(false));
    }
    let mut without_effect = Vec::new();
    for (name, entry) in written.iter() {
        let key = keys::broker(name).or_else(|| keys::of_a_listener(name));
        let sensitive = key.is_none_or(Key::is_sensitive) || entry.resolved;
        if !sensitive {
            values.texts.insert(name.to_owned(), entry.text().into());
        } else {
            values.texts.insert(name.to_owned(), "".into());
        }
        if name.starts_with("listener.name.") || name.starts_with("config.providers.") {
            continue;
        }
        let Some(key) = keys::broker(name) else {
            unknown(name, entry, out);
            continue;
        };
        if let Some(value) = check(key, entry, out) {
            if key.status == Status::Quiet && key.scope != Scope::Legacy && !key.is_default(&value) {
                without_effect.push(name);
            }
            values.set.insert(key.name, value);
        }
    }
    if !without_effect.is_empty() {
        out.push(Diagnostic::note(Code::P0313).arg(without_effect.join(", ")));
    }
    values
}

/// One key's value, or `None` with the reason reported.
pub(super) fn check(key: &'static Key, entry: &Written, out: &mut Diagnostics) -> Option<Value> {
    let text = entry.value.expose();
    match key.validate(text) {
        Err(error) => {
            let error = if entry.resolved { error.replace(entry.text(), STARS) } else { error };
            let mut found = Diagnostic::error(Code::P0302).arg(error).at(entry.value_place());
            if matches!(key.kind, Kind::Int | Kind::Long | Kind::Short | Kind::Double | Kind::Boolean) {
                if text.contains('#') {
                    found = found
                        .with_help("a '#' behind a value belongs to the value: put the comment on a line of its own");
                } else if is_quoted(entry.text()) {
                    found = found.with_help("properties files need no quotes");
                }
            }
            out.push(found);
            None
        }
        Ok(value) if key.status == Status::Refused && !key.is_default(&value) => {
            let default = key.default_value().to_text().unwrap_or_else(|| "unset".into());
            out.push(Diagnostic::error(Code::P0403).arg(key.name).arg(default).at(entry.key_place()));
            None
        }
        Ok(value) => {
            if key.kind == Kind::List && is_quoted(entry.text()) {
                out.push(Diagnostic::warning(Code::P0104).at(entry.value_place()));
            }
            Some(value)
        }
    }
}

fn is_quoted(text: &str) -> bool {
    text.len() > 1 && text.starts_with('"') && text.ends_with('"')
}

fn unknown(name: &str, entry: &Written, out: &mut Diagnostics) {
    let hint = nearest(name, keys::broker_names());
    let label = hint.map_or_else(String::new, |hint| format!("did you mean {hint} ?"));
    if keys::is_protecting(name) || hint.is_some_and(keys::is_protecting) {
        out.push(Diagnostic::error(Code::P0401).arg(label).at(entry.key_place()));
    } else {
        out.push(Diagnostic::warning(Code::P0402).arg(name).arg(label).at(entry.key_place()));
    }
}

/// `listener.name.<listener>.[<mechanism>.]<key>`: the listener exists, the key may stand there, its value is valid.
pub(super) fn check_prefixed(written: &WrittenKeys, listeners: &[String], mechanisms: &[&str], out: &mut Diagnostics) {
    for (name, entry) in written.iter() {
        let Some(rest) = name.strip_prefix("listener.name.") else { continue };
        let Some((listener, rest)) = rest.split_once('.') else {
            out.push(Diagnostic::error(Code::P0401).arg("").at(entry.key_place()));
            continue;
        };
        if !listeners.iter().any(|known| known == listener) {
            let known = listeners.join(", ");
            out.push(Diagnostic::error(Code::P0404).arg(listener).arg(known).at(entry.key_place()));
            continue;
        }
        let split = mechanisms.iter().find_map(|mechanism| rest.strip_prefix(mechanism)?.strip_prefix('.'));
        let key = keys::broker(split.unwrap_or(rest));
        match key {
            Some(key) if key.scope == Scope::Mechanism || (key.scope == Scope::Listener && split.is_none()) => {
                if key.name == "sasl.jaas.config" && split.is_none() {
                    out.push(Diagnostic::warning(Code::J0108).at(entry.key_place()));
                }
                check(key, entry, out);
            }
            Some(key) => out.push(Diagnostic::error(Code::P0406).arg(key.name).arg(listener).at(entry.key_place())),
            None => {
                let known = keys::BROKER.iter().filter(|key| matches!(key.scope, Scope::Listener | Scope::Mechanism));
                let hint = nearest(split.unwrap_or(rest), known.map(|key| key.name));
                let hint = hint.map_or_else(String::new, |hint| format!("did you mean {hint} ?"));
                out.push(Diagnostic::error(Code::P0401).arg(hint).at(entry.key_place()));
            }
        }
    }
}
