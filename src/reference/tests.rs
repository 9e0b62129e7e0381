//! Goal: the model says what the contract says, also where nobody looks. Method: each rule once by hand, and
//! then long random walks that end every step in `validate()`. The walks and the vectors in
//! `tests/conformance` overlap on purpose: here stand the steps that no vector can write.

use super::*;
use crate::outcome::Outcome;

const SECOND: Duration = Duration::from_secs(1);

fn ask(name: &str) -> Fingerprint {
    Fingerprint::of(name)
}

fn fresh(answer: Result<Answer, Refusal>) -> Reservation {
    match answer {
        Ok(Answer::Fresh(reservation)) => reservation,
        other => panic!("not a reservation: {other:?}"),
    }
}

/// A request for a durable reservation.
fn durably(name: &str) -> Asking {
    Asking { start_durably: Some(true), ..ask(name).into() }
}

fn waiting(answer: Result<Waited, Refusal>) -> WaiterId {
    match answer {
        Ok(Waited::Waiting(waiter)) => waiter,
        other => panic!("does not wait: {other:?}"),
    }
}

/// A model, a key in it, and a reservation of that key for the parameters `a`.
fn running(settings: Settings) -> (Model, Key, Reservation) {
    let mut model = Model::new(settings);
    let key = model.key("scope", "token").unwrap();
    let reservation = fresh(model.begin(&key, ask("a")));
    (model, key, reservation)
}

#[test]
fn a_mismatch_comes_before_everything_that_equal_parameters_would_get_3() {
    let (mut model, key, reservation) = running(Settings::default());
    assert_eq!(model.begin(&key, ask("b")), Err(Refusal::Mismatch), "running");
    model.advance(60 * SECOND);
    assert_eq!(model.begin(&key, ask("b")), Err(Refusal::Mismatch), "lapsed");
    let mut doubtful = model.clone();
    model.complete(&reservation, Outcome::new("x")).unwrap();
    assert_eq!(model.begin(&key, ask("b")), Err(Refusal::Mismatch), "finished");
    doubtful.complete_failing(&reservation, Outcome::new("x"), OnDisk::Lost).unwrap_err();
    assert_eq!(doubtful.begin(&key, ask("b")), Err(Refusal::Mismatch), "in doubt");
    assert_eq!(doubtful.begin(&key, ask("a")), Err(Refusal::UnknownOutcome));
}

#[test]
fn a_failed_commit_is_found_or_not_found_at_reopening_and_nobody_runs_meanwhile_5_1() {
    for (on_disk, expected) in [(OnDisk::Kept, true), (OnDisk::Lost, false)] {
        let (mut model, key, reservation) = running(Settings::default());
        let other = model.key("scope", "other").unwrap();
        let held = fresh(model.begin(&other, ask("a")));
        let waiter = waiting(model.wait(&key, ask("a"), SECOND));
        let answer = model.complete_failing(&reservation, Outcome::new("x"), on_disk);
        assert_eq!(answer, Err(Refusal::UnknownOutcome));
        let woken =
            Woken { waiter, answer: Err(Refusal::UnknownOutcome), difference: None, instead_of: vec![] };
        assert_eq!(model.woken(), [woken]);
        assert_eq!(model.get(&key), Ok(Known::Unknown));
        assert_eq!(model.forget(&key), Err(Refusal::UnknownOutcome));
        assert_eq!(model.complete(&held, Outcome::new("y")), Err(Refusal::Stopped));
        model.validate();
        model.reopen().unwrap();
        assert_eq!(matches!(model.begin(&key, ask("a")), Ok(Answer::Replay(_))), expected);
        model.complete(&held, Outcome::new("y")).unwrap();
        model.validate();
    }
}

