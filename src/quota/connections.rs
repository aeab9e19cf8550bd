//! How many connections there may be and how fast new ones may come (Kafka's `ConnectionQuotas`).
//!
//! | key | over it |
//! |---|---|
//! | `max.connections`, per listener too | accept waits for a slot; the inter-broker listener does not wait for the broker-wide one |
//! | `max.connections.per.ip`, `max.connections.per.ip.overrides` | the new connection is closed |
//! | `max.connection.creation.rate`, per listener too | accept waits until the rate allows it |
//!
//! Must not know: sockets, tokio, clocks. Whoever waits asks again when a slot was given back.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::model::listener::ListenerName;
use crate::model::time::Mono;

/// Seconds over which a creation rate is averaged: Kafka's ten full samples of one second.
const RATE_WINDOW_SECONDS: f64 = 10.0;

/// The limits of the whole broker.
#[derive(Clone, Debug)]
pub struct BrokerLimits {
    /// `max.connections`
    pub max_connections: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`, names resolved.
    pub per_ip_overrides: HashMap<IpAddr, usize>,
    /// `max.connection.creation.rate`, connections a second.
    pub max_creation_rate: Option<u32>,
    /// `inter.broker.listener.name`
    pub inter_broker_listener: Option<ListenerName>,
}

impl Default for BrokerLimits {
    /// Kafka's defaults: no limit.
    fn default() -> Self {
        Self {
            max_connections: usize::MAX,
            max_connections_per_ip: usize::MAX,
            per_ip_overrides: HashMap::new(),
            max_creation_rate: None,
            inter_broker_listener: None,
        }
    }
}

/// The limits of one listener (`listener.name.<l>.max.connections`, `…max.connection.creation.rate`).
#[derive(Clone, Debug)]
pub struct ListenerLimits {
    pub name: ListenerName,
    pub max_connections: usize,
    pub max_creation_rate: Option<u32>,
}

/// The counts. One for the broker, behind a lock that is held for a look-up only.
#[derive(Debug)]
pub struct ConnectionQuotas {
    limits: BrokerLimits,
    total: usize,
    rate: Option<Rate>,
    /// No entry for an address without connections, so never more entries than connections.
    per_ip: HashMap<IpAddr, usize>,
    listeners: HashMap<ListenerName, Listener>,
}

#[derive(Debug, Default)]
struct Listener {
    count: usize,
    max_connections: usize,
    rate: Option<Rate>,
}

/// The address already has as many connections as it may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("address already has the configured maximum of {max} connections")]
pub struct TooManyConnections {
    pub max: usize,
}

impl ConnectionQuotas {
    pub fn new(limits: BrokerLimits, listeners: impl IntoIterator<Item = ListenerLimits>) -> Self {
        let mut quotas = Self {
            limits: BrokerLimits::default(),
            total: 0,
            rate: None,
            per_ip: HashMap::new(),
            listeners: HashMap::new(),
        };
        quotas.set_limits(limits, listeners);
        quotas
    }

    /// Other limits from here on. Connections that there are stay, over a smaller limit too; a rate that is as before goes
    /// on where it was.
    pub fn set_limits(&mut self, limits: BrokerLimits, listeners: impl IntoIterator<Item = ListenerLimits>) {
        Rate::change(&mut self.rate, limits.max_creation_rate);
        self.limits = limits;
        for limits in listeners {
            let listener = self.listeners.entry(limits.name).or_default();
            listener.max_connections = limits.max_connections;
            Rate::change(&mut listener.rate, limits.max_creation_rate);
        }
    }

    /// Charges one new connection to the creation rates and says how long accept must wait for it.
    pub fn charge(&mut self, listener: &ListenerName, now: Mono) -> Duration {
        let broker = if self.protected(listener) { None } else { self.rate.as_mut() };
        let own = self.listeners.get_mut(listener).and_then(|l| l.rate.as_mut());
        broker.into_iter().chain(own).map(|rate| rate.charge(now)).max().unwrap_or_default()
    }

    /// Whether one more connection fits on this listener. If not, accept waits for [`Self::release`].
    pub fn slot_available(&self, listener: &ListenerName) -> bool {
        self.listeners.get(listener).is_none_or(|l| l.count < l.max_connections)
            && (self.protected(listener) || self.total < self.limits.max_connections)
    }

    /// Counts a connection. Refused ones are not counted.
    pub fn count(&mut self, listener: &ListenerName, address: IpAddr) -> Result<(), TooManyConnections> {
        let address = address.to_canonical();
        let max = self.limits.per_ip_overrides.get(&address).copied().unwrap_or(self.limits.max_connections_per_ip);
        if self.of_address(address) >= max {
            return Err(TooManyConnections { max });
        }
        *self.per_ip.entry(address).or_default() += 1;
        self.total += 1;
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.count += 1;
        }
        Ok(())
    }

    /// Gives a counted connection's slot back.
    pub fn release(&mut self, listener: &ListenerName, address: IpAddr) {
        let address = address.to_canonical();
        if let Some(count) = self.per_ip.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.per_ip.remove(&address);
            }
        }
        self.total -= 1;
        if let Some(listener) = self.listeners.get_mut(listener) {
            listener.count -= 1;
        }
    }

    /// Connections open now.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Connections open now from this address.
    pub fn of_address(&self, address: IpAddr) -> usize {
        self.per_ip.get(&address.to_canonical()).copied().unwrap_or(0)
    }

    /// The inter-broker listener may exceed the broker-wide limits, if it is not the only one.
    fn protected(&self, listener: &ListenerName) -> bool {
        self.listeners.len() > 1 && self.limits.inter_broker_listener.as_ref() == Some(listener)
    }
}

/// A rate averaged over [`RATE_WINDOW_SECONDS`]: what was not used within the window may be used at once.
#[derive(Debug)]
struct Rate {
    per_second: f64,
    /// May fall below zero: then the charged connection waits until it would be back at zero.
    tokens: f64,
    at: Option<Mono>,
}

impl Rate {
    fn new(per_second: u32) -> Self {
        let per_second = f64::from(per_second.max(1));
        Self { per_second, tokens: per_second * RATE_WINDOW_SECONDS, at: None }
    }

    fn change(rate: &mut Option<Self>, per_second: Option<u32>) {
        let new = per_second.map(Self::new);
        if rate.as_ref().map(|rate| rate.per_second) != new.as_ref().map(|rate| rate.per_second) {
            *rate = new;
        }
    }

    fn charge(&mut self, now: Mono) -> Duration {
        let elapsed = self.at.map_or(Duration::ZERO, |at| now.since(at));
        self.at = Some(now);
        let full = self.per_second * RATE_WINDOW_SECONDS;
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(full) - 1.0;
        if self.tokens >= 0.0 { Duration::ZERO } else { Duration::from_secs_f64(-self.tokens / self.per_second) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ListenerName {
        ListenerName::new(text)
    }

    fn listener(text: &str, max_connections: usize) -> ListenerLimits {
        ListenerLimits { name: name(text), max_connections, max_creation_rate: None }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_over_its_limit_is_refused_and_an_override_decides() {
        let limits = BrokerLimits {
            max_connections_per_ip: 1,
            per_ip_overrides: HashMap::from([(address("10.0.0.9"), 2)]),
            ..BrokerLimits::default()
        };
        let mut quotas = ConnectionQuotas::new(limits, [listener("A", usize::MAX)]);
        quotas.count(&name("A"), address("10.0.0.1")).unwrap();
        assert_eq!(quotas.count(&name("A"), address("::ffff:10.0.0.1")), Err(TooManyConnections { max: 1 }));
        quotas.count(&name("A"), address("10.0.0.9")).unwrap();
        quotas.count(&name("A"), address("10.0.0.9")).unwrap();
        assert!(quotas.count(&name("A"), address("10.0.0.9")).is_err());
        quotas.release(&name("A"), address("10.0.0.1"));
        quotas.count(&name("A"), address("10.0.0.1")).unwrap();
        assert_eq!(quotas.total(), 3);
    }

    #[test]
    fn the_inter_broker_listener_keeps_its_slots() {
        let limits = BrokerLimits {
            max_connections: 1,
            inter_broker_listener: Some(name("INTERNAL")),
            ..BrokerLimits::default()
        };
        let mut quotas =
            ConnectionQuotas::new(limits.clone(), [listener("CLIENT", usize::MAX), listener("INTERNAL", 2)]);
        quotas.count(&name("CLIENT"), address("10.0.0.1")).unwrap();
        assert!(!quotas.slot_available(&name("CLIENT")));
        for _ in 0..2 {
            assert!(quotas.slot_available(&name("INTERNAL")));
            quotas.count(&name("INTERNAL"), address("10.0.0.2")).unwrap();
        }
        assert!(!quotas.slot_available(&name("INTERNAL")), "its own limit holds");

        let mut alone = ConnectionQuotas::new(limits, [listener("INTERNAL", usize::MAX)]);
        alone.count(&name("INTERNAL"), address("10.0.0.2")).unwrap();
        assert!(!alone.slot_available(&name("INTERNAL")), "a single listener is not protected from itself");
    }

    #[test]
    fn a_creation_rate_lets_a_burst_through_and_then_delays() {
        let limits = BrokerLimits { max_creation_rate: Some(2), ..BrokerLimits::default() };
        let mut quotas = ConnectionQuotas::new(limits, [listener("A", usize::MAX)]);
        let now = Mono(0);
        for _ in 0..20 {
            assert_eq!(quotas.charge(&name("A"), now), Duration::ZERO);
        }
        assert_eq!(quotas.charge(&name("A"), now), Duration::from_millis(500));
        assert_eq!(quotas.charge(&name("A"), now), Duration::from_secs(1));
        assert_eq!(quotas.charge(&name("A"), now.plus(Duration::from_secs(60))), Duration::ZERO);
    }

    #[test]
    fn limits_change_and_counts_stay() {
        let mut quotas = ConnectionQuotas::new(BrokerLimits::default(), [listener("A", 1)]);
        quotas.count(&name("A"), address("10.0.0.1")).unwrap();
        assert!(!quotas.slot_available(&name("A")));
        let limits = BrokerLimits { max_connections_per_ip: 1, max_creation_rate: Some(1), ..BrokerLimits::default() };
        quotas.set_limits(limits.clone(), [listener("A", 2)]);
        assert!(quotas.slot_available(&name("A")));
        assert_eq!(quotas.count(&name("A"), address("10.0.0.1")), Err(TooManyConnections { max: 1 }));
        let last = (0..11).map(|_| quotas.charge(&name("A"), Mono(0))).max();
        quotas.set_limits(limits, [listener("A", 2)]);
        assert!(quotas.charge(&name("A"), Mono(0)) > last.unwrap(), "the same rate begins anew");
        quotas.set_limits(BrokerLimits::default(), [listener("A", 0)]);
        assert!(!quotas.slot_available(&name("A")));
        assert_eq!(quotas.charge(&name("A"), Mono(0)), Duration::ZERO);
        quotas.release(&name("A"), address("10.0.0.1"));
        assert_eq!(quotas.total(), 0);
    }

    #[test]
    fn the_stricter_of_two_rates_decides() {
        let limits = BrokerLimits { max_creation_rate: Some(100), ..BrokerLimits::default() };
        let slow = ListenerLimits { max_creation_rate: Some(1), ..listener("SLOW", usize::MAX) };
        let mut quotas = ConnectionQuotas::new(limits, [slow, listener("FAST", usize::MAX)]);
        let last = (0..11).map(|_| quotas.charge(&name("SLOW"), Mono(0))).max();
        assert_eq!(last, Some(Duration::from_secs(1)));
        assert_eq!(quotas.charge(&name("FAST"), Mono(0)), Duration::ZERO);
    }
}
