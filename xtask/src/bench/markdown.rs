//! The tables of a benchmark as Markdown.

use std::fmt::Write;

use super::report::{Bench, Row, Session, Spread, Table, Target};

/// What the tables are called, in the order in which they are shown.
const TITLES: &[(&str, &str)] = &[
    ("published", "Table A: the published ways"),
    ("fair", "Table B: further fair ways, and fio as the limit"),
    ("ours", "Table C: in this process, through binder, and pipelined"),
    ("whole", "The whole file into one buffer"),
    ("sizes", "Table D: bytes in a request"),
    ("clients", "Table E: clients at once"),
    ("pressure", "Table F: little memory, little CPU"),
    ("extents", "Extents in a request"),
    ("blocks", "Batched extents beside fio"),
];

/// Everything, targets first.
pub fn write(bench: &Bench) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_all(&mut out, bench);
    out
}

fn write_all(out: &mut String, bench: &Bench) -> std::fmt::Result {
    let machine = &bench.machine;
    writeln!(
        out,
        "Commit {}; Linux {} ({}); {} x {}; {} MiB; {} on {}; {}.\n",
        bench.commit,
        machine.kernel,
        machine.kernel_build,
        machine.cpus,
        machine.cpu,
        machine.memory_kib >> 10,
        machine.file_system,
        machine.disk,
        machine.qemu
    )?;
    targets(out, &bench.targets)?;
    for session in &bench.sessions {
        match session.disk_rate {
            None => writeln!(out, "\n## The disk as fast as it is")?,
            Some(rate) => {
                writeln!(out, "\n## The disk limited to {} MB/s", rate / 1_000_000)?;
            }
        }
        session_tables(out, session)?;
    }
    Ok(())
}

/// One line for each target.
fn targets(out: &mut String, targets: &[Target]) -> std::fmt::Result {
    writeln!(out, "| | | measured | wanted | | limited by |\n|---|---|---|---|---|---|")?;
    for Target { id, what, measured, wanted, met, limited_by } in targets {
        let met = if *met { "pass" } else { "**FAIL**" };
        writeln!(out, "| {id} | {what} | {measured} | {wanted} | {met} | {limited_by} |")?;
    }
    Ok(())
}

fn session_tables(out: &mut String, session: &Session) -> std::fmt::Result {
    for (id, title) in TITLES {
        for (name, report) in &session.reports {
            for found in report.tables.iter().filter(|table| table.id == *id) {
                let pool = if name == "pool" { ", warm pool" } else { "" };
                writeln!(
                    out,
                    "\n### {title}\n\n{} MiB, buffers of {} MiB, {} cache{pool}, median of {}.\n",
                    report.bytes >> 20,
                    report.chunk >> 20,
                    found.cache,
                    report.runs
                )?;
                table(out, found)?;
            }
        }
    }
    Ok(())
}

fn table(out: &mut String, table: &Table) -> std::fmt::Result {
    let published = table.rows.iter().any(|row| row.published_ms.is_some());
    let (more, rule) = if published { (" published |", "--:|") } else { ("", "") };
    writeln!(
        out,
        "| ms | alloc | read | total | min-max | MB/s | CPU s/GiB | pages cached |{more}\n\
         |---|--:|--:|--:|--:|--:|--:|--:|{rule}"
    )?;
    table.rows.iter().try_for_each(|found| row(out, found))
}

fn row(out: &mut String, row: &Row) -> std::fmt::Result {
    let name = row.x.map_or(row.name.clone(), |x| format!("{} {}", row.name, scaled(x)));
    let Some(figures) = &row.figures else {
        return writeln!(out, "| {name} | did not run: {} |", row.error.as_deref().unwrap_or(""));
    };
    let optional = |spread: &Option<Spread>| {
        spread.as_ref().map_or(String::new(), |spread| millis(spread.median_nanos))
    };
    let published = row
        .published_ms
        .map_or(String::new(), |[alloc, read, total]| format!(" {alloc} + {read} = {total} |"));
    writeln!(
        out,
        "| {name} | {} | {} | {} | {}-{} | {:.0} | {:.2} | {} |{published}",
        optional(&figures.alloc),
        optional(&figures.io),
        millis(figures.total.median_nanos),
        millis(figures.total.min_nanos),
        millis(figures.total.max_nanos),
        row.rate().unwrap_or(0.0) / 1e6,
        figures.cpu_seconds_per_gib,
        figures.page_cache_growth_pages
    )
}

fn millis(nanos: u64) -> String {
    format!("{:.1}", nanos as f64 / 1e6)
}

/// A number with a binary suffix, where it is a round one.
pub fn scaled(value: u64) -> String {
    [(30, "G"), (20, "M"), (10, "K")]
        .into_iter()
        .find(|(shift, _)| value >= 1 << shift && value.is_multiple_of(1 << shift))
        .map_or(value.to_string(), |(shift, suffix)| format!("{}{suffix}", value >> shift))
}