#[test]
fn a_crash_leaves_a_prefix_of_what_was_relaxed_and_all_that_was_durable_5_2() {
    for survivors in 0..=3 {
        let mut model = Model::new(Settings { relaxed: true, ..Settings::default() });
        let keys: Vec<Key> = (0..4).map(|n| model.key("scope", format!("t{n}")).unwrap()).collect();
        for (n, key) in keys.iter().enumerate() {
            let relaxed = Some(n != 0);
            let reservation = fresh(model.begin(key, Asking { relaxed, ..ask("a").into() }));
            model.complete(&reservation, Outcome::new("x")).unwrap();
            model.validate();
        }
        model.crash(survivors);
        assert_eq!(model.get(&keys[0]), Err(Refusal::Closed));
        model.reopen().unwrap();
        model.validate();
        let kept = keys.iter().filter(|key| matches!(model.get(key), Ok(Known::Finished(_)))).count();
        assert_eq!(kept, 1 + survivors);
    }
}

#[test]
fn fences_only_grow_over_crashes_too_4_4() {
    let (mut model, key, first) = running(Settings::default());
    model.crash(0);
    model.reopen().unwrap();
    let second = fresh(model.begin(&key, ask("a")));
    assert_eq!(second.attempt, 1, "as one never seen");
    assert!(second.fence > first.fence);
    assert_eq!(model.release(&first), Err(Refusal::ReservationLost { attempt: 1 }));
    assert!(model.complete(&second, Outcome::new("x")).is_ok());
}

#[test]
fn a_crash_interrupts_what_was_durably_started_and_the_policy_decides_3_4_5_4() {
    let mut model = Model::new(Settings::default());
    let key = model.key("scope", "token").unwrap();
    let first = fresh(model.begin(&key, durably("a")));
    model.checkpoint(&first, b"half").unwrap();
    model.crash(0);
    model.reopen().unwrap();
    model.validate();
    let noted = Checkpoint { attempt: 1, bytes: b"half"[..].into() };
    let interrupted = Attempt { attempt: 1, since: first.since, checkpoint: Some(noted.clone()) };
    assert_eq!(model.get(&key), Ok(Known::Interrupted(interrupted)));
    let refusing = |name| Asking { on_interrupted: Some(OnInterrupted::Refuse), ..ask(name).into() };
    assert_eq!(model.begin(&key, refusing("a")), Err(Refusal::Interrupted { attempt: 1 }));
    assert_eq!(model.begin(&key, refusing("b")), Err(Refusal::Mismatch));
    assert_eq!(model.begin(&key, ask("b")), Err(Refusal::Mismatch));
    let mut resolved = model.clone();
    let second = fresh(model.begin(&key, ask("a")));
    assert_eq!((second.attempt, second.durable, second.resumed), (2, true, true));
    assert_eq!(second.last_checkpoint, Some(noted));
    assert_eq!(
        model.resolve(&key, Outcome::new("x")).map(drop),
        model.forget(&key).map(drop),
        "in flight (4.6)"
    );
    model.complete(&second, Outcome::new("x")).unwrap();
    model.validate();

    assert!(matches!(resolved.resolve(&key, Outcome::new("found")), Ok(Completed::Kept { .. })));
    assert!(matches!(resolved.begin(&key, ask("a")), Ok(Answer::Replay(_))));
    assert_eq!(resolved.resolve(&key, Outcome::new("again")), Err(Refusal::NotInterrupted));
    resolved.validate();
}

#[test]
fn a_released_start_is_remembered_and_a_panic_leaves_it_interrupted_4_3() {
    let mut model = Model::new(Settings::default());
    let key = model.key("scope", "token").unwrap();
    let first = fresh(model.begin(&key, durably("a")));
    model.checkpoint(&first, b"half").unwrap();
    model.release(&first).unwrap();
    model.crash(0);
    model.reopen().unwrap();
    assert_eq!(model.get(&key), Ok(Known::Absent));
    let mut other = model.clone();
    let second = fresh(other.begin(&key, ask("b")));
    assert_eq!((second.attempt, second.last_checkpoint), (2, None), "of other parameters");
    let second = fresh(model.begin(&key, durably("a")));
    assert_eq!((second.attempt, second.resumed), (2, false));
    assert_eq!(second.last_checkpoint.as_ref().unwrap().bytes(), b"half");
    model.panic(&second).unwrap();
    assert!(matches!(model.get(&key), Ok(Known::Interrupted(Attempt { attempt: 2, .. }))));
    model.validate();
}

