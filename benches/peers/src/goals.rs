//! The figures that are to be reached: what each is called, its bound, its unit. One table; nothing else names a goal.
//!
//! What a form does not measure as its goal means it is absent, or carried over from an earlier run: see `results`.

use crate::report::Goal::{self, AtLeast, AtMost};

/// A figure of the list.
pub(crate) struct Wanted {
    pub(crate) id: &'static str,
    pub(crate) goal: Goal,
    pub(crate) unit: &'static str,
}

const fn wanted(id: &'static str, goal: Goal, unit: &'static str) -> Wanted {
    Wanted { id, goal, unit }
}

const RATE: &str = "times its rate";
const TIME: &str = "times its time";
const RECORD: &str = "times the record";
const SECONDS: &str = "s per 10 million";

pub(crate) const ALL: [Wanted; 29] = [
    wanted("fresh_vs_dashmap", AtMost(1.5), TIME),
    wanted("fresh_two_threads", AtLeast(1.0), "times its gain"),
    wanted("absent_lookup_vs_peer", AtMost(0.2), TIME),
    wanted("durable_1_vs_file", AtLeast(0.6), RATE),
    wanted("durable_64_vs_file", AtLeast(0.7), RATE),
    wanted("durable_512_vs_file", AtLeast(0.75), RATE),
    wanted("durable_4096_vs_file", AtLeast(0.6), RATE),
    wanted("durable_64_vs_peer", AtLeast(1.5), RATE),
    wanted("durable_512_vs_peer", AtLeast(2.0), RATE),
    wanted("durable_4096_vs_peer", AtLeast(3.0), RATE),
    wanted("durable_512_vs_keyed_redb", AtLeast(20.0), RATE),
    wanted("replay_recent_vs_redb", AtLeast(3.0), RATE),
    wanted("replay_uniform_vs_redb", AtLeast(0.8), RATE),
    wanted("growth_worst", AtMost(1.25), "times slower"),
    wanted("bytes_written_64", AtMost(3.5), RECORD),
    wanted("bytes_written_512", AtMost(1.5), RECORD),
    wanted("index_bytes_per_record", AtMost(20.0), "bytes"),
    wanted("open_clean_s_per_10m", AtMost(1.5), SECONDS),
    wanted("open_killed_s_per_10m", AtMost(3.0), SECONDS),
    wanted("expire_vs_remove", AtMost(0.05), TIME),
    wanted("sweep_p99_vs_quiet", AtMost(1.5), "times quiet"),
    wanted("space_vs_live", AtMost(1.3), "times the unexpired"),
    wanted("wake_10k_vs_watch", AtMost(1.5), TIME),
    wanted("postgres_512_vs_batches", AtLeast(0.7), RATE),
    wanted("postgres_512_vs_singles", AtLeast(5.0), RATE),
    wanted("postgres_1_latency", AtMost(1.2), TIME),
    wanted("etcd_512_vs_batches", AtLeast(0.7), RATE),
    wanted("etcd_512_vs_singles", AtLeast(5.0), RATE),
    wanted("etcd_1_latency", AtMost(1.2), TIME),
];

pub(crate) fn of(id: &str) -> &'static Wanted {
    ALL.iter().find(|own| own.id == id).expect("every figure stands in the table")
}
