//! What can be asked of the tool: commands, options, and what their help says.
//!
//! Law: secrets come out of files and never stand on the command line, where every process of the machine reads them.
//! What shows an outcome says so in its help, and waits to be asked (contract 10.2).

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};

const AFTER_HELP: &str = "\
Reading commands (inspect, get, list, verify, export, backup) change nothing on disk. They hold a closed store's lock, \
shared with other readers, so that a server that starts meanwhile is told that the store is locked. Where a server has \
the store open, they look at the sealed segments and say that the newest records are not in view. Changing commands \
(resolve, forget, compact, import) need the store for themselves.

Exit status: 0 fine, 1 something was found (damage) or not found (a key), 2 wrong use, or it cannot be opened.";

/// Looks after a store of oncekey: what it holds, whether it is sound, what was interrupted.
///
/// Scopes and tokens are shown, since an operator looks for them; outcomes, checkpoints and secrets only where an option
/// asks for them by name.
#[derive(Debug, Parser)]
#[command(name = "oncekey", version, after_help = AFTER_HELP, propagate_version = true)]
pub(super) struct Arguments {
    /// Says it in JSON: one document, or one line for each record where it says so. Times are in milliseconds since 1970
    /// (UTC), sizes in bytes
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Segments, records, sizes and ages, and when the records expire. Reads hints, not records
    Inspect(Inspect),
    /// What is kept of one key: its state and its digest; the outcome only with --show-outcome
    Get(Get),
    /// Keys, by state, scope and age: those that were interrupted, unless others are asked for
    ///
    /// An operation that was durably started and was running when its process ended is interrupted. Operations that
    /// were not started durably leave nothing on disk.
    List(List),
    /// Settles an interrupted key with what its operation is known to have returned, or lets a retry run it
    Resolve(Resolve),
    /// Removes the record of one key, or of all keys of a scope: a retry of it runs again
    Forget(Forget),
    /// Checks every record of every segment; ends with 1 where it finds damage
    Verify(Verify),
    /// Removes what has expired and packs what is sparse, as a running server does by itself
    Compact(Compact),
    /// Writes all records that have not expired as JSON lines, OUTCOMES INCLUDED, for `import` or another program
    ///
    /// The first line says what the records were made under: the check values of the secrets, and the sets of excluded
    /// names. To compare retries with imported records the store that imports needs the same secrets: it is this very
    /// store, or it is given them (--secret-file), or they are in the export (--with-secret).
    Export(Export),
    /// Writes records of an export into a store, which is made if there is none
    Import(Import),
    /// Copies a closed store, file by file, as it is; a running server does it by `Store::backup`
    ///
    /// The copy is a store. It is as large and as secret as the original.
    Backup(Backup),
    /// Moves a closed store to `PostgreSQL`, where many processes share it; servers can ask there meanwhile
    ///
    /// Servers connect with `Builder::connect_moving_from`, and carry over what they are asked for; this carries over all, and
    /// looks each key up at the end. The store is not changed. What was interrupted goes on where it was.
    #[cfg(feature = "postgres")]
    Migrate(Migrate),
    /// What this disk can do, and what oncekey does on it, in a few seconds
    ///
    /// In a new directory inside PATH, which is removed afterwards: how long a sync takes; how many records a second a
    /// plain file takes that appends and syncs for 1, 64 and 512 callers at once; how many oncekey completes for as many.
    Bench(Bench),
    /// Completions for a shell, to standard output
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The manual page, to standard output, or one for each command into a directory
    Man {
        /// The directory: `oncekey.1`, `oncekey-get.1` and so on are written there
        #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
        out: Option<PathBuf>,
    },
}

/// A store to look at.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// The store's directory
    #[arg(short, long, value_name = "DIR", env = "ONCEKEY_STORE", value_hint = ValueHint::DirPath)]
    pub(super) store: PathBuf,
    /// Looks at the sealed segments alone, without the store's lock, as beside a running server
    #[arg(long)]
    pub(super) sealed: bool,
    #[command(flatten)]
    pub(super) keys: Keys,
}

/// Keys of an encrypted store.
#[derive(Args, Clone, Debug)]
pub(super) struct Keys {
    /// A file with the key that the store is encrypted under: 32 bytes, or 64 hexadecimal digits. Again for each key from
    /// before a rotation
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) encryption_key_file: Vec<PathBuf>,
}

/// A store to change.
#[derive(Args, Debug)]
pub(super) struct Owned {
    /// The store's directory
    #[arg(short, long, value_name = "DIR", env = "ONCEKEY_STORE", value_hint = ValueHint::DirPath)]
    pub(super) store: PathBuf,
    #[command(flatten)]
    pub(super) keys: Keys,
    /// A file with the secret of the store's digests, where the server gives one: 32 bytes, or 64 hexadecimal digits.
    /// Again for each secret from before a rotation
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) secret_file: Vec<PathBuf>,
    /// Opens the store even where the clock went far ahead of the last time on disk
    #[arg(long)]
    pub(super) accept_clock_jump: bool,
}

/// What a record says, beside whether it has expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Wanted {
    /// Durably started, and never finished
    Interrupted,
    /// Finished, and replayed to every retry
    Finished,
    /// Durably started and released: a retry runs it, and knows of the attempts before
    Released,
    /// Expired, and not swept yet: as never seen
    Expired,
    /// All of these
    All,
}