#[test]
fn any_waiter_may_become_the_holder_and_the_model_says_who_else_3_7() {
    let (mut model, key, reservation) = running(Settings::default());
    let waiters: Vec<WaiterId> = (0..3).map(|_| waiting(model.wait(&key, ask("a"), 9 * SECOND))).collect();
    let mut store_chose_the_last = model.clone();
    store_chose_the_last.prefer(waiters[2]);
    for (mut model, chosen, others) in [
        (model, waiters[0], [waiters[1], waiters[2]]),
        (store_chose_the_last, waiters[2], [waiters[0], waiters[1]]),
    ] {
        model.release(&reservation).unwrap();
        let woken = model.woken();
        assert_eq!((woken.len(), woken[0].waiter, &woken[0].instead_of[..]), (1, chosen, &others[..]));
        assert_eq!(fresh(woken[0].answer.clone()).attempt, 1);
        model.validate();
    }
}

#[test]
fn time_answers_waiters_one_moment_after_the_other_3_7_4_4() {
    let (mut model, key, _) = running(Settings { lease: 10 * SECOND, ..Settings::default() });
    let impatient = waiting(model.wait(&key, ask("a"), SECOND / 1000 * 9_999));
    let second = waiting(model.wait(&key, ask("a"), 15 * SECOND));
    let third = waiting(model.wait(&key, ask("a"), 15 * SECOND));
    model.advance(100 * SECOND);
    let woken = model.woken();
    let who: Vec<WaiterId> = woken.iter().map(|woken| woken.waiter).collect();
    assert_eq!(who, [impatient, second, third]);
    let left = SECOND / 1000;
    assert!(matches!(&woken[0].answer, Ok(Answer::InFlight(running)) if running.lease_left == left));
    assert_eq!(fresh(woken[1].answer.clone()).attempt, 2);
    assert!(matches!(&woken[2].answer, Ok(Answer::InFlight(running)) if running.attempt == 2));
    model.validate();
}

#[test]
fn the_clock_never_runs_backwards_and_a_long_jump_has_to_be_accepted_7_2() {
    let start = Timestamp::from_millis(1_000_000);
    let (mut model, key, reservation) = running(Settings { wall: start, ..Settings::default() });
    model.advance(SECOND);
    model.complete(&reservation, Outcome::new("x")).unwrap();
    model.set_wall(Timestamp::from_millis(5));
    model.crash(0);
    model.reopen().unwrap();
    assert_eq!(model.now(), start.saturating_add(SECOND));
    assert!(matches!(model.get(&key), Ok(Known::Finished(_))));

    let far = model.now().saturating_add(Settings::default().clock_jump_max + SECOND);
    model.set_wall(far);
    model.crash(0);
    let limit = Settings::default().clock_jump_max;
    assert_eq!(model.reopen(), Err(Refusal::ClockJump { ahead: limit + SECOND, limit }));
    model.reopen_under(Settings { accept_clock_jump: true, ..Settings::default() }).unwrap();
    assert_eq!(model.now(), far);
}

#[test]
fn after_closing_everyone_is_answered_closed_11() {
    let (mut model, key, reservation) = running(Settings::default());
    let waiter = waiting(model.wait(&key, ask("a"), SECOND));
    model.close().unwrap();
    let woken = Woken { waiter, answer: Err(Refusal::Closed), difference: None, instead_of: vec![] };
    assert_eq!(model.woken(), [woken]);
    assert_eq!(model.begin(&key, ask("a")), Err(Refusal::Closed));
    assert_eq!(model.complete(&reservation, Outcome::new("x")), Err(Refusal::Closed));
    assert_eq!((model.get(&key), model.forget(&key)), (Err(Refusal::Closed), Err(Refusal::Closed)));
    assert_eq!(
        (model.sweep(), model.flush(), model.close()),
        (Err(Refusal::Closed), Err(Refusal::Closed), Err(Refusal::Closed))
    );
}

