//! Goal: whoever waits in another process is told of the end of a run, and of its release (3.7).

use oncekey::{Answer, Outcome};
use oncekey_engines::engine::{Engine, Settings};
use oncekey_engines::postgres::Cluster;
use oncekey_engines::process::PATIENCE;
use oncekey_engines::proxy::Mode;
use oncekey_engines::worker::key;

use crate::support::{begin, behind_proxy, fresh, replay, wait};

pub(crate) fn waiters_are_told(engine: &Engine) {
    let (holder, other) = (engine.store(&Settings::default()), engine.store(&Settings::default()));
    std::thread::scope(|scope| {
        let mut waiters = Vec::new();
        let mut held = Vec::new();
        for number in 0..20 {
            held.push((number, fresh(begin(&holder, &key(number)))));
            for store in [&holder, &other, &other] {
                let Ok(Answer::InFlight(own)) = begin(store, &key(number)) else { panic!("it runs") };
                waiters.push((number, scope.spawn(move || replay(own.wait(PATIENCE)))));
            }
        }
        for (number, reservation) in held {
            reservation.complete(Outcome::http(200, format!("body {number}"))).unwrap();
        }
        for (number, waiter) in waiters {
            assert_eq!(waiter.join().unwrap(), format!("body {number}"));
        }
    });
}

#[test]
fn waiters_in_all_processes_are_told_the_outcome_3_7() {
    waiters_are_told(&Engine::postgres(Cluster::shared().url(), "waiting"));
}

/// Of those who wait one runs on, and the rest are told what comes of it.
pub(crate) fn a_release_hands_on(engine: &Engine) {
    let (holder, other) = (engine.store(&Settings::default()), engine.store(&Settings::default()));
    let reservation = fresh(begin(&holder, &key(1)));
    let ran = std::thread::scope(|scope| {
        let ask = |store| {
            let Ok(Answer::InFlight(own)) = begin(store, &key(1)) else { panic!("it runs") };
            scope.spawn(move || match own.wait(PATIENCE).unwrap() {
                Answer::Fresh(own) => {
                    own.complete(Outcome::http(200, "next")).unwrap();
                    1
                }
                answer => {
                    assert_eq!(replay(Ok(answer)), "next");
                    0
                }
            })
        };
        let waiters = [&holder, &other, &other, &holder, &other].map(ask);
        reservation.release().unwrap();
        waiters.into_iter().map(|own| own.join().unwrap()).sum::<u32>()
    });
    assert_eq!(ran, 1);
}

#[test]
fn a_release_is_told_to_those_who_wait_and_one_of_them_runs_on_3_7() {
    a_release_hands_on(&Engine::postgres(Cluster::shared().url(), "handing_on"));
}

#[test]
fn waiters_whose_connections_are_cut_are_told_all_the_same_3_7() {
    let cluster = Cluster::shared();
    let (proxy, through, direct) = behind_proxy(&cluster, "cut_waiters");
    let (holder, other) = (direct.store(&Settings::default()), through.store(&Settings::default()));
    let reservation = fresh(begin(&holder, &key(1)));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| replay(wait(&other, &key(1))));
        // Perhaps before it has asked, perhaps while it listens.
        proxy.cut();
        proxy.set(Mode::Hang);
        reservation.complete(Outcome::http(200, "told")).unwrap();
        proxy.set(Mode::Pass);
        assert_eq!(waiter.join().unwrap(), "told");
    });
}
