//! What a running broker does differently when its dynamic configs change (`DynamicBrokerConfig`); the defaults of topics
//! are the publisher's.

use std::sync::Arc;

use tokio::sync::watch;

use super::cleaning::CleanerSettings;
use super::listeners::{ListenerError, connection_limits};
use crate::config::settings::Settings;
use crate::config::tls::{StoredTls, stored_tls};
use crate::config::topic::Behind;
use crate::config::{BrokerConfig, dynamic};
use crate::metadata::configs::ConfigResource;
use crate::metadata::image::MetadataImage;
use crate::network::listener::Slots;
use crate::quota::connections::{BrokerLimits, ConnectionQuotas, ListenerLimits};
use crate::security::tls::Certificates;

/// The values behind those of topics, as `image` has them.
pub fn behind<R>(config: &BrokerConfig, image: &MetadataImage, ask: impl FnOnce(Behind<'_>) -> R) -> R {
    let of = |resource: ConfigResource| move |name: &str| image.configs.value(&resource, name).cloned();
    let (broker, cluster) = (of(ConfigResource::broker(config.node_id.0)), of(ConfigResource::default_broker()));
    ask(Behind { values: config.values(), broker: &broker, cluster: &cluster })
}

/// The settings that hold now.
pub fn settings_of(config: &BrokerConfig, image: &MetadataImage) -> Settings {
    behind(config, image, |behind| dynamic::settings(config, behind))
}

/// Certificates that were set for this broker's listeners.
fn certificates_of(config: &BrokerConfig, image: &MetadataImage) -> StoredTls {
    stored_tls(image.configs.get(&ConfigResource::broker(config.node_id.0)).into_iter().flatten())
}

/// The parts of a broker that obey.
#[derive(Debug)]
pub struct Obeying {
    config: Arc<BrokerConfig>,
    pub slots: Arc<Slots>,
    pub certificates: Arc<Certificates>,
    pub cleaners: watch::Sender<CleanerSettings>,
    /// `num.network.threads` and `num.recovery.threads.per.data.dir` of this start.
    at_start: (i32, i32),
}

impl Obeying {
    /// As `image` has it, over the file.
    ///
    /// # Errors
    /// [`ListenerError::Host`].
    pub fn new(
        config: &Arc<BrokerConfig>,
        certificates: Certificates,
        image: &MetadataImage,
    ) -> Result<Self, ListenerError> {
        certificates.renew(&certificates_of(config, image));
        let settings = settings_of(config, image);
        let (limits, listeners) = limits(config, image)?;
        Ok(Self {
            config: Arc::clone(config),
            slots: Slots::new(ConnectionQuotas::new(limits, listeners)),
            certificates: Arc::new(certificates),
            cleaners: watch::Sender::new(CleanerSettings::new(&settings)),
            at_start: at_start(&settings),
        })
    }

    /// `num.network.threads`
    pub fn network_threads(&self) -> usize {
        usize::try_from(self.at_start.0).unwrap_or(1)
    }

    /// Puts what `image` has in force.
    pub fn apply(&self, image: &MetadataImage) {
        let settings = settings_of(&self.config, image);
        self.cleaners.send_replace(CleanerSettings::new(&settings));
        self.certificates.renew(&certificates_of(&self.config, image));
        if at_start(&settings) != self.at_start {
            tracing::info!(target: "schloss.server", "{} change with the next start", dynamic::AT_START.join(", "));
        }
        match limits(&self.config, image) {
            Ok((limits, listeners)) => self.slots.set_limits(limits, listeners),
            Err(error) => {
                tracing::warn!(target: "schloss.network", "the limits of connections stay as they are: {error}");
            }
        }
    }
}

fn at_start(settings: &Settings) -> (i32, i32) {
    (settings.num_network_threads, settings.num_recovery_threads_per_data_dir)
}

fn limits(config: &BrokerConfig, image: &MetadataImage) -> Result<(BrokerLimits, Vec<ListenerLimits>), ListenerError> {
    behind(config, image, |behind| connection_limits(config, behind))
}
