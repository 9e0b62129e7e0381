//! The scaling groups, on disk: this example's own data, in a file of its own.
//!
//! Law: a group stands in the file, synced, before anybody is told of it, and there is at most one for a token.
//!
//! - The file is a log: one group a line, as JSON, added at the end. Nothing is ever changed in place.
//! - A crash can cut off the last line only, since every line is synced before the next one is written. A last line
//!   that does not read was never answered, and is removed at opening. Any other is damage, and refuses to open.
//! - After a failed write nobody knows what the disk holds, so the log takes nothing more until it is opened again.
//!   A failed sync is never tried a second time.
//!
//! **Exactly once, without a shared transaction.** Two files cannot be synced in one step: the group is written
//! here first, then its answer in the store. The process may die in between. Its token then counts as never seen,
//! the client's retry is given a fresh reservation, and would make a second group. Therefore each line also says
//! for which token the group was made, and at what time of the store's clock the reservation was given; and
//! [`Groups::create`] looks for it before it makes a group:
//!
//! - *A group of this token, younger than the retention*: its answer was never recorded, or the store would have
//!   replayed it. So this is the same operation, interrupted, and the group that exists is its result.
//! - *A group of this token, as old as the retention or older*: the token has expired and counts as new, by the
//!   rule of its API. So this is another operation, and makes another group.
//!
//! Both times are the store's own, so that a wall clock that jumps does not come between them. The same look also
//! helps where a lease has lapsed and two runs overlap: the second one finds the first one's group.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use oncekey::{Timestamp, Token};
use serde::{Deserialize, Serialize};

/// What a caller asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wanted {
    pub(crate) name: Option<String>,
    pub(crate) min_size: u32,
    pub(crate) max_size: u32,
}

/// For which token a group is made, and when its reservation was given, by the store's clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) token: String,
    pub(crate) since_millis: u64,
}

/// A scaling group, as it stands in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    pub(crate) id: String,
    account: String,
    origin: Option<Origin>,
    #[serde(flatten)]
    wanted: Wanted,
}

impl Group {
    /// The name it was given, or else its id, as the vendor does it.
    pub(crate) fn name(&self) -> &str {
        self.wanted.name.as_deref().unwrap_or(&self.id)
    }

    /// Its least and its greatest number of instances.
    pub(crate) fn sizes(&self) -> (u32, u32) {
        (self.wanted.min_size, self.wanted.max_size)
    }
}

/// What [`Groups::create`] did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Created {
    /// The group exists, made now or by an earlier run that was interrupted; with its id.
    Group(String),
    /// An interrupted run of this token has made a group, but was asked for another one.
    Mismatch,
    /// Nothing, since nothing was wanted that can be made.
    Nothing,
}

/// All groups of all accounts.
pub(crate) struct Groups {
    retention: Duration,
    state: Mutex<State>,
}

/// What the lock guards. The log and the memory change together, the log first.
struct State {
    /// `None` after a failed write.
    log: Option<File>,
    by_account: HashMap<String, Vec<Group>>,
    /// Account and token to the place of the token's latest group in its account.
    by_token: HashMap<(String, String), usize>,
}

impl Groups {
    /// Opens the log at `path`, or makes it. `retention` is the store's, see the head of this file.
    pub(crate) fn open(path: &Path, retention: Duration) -> io::Result<Self> {
        let mut log = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
        log.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;

        let mut state = State { log: None, by_account: HashMap::new(), by_token: HashMap::new() };
        let whole = read_log(&bytes, |group| state.remember(group))?;
        log.set_len(whole as u64)?;
        log.sync_all()?;
        sync_directory_of(path)?;
        state.log = Some(log);
        Ok(Self { retention, state: Mutex::new(state) })
    }

    /// Makes the group that `account` wants, once for each `origin`. A group without origin is always a new one.
    /// `wanted` is `None` where the request asks for something impossible: then too it matters whether an
    /// interrupted run of the token has made a group.
    ///
    /// # Errors
    /// Where the log could not be written. Whether the group is in it shows when it is opened again.
    pub(crate) fn create(
        &self,
        account: &str,
        origin: Option<Origin>,
        wanted: Option<Wanted>,
    ) -> io::Result<Created> {
        let mut state = self.lock();
        if let Some(earlier) = origin.as_ref().and_then(|origin| self.interrupted(&state, account, origin)) {
            let same = wanted.as_ref() == Some(&earlier.wanted);
            return Ok(if same { Created::Group(earlier.id.clone()) } else { Created::Mismatch });
        }
        let Some(wanted) = wanted else { return Ok(Created::Nothing) };
        let group = Group { id: random_id(), account: account.to_owned(), origin, wanted };
        state.append(&group)?;
        let id = group.id.clone();
        state.remember(group);
        Ok(Created::Group(id))
    }

    /// How many groups `account` has, and those of one page of `page_size`, counted from 1, in order of creation.
    pub(crate) fn page(&self, account: &str, page_number: usize, page_size: usize) -> (usize, Vec<Group>) {
        let state = self.lock();
        let all = state.by_account.get(account).map_or(&[][..], Vec::as_slice);
        let skipped = page_number.saturating_sub(1).saturating_mul(page_size);
        (all.len(), all.iter().skip(skipped).take(page_size).cloned().collect())
    }

