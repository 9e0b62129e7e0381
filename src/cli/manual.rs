//! Completions for shells, and manual pages.

use std::fs;
use std::path::Path;

use clap::CommandFactory;
use clap_complete::Shell;

use super::arguments::Arguments;
use super::failure::{Failure, Status};
use super::output::Out;

pub(super) fn completions(shell: Shell, out: &mut Out) -> Result<Status, Failure> {
    // In memory first: what writes there has no way to say that a pipe was closed.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "oncekey", &mut script);
    std::io::Write::write_all(out, &script)?;
    Ok(Status::Fine)
}

pub(super) fn man(directory: Option<&Path>, out: &mut Out) -> Result<Status, Failure> {
    match directory {
        Some(directory) => {
            fs::create_dir_all(directory).map_err(Failure::at(directory))?;
            clap_mangen::generate_to(Arguments::command(), directory).map_err(Failure::at(directory))?;
        }
        None => clap_mangen::Man::new(Arguments::command()).render(out)?,
    }
    Ok(Status::Fine)
}
