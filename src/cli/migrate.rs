//! `migrate`: from a closed store to an engine that many processes share (features `cli` and `postgres`).
//!
//! Law: the store is read and not changed. What was carried over before stays, so that a move which was interrupted goes on
//! where it was by being asked for again; what servers have completed or carried over meanwhile stays too. At the end each
//! key is looked up.

use std::fs;

use serde_json::json;

use super::arguments::{Migrate, Place};
use super::failure::{Failure, Status};
use super::output::Out;
use super::view::{View, keyring, secret_bytes};
use super::words;
use crate::digest::Secret;
use crate::distributed::{Carried, Postgres, Store};
use crate::ledger::{Identity, Known};
use crate::options::Builder;
use crate::sync::block_on;
use crate::token::Key;

/// Records of one step.
const GROUP: usize = 1024;

pub(super) fn migrate(asked: &Migrate, out: &mut Out) -> Result<Status, Failure> {
    let place = Place { store: asked.from.clone(), sealed: false, keys: asked.keys.clone() };
    let view = View::open(&place, out)?;
    if !view.survey.is_whole {
        return Err(Failure::Use("--from: another process has the store open; stop it first".to_owned()));
    }
    let store = connect(asked, &view.survey.identity)?;
    let known: Vec<Known> = view.known()?.into_iter().filter(|own| !view.is_expired(own)).collect();
    let (mut moved, mut damaged) = (0, 0_u64);
    let bar = out.progress(known.len() as u64, "moving");
    let mut read = 0;
    each_group(&view, &known, &store, &mut damaged, |group| {
        read += group.len() as u64;
        moved += store.move_in(group)?;
        bar.set_position(read);
        Ok(())
    })?;
    bar.finish_and_clear();
    let bar = out.progress(read, "looking up");
    let mut seen = 0;
    let mut whole = true;
    each_group(&view, &known, &store, &mut 0, |group| {
        let keys: Vec<Key> = group.into_iter().map(|(key, _)| key).collect();
        seen += keys.len() as u64;
        whole &= store.has_all(keys)?;
        bar.set_position(seen);
        Ok(())
    })?;
    bar.finish_and_clear();
    store.close(std::time::Duration::ZERO)?;
    if out.is_json() {
        out.value(&json!({
            "moved": moved, "there_already": read - moved, "damaged": damaged, "all_found": whole,
        }))?;
    } else {
        let there = words::counted(read - moved, "record");
        out.line(&format!("moved: {}; there already: {there}", words::counted(moved, "record")))?;
        out.line(if whole { "looked up: each key is there" } else { "looked up: NOT every key is there" })?;
    }
    Ok(if whole && damaged == 0 { view.status() } else { Status::Found })
}

/// What counts of the store, some at a time.
fn each_group(
    view: &View,
    known: &[Known],
    store: &Store,
    damaged: &mut u64,
    mut with: impl FnMut(Vec<(Key, Carried)>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut group = Vec::with_capacity(GROUP);
    let mut failed = Ok(());
    view.survey.each(known, |_, record| {
        match record {
            Ok(record) => {
                let carried = store.carried(&record, view.now);
                group.extend(Key::from_framed(record.key()).zip(carried));
            }
            Err(_) => *damaged += 1,
        }
        if group.len() == GROUP {
            failed = with(std::mem::take(&mut group));
        }
        failed.is_ok()
    });
    failed?;
    if group.is_empty() { Ok(()) } else { with(group) }
}

fn connect(asked: &Migrate, origin: &Identity) -> Result<Store, Failure> {
    let mut engine = Postgres::at(&asked.to)?.schema(&asked.schema);
    if let Some(path) = &asked.password_file {
        let password = fs::read_to_string(path).map_err(Failure::at(path))?;
        engine = engine.password(password.trim_end_matches('\n'));
    }
    let mut builder = Builder { keyring: keyring(&asked.keys)?, ..Builder::default() };
    let mut secrets = asked.secret_file.iter().map(|path| secret_bytes(path).map(Secret::new));
    builder.secret = secrets.next().transpose()?;
    builder.old_secrets = secrets.collect::<Result<_, _>>()?;
    // The digests' settings are the store's own: those of servers come with the servers.
    if let Some(rules) = origin.all_rules().pop() {
        builder.rules = rules;
    }
    Ok(block_on(builder.background_sweep(false).connect_after(engine.into(), Some(origin.clone()), None))?)
}