#[derive(Args, Debug)]
pub(super) struct Inspect {
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Get {
    #[command(flatten)]
    pub(super) place: Place,
    /// Whose token it is
    pub(super) scope: OsString,
    /// What the client names the operation by
    pub(super) token: OsString,
    /// Shows the outcome, or the last checkpoint
    #[arg(long)]
    pub(super) show_outcome: bool,
}

#[derive(Args, Debug)]
pub(super) struct List {
    #[command(flatten)]
    pub(super) place: Place,
    /// Keys in this state; again for more than one
    #[arg(long, value_enum, default_value = "interrupted")]
    pub(super) state: Vec<Wanted>,
    /// Keys of this scope alone
    #[arg(long)]
    pub(super) scope: Option<OsString>,
    /// What was completed, or begun, at least so long ago: `90s`, `2h`, `3days`
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    pub(super) older_than: Option<Duration>,
    /// What was completed, or begun, less than so long ago
    #[arg(long, value_name = "AGE", value_parser = humantime::parse_duration)]
    pub(super) younger_than: Option<Duration>,
    /// At most so many
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
    /// Shows outcomes and checkpoints
    #[arg(long)]
    pub(super) show_outcome: bool,
}

#[derive(Args, Debug)]
pub(super) struct Resolve {
    #[command(flatten)]
    pub(super) owned: Owned,
    pub(super) scope: OsString,
    pub(super) token: OsString,
    /// A file with the bytes that the operation returned; `-` for standard input
    #[arg(long, value_name = "FILE", required_unless_present = "release", value_hint = ValueHint::FilePath)]
    pub(super) outcome_file: Option<PathBuf>,
    /// Its HTTP status, if it has one. A status that says nothing of the next try (5xx, 429) is refused: see --release
    #[arg(long, requires = "outcome_file")]
    pub(super) status: Option<u16>,
    /// A name and a value to be replayed beside it; again for more than one
    #[arg(long, value_name = "NAME=VALUE", requires = "outcome_file")]
    pub(super) metadata: Vec<String>,
    /// How long the outcome is kept: say what the server says
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    pub(super) retention: Duration,
    /// It returned nothing that is kept: a retry runs it, and knows of the attempts before
    #[arg(long, conflicts_with = "outcome_file")]
    pub(super) release: bool,
}

#[derive(Args, Debug)]
pub(super) struct Forget {
    #[command(flatten)]
    pub(super) owned: Owned,
    pub(super) scope: OsString,
    #[arg(required_unless_present = "all")]
    pub(super) token: Option<OsString>,
    /// All keys of the scope, one durable note for each
    #[arg(long, conflicts_with = "token")]
    pub(super) all: bool,
}

#[derive(Args, Debug)]
pub(super) struct Verify {
    #[command(flatten)]
    pub(super) place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Compact {
    #[command(flatten)]
    pub(super) owned: Owned,
}

#[derive(Args, Debug)]
pub(super) struct Export {
    #[command(flatten)]
    pub(super) place: Place,
    /// A new file, readable by its owner alone; by default standard output
    #[arg(short, long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) output: Option<PathBuf>,
    /// Keys of this scope alone
    #[arg(long)]
    pub(super) scope: Option<OsString>,
    /// Writes the secrets that the store made for itself: whoever has them can guess at parameters by their digests
    #[arg(long)]
    pub(super) with_secret: bool,
}

#[derive(Args, Debug)]
pub(super) struct Import {
    #[command(flatten)]
    pub(super) owned: Owned,
    /// The export; `-` for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub(super) input: PathBuf,
    /// Overwrites records of the same keys; by default they stay
    #[arg(long)]
    pub(super) replace: bool,
}

#[derive(Args, Debug)]
pub(super) struct Backup {
    /// The store's directory
    #[arg(short, long, value_name = "DIR", env = "ONCEKEY_STORE", value_hint = ValueHint::DirPath)]
    pub(super) store: PathBuf,
    /// A directory that is empty, or is made
    #[arg(value_hint = ValueHint::DirPath)]
    pub(super) target: PathBuf,
}

#[cfg(feature = "postgres")]
#[derive(Args, Debug)]
pub(super) struct Migrate {
    /// The store's directory
    #[arg(long, value_name = "DIR", env = "ONCEKEY_STORE", value_hint = ValueHint::DirPath)]
    pub(super) from: PathBuf,
    #[command(flatten)]
    pub(super) keys: Keys,
    /// Where `PostgreSQL` is: `postgres://user@host/database`, or `host=… user=… dbname=…`, without a password
    #[arg(long, value_name = "ADDRESS")]
    pub(super) to: String,
    /// A file with the password of that user
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) password_file: Option<PathBuf>,
    /// The schema there
    #[arg(long, default_value = "oncekey")]
    pub(super) schema: String,
    /// A file with the secret of the store's digests, where the server gives one: 32 bytes, or 64 hexadecimal digits.
    /// Again for each secret from before a rotation
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(super) secret_file: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(super) struct Bench {
    /// A directory on the disk in question
    #[arg(default_value = ".", value_hint = ValueHint::DirPath)]
    pub(super) path: PathBuf,
    /// How long it takes, about
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(super) seconds: u64,
}
