//! The tables of the page *Performance*, renewed from `results.json` so that nobody copies a figure by hand.
//!
//! Law: what stands between `<!-- NAME -->` and `<!-- end of NAME -->` is replaced, all else is left as it is. A run
//! that is not kept only asks whether that works, and writes nothing.

use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::form::Form;
use crate::goals;

/// What is drawn, and what it shows.
const PICTURES: [(&str, &str); 5] = [
    ("throughput", "Durable tokens per second, by callers in flight"),
    ("latency", "Milliseconds until durable: 50, 99 and 99.9 %"),
    ("growth", "Durable tokens per second, by records kept"),
    ("bytes_written", "Bytes written per record, by callers in flight"),
    ("memory", "Private memory per kept record"),
];

pub(crate) fn renew(package: &Path, form: Form, results: &Value) -> Result<(), Box<dyn Error>> {
    let path = package.join("../PERFORMANCE.md");
    let mut page = fs::read_to_string(&path)?;
    let tables = [
        ("run", run(results)),
        ("figures", figures(results)),
        ("pictures", pictures(package)),
        ("losses", losses(results)),
        ("durable", durable(results)),
        ("absent", absent(results)),
    ];
    for (name, table) in tables {
        page = replaced(&page, name, &table).ok_or(format!("the page has no place for {name}"))?;
    }
    if form.is_kept() {
        fs::write(path, page)?;
    }
    Ok(())
}

fn replaced(page: &str, name: &str, table: &str) -> Option<String> {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let (before, rest) = page.split_once(&begin)?;
    let (_, after) = rest.split_once(&end)?;
    Some(format!("{before}{begin}{table}{end}{after}"))
}

/// On what machine and of which versions, and what was measured there.
fn run(results: &Value) -> String {
    let mut machines: Vec<(&Value, Vec<String>)> = Vec::new();
    for (command, run) in results["runs"].as_object().into_iter().flatten() {
        let command = format!("`{command}`");
        match machines.iter_mut().find(|(own, _)| *own == run) {
            Some((_, commands)) => commands.push(command),
            None => machines.push((run, vec![command])),
        }
    }
    machines.iter().map(|(run, commands)| on_one_machine(run, commands)).collect::<Vec<_>>().join("\n")
}

fn on_one_machine(run: &Value, commands: &[String]) -> String {
    let machine = &run["machine"];
    let versions = run["versions"].as_object().into_iter().flatten();
    let versions: Vec<_> = versions.map(|(name, own)| format!("{name} {}", text(own))).collect();
    format!(
        "{}: {} cores ({}), {}, kernel {}; {}.\n",
        commands.join(", "),
        machine["cores"],
        text(&machine["processor"]),
        text(&machine["memory"]),
        text(&machine["kernel"]),
        versions.join(", "),
    )
}

fn figures(results: &Value) -> String {
    let mut table =
        "| figure | value | goal | | spread | of | measured by |\n| --- | --- | --- | --- | --- | --- | --- |\n".to_owned();
    for own in &goals::ALL {
        let figure = &results["figures"][own.id];
        let Some(value) = figure["value"].as_f64() else {
            let why = text(&results["absent"][own.id]);
            writeln!(table, "| `{}` | - | | | | {why} | |", own.id).expect("a string takes everything");
            continue;
        };
        let verdict = own.goal.verdict(value);
        let (goal, verdict) = verdict.rsplit_once(": ").unwrap_or_default();
        let row = format!(
            "| `{}` | {value:.2} {} | {} | {verdict} | {:.0} % | {} | {} |",
            own.id,
            own.unit,
            goal.trim_start_matches("goal "),
            100.0 * figure["spread"].as_f64().unwrap_or_default(),
            text(&figure["note"]),
            measured_by(figure),
        );
        writeln!(table, "{row}").expect("a string takes everything");
    }
    table
}

/// Those that were drawn by now.
fn pictures(package: &Path) -> String {
    let drawn = PICTURES.iter().filter(|(name, _)| package.join(format!("pictures/{name}.svg")).is_file());
    let lines: Vec<_> =
        drawn.map(|(name, shows)| format!("![{shows}](peers/pictures/{name}.svg)\n")).collect();
    lines.join("\n")
}

/// Whoever was faster at the same work.
fn losses(results: &Value) -> String {
    let cells = rows(results, "durable");
    let ratio = |cell: &Value| cell["oncekey_over_it"].as_f64().unwrap_or(1.0);
    let mut list = String::new();
    for ours in cells.iter().filter(|own| own["name"] == "oncekey") {
        let same = |own: &&Value| own["kept"] == ours["kept"] && own["in_flight"] == ours["in_flight"];
        let faster = cells.iter().filter(same).filter(|own| ratio(own) < 1.0);
        let faster: Vec<_> =
            faster.map(|own| format!("{} ({:.2} of its rate)", text(&own["name"]), ratio(own))).collect();
        let who = if faster.is_empty() { "nobody".to_owned() } else { faster.join(", ") };
        writeln!(list, "- {} in flight, {} kept: {who}", ours["in_flight"], ours["kept"])
            .expect("a string takes everything");
    }
    list
}

fn durable(results: &Value) -> String {
    let titles = "| in flight | kept | | tokens/s | spread | oncekey / it | p50 µs | p99 µs | p99.9 µs | bytes a record | measured by |\n";
    let mut table = format!("{titles}|{}\n", " --- |".repeat(11));
    for cell in rows(results, "durable") {
        let number = |name: &str| cell[name].as_f64().map_or("-".to_owned(), |own| format!("{own:.0}"));
        let spread = 100.0 * cell["spread"].as_f64().unwrap_or_default();
        writeln!(
            table,
            "| {} | {} | {} | {} | {spread:.0} % | {:.2} | {} | {} | {} | {} | {} |",
            cell["in_flight"],
            cell["kept"],
            whose(cell),
            number("tokens_per_s"),
            cell["oncekey_over_it"].as_f64().unwrap_or_default(),
            number("p50_us"),
            number("p99_us"),
            number("p999_us"),
            number("bytes_per_record"),
            measured_by(cell),
        )
        .expect("a string takes everything");
    }
    table
}

fn absent(results: &Value) -> String {
    let mut table = "| kept | | ns | spread | measured by |\n| --- | --- | --- | --- | --- |\n".to_owned();
    for row in rows(results, "absent_lookup") {
        let number = |name: &str| row[name].as_f64().unwrap_or_default();
        let (nanos, spread) = (number("ns"), 100.0 * number("spread"));
        writeln!(
            table,
            "| {} | {} | {nanos:.0} | {spread:.0} % | {} |",
            row["kept"],
            whose(row),
            measured_by(row),
        )
        .expect("a string takes everything");
    }
    table
}

fn rows<'a>(results: &'a Value, table: &str) -> &'a [Value] {
    results[table].as_array().map(Vec::as_slice).unwrap_or_default()
}

/// The contender, and what it keeps where its fill was ended.
fn whose(row: &Value) -> String {
    let (name, filled) = (text(&row["name"]), &row["filled"]);
    if *filled == row["kept"] || filled.is_null() { name } else { format!("{name} (keeps {filled})") }
}

/// What follows the `--` of its command.
fn measured_by(own: &Value) -> String {
    let command = text(&own["command"]);
    format!("`{}`", command.split_once(" -- ").map_or(&*command, |(_, form)| form))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
