//! `backup`: a closed store, copied file by file.

use serde_json::json;

use super::arguments::Backup;
use super::failure::{Failure, Status};
use super::output::Out;
use super::view::directory;
use super::words;
use crate::ledger::copy_closed;

pub(super) fn backup(asked: &Backup, out: &mut Out) -> Result<Status, Failure> {
    let bytes = copy_closed(&directory(&asked.store)?, &asked.target)?;
    if out.is_json() {
        out.value(&json!({ "copied_bytes": bytes }))?;
    } else {
        out.line(&format!("copied {}; `oncekey verify` checks it", words::size(bytes)))?;
    }
    Ok(Status::Fine)
}
