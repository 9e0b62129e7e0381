//! What does a durable token cost, by callers in flight and by records kept, beside every contender?
//!
//! For each number in flight every contender first has one turn that only finds out how many asks fill a turn and
//! completes the tokens that are retried next; then the rounds, each contender once in each, the first of them another
//! one each time. A turn's asks are made beforehand; retries are of the turn before.

use serde_json::{Value, json};

use crate::contender::{Contender, Kind, Turn};
use crate::field::Filled;
use crate::fill::token;
use crate::form::Form;
use crate::report::{float, title};
use crate::series::Series;
use crate::work::{Ask, plan};

/// Asks of a caller in a turn, at least.
const STEPS_MIN: usize = 4;
/// Asks of a turn, at most; fewer of what keeps only memory, so that its tokens don't fill the machine's.
const ASKS_MAX: f64 = 4e6;
const ASKS_IN_MEMORY_MAX: f64 = 1e5;

/// What one contender showed at one number in flight with one number kept.
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// What all were to keep beforehand, and what this one did.
    pub(crate) kept: u64,
    pub(crate) filled: u64,
    pub(crate) in_flight: usize,
    pub(crate) rate: Series,
    /// Nanoseconds that 50, 99 and 99.9 % stay below.
    pub(crate) p50: Series,
    pub(crate) p99: Series,
    pub(crate) p999: Series,
    /// Bytes handed to `write` for a completed token; empty where another process writes.
    pub(crate) written: Series,
    /// The same by oncekey's own count, and zeros ahead of it.
    pub(crate) counted: Option<[Series; 2]>,
}

impl Cell {
    fn new(own: Filled<'_>, kept: u64, in_flight: usize) -> Self {
        let series = Series::default;
        Self {
            name: own.contender.name(),
            kind: own.contender.kind(),
            kept,
            filled: own.kept,
            in_flight,
            rate: series(),
            p50: series(),
            p99: series(),
            p999: series(),
            written: series(),
            counted: None,
        }
    }

    fn take(&mut self, turn: &Turn) {
        self.rate.push(turn.rate);
        self.p50.push(turn.per_mille(500));
        self.p99.push(turn.per_mille(990));
        self.p999.push(turn.per_mille(999));
        turn.written.into_iter().for_each(|bytes| self.written.push(bytes));
        if let Some([bytes, zeros]) = turn.counted {
            let [all_bytes, all_zeros] = self.counted.get_or_insert_default();
            all_bytes.push(bytes);
            all_zeros.push(zeros);
        }
    }
}

/// A contender between its turns.
pub(crate) struct Seat<'a> {
    contender: &'a dyn Contender,
    steps: usize,
    earlier: Vec<String>,
    cell: Cell,
}

impl<'a> Seat<'a> {
    pub(crate) fn warm_up(own: Filled<'a>, kept: u64, in_flight: usize, form: Form) -> Self {
        let contender = own.contender;
        let known = if contender.kind() == Kind::FileLimit { 0 } else { own.kept.min(1000) };
        let earlier = (0..known).map(token).collect();
        let cell = Cell::new(own, kept, in_flight);
        let mut seat = Self { contender, steps: STEPS_MIN, earlier, cell };
        // Twice, since the first of them also pays for what is cold.
        for _ in 0..2 {
            let rate = seat.turn().rate;
            let most = if contender.kind() == Kind::MemoryOnly { ASKS_IN_MEMORY_MAX } else { ASKS_MAX };
            let asks = (rate * form.turn().as_secs_f64()).min(most);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below ASKS_MAX")]
            let steps = (asks / float(in_flight as u64)) as usize;
            seat.steps = steps.max(STEPS_MIN);
        }
        seat
    }

    pub(crate) fn turn(&mut self) -> Turn {
        let plan = plan(self.cell.in_flight, self.steps, &self.earlier);
        let turn = self.contender.turn(&plan);
        let completed = plan.into_iter().flatten().filter(|ask: &Ask| !ask.retry);
        self.earlier = completed.map(|ask| ask.token).collect();
        turn
    }
}

/// The turns of contenders that keep so many records, oncekey first, and their table.
pub(crate) fn compare(form: Form, contenders: &[Filled<'_>], kept: u64) -> Vec<Cell> {
    let mut cells = Vec::new();
    for &in_flight in form.in_flight() {
        let mut seats: Vec<Seat<'_>> =
            contenders.iter().map(|own| Seat::warm_up(*own, kept, in_flight, form)).collect();
        for round in 0..form.rounds() {
            eprint!("\r  {in_flight} in flight, {kept} kept: round {} of {}   ", round + 1, form.rounds());
            let count = seats.len();
            for place in 0..count {
                let seat = &mut seats[(round + place) % count];
                let turn = seat.turn();
                seat.cell.take(&turn);
            }
        }
        eprint!("\r{:60}\r", "");
        let own: Vec<Cell> = seats.into_iter().map(|seat| seat.cell).collect();
        table(&own, kept, in_flight);
        cells.extend(own);
    }
    cells
}

/// As `results.json` has them, each with oncekey's rate over its own.
pub(crate) fn rows(cells: &[Cell]) -> Vec<Value> {
    let ours = |cell: &Cell| {
        let same = cells.iter().find(|own| own.kind == Kind::Ours && own.in_flight == cell.in_flight);
        same.expect("oncekey takes part").rate.over(&cell.rate).median()
    };
    cells.iter().map(|cell| row(cell, ours(cell))).collect()
}

fn row(cell: &Cell, oncekey_over_it: f64) -> Value {
    json!({
        "name": cell.name,
        "kind": cell.kind.name(),
        "kept": cell.kept,
        "filled": cell.filled,
        "in_flight": cell.in_flight,
        "tokens_per_s": cell.rate.median(),
        "spread": cell.rate.spread(),
        "oncekey_over_it": oncekey_over_it,
        "p50_us": cell.p50.median() / 1e3,
        "p99_us": cell.p99.median() / 1e3,
        "p999_us": cell.p999.median() / 1e3,
        "bytes_per_record": (!cell.written.0.is_empty()).then(|| cell.written.median()),
        "own_count": cell.counted.as_ref().map(|all| all.each_ref().map(Series::mean)),
    })
}

fn table(cells: &[Cell], kept: u64, in_flight: usize) {
    title(
        &format!("{in_flight} in flight, {kept} kept: durable tokens, 200 bytes, 1 ask of 10 a retry"),
        &["tokens/s", "oncekey/it", "spread", "p50 us", "p99 us", "p99.9 us", "bytes/record"],
    );
    let ours = &cells[0].rate;
    for cell in cells {
        let ratio = ours.over(&cell.rate);
        let row = [
            format!("{:.0}", cell.rate.median()),
            format!("{:.2}", ratio.median()),
            format!("{:.0} %", 100.0 * cell.rate.spread()),
            format!("{:.0}", cell.p50.median() / 1e3),
            format!("{:.0}", cell.p99.median() / 1e3),
            format!("{:.0}", cell.p999.median() / 1e3),
            if cell.written.0.is_empty() { "-".to_owned() } else { format!("{:.0}", cell.written.median()) },
        ];
        crate::report::line(cell.name, &row, "");
        if let Some([bytes, zeros]) = &cell.counted {
            let row = ["", "", "", "", "", ""].map(str::to_owned).into_iter();
            let row: Vec<_> = row.chain([format!("{:.0}+{:.0}", bytes.mean(), zeros.mean())]).collect();
            crate::report::line("  its own count, zeros ahead", &row, "");
        }
    }
}
