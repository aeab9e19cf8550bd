//! What the operator wrote, read once at start: properties, JAAS, listeners, keys and the typed result.
//!
//! [`keys`] is the one table: a line a key, with type, default, bounds, importance and what Schloss does with it. The
//! readers, the validation behind AlterConfigs, the answer of DescribeConfigs and `schloss explain KEY` come from it.
//! Every finding is a [`diagnostics::Diagnostic`] with file, line, column, caret and fix, in English or Chinese, and never
//! shows a secret. Files are read here and only at start. Knows no socket, no log and no clock; must never let a key that
//! is meant to protect be without effect silently: it works, or the start is refused.

pub mod authorization;
mod between;
pub mod broker_config;
pub mod catalogue;
pub mod diagnostics;
pub mod dynamic;
pub mod jaas;
pub mod jvm;
pub mod keys;
mod legacy;
pub mod listeners;
mod logins;
pub mod nearest;
pub mod profile;
pub mod properties;
mod providers;
mod quorum;
pub mod resource;
pub mod settings;
pub mod source;
pub mod tls;
pub mod topic;
pub mod values;
mod written;

#[cfg(test)]
#[path = "tests/apache.rs"]
mod apache_reads;

pub use broker_config::{BrokerConfig, ListenerConfig, Loaded, Sources};
pub use catalogue::Lang;
pub use diagnostics::{Diagnostic, Diagnostics, Severity, Style};
pub use profile::Profile;
