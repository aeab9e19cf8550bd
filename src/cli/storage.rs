//! `schloss storage format` and `random-uuid`: kafka-storage's verbs, with its texts.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use super::exit;
use super::serve::{complain, load};
use crate::config::{Lang, Sources};
use crate::controller::Random as _;
use crate::log::storage::RealDisk;
use crate::model::time::Clock as _;
use crate::model::uuid::Uuid;
use crate::server::clock::SystemClock;
use crate::server::controller::SystemRandom;
use crate::server::files;
use crate::server::format::{FormatError, FormatRequest, format};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Format the log directories that a server.properties names
    Format(Format),
    /// Print a new cluster id
    RandomUuid,
}

#[derive(Debug, clap::Args)]
pub(super) struct Format {
    /// The server.properties of the node
    #[arg(short, long)]
    config: PathBuf,
    /// The cluster id (see random-uuid)
    #[arg(short = 't', long)]
    cluster_id: String,
    /// A SCRAM user to begin with: SCRAM-SHA-256=[name=alice,password=...]; may be given again
    #[arg(short = 'S', long, value_name = "MECHANISM=[...]")]
    add_scram: Vec<String>,
    /// Format the directories that are not formatted, leave the others
    #[arg(short = 'g', long)]
    ignore_formatted: bool,
    /// The metadata.version to begin with, by its release
    #[arg(short, long)]
    release_version: Option<String>,
    /// A feature level to begin with
    #[arg(short, long, value_name = "NAME=LEVEL", value_parser = feature)]
    feature: Vec<(String, i16)>,
}

pub(super) fn run(verb: Verb, env: BTreeMap<String, String>) -> ExitCode {
    match verb {
        Verb::Format(arguments) => run_format(arguments, env),
        Verb::RandomUuid => {
            answer(&random_uuid().to_string());
            ExitCode::SUCCESS
        }
    }
}

fn run_format(arguments: Format, env: BTreeMap<String, String>) -> ExitCode {
    let lang = Lang::from_env(|name| env.get(name).cloned());
    let sources = Sources { file: Some(arguments.config), only_format: true, env, ..Sources::default() };
    let Some(loaded) = load(sources, lang) else { return ExitCode::from(exit::CONFIG) };
    let config = loaded.config;
    let request = FormatRequest {
        cluster_id: arguments.cluster_id,
        node_id: config.node_id.0,
        log_dirs: config.log_dirs,
        metadata_log_dir: config.metadata_log_dir,
        release_version: arguments.release_version,
        features: arguments.feature,
        add_scram: arguments.add_scram,
        ignore_formatted: arguments.ignore_formatted,
    };
    match format_dirs(&request) {
        Ok(lines) => {
            lines.iter().for_each(|line| answer(line));
            ExitCode::SUCCESS
        }
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(exit::FAILURE)
        }
    }
}

/// Formats, after making the folders.
pub(super) fn format_dirs(request: &FormatRequest) -> Result<Vec<String>, FormatError> {
    for dir in request.log_dirs.iter().chain(Some(&request.metadata_log_dir)) {
        files::create_dir(dir).map_err(|error| FormatError::Disk { path: error.path, error: error.source })?;
    }
    format(&RealDisk, &mut SystemRandom, request, SystemClock::new().wall())
}

/// An id that is good for a cluster.
pub(super) fn random_uuid() -> Uuid {
    loop {
        let mut bytes = [0; 16];
        SystemRandom.fill(&mut bytes);
        if let Some(id) = Uuid::from_random(bytes) {
            return id;
        }
    }
}

fn feature(text: &str) -> Result<(String, i16), String> {
    let parsed = text.split_once('=').and_then(|(name, level)| Some((name.to_owned(), level.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text:?} is not NAME=LEVEL"))
}

#[allow(clippy::print_stdout, reason = "what the command was asked for")]
fn answer(line: &str) {
    println!("{line}");
}
