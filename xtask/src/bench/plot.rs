//! The plots of a benchmark, as SVG.

use std::error::Error;
use std::path::Path;

use anyhow::{anyhow, Context, Result};
use plotters::coord::Shift;
use plotters::prelude::*;

use super::markdown::scaled;
use super::report::{Bench, Row, Table};

const SIZE: (u32, u32) = (760, 420);
const GIB: f64 = (1_u64 << 30) as f64;
const COLOURS: [RGBColor; 4] = [BLUE, RED, GREEN, MAGENTA];

/// A line through the rows of one name.
struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

/// Draws every plot that the benchmark has the tables for.
pub fn draw(bench: &Bench, dir: &Path) -> Result<()> {
    let Some(free) = bench.sessions.first() else {
        return Ok(());
    };
    for session in &bench.sessions {
        let suffix = if session.disk_rate.is_some() { "-limited" } else { "" };
        if let Some(table) = session.table("published") {
            let title = "1 GiB: allocate (dark) and read (light)";
            bars(title, GIB, table, &dir.join(format!("published{suffix}.svg")))?;
        }
        if let Some(table) = session.table("model") {
            bars("1 GiB of a model", GIB, table, &dir.join(format!("model{suffix}.svg")))?;
        }
        if let Some(table) = session.table("stream") {
            let title = "1 GiB in frames of 8 MiB";
            bars(title, GIB, table, &dir.join(format!("stream{suffix}.svg")))?;
        }
    }
    if let Some(table) = free.table("snapshot") {
        let bytes = table.rows.iter().map(|row| row.bytes).max().unwrap_or(1);
        let title = "The snapshot of a task, 1440 x 3200 pixels";
        bars(title, bytes as f64, table, &dir.join("snapshot.svg"))?;
    }
    for (id, title, x) in [
        ("sizes", "Cost of a GiB by the size of a request", "bytes in a request"),
        ("extents", "Cost of a GiB by the number of extents", "extents in a request"),
        ("clients", "Cost of a GiB by the number of clients", "clients at once"),
    ] {
        if let Some(table) = free.table(id) {
            lines(title, x, &costs(table), &dir.join(format!("{id}.svg")))?;
        }
    }
    Ok(())
}

/// Writes the file `path` with the drawing of `draw`.
fn svg(
    path: &Path,
    draw: impl FnOnce(&DrawingArea<SVGBackend<'_>, Shift>) -> Result<(), Box<dyn Error>>,
) -> Result<()> {
    let area = SVGBackend::new(path, SIZE).into_drawing_area();
    let drawn = area.fill(&WHITE).map_err(Box::from);
    drawn
        .and_then(|()| draw(&area))
        .and_then(|()| Ok(area.present()?))
        .map_err(|error| anyhow!("{error}"))
        .with_context(|| format!("drawing {}", path.display()))
}

/// Milliseconds for a GiB over the variable of the table, a line for each name.
fn costs(table: &Table) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in &table.rows {
        let (Some(x), Some(rate)) = (row.x, row.rate()) else {
            continue;
        };
        let point = (x as f64, f64::from(1 << 30) / rate * 1e3);
        match lines.iter_mut().find(|line| line.name == row.name) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { name: row.name.clone(), points: vec![point] }),
        }
    }
    lines
}

fn lines(title: &str, x: &str, lines: &[Line], path: &Path) -> Result<()> {
    let points = || lines.iter().flat_map(|line| line.points.iter().copied());
    let highest = points().map(|(_, y)| y).fold(1.0, f64::max) * 1.2;
    let lowest = points().map(|(_, y)| y).fold(highest, f64::min) / 1.5;
    let (first, last) =
        points().fold((f64::MAX, 1.0), |(first, last), (x, _)| (x.min(first), x.max(last)));
    svg(path, |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(
                (first..last).log_scale().base(2.0),
                (lowest..highest).log_scale(),
            )?;
        chart
            .configure_mesh()
            .x_desc(x)
            .y_desc("ms for 1 GiB")
            .x_label_formatter(&|value| scaled(value.round() as u64))
            .y_label_formatter(&|value| format!("{value:.0}"))
            .light_line_style(TRANSPARENT)
            .draw()?;
        for (line, colour) in lines.iter().zip(COLOURS) {
            chart
                .draw_series(
                    LineSeries::new(line.points.iter().copied(), colour.stroke_width(2))
                        .point_size(3),
                )?
                .label(&line.name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour));
        }
        chart.configure_series_labels().border_style(BLACK).background_style(WHITE).draw()?;
        Ok(())
    })
}

/// Allocating and reading of each row, as one bar: the time for `bytes`, to compare runs of any size.
fn bars(title: &str, bytes: f64, table: &Table, path: &Path) -> Result<()> {
    let rows: Vec<&Row> = table.rows.iter().filter(|row| row.figures.is_some()).collect();
    let parts = |row: &Row| -> (f64, f64) {
        let figures = row.figures.as_ref();
        let alloc = figures.and_then(|figures| figures.alloc.as_ref());
        let alloc = alloc.map_or(0.0, |spread| spread.median_nanos as f64);
        let scale = bytes / row.bytes as f64 / 1e6;
        (alloc * scale, row.nanos().unwrap_or(0.0) * scale)
    };
    let Some(last) = rows.len().checked_sub(1) else {
        return Ok(());
    };
    let highest = rows.iter().map(|row| parts(row).1).fold(1.0, f64::max) * 1.1;
    svg(path, |area| {
        let mut chart = ChartBuilder::on(area)
            .caption(title, ("sans-serif", 20))
            .margin(12)
            .x_label_area_size(44)
            .y_label_area_size(210)
            .build_cartesian_2d(0.0..highest, (0..last).into_segmented())?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .x_desc("ms")
            .x_label_formatter(&|value| format!("{value:.0}"))
            .light_line_style(TRANSPARENT)
            .y_label_formatter(&|value| match value {
                // The first row at the top.
                SegmentValue::CenterOf(i) => {
                    rows.iter().rev().nth(*i).map_or(String::new(), |row| row.name.clone())
                }
                _ => String::new(),
            })
            .draw()?;
        for (i, row) in rows.iter().rev().enumerate() {
            let (alloc, total) = parts(row);
            let bar = |from: f64, to: f64, colour: RGBColor| {
                let corners = [(from, SegmentValue::Exact(i)), (to, SegmentValue::Exact(i + 1))];
                let mut bar = Rectangle::new(corners, colour.filled());
                bar.set_margin(6, 6, 0, 0);
                bar
            };
            chart.draw_series([
                bar(0.0, alloc, RGBColor(40, 70, 130)),
                bar(alloc, total, RGBColor(130, 170, 230)),
            ])?;
        }
        Ok(())
    })
}
