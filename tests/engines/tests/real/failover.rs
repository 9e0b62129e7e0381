//! Goal: nothing that was acknowledged is lost when the primary dies under load, and work goes on (5.1); a primary that
//! only seemed dead does no harm.

use std::time::{Duration, Instant};

use oncekey_engines::engine::{Engine, Settings};
use oncekey_engines::fleet::Process;
use oncekey_engines::postgres::Cluster;
use oncekey_engines::process::until_true;
use oncekey_engines::worker::{Role, WITHOUT_END};

use crate::hammer::PROCESSES;
use crate::history::History;
use crate::support::{seconds, start};

/// Completions of each process between two troubles.
const STEADY: usize = 25;

/// A short lease: what a dead engine took with it is taken over. Every other process is told what nobody knows yet.
pub(crate) fn settings(process: u64) -> Settings {
    let patience =
        if process.is_multiple_of(2) { Duration::from_secs(30) } else { Duration::from_millis(200) };
    Settings::lease(2).patience(patience)
}

/// Processes under load without end.
pub(crate) fn load(engine: &Engine) -> Vec<Process> {
    let role = Role::Hammer { keys: WITHOUT_END, threads: 4 };
    (1..=PROCESSES).map(|process| start(process, engine, &settings(process), role.clone())).collect()
}

/// Waits until each process has completed some keys more.
pub(crate) fn goes_on(processes: &[Process]) {
    for process in processes {
        process.wait_for_more(&["kept"], STEADY);
    }
}

/// Waits until they have completed some more between them: where all is slow, one may run ahead of the others.
pub(crate) fn goes_on_somewhere(processes: &[Process]) {
    let kept = || processes.iter().map(|own| own.said(&["kept"])).sum::<usize>();
    let before = kept();
    until_true("some are completed", || kept() >= before + STEADY);
}

/// Waits until the engine is missed: those with little patience were told so.
pub(crate) fn is_missed(processes: &[Process]) {
    for impatient in processes.iter().step_by(2) {
        impatient.wait_for_more(&["unheard", "unknown"], 10);
    }
}

/// Lets them end, and holds what they said against the contract and the engine.
pub(crate) fn settle(processes: Vec<Process>, engine: &Engine) {
    let mut history = finish(processes);
    history.look(&engine.store(&settings(0)));
    if !engine.has_a_clock() {
        history.without_in_flight();
    }
    history.check(settings(0).lease);
}

fn finish(processes: Vec<Process>) -> History {
    History::of(&processes.into_iter().map(Process::finish).collect::<Vec<_>>())
}

#[test]
fn a_primary_that_is_killed_under_load_takes_nothing_acknowledged_with_it_5_1() {
    let mut cluster = Cluster::pair();
    let engine = Engine::postgres(cluster.url(), "failover");
    let processes = load(&engine);
    let began = Instant::now();
    loop {
        goes_on(&processes);
        cluster.kill_primary();
        is_missed(&processes);
        cluster.promote();
        goes_on(&processes);
        if began.elapsed() >= seconds(0) {
            break;
        }
        cluster.add_standby();
    }
    settle(processes, &engine);
}

#[test]
fn a_primary_that_is_killed_and_started_again_takes_nothing_acknowledged_with_it_5_1() {
    let mut cluster = Cluster::single();
    let engine = Engine::postgres(cluster.url(), "restart");
    let processes = load(&engine);
    let began = Instant::now();
    loop {
        goes_on(&processes);
        cluster.kill_primary();
        is_missed(&processes);
        cluster.restart_primary();
        goes_on(&processes);
        if began.elapsed() >= seconds(0) {
            break;
        }
    }
    settle(processes, &engine);
}

#[test]
fn a_primary_that_hangs_while_another_is_promoted_and_goes_on_later_does_no_harm_5_1() {
    let mut cluster = Cluster::pair();
    let engine = Engine::postgres(cluster.url(), "two");
    let processes = load(&engine);
    goes_on(&processes);
    cluster.pause_primary();
    is_missed(&processes);
    cluster.promote();
    // It has no standby any more, so that it can acknowledge nothing; but it takes connections until somebody ends it.
    cluster.resume();
    cluster.kill_old();
    goes_on(&processes);
    let mut history = finish(processes);
    history.look(&engine.store(&settings(0)));
    history.without_in_flight();
    history.check(settings(0).lease);
}
