//! The tables as pictures: SVG files in `pictures`, drawn from what `results.json` holds.
//!
//! Both axes of a line are logarithmic, since contenders lie orders of magnitude apart; bars stand on zero. Each contender keeps its colour in all
//! of them; oncekey is drawn last, so that nothing hides it, and thicker. The colours can be read on white and on black;
//! a viewer's dark ground turns the rest.

use std::error::Error;
use std::fs;
use std::ops::Range;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use serde_json::Value;

use crate::contender::Kind;
use crate::form::Form;
use crate::report::float;

const SIZE: (u32, u32) = (960, 520);
const FONT: (&str, u32) = ("sans-serif", 15);
const TITLE: (&str, u32) = ("sans-serif", 20);
/// Above a bar, whose neighbours have one too.
const LABEL: (&str, u32) = ("sans-serif", 12);
/// What a viewer on a dark ground sees instead of black on white.
const DARK: &str = "<style>@media (prefers-color-scheme: dark) { \
    [fill=\"#000000\"] { fill: #e6edf3 } [stroke=\"#000000\"] { stroke: #e6edf3 } \
    [fill=\"#FFFFFF\"] { fill: #0d1117 } [stroke=\"#FFFFFF\"] { stroke: #0d1117 } }</style>\n";
/// Whose colour is which.
const COLOURS: [(&str, RGBColor); 11] = [
    ("oncekey", RGBColor(215, 50, 60)),
    ("redb", RGBColor(50, 125, 200)),
    ("fjall", RGBColor(50, 150, 70)),
    ("RocksDB", RGBColor(150, 165, 20)),
    ("LMDB", RGBColor(150, 90, 170)),
    ("SQLite", RGBColor(230, 140, 20)),
    ("PostgreSQL", RGBColor(165, 110, 65)),
    ("Redis", RGBColor(220, 110, 170)),
    ("file limit", RGBColor(120, 120, 120)),
    ("idempotent (memory)", RGBColor(170, 170, 170)),
    ("memory limit", RGBColor(30, 160, 160)),
];

type Outcome = Result<(), Box<dyn Error>>;
type Canvas<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A line of a chart: whose, and its points.
type Curve<'a> = (&'a str, Vec<(f64, f64)>);

/// Whatever `results` has rows for; a picture without rows stays as it is.
pub(crate) fn draw(home: &Path, form: Form, results: &Value) -> Outcome {
    let home = home.join("pictures");
    fs::create_dir_all(&home)?;
    let kept = form.kept_of_figures();
    let durable = rows(results, "durable");
    let disk = |own: &&&Value| own["kind"] != Kind::MemoryOnly.name();
    let figures: Vec<&Value> = durable.iter().copied().filter(|own| own["kept"] == kept).collect();
    let rates = curves(&figures, "in_flight", "tokens_per_s");
    let title = format!("Durable tokens per second, {kept} records kept");
    lines_into(&home.join("throughput.svg"), &title, ["callers in flight", "tokens per second"], &rates)?;
    let written: Vec<&Value> = figures.iter().filter(disk).copied().collect();
    let written = curves(&written, "in_flight", "bytes_per_record");
    let title = format!("Bytes written per completed record, {kept} records kept");
    lines_into(
        &home.join("bytes_written.svg"),
        &title,
        ["callers in flight", "bytes handed to write"],
        &written,
    )?;
    let Some(&busy) = form.in_flight().iter().find(|count| **count > 64) else { return Ok(()) };
    let busiest: Vec<&Value> =
        durable.iter().filter(disk).filter(|own| own["in_flight"] == busy).copied().collect();
    let of_figures = busiest.iter().filter(|own| own["kept"] == kept);
    let groups: Vec<Group<'_>> = of_figures
        .map(|row| {
            (
                name(row),
                ["p50_us", "p99_us", "p999_us"].map(|of| number(row, of).unwrap_or_default() / 1e3).to_vec(),
            )
        })
        .collect();
    let title = format!("Milliseconds until durable: 50, 99 and 99.9 %; {busy} in flight, {kept} kept");
    bars_into(&home.join("latency.svg"), &title, &groups)?;
    let memory = rows(results, "memory");
    let weight = |row: &&Value| number(row, "bytes_per_record").unwrap_or_default();
    let groups: Vec<Group<'_>> = memory.iter().map(|row| (name(row), vec![weight(row)])).collect();
    bars_into(&home.join("memory.svg"), "Private memory per kept record, bytes", &groups)?;
    if busiest.iter().all(|own| own["kept"] == kept) {
        return Ok(());
    }
    let mut by_kept = busiest;
    by_kept.sort_by_key(|own| own["kept"].as_u64());
    let growth = curves(&by_kept, "kept", "tokens_per_s");
    let title = format!("Durable tokens per second by records kept, {busy} in flight");
    let axes = ["records kept beforehand (the leftmost: none)", "tokens per second"];
    lines_into(&home.join("growth.svg"), &title, axes, &growth)
}

fn rows<'a>(results: &'a Value, table: &str) -> Vec<&'a Value> {
    results[table].as_array().into_iter().flatten().collect()
}

fn name(row: &Value) -> &str {
    row["name"].as_str().unwrap_or_default()
}

fn number(row: &Value, of: &str) -> Option<f64> {
    row[of].as_f64()
}

