//! A store as it is seen from outside, by those who look after it (feature `cli`).
//!
//! | file | what stands there |
//! | --- | --- |
//! | `survey` | looking at all of it, or at what is sealed, and changing nothing; copying it |
//! | `known` | of what is seen, what counts |
//! | `checking` | whether every record reads |
//! | `adopting` | what records from elsewhere were made under |

mod adopting;
mod checking;
mod known;
mod survey;

pub(crate) use adopting::Origin;
pub(crate) use known::Known;
pub(crate) use survey::{Flaw, Survey, copy_closed, holds_store};
