//! Any settings (contract 8.1): those that are accepted work at their bounds, those that are refused say why.
//!
//! Law: a store opens exactly where every setting is within the bounds that the builder's documentation names; a refusal
//! names the setting, what was given and its rule. In a store that opened, what is as large as a limit allows is taken,
//! and what is one more is refused with the limit's name, the number and the limit.

use std::time::Duration;

use super::tape::Tape;
use crate::digest::Parameters;
use crate::error::{Error, ErrorKind, Limit};
use crate::options::{Builder, OnInterrupted};
use crate::outcome::Outcome;
use crate::store::{Answer, Reservation, Store};
use crate::sync::yield_now;
use crate::time::ManualClock;
use crate::token::Key;

const YEARS_1000: u64 = 1000 * 365 * 24 * 3600;
/// Larger bodies, and more records, are not tried: only that the store takes the setting.
const TRIED_BYTES: u64 = 40_000;
const TRIED_COUNT: u64 = 20;

/// What was chosen.
struct Chosen {
    token: usize,
    scope: usize,
    retention: u64,
    lease: u64,
    outcome: u64,
    declared: u64,
    count: u64,
    bytes: u64,
    live: u64,
    live_per_scope: Option<u64>,
    waiters: u64,
    kept: u64,
    kept_bytes: u64,
    checkpoint: u64,
    segment: u64,
    stripes: usize,
    jump: u64,
}

/// Settings of any size.
///
/// # Panics
/// Where the law does not hold.
pub fn options(data: &[u8]) {
    let mut tape = Tape::new(data);
    let chosen = Chosen::of(&mut tape);
    let wrong = chosen.wrong();
    let opened = chosen.builder(&mut tape).open_in_memory();
    match (&opened, &wrong[..]) {
        (Ok(_), []) => {}
        (Err(error), [_, ..]) => {
            let ErrorKind::InvalidSetting { setting, measured, rule } = error.kind() else {
                panic!("{wrong:?} are wrong: {error}")
            };
            assert!(wrong.contains(&(*setting, *measured)), "{wrong:?} are wrong: {error}");
            let said = error.to_string();
            let named = [*setting, &measured.to_string(), *rule].iter().all(|part| said.contains(part));
            assert!(named && !rule.is_empty(), "{said}");
        }
        _ => panic!("{wrong:?} are wrong: {:?}", opened.err()),
    }
    if let Ok(store) = opened {
        chosen.keys(&store);
        chosen.parameters(&store);
        if chosen.declared <= TRIED_BYTES {
            chosen.outcomes(&store);
            chosen.reservations(&store);
            chosen.records(&store);
        }
        assert!(store.guarantees().one_completion);
        store.close(Duration::ZERO).unwrap();
    }
}

