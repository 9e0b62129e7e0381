//! Nothing, where the feature is not built in.

#![expect(clippy::unused_self, reason = "it stands in for what has something to say")]

use crate::error::Error;

#[derive(Default)]
pub(crate) struct Span(());

impl Span {
    pub(crate) fn of_attempt(_hash: u64, _attempt: u32, _durable: bool, _resumed: bool) -> Self {
        Self(())
    }

    pub(crate) fn ended(&self, _how: Result<&'static str, &Error>) {}

    #[cfg(feature = "tower")]
    pub(crate) fn around<F>(&self, work: F) -> F {
        work
    }
}

pub(crate) fn answered(_hash: u64, _answer: Result<&'static str, &Error>) {}
