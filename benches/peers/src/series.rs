//! Figures of interleaved rounds: medians, and how far they lie apart. A ratio is taken round by round, so that what
//! disturbs the machine for a while disturbs both sides of it.

use crate::report::{float, median};

/// One figure for each round.
#[derive(Clone, Default)]
pub(crate) struct Series(pub(crate) Vec<f64>);

impl Series {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    pub(crate) fn median(&self) -> f64 {
        median(self.0.clone())
    }

    /// From the least to the greatest, as a share of the median.
    pub(crate) fn spread(&self) -> f64 {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (greatest - least) / self.median()
    }

    /// Round by round.
    pub(crate) fn over(&self, other: &Self) -> Self {
        Self(self.0.iter().zip(&other.0).map(|(own, other)| own / other).collect())
    }

    pub(crate) fn mean(&self) -> f64 {
        self.0.iter().sum::<f64>() / float(self.0.len() as u64)
    }
}
