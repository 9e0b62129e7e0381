//! The store on a disk that is cut or fails, steered by bytes (contract 5).
//!
//! Law: the oracles of `store::tests`, which say what may be found; here the fuzzer chooses what happens before, when it
//! happens and how.

use std::io::ErrorKind as IoKind;

use super::tape::Tape;
use crate::ledger::Failure;
use crate::store::tests::script::Step;
use crate::store::tests::{check_cuts, check_fault};

const STEPS_MAX: usize = 32;

fn steps(tape: &mut Tape<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    while !tape.is_over() && steps.len() < STEPS_MAX {
        steps.push(Step::of(|bound| tape.below(bound)));
    }
    steps
}

/// Operations, and power cuts among them, each with a second cut inside the recovery.
///
/// # Panics
/// Where the law does not hold.
pub fn power_cut(data: &[u8]) {
    let mut tape = Tape::new(data);
    let cuts = (0..=tape.below(2)).map(|_| (tape.u16(), tape.u16(), u64::from(tape.u16()))).collect();
    check_cuts(steps(&mut tape), cuts);
}

/// Operations on a disk of which the n-th change or reading fails, once, for ever or in doubt, or which gets full.
///
/// # Panics
/// Where the law does not hold.
pub fn io_fault(data: &[u8]) {
    let mut tape = Tape::new(data);
    let (manner, at) = (tape.byte(), 1 + u64::from(tape.u16()) % 2000);
    let kind = if manner & 128 == 0 { IoKind::Other } else { IoKind::StorageFull };
    let failure = match manner % 5 {
        0 => Failure::Once(at, kind),
        1 => Failure::InDoubt(at, kind),
        2 => Failure::From(at, kind),
        3 => Failure::Full(at),
        _ => Failure::Read(at, kind),
    };
    check_fault(steps(&mut tape), failure, "of bytes");
}
