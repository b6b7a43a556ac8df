//! Prints the results of a benchmark.

use super::figures::{Row, ServiceFigures, Spread, Table};
use crate::name::NameField;
use crate::size;
use serde::Serialize;
use std::io::{Result, Write};
use std::time::Duration;

/// Bytes in the unit of costs.
const GIB: f64 = (1_u64 << 30) as f64;

impl Spread {
    /// `None` without a run.
    pub fn new(times: impl Iterator<Item = Duration>) -> Option<Self> {
        let samples: Vec<u64> =
            times.map(|time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)).collect();
        let mut sorted = samples.clone();
        sorted.sort_unstable();
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        // Of an even number the mean of the middle two.
        let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        Some(Self {
            median_nanos: low + (high - low) / 2,
            min_nanos: min,
            max_nanos: max,
            samples_nanos: samples,
        })
    }
}

/// All results of one run of the command.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(flatten)]
    pub file: NameField,
    pub bytes: u64,
    pub chunk: u64,
    pub runs: u32,
    pub tables: Vec<Table>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceFigures>,
    /// From the start of a service process until it is registered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<Spread>,
}

impl Report {
    /// Whether every row ran.
    pub fn is_complete(&self) -> bool {
        self.tables.iter().flat_map(|table| &table.rows).all(|row| row.error.is_none())
    }

    pub fn write(&self, out: &mut dyn Write) -> Result<()> {
        for table in &self.tables {
            writeln!(
                out,
                "{}: {} in {} buffers of {}, {} cache, median of {}{}",
                self.file.shown(),
                size::bytes(self.bytes),
                self.bytes.div_ceil(self.chunk),
                size::bytes(self.chunk),
                table.cache,
                self.runs,
                if table.rows.iter().any(|row| row.published_ms.is_some()) {
                    "; published: 1 GiB in 32 x 32 MiB"
                } else {
                    ""
                }
            )?;
            table.write(out)?;
        }
        if let Some(service) = &self.service {
            writeln!(
                out,
                "service: {} idle, {} more during {} loads of {} at once, page cache +{} pages",
                size::bytes(service.idle_rss_bytes),
                size::bytes(service.rss_growth_bytes),
                service.loads,
                size::bytes(service.bytes_per_load),
                service.page_cache_growth_pages
            )?;
        }
        if let Some(start) = &self.start {
            writeln!(out, "service: registered {:.1} ms after its start", millis(start))?;
        }
        Ok(())
    }
}

impl Table {
    fn write(&self, out: &mut dyn Write) -> Result<()> {
        let published = self.rows.iter().any(|row| row.published_ms.is_some());
        let heading = if published { "   published" } else { "" };
        writeln!(
            out,
            "{:<38} {:>8} {:>8} {:>8} {:>17} {:>10} {:>8} {:>8}{heading}",
            "ms", "alloc", "read", "total", "min-max", "MB/s", "CPU s/G", "cached"
        )?;
        for row in &self.rows {
            row.write(out)?;
        }
        Ok(())
    }
}

impl Row {
    fn write(&self, out: &mut dyn Write) -> Result<()> {
        let name = match self.x {
            Some(x) => format!("{} {x}", self.name),
            None => self.name.clone(),
        };
        let Some(figures) = &self.figures else {
            let error = self.error.as_deref().unwrap_or_default();
            return writeln!(out, "{name:<38} did not run: {error}");
        };
        let optional = |spread: &Option<Spread>| {
            spread.as_ref().map_or("-".to_owned(), |spread| format!("{:.1}", millis(spread)))
        };
        let Spread { median_nanos, min_nanos, max_nanos, .. } = figures.total;
        let range = format!("{:.1}-{:.1}", min_nanos as f64 / 1e6, max_nanos as f64 / 1e6);
        let published = self.published_ms.map_or(String::new(), |[alloc, read, total]| {
            format!("  {alloc:>6} {read:>6} {total:>6}")
        });
        writeln!(
            out,
            "{name:<38} {:>8} {:>8} {:>8.1} {range:>17} {:>10.1} {:>8.2} {:>8}{published}",
            optional(&figures.alloc),
            optional(&figures.io),
            millis(&figures.total),
            self.bytes as f64 * 1e3 / median_nanos.max(1) as f64,
            figures.cpu_seconds_per_gib,
            figures.page_cache_growth_pages
        )
    }
}

/// The median in milliseconds.
fn millis(spread: &Spread) -> f64 {
    spread.median_nanos as f64 / 1e6
}

/// CPU seconds for one GiB.
pub fn per_gib(cpu: Duration, bytes: u64) -> f64 {
    cpu.as_secs_f64() * GIB / bytes.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spread(nanos: &[u64]) -> Option<Spread> {
        Spread::new(nanos.iter().map(|&n| Duration::from_nanos(n)))
    }

    #[test]
    fn median_of_an_odd_number_is_the_middle_one() {
        let spread = spread(&[9, 1, 5]).expect("three runs");
        assert_eq!((spread.median_nanos, spread.min_nanos, spread.max_nanos), (5, 1, 9));
        assert_eq!(spread.samples_nanos, [9, 1, 5]);
    }

    #[test]
    fn median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(spread(&[1, 100, 20, 10]).expect("four runs").median_nanos, 15);
    }

    #[test]
    fn no_run_has_no_spread() {
        assert_eq!(spread(&[]), None);
    }

    #[test]
    fn cost_is_scaled_to_a_gibibyte() {
        assert_eq!(per_gib(Duration::from_millis(500), 1 << 29), 1.0);
    }
}
