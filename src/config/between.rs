//! What must hold between keys (`KafkaConfig.validateValues`), with Kafka's texts.

use std::path::PathBuf;

use super::broker_config::log_dirs;
use super::diagnostics::{Code, Diagnostic, Diagnostics};
use super::listeners;
use super::values::Values;
use super::written::{Written, WrittenKeys};

/// Checks numbers and directories against each other.
pub(super) fn check(values: &Values, written: &WrittenKeys, out: &mut Diagnostics) {
    let n = |key: &str| values.get(key).number().unwrap_or(0);
    let mut refuse = |key: &str, text: String| {
        out.push(Diagnostic::error(Code::P0303).arg(text).at_maybe(written.get(key).map(Written::value_place)));
    };
    let first = |names: [(&'static str, i64); 3]| {
        names.into_iter().find(|(key, _)| values.is_set(key)).map(|(key, factor)| (key, n(key).saturating_mul(factor)))
    };
    let retention = [("log.retention.ms", 1), ("log.retention.minutes", 60_000), ("log.retention.hours", 3_600_000)];
    if let Some((key, 0)) = first(retention) {
        refuse(key, "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned());
    }
    if values.is_set("log.roll.ms") && n("log.roll.ms") < 1 {
        refuse("log.roll.ms", "log.roll.ms must be greater than or equal to 1".to_owned());
    }
    if values.is_set("log.roll.jitter.ms") && n("log.roll.jitter.ms") < 0 {
        refuse("log.roll.jitter.ms", "log.roll.jitter.ms must be greater than or equal to 0".to_owned());
    }
    let budget = n("queued.max.request.bytes");
    if budget > 0 && budget < n("socket.request.max.bytes") {
        let text = "queued.max.request.bytes must be larger or equal to socket.request.max.bytes";
        refuse("queued.max.request.bytes", text.to_owned());
    }
    let (delay, idle) = (n("connection.failed.authentication.delay.ms"), n("connections.max.idle.ms"));
    if idle > 0 && delay >= idle {
        let text = format!(
            "connection.failed.authentication.delay.ms={delay} should always be less than connections.max.idle.ms={idle} \
             to prevent failed authentication responses from timing out"
        );
        refuse("connection.failed.authentication.delay.ms", text);
    }
    if n("replica.fetch.wait.max.ms") > n("replica.socket.timeout.ms") {
        let text = "replica.socket.timeout.ms should always be at least replica.fetch.wait.max.ms to prevent unnecessary \
                    socket timeouts";
        refuse("replica.fetch.wait.max.ms", text.to_owned());
    } else if n("replica.fetch.wait.max.ms") > n("replica.lag.time.max.ms") {
        let text = "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to prevent \
                    frequent changes in ISR";
        refuse("replica.lag.time.max.ms", text.to_owned());
    }
    if n("log.cleaner.dedupe.buffer.size") / n("log.cleaner.threads").max(1) < 1 << 20 {
        let text = "log.cleaner.dedupe.buffer.size must be at least 1MB per cleaner thread.";
        refuse("log.cleaner.dedupe.buffer.size", text.to_owned());
    }
    let codec = n("offsets.topic.compression.codec");
    if !(0..=4).contains(&codec) {
        refuse("offsets.topic.compression.codec", format!("Unknown compression type id: {codec}"));
    }
    let dirs = log_dirs(values);
    let cordoned = values.list("cordoned.log.dirs");
    let strange: Vec<&str> =
        cordoned.iter().map(String::as_str).filter(|dir| !dirs.contains(&PathBuf::from(dir))).collect();
    if !strange.is_empty() && cordoned != ["*"] {
        let strange = strange.join(", ");
        let text = format!(
            "All entries in cordoned.log.dirs must be present in log.dirs or log.dir. Missing entries : {strange}"
        );
        refuse("cordoned.log.dirs", text);
    }
    if written.get("sasl.jaas.config").is_some() {
        let place = written.get("sasl.jaas.config").map(Written::key_place);
        out.push(Diagnostic::warning(Code::J0108).at_maybe(place));
    }
}

/// `max.connections.per.ip` and its overrides.
pub(super) fn per_ip(values: &Values, written: &WrittenKeys, out: &mut Diagnostics) -> Vec<(String, i32)> {
    const KEY: &str = "max.connections.per.ip.overrides";
    let text = values.string(KEY).unwrap_or_default();
    let result = listeners::connections_per_ip(&text);
    if values.get("max.connections.per.ip").number() == Some(0) && text.is_empty() {
        let text = format!("max.connections.per.ip can be set to zero only if {KEY} property is set.");
        let place = written.get("max.connections.per.ip").map(Written::value_place);
        out.push(Diagnostic::error(Code::P0303).arg(text).at_maybe(place));
    }
    result.unwrap_or_else(|error| {
        out.push(Diagnostic::error(Code::P0303).arg(error).at_maybe(written.get(KEY).map(Written::value_place)));
        Vec::new()
    })
}
