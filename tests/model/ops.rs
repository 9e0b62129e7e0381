//! What is done at random, and under which settings.

use proptest::prelude::*;
use serde_json::json;

use crate::pair::Op;
use crate::vector::{Settings, Tuning};

/// The clock moves by this; leases and retentions are multiples of it, and patience ends between two of them.
const TICK_MS: u64 = 5;

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let key = 0..5_u8;
    prop_oneof![
        7 => (key.clone(), prop::bool::weighted(0.15), 0..3_u8, 0..3_u8, 0..4_u8, 0..6_u8).prop_map(
            |(key, other, lease, retention, sent, mode)| Op::Begin { key, other, lease, retention, sent, mode }
        ),
        3 => (key.clone(), prop::bool::weighted(0.1), 0..3_u8, 0..6_u8)
            .prop_map(|(key, other, patience, mode)| Op::Wait { key, other, patience, mode }),
        1 => any::<u8>().prop_map(|pick| Op::GiveUp { pick }),
        5 => (any::<u8>(), 0..8_u8).prop_map(|(pick, manner)| Op::Complete { pick, manner }),
        1 => any::<u8>().prop_map(|pick| Op::Renew { pick }),
        2 => any::<u8>().prop_map(|pick| Op::Release { pick }),
        1 => any::<u8>().prop_map(|pick| Op::Drop { pick }),
        1 => any::<u8>().prop_map(|pick| Op::Panic { pick }),
        3 => (any::<u8>(), 0..8_u8).prop_map(|(pick, bytes)| Op::Checkpoint { pick, bytes }),
        1 => (key.clone(), 0..6_u8).prop_map(|(key, manner)| Op::Resolve { key, manner }),
        2 => key.clone().prop_map(|key| Op::Get { key }),
        1 => key.prop_map(|key| Op::Forget { key }),
        1 => Just(Op::Sweep),
        4 => (1..12_u64).prop_map(|ticks| Op::Advance { ms: ticks * TICK_MS }),
        1 => Just(Op::Reopen),
        1 => Just(Op::ReopenInPlace),
        1 => Just(Op::Crash),
    ]
}

/// Of the two policies for what was interrupted; with mismatches explained or not.
pub(crate) fn settings(refuse: bool, explain: bool, tuning: Tuning) -> Settings {
    let settings: Settings = serde_json::from_value(json!({
        "on_interrupted": if refuse { "refuse" } else { "resume" }, "checkpoint_bytes_max": 6,
        "retention_ms": 100, "lease_ms": 50, "outcome_bytes_max": 4096, "declared_outcome_bytes": 64,
        "live_reservations_max": 4, "kept_records_max": 6, "kept_records_per_scope_max": 4,
        "explain_mismatches": explain,
    }))
    .expect("settings as the vectors write them");
    Settings { tuning, ..settings }
}
