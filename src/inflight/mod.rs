//! West wing: memory that forgets. A crash empties it and nothing is lost that was promised.
//!
//! | file | what stands there |
//! | --- | --- |
//! | `slots` | the reservations of one stripe, and a table of their states |
//! | `recent` | outcomes that were just replayed |
//! | `gate` | where waiters sleep, and how an operation's end reaches them |
//! | `written` | how a holder hears that its record is on disk |
//! | `timer` | deadlines, for leases and waiting, blocking and async alike |

mod gate;
mod recent;
mod slots;
mod timer;
mod written;

pub(crate) use gate::{Ended, Gate, Listener};
pub(crate) use recent::Recent;
#[cfg(test)]
pub(crate) use slots::Durable;
pub(crate) use slots::{Phase, Remembered, Replaced, Slot, Slots};
pub(crate) use timer::{Alarm, Timer, between_renewals};
pub(crate) use written::Written;
