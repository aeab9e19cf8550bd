//! Listeners: which addresses, under which names, with which protocol, and what is told to clients.
//!
//! Rules and texts are those of `AbstractKafkaConfig` and `KafkaConfig.validateValues` of 4.3.1, observed. Two ports are
//! checked that Kafka lets through until it binds. Does not know how anything is authenticated; that is put together in
//! [`super::broker_config`].

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::keys::Value;
use super::values::Values;
use super::written::{Written, WrittenKeys};
use crate::model::listener::{ListenerName, SecurityProtocol};

/// `NAME://host:port`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    pub name: ListenerName,
    /// Empty for every interface.
    pub host: String,
    /// 0 takes any free one.
    pub port: u16,
    pub protocol: SecurityProtocol,
}

impl Endpoint {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        let host = self.host.as_str();
        host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
    }

    /// `host:port` as it is printed, an IPv6 address in brackets.
    pub fn address(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// All listeners of a node.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listeners {
    pub endpoints: Vec<Endpoint>,
    /// What clients are told, by listener. A host left open here is this machine's name.
    pub advertised: Vec<Endpoint>,
    pub controllers: Vec<ListenerName>,
    pub inter_broker: ListenerName,
}

impl Listeners {
    pub fn is_controller(&self, name: &ListenerName) -> bool {
        self.controllers.contains(name)
    }
}

/// Reads and checks the listeners. `None` with at least one error reported.
pub(super) fn read(values: &Values, written: &WrittenKeys, out: &mut Diagnostics) -> Option<Listeners> {
    let at = |key: &str| written.get(key).map(Written::value_place);
    let refuse = |key: &str, text: String| Diagnostic::error(Code::L0001).arg(text).at_maybe(at(key));
    let result = (|| {
        let controllers = names(&values.list("controller.listener.names"));
        let protocols =
            protocols(values, &controllers).map_err(|text| refuse("listener.security.protocol.map", text))?;
        let endpoints = endpoints(&values.list("listeners"), &protocols).map_err(|fault| match fault {
            Fault::Text(text) => refuse("listeners", text),
            Fault::Port(port) => Diagnostic::error(Code::L0002).arg(port).at_maybe(at("listeners")),
        })?;
        let advertised = advertised(values, &endpoints, &controllers, &protocols).map_err(|fault| match fault {
            Fault::Text(text) => refuse("advertised.listeners", text),
            Fault::Port(port) => Diagnostic::error(Code::L0002).arg(port).at_maybe(at("advertised.listeners")),
        })?;
        let inter_broker = inter_broker(values, &protocols).map_err(|text| {
            refuse(
                if values.is_set("inter.broker.listener.name") {
                    "inter.broker.listener.name"
                } else {
                    "security.inter.broker.protocol"
                },
                text,
            )
        })?;
        let listeners = Listeners { endpoints, advertised, controllers, inter_broker };
        check(&listeners).map_err(|(key, text)| refuse(key, text))?;
        let known = |name: &String| listeners.endpoints.iter().any(|endpoint| endpoint.name == ListenerName::new(name));
        if let Some(strange) = values.list("early.start.listeners").iter().find(|name| !known(name)) {
            let text = format!(
                "early.start.listeners contains listener {strange}, but this is not contained in listeners or \
                 controller.listener.names"
            );
            return Err(refuse("early.start.listeners", text));
        }
        Ok(listeners)
    })();
    match result {
        Ok(listeners) => Some(listeners),
        Err(error) => {
            let error: Diagnostic = error;
            out.push(error);
            None
        }
    }
}

enum Fault {
    Text(String),
    Port(String),
}

fn names(items: &[String]) -> Vec<ListenerName> {
    items.iter().map(|name| ListenerName::new(name)).collect()
}

type Protocols = BTreeMap<ListenerName, SecurityProtocol>;

