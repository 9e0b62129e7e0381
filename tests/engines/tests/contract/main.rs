//! Goal: over real engines each rule of the contract holds that holds for every store. Method: the tests of
//! `tests/contract/every`, once for each engine; their stores stand in schemas and prefixes of their own, whose time the
//! test moves.

#[cfg(feature = "etcd")]
mod etcd;
#[path = "../../../conformance/home.rs"]
#[expect(dead_code, reason = "an engine in memory is not for here")]
mod home;
#[path = "../homes/mod.rs"]
mod homes;
mod postgres;
