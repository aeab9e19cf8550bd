//! `schloss version`

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Also print what it was built with
    #[arg(short, long)]
    verbose: bool,
}

#[allow(clippy::print_stdout, reason = "the version is the data that was asked for")]
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    println!("schloss {}", env!("CARGO_PKG_VERSION"));
    if arguments.verbose {
        println!("compatible with Apache Kafka 4.3.1");
        println!("rustc {}, TLS by rustls with aws-lc-rs", env!("CARGO_PKG_RUST_VERSION"));
    }
    ExitCode::SUCCESS
}
