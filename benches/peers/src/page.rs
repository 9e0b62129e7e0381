//! The tables of the page *Performance*, renewed from `results.json` so that nobody copies a figure by hand.
//!
//! Law: what stands between `<!-- NAME -->` and `<!-- end of NAME -->` is replaced, all else is left as it is. A smoke test
//! only asks whether that works, and writes nothing.

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
    ];
    for (name, table) in tables {
        page = replaced(&page, name, &table).ok_or(format!("the page has no place for {name}"))?;
    }
    if form != Form::Smoke {
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

fn run(results: &Value) -> String {
    let machine = &results["machine"];
    let versions = results["versions"].as_object().into_iter().flatten();
    let versions: Vec<_> = versions.map(|(name, own)| format!("{name} {}", text(own))).collect();
    format!(
        "`{}`, {} cores ({}), {}, kernel {}; {}.\n",
        text(&results["command"]),
        machine["cores"],
        text(&machine["processor"]),
        text(&machine["memory"]),
        text(&machine["kernel"]),
        versions.join(", "),
    )
}

fn figures(results: &Value) -> String {
    let mut table =
        "| figure | value | goal | | spread | of |\n| --- | --- | --- | --- | --- | --- |\n".to_owned();
    for own in &goals::ALL {
        let figure = &results["figures"][own.id];
        let Some(value) = figure["value"].as_f64() else {
            let why = text(&results["absent"][own.id]);
            writeln!(table, "| `{}` | - | | | | {why} |", own.id).expect("a string takes everything");
            continue;
        };
        let verdict = own.goal.verdict(value);
        let (goal, verdict) = verdict.rsplit_once(": ").unwrap_or_default();
        let carried = if figure["carried"] == true {
            format!("; of an earlier `{}`", text(&figure["command"]))
        } else {
            String::new()
        };
        let row = format!(
            "| `{}` | {value:.2} {} | {} | {verdict} | {:.0} % | {}{carried} |",
            own.id,
            own.unit,
            goal.trim_start_matches("goal "),
            100.0 * figure["spread"].as_f64().unwrap_or_default(),
            text(&figure["note"]),
        );
        writeln!(table, "{row}").expect("a string takes everything");
    }
    table
}

/// Those that were drawn by now; growth is drawn by the full form alone.
fn pictures(package: &Path) -> String {
    let drawn = PICTURES.iter().filter(|(name, _)| package.join(format!("pictures/{name}.svg")).is_file());
    let lines: Vec<_> =
        drawn.map(|(name, shows)| format!("![{shows}](peers/pictures/{name}.svg)\n")).collect();
    lines.join("\n")
}

/// Whoever was faster at the same work.
fn losses(results: &Value) -> String {
    let cells = results["durable"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rate = |cell: &Value| cell["tokens_per_s"].as_f64().unwrap_or_default();
    let mut list = String::new();
    for ours in cells.iter().filter(|own| own["name"] == "oncekey") {
        let same = |own: &&Value| own["kept"] == ours["kept"] && own["in_flight"] == ours["in_flight"];
        let faster = cells.iter().filter(same).filter(|own| rate(own) > rate(ours));
        let faster: Vec<_> = faster
            .map(|own| format!("{} ({:.2} of its rate)", text(&own["name"]), rate(ours) / rate(own)))
            .collect();
        let who = if faster.is_empty() { "nobody".to_owned() } else { faster.join(", ") };
        writeln!(list, "- {} in flight, {} kept: {who}", ours["in_flight"], ours["kept"])
            .expect("a string takes everything");
    }
    list
}

fn durable(results: &Value) -> String {
    let mut table =
        "| in flight | kept | | tokens/s | spread | p50 µs | p99 µs | p99.9 µs | bytes a record |\n\
                     | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for cell in results["durable"].as_array().into_iter().flatten() {
        let number = |name: &str| cell[name].as_f64().map_or("-".to_owned(), |own| format!("{own:.0}"));
        let spread = 100.0 * cell["spread"].as_f64().unwrap_or_default();
        writeln!(
            table,
            "| {} | {} | {} | {} | {spread:.0} % | {} | {} | {} | {} |",
            cell["in_flight"],
            cell["kept"],
            text(&cell["name"]),
            number("tokens_per_s"),
            number("p50_us"),
            number("p99_us"),
            number("p999_us"),
            number("bytes_per_record"),
        )
        .expect("a string takes everything");
    }
    table
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
