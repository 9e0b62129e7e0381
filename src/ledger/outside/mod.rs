//! A store as it is seen from outside, by those who look after it (feature `cli`), or move from it (feature
//! `distributed`).
//!
//! | file | what stands there |
//! | --- | --- |
//! | `survey` | looking at all of it, or at what is sealed, and changing nothing; copying it |
//! | `known` | of what is seen, what counts |
//! | `checking` | whether every record reads |
//! | `adopting` | what records from elsewhere were made under |

#[cfg(feature = "cli")]
mod adopting;
#[cfg(feature = "cli")]
mod checking;
mod known;
mod survey;

#[cfg(feature = "cli")]
pub(crate) use adopting::Origin;
pub(crate) use known::Known;
pub(crate) use survey::Survey;
#[cfg(feature = "cli")]
pub(crate) use survey::{Flaw, copy_closed, holds_store};
