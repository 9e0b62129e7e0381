//! Goal: the same over etcd, whose leader is killed and whose members are cut off (feature `etcd`).

use std::time::Duration;

use oncekey_engines::engine::Engine;
use oncekey_engines::etcd::{Cluster, MEMBERS};
use oncekey_engines::process::until;

use crate::failover::{goes_on, goes_on_somewhere, is_missed, load, settle};
use crate::{hammer, leases, waiting};

fn engine(cluster: &Cluster, prefix: &str) -> Engine {
    Engine::etcd(cluster.endpoints(), prefix)
}

#[test]
fn of_four_processes_over_etcd_one_runs_each_key_and_all_others_replay_it_3_6_3_7() {
    let cluster = Cluster::start();
    let engine = engine(&cluster, "hammer");
    hammer::one_winner_each(&[(); 4].map(|()| engine.clone()), &engine, 1000);
}

#[test]
fn leases_nodes_and_waiters_over_etcd_are_as_over_any_engine_3_7_4_4_5_3_5_4() {
    let cluster = Cluster::start();
    leases::taken_over_after_its_lease(&engine(&cluster, "killed"));
    leases::known_at_once_by_its_node(&engine(&cluster, "node"));
    leases::late_holder_is_refused(&engine(&cluster, "slow"));
    leases::interrupted_by_its_lease(&engine(&cluster, "interrupted"));
    leases::closed_at_once(&engine(&cluster, "closed"));
    waiting::waiters_are_told(&engine(&cluster, "waiting"));
    waiting::a_release_hands_on(&engine(&cluster, "handing_on"));
}

#[test]
fn a_leader_that_is_killed_under_load_takes_nothing_acknowledged_with_it_5_1() {
    let mut cluster = Cluster::start();
    let engine = engine(&cluster, "leader");
    let processes = load(&engine);
    goes_on(&processes);
    let leader = cluster.leader();
    cluster.kill(leader);
    goes_on(&processes);
    cluster.restart(leader);
    goes_on(&processes);
    settle(processes, &engine);
}

/// Its clients go on asking it: it takes what they ask, and can't have it.
#[test]
fn a_leader_that_is_cut_off_from_the_others_and_one_who_hears_late_lose_and_double_nothing_5_1() {
    let cluster = Cluster::start();
    let engine = engine(&cluster, "cut_off");
    let processes = load(&engine);
    goes_on(&processes);
    let first = cluster.leader();
    cluster.cut_off(first);
    let second = until("another leads", || Some(cluster.leader()).filter(|own| *own != first).ok_or("it"));
    goes_on(&processes);
    assert!(!cluster.answers(first), "it is still cut off");
    cluster.heal();
    goes_on(&processes);
    // Commits wait for the one who is late where the other is cut off.
    let [late, gone] = [first, 3 - first - second];
    cluster.delay(late, Duration::from_millis(50));
    cluster.cut_off(gone);
    goes_on_somewhere(&processes);
    cluster.heal();
    // Those with little patience would not close a store over an engine that is still finding itself.
    goes_on(&processes);
    settle(processes, &engine);
}

#[test]
fn a_member_that_hangs_and_a_minority_are_asked_in_vain_and_do_no_harm_5_1() {
    let cluster = Cluster::start();
    let engine = engine(&cluster, "partition");
    let processes = load(&engine);
    goes_on(&processes);
    let leader = cluster.leader();
    cluster.pause(leader);
    goes_on(&processes);
    cluster.resume(leader);
    goes_on(&processes);
    // Now nobody has a majority for a while.
    let others = [(leader + 1) % MEMBERS, (leader + 2) % MEMBERS];
    for other in others {
        cluster.pause(other);
    }
    is_missed(&processes);
    for other in others {
        cluster.resume(other);
    }
    goes_on(&processes);
    settle(processes, &engine);
}
