//! Real engines to be hurt, and processes of one service that hammer keys over them.
//!
//! Law: whatever is started here ends with the process that started it, whichever way that one ends. Nothing here waits
//! for a time to pass where it can wait for a thing to happen; a wait that finds nothing panics in the end.
//!
//! | room | what stands there |
//! | --- | --- |
//! | `process` | programs that end with their parent; free ports; waiting until something holds |
//! | `postgres` | a primary, and a synchronous standby to be promoted |
//! | `etcd` | three members |
//! | `certificates` | an authority, and who it vouches for |
//! | `proxy` | a connection that is cut, hangs, is late, or loses one answer |
//! | `engine` | where an engine is, as one word that a process can be told, and a store over it |
//! | `worker` | a process of the service: what it does, and what it says of it |
//! | `fleet` | such processes, as their parent sees them |

pub mod certificates;
pub mod engine;
pub mod etcd;
pub mod fleet;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod worker;