/// `listener.security.protocol.map`; the controllers' listeners are PLAINTEXT by default as long as no listener is named
/// after a protocol that protects.
fn protocols(values: &Values, controllers: &[ListenerName]) -> Result<Protocols, String> {
    let Value::Text(text) = values.get("listener.security.protocol.map") else { return Ok(Protocols::new()) };
    let mut map = Protocols::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((name, protocol)) = entry.rsplit_once(':') else {
            return Err(format!(
                "Error parsing configuration property 'listener.security.protocol.map': '{entry}' is not NAME:PROTOCOL"
            ));
        };
        let (name, protocol) = (name.trim(), protocol.trim());
        if name.is_empty() {
            return Err("The provided listener name is null or empty string".to_owned());
        }
        let protocol = protocol
            .parse()
            .map_err(|_| format!("Invalid security protocol `{protocol}` defined in listener.security.protocol.map"))?;
        map.insert(ListenerName::new(name), protocol);
    }
    if !values.is_set("listener.security.protocol.map") {
        let listeners = values.list("listeners");
        let named = listeners.iter().map(|text| text.split("://").next().unwrap_or_default());
        let protects = |name: &str| matches!(name.to_uppercase().as_str(), "SSL" | "SASL_SSL" | "SASL_PLAINTEXT");
        if !named.chain(controllers.iter().map(ListenerName::as_str)).any(protects) {
            for name in controllers {
                map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
            }
        }
    }
    Ok(map)
}

fn endpoints(items: &[String], protocols: &Protocols) -> Result<Vec<Endpoint>, Fault> {
    let all = format!("[{}]", items.join(", "));
    let refuse = |text: String| Fault::Text(format!("Error creating broker listeners from '{all}': {text}"));
    let mut endpoints = Vec::new();
    for item in items {
        let Some((name, host, port)) = split_endpoint(item) else {
            return Err(refuse(format!("Unable to parse {item} to a broker endpoint")));
        };
        let name = ListenerName::new(name);
        let port: i32 = port.parse().map_err(|_| refuse(format!("For input string: \"{port}\"")))?;
        let Some(protocol) = protocols.get(&name).copied() else {
            return Err(refuse(format!("No security protocol defined for listener {name}")));
        };
        let port = u16::try_from(port).map_err(|_| Fault::Port(port.to_string()))?;
        endpoints.push(Endpoint { name, host: host.to_owned(), port, protocol });
    }
    Ok(endpoints)
}

/// `^(.*)://\[?([0-9a-zA-Z\-%._:]*)\]?:(-?[0-9]+)`
fn split_endpoint(text: &str) -> Option<(&str, &str, &str)> {
    let (name, rest) = text.split_once("://")?;
    let (host, port) = rest.rsplit_once(':')?;
    let host = host.strip_prefix('[').unwrap_or(host);
    let host = host.strip_suffix(']').unwrap_or(host);
    let host_ok = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'%' | b'.' | b'_' | b':'));
    let digits = port.strip_prefix('-').unwrap_or(port);
    let port_ok = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    (host_ok && port_ok && !name.is_empty()).then_some((name, host, port))
}

/// `EndPoint` lists must differ in name and port; one IPv4 and one IPv6 address may share a port.
fn check_distinct(endpoints: &[Endpoint], items: &[String], ports: bool) -> Result<(), String> {
    let all = format!("[{}]", items.join(", "));
    let refuse = |text: String| Err(format!("Error creating broker listeners from '{all}': {text}"));
    for (at, endpoint) in endpoints.iter().enumerate() {
        let earlier = endpoints.get(..at).unwrap_or_default();
        if earlier.iter().any(|other| other.name == endpoint.name) {
            return refuse(format!("Each listener must have a different name, listeners: {all}"));
        }
    }
    for (at, endpoint) in endpoints.iter().enumerate().filter(|(_, endpoint)| ports && endpoint.port != 0) {
        let same: Vec<&Endpoint> =
            endpoints.get(..at).unwrap_or_default().iter().filter(|other| other.port == endpoint.port).collect();
        let ip = |endpoint: &Endpoint| endpoint.host.parse::<IpAddr>().ok();
        match same.as_slice() {
            [] => {}
            [other] => match (ip(other), ip(endpoint)) {
                (Some(a), Some(b)) if a.is_ipv4() != b.is_ipv4() => {}
                (Some(_), Some(_)) => {
                    return refuse(format!(
                        "If you have two listeners on the same port then one needs to be IPv4 and the other IPv6, \
                         listeners: {all}, port: {}",
                        endpoint.port
                    ));
                }
                _ => return refuse(format!("Each listener must have a different port, listeners: {all}")),
            },
            _ => {
                return refuse(format!(
                    "Each listener must have a different port unless exactly one listener has an IPv4 address and the \
                     other IPv6 address, listeners: {all}, port: {}",
                    endpoint.port
                ));
            }
        }
    }
    Ok(())
}