/// What has no figure has no point. A logarithmic axis has no zero: nothing kept stands at one thousand.
fn curves<'a>(rows: &[&'a Value], x: &str, y: &str) -> Vec<Curve<'a>> {
    let mut curves: Vec<Curve<'a>> = Vec::new();
    for row in rows {
        let (Some(across), Some(up)) = (number(row, x), number(row, y)) else { continue };
        let point = (if x == "kept" { across.max(1000.0) } else { across }, up.max(1.0));
        match curves.iter_mut().find(|(own, _)| *own == name(row)) {
            Some((_, points)) => points.push(point),
            None => curves.push((name(row), vec![point])),
        }
    }
    // oncekey is the first: drawn last.
    curves.sort_by_key(|(own, _)| *own != "oncekey");
    curves
}

/// From a little below the least to a little above the greatest, never empty.
fn around(figures: impl Iterator<Item = f64> + Clone) -> Range<f64> {
    let least = figures.clone().fold(f64::INFINITY, f64::min);
    let greatest = figures.fold(1.0, f64::max);
    least.min(greatest) / 1.5..greatest * 1.5
}

/// Draws into a file that can be read on a light and on a dark ground.
fn draw_into(path: &Path, draw: impl FnOnce(&Canvas<'_>) -> Outcome) -> Outcome {
    let mut picture = String::new();
    {
        let canvas = SVGBackend::with_string(&mut picture, SIZE).into_drawing_area();
        draw(&canvas)?;
        canvas.present()?;
    }
    let (head, rest) = picture.split_once(">\n").ok_or("the picture has a head")?;
    Ok(fs::write(path, format!("{head}>\n{DARK}{rest}"))?)
}

fn lines_into(path: &Path, title: &str, axes: [&str; 2], curves: &[Curve<'_>]) -> Outcome {
    if curves.is_empty() { Ok(()) } else { draw_into(path, |canvas| lines(canvas, title, axes, curves)) }
}

fn bars_into(path: &Path, title: &str, groups: &[Group<'_>]) -> Outcome {
    if groups.is_empty() { Ok(()) } else { draw_into(path, |canvas| bars(canvas, title, groups)) }
}

fn lines(canvas: &Canvas<'_>, title: &str, axes: [&str; 2], curves: &[Curve<'_>]) -> Outcome {
    canvas.fill(&WHITE)?;
    let points = || curves.iter().flat_map(|(_, points)| points);
    let (across, up) = (around(points().map(|point| point.0)), around(points().map(|point| point.1)));
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, TITLE)
        .margin(12)
        .margin_right(210)
        .x_label_area_size(44)
        .y_label_area_size(76)
        .build_cartesian_2d(across.log_scale(), up.log_scale())?;
    chart
        .configure_mesh()
        .x_desc(axes[0])
        .y_desc(axes[1])
        .label_style(FONT)
        .axis_desc_style(FONT)
        .x_label_formatter(&|figure| short(*figure))
        .y_label_formatter(&|figure| short(*figure))
        .light_line_style(WHITE)
        .draw()?;
    for (place, (name, points)) in curves.iter().enumerate().rev() {
        let style = colour_of(name).stroke_width(if place == 0 { 4 } else { 2 });
        chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        chart.draw_series(points.iter().map(|point| Circle::new(*point, 3, style.filled())))?;
        legend(canvas, place, name)?;
    }
    Ok(())
}

/// One contender's bars: whose, and how high.
type Group<'a> = (&'a str, Vec<f64>);

fn bars(canvas: &Canvas<'_>, title: &str, groups: &[Group<'_>]) -> Outcome {
    canvas.fill(&WHITE)?;
    let highest = groups.iter().flat_map(|(_, heights)| heights).copied().fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, TITLE)
        .margin(12)
        .margin_right(210)
        .x_label_area_size(20)
        .y_label_area_size(76)
        .build_cartesian_2d(0.0..float(groups.len() as u64), 0.0..highest * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .label_style(FONT)
        .y_label_formatter(&|figure| short(*figure))
        .light_line_style(WHITE)
        .draw()?;
    let above = LABEL.into_text_style(canvas).pos(Pos::new(HPos::Left, VPos::Bottom));
    for (place, (name, heights)) in groups.iter().enumerate() {
        let width = 0.8 / float(heights.len() as u64);
        let colour = colour_of(name);
        for (at, height) in heights.iter().enumerate() {
            let left = float(place as u64) + 0.1 + width * float(at as u64);
            let bar = [(left, 0.0), (left + width * 0.9, *height)];
            chart.draw_series([Rectangle::new(bar, colour.filled())])?;
            chart.draw_series([Text::new(short(*height), (left, *height), above.clone())])?;
        }
        legend(canvas, place, name)?;
    }
    Ok(())
}

/// At the right, one line for each.
fn legend(canvas: &Canvas<'_>, place: usize, name: &str) -> Outcome {
    let (left, top) = (760, 60 + 24 * i32::try_from(place)?);
    let colour = colour_of(name);
    canvas.draw(&Rectangle::new([(left, top), (left + 16, top + 12)], colour.filled()))?;
    Ok(canvas.draw(&Text::new(name.to_owned(), (left + 24, top), FONT.into_font()))?)
}

fn colour_of(name: &str) -> RGBColor {
    COLOURS.iter().find(|(own, _)| *own == name).map_or(BLACK, |(_, colour)| *colour)
}

fn short(figure: f64) -> String {
    match figure {
        1e6.. => format!("{:.1} M", figure / 1e6),
        1e4.. => format!("{:.0} k", figure / 1e3),
        1e3.. => format!("{:.1} k", figure / 1e3),
        10.0.. => format!("{figure:.0}"),
        _ => format!("{figure:.1}"),
    }
}