impl Chosen {
    fn of(tape: &mut Tape<'_>) -> Self {
        // Most are as they are by default, or one wrong setting would hide all others.
        let some = tape.u32();
        let mut nth = 0;
        let mut or = |default: u64, tape: &mut Tape<'_>| {
            nth += 1;
            if some >> nth & 1 == 1 { tape.number() } else { default }
        };
        let size = |number: u64| usize::try_from(number).unwrap();
        Self {
            token: size(or(64, tape)),
            scope: size(or(255, tape)),
            retention: or(60, tape),
            lease: or(60, tape),
            outcome: or(1 << 20, tape),
            declared: or(100, tape),
            count: or(1024, tape),
            bytes: or(8 << 20, tape),
            live: or(100, tape),
            live_per_scope: Some(or(u64::MAX, tape)).filter(|limit| *limit != u64::MAX),
            waiters: or(100, tape),
            kept: or(100, tape),
            kept_bytes: or(1 << 40, tape),
            checkpoint: or(100, tape),
            segment: or(1 << 20, tape),
            stripes: size(or(2, tape)),
            jump: or(1000, tape),
        }
    }

    /// The settings that the documentation does not allow, with what is measured.
    fn wrong(&self) -> Vec<(&'static str, u64)> {
        let fits = |number: usize| (1..=255).contains(&number);
        let mut wrong = Vec::new();
        let mut check = |right: bool, name, measured| {
            if !right {
                wrong.push((name, measured));
            }
        };
        check(fits(self.token), "token_bytes_max", self.token as u64);
        check(fits(self.scope), "scope_bytes_max", self.scope as u64);
        check(self.retention <= YEARS_1000, "retention", self.retention);
        check((1..=YEARS_1000).contains(&self.lease), "lease", self.lease);
        check(self.jump <= YEARS_1000, "clock_jump_max", self.jump);
        check(self.outcome <= 256 << 20, "outcome_bytes_max", self.outcome);
        check(self.declared <= self.outcome, "declared_outcome_bytes", self.declared);
        check(self.checkpoint <= 256 << 20, "checkpoint_bytes_max", self.checkpoint);
        check((1 << 20..=1 << 40).contains(&self.segment), "segment_bytes_max", self.segment);
        let stripes = self.stripes.is_power_of_two() && self.stripes <= 1 << 16;
        check(stripes, "stripes", self.stripes as u64);
        check(self.live > 0, "live_reservations_max", 0);
        check(self.kept > 0, "kept_records_max", 0);
        check(self.bytes > 0, "parameter_bytes_max", 0);
        wrong
    }

    fn builder(&self, tape: &mut Tape<'_>) -> Builder {
        let builder = Store::builder()
            .clock(ManualClock::default())
            .background_sweep(tape.byte() % 4 == 1)
            .token_bytes_max(self.token)
            .scope_bytes_max(self.scope)
            .retention(Duration::from_secs(self.retention))
            .lease(Duration::from_secs(self.lease))
            .outcome_bytes_max(self.outcome)
            .declared_outcome_bytes(self.declared)
            .parameter_count_max(self.count)
            .parameter_bytes_max(self.bytes)
            .live_reservations_max(self.live)
            .live_reservations_per_scope_max(self.live_per_scope)
            .waiters_per_key_max(self.waiters)
            .kept_records_max(self.kept)
            .kept_bytes_max(self.kept_bytes)
            .checkpoint_bytes_max(self.checkpoint)
            .segment_bytes_max(self.segment)
            .stripes(self.stripes)
            .clock_jump_max(Duration::from_secs(self.jump))
            .recent_bytes_max(tape.number())
            .two_phase(tape.flag())
            .explain_mismatches(tape.flag())
            .on_interrupted(if tape.flag() { OnInterrupted::Refuse } else { OnInterrupted::Resume });
        match tape.byte() % 4 {
            0 => builder.relaxed(Duration::from_millis(tape.number())),
            1 => builder.segment_age_max(Duration::from_millis(tape.number())),
            _ => builder,
        }
    }

    fn keys(&self, store: &Store) {
        let (token, scope) = ("t".repeat(self.token), "s".repeat(self.scope));
        assert!(store.key(&scope, &token).is_ok());
        let longer = |text: &str| format!("{text}x");
        assert!(matches!(store.key(longer(&scope), &token).unwrap_err().kind(), ErrorKind::InvalidScope(_)));
        assert!(matches!(store.key(&scope, longer(&token)).unwrap_err().kind(), ErrorKind::InvalidToken(_)));
    }

    fn parameters(&self, store: &Store) {
        let key = Key::new("p", "p").unwrap();
        let refused = |parameters: &Parameters<'_>, what, measured, limit| {
            let error = store.begin(&key, parameters).unwrap_err();
            assert_eq!(error.kind(), &ErrorKind::TooLarge { what, measured, limit });
        };
        if self.bytes <= TRIED_BYTES {
            let text = vec![b'x'; usize::try_from(self.bytes).unwrap() + 1];
            refused(&Parameters::bytes(&text), Limit::ParameterBytes, self.bytes + 1, self.bytes);
            let answer = store.begin(&key, &Parameters::bytes(&text[1..]));
            assert!(!matches!(answer.err().map(|own| own.is_bad_input()), Some(true)));
        }
        if self.count <= TRIED_COUNT && self.bytes >= TRIED_COUNT * 4 {
            let pair = |number: u64| (format!("n{number}"), "v");
            let pairs = |count| Parameters::pairs((0..count).map(pair).collect::<Vec<_>>());
            refused(&pairs(self.count + 1), Limit::ParameterCount, self.count + 1, self.count);
            let answer = store.begin(&key, &pairs(self.count));
            assert!(!matches!(answer.err().map(|own| own.is_bad_input()), Some(true)));
        }
    }

    /// A reservation where the limits on what is live and kept leave room for one.
    fn reserve(&self, store: &Store, token: &str) -> Option<Reservation> {
        let key = Key::new("o", token).unwrap();
        match store.request(&key, &Parameters::none()).declare(0).begin() {
            Ok(Answer::Fresh(held)) => Some(held),
            Ok(other) => panic!("never seen: {other:?}"),
            Err(error) => {
                let tight =
                    self.kept_bytes < TRIED_BYTES * 2 || self.kept < 4 || self.live_per_scope == Some(0);
                assert!(tight && (error.is_full() || error.is_overloaded()), "{error}");
                None
            }
        }
    }

    fn outcomes(&self, store: &Store) {
        if self.outcome > TRIED_BYTES {
            return;
        }
        let body = vec![7; usize::try_from(self.outcome).unwrap() + 1];
        let Some(held) = self.reserve(store, "t") else { return };
        let refused = held.complete(Outcome::http(200, body.clone())).unwrap_err();
        let (what, measured, limit) = (Limit::OutcomeBytes, self.outcome + 1, self.outcome);
        assert_eq!(refused.error.kind(), &ErrorKind::TooLarge { what, measured, limit });
        let held = refused.reservation.expect("handed back, still held");
        let done = held.complete(Outcome::http(200, &body[1..]));
        assert!(done.is_ok(), "{done:?}");
        if self.checkpoint <= TRIED_BYTES && self.kept > 4 {
            self.checkpoints(store);
        }
    }

    fn checkpoints(&self, store: &Store) {
        let key = Key::new("o", "c").unwrap();
        let note = vec![7; usize::try_from(self.checkpoint).unwrap() + 1];
        match store.request(&key, &Parameters::none()).declare(0).start_durably().begin() {
            Ok(Answer::Fresh(held)) => {
                let (what, measured, limit) = (Limit::CheckpointBytes, self.checkpoint + 1, self.checkpoint);
                let error = held.checkpoint(&note).unwrap_err();
                assert_eq!(error.kind(), &ErrorKind::TooLarge { what, measured, limit });
                assert_eq!(held.checkpoint(&note[1..]), Ok(()));
            }
            Ok(other) => panic!("never seen: {other:?}"),
            Err(error) => assert!(error.is_full() || error.is_overloaded(), "{error}"),
        }
        // What was let go durably is so once that is written.
        while store.stats().live_reservations > 0 {
            yield_now();
        }
    }

    fn reservations(&self, store: &Store) {
        let limit = self.live.min(self.live_per_scope.unwrap_or(u64::MAX));
        if limit > TRIED_COUNT || self.kept < 2 * TRIED_COUNT || self.kept_bytes < TRIED_BYTES * 2 {
            return;
        }
        let ask = |number: u64| {
            store
                .request(&Key::new("l", format!("{number}")).unwrap(), &Parameters::none())
                .declare(0)
                .begin()
        };
        let held: Vec<_> = (0..limit).map(|number| ask(number).expect("within the limit")).collect();
        let error = ask(limit).unwrap_err();
        let counted = matches!(error.kind(), ErrorKind::Overloaded { measured, limit: own, .. }
            if (*measured, *own) == (limit + 1, limit));
        assert!(counted, "{error}");
        drop(held);
        if limit > 0 {
            assert!(ask(limit).is_ok(), "what was let go makes room");
        }
    }

    fn records(&self, store: &Store) {
        let before = store.stats().kept_records;
        let few = self.kept <= TRIED_COUNT && self.kept_bytes > TRIED_BYTES * 2;
        if !few || self.live_per_scope == Some(0) || self.retention == 0 {
            return;
        }
        let ask = |number: u64| {
            store
                .request(&Key::new("k", format!("{number}")).unwrap(), &Parameters::none())
                .declare(0)
                .begin()
        };
        for number in before..self.kept {
            let held = match ask(number) {
                Ok(Answer::Fresh(held)) => held,
                other => panic!("{number} of {} are kept: {other:?}", self.kept),
            };
            let done: Result<_, Error> = held.complete(Outcome::http(204, "")).map_err(|own| own.error);
            assert!(done.is_ok(), "{done:?}");
        }
        let error = ask(self.kept).unwrap_err();
        let (what, measured, limit) = (Limit::KeptRecords, self.kept + 1, self.kept);
        assert_eq!(error.kind(), &ErrorKind::Full { what, measured, limit });
    }
}
