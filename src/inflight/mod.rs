//! West wing: memory that forgets. A crash empties it and nothing is lost that was promised.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `slots` | the reservations of one stripe, and a table of their states |
//! | `recent` | outcomes that were just completed or replayed |
//! | `gate` | where waiters sleep, and how an operation's end reaches them |
//! | `timer` | deadlines, for leases and waiting, blocking and async alike |

mod gate;
mod recent;
mod slots;
mod timer;

pub(crate) use gate::{Ended, Ending, Gate, Listener};
pub(crate) use recent::Recent;
pub(crate) use slots::{Durable, Phase, Slot, Slots};
pub(crate) use timer::Timer;
