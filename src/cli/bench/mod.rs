//! `bench`: what a disk can do, and what oncekey does on it.
//!
//! Law: everything stands in a directory of its own, which goes when this ends: also when it is told to end, since the
//! signal is only taken note of, and looked for between two steps. A rate is of callers that wait for the disk, each on a
//! thread of its own, the same for both sides.

mod callers;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;

use super::arguments;
use super::failure::{Failure, Status};
use super::output::Out;
use super::words;
use crate::time::{Clock, SystemClock};
use callers::{Plain, rate};

/// Callers at once.
const CALLERS: [u64; 3] = [1, 64, 512];
/// The time is divided: one share for the syncs, two for each number of callers.
const SHARES: u32 = 1 + 2 * 3;
/// What is overwritten and synced.
const PAGE_BYTES: usize = 4096;
const PAGES: u64 = 256;
/// Bytes of an outcome, and of what a plain file takes for it: with its key and all that a record says.
const OUTCOME_BYTES: usize = 200;
const RECORD_BYTES: usize = 350;

/// Somebody told this process to end.
static TOLD_TO_END: AtomicBool = AtomicBool::new(false);

/// What was measured at so many callers: records a second.
struct Row {
    callers: u64,
    plain: f64,
    oncekey: f64,
}

pub(super) fn bench(asked: &arguments::Bench, out: &mut Out) -> Result<Status, Failure> {
    // Where there is a handler already, the directory goes as it goes.
    let _ = ctrlc::set_handler(|| TOLD_TO_END.store(true, Ordering::Release));
    let home = tempfile::Builder::new().prefix(".oncekey-bench-").tempdir_in(&asked.path);
    let home = home.map_err(Failure::at(&asked.path))?;
    let share = Duration::from_secs(asked.seconds) / SHARES;
    let bar = out.progress(u64::from(SHARES), "measuring");
    let measured = measure(&home, share, &|| bar.inc(1));
    bar.finish_and_clear();
    home.close().map_err(Failure::at(&asked.path))?;
    let (syncs, rows) = measured?;
    if is_told_to_end() {
        return Err(Failure::Use("told to end; what it had made is removed".to_owned()));
    }
    tell(&syncs, &rows, out).map(|()| Status::Fine)
}

fn is_told_to_end() -> bool {
    TOLD_TO_END.load(Ordering::Acquire)
}

fn measure(home: &TempDir, share: Duration, step: &dyn Fn()) -> Result<(Vec<Duration>, Vec<Row>), Failure> {
    let syncs = syncs(&home.path().join("syncs"), share)?;
    step();
    let mut rows = Vec::new();
    for callers in CALLERS {
        let plain = Plain::create(&home.path().join(format!("plain-{callers}")))?;
        let plain = rate(callers, share, plain)?;
        step();
        let store = crate::store::Store::open(home.path().join(format!("store-{callers}")))?;
        let oncekey = rate(callers, share, store)?;
        step();
        rows.push(Row { callers, plain, oncekey });
    }
    Ok((syncs, rows))
}

/// How long it takes each time to overwrite and sync a page, shortest first.
fn syncs(path: &Path, share: Duration) -> Result<Vec<Duration>, Failure> {
    let file = file(path)?;
    let failed = || Failure::at(path);
    file.write_all_at(&vec![0; PAGE_BYTES * 256], 0).map_err(failed())?;
    file.sync_all().map_err(failed())?;
    let (clock, mut times) = (SystemClock::new(), Vec::new());
    while (clock.monotonic() < share || times.is_empty()) && !is_told_to_end() {
        let began = clock.monotonic();
        let page = times.len() as u64 % PAGES * PAGE_BYTES as u64;
        file.write_all_at(&[7; PAGE_BYTES], page).map_err(failed())?;
        file.sync_data().map_err(failed())?;
        times.push(clock.monotonic().saturating_sub(began));
    }
    times.sort_unstable();
    Ok(times)
}

fn file(path: &Path) -> Result<File, Failure> {
    OpenOptions::new().read(true).write(true).create_new(true).open(path).map_err(Failure::at(path))
}

fn tell(syncs: &[Duration], rows: &[Row], out: &mut Out) -> Result<(), Failure> {
    let at = |percent: usize| syncs.get(syncs.len() * percent / 100).copied().unwrap_or_default();
    let (median, slow) = (at(50), at(99));
    if out.is_json() {
        let rows = rows.iter().map(|own| {
            json!({
                "callers": own.callers,
                "plain_file_records_per_second": whole(own.plain),
                "oncekey_records_per_second": whole(own.oncekey),
                "ratio": (own.oncekey / own.plain * 1000.0).round() / 1000.0,
            })
        });
        return out.value(&json!({
            "sync_median_us": micros(median),
            "sync_p99_us": micros(slow),
            "syncs": syncs.len(),
            "rates": rows.collect::<Vec<_>>(),
        }));
    }
    out.line(&format!(
        "a sync of 4 KiB takes {median:.1?}, one in a hundred {slow:.1?} or more ({} syncs)",
        syncs.len()
    ))?;
    out.line("")?;
    out.line(&format!("{:>8}  {:>16}  {:>16}  {:>7}", "callers", "plain file /s", "oncekey /s", "ratio"))?;
    for own in rows {
        let ratio = own.oncekey / own.plain;
        let [plain, oncekey] = [own.plain, own.oncekey].map(|rate| words::count(whole(rate)));
        out.line(&format!("{:>8}  {plain:>16}  {oncekey:>16}  {ratio:>7.2}", own.callers))?;
    }
    out.line("")?;
    out.line(&format!(
        "plain file: {RECORD_BYTES} bytes appended for each caller, one sync for all that wait; oncekey: begin and\n\
         complete with {OUTCOME_BYTES} bytes, durable, in a store that is new and still grows"
    ))
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate, to be printed")]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}
