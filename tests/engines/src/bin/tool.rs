//! The operator's tool, as the crate has it with this engine.

use std::process::ExitCode;

fn main() -> ExitCode {
    oncekey::cli::run()
}
