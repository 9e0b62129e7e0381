//! The contract, rule by rule, through the public API alone.
//!
//! Goal: whoever breaks a rule of `CONTRACT.md` fails a test that carries the rule's number. Method: each file
//! takes one section; each test is named as the sentence it proves and ends in the number. What every store holds to stands
//! in `every`, and is run in a directory, in memory ([`support::in_every_home`]) and, in `over`, over an engine; what stands
//! here is of files, of a disk, and of the caller's own database. Crashes and full disks happen to a child process: this
//! binary itself, started again for one test with a variable in its environment ([`support::child`]).

mod every;
#[cfg(feature = "distributed")]
#[path = "../conformance/home.rs"]
mod home;
#[cfg(feature = "distributed")]
mod over;
mod support;

mod s10_secrecy;
#[cfg(feature = "encryption")]
mod s11_encryption;
mod s11_manners;
mod s11_secrets;
mod s2_kept_digests;
mod s2_kept_names;
mod s3_recent;
mod s4_carrying;
mod s5_damage;
mod s5_durable;
mod s5_files;
mod s5_full_disk;
mod s5_reopened;
mod s5_survival;
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
mod s7_clocks;
mod s8_kept;