#[test]
fn every_error_that_a_model_can_come_to_has_its_word() {
    use crate::error::{Error, ErrorKind};
    let of = |kind: ErrorKind| Refusal::of(&Error::from(kind));
    assert_eq!(of(ErrorKind::Mismatch), Some(Refusal::Mismatch));
    assert_eq!(of(ErrorKind::Stopped { operation: "sync" }), Some(Refusal::Stopped));
    assert_eq!(of(ErrorKind::Locked), None);
    let model = Model::new(Settings::default());
    for (scope, token) in
        [("", "t"), ("s", ""), ("s", "é"), (&"s".repeat(256)[..], "t"), ("s", &"t".repeat(65)[..])]
    {
        assert_eq!(model.key(scope, token).err(), Refusal::of(&Key::new(scope, token).unwrap_err()));
    }
}

#[test]
fn debug_shows_no_bytes_of_the_caller_10_2() {
    let mut model = Model::new(Settings::default());
    let key = model.key("canary", "canary").unwrap();
    let reservation = fresh(model.begin(&key, ask("canary")));
    let _waits = waiting(model.wait(&key, ask("canary"), SECOND));
    model.complete(&reservation, Outcome::new("canary").with_metadata("canary", "canary")).unwrap();
    let shown = format!("{model:?} {reservation:?}");
    assert!(!shown.contains("canary") && !shown.contains(&format!("{:?}", b'c')), "{shown}");
}

/// The same small generator everywhere: splitmix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: u16) -> u16 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB) >> 33;
        u16::try_from(mixed % u64::from(bound)).expect("it is below a u16")
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}

fn small(chance: &mut Chance) -> Settings {
    Settings {
        retention: SECOND * u32::from(chance.below(9)),
        lease: SECOND * u32::from(chance.below(4)),
        relaxed: chance.coin(),
        outcome_bytes_max: 8,
        declared_outcome_bytes: u64::from(chance.below(9)),
        live_reservations_max: u64::from(1 + chance.below(4)),
        live_reservations_per_scope_max: chance.coin().then(|| u64::from(1 + chance.below(3))),
        waiters_per_key_max: u64::from(1 + chance.below(3)),
        kept_records_max: chance.coin().then(|| u64::from(1 + chance.below(4))),
        kept_bytes_max: chance.coin().then(|| u64::from(20 + chance.below(40))),
        kept_records_per_scope_max: chance.coin().then(|| u64::from(1 + chance.below(3))),
        kept_bytes_per_scope_max: chance.coin().then(|| u64::from(20 + chance.below(20))),
        start_durably: chance.coin(),
        on_interrupted: if chance.coin() { OnInterrupted::Resume } else { OnInterrupted::Refuse },
        checkpoint_bytes_max: 4,
        ..Settings::default()
    }
}

/// Panics, releases, or writes a checkpoint that fits or does not.
fn end_or_note(model: &mut Model, reservation: &Reservation, choice: u16) -> Result<(), Refusal> {
    match choice {
        0 => model.panic(reservation),
        1 => model.release(reservation),
        longer => model.checkpoint(reservation, &[b'n'; 5][..usize::from(longer) + 2]),
    }
}

