//! A key's value: from text, checked, and back to text, with the words of `ConfigDef`.

use super::{Key, Kind, Valid};
use crate::model::secret::Secret;

/// A parsed value.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Short(i16),
    Int(i32),
    Long(i64),
    Double(f64),
    /// STRING and CLASS, trimmed.
    Text(String),
    List(Vec<String>),
    Password(Secret),
}

impl Value {
    /// `ConfigDef.convertToString`; nothing for null. A password gives `[hidden]`.
    pub fn to_text(&self) -> Option<String> {
        Some(match self {
            Self::Null => return None,
            Self::Bool(value) => value.to_string(),
            Self::Short(value) => value.to_string(),
            Self::Int(value) => value.to_string(),
            Self::Long(value) => value.to_string(),
            Self::Double(value) => java_double(*value),
            Self::Text(text) => text.clone(),
            Self::List(items) => items.join(","),
            Self::Password(_) => "[hidden]".to_owned(),
        })
    }

    /// Any whole number.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Short(value) => Some(i64::from(*value)),
            Self::Int(value) => Some(i64::from(*value)),
            Self::Long(value) => Some(*value),
            _ => None,
        }
    }
}

/// `Double.toString`
fn java_double(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

fn java_trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

pub(super) fn parse(key: &Key, text: &str) -> Result<Value, String> {
    let trimmed = java_trim(text);
    let invalid = |why: &str| format!("Invalid value {text} for configuration {}: {why}", key.name);
    let not_a_number = || invalid(&format!("Not a number of type {}", key.kind.name()));
    Ok(match key.kind {
        Kind::Boolean => match trimmed.to_ascii_lowercase().as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(invalid("Expected value to be either true or false")),
        },
        Kind::Short => Value::Short(trimmed.parse().map_err(|_| not_a_number())?),
        Kind::Int => Value::Int(trimmed.parse().map_err(|_| not_a_number())?),
        Kind::Long => Value::Long(trimmed.parse().map_err(|_| not_a_number())?),
        Kind::Double => Value::Double(java_parse_double(trimmed).ok_or_else(not_a_number)?),
        Kind::String | Kind::Class => Value::Text(trimmed.to_owned()),
        Kind::Password => Value::Password(Secret::new(trimmed)),
        Kind::List => Value::List(split_list(trimmed)),
    })
}

/// The items between commas, blanks around them left out. Nothing for an empty text.
pub(crate) fn split_list(text: &str) -> Vec<String> {
    if text.is_empty() {
        return Vec::new();
    }
    text.split(',')
        .map(|item| item.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}').to_owned())
        .collect()
}

fn java_parse_double(text: &str) -> Option<f64> {
    let plain = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let is_number = plain.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'+' | b'-' | b'e' | b'E'));
    if is_number { plain.parse().ok() } else { None }
}

