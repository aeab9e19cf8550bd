//! What of a broker's configuration may change while it runs (`DynamicBrokerConfig`, KIP-226).
//!
//! Kafka says which keys are dynamic. Of those the defaults of topics, [`OBEYED`] and the certificates of a listener
//! ([`reconfigurable`]) take effect here at once, [`AT_START`] at the next start; keys without an effect may be set to anything valid; the rest is refused rather than stored and not
//! obeyed.

use std::sync::Arc;

use super::broker_config::{BrokerConfig, ListenerConfig};
use super::keys::{self, Key, Mode, Status, Value};
use super::listeners;
use super::settings::Settings;
use super::tls::reconfigurable;
use super::topic::Behind;

const CREATION_RATE: &str = "max.connection.creation.rate";
const CONNECTIONS: &str = "max.connections";
const PER_IP_OVERRIDES: &str = "max.connections.per.ip.overrides";

/// What a running broker does differently as soon as it is told.
const OBEYED: [&str; 10] = [
    "log.cleaner.backoff.ms",
    "log.cleaner.dedupe.buffer.size",
    "log.cleaner.io.buffer.load.factor",
    "log.cleaner.io.max.bytes.per.second",
    "log.cleaner.threads",
    CREATION_RATE,
    CONNECTIONS,
    "max.connections.per.ip",
    PER_IP_OVERRIDES,
    "producer.id.expiration.ms",
];

/// What it reads when it starts.
pub const AT_START: [&str; 2] = ["num.network.threads", "num.recovery.threads.per.data.dir"];

/// May these become the values of one broker (`per_broker`), or of all? `None` takes a value away.
///
/// # Errors
/// What is wrong, as one sentence; where Kafka refuses it too, in its words.
pub fn check(changes: &[(&str, Option<&str>)], per_broker: bool) -> Result<(), String> {
    let names_where = |test: &dyn Fn(&'static Key) -> bool| -> Vec<&str> {
        changes.iter().filter(|(name, _)| key_of(name).is_some_and(test)).map(|(name, _)| *name).collect()
    };
    let fixed = names_where(&|key| key.mode == Mode::ReadOnly);
    if !fixed.is_empty() {
        return Err(format!("Cannot update these configs dynamically: [{}]", fixed.join(", ")));
    }
    let of_one = names_where(&|key| key.mode == Mode::PerBroker);
    if !per_broker && !of_one.is_empty() {
        return Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
            of_one.join(", ")
        ));
    }
    let of_listeners: Vec<&str> = changes
        .iter()
        .filter(|(name, _)| key_of(name).is_some_and(|key| key.name == *name && is_security_of_listeners(key.name)))
        .map(|(name, _)| *name)
        .collect();
    if !of_listeners.is_empty() {
        return Err(format!(
            "These security configs can be dynamically updated only per-listener using the listener prefix: [{}]",
            of_listeners.join(", ")
        ));
    }
    for (name, value) in changes {
        let Some(key) = key_of(name) else {
            if keys::is_protecting(name) && value.is_some() {
                return Err(format!("{name} is no key of this broker, and would protect nothing"));
            }
            continue;
        };
        if let Some(value) = value {
            key.validate(value)?;
            if key.name == PER_IP_OVERRIDES {
                listeners::connections_per_ip(value)?;
            }
        }
        let is_obeyed = OBEYED.contains(&key.name)
            || AT_START.contains(&key.name)
            || is_default_of_topics(key.name)
            || reconfigurable(name).is_some();
        if key.status != Status::Quiet && !is_obeyed {
            return Err(format!("{name} can't be changed while this broker runs; set it in its file"));
        }
    }
    Ok(())
}

/// The settings that hold now: what is obeyed at run time or at a start as it stands in `behind`, the rest from the file.
pub fn settings(config: &BrokerConfig, behind: Behind<'_>) -> Settings {
    let value = |name: &'static str| {
        let is_dynamic = OBEYED.contains(&name) || AT_START.contains(&name);
        dynamic(name, behind).filter(|_| is_dynamic).unwrap_or_else(|| behind.values.get(name))
    };
    Settings::new(value).unwrap_or_else(|_| config.settings.clone())
}

