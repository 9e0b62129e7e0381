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
    print!("{:30}", "");
    for name in columns {
        print!("{name:>15}");
    }
    println!();
}

pub(crate) fn line(label: &str, figures: &[String], verdict: &str) {
    print!("{label:30}");
    for figure in figures {
        print!("{figure:>15}");
    }
    println!("   {verdict}");
}

pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