#[test]
fn random_walks_never_contradict_the_head_of_the_module_and_one_run_is_one_completion_3_6() {
    let mut answers: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..400 {
        let mut chance = Chance(seed);
        let mut model = Model::new(small(&mut chance));
        let mut held: Vec<Reservation> = Vec::new();
        for _ in 0..200 {
            let key =
                model.key(["s1", "s2"][usize::from(chance.coin())], ["t1", "t2"][usize::from(chance.coin())]);
            let (key, asking) = (key.unwrap(), ask(["a", "a", "a", "b"][usize::from(chance.below(4))]));
            let reservation = (!held.is_empty())
                .then(|| held[usize::from(chance.below(u16::try_from(held.len()).unwrap()))].clone());
            let outcome = match chance.below(4) {
                0 => Outcome::http(503, "x"),
                1 => Outcome::http(200, "too long a body"),
                _ => Outcome::http(200, "x"),
            };
            match (chance.below(16), reservation) {
                (0..=4, _) => match model.begin(&key, asking) {
                    Ok(Answer::Fresh(reservation)) => held.push(reservation),
                    Ok(Answer::Replay(replay)) => assert!(replay.expires() > model.now(), "7.1"),
                    Ok(Answer::InFlight(running)) => assert!(!running.lease_left.is_zero(), "4.4"),
                    Err(refusal) => *answers.entry(word(&refusal)).or_default() += 1,
                },
                (5..=7, _) => match model.wait(&key, asking, SECOND * u32::from(chance.below(4))) {
                    Ok(Waited::Answered(Answer::Fresh(reservation))) => held.push(reservation),
                    Ok(_) => {}
                    Err(refusal) => *answers.entry(word(&refusal)).or_default() += 1,
                },
                (8..=10, Some(reservation)) => {
                    let before = model.get(&reservation.key);
                    let kept = match chance.below(16) {
                        0 => model.complete_failing(&reservation, outcome, OnDisk::Kept),
                        1 => model.complete_failing(&reservation, outcome, OnDisk::Lost),
                        2 => model.complete_without_body(&reservation, outcome),
                        _ => model.complete(&reservation, outcome),
                    };
                    if let Err(Refusal::ReservationLost { .. }) = kept {
                        assert_eq!(model.get(&reservation.key), before, "4.4");
                    }
                    if let Err(refusal) = kept {
                        *answers.entry(word(&refusal)).or_default() += 1;
                    }
                }
                (11, Some(reservation)) => {
                    if let Err(refusal) = end_or_note(&mut model, &reservation, chance.below(4)) {
                        *answers.entry(word(&refusal)).or_default() += 1;
                    }
                }
                (12, Some(reservation)) => drop(model.renew(&reservation)),
                (13, _) => match chance.below(5) {
                    0 => drop(model.forget(&key)),
                    4 => {
                        if let Err(refusal) = model.resolve(&key, outcome) {
                            *answers.entry(word(&refusal)).or_default() += 1;
                        }
                    }
                    1 => drop(model.sweep()),
                    2 => drop(model.flush()),
                    _ => drop(model.give_up(WaiterId(u64::from(chance.below(9))))),
                },
                (14, _) if chance.below(4) == 0 => {
                    match chance.below(3) {
                        0 => model.crash(usize::from(chance.below(3))),
                        1 => drop(model.close()),
                        _ => {}
                    }
                    model.validate();
                    model.set_wall(Timestamp::from_millis(u64::from(chance.below(20_000))));
                    model.reopen().unwrap();
                }
                _ => model.advance(SECOND / 2 * u32::from(chance.below(4))),
            }
            let before = model.now();
            for woken in model.woken() {
                match woken.answer {
                    Ok(Answer::Fresh(reservation)) => held.push(reservation),
                    Ok(Answer::Replay(replay)) => assert!(replay.expires() >= before, "7.1"),
                    _ => {}
                }
            }
            model.validate();
        }
    }
    let met = "mismatch,unknown,lost,overloaded,full,stopped,large,interrupted,not interrupted,not durable,in flight";
    for expected in met.split(',') {
        assert!(answers.contains_key(expected), "the walks never met {expected}: {answers:?}");
    }
}

fn word(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Mismatch => "mismatch",
        Refusal::UnknownOutcome => "unknown",
        Refusal::ReservationLost { .. } => "lost",
        Refusal::Overloaded { .. } => "overloaded",
        Refusal::Full { .. } => "full",
        Refusal::Stopped => "stopped",
        Refusal::TooLarge { .. } => "large",
        Refusal::Interrupted { .. } => "interrupted",
        Refusal::NotInterrupted => "not interrupted",
        Refusal::NotDurable => "not durable",
        Refusal::InFlight { .. } => "in flight",
        other => panic!("not met here: {other:?}"),
    }
}
