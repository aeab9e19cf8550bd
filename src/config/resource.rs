//! Configurations of groups and of client metrics subscriptions, as DescribeConfigs tells them.
//!
//! Precedent: `GroupConfig` (KIP-848, KIP-932) and `ClientMetricsConfigs` (KIP-714), through `ConfigHelper`. Nothing here
//! acts on them.

use super::keys::{self, Default, Importance, Key, Kind, Mode, Scope, Status, Valid};
use super::topic::{Behind, Described, Lookup, Synonym};
use super::values::ConfigSource;

/// `ClientMetricsConfigs`
static CLIENT_METRICS: &[Key] = &[
    client_metrics("interval.ms", Kind::Int, "300000", "How often clients push the metrics of this subscription."),
    client_metrics("match", Kind::List, "", "Selectors of the clients that this subscription is for; none: all."),
    client_metrics("metrics", Kind::List, "", "Prefixes of the names of the metrics that clients push."),
];

const fn client_metrics(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key {
        name,
        kind,
        default: Default::Text(default),
        valid: Valid::Any,
        mode: Mode::ClusterWide,
        scope: Scope::Dynamic,
        importance: Importance::Medium,
        status: Status::Quiet,
        doc,
    }
}

/// Every key of a group.
pub fn describe_group(overrides: Lookup<'_>, behind: Behind<'_>) -> Vec<Described> {
    let describe = |key: &'static Key| {
        let mut synonyms = own(key, overrides, ConfigSource::Group);
        let broker = keys::kafka_broker(&format!("group.{}", key.name));
        synonyms.extend(match broker {
            Some(broker) => behind.synonyms(broker.name, &[broker.name]),
            None => vec![Synonym {
                name: key.name.into(),
                value: key.default_value().to_text(),
                source: ConfigSource::Default,
            }],
        });
        described(key, synonyms.first().and_then(|first| first.value.clone()), synonyms)
    };
    keys::GROUP.iter().map(describe).collect()
}

/// Every key of a client metrics subscription.
pub fn describe_client_metrics(overrides: Lookup<'_>) -> Vec<Described> {
    let describe = |key: &'static Key| {
        let own = own(key, overrides, ConfigSource::ClientMetrics);
        let value = own.first().map_or_else(|| key.default_value().to_text(), |own| own.value.clone());
        described(key, value, own)
    };
    CLIENT_METRICS.iter().map(describe).collect()
}

fn own(key: &Key, overrides: Lookup<'_>, source: ConfigSource) -> Vec<Synonym> {
    let value = overrides(key.name);
    value.map(|text| Synonym { name: key.name.into(), value: Some(text.to_string()), source }).into_iter().collect()
}

fn described(key: &'static Key, value: Option<String>, synonyms: Vec<Synonym>) -> Described {
    Described {
        name: key.name.into(),
        value,
        source: synonyms.first().map_or(ConfigSource::Default, |first| first.source),
        read_only: false,
        sensitive: false,
        key: Some(key),
        synonyms,
    }
}
