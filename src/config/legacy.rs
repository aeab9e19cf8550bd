//! Keys of older Kafkas: put into today's words, each with a line that says so.

use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::keys::{self, Value};
use super::values::Values;
use super::written::{Written, WrittenKeys};

/// Translates what can be translated; notes what has no effect.
pub(super) fn translate(
    values: &mut Values,
    written: &WrittenKeys,
    kraft: bool,
    lines: &mut Vec<String>,
    out: &mut Diagnostics,
) {
    if !kraft {
        lines.push(
            "no process.roles: this node is broker and controller in one, and formats an empty data directory itself"
                .into(),
        );
        if let (true, Some(id)) = (values.is_set("broker.id"), values.get("broker.id").number().filter(|id| *id >= 0)) {
            lines.push(format!("broker.id={id} is node.id={id}"));
        }
    }
    addresses(values, lines);
    timestamps(values, lines);
    if let Value::Password(secret) = values.get("delegation.token.master.key") {
        values.translate("delegation.token.secret.key", Value::Password(secret));
        lines.push("delegation.token.master.key is delegation.token.secret.key".into());
    }
    let mut ignored = Vec::new();
    for (name, entry) in written.iter().filter(|(name, _)| keys::LEGACY.iter().any(|key| key.name == *name)) {
        match name {
            "zookeeper.connect" => {
                lines.push(
                    "zookeeper.connect has no effect: Schloss keeps its metadata itself, no ZooKeeper is needed".into(),
                );
            }
            "host.name" | "port" | "advertised.host.name" | "advertised.port" | "broker.id.generation.enable" => {}
            "log.message.timestamp.difference.max.ms" | "delegation.token.master.key" => {}
            "zookeeper.set.acl" if entry.text().eq_ignore_ascii_case("true") => {
                out.push(Diagnostic::note(Code::P0310).arg(name).at(entry.key_place()));
            }
            _ if name.starts_with("zookeeper.") => {}
            "control.plane.listener.name" => {
                let place = Written::key_place(entry);
                out.push(Diagnostic::error(Code::P0403).arg(name).arg("unset").at(place));
            }
            _ => ignored.push(name),
        }
    }
    if !ignored.is_empty() {
        out.push(Diagnostic::note(Code::P0313).arg(ignored.join(", ")));
    }
}

/// `host.name` and `port` make a listener, their `advertised.` twins what clients are told; only where the newer keys are
/// not set.
fn addresses(values: &mut Values, lines: &mut Vec<String>) {
    let text = |values: &Values, key: &str| values.get(key).to_text().filter(|text| !text.is_empty());
    let make = |values: &mut Values, host: &str, port: &str, target: &'static str, lines: &mut Vec<String>| {
        if (!values.is_set(host) && !values.is_set(port)) || values.is_set(target) {
            return;
        }
        let host_text = text(values, host).or_else(|| text(values, "host.name")).unwrap_or_default();
        let port_text = text(values, port).or_else(|| text(values, "port")).unwrap_or_else(|| "9092".into());
        let host_text = if host_text.contains(':') { format!("[{host_text}]") } else { host_text };
        let listener = format!("PLAINTEXT://{host_text}:{port_text}");
        lines.push(format!("{host} and {port} are {target}={listener}"));
        values.translate(target, Value::List(vec![listener]));
    };
    make(values, "host.name", "port", "listeners", lines);
    make(values, "advertised.host.name", "advertised.port", "advertised.listeners", lines);
}

/// The one bound in both directions became one for each.
fn timestamps(values: &mut Values, lines: &mut Vec<String>) {
    const OLD: &str = "log.message.timestamp.difference.max.ms";
    if !values.is_set(OLD) {
        return;
    }
    let bound = values.get(OLD);
    for key in ["log.message.timestamp.before.max.ms", "log.message.timestamp.after.max.ms"] {
        values.translate(key, bound.clone());
    }
    lines.push(format!("{OLD} is log.message.timestamp.before.max.ms and log.message.timestamp.after.max.ms"));
}