pub(super) fn check(key: &Key, value: &Value) -> Result<(), String> {
    let name = key.name;
    let shown = || value.to_text().unwrap_or_else(|| "null".to_owned());
    let invalid = |why: &str| Err(format!("Invalid value {} for configuration {name}: {why}", shown()));
    match (&key.valid, value) {
        (_, Value::Null) => Ok(()),
        (Valid::AtLeast(low) | Valid::Between(low, _), _) if value.number().is_some_and(|n| n < *low) => {
            invalid(&format!("Value must be at least {low}"))
        }
        (Valid::Between(_, high), _) if value.number().is_some_and(|n| n > *high) => {
            invalid(&format!("Value must be no more than {high}"))
        }
        (Valid::Fraction(low, _), Value::Double(n)) if n < low => invalid(&format!("Value must be at least {low}")),
        (Valid::Fraction(_, high), Value::Double(n)) if n > high => {
            invalid(&format!("Value must be no more than {high}"))
        }
        (Valid::OneOf(names), Value::Text(text)) if !names.contains(&text.as_str()) => {
            invalid(&format!("String must be one of: {}", names.join(", ")))
        }
        (Valid::OneOfAnyCase(names), Value::Text(text)) if !names.iter().any(|n| n.eq_ignore_ascii_case(text)) => {
            invalid(&format!("String must be one of (case insensitive): {}", names.join(", ")))
        }
        (Valid::NonEmptyString, Value::Text(text)) if text.is_empty() => invalid("String must be non-empty"),
        (Valid::GzipLevel, Value::Int(level)) if *level != -1 && !(1..=9).contains(level) => {
            invalid("Value must be between 1 and 9 or equal to -1")
        }
        (Valid::List { of, may_be_empty }, Value::List(items)) => check_list(name, of, *may_be_empty, items),
        (Valid::ThrottledReplicas, Value::List(items)) => check_throttled(name, items),
        (Valid::QuorumVoters, Value::List(items)) => items.iter().try_for_each(|item| parse_voter(item).map(drop)),
        (Valid::BootstrapServers, Value::List(items)) => items.iter().try_for_each(|item| {
            host_port(item).map(drop).ok_or_else(|| {
                format!(
                    "Failed to parse host name from {item} for the configuration {name}. \
                     Each entry should be in the form \"{{host}}:{{port}}\""
                )
            })
        }),
        (Valid::OffsetReset, Value::Text(text)) => {
            let known = matches!(text.as_str(), "latest" | "earliest") || text.starts_with("by_duration:P");
            if known { Ok(()) } else { invalid("Invalid share.auto.offset.reset") }
        }
        _ => Ok(()),
    }
}

fn check_list(name: &str, of: &[&str], may_be_empty: bool, items: &[String]) -> Result<(), String> {
    if items.is_empty() && !may_be_empty {
        let valid = if of.is_empty() { "any non-empty value".to_owned() } else { format!("[{}]", of.join(", ")) };
        return Err(format!("Configuration '{name}' must not be empty. Valid values include: {valid}"));
    }
    if items.iter().enumerate().any(|(at, item)| items.iter().take(at).any(|earlier| earlier == item)) {
        return Err(format!("Configuration '{name}' values must not be duplicated."));
    }
    for item in items {
        if item.is_empty() {
            return Err(format!("Configuration '{name}' values must not be empty."));
        }
        if !of.is_empty() && !of.contains(&item.as_str()) {
            let why = format!("String must be one of: {}", of.join(", "));
            return Err(format!("Invalid value {item} for configuration {name}: {why}"));
        }
    }
    Ok(())
}

fn check_throttled(name: &str, items: &[String]) -> Result<(), String> {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let pair = |item: &String| item.split_once(':').is_some_and(|(a, b)| number(a) && number(b));
    if items.is_empty() || items.iter().all(pair) || matches!(items, [one] if one == "*") {
        return Ok(());
    }
    Err(format!(
        "Invalid value [{}] for configuration {name}: {name} must be the literal '*' or a list of replicas in the \
         following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        items.join(", ")
    ))
}

/// One entry of `controller.quorum.voters`: node id, host, port.
///
/// # Errors
/// Kafka's text (`QuorumConfig.parseVoterConnections`).
pub(crate) fn parse_voter(entry: &str) -> Result<(i32, String, u16), String> {
    const FORM: &str = "Each entry should be in the form `{id}@{host}:{port}`.";
    let Some((id, address)) = entry.split_once('@').filter(|(_, address)| !address.contains('@')) else {
        return Err(format!("Invalid configuration value for controller.quorum.voters. {FORM}"));
    };
    let id = id.parse().map_err(|_| format!("Failed to parse voter ID as an integer from {id}"))?;
    let Some((host, port)) = host_port(address) else {
        return Err(format!(
            "Failed to parse host name from entry {entry} for the configuration controller.quorum.voters. {FORM}"
        ));
    };
    let port = u16::try_from(port).map_err(|_| format!("port out of range:{port}"))?;
    Ok((id, host, port))
}

/// `Utils.getHost` and `Utils.getPort`: `host:port`, `[v6]:port`.
pub(crate) fn host_port(text: &str) -> Option<(String, u32)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let host_ok = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'%' | b'.' | b'_' | b':'));
    let port_ok = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
    if host_ok && port_ok { Some((host.to_owned(), port.parse().ok()?)) } else { None }
}
