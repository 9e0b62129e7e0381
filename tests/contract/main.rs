//! The contract, rule by rule, through the public API alone.
//!
//! Goal: whoever breaks a rule of `CONTRACT.md` fails a test that carries the rule's number. Method: each file
//! takes one section; each test is named as the sentence it proves and ends in the number. What holds in every
//! home is run in a directory and in memory ([`support::in_both_homes`]). Crashes and full disks happen to a child
//! process: this binary itself, started again for one test with a variable in its environment
//! ([`support::child`]).

mod support;

mod s10_secrecy;
#[cfg(feature = "encryption")]
mod s11_encryption;
mod s11_execute;
mod s11_manners;
mod s11_secrets;
mod s1_identity;
mod s2_forms;
mod s2_mismatches;
mod s2_versions;
mod s3_asking;
mod s3_concurrent;
mod s3_interrupted;
mod s3_recent;
mod s3_waiting;
mod s4_finishing;
mod s4_leases;
mod s4_resolving;
mod s5_damage;
mod s5_durable;
mod s5_files;
mod s5_full_disk;
mod s5_panics;
mod s5_survival;
mod s6_checkpoints;
#[cfg(feature = "redb-transactions")]
mod s6_damage;
#[cfg(feature = "redb-transactions")]
mod s6_faults;
#[cfg(feature = "redb-transactions")]
mod s6_tables;
#[cfg(feature = "redb-transactions")]
mod s6_transactions;
#[cfg(feature = "redb-transactions")]
mod s6_turns;
mod s7_time;
mod s8_limits;
