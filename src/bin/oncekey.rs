//! The operator's tool (feature `cli`): all of it stands in the room `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    oncekey::cli::run()
}