fn advertised(
    values: &Values,
    endpoints: &[Endpoint],
    controllers: &[ListenerName],
    protocols: &Protocols,
) -> Result<Vec<Endpoint>, Fault> {
    check_distinct(endpoints, &values.list("listeners"), true).map_err(Fault::Text)?;
    let items = values.list("advertised.listeners");
    if items.is_empty() {
        return Ok(endpoints.iter().filter(|endpoint| !controllers.contains(&endpoint.name)).cloned().collect());
    }
    let advertised = self::endpoints(&items, protocols)?;
    check_distinct(&advertised, &items, false).map_err(Fault::Text)?;
    Ok(advertised)
}

fn inter_broker(values: &Values, protocols: &Protocols) -> Result<ListenerName, String> {
    if let Some(name) = values.string("inter.broker.listener.name") {
        if values.is_set("security.inter.broker.protocol") {
            return Err(
                "Only one of inter.broker.listener.name and security.inter.broker.protocol should be set.".to_owned()
            );
        }
        let name = ListenerName::new(&name);
        if !protocols.contains_key(&name) {
            return Err(format!(
                "Listener with name {name} defined in inter.broker.listener.name not found in \
                 listener.security.protocol.map."
            ));
        }
        return Ok(name);
    }
    let protocol = values.string("security.inter.broker.protocol").unwrap_or_else(|| "PLAINTEXT".to_owned());
    Ok(ListenerName::new(&protocol))
}

/// What must hold between the lists. Gives the key to point at, and Kafka's text.
fn check(listeners: &Listeners) -> Result<(), (&'static str, String)> {
    let Listeners { endpoints, advertised, controllers, inter_broker } = listeners;
    let joined = |endpoints: &[Endpoint]| {
        endpoints.iter().map(|endpoint| endpoint.name.as_str().to_owned()).collect::<Vec<_>>().join(",")
    };
    let bound = |name: &ListenerName| endpoints.iter().any(|endpoint| endpoint.name == *name);
    if !controllers.iter().all(bound) {
        let text = "controller.listener.names must only contain values appearing in the 'listeners' configuration when \
                    running the KRaft controller role";
        return Err(("controller.listener.names", text.to_owned()));
    }
    let brokers: Vec<&Endpoint> = advertised.iter().filter(|endpoint| !controllers.contains(&endpoint.name)).collect();
    if brokers.is_empty() {
        let text = "There must be at least one broker advertised listener. Perhaps all listeners appear in \
                    controller.listener.names?";
        return Err(("listeners", text.to_owned()));
    }
    if !brokers.iter().any(|endpoint| endpoint.name == *inter_broker) {
        let valid = brokers.iter().map(|endpoint| endpoint.name.as_str()).collect::<Vec<_>>().join(",");
        let text = format!(
            "inter.broker.listener.name must be a listener name defined in advertised.listeners. The valid options \
             based on currently configured listeners are {valid}"
        );
        return Err(("inter.broker.listener.name", text));
    }
    if !advertised.iter().all(|endpoint| bound(&endpoint.name)) {
        let text = format!(
            "advertised.listeners listener names must be equal to or a subset of the ones defined in listeners. Found \
             {}. The valid options based on the current configuration are {}",
            joined(advertised),
            joined(endpoints)
        );
        return Err(("advertised.listeners", text));
    }
    if advertised.iter().any(|endpoint| endpoint.host == "0.0.0.0") {
        let text = "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address.";
        return Err(("advertised.listeners", text.to_owned()));
    }
    Ok(())
}

/// `max.connections.per.ip.overrides`: host or address, and its limit.
///
/// # Errors
/// Kafka's text.
pub(super) fn connections_per_ip(text: &str) -> Result<Vec<(String, i32)>, String> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let mut out = Vec::new();
    for entry in text.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let Some((host, limit)) = entry.rsplit_once(':') else {
            return Err(format!("Error parsing configuration property '{KEY}': '{entry}' is not host:count"));
        };
        let (host, limit) = (host.trim(), limit.trim());
        let host_ok = host.parse::<IpAddr>().is_ok()
            || (!host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.')));
        if !host_ok {
            return Err(format!("{KEY} contains invalid addresses : {host}"));
        }
        out.push((host.to_owned(), limit.parse().map_err(|_| format!("For input string: \"{limit}\""))?));
    }
    Ok(out)
}