    /// The group that an earlier run of the same operation left behind; see the head of this file.
    fn interrupted<'s>(&self, state: &'s State, account: &str, origin: &Origin) -> Option<&'s Group> {
        let place = *state.by_token.get(&(account.to_owned(), origin.token.clone()))?;
        let earlier = state.by_account.get(account)?.get(place)?;
        let since = Timestamp::from_millis(earlier.origin.as_ref()?.since_millis);
        let age = Timestamp::from_millis(origin.since_millis).since(since);
        (age < self.retention).then_some(earlier)
    }

    /// The state, also after a thread has panicked with it: the log is appended to before the memory changes, so
    /// that there is no half of a change.
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// Writes one line and syncs it. The log is taken out meanwhile and put back only if all went well.
    fn append(&mut self, group: &Group) -> io::Result<()> {
        let mut line = serde_json::to_vec(group)?;
        line.push(b'\n');
        let mut log = self.log.take().ok_or_else(|| io::Error::other("the log failed before"))?;
        log.write_all(&line)?;
        log.sync_data()?;
        self.log = Some(log);
        Ok(())
    }

    fn remember(&mut self, group: Group) {
        let groups = self.by_account.entry(group.account.clone()).or_default();
        if let Some(origin) = &group.origin {
            self.by_token.insert((group.account.clone(), origin.token.clone()), groups.len());
        }
        groups.push(group);
    }
}

/// Hands each group of the log to `found`, and answers how many bytes of it are whole lines.
fn read_log(bytes: &[u8], mut found: impl FnMut(Group)) -> io::Result<usize> {
    let mut whole = 0;
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match serde_json::from_slice(line) {
            Ok(group) if line.ends_with(b"\n") => found(group),
            _ if whole + line.len() == bytes.len() => break,
            _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "the log of groups is damaged")),
        }
        whole += line.len();
    }
    Ok(whole)
}

/// Makes a new file's name durable.
fn sync_directory_of(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}

/// `asg-` and 20 characters, like the vendor's.
fn random_id() -> String {
    format!("asg-{}", &Token::random().as_str()[..20])
}

#[cfg(test)]
mod tests {
    use super::*;

    const RETENTION: Duration = Duration::from_secs(100);

    fn wanted(max_size: u32) -> Wanted {
        Wanted { name: Some("web".into()), min_size: 1, max_size }
    }

    fn origin(token: &str, since_secs: u64) -> Origin {
        Origin { token: token.into(), since_millis: since_secs * 1000 }
    }

    fn create(groups: &Groups, account: &str, origin: impl Into<Option<Origin>>) -> Created {
        groups.create(account, origin.into(), Some(wanted(2))).unwrap()
    }

    fn total(groups: &Groups, account: &str) -> usize {
        groups.page(account, 1, 10).0
    }

    #[test]
    fn an_interrupted_run_finds_its_own_group_also_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groups.log");
        let groups = Groups::open(&path, RETENTION).unwrap();
        let first = create(&groups, "a", origin("t", 1));
        drop(groups);

        let groups = Groups::open(&path, RETENTION).unwrap();
        assert_eq!(create(&groups, "a", origin("t", 50)), first);
        let asked = |token, wanted| groups.create("a", Some(origin(token, 50)), wanted).unwrap();
        assert_eq!(asked("t", Some(wanted(3))), Created::Mismatch);
        assert_eq!(asked("t", None), Created::Mismatch);
        assert_eq!(asked("u", None), Created::Nothing);
        assert_eq!(total(&groups, "a"), 1);
    }

    #[test]
    fn a_token_that_has_expired_makes_another_group_and_so_does_another_account_and_no_token() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups::open(&dir.path().join("groups.log"), RETENTION).unwrap();
        let first = create(&groups, "a", origin("t", 1));
        assert_eq!(create(&groups, "a", origin("t", 100)), first);
        assert_ne!(create(&groups, "a", origin("t", 101)), first);
        assert_ne!(create(&groups, "b", origin("t", 1)), first);
        create(&groups, "b", None);
        create(&groups, "b", None);
        assert_eq!((total(&groups, "a"), total(&groups, "b")), (2, 3));
    }

    #[test]
    fn a_log_cut_off_anywhere_opens_with_the_whole_lines_before_the_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groups.log");
        let groups = Groups::open(&path, RETENTION).unwrap();
        create(&groups, "a", origin("t", 1));
        let one = std::fs::metadata(&path).unwrap().len();
        create(&groups, "a", origin("u", 1));
        drop(groups);
        let bytes = std::fs::read(&path).unwrap();

        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let groups = Groups::open(&path, RETENTION).unwrap();
            let expected = usize::from(cut as u64 >= one) + usize::from(cut == bytes.len());
            assert_eq!(total(&groups, "a"), expected, "cut at {cut}");
            create(&groups, "a", None);
            drop(groups);
            assert_eq!(total(&Groups::open(&path, RETENTION).unwrap(), "a"), expected + 1, "cut at {cut}");
        }
    }

    #[test]
    fn a_log_damaged_before_its_last_line_is_refused_and_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("groups.log");
        let groups = Groups::open(&path, RETENTION).unwrap();
        for _ in 0..2 {
            create(&groups, "a", None);
        }
        drop(groups);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[0] = 0;
        std::fs::write(&path, &bytes).unwrap();
        assert!(Groups::open(&path, RETENTION).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }

    #[test]
    fn pages_count_from_one_and_end() {
        let dir = tempfile::tempdir().unwrap();
        let groups = Groups::open(&dir.path().join("groups.log"), RETENTION).unwrap();
        for _ in 0..5 {
            create(&groups, "a", None);
        }
        let lengths = [(1, 2), (2, 2), (3, 1), (4, 0), (usize::MAX, 0)];
        for (page, length) in lengths {
            assert_eq!(groups.page("a", page, 2).1.len(), length, "page {page}");
        }
        assert_eq!(groups.page("nobody", 1, 2), (0, Vec::new()));
    }
}
