//! How are figures shown so that a loss can't hide? Medians, one line each, with the goal and whether it is met.

/// What issue 2 asks of a figure.
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
    let columns: String = columns.iter().map(|name| format!("{name:>15}")).collect();
    println!("{:30}{columns}", "");
}

pub(crate) fn line(label: &str, figures: &[String], verdict: &str) {
    let figures: String = figures.iter().map(|figure| format!("{figure:>15}")).collect();
    println!("{label:30}{figures}   {verdict}");
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
