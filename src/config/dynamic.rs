//! What of a broker's configuration may change while it runs (`DynamicBrokerConfig`, KIP-226).
//!
//! Kafka says which keys are dynamic. Of those the defaults of topics take effect here at once; keys without an effect may
//! be set to anything valid; the rest is refused rather than stored and not obeyed.

use super::keys::{self, Key, Mode, Status};

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
    for (name, value) in changes {
        let Some(key) = key_of(name) else {
            if keys::is_protecting(name) && value.is_some() {
                return Err(format!("{name} is no key of this broker, and would protect nothing"));
            }
            continue;
        };
        if let Some(value) = value {
            key.validate(value)?;
        }
        if key.status != Status::Quiet && !is_default_of_topics(key.name) {
            return Err(format!("{name} can't be changed while this broker runs; set it in its file"));
        }
    }
    Ok(())
}

/// The key behind `name`, which may be a listener's own.
fn key_of(name: &str) -> Option<&'static Key> {
    let of_listener = name.strip_prefix("listener.name.").and_then(|rest| rest.split_once('.')).map(|(_, rest)| rest);
    keys::kafka_broker(name).or_else(|| {
        let rest = of_listener?;
        keys::kafka_broker(rest).or_else(|| keys::kafka_broker(rest.split_once('.')?.1))
    })
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
        assert!(check(&[(key_store, Some("/x"))], true).unwrap_err().contains("while this broker runs"));
        assert!(set("max.connections", "5").unwrap_err().contains("while this broker runs"));
        assert!(set("ssl.clinet.auth", "required").unwrap_err().contains("protect nothing"));
        assert_eq!(check(&[("log.retention.ms", None)], false), Ok(()));
    }
}
