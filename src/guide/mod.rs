//! # The guide
//!
//! No code of the crate's: pages to read, whose examples are compiled and run as tests.
//!
//! | page | for |
//! | --- | --- |
//! | [`quick_start`] | the first ten minutes |
//! | [`crate::modes`] | volatile, durable or transactional? |
//! | [`http_servers`] | the layer for axum, tonic and hyper (feature `tower`) |
//! | [`digests`] | what counts as the same request, and what is left out |
//! | [`retention`] | how long an answer is remembered |
//! | [`operations`] | how much disk and memory, backups, what to watch |
//! | [`tool`] | `oncekey`, the operator's tool, on a store of a million records (feature `cli`) |
//! | [`failures`] | what is on the screen, what it means, what to do |
//! | [`guarantees`] | the contract, for users |
//! | [`performance`] | what it costs, and how to make it cost less |
//! | [`limitations`] | what it does not do |
//! | `many_machines` | a service that runs as several processes (feature `distributed`) |
//! | [`versions`] | upgrading, and moving here from somewhere else |

#[doc = include_str!("quick_start.md")]
pub mod quick_start {}

#[doc = include_str!("http_servers.md")]
pub mod http_servers {}

#[doc = include_str!("digests.md")]
pub mod digests {}

#[doc = include_str!("retention.md")]
pub mod retention {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("tool.md")]
pub mod tool {}

#[doc = include_str!("failures.md")]
pub mod failures {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}

#[doc = include_str!("performance.md")]
pub mod performance {}

#[doc = include_str!("limitations.md")]
pub mod limitations {}

#[cfg(feature = "distributed")]
#[doc = include_str!("many_machines.md")]
pub mod many_machines {}

#[doc = include_str!("versions.md")]
pub mod versions {}
