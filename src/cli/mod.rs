//! The verbs of `schloss`: reads arguments and the environment, calls `server/`, talks on a terminal.
//!
//! `serve` logs to standard output; every other verb talks on standard error and keeps standard output for data. Exit
//! codes: 0, 1 failure, 2 usage, 74 disk, 78 configuration. Must never hold what a broker does: that is `server/`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod acl;
mod certs;
mod client;
mod config;
mod consume;
mod exit;
mod group;
mod health;
mod produce;
mod quickstart;
mod quota;
mod serve;
mod signals;
mod storage;
mod topic;
mod users;
mod version;

/// A Kafka-compatible message broker with security switched on.
#[derive(Debug, Parser)]
#[command(name = "schloss", disable_help_subcommand = true, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// A secured single broker in one folder: certificates, users, rights, a demo topic, ready client files
    Quickstart(quickstart::Arguments),
    /// Run a broker on a server.properties
    Serve(serve::Arguments),
    /// Prepare data directories, as kafka-storage does
    #[command(subcommand)]
    Storage(storage::Verb),
    /// Write records, a line each
    Produce(produce::Arguments),
    /// Read records
    Consume(consume::Arguments),
    /// Topics: create, list, describe, alter, add-partitions, trim, delete
    #[command(subcommand, alias = "topics")]
    Topic(topic::Verb),
    /// Groups: list, describe, members, seek, delete
    #[command(subcommand, alias = "groups")]
    Group(group::Verb),
    /// Users: add, list, passwd, remove
    #[command(subcommand, alias = "user")]
    Users(users::Verb),
    /// Quotas of users, clients and addresses: set, list, remove
    #[command(subcommand, alias = "quotas")]
    Quota(quota::Verb),
    /// A certificate authority and its certificates: init-ca, issue, list, show
    #[command(subcommand, alias = "cert")]
    Certs(certs::Verb),
    /// Can the cluster be used? Exit code 0: yes; 3: no
    Health(health::Arguments),
    /// Rights: allow, deny, list, remove, explain
    #[command(subcommand, alias = "acls")]
    Acl(acl::Verb),
    /// Configs of topics and brokers that change without a restart: get, set, unset, list
    #[command(subcommand, alias = "configs")]
    Config(config::Verb),
    /// Print the version
    Version(version::Arguments),
}

/// The process's environment, read once.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The entry of the binary.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are asked for; everything else is a usage error, which clap codes as 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit::USAGE));
        }
    };
    let environment = environment();
    match arguments.verb {
        Verb::Quickstart(arguments) => quickstart::run(&arguments, environment),
        Verb::Serve(arguments) => serve::run(&arguments, environment),
        Verb::Storage(verb) => storage::run(verb, environment),
        Verb::Version(arguments) => version::run(&arguments),
        Verb::Produce(arguments) => produce::run(&arguments, &environment),
        Verb::Consume(arguments) => consume::run(&arguments, &environment),
        Verb::Topic(verb) => topic::run(&verb, &environment),
        Verb::Group(verb) => group::run(&verb, &environment),
        Verb::Users(verb) => users::run(&verb, &environment),
        Verb::Quota(verb) => quota::run(&verb, &environment),
        Verb::Certs(verb) => certs::run(&verb),
        Verb::Health(arguments) => health::run(&arguments, &environment),
        Verb::Acl(verb) => acl::run(&verb, &environment),
        Verb::Config(verb) => config::run(&verb, &environment),
    }
}

/// `key=value` of `--override`.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(format!("{text:?} is not key=value")),
    }
}

/// A path as it was typed, made absolute so that it means the same in files we write.
fn absolute(path: &std::path::Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }
}