/// `max.connections.per.ip.overrides` as it holds now.
pub fn connections_per_ip(config: &BrokerConfig, behind: Behind<'_>) -> Vec<(String, i32)> {
    let text = (behind.broker)(PER_IP_OVERRIDES).or_else(|| (behind.cluster)(PER_IP_OVERRIDES));
    let given = text.and_then(|text| listeners::connections_per_ip(&text).ok());
    given.unwrap_or_else(|| config.max_connections_per_ip_overrides.clone())
}

/// `max.connections` and `max.connection.creation.rate` of one listener as they hold now.
pub fn listener_limits(listener: &ListenerConfig, behind: Behind<'_>) -> (i32, i32) {
    let of = |key: &'static str, fixed: i32| {
        let name = format!("listener.name.{}.{key}", listener.name.as_str().to_lowercase());
        let text = (behind.broker)(&name).or_else(|| (behind.cluster)(&name));
        match text.and_then(|text| keys::kafka_broker(key)?.validate(&text).ok()) {
            Some(Value::Int(value)) => value,
            _ => fixed,
        }
    };
    (of(CONNECTIONS, listener.max_connections), of(CREATION_RATE, listener.max_connection_creation_rate))
}

/// The value that was given to a key at run time, if it is one; what another broker wrote may be none.
fn dynamic(name: &'static str, behind: Behind<'_>) -> Option<Value> {
    let text: Arc<str> = (behind.broker)(name).or_else(|| (behind.cluster)(name))?;
    keys::kafka_broker(name)?.validate(&text).ok()
}

/// Keys of certificates and logins, which belong to one listener (`DynamicBrokerConfig.DynamicSecurityConfigs`).
fn is_security_of_listeners(name: &str) -> bool {
    name.starts_with("ssl.")
}

/// The key behind `name`, which may be a listener's own.
fn key_of(name: &str) -> Option<&'static Key> {
    keys::kafka_broker(name).or_else(|| keys::of_a_listener(name))
}

/// Does a topic take its value from this key if it has none of its own?
fn is_default_of_topics(name: &str) -> bool {
    keys::TOPIC_SYNONYMS.iter().any(|(_, synonyms)| synonyms.iter().any(|synonym| synonym.broker_key == name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_change_while_a_broker_runs() {
        let set = |name: &'static str, value: &'static str| check(&[(name, Some(value))], true);
        assert_eq!(set("log.retention.ms", "60000"), Ok(()));
        assert_eq!(set("message.max.bytes", "2000000"), Ok(()));
        assert!(set("log.retention.ms", "soon").unwrap_err().contains("Invalid value soon"));
        let fixed = check(&[("node.id", Some("2")), ("log.dirs", Some("/x"))], true);
        assert_eq!(fixed, Err("Cannot update these configs dynamically: [node.id, log.dirs]".to_owned()));
        let key_store = "listener.name.ssl.ssl.keystore.location";
        let for_all = check(&[(key_store, Some("/x"))], false).unwrap_err();
        assert!(for_all.starts_with("Cannot update these configs at default cluster level"), "{for_all}");
        assert_eq!(set(key_store, "/x"), Ok(()));
        assert!(set("listener.name.ssl.ssl.client.auth", "required").unwrap_err().contains("while this broker runs"));
        assert!(set("ssl.keystore.location", "/x").unwrap_err().contains("only per-listener"));
        assert_eq!(set("max.connections", "5"), Ok(()));
        assert_eq!(set("listener.name.ssl.max.connections", "5"), Ok(()));
        assert!(set("max.connections.per.ip.overrides", "localhost").is_err());
        assert!(set("ssl.clinet.auth", "required").unwrap_err().contains("protect nothing"));
        assert_eq!(check(&[("log.retention.ms", None)], false), Ok(()));
    }
}
