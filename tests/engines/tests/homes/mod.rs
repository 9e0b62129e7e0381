//! Where a store of a test's own stands in a real engine that all tests share, and whose time each moves for itself.

#[cfg(feature = "etcd")]
mod etcd;
mod postgres;

use std::sync::atomic::{AtomicU32, Ordering};

#[cfg(feature = "etcd")]
pub(crate) use etcd::Prefix;
pub(crate) use postgres::Schema;

/// A name that no other store of this process has.
fn name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed))
}
