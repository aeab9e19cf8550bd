//! Who can log in on which listener, from JAAS and the metadata log.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{BrokerConfig, ListenerConfig, Profile};
use crate::security::credentials::{PlainUserError, PlainUsers, ScramCredentials};
use crate::security::sasl::SaslMechanism;
use crate::security::sasl::session::Environment;
use crate::security::verifier::{FailureDelay, ListenerLogins, Logins, Verifier};

/// Sets how long a failed login waits for its answer.
const FAILURE_DELAY: &str = "connection.failed.authentication.delay.ms";

/// The users of a listener can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum LoginsError {
    #[error("listener {listener}: PlainLoginModule: {source}")]
    Plain { listener: String, source: PlainUserError },
    #[error("listener {listener}: the SASL registry refuses its configuration")]
    Registry { listener: String },
}

/// The logins of every SASL listener.
///
/// # Errors
/// A user name or hash that JAAS holds is not one.
pub fn logins(config: &BrokerConfig, scram: &Arc<ScramCredentials>, cores: usize) -> Result<Logins, LoginsError> {
    // What the operator chose is honoured in every profile.
    let delay = if config.profile == Profile::Strict && !config.values().is_set(FAILURE_DELAY) {
        FailureDelay::Growing
    } else {
        let ms = config.settings.connection_failed_authentication_delay_ms;
        FailureDelay::Fixed(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
    };
    let mut listeners = Vec::new();
    for listener in config.listeners.iter().filter(|listener| listener.protocol.is_sasl()) {
        listeners.push((listener.name.clone(), listener_logins(config, listener, scram)?));
    }
    Ok(Logins::new(Verifier::new(cores, delay), listeners))
}

fn listener_logins(
    config: &BrokerConfig,
    listener: &ListenerConfig,
    scram: &Arc<ScramCredentials>,
) -> Result<ListenerLogins, LoginsError> {
    let name = || listener.name.to_string();
    let mechanisms = listener.sasl_mechanisms.iter().filter_map(|name| SaslMechanism::from_name(name)).collect();
    let users = listener.jaas.get(SaslMechanism::Plain.name()).map(|credentials| credentials.users.as_slice());
    let plain = PlainUsers::new(users.unwrap_or_default().iter().map(|user| (user.name.as_str(), &user.password)))
        .map_err(|source| LoginsError::Plain { listener: name(), source })?;
    let environment = Environment { scram: Arc::clone(scram), accept_doubled_nonce: config.accepts_doubled_nonce };
    ListenerLogins::new(mechanisms, Arc::new(plain), environment)
        .ok_or_else(|| LoginsError::Registry { listener: name() })
}
