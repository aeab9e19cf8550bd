//! The `schloss` binary: everything it does is a verb of [`schloss::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    schloss::cli::main()
}
