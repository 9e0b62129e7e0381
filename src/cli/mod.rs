//! The operator's tool (feature `cli`): `oncekey`, installed by `cargo install oncekey --features cli`.
//!
//! Law: a command that reads changes nothing on disk, and says what it could not see; one that changes opens the store as
//! its owner. Outcomes, checkpoints and secrets show only where they are asked for by name (contract 10.2). What goes to
//! standard output is what was asked for, in words or, with `--json`, in JSON; everything else goes to standard error. A
//! reader who has read enough and closes the pipe is no error.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `arguments` | commands, options, their help |
//! | `output`, `words` | where words and JSON go; times, ages, sizes and bytes in words |
//! | `failure` | what goes wrong, and the status it ends with |
//! | `view`, `owned` | a store to look at; a store to change; keys and secrets out of files |
//! | `entry` | a record as JSON |
//! | `inspect`, `looking`, `verify` | the reading commands |
//! | `changing` | resolve, forget, compact |
//! | `export`, `import`, `backup`, `migrate` | records and files that go elsewhere |
//! | `bench` | what a disk can do |
//! | `manual` | completions and manual pages |

mod arguments;
mod backup;
mod bench;
mod changing;
mod entry;
mod export;
mod failure;
mod import;
mod inspect;
mod looking;
mod manual;
#[cfg(feature = "postgres")]
mod migrate;
mod output;
mod owned;
mod verify;
mod view;
mod words;

use std::process::ExitCode;

use clap::Parser;

use arguments::{Arguments, Command};
use failure::{Failure, Status};
use output::Out;

/// The whole tool: reads the arguments of the process, does what they say, and gives the status to end with. 0 is fine;
/// 1 says that something was found (damage) or not found (a key); 2 that it was used wrongly or something cannot be
/// opened. Wrong use ends the process at once.
#[must_use = "it is the status that the process ends with"]
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = Out::to_stdout(arguments.json);
    match dispatch(arguments.command, &mut out).and_then(|status| out.flush().map(|()| status)) {
        Ok(status) => status.into(),
        Err(failure) => failure.tell(arguments.json),
    }
}

fn dispatch(command: Command, out: &mut Out) -> Result<Status, Failure> {
    match command {
        Command::Inspect(asked) => inspect::inspect(&asked, out),
        Command::Get(asked) => looking::get(&asked, out),
        Command::List(asked) => looking::list(&asked, out),
        Command::Resolve(asked) => changing::resolve(&asked, out),
        Command::Forget(asked) => changing::forget(&asked, out),
        Command::Verify(asked) => verify::verify(&asked, out),
        Command::Compact(asked) => changing::compact(&asked, out),
        Command::Export(asked) => export::export(&asked, out),
        Command::Import(asked) => import::import(&asked, out),
        Command::Backup(asked) => backup::backup(&asked, out),
        #[cfg(feature = "postgres")]
        Command::Migrate(asked) => migrate::migrate(&asked, out),
        Command::Bench(asked) => bench::bench(&asked, out),
        Command::Completions { shell } => manual::completions(shell, out),
        Command::Man { out: directory } => manual::man(directory.as_deref(), out),
    }
}
