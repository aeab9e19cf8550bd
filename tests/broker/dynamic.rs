//! Limits that are changed while the broker serves are in force when the change is answered, and after a restart.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use schloss::protocol::api::ApiKey;
use schloss::protocol::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use schloss::protocol::messages::incremental_alter_configs_response::IncrementalAlterConfigsResponse;

use crate::client::Client;
use crate::support::{Broker, free_port, write};

const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;

/// Changes a config of broker 1 over a connection that there is already.
fn alter(client: &mut Client, name: &str, value: Option<&str>) {
    assert_eq!(try_alter(client, name, value), Ok(()), "{name}");
}

/// The same; `Err` is INVALID_REQUEST with its message.
pub(super) fn try_alter(client: &mut Client, name: &str, value: Option<&str>) -> Result<(), String> {
    try_alter_all(client, &[(name, value)])
}

/// Several in one request.
pub(super) fn try_alter_all(client: &mut Client, changes: &[(&str, Option<&str>)]) -> Result<(), String> {
    let configs = changes.iter().map(|(name, value)| AlterableConfig {
        name: (*name).into(),
        config_operation: if value.is_some() { SET } else { DELETE },
        value: value.map(Into::into),
    });
    let resource =
        AlterConfigsResource { resource_type: BROKER, resource_name: "1".into(), configs: configs.collect() };
    let request = IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
    let answer: IncrementalAlterConfigsResponse = client.ask(ApiKey::IncrementalAlterConfigs, 1, &request).unwrap();
    let answer = &answer.responses[0];
    let message = answer.error_message.as_deref().unwrap_or_default().to_owned();
    match answer.error_code {
        0 => Ok(()),
        42 => Err(message),
        other => panic!("{changes:?}: {other}, {message}"),
    }
}

fn is_served(address: SocketAddr) -> bool {
    Client::try_connect(address).and_then(|mut client| client.metadata(&[])).is_ok()
}

fn start(config: &Path) -> Broker {
    Broker::start(&["serve", config.to_str().unwrap()], &[])
}

#[test]
fn limits_of_connections_change_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let config = dir.path().join("server.properties");
    let data = dir.path().join("data");
    write(&config, &format!("broker.id=1\nlisteners=PLAINTEXT://127.0.0.1:{port}\nlog.dirs={}\n", data.display()));
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut broker = start(&config);
    let mut first = Client::connect(address);
    assert!(first.metadata(&[]).is_ok() && is_served(address));

    alter(&mut first, "max.connections.per.ip", Some("1"));
    assert!(!is_served(address), "a second connection of the same address");
    alter(&mut first, "max.connections.per.ip.overrides", Some("127.0.0.1:2"));
    assert!(is_served(address));
    alter(&mut first, "max.connections.per.ip.overrides", None);
    assert!(!is_served(address));

    // It holds for the successor too.
    drop(first);
    assert_eq!(broker.stop(), Some(0));
    let _broker = start(&config);
    let mut first = Client::connect(address);
    assert!(first.metadata(&[]).is_ok() && !is_served(address));
    alter(&mut first, "max.connections.per.ip", None);
    assert!(is_served(address));

    // Who waits for a slot is let in when there is one more.
    alter(&mut first, "listener.name.plaintext.max.connections", Some("1"));
    let mut waiting = Client::connect(address);
    waiting.stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(waiting.metadata(&[]).is_err(), "served over the listener's limit");
    alter(&mut first, "listener.name.plaintext.max.connections", Some("2"));
    waiting.stream.set_read_timeout(Some(crate::support::PATIENCE)).unwrap();
    assert!(waiting.receive(ApiKey::Metadata, 12).is_ok());
}
