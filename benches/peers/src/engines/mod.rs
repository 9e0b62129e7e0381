//! The peers keyed by token: each as its own documentation asks for it to be durable, with the same cache.

pub(crate) mod idempotent_crate;
pub(crate) mod keyed_redb;
pub(crate) mod lmdb;
pub(crate) mod lsm_fjall;
#[cfg(feature = "rocksdb")]
pub(crate) mod lsm_rocksdb;
pub(crate) mod sqlite;

/// Cache of each engine that keeps one of its own.
pub(crate) const CACHE_BYTES: usize = 256 << 20;
