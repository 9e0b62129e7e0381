//! Goal: of all processes one runs each key, and every other is told its answer, byte for byte (3.3, 3.6, 3.7).

use std::time::{Duration, Instant};

use oncekey_engines::engine::{Engine, Settings};
use oncekey_engines::fleet::Process;
use oncekey_engines::postgres::Cluster;
use oncekey_engines::proxy::Mode;
use oncekey_engines::worker::{Role, WITHOUT_END};

use crate::history::History;
use crate::support::{behind_proxy, seconds, start};

pub(crate) const PROCESSES: u64 = 4;

/// Four processes and the same keys.
pub(crate) fn one_winner_each(engines: &[Engine; 4], direct: &Engine, keys: u64) {
    let settings = Settings::default();
    let role = Role::Hammer { keys, threads: 8 };
    let processes: Vec<_> = (1..=PROCESSES)
        .zip(engines)
        .map(|(process, engine)| start(process, engine, &settings, role.clone()))
        .collect();
    let said: Vec<_> = processes
        .into_iter()
        .map(|own| {
            own.wait_for(&["done"], 1);
            own.finish()
        })
        .collect();
    let mut history = History::of(&said);
    assert_eq!(history.keys() as u64, keys);
    assert_eq!((history.fresh, history.kept, history.replays), (keys, keys, (PROCESSES - 1) * keys));
    history.check_one_winner_each();
    history.look(&direct.store(&settings));
    history.check(settings.lease);
}

fn keys(short: u64) -> u64 {
    // In the long form as many as a few hundred each second.
    short.max(seconds(0).as_secs() * 200)
}

#[test]
fn of_four_processes_one_runs_each_key_and_all_others_replay_it_3_6_3_7() {
    let cluster = Cluster::shared();
    let engine = Engine::postgres(cluster.url(), "hammer");
    one_winner_each(&[(); 4].map(|()| engine.clone()), &engine, keys(1000));
}

#[test]
fn an_engine_that_is_late_is_asked_for_more_at_once_and_nothing_else_changes_3_6() {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, "late");
    proxy.set(Mode::Late(Duration::from_millis(15)));
    let engines = [through.clone(), through.clone(), through, direct.clone()];
    one_winner_each(&engines, &direct, keys(200));
}

#[test]
fn connections_that_are_cut_again_and_again_cost_no_key_its_one_winner_3_6_4_1() {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, "cut");
    let role = Role::Hammer { keys: WITHOUT_END, threads: 8 };
    let settings = Settings::default();
    let processes: Vec<_> =
        (1..=2).map(|process| start(process, &through, &settings, role.clone())).collect();
    let began = Instant::now();
    let mut rounds = 0;
    while rounds < 5 || began.elapsed() < seconds(0) {
        processes[0].wait_for_more(&["kept"], 20);
        proxy.cut();
        rounds += 1;
    }
    let mut history = History::of(&processes.into_iter().map(Process::finish).collect::<Vec<_>>());
    history.look(&direct.store(&settings));
    history.check(settings.lease);
    assert_eq!((history.lost, history.unheard, history.unknown), (0, 0, 0), "all was found out in time");
}
