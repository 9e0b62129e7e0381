//! What every store holds to, wherever it keeps its records: the embedded one, and one over whichever engine.
//!
//! The room `support` beside this one says what a store is: these files are compiled once for each.

use super::support;

mod s11_execute;
mod s11_manners;
mod s1_identity;
mod s2_forms;
pub(crate) mod s2_mismatches;
mod s2_versions;
mod s3_asking;
mod s3_concurrent;
mod s3_interrupted;
mod s3_waiting;
mod s4_finishing;
pub(crate) mod s4_leases;
pub(crate) mod s4_resolving;
mod s5_own_threads;
mod s5_panics;
mod s6_checkpoints;
mod s7_time;
pub(crate) mod s8_limits;
