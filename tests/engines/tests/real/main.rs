//! Goal: a store of many processes keeps the contract over real engines that are killed, promoted, late and cut off (3.6,
//! 3.7, 4.1, 4.4, 5.1, 5.3, 5.4, 6.1, 6.2). Method: processes of one service hammer the same keys and say each call and
//! each answer over a pipe; their parent hurts the engine or them, and holds what they said against the contract, with the
//! checker of `tests/histories`. Where one moment matters, a proxy loses the very answer.
//!
//! `ONCEKEY_ENGINE_SECONDS=60` is the long form. Nothing here asserts how long anything takes.

#[path = "../../../histories/checker.rs"]
mod checker;
mod encrypted;
#[cfg(feature = "etcd")]
mod etcd;
mod failover;
mod hammer;
mod history;
mod leases;
mod lost_answers;
mod moving;
mod support;
mod transactions;
mod waiting;
