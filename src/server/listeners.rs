//! From the configuration's listeners to what the network opens: TLS, limits, who a certificate speaks for.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::config::dynamic;
use crate::config::topic::Behind;
use crate::config::{BrokerConfig, ListenerConfig, Profile};
use crate::handlers::Listener;
use crate::model::principal::KafkaPrincipal;
use crate::network::connection::FrameLimits;
use crate::network::listener::{ListenerSpec, PrincipalOf};
use crate::quota::connections::{BrokerLimits, ListenerLimits};
use crate::security::principal::mapping::{MappingError, PrincipalMapping};
use crate::security::principal::principal_of;
use crate::security::tls::{Certificates, TlsError};

/// Largest frame before a SASL login in profile *strict*.
const STRICT_UNAUTHENTICATED_BYTES: usize = 64 * 1024;
/// Largest frame from ANONYMOUS in profile *strict*, unless messages may be larger.
const STRICT_ANONYMOUS_BYTES: usize = 16 * 1024 * 1024;

/// A listener's security can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ListenerError {
    #[error("listener {listener}: {source}")]
    Tls { listener: String, source: TlsError },
    #[error("listener {listener}: ssl.principal.mapping.rules: {source}")]
    Mapping { listener: String, source: MappingError },
    #[error(
        "max.connections.per.ip.overrides: {host} can't be found: {source}. Write its address, or make its name known"
    )]
    Host { host: String, source: io::Error },
}

/// What the TLS listeners serve, from the files of the configuration.
///
/// # Errors
/// Certificates or keys that can't be used.
pub fn certificates(config: &BrokerConfig) -> Result<Certificates, ListenerError> {
    let of_tls = config.listeners.iter().filter_map(|listener| Some((&listener.name, listener.tls.as_ref()?)));
    Certificates::new(of_tls)
        .map_err(|(listener, source)| ListenerError::Tls { listener: listener.to_string(), source })
}

/// Every listener, ready to be bound.
///
/// # Errors
/// Rules that can't be used.
pub fn specs(config: &BrokerConfig, certificates: &Certificates) -> Result<Vec<ListenerSpec>, ListenerError> {
    config.listeners.iter().map(|listener| spec(config, listener, certificates)).collect()
}

fn spec(
    config: &BrokerConfig,
    listener: &ListenerConfig,
    certificates: &Certificates,
) -> Result<ListenerSpec, ListenerError> {
    let settings = &config.settings;
    let principal_of: PrincipalOf = match &listener.tls {
        Some(files) => {
            let mapping = PrincipalMapping::parse(&files.principal_mapping_rules)
                .map_err(|source| ListenerError::Mapping { listener: listener.name.to_string(), source })?;
            Arc::new(move |chain| principal_of(chain, &mapping))
        }
        None => Arc::new(|_| KafkaPrincipal::anonymous()),
    };
    Ok(ListenerSpec {
        listener: Arc::new(Listener {
            name: listener.name.clone(),
            protocol: listener.protocol,
            is_controller: listener.is_controller,
            sasl_mechanisms: listener.sasl_mechanisms.iter().map(|m| m.as_str().into()).collect(),
            max_reauth: listener
                .connections_max_reauth_ms
                .iter()
                .filter(|(_, ms)| **ms > 0)
                .map(|(mechanism, ms)| (mechanism.as_str().into(), millis(*ms)))
                .collect(),
            failed_authentication_delay: millis(settings.connection_failed_authentication_delay_ms.into()),
        }),
        host: listener.host.clone(),
        port: listener.port,
        tls: certificates.of(&listener.name),
        principal_of,
        frame_limits: frame_limits(config, listener),
        max_idle: match u64::try_from(settings.connections_max_idle_ms) {
            Ok(ms) => Duration::from_millis(ms),
            // -1: never.
            Err(_) => Duration::MAX,
        },
        send_buffer_bytes: buffer(config, "socket.send.buffer.bytes", settings.socket_send_buffer_bytes),
        receive_buffer_bytes: buffer(config, "socket.receive.buffer.bytes", settings.socket_receive_buffer_bytes),
        backlog: u32::try_from(settings.socket_listen_backlog_size).unwrap_or(50),
        bound: OnceLock::new(),
    })
}

/// A buffer size that the operator wrote. Kafka's default would switch off the system's own tuning.
fn buffer(config: &BrokerConfig, key: &str, bytes: i32) -> Option<u32> {
    if config.values().is_set(key) { u32::try_from(bytes).ok() } else { None }
}

fn frame_limits(config: &BrokerConfig, listener: &ListenerConfig) -> FrameLimits {
    let size = |bytes: i32| usize::try_from(bytes).unwrap_or(0);
    let authenticated = size(config.settings.socket_request_max_bytes);
    if config.profile == Profile::Strict {
        let message = size(config.settings.message_max_bytes).saturating_add(STRICT_UNAUTHENTICATED_BYTES);
        FrameLimits {
            unauthenticated: STRICT_UNAUTHENTICATED_BYTES,
            anonymous: STRICT_ANONYMOUS_BYTES.max(message),
            authenticated,
        }
    } else {
        FrameLimits {
            unauthenticated: size(listener.sasl_server_max_receive_size),
            anonymous: authenticated,
            authenticated,
        }
    }
}

/// `max.connections` and its kin as they hold now. Names of hosts are looked up, as in Kafka; here all of their addresses
/// count.
///
/// # Errors
/// [`ListenerError::Host`].
pub fn connection_limits(
    config: &BrokerConfig,
    behind: Behind<'_>,
) -> Result<(BrokerLimits, Vec<ListenerLimits>), ListenerError> {
    let settings = dynamic::settings(config, behind);
    let count = |limit: i32| usize::try_from(limit).unwrap_or(usize::MAX);
    // Kafka's "no limit" is the largest number.
    let rate = |limit: i32| u32::try_from(limit).ok().filter(|_| limit != i32::MAX);
    let mut per_ip_overrides = HashMap::new();
    for (host, limit) in dynamic::connections_per_ip(config, behind) {
        per_ip_overrides.extend(addresses_of(&host)?.into_iter().map(|address| (address, count(limit))));
    }
    let limits = BrokerLimits {
        max_connections: count(settings.max_connections),
        max_connections_per_ip: count(settings.max_connections_per_ip),
        per_ip_overrides,
        max_creation_rate: rate(settings.max_connection_creation_rate),
        inter_broker_listener: Some(config.inter_broker_listener.clone()),
    };
    let listeners = config.listeners.iter().map(|listener| {
        let (connections, creation_rate) = dynamic::listener_limits(listener, behind);
        ListenerLimits {
            name: listener.name.clone(),
            max_connections: count(connections),
            max_creation_rate: rate(creation_rate),
        }
    });
    Ok((limits, listeners.collect()))
}

fn addresses_of(host: &str) -> Result<Vec<IpAddr>, ListenerError> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let unknown = |source| ListenerError::Host { host: host.to_owned(), source };
    let found = (host, 0).to_socket_addrs().map_err(unknown)?;
    Ok(found.map(|address| address.ip()).collect())
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_and_unknown_ones_refused() {
        let local: IpAddr = [127, 0, 0, 1].into();
        assert_eq!(addresses_of("127.0.0.1").unwrap(), [local]);
        assert!(addresses_of("localhost").unwrap().contains(&local));
        let refused = addresses_of("nobody.invalid").unwrap_err().to_string();
        assert!(refused.starts_with("max.connections.per.ip.overrides: nobody.invalid can't be found"), "{refused}");
    }
}
