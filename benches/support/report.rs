//! How are figures shown so that a loss can't hide? Medians, one line each, with the goal and whether it is met.

use std::fmt::{Display, Write};

/// What is asked of a figure.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    None,
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    pub(crate) fn verdict(self, figure: f64) -> String {
        let (met, goal) = match self {
            Self::None => return String::new(),
            Self::AtLeast(bound) => (figure >= bound, format!("at least {bound}")),
            Self::AtMost(bound) => (figure <= bound, format!("at most {bound}")),
        };
        format!("goal {goal}: {}", if met { "met" } else { "MISSED" })
    }
}

pub(crate) fn title(question: &str, columns: &[&str]) {
    println!("\n{question}");
    println!("{:30}{}", "", cells(columns));
}

pub(crate) fn line(label: &str, figures: &[String], verdict: &str) {
    println!("{label:30}{}   {verdict}", cells(figures));
}

/// Side by side, each as wide as a column.
fn cells<T: Display>(texts: &[T]) -> String {
    texts.iter().fold(String::new(), |mut row, text| {
        write!(row, "{text:>15}").expect("a string takes everything");
        row
    })
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
